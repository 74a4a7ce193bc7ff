// How whoever is asked by https is verified, and what is shown to them, as Node's TLS wants it.
import { isIP } from 'node:net';

/** PEM texts and a name, each null where there is none. */
export interface AskTls {
  /** Who signs the certificates of those that are asked; null: those that Node trusts. */
  readonly ca: string | null;
  /** What is shown where a client certificate is asked for. */
  readonly cert: string | null;
  readonly key: string | null;
  /** What must be in the certificate of whoever is asked at an address, which hardly any certificate names. */
  readonly serverName: string | null;
}

/** Nothing but what Node trusts. */
export const plainTls: AskTls = { ca: null, cert: null, key: null, serverName: null };

/** For one host, a name or an address without brackets. */
export function tlsTowards(host: string, { ca, cert, key, serverName }: AskTls) {
  const named = isIP(host) === 0 && host !== 'localhost';
  const name = named ? host : serverName;
  return {
    ...(ca === null ? {} : { ca }),
    ...(cert === null || key === null ? {} : { cert, key }),
    ...(name === null ? {} : { servername: name }),
  };
}
