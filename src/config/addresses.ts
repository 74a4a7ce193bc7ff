// Reads every kind of address a setting can hold: listeners, etcd endpoints, URLs, the app's check and
// the hooks. Refuses user and password in an address, because flags stand in the process list. Resolves
// nothing and connects to nothing.

import { isIP, isIPv4, isIPv6 as isIPv6Text } from 'node:net';
import { Refusal } from './refusal.ts';

/** A TCP address to listen on or connect to; an IPv6 host stands without brackets. */
export interface TcpAddress {
  readonly kind: 'tcp';
  readonly host: string;
  /** 0 asks the operating system for a free port; only listeners may have it. */
  readonly port: number;
}

/** A unix socket to listen on. */
export interface UnixAddress {
  readonly kind: 'unix';
  readonly path: string;
}

/** How to find out whether the app is well. `command` is a line for the shell. */
export type AppCheck =
  | { readonly kind: 'http'; readonly url: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'exec'; readonly command: string };

/** What to call on election and on step-down: POST to `url`, or run `command` in the shell. */
export type Hook =
  | { readonly kind: 'http'; readonly url: string }
  | { readonly kind: 'exec'; readonly command: string };

/** Node compiles a large pattern for this at the first question: most starts have none to ask. */
const isIPv6 = (text: string): boolean => text.includes(':') && isIPv6Text(text);

const defaultEtcdPort = 2379;
const longestUnixPath = 103; // sockaddr_un holds 104 bytes on macOS, 108 on Linux, with a final NUL.
const longestCommand = 4096;

/**
 * `host:port`, with an IPv6 host in brackets. An IPv4 one may have them too: a template that is filled with whatever
 * address a machine has, as Kubernetes does with a pod's, has to write them for both.
 */
