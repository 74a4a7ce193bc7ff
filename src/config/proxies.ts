// Reads what --proxy holds: where to listen, in which protocol, and whom of which election connections reach.
import { parseTcpAddress, type TcpAddress } from './addresses.ts';
import { Refusal } from './refusal.ts';

export interface ProxySetting {
  readonly protocol: 'tcp' | 'http';
  readonly listen: TcpAddress;
  readonly to: 'leader' | 'followers';
  /** Null: the only one that this sidecar stands in. */
  readonly election: string | null;
  /** Whether each connection begins with a header of the PROXY protocol, version 2; for tcp only. */
  readonly proxyProtocol: boolean;
}

export const proxyShape = 'tcp://HOST:PORT=leader or http://HOST:PORT=followers';
const shape =
  /^(tcp|http):\/\/([^=/]+)\/?=(leader|followers)(?:@([A-Za-z0-9._-]{1,128}))?(\+proxy-v2)?$/;

/** A comma list of `tcp|http://HOST:PORT=leader|followers[@ELECTION][+proxy-v2]`. */
export function parseProxies(text: string): readonly ProxySetting[] | Refusal {
  const proxies: ProxySetting[] = [];
  for (const part of text.split(',')) {
    const proxy = parseProxy(part.trim());
    if (proxy instanceof Refusal) return proxy;
    proxies.push(proxy);
  }
  return proxies;
}

function parseProxy(text: string): ProxySetting | Refusal {
  const [, protocol, address = '', to, election = null, suffix] = shape.exec(text) ?? [];
  if (protocol === undefined || to === undefined) return new Refusal(`is not like ${proxyShape}`);
  const listen = parseTcpAddress(address, 0);
  if (listen instanceof Refusal) return listen;
  const proxyProtocol = suffix !== undefined;
  if (proxyProtocol && protocol === 'http') {
    return new Refusal('has +proxy-v2 with http://, which names the client in X-Forwarded-For');
  }
  return {
    ...{ listen, election, proxyProtocol },
    protocol: protocol as ProxySetting['protocol'],
    to: to as ProxySetting['to'],
  };
}
