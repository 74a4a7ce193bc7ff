// The relay's faults, seen by a real socket on each side: what is cut stays silent, what is healed
// arrives whole, what is reset and refused says so.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startRelay } from './relay.ts';
import type { Relay } from './relay.ts';
import { eventually } from './wait.ts';

let target: Server;
let relay: Relay;
/** What the target has received, over all connections. */
let received = '';
let accepted: Socket[] = [];
let clients: Client[] = [];

class Client {
  readonly socket: Socket;
  text = '';
  failure: string | null = null;

  constructor() {
    this.socket = connect(relay.port, relay.host);
    this.socket.setEncoding('utf8').on('data', (chunk: string) => (this.text += chunk));
    this.socket.on('error', (error: NodeJS.ErrnoException) => (this.failure = error.code ?? ''));
    clients.push(this);
  }

  hears(text: string): Promise<unknown> {
    return eventually(() => this.text === text, { withinMs: 20_000, what: `hearing ${text}` });
  }

  fails(code: string): Promise<unknown> {
    return eventually(() => this.failure === code, { withinMs: 20_000, what: code });
  }
}

/**
 * Resolves when questions on a way around the relay have been answered several times over: whatever
 * the relay had let through by mistake would have arrived by then.
 */
async function settled(): Promise<void> {
  const direct = connect((target.address() as AddressInfo).port, '127.0.0.1');
  for (let round = 0; round < 10; round += 1) {
    direct.write('.');
    await once(direct, 'data');
  }
  direct.destroy();
}

beforeEach(async () => {
  received = '';
  accepted = [];
  clients = [];
  target = createServer((socket) => {
    accepted.push(socket);
    socket.on('error', () => undefined);
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      if (chunk !== '.') received += chunk;
      socket.write(chunk.toUpperCase());
    });
  });
  target.listen(0, '127.0.0.1');
  await once(target, 'listening');
  relay = await startRelay({ target: `127.0.0.1:${(target.address() as AddressInfo).port}` });
});

afterEach(() => {
  relay.stop();
  for (const { socket } of clients) socket.destroy();
  for (const socket of accepted) socket.destroy();
  target.close();
});

test('forwards both ways, and the end of a connection', async () => {
  const client = new Client();
  client.socket.write('hello');
  await client.hears('HELLO');
  expect(relay.connections).toBe(1);
  client.socket.end();
  await eventually(() => relay.connections === 0, { withinMs: 20_000, what: 'no connection' });
  expect(client.failure).toBeNull();
});

test('a cut is silent both ways, and nothing is lost when it heals', async () => {
  const client = new Client();
  client.socket.write('one');
  await client.hears('ONE');
  relay.cut();
  client.socket.write('two');
  accepted[0]!.write('three');
  await settled();
  expect(received).toBe('one');
  expect(client.text).toBe('ONE');
  await relay.heal();
  await client.hears('ONEthreeTWO');
  expect(client.failure).toBeNull();
});

test('a connection made during a cut is accepted, silent, and works once healed', async () => {
  relay.cut();
  const client = new Client();
  await once(client.socket, 'connect');
  client.socket.write('late');
  await settled();
  expect(received).toBe('');
  expect(client.failure).toBeNull();
  // The target has seen nobody but the one who settled.
  expect(accepted).toHaveLength(1);
  await relay.heal();
  await client.hears('LATE');
});

test('cut upwards: the target hears nothing, the client still does', async () => {
  const client = new Client();
  client.socket.write('a');
  await client.hears('A');
  relay.cutOneWay('up');
  client.socket.write('b');
  accepted[0]!.write('-');
  await client.hears('A-');
  expect(received).toBe('a');
  await relay.heal();
  await client.hears('A-B');
});

test('cut downwards: the target hears, its answers do not arrive', async () => {
  const client = new Client();
  client.socket.write('a');
  await client.hears('A');
  relay.cutOneWay('down');
  client.socket.write('b');
  await eventually(() => received === 'ab', { withinMs: 20_000, what: 'b at the target' });
  await settled();
  expect(client.text).toBe('A');
  await relay.heal();
  await client.hears('AB');
});

test('a reset breaks both sides, new connections work', async () => {
  const client = new Client();
  client.socket.write('x');
  await client.hears('X');
  relay.reset();
  await client.fails('ECONNRESET');
  await eventually(() => accepted[0]!.destroyed, { withinMs: 20_000, what: 'a reset target' });
  const next = new Client();
  next.socket.write('y');
  await next.hears('Y');
  expect(next.text).toBe('Y');
});

test('a refusing relay closes its port and opens the same one again', async () => {
  relay.refuse();
  await new Client().fails('ECONNREFUSED');
  await relay.heal();
  const client = new Client();
  client.socket.write('z');
  await client.hears('Z');
  expect(client.text).toBe('Z');
});

test('a delay holds back each direction', async () => {
  relay.delayMs = 60;
  const client = new Client();
  await once(client.socket, 'connect');
  const sentAt = performance.now();
  client.socket.write('slow');
  await client.hears('SLOW');
  expect(performance.now() - sentAt).toBeGreaterThanOrEqual(119);
});

test('an unreachable target breaks the client, not the relay', async () => {
  target.close();
  const client = new Client();
  await client.fails('ECONNRESET');
  expect(relay.connections).toBe(0);
});
