// The two listeners of a sidecar, as its configuration wants them: opened together, and how they are reached.
import type { Whole } from './config/reload.ts';
import type { Configuration } from './config/configuration.ts';
import type { Credentials } from './config/files.ts';
import { createFront } from './http/front.ts';
import type { Capacity } from './http/capacity.ts';
import type { Inputs, LocalInputs } from './http/inputs.ts';
import { listen, type Listening, type ServerTls } from './http/listen.ts';
import type { AskTls } from './process/ask-tls.ts';

/** The certificate of the TCP listeners, null where they speak plain HTTP. */
export function tlsOf(
  { tlsClientAuth: clientAuth }: Pick<Configuration, 'tlsClientAuth'>,
  { tlsCert, tlsKey, tlsClientCa }: Credentials,
): ServerTls | null {
  if (tlsCert === null || tlsKey === null) return null;
  return { certificate: tlsCert, key: tlsKey.reveal(), clientCa: tlsClientCa, clientAuth };
}

/** How whoever we ask by https is verified, and what is shown to them: our own certificate where there is no other. */
export function askTlsOf({ configuration, credentials }: Whole): AskTls {
  const { ca, cert, key, tlsCert, tlsKey } = credentials;
  const shown = cert === null ? { cert: tlsCert, key: tlsKey } : { cert, key };
  const { serverName } = configuration;
  return { ca, cert: shown.cert, key: shown.key?.reveal() ?? null, serverName };
}

/** The same as variables, for a command that asks our local listener. */
export function localTlsOf(configuration: Configuration): Readonly<Record<string, string>> {
  const { caFile, certFile, keyFile, tlsCertFile, tlsKeyFile, serverName } = configuration;
  const [cert, key] = certFile === null ? [tlsCertFile, tlsKeyFile] : [certFile, keyFile];
  const all = { CA: caFile, CERT: cert, KEY: key, SERVER_NAME: serverName };
  const set = Object.entries(all).flatMap(([name, value]) =>
    value === null ? [] : [[`ELECTORD_${name}`, value]],
  );
  return Object.fromEntries(set) as Record<string, string>;
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

/** The TCP port that was found; null for a unix socket, and before it is there. */
export function boundPort(listener: Listening | undefined): number | null {
  const address = listener?.address;
  return address !== undefined && 'port' in address ? address.port : null;
}
