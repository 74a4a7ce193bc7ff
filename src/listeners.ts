// The two listeners of a sidecar, as its configuration wants them: opened together, and how they are reached.
import { hostInUrl, isWildcard } from './config/addresses.ts';
import type { Configuration } from './config/configuration.ts';
import type { Credentials } from './config/files.ts';
import { createFront } from './http/front.ts';
import type { Capacity } from './http/capacity.ts';
import type { Inputs, LocalInputs } from './http/inputs.ts';
import { listen, type Listening, type ServerTls } from './http/listen.ts';

/** The certificate of the TCP listeners, null where they speak plain HTTP. */
export function tlsOf({ tlsCert, tlsKey, tlsClientCa }: Credentials): ServerTls | null {
  if (tlsCert === null || tlsKey === null) return null;
  return { certificate: tlsCert, key: tlsKey.reveal(), clientCa: tlsClientCa };
}

/** Opens the public and the local listener, or neither. */
export async function openListeners(
  { listen: open, localListen }: Configuration,
  capacity: Capacity,
  inputs: Inputs,
  local: LocalInputs,
  tls: ServerTls | null,
): Promise<readonly Listening[]> {
  const first = await listen(createFront(inputs), open, capacity.public, tls);
  try {
    const application = createFront(inputs, local);
    return [first, await listen(application, localListen, capacity.local, tls)];
  } catch (failure) {
    await first.close();
    throw failure;
  }
}

export function boundPort([publicListener]: readonly Listening[]): number | null {
  const address = publicListener?.address;
  return address !== undefined && 'port' in address ? address.port : null;
}

/** As a client on this machine reaches the local listener: a URL, or `unix:/path`. */
export function localUrlOf(
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
