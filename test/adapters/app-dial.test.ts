// Connections to a name with two addresses, on real sockets of loopback: one that answers slowly, one that never answers,
// one that refuses. A listener that stands still with a full queue drops whoever comes, until the kernel tries again.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { dial, type Resolve } from '../../src/app-side/dial.ts';
import { reservePorts } from '../harness/ports.ts';
import { eventually, within } from '../harness/wait.ts';

const slowHost = '127.0.0.2';
const otherHost = '127.0.0.3';
const endings: (() => void)[] = [];
afterEach(() => {
  for (const end of endings.splice(0)) end();
});

/** Two connections fill its queue. */
const script = `require('node:net').createServer((socket) => socket.on('error', () => undefined))
  .listen({ host: process.argv[1], port: Number(process.argv[2]), backlog: 1 }, () => console.log('listens'))`;

/** A listener on `slowHost` that stands still, and whose queue is full. */
async function standingStill(port: number): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['-e', script, slowHost, String(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  endings.push(() => void child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  child.kill('SIGSTOP');
  let waiting = 0;
  for (let count = 0; count < 8; count += 1) {
    const socket = connect({ host: slowHost, port });
    socket.on('error', () => undefined).once('connect', () => (waiting += 1));
    endings.push(() => void socket.destroy());
  }
  await eventually(() => waiting >= 2, { withinMs: 20_000, what: 'a full queue' });
  return child;
}

const twoAddresses =
  (tried: () => void = () => undefined): Resolve =>
  (_host, _options, done) => {
    done(null, [
      { address: slowHost, family: 4 },
      { address: otherHost, family: 4 },
    ]);
    setImmediate(tried);
  };

function dialled(port: number, resolve: Resolve): { ended: Promise<Socket>; abort: () => void } {
  let abort: () => void = () => undefined;
  const ended = new Promise<Socket>((taken, refused) => {
    const done = (failure: Error | null, socket: Socket | null): void => {
      if (socket === null) refused(failure ?? new Error('neither'));
      else taken(socket);
    };
    abort = dial('app', port, done, resolve);
  });
  return { ended: within(ended, { withinMs: 20_000, what: 'an end of the dialling' }), abort };
}

test('a way that takes a second leads there, though the other address refuses', async () => {
  const [port = 0] = await reservePorts(1);
  const child = await standingStill(port);
  const socket = await dialled(
    port,
    twoAddresses(() => child.kill('SIGCONT')),
  ).ended;
  expect(socket.remoteAddress).toBe(slowHost);
  socket.destroy();
});

test('an address that never answers does not keep from the other one, and is let go', async () => {
  const [port = 0] = await reservePorts(1);
  await standingStill(port);
  const server = createServer((socket) => socket.end()).listen({ host: otherHost, port });
  await once(server, 'listening');
  endings.push(() => void server.close());
  const socket = await dialled(port, twoAddresses()).ended;
  expect(socket.remoteAddress).toBe(otherHost);
  socket.destroy();
});

test('all refuse, or it is ended before anybody has answered', async () => {
  const [port = 0] = await reservePorts(1);
  await expect(dialled(port, twoAddresses()).ended).rejects.toThrow('ECONNREFUSED');
  await standingStill(port);
  const { ended, abort } = dialled(
    port,
    twoAddresses(() => abort()),
  );
  await expect(ended).rejects.toThrow('aborted');
});