export function parseTcpAddress(text: string, lowestPort: 0 | 1): TcpAddress | Refusal {
  if (isIPv6(text)) return new Refusal('lacks a port, or an IPv6 address lacks its brackets');
  const match = /^(?:\[([^[\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  if (!match) return new Refusal('is not host:port (an IPv6 host in brackets, as [::1]:4040)');
  const host = match[1] ?? match[2] ?? '';
  const good = match[1] === undefined ? isHostName(host) : isIP(host) !== 0;
  if (!good) return new Refusal('has no usable host; write a name, an IPv4 address or [IPv6]');
  const port = Number(match[3]);
  if (port < lowestPort || port > 65_535) {
    return new Refusal(`has a port outside ${lowestPort} to 65535`);
  }
  return { kind: 'tcp', host: host.toLowerCase(), port };
}

/** `host:port` or `unix:/path`. */
export function parseLocalAddress(text: string): TcpAddress | UnixAddress | Refusal {
  if (!text.startsWith('unix:')) return parseTcpAddress(text, 0);
  const path = text.slice('unix:'.length);
  if (!path.startsWith('/')) return new Refusal('needs an absolute path after unix:');
  if (path.endsWith('/')) return new Refusal('names a directory, not a socket');
  if (hasControlOrSpace(path)) return new Refusal('has a space or a control character in its path');
  if (Buffer.byteLength(path) > longestUnixPath) {
    return new Refusal(`has a path longer than ${longestUnixPath} bytes`);
  }
  return { kind: 'unix', path };
}

/**
 * A comma list of etcd endpoints; each comes back as `scheme://host:port`, port 2379 where none stands, or as
 * `srv://domain` or `srv+https://domain`, whose SRV records name endpoints.
 */
export function parseEndpoints(text: string): readonly string[] | Refusal {
  const endpoints: string[] = [];
  for (const part of text.split(',')) {
    const endpoint = parseEndpoint(part.trim());
    if (endpoint instanceof Refusal) return endpoint;
    if (endpoints.includes(endpoint)) return new Refusal('names the same endpoint twice');
    endpoints.push(endpoint);
  }
  const schemes = new Set(endpoints.map((endpoint) => /^(https|srv\+https):/.test(endpoint)));
  if (schemes.size > 1) return new Refusal('mixes http:// and https://');
  return endpoints;
}

function parseEndpoint(text: string): string | Refusal {
  if (text === '') return new Refusal('has an empty place in its list');
  if (text.includes('@')) {
    return new Refusal(
      'has user or password in it; use --etcd-username and --etcd-password-file instead',
    );
  }
  const [, named, domain = ''] = /^(srv(?:\+https)?):\/\/(.*?)\/?$/i.exec(text) ?? [];
  if (named !== undefined) {
    if (isIP(domain) !== 0 || !isHostName(domain)) return new Refusal('has no domain after srv://');
    return `${named.toLowerCase()}://${domain.toLowerCase()}`;
  }
  const match = /^(https?):\/\/([^/?#]*)(.*)$/i.exec(text);
  if (!match) return new Refusal('has an endpoint that does not begin with http:// or https://');
  const [, scheme = '', authority = '', rest = ''] = match;
  if (rest !== '' && rest !== '/') return new Refusal('has an endpoint with a path or a query');
  const withPort = /:\d*$/.test(authority.replace(/^\[[^\]]*\]/, ''))
    ? authority
    : `${authority}:${defaultEtcdPort}`;
  const address = parseTcpAddress(withPort, 1);
  if (address instanceof Refusal) return address;
  return `${scheme.toLowerCase()}://${hostInUrl(address.host)}:${address.port}`;
}

/** Where the app is: `host:port` or a URL of any scheme, given back as it stands but for brackets around IPv4. */
export function parseAdvertise(given: string): string | Refusal {
  const text = withoutIpv4Brackets(given);
  if (text.includes('://')) {
    const url = parseUrl(text);
    return url instanceof Refusal ? url : text;
  }
  if (text.includes('@')) return new Refusal('has user or password in it');
  const address = parseTcpAddress(text, 1);
  return address instanceof Refusal ? address : text;
}

/** Where this sidecar is: an http(s) URL without query; a slash at the end is dropped. */
export function parseOwnUrl(given: string): string | Refusal {
  const text = withoutIpv4Brackets(given);
  const url = parseHttpUrl(text);
  if (url instanceof Refusal) return url;
  if (/[?#]/.test(text)) return new Refusal('has a query or a fragment');
  return text.replace(/\/+$/, '');
}

/** `http(s)://…`, `tcp://host:port` or `exec:CMD`. */
export function parseAppCheck(text: string): AppCheck | Refusal {
  if (!text.startsWith('tcp://')) return parseHook(text);
  if (text.includes('@')) return new Refusal('has user or password in it');
  const address = parseTcpAddress(text.slice('tcp://'.length).replace(/\/$/, ''), 1);
  return address instanceof Refusal ? address : { ...address, kind: 'tcp' };
}

/** `http(s)://…` or `exec:CMD`. */
export function parseHook(text: string): Hook | Refusal {
  if (text.startsWith('exec:')) {
    const command = text.slice('exec:'.length).trim();
    if (command === '') return new Refusal('has no command after exec:');
    if (command.includes('\0')) return new Refusal('has a NUL character in its command');
    if (command.length > longestCommand) {
      return new Refusal(`has a command longer than ${longestCommand} characters`);
    }
    return { kind: 'exec', command };
  }
  const url = parseHttpUrl(text);
  return url instanceof Refusal ? url : { kind: 'http', url: url.href };
}

/** Whether only processes of this machine can reach the address. */
export function isLocalOnly(address: TcpAddress | UnixAddress): boolean {
  if (address.kind === 'unix') return true;
  const host = address.host.replace(/^::ffff:/, '');
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** Whether two listeners would ask for the same socket. Port 0 never collides. */
export function collide(one: TcpAddress, other: TcpAddress | UnixAddress): boolean {
  if (other.kind === 'unix' || one.port === 0 || one.port !== other.port) return false;
  return hostsOf(one.host).some((first) =>
    hostsOf(other.host).some((second) => {
      if (first === second || first === '::' || second === '::') return true;
      return (first === '0.0.0.0' && !isIPv6(second)) || (second === '0.0.0.0' && !isIPv6(first));
    }),
  );
}

/** A host as it stands in a URL: IPv6 in brackets. */
export function hostInUrl(host: string): string {
  return isIPv6(host) ? `[${host}]` : host;
}

/** As a client on this machine reaches a local listener: a URL, or `unix:/path`. `port` is the one that was found. */
export function localUrlOf(
  {
    localListen,
    tlsCertFile,
  }: {
    readonly localListen: TcpAddress | UnixAddress;
    readonly tlsCertFile: string | null;
  },
  port: number | null = null,
): string {
  if (localListen.kind === 'unix') return `unix:${localListen.path}`;
  const { host } = localListen;
  const scheme = tlsCertFile === null ? 'http' : 'https';
  const reached = isWildcard(host) ? '127.0.0.1' : hostInUrl(host);
  return `${scheme}://${reached}:${String(port ?? localListen.port)}`;
}

/** Whether a listener on this host accepts on every address of the machine. */
export function isWildcard(host: string): boolean {
  return isIPv6(host) ? comparable(host) === '::' : host === '0.0.0.0';
}

/** The addresses that a listener on this host takes: `localhost` is this machine in both families. */
export function hostsOf(host: string): readonly string[] {
  return host === 'localhost' ? ['127.0.0.1', '::1'] : [comparable(host)];
}

/**
 * Where others reach this machine, out of its addresses: the first that a listener on `host` takes, IPv4 before IPv6,
 * because a machine that has only one of them mostly has IPv4. Null where there is none.
 */
export function reachableAddress(host: string, addresses: readonly string[]): string | null {
  const first = addresses.find((address) => isIPv4(address));
  if (first !== undefined || host === '0.0.0.0') return first ?? null;
  return addresses.find((address) => isIPv6(address)) ?? null;
}

/** Whether the text holds white space or a control character. */
export function hasControlOrSpace(text: string): boolean {
  return /[\p{C}\p{Z}]/u.test(text);
}

function comparable(host: string): string {
  if (!isIPv6(host) || host.includes('%')) return host;
  return new URL(`http://[${host}]/`).hostname.slice(1, -1); // The URL class shortens IPv6.
}

/** A name or an IPv4 address. */
export function isHostName(host: string): boolean {
  if (/^[\d.]+$/.test(host)) return isIP(host) === 4;
  if (host.length > 253) return false;
  return /^(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?$/.test(host);
}

function withoutIpv4Brackets(text: string): string {
  return text.replace(/^((?:[a-z][a-z\d+.-]*:\/\/)?)\[(\d+(?:\.\d+){3})\]/i, '$1$2');
}

function parseHttpUrl(given: string): URL | Refusal {
  const text = withoutIpv4Brackets(given);
  if (!/^https?:\/\//i.test(text)) return new Refusal('does not begin as it must');
  return parseUrl(text);
}

function parseUrl(text: string): URL | Refusal {
  // The URL class silently drops tabs and newlines; here they are mistakes.
  if (hasControlOrSpace(text)) return new Refusal('has a space or a control character in it');
  if (!URL.canParse(text)) return new Refusal('is not a URL');
  const url = new URL(text);
  if (url.username !== '' || url.password !== '') {
    return new Refusal('has user or password in it');
  }
  if (url.hostname === '') return new Refusal('has no host');
  return url;
}
