// Connections that come back to the process that made them: a proxy whose leader advertises the proxy itself. A TCP
// connection can carry no count of hops, but it has two ends, and both of them are ours then. Both are compared: one port
// of this machine may have connections to several others at once.
import type { Socket } from 'node:net';
import { withoutMapping } from './proxy-protocol.ts';

type End = readonly [address: string | undefined, port: number | undefined];
type Ends = Pick<Socket, 'localAddress' | 'localPort' | 'remoteAddress' | 'remotePort'> & {
  once(event: 'close', listener: () => void): unknown;
};

const nameOf = (...ends: readonly [from: End, to: End]): string =>
  ends.map(([address = '', port]) => `${withoutMapping(address)} ${String(port)}`).join(' ');

export class OwnSockets {
  readonly #made = new Set<string>();
  readonly #accepted = new Map<string, () => void>();

  /** For a connection that is made: `comesBack` is called where it is one that we accept. */
  made(socket: Ends, comesBack: () => void): void {
    const { localAddress, localPort, remoteAddress, remotePort } = socket;
    const name = nameOf([localAddress, localPort], [remoteAddress, remotePort]);
    this.#made.add(name);
    socket.once('close', () => this.#made.delete(name));
    const accepted = this.#accepted.get(name);
    if (accepted === undefined) return;
    accepted();
    comesBack();
  }

  /** For one that is accepted; `comesBack` is called once, where we made it. */
  accepted(socket: Ends, comesBack: () => void): void {
    const { localAddress, localPort, remoteAddress, remotePort } = socket;
    const name = nameOf([remoteAddress, remotePort], [localAddress, localPort]);
    this.#accepted.set(name, comesBack);
    socket.once('close', () => this.#accepted.delete(name));
    if (this.#made.has(name)) comesBack();
  }
}
