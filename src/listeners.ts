// The listeners of a sidecar, as its configuration wants them: opened together, and how they are reached.
import type { Configuration } from './config/configuration.ts';
import type { Credentials } from './config/files.ts';
import { createFront } from './http/front.ts';
import type { Capacity } from './http/capacity.ts';
import type { Inputs, LocalInputs } from './http/inputs.ts';
import { listen, type Listening, type ServerTls } from './http/listen.ts';

/** The certificate of the TCP listeners, null where they speak plain HTTP. */
export function tlsOf(
  { tlsClientAuth: clientAuth }: Pick<Configuration, 'tlsClientAuth'>,
  { tlsCert, tlsKey, tlsClientCa }: Credentials,
): ServerTls | null {
  if (tlsCert === null || tlsKey === null) return null;
  return { certificate: tlsCert, key: tlsKey.reveal(), clientCa: tlsClientCa, clientAuth };
}

/** Opens the public and the local listener, and that for agent-checks where it is asked for; or none of them. */
export async function openListeners(
  { listen: open, localListen, agentCheck }: Configuration,
  capacity: Capacity,
  inputs: Inputs,
  local: LocalInputs,
  tls: ServerTls | null,
): Promise<readonly Listening[]> {
  const opened = [await listen(createFront(inputs), open, capacity.public, tls)];
  try {
    const application = createFront(inputs, local);
    opened.push(await listen(application, localListen, capacity.local, tls));
    if (agentCheck !== null) {
      const { listenToAgents } = await import('./http/agent.ts');
      opened.push(await listenToAgents(agentCheck, inputs));
    }
    return opened;
  } catch (failure) {
    await Promise.all(opened.map((one) => one.close()));
    throw failure;
  }
}

/** The TCP port that was found; null for a unix socket, and before it is there. */
export function boundPort(listener: Listening | undefined): number | null {
  const address = listener?.address;
  return address !== undefined && 'port' in address ? address.port : null;
}
