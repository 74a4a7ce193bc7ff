// The composition root, the only file that knows everybody: builds the parts from a configuration, wires them, starts
// them and stops them in order. It decides nothing.
import { AppSide, type RunOptions } from './app-side/app-side.ts';
import { SystemClock } from './process/clock.ts';
import { isLocalOnly, localUrlOf } from './config/addresses.ts';
import {
  adviceOn,
  describe,
  summary,
  withBoundPort,
  type Configuration,
} from './config/configuration.ts';
import { CredentialsWatch } from './config/credentials-watch.ts';
import { formatFaults } from './config/faults.ts';
import { certificateWarnings, type Credentials } from './config/files.ts';
import { InForce } from './config/in-force.ts';
import { askTlsOf, localTlsOf } from './config/own-tls.ts';
import { settings } from './config/settings.ts';
import { AssertionFailure } from './core/assert.ts';
import { electionName, memberId, type Cause } from './core/model.ts';
import { Elector, type ElectorOptions } from './elector/elector.ts';
import { etcdAccess } from './etcd/access.ts';
import { EtcdCoordinator } from './etcd/coordinator.ts';
import { newLeaseId } from './etcd/lease-id.ts';
import { capacityOf, openFilesAllowed, type Capacity } from './http/capacity.ts';
import { createEvents } from './http/events.ts';
import { sharedRead } from './http/history.ts';
import type { Inputs, LocalInputs } from './http/inputs.ts';
import { checkTls, type Listening } from './http/listen.ts';
import {
  boundPort,
  onceToBeHad,
  openListeners,
  openProxiesOf,
  publicHoldMsOf,
  tlsOf,
} from './listeners.ts';
import { LoopDelay } from './process/loop-delay.ts';
import type { Coordinator } from './ports.ts';
import { pingingOf, type Pinging } from './peers/pings.ts';
import { PeerWatch } from './peers/watch.ts';
import type { Proxies } from './proxy/proxy.ts';
import { notifyServiceManager, type ServiceManager } from './process/service-manager.ts';
import { loggedAudit } from './telemetry/audit.ts';
import { createLog, flushed, type Log } from './telemetry/log.ts';
import { createMetrics, type Metrics } from './telemetry/metrics.ts';
import { logNotices } from './telemetry/notices.ts';
import { createTraces, type Traces } from './telemetry/traces.ts';
import { version } from './process/version.ts';

/** A running sidecar. */
export interface Sidecar {
  readonly log: Log;
  /** Steps down, resigns, revokes the lease, drains HTTP; resolves when all that is done. */
  stop(): Promise<void>;
  /** The end that cannot wait: no claim outlasts this call; resolves when all is given back, or cannot be. Never rejects. */
  halt(cause: Cause): Promise<void>;
  /** Resolves once the last lines of the log are written or lost; in bounded time, and never rejects. */
  flushed(): Promise<void>;
  /** Takes up what needs no restart, all of it or nothing, and names what does. */
  reload(configuration: Configuration, credentials: Credentials): void;
  /** Sends a signal to the child of `run`, to its whole group where `all`; false where none runs. */
  signalChild(name: NodeJS.Signals, all: boolean): boolean;
  /** The exit code of the child of `run`, 128+N for signal N; null where none has ended. */
  childExitCode(): number | null;
}

export interface SidecarOptions {
  readonly configuration: Configuration;
  readonly credentials: Credentials;
  /** What the settings are to be warned of; logged at start. */
  readonly warnings: readonly string[];
  /** An internal assertion failed: nothing is claimed any more, and the process should end with 70. */
  readonly onFatal: (failure: unknown) => void;
  /** What `run` adds: a child beside every term, and the log on the standard error; null for `serve`. */
  readonly run?: RunOptions | null;
}

/** Lines are written this much later than what they tell of: nothing competes with a hand-over, least of all the log. */
const linesAfterMs = 5;
const wallNow = (): number => Date.now();

