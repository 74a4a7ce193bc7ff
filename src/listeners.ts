// The listeners of a sidecar, as its configuration wants them: opened together, and how they are reached.
import type { Configuration } from './config/configuration.ts';
import type { Credentials } from './config/files.ts';
import { createFront } from './http/front.ts';
import type { Capacity } from './http/capacity.ts';
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

/** The certificate of the TCP listeners, null where they speak plain HTTP. */
export function tlsOf(
  { tlsClientAuth: clientAuth }: Pick<Configuration, 'tlsClientAuth'>,
  { tlsCert, tlsKey, tlsClientCa }: Credentials,
): ServerTls | null {
  if (tlsCert === null || tlsKey === null) return null;
  return { certificate: tlsCert, key: tlsKey.reveal(), clientCa: tlsClientCa, clientAuth };
}

/** Opens the public and the local listener and, where it is asked for, that of gRPC health: in this order, all or none. */
export async function openListeners(
  configuration: Configuration,
  capacity: Capacity,
  inputs: Inputs,
  local: LocalInputs,
  tls: ServerTls | null,
): Promise<readonly Listening[]> {
  const { listen: open, localListen } = configuration;
  const opened: Listening[] = [];
  try {
    opened.push(await listen(createFront(inputs), open, capacity.public, tls));
    opened.push(await listen(createFront(inputs, local), localListen, capacity.local, tls));
    const health = await openGrpcHealth(configuration, capacity, inputs, tls);
    return health === null ? opened : [...opened, health];
  } catch (failure) {
    await Promise.all(opened.map((one) => one.close()));
    throw failure;
  }
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
  return { ...serving, renew: (renewed) => serving.renew(secureOptions(renewed)) };
}

/** The TCP port that was found; null for a unix socket, and before it is there. */
export function boundPort(listener: Listening | undefined): number | null {
  const address = listener?.address;
  return address !== undefined && 'port' in address ? address.port : null;
}
