// What becomes of the header of a request and of an answer on the way through (RFC 9110, section 7.6.1): what is meant for
// one connection stays on it, and the app learns who asked, and in which term.
import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { isIPv6 } from 'node:net';
import { withoutMapping } from './proxy-protocol.ts';
import type { Target } from './target.ts';

export const hopsHeader = 'x-electord-hops';
export const tokenHeader = 'x-electord-fencing-token';

const ofOneConnection: ReadonlySet<string> = new Set([
  ...['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade'],
  ...['proxy-authenticate', 'proxy-authorization', 'http2-settings'],
]);
/** Ours to say, whatever the client does. */
const ours: ReadonlySet<string> = new Set([hopsHeader, tokenHeader, 'expect', 'te']);

function namedBy(connection: string | undefined): ReadonlySet<string> | null {
  if (connection === undefined) return null;
  const names = connection.split(',').map((name) => name.trim().toLowerCase());
  const named = names.filter((name) => name !== 'close' && name !== 'keep-alive' && name !== '');
  return named.length === 0 ? null : new Set(named);
}

function passedOn(
  headers: IncomingHttpHeaders,
  except: ReadonlySet<string> | null,
): OutgoingHttpHeaders {
  const named = namedBy(headers.connection);
  const passed: OutgoingHttpHeaders = {};
  for (const name in headers) {
    if (ofOneConnection.has(name) || except?.has(name) || named?.has(name)) continue;
    passed[name] = headers[name];
  }
  return passed;
}

/** How many proxies of ours a request has come through. */
export function hopsOf({ headers }: IncomingMessage): number {
  const hops = headers[hopsHeader];
  return typeof hops === 'string' && /^\d{1,3}$/.test(hops) ? Number(hops) : 0;
}

const last = (list: string | string[] | undefined, one: string): string =>
  list === undefined || list.length === 0 ? one : `${String(list)}, ${one}`;

/** What is sent to the app. */
export function requestHeaders(request: IncomingMessage, target: Target): OutgoingHttpHeaders {
  const { headers, socket } = request;
  const passed = passedOn(headers, ours);
  const address = withoutMapping(socket.remoteAddress ?? 'unknown');
  passed['x-forwarded-for'] = last(headers['x-forwarded-for'], address);
  passed['x-forwarded-proto'] ??= 'http';
  if (headers.host !== undefined) passed['x-forwarded-host'] ??= headers.host;
  // The only thing that it can say of one connection and the next.
  if (/\btrailers\b/i.test(String(headers['te'] ?? ''))) passed['te'] = 'trailers';
  passed[hopsHeader] = String(hopsOf(request) + 1);
  if (target.token !== null) passed[tokenHeader] = String(target.token);
  const { host, port } = target.address;
  passed['host'] ??= `${isIPv6(host) ? `[${host}]` : host}:${port}`;
  return passed;
}

/** What is sent to the client. */
export const answerHeaders = (headers: IncomingHttpHeaders): OutgoingHttpHeaders =>
  passedOn(headers, null);
