// What an advertised address says: `host:port`, or a URL of any scheme. What another program wrote may be anything.

export interface Advertised {
  /** An IPv6 host without its brackets. */
  readonly host: string;
  /** Null where none is named, and none is known for the scheme. */
  readonly port: number | null;
  /** Whether it is `https://…`. */
  readonly secure: boolean;
}

const standardPorts: Readonly<Record<string, number>> = { 'http:': 80, 'https:': 443 };

/** Null where it names no host. */
export function readAdvertised(address: string | null): Advertised | null {
  if (address === null) return null;
  const text = address.includes('://') ? address : `tcp://${address}`;
  if (!URL.canParse(text)) return null;
  const { hostname, port, protocol } = new URL(text);
  if (hostname === '') return null;
  return {
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: port === '' ? (standardPorts[protocol] ?? null) : Number(port),
    secure: protocol === 'https:',
  };
}
