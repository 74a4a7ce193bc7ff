// The listeners of a sidecar, as its configuration wants them: the two of its API, opened together, and how they are
// reached; and those of its proxies, which are loaded where there are any.
import type { Configuration } from './config/configuration.ts';
import type { Credentials } from './config/files.ts';
import { electionName } from './core/model.ts';
import { createFront } from './http/front.ts';
import { openFilesAllowed, proxiedAtMost, type Capacity } from './http/capacity.ts';
import type { Inputs, LocalInputs } from './http/inputs.ts';
import {
  bindAll,
  listen,
  secureOptions,
  serverOptions,
  type Listening,
  type ServerTls,
} from './http/listen.ts';
import { servingOf } from './http/serving.ts';
import { longestPromiseMs, Promises } from './peers/promises.ts';
import type { Clock, Elections } from './ports.ts';
import type { AskTls } from './process/ask-tls.ts';
import { CannotListen } from './process/bind.ts';
import { patiently } from './process/patience.ts';
import type { Proxies } from './proxy/proxy.ts';
import type { Log } from './telemetry/log.ts';

/** The certificate of the TCP listeners, null where they speak plain HTTP. */
export function tlsOf(
  { tlsClientAuth: clientAuth }: Pick<Configuration, 'tlsClientAuth'>,
  { tlsCert, tlsKey, tlsClientCa }: Credentials,
): ServerTls | null {
  if (tlsCert === null || tlsKey === null) return null;
  return { certificate: tlsCert, key: tlsKey.reveal(), clientCa: tlsClientCa, clientAuth };
}

/** Opens the public and the local listener, in this order, and those that are asked for besides; or none of them. */
export async function openListeners(
  configuration: Configuration,
  capacity: Capacity,
  inputs: Inputs,
  local: LocalInputs,
  tls: ServerTls | null,
): Promise<readonly Listening[]> {
  const { listen: open, localListen, agentCheck } = configuration;
  const opened: Listening[] = [];
  try {
    opened.push(await listen(createFront(inputs), open, capacity.public, tls));
    opened.push(await listen(createFront(inputs, local), localListen, capacity.local, tls));
    if (agentCheck !== null) {
      const { listenToAgents } = await import('./http/agent.ts');
      const agents = await listenToAgents(agentCheck, inputs);
      opened.push({ ...agents, says: 'agent-checks are answered' });
    }
    const health = await openGrpcHealth(configuration, capacity, inputs, tls);
    return health === null ? opened : [...opened, health];
  } catch (failure) {
    await Promise.all(opened.map((one) => one.close()));
    throw failure;
  }
}

/** Opens what may not be to be had yet: another process may be about to end. */
export function onceToBeHad<Opened>(
  open: () => Promise<Opened>,
  log: Pick<Log, 'warn'>,
): Promise<Opened> {
  return patiently(open, {
    passes: (failure) => failure instanceof CannotListen && failure.passes,
    onWait: (failure, patientForMs) =>
      log.warn({ err: failure, patientForMs }, 'an address is not to be had yet: trying again'),
  });
}

/** Of the connections that are nobody's share; a checker has one. */
const grpcHealthConnectionsAtMost = 256;

async function openGrpcHealth(
  { grpcHealth }: Configuration,
  capacity: Capacity,
  inputs: Inputs,
  tls: ServerTls | null,
): Promise<Listening | null> {
  if (grpcHealth === null) return null;
  const { serveHealth } = await import('./grpc-health/serve.ts');
  const quarter = Math.ceil(capacity.local.maxConnections / 4);
  const serving = await serveHealth({
    isServing: servingOf(inputs),
    onChange: (changed) =>
      inputs.elections.subscribe(({ kind }) => {
        if (kind === 'changed') changed();
      }),
    bind: (server) => bindAll(server, grpcHealth),
    tls: tls === null ? null : serverOptions(tls),
    maxConnections: Math.min(quarter, grpcHealthConnectionsAtMost),
    reportError: inputs.reportError,
  });
  const says = 'gRPC health is served';
  return { ...serving, says, renew: (renewed) => serving.renew(secureOptions(renewed)) };
}

/** The TCP port that was found; null for a unix socket, and before it is there. */
export function boundPort(listener: Listening | undefined): number | null {
  const address = listener?.address;
  return address !== undefined && 'port' in address ? address.port : null;
}

/** What proxies of other sidecars may be promised: where traffic follows the leader here, it does so there. */
export const publicHoldMsOf = ({ proxies, maxHoldMs }: Configuration): number =>
  proxies.length === 0 ? 0 : Math.min(longestPromiseMs, maxHoldMs);

/** The proxies, and what they ask other sidecars by; null where none is configured. */
export async function openProxiesOf(
  configuration: Configuration,
  beside: {
    readonly elections: Elections;
    readonly clock: Pick<Clock, 'now'>;
    readonly tls: () => AskTls;
    readonly log: Pick<Log, 'warn'>;
  },
): Promise<Proxies | null> {
  const { proxies, elections: names } = configuration;
  if (proxies.length === 0) return null;
  const { openProxies } = await import('./proxy/proxy.ts');
  const { elections, clock, tls, log } = beside;
  const promises = new Promises({ now: () => clock.now(), tls });
  const options = {
    ...{ elections, clock, tls, ask: promises.ask },
    warn: (message: string) => log.warn(message),
    proxies: proxies.map((proxy) => ({
      ...proxy,
      election: electionName(proxy.election ?? names[0] ?? ''),
    })),
    maxConnections: proxiedAtMost(openFilesAllowed(), proxies.length),
    bufferWindowMs: configuration.proxyBufferWindowMs,
    bufferSize: configuration.proxyBufferSize,
    drainMs: configuration.proxyDrainMs,
    responseTimeoutMs: configuration.proxyResponseTimeoutMs,
  };
  const opened = await onceToBeHad(() => openProxies(options), log);
  const close = async (): Promise<void> => {
    await opened.close();
    promises.close();
  };
  return { figures: () => opened.figures(), close };
}
