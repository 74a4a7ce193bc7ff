// The composition root, the only file that knows everybody: builds the parts from a configuration, wires them, starts
// them and stops them in order. It decides nothing.
import { AppSide, type RunOptions } from './app-side/app-side.ts';
import { SystemClock } from './process/clock.ts';
import { hostInUrl, isLocalOnly, isWildcard } from './config/addresses.ts';
import { describe, withBoundPort, type Configuration } from './config/configuration.ts';
import { CredentialsWatch } from './config/credentials-watch.ts';
import { formatFaults } from './config/faults.ts';
import { certificateWarnings, type Credentials } from './config/files.ts';
import { settings } from './config/settings.ts';
import { AssertionFailure } from './core/assert.ts';
import { electionName, memberId, type Cause } from './core/model.ts';
import { Elector } from './elector/elector.ts';
import { etcdAccess } from './etcd/access.ts';
import { EtcdCoordinator, type EtcdCondition } from './etcd/coordinator.ts';
import { newLeaseId } from './etcd/lease-id.ts';
import { createApplication } from './http/application.ts';
import { capacityOf, openFilesAllowed, type Capacity } from './http/capacity.ts';
import { createEvents } from './http/events.ts';
import { sharedHistory } from './http/history.ts';
import type { Inputs, LocalInputs } from './http/inputs.ts';
import { CannotListen, listen, type Listening, type ServerTls } from './http/listen.ts';
import { LoopDelay } from './process/loop-delay.ts';
import type { Clock, Coordinator } from './ports.ts';
import { PeerWatch } from './peers/watch.ts';
import { patiently } from './process/patience.ts';
import { notifyServiceManager } from './process/service-manager.ts';
import { createLog, flushed, type Log } from './telemetry/log.ts';
import { createMetrics } from './telemetry/metrics.ts';
import { logNotices } from './telemetry/notices.ts';
import { createTraces } from './telemetry/traces.ts';
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
  /** Takes up rotated certificates, passwords and tokens, and the log level. */
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

/** The standard output belongs to the child of `run`. */
const standardError = 2;

/** Node waits for its own children only: what they leave behind becomes ours as process 1, and stays as a zombie. */
const noInit =
  'electord is process 1 and runs commands: nobody collects the orphans that they leave; start the container with an init (docker run --init, init: true, shareProcessNamespace: true)';

/**
 * Starts a sidecar. Rejects with CannotListen where a listener's address is not to be had, with NotYet where it may be
 * later, and with OtherCluster where the endpoints of etcd belong to two clusters.
 */
