// Stalls this process in the worst moment: while an answer that it waits for lies in its socket, unread. A relay on a
// thread of its own holds answers back; `stall` has it deliver them while this thread does nothing at all.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

/** CommonJS, as a worker made of a text is. Flag 0 is set once everything held has been written to our side. */
const program = `
const { connect, createServer } = require('node:net');
const { parentPort, workerData } = require('node:worker_threads');
const { host, port, flags } = workerData;
const delivered = new Int32Array(flags);
let holding = false;
let held = [];
createServer((client) => {
  const target = connect({ host, port });
  target.setNoDelay(true).on('error', () => client.destroy());
  client.setNoDelay(true).on('error', () => undefined).on('close', () => target.destroy());
  client.on('data', (chunk) => target.write(chunk));
  const pass = (send) => {
    if (!holding) send();
    else if (held.push(send) === 1) parentPort.postMessage('held');
  };
  target.on('data', (chunk) => pass((done) => client.write(chunk, done)));
  target.on('end', () => pass((done) => client.end(done)));
}).listen(0, '127.0.0.1', function () { parentPort.postMessage(this.address().port); });
parentPort.on('message', async (word) => {
  holding = word === 'hold';
  if (holding) return;
  const writes = held.map((send) => new Promise(send));
  held = [];
  await Promise.all(writes);
  Atomics.store(delivered, 0, 1);
  Atomics.notify(delivered, 0);
});
`;

export interface StallingRelay {
  readonly port: number;
  /** From now on holds every answer back; resolves when the first one is held. */
  readonly hold: () => Promise<void>;
  /** Blocks this thread until what was held is in its sockets, and for `forMs` more. */
  readonly stall: (forMs: number) => void;
  readonly stop: () => Promise<unknown>;
}

/** Relays to a TCP port of the loopback. */
export async function startStallingRelay(port: number): Promise<StallingRelay> {
  const flags = new SharedArrayBuffer(8);
  const cells = new Int32Array(flags);
  const workerData = { host: '127.0.0.1', port, flags };
  const worker = new Worker(program, { eval: true, workerData });
  const [own] = (await once(worker, 'message')) as [number];
  return {
    port: own,
    hold: async () => {
      Atomics.store(cells, 0, 0);
      const first = once(worker, 'message');
      worker.postMessage('hold');
      await first;
    },
    stall: (forMs) => {
      worker.postMessage('release');
      if (Atomics.wait(cells, 0, 0, 20_000) === 'timed-out')
        throw new Error('nothing was delivered');
      Atomics.wait(cells, 1, 0, forMs);
    },
    stop: () => worker.terminate(),
  };
}
