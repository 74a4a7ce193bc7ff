// What the settings say of asking by https: how others are verified, and what is shown to them.
import type { AskTls } from '../process/ask-tls.ts';
import type { Configuration } from './configuration.ts';
import type { Whole } from './reload.ts';

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