export async function startSidecar(options: SidecarOptions): Promise<Sidecar> {
  const { configuration, onFatal, run = null } = options;
  let { credentials } = options;
  const { logLevel: level, logFormat: format } = configuration;
  const log = createLog({ level, format, ...(run === null ? {} : { destination: standardError }) });
  const clock = new SystemClock();
  const metrics = createMetrics({ id: memberId(configuration.id), version, clock });
  const coordinator = new EtcdCoordinator({
    ...etcdAccess(configuration, () => credentials),
    clock,
    observer: metrics.requests,
    warn: (message) => log.warn(message),
  });
  const etcd = (): EtcdCondition => coordinator.condition();
  const traces = createTraces({ id: memberId(configuration.id), version });
  const traced = traces?.traced(coordinator) ?? coordinator;
  const beside = new AppSide({
    settings: configuration,
    run,
    clock,
    log,
    observeHook: (event, result, seconds) => {
      metrics.observeHook(event, result, seconds);
      traces?.observeHook(event, result, seconds);
    },
    secretVariables: settings.filter(({ secret }) => secret).map(({ variable }) => variable),
    localUrl: () => localUrlOf(configuration, listeners),
  });
  const elector = elect(configuration, clock, traced, beside, onFatal);
  const app = (): ReturnType<Inputs['health']['app']> => beside.health();
  const wallNow = (): number => Date.now();
  const capacity = capacityOf(openFilesAllowed());
  const events = createEvents(
    { elections: elector, clock, wallNow },
    {
      clients: { public: capacity.public.maxStreams, local: capacity.local.maxStreams },
    },
  );
  const certificates = (): Credentials['certificates'] => credentials.certificates;
  const peers = new PeerWatch({ elections: elector, clock, wallNow });
  metrics.observe({
    elections: elector,
    app,
    etcd,
    eventClients: () => events.count(),
    certificates,
  });
  traces?.observe(elector);
  logNotices(log, elector, clock, (write) => setTimeout(write, linesAfterMs));
  const loopDelay = new LoopDelay(clock);
  let effective = configuration;
  const inputs: Inputs = {
    elections: elector,
    clock,
    wallNow,
    started: { at: clock.now(), wallMs: Date.now() },
    metrics: () => metrics.render(),
    version,
    describe: () => describe(effective),
    health: { loopDelayMs: () => loopDelay.worstMs(), app, etcd },
    events,
    peers,
    history: sharedHistory((election) => traced.history(election), { elections: elector, clock }),
    reportError: (error) => {
      // The claims end before anything is logged.
      if (error instanceof AssertionFailure) onFatal(error);
      log.error({ err: error }, 'an answer could not be given');
    },
  };
  const local: LocalInputs = {
    coordinator: traced,
    store: traces?.tracedStore(coordinator.fencedStore()) ?? coordinator.fencedStore(),
    token: () => credentials.token?.reveal() ?? null,
    checksHost: configuration.localListen.kind === 'tcp' && isLocalOnly(configuration.localListen),
    graceMs: configuration.graceMs,
    maxHoldMs: configuration.maxHoldMs,
  };
  await coordinator.meet();
  const listeners = await patiently(
    () => openListeners(configuration, capacity, inputs, local, tlsOf(credentials)),
    {
      passes: (failure) => failure instanceof CannotListen && failure.passes,
      onWait: (failure, patientForMs) =>
        log.warn({ err: failure, patientForMs }, 'an address is not to be had yet: trying again'),
    },
  ).finally(() => flushed(log));
  const port = boundPort(listeners);
  if (port !== null) effective = withBoundPort(configuration, port);
  log.info({ version, settings: describe(effective) }, 'electord starts');
  if (process.pid === 1 && beside.runsCommands()) log.warn(noInit);
  const warnings = [...options.warnings, ...certificateWarnings(credentials, Date.now())];
  for (const warning of warnings) log.warn(warning);
  const manager = notifyServiceManager({
    environment: process.env,
    elections: elector,
    warn: (message) => log.warn(message),
  });
  const takeUp = (readAnew: Credentials): void => {
    credentials = readAnew;
    coordinator.reset();
    try {
      const tls = tlsOf(readAnew);
      if (tls !== null) for (const listener of listeners) listener.renew(tls);
    } catch (error) {
      log.error({ err: error }, 'the new certificate of the listeners cannot be used');
    }
    for (const warning of certificateWarnings(credentials, Date.now())) log.warn(warning);
    log.info({ logLevel: log.level }, 'certificates, passwords and tokens were read anew');
  };
  let sources = configuration;
  const watch = new CredentialsWatch({
    clock,
    sources: () => sources,
    current: () => credentials,
    onRenewed: takeUp,
    onUnusable: (faults) =>
      log.error(
        `what was renewed is not used, what was read before stays:\n${formatFaults(faults)}`,
      ),
  });
  beside.start(elector);
  elector.start(effective.url);
  watch.start();
  return {
    log,
    stop: async () => {
      const stopped = elector.stop();
      watch.stop();
      manager?.stopping();
      await stopped;
      await beside.stop();
      peers.close();
      await Promise.all(listeners.map((listener) => listener.close()));
      coordinator.close();
      loopDelay.stop();
      await manager?.close();
      await traces?.finish();
      // The last lines are on their way.
      await new Promise((resolve) => setTimeout(resolve, linesAfterMs));
      await flushed(log);
    },
    halt: (cause) => elector.halt(cause),
    flushed: () => flushed(log),
    reload: (reloaded, readAnew) => {
      sources = reloaded;
      log.level = reloaded.logLevel;
      coordinator.configure(reloaded.etcd);
      takeUp(readAnew);
      manager?.reloaded();
    },
    signalChild: (name, all) => beside.app?.signalChild(name, all) ?? false,
    childExitCode: () => beside.app?.childExitCode() ?? null,
  };
}

function elect(
  configuration: Configuration,
  clock: Clock,
  coordinator: Coordinator,
  beside: AppSide,
  onFatal: (failure: unknown) => void,
): Elector {
  const { id, advertise, url, priority, ttlMs, marginMs, takeoverDelayMs, graceMs } = configuration;
  return new Elector({
    elections: configuration.elections.map((name) => electionName(name)),
    me: { id: memberId(id), address: advertise, url, priority, version },
    timing: { ttlMs, marginMs, takeoverDelayMs, graceMs, stopLeadMs: beside.stopLeadMs },
    clock,
    coordinator,
    app: beside.app,
    appHealthy: beside.healthyAtFirst,
    whenAllUnhealthy: configuration.whenAllUnhealthy,
    validation: 'cheap',
    random: Math.random,
    newLeaseId,
    onFatal,
  });
}

/** The certificate of the TCP listeners, null where they speak plain HTTP. */
function tlsOf({ tlsCert, tlsKey, tlsClientCa }: Credentials): ServerTls | null {
  if (tlsCert === null || tlsKey === null) return null;
  return { certificate: tlsCert, key: tlsKey.reveal(), clientCa: tlsClientCa };
}

/** Opens the public and the local listener, or neither. */
async function openListeners(
  { listen: open, localListen }: Configuration,
  capacity: Capacity,
  inputs: Inputs,
  local: LocalInputs,
  tls: ServerTls | null,
): Promise<readonly Listening[]> {
  const first = await listen(createApplication(inputs), open, capacity.public, tls);
  try {
    const application = createApplication(inputs, local);
    return [first, await listen(application, localListen, capacity.local, tls)];
  } catch (failure) {
    await first.close();
    throw failure;
  }
}

function boundPort([publicListener]: readonly Listening[]): number | null {
  const address = publicListener?.address;
  return address !== undefined && 'port' in address ? address.port : null;
}

/** As a client on this machine reaches the local listener: a URL, or `unix:/path`. */
function localUrlOf(
  { localListen, tlsCertFile }: Configuration,
  [, local]: readonly Listening[],
): string {
  if (localListen.kind === 'unix') return `unix:${localListen.path}`;
  const { host } = localListen;
  const bound = local?.address;
  const port = bound !== undefined && 'port' in bound ? bound.port : localListen.port;
  const scheme = tlsCertFile === null ? 'http' : 'https';
  return `${scheme}://${isWildcard(host) ? '127.0.0.1' : hostInUrl(host)}:${port}`;
}
