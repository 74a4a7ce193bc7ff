// Listening on an address, a TCP port or a unix socket, and what it means where that is not to be had.
import type { Server } from 'node:net';
import { ElectordError } from '../errors.ts';

/** `port` 0 asks for a free one. */
export type ListenAddress =
  { readonly host: string; readonly port: number } | { readonly path: string };

/** The address cannot be listened on: taken, not ours, or not a socket. */
export class CannotListen extends ElectordError {
  override readonly name = 'CannotListen';
  readonly code = 'cannot_listen';
  /** Whether it may be otherwise in a while. */
  readonly passes: boolean;

  constructor(message: string, passes: boolean, options?: ErrorOptions) {
    super(message, options);
    this.passes = passes;
  }
}

/** Held by another process, or not there, or no file or memory left: all that may be otherwise in a while. */
const passingCodes: readonly unknown[] = [
  ...['EADDRINUSE', 'EADDRNOTAVAIL', 'EAI_AGAIN', 'ENOTFOUND', 'ENOENT'],
  ...['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM'],
];

export function cannot(what: string, cause: unknown): CannotListen {
  const passes = cause instanceof Error && 'code' in cause && passingCodes.includes(cause.code);
  return new CannotListen(what, passes, { cause });
}

/** Only the owner and the group may connect to a unix socket: it takes the operator's verbs. */
const unixUmask = 0o117;
const shown = (address: ListenAddress): string =>
  'path' in address ? `unix:${address.path}` : `${address.host}:${address.port}`;

/** Resolves once it listens; rejects with CannotListen. */
export function bind(server: Server, address: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void =>
      reject(cannot(`cannot listen on ${shown(address)}: ${error.message}`, error));
    server.once('error', failed);
    server.once('listening', () => {
      server.off('error', failed);
      resolve();
    });
    if (!('path' in address)) {
      server.listen({ host: address.host, port: address.port });
      return;
    }
    // The file is made within the call: there is no moment in which it has another mode.
    const before = process.umask(unixUmask);
    try {
      server.listen({ path: address.path });
    } finally {
      process.umask(before);
    }
  });
}