/** The standard output belongs to the child of `run`. */
const standardError = 2;

/**
 * Starts a sidecar. It answers before etcd is asked anything: an endpoint that is silent is none of its clients' business.
 * Rejects with CannotListen where a listener's address is not to be had, with NotYet where it may be later, and with
 * OtherCluster where the endpoints of etcd belong to two clusters.
 */
export async function startSidecar(options: SidecarOptions): Promise<Sidecar> {
  const sidecar = new Assembly(options);
  await sidecar.start();
  return sidecar;
}

/** All parts of a sidecar, made and wired; nothing is asked of etcd before `start`. */
class Assembly implements Sidecar {
  readonly log: Log;
  readonly #options: SidecarOptions;
  readonly #clock = new SystemClock();
  readonly #metrics: Metrics;
  readonly #traces: Traces | null;
  readonly #coordinator: EtcdCoordinator;
  readonly #traced: Coordinator;
  readonly #beside: AppSide;
  readonly #elector: Elector;
  readonly #pinging: Pinging;
  readonly #peers: PeerWatch;
  readonly #loopDelay = new LoopDelay(this.#clock);
  readonly #watch: CredentialsWatch;
  readonly #inForce: InForce;
  #listeners: readonly Listening[] = [];
  #proxies: Proxies | null = null;
  #manager: ServiceManager | null = null;

