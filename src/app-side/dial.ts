// A TCP connection to a name with several addresses: the next address is tried while the ones before are still being
// tried, and whichever answers first is taken. Node's own gives each but the last 250 ms, and reaches nobody over a way
// that takes longer, where the other family leads nowhere.
import { lookup, type LookupAddress } from 'node:dns';
import { connect, type Socket } from 'node:net';

/** Called once: with a connection, or with why there is none. */
export type Dialled = (failure: Error | null, socket: Socket | null) => void;

/** As RFC 8305 has it: long enough for most ways, so that mostly one connection is made. */
const nextAfterMs = 250;

/** Families take turns, beginning with the first: where one leads nowhere, the second try is of the other. */
function inTurns(addresses: readonly LookupAddress[]): string[] {
  const family = addresses[0]?.family;
  const first = addresses.filter((one) => one.family === family);
  const second = addresses.filter((one) => one.family !== family);
  return first
    .flatMap((one, index) => [one, ...second.slice(index, index + 1)])
    .concat(second.slice(first.length))
    .map(({ address }) => address);
}

/** From a name to all its addresses, as node:dns has it. */
export type Resolve = (
  host: string,
  options: { readonly all: true },
  done: (failure: Error | null, addresses: LookupAddress[]) => void,
) => void;

/** Connects to `host`, a name or an address without brackets. There is no time limit but the returned function, which ends it. */
export function dial(
  host: string,
  port: number,
  dialled: Dialled,
  resolve: Resolve = lookup,
): () => void {
  const trying = new Set<Socket>();
  let untried: string[] = [];
  let timer: NodeJS.Timeout | undefined;
  let over = false;
  const end = (failure: Error | null, socket: Socket | null): void => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    for (const one of trying) if (one !== socket) one.on('error', () => undefined).destroy();
    dialled(failure, socket);
  };
  const tryNext = (): void => {
    clearTimeout(timer);
    const address = untried.shift();
    if (over || address === undefined) return;
    const socket = connect({ host: address, port });
    const failed = (failure: Error): void => {
      trying.delete(socket);
      if (untried.length === 0 && trying.size === 0) end(failure, null);
      else tryNext();
    };
    trying.add(socket);
    socket.once('error', failed);
    socket.once('connect', () => {
      socket.off('error', failed);
      end(null, socket);
    });
    if (untried.length > 0) timer = setTimeout(tryNext, nextAfterMs);
  };
  resolve(host, { all: true }, (failure, addresses) => {
    if (failure !== null) {
      end(failure, null);
      return;
    }
    untried = inTurns(addresses);
    tryNext();
  });
  return () => end(new Error('aborted'), null);
}
