// Connections that come back to the process that made them: a proxy whose leader advertises the proxy itself. A TCP
// connection can carry no count of hops, but it has two ends, and both of them are ours then.
import type { Socket } from 'node:net';
import { withoutMapping } from './proxy-protocol.ts';

const plain = (address = ''): string => withoutMapping(address);

export class OwnSockets {
  readonly #made = new Set<string>();
  readonly #accepted = new Map<string, () => void>();

  /** For a connection that is made: `comesBack` is called where it is one that we accept. */
  made(socket: Socket, comesBack: () => void): void {
    const name = `${plain(socket.localAddress)} ${String(socket.localPort)}`;
    this.#made.add(name);
    socket.once('close', () => this.#made.delete(name));
    const accepted = this.#accepted.get(name);
    if (accepted === undefined) return;
    accepted();
    comesBack();
  }

  /** For one that is accepted; `comesBack` is called once, where we made it. */
  accepted(socket: Socket, comesBack: () => void): void {
    const name = `${plain(socket.remoteAddress)} ${String(socket.remotePort)}`;
    this.#accepted.set(name, comesBack);
    socket.once('close', () => this.#accepted.delete(name));
    if (this.#made.has(name)) comesBack();
  }
}