  constructor(options: SidecarOptions) {
    const { configuration, run = null } = options;
    const { id, logLevel: level, logFormat: format } = configuration;
    const clock = this.#clock;
    this.#options = options;
    this.log = createLog({
      level,
      format,
      ...(run === null ? {} : { destination: standardError }),
    });
    this.#inForce = this.#keepInForce();
    const loopDelayMs = (): number => this.#loopDelay.worstMs();
    this.#metrics = createMetrics({
      ...{ id: memberId(id), version, clock, loopDelayMs },
      proxies: () => this.#proxies?.figures() ?? [],
    });
    this.#traces = createTraces({ id: memberId(id), version });
    this.#coordinator = new EtcdCoordinator({
      ...etcdAccess(configuration, options.credentials),
      clock,
      observer: this.#metrics.requests,
      warn: (message) => this.log.warn(message),
      moved: (endpoints) => this.log.info({ endpoints }, 'etcd is reached at other endpoints'),
    });
    this.#traced = this.#traces?.traced(this.#coordinator) ?? this.#coordinator;
    this.#beside = this.#appSide(run);
    this.#pinging = pingingOf(configuration, () => askTlsOf(this.#inForce));
    const parts = { ...this.#pinging, clock, coordinator: this.#traced };
    this.#elector = elect(options, this.#beside, parts);
    this.#peers = new PeerWatch({
      ...{ elections: this.#elector, clock, wallNow },
      tls: () => askTlsOf(this.#inForce),
    });
    this.#watch = this.#credentialsWatch();
  }

  async start(): Promise<void> {
    try {
      await this.#listen();
      this.#proxies = await this.#openProxies();
      this.#greet();
      await this.#coordinator.meet();
    } catch (failure) {
      await this.#close();
      throw failure;
    }
    this.#manager = notifyServiceManager({
      environment: process.env,
      elections: this.#elector,
      warn: (message) => this.log.warn(message),
    });
    this.#beside.start(this.#elector);
    this.#elector.start(this.#effective().url);
    this.#watch.start();
  }

  async stop(): Promise<void> {
    const stopped = this.#elector.stop();
    this.#watch.stop();
    this.#manager?.stopping();
    await stopped;
    await this.#beside.stop();
    await this.#close('electord stopped');
  }

  halt(cause: Cause): Promise<void> {
    return this.#elector.halt(cause);
  }

  flushed(): Promise<void> {
    return flushed(this.log);
  }

  reload(configuration: Configuration, credentials: Credentials): void {
    void this.#inForce.reload({ configuration, credentials }).then((done) => {
      if (done) this.#manager?.reloaded();
    });
  }

  signalChild(name: NodeJS.Signals, all: boolean): boolean {
    return this.#beside.app?.signalChild(name, all) ?? false;
  }

  childExitCode(): number | null {
    return this.#beside.app?.childExitCode() ?? null;
  }

  #appSide(run: RunOptions | null): AppSide {
    const { configuration } = this.#options;
    return new AppSide({
      settings: configuration,
      run,
      clock: this.#clock,
      log: this.log,
      observeHook: (event, result, seconds) => {
        this.#metrics.observeHook(event, result, seconds);
        this.#traces?.observeHook(event, result, seconds);
      },
      secretVariables: settings.filter(({ secret }) => secret).map(({ variable }) => variable),
      localUrl: () => localUrlOf(configuration, boundPort(this.#listeners[1])),
      localTls: () => localTlsOf(this.#inForce.configuration),
      tls: () => askTlsOf(this.#inForce),
    });
  }

  #keepInForce(): InForce {
    const { configuration, credentials } = this.#options;
    const [election] = configuration.elections.map((name) => electionName(name));
    return new InForce({
      ...{ configuration, credentials, wallNow },
      log: this.log,
      reachEtcd: async (next) => {
        const access = etcdAccess(next.configuration, next.credentials);
        if (election !== undefined) await this.#coordinator.configure(access, election);
      },
      checkListeners: (next) => checkTls(tlsOf(next.configuration, next.credentials)),
      renewListeners: (next) => {
        const tls = tlsOf(next.configuration, next.credentials);
        if (tls !== null) for (const listener of this.#listeners) listener.renew(tls);
      },
    });
  }

  /** What is in force, with the port that was found. */
  #effective(): Configuration {
    const port = boundPort(this.#listeners[0]);
    const { configuration } = this.#inForce;
    return port === null ? configuration : withBoundPort(configuration, port);
  }

  #credentialsWatch(): CredentialsWatch {
    return new CredentialsWatch({
      clock: this.#clock,
      sources: () => this.#inForce.configuration,
      current: () => this.#inForce.credentials,
      usable: (read) => this.#inForce.usable(read),
      onRead: (credentials) => this.#inForce.renew(credentials),
      onUnusable: (faults) =>
        this.log.error(
          `what was renewed is not used, what was read before stays:\n${formatFaults(faults)}`,
        ),
    });
  }

  async #listen(): Promise<void> {
    const { configuration } = this.#options;
    const capacity = capacityOf(openFilesAllowed());
    const inputs = this.#inputs(capacity);
    this.#follow(inputs);
    const open = (): Promise<readonly Listening[]> =>
      openListeners(
        configuration,
        capacity,
        inputs,
        this.#local(),
        tlsOf(configuration, this.#inForce.credentials),
      );
    this.#listeners = await onceToBeHad(open, this.log);
  }

  #openProxies(): Promise<Proxies | null> {
    const [elections, clock, log] = [this.#elector, this.#clock, this.log];
    const tls = () => askTlsOf(this.#inForce);
    return openProxiesOf(this.#options.configuration, { elections, clock, log, tls });
  }

  /** Metrics, traces and the log tell of what happens from here on. */
  #follow({ elections, events }: Inputs): void {
    this.#metrics.observe({
      elections,
      app: () => this.#beside.health(),
      etcd: () => this.#coordinator.condition(),
      eventClients: () => events.count(),
      certificates: () => this.#inForce.credentials.certificates,
    });
    this.#traces?.observe(elections);
    logNotices(this.log, elections, this.#clock, (write) => setTimeout(write, linesAfterMs));
  }

  #inputs(capacity: Capacity): Inputs {
    const [elections, clock] = [this.#elector, this.#clock];
    const audit = this.#coordinator.auditLog();
    const clients = { public: capacity.public.maxStreams, local: capacity.local.maxStreams };
    return {
      elections,
      clock,
      wallNow,
      started: { at: clock.now(), wallMs: wallNow() },
      metrics: () => this.#metrics.render(),
      version,
      pingKey: this.#pinging.pingKey,
      describe: () => describe(this.#effective()),
      health: {
        loopDelayMs: () => this.#loopDelay.worstMs(),
        app: () => this.#beside.health(),
        etcd: () => ({
          ...this.#coordinator.condition(),
          notTakenUp: this.#inForce.trouble(),
        }),
      },
      publicHoldMs: publicHoldMsOf(this.#options.configuration),
      events: createEvents({ elections, clock, wallNow }, { clients }),
      peers: this.#peers,
      history: sharedRead((name) => this.#traced.history(name), { elections, clock }),
      verbs: sharedRead((name) => audit.entries(name), { elections, clock }),
      reportError: (error) => {
        // The claims end before anything is logged.
        if (error instanceof AssertionFailure) this.#options.onFatal(error);
        this.log.error({ err: error }, 'an answer could not be given');
      },
    };
  }

  #local(): LocalInputs {
    const { localListen, publicUrl, graceMs, maxHoldMs, tlsClientAuth } =
      this.#options.configuration;
    const store = this.#coordinator.fencedStore();
    return {
      coordinator: this.#traced,
      store: this.#traces?.tracedStore(store) ?? store,
      audit: loggedAudit(this.log, this.#coordinator.auditLog()),
      token: () => this.#inForce.credentials.token?.reveal() ?? null,
      needsCertificate: localListen.kind === 'tcp' && tlsClientAuth === 'request',
      checksHost: localListen.kind === 'tcp' && isLocalOnly(localListen),
      publicUrl,
      graceMs,
      maxHoldMs,
    };
  }

  #greet(): void {
    this.log.info({ version, settings: summary(this.#effective()) }, 'electord starts');
    for (const { address, says } of this.#listeners) {
      if (says !== undefined) this.log.info(address, says);
    }
    const ofCertificates = certificateWarnings(this.#inForce.credentials, wallNow());
    const ofSettings = [...adviceOn(this.#options.configuration), ...this.#options.warnings];
    for (const one of [...this.#beside.advice(), ...ofSettings, ...ofCertificates]) {
      this.log.warn(one);
    }
  }

  /** Nothing is claimed any more: ends what is open, and waits for the last lines, of which `said` is the last. */
  async #close(said?: string): Promise<void> {
    this.#peers.close();
    this.#pinging.pings?.close();
    await Promise.all([
      ...this.#listeners.map((listener) => listener.close()),
      this.#proxies?.close(),
    ]);
    this.#coordinator.close();
    this.#loopDelay.stop();
    await this.#manager?.close();
    await this.#traces?.finish();
    // The last lines are on their way.
    await new Promise((resolve) => setTimeout(resolve, linesAfterMs));
    if (said !== undefined) this.log.info(said);
    await this.flushed();
  }
}

function elect(
  { configuration, onFatal }: SidecarOptions,
  { stopLeadMs, besideTerms: app, healthyAtFirst }: AppSide,
  { pingKey, ...parts }: Pick<ElectorOptions, 'clock' | 'coordinator'> & Pinging,
): Elector {
  const { id, advertise, url, priority, appCheck } = configuration;
  const checked = appCheck !== null;
  const { ttlMs, marginMs, takeoverDelayMs, graceMs, fastFailoverMs } = configuration;
  return new Elector({
    ...parts,
    elections: configuration.elections.map((name) => electionName(name)),
    me: { id: memberId(id), address: advertise, url, priority, version, pingKey, checked },
    timing: { ttlMs, marginMs, takeoverDelayMs, graceMs, stopLeadMs, fastFailoverMs },
    app,
    appHealthy: healthyAtFirst,
    whenAllUnhealthy: configuration.whenAllUnhealthy,
    validation: 'cheap',
    random: Math.random,
    newLeaseId,
    onFatal,
  });
}
