// The composition root, the only file that knows everybody: builds the parts from a configuration, wires them, starts
// them and stops them in order. It decides nothing.
import { SystemClock } from './clock.ts';
import { describe, withBoundPort, type Configuration } from './config/configuration.ts';
import { certificateWarnings, type Credentials } from './config/files.ts';
import { AssertionFailure } from './core/assert.ts';
import { electionName, memberId } from './core/model.ts';
import { Elector } from './elector/elector.ts';
import { EtcdCoordinator } from './etcd/coordinator.ts';
import { newLeaseId } from './etcd/lease-id.ts';
import { createApplication } from './http/application.ts';
import type { Inputs } from './http/inputs.ts';
import { listen, type Listening } from './http/listen.ts';
import { LoopDelay } from './loop-delay.ts';
import type { Clock, RequestObserver } from './ports.ts';
import { createLog, type Log } from './telemetry/log.ts';
import { createMetrics } from './telemetry/metrics.ts';
import { logNotices } from './telemetry/notices.ts';
import { version } from './version.ts';

/** A running sidecar. */
export interface Sidecar {
  readonly log: Log;
  /** Steps down, resigns, revokes the lease, drains HTTP; resolves when all that is done. */
  stop(): Promise<void>;
  /** One bounded attempt to revoke the lease, for an end that cannot wait; never rejects. */
  abandon(): Promise<void>;
  /** Takes up rotated certificates, passwords and tokens, and the log level. */
  reload(configuration: Configuration, credentials: Credentials): void;
}

export interface SidecarOptions {
  readonly configuration: Configuration;
  readonly credentials: Credentials;
  /** An internal assertion failed: nothing is claimed any more, and the process should end with 70. */
  readonly onFatal: (failure: unknown) => void;
}

/** Starts a sidecar. Rejects with CannotListen where a listener's address is not to be had. */
export async function startSidecar(options: SidecarOptions): Promise<Sidecar> {
  const { configuration, onFatal } = options;
  let { credentials } = options;
  const log = createLog({ level: configuration.logLevel, format: configuration.logFormat });
  const clock = new SystemClock();
  const metrics = createMetrics({ id: memberId(configuration.id), version, clock });
  const coordinator = coordinate(configuration, () => credentials, clock, metrics.requests);
  const elector = elect(configuration, clock, coordinator, onFatal);
  const app = (): ReturnType<Inputs['health']['app']> => ({
    configured: false,
    healthy: true,
    detail: 'no check is configured',
  });
  metrics.observe({ elections: elector, app, eventClients: () => 0 });
  logNotices(log, elector, clock);
  const loopDelay = new LoopDelay(clock);
  let effective = configuration;
  const listeners = await openListeners(configuration, {
    elections: elector,
    clock,
    wallNow: () => Date.now(),
    started: { at: clock.now(), wallMs: Date.now() },
    metrics: () => metrics.render(),
    version,
    describe: () => describe(effective),
    health: { loopDelayMs: () => loopDelay.worstMs(), app },
    reportError: (error) => {
      log.error({ err: error }, 'an answer could not be given');
      if (error instanceof AssertionFailure) onFatal(error);
    },
  });
  const port = boundPort(listeners);
  if (port !== null) effective = withBoundPort(configuration, port);
  log.info({ version, settings: describe(effective) }, 'electord starts');
  for (const warning of certificateWarnings(credentials, Date.now())) log.warn(warning);
  elector.start(effective.url);
  return {
    log,
    stop: async () => {
      await elector.stop();
      await Promise.all(listeners.map((listener) => listener.close()));
      coordinator.close();
      loopDelay.stop();
    },
    abandon: async () => {
      const lease = elector.lease();
      if (lease !== null) await coordinator.revoke(lease.leaseId).catch(() => undefined);
    },
    reload: (reloaded, readAnew) => {
      credentials = readAnew;
      log.level = reloaded.logLevel;
      coordinator.reset();
      for (const warning of certificateWarnings(credentials, Date.now())) log.warn(warning);
      log.info(
        { logLevel: reloaded.logLevel },
        'certificates, passwords and tokens were read anew',
      );
    },
  };
}

function coordinate(
  configuration: Configuration,
  credentials: () => Credentials,
  clock: Clock,
  observer: RequestObserver,
): EtcdCoordinator {
  const pem = (text: string | null): Buffer | null => (text === null ? null : Buffer.from(text));
  const { etcdUsername: username } = configuration;
  return new EtcdCoordinator({
    endpoints: configuration.etcd,
    prefix: configuration.prefix,
    ttlMs: configuration.ttlMs,
    clock,
    observer,
    tls: () => {
      const { etcdCa, etcdCert, etcdKey } = credentials();
      return { ca: pem(etcdCa), certificate: pem(etcdCert), key: pem(etcdKey?.reveal() ?? null) };
    },
    login: () => {
      const { etcdPassword } = credentials();
      if (username === null || etcdPassword === null) return null;
      return { username, password: etcdPassword.reveal() };
    },
  });
}

function elect(
  configuration: Configuration,
  clock: Clock,
  coordinator: EtcdCoordinator,
  onFatal: (failure: unknown) => void,
): Elector {
  const { id, advertise, url, priority, ttlMs, marginMs, takeoverDelayMs, graceMs } = configuration;
  return new Elector({
    elections: configuration.elections.map((name) => electionName(name)),
    me: { id: memberId(id), address: advertise, url, priority, version },
    timing: { ttlMs, marginMs, takeoverDelayMs, graceMs, stopLeadMs: 0 },
    clock,
    coordinator,
    app: null,
    appHealthy: true,
    whenAllUnhealthy: configuration.whenAllUnhealthy,
    random: Math.random,
    newLeaseId,
    onFatal,
  });
}

/** Opens the public and the local listener, or neither. */
async function openListeners(
  { listen: open, localListen }: Configuration,
  inputs: Inputs,
): Promise<readonly Listening[]> {
  const application = createApplication(inputs);
  const first = await listen(application, open);
  try {
    return [first, await listen(application, localListen)];
  } catch (failure) {
    await first.close();
    throw failure;
  }
}

function boundPort([publicListener]: readonly Listening[]): number | null {
  const address = publicListener?.address;
  return address !== undefined && 'port' in address ? address.port : null;
}
