// The header of the PROXY protocol, version 2 (haproxy.org, proxy-protocol.txt, section 2.2), by which an app that reads it
// learns who its client is.
import { isIPv4, isIPv6, type Socket } from 'node:net';

const signature = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
const versionAndProxy = 0x21;
const families = { unspecified: 0x00, tcp4: 0x11, tcp6: 0x21 } as const;

/** An IPv4 address as it is, where a socket of both families writes it as an IPv6 one. */
export const withoutMapping = (address: string): string =>
  address.replace(/^::ffff:(?=\d+\.)/i, '');

/** The 16 bytes of an IPv6 address, or the 4 of an IPv4 one. */
function bytesOf(address: string): number[] {
  if (isIPv4(address)) return address.split('.').map(Number);
  const [head = '', tail = ''] = new URL(`http://[${address.replace(/%.*$/, '')}]/`).hostname
    .slice(1, -1)
    .split('::');
  const groups = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((group) => parseInt(group, 16));
  const [first, last] = [groups(head), groups(tail)];
  const middle = new Array<number>(8 - first.length - last.length).fill(0);
  return [...first, ...middle, ...last].flatMap((group) => [group >> 8, group & 0xff]);
}

type Ends = Pick<Socket, 'remoteAddress' | 'remotePort' | 'localAddress' | 'localPort'>;

/** For a connection that was accepted: its client, and where it was accepted. */
export function proxyHeader({ remoteAddress, remotePort, localAddress, localPort }: Ends): Buffer {
  const [from, to] = [withoutMapping(remoteAddress ?? ''), withoutMapping(localAddress ?? '')];
  const both = (is: (address: string) => boolean): boolean => is(from) && is(to);
  const family = both(isIPv4) ? 'tcp4' : both((one) => isIPv6(one)) ? 'tcp6' : 'unspecified';
  const ends = family === 'unspecified' ? [] : [...bytesOf(from), ...bytesOf(to)];
  const ports = family === 'unspecified' ? [] : [remotePort ?? 0, localPort ?? 0];
  const body = Buffer.from([...ends, ...ports.flatMap((port) => [port >> 8, port & 0xff])]);
  const length = Buffer.from([body.length >> 8, body.length & 0xff]);
  return Buffer.concat([signature, Buffer.from([versionAndProxy, families[family]]), length, body]);
}
