// Listening sockets: two of them, unix ones, clients that are slow, silent or talk nonsense, and the drain.
import { lstat, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { execFile } from 'node:child_process';
import { afterEach, expect, it } from 'vitest';
import { createFront } from '../../src/http/front.ts';
import { createEvents } from '../../src/http/events.ts';
import type { Inputs } from '../../src/http/inputs.ts';
import { capacityOf, proxiedAtMost } from '../../src/http/capacity.ts';
import { waitingAtMost } from '../../src/http/connections.ts';
import { listen, type Limits, type Listening } from '../../src/http/listen.ts';
import { CannotListen, type ListenAddress } from '../../src/process/bind.ts';
import { eventually, within } from '../harness/wait.ts';
import { candidate, FakeElections } from './http-fake-elections.ts';

const endings: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

type MetricsBody = Awaited<ReturnType<Inputs['metrics']>>;

function application(metrics: Inputs['metrics'] = () => Promise.reject(new Error('unasked'))) {
  const elections = new FakeElections(['orders']);
  elections.know({ candidates: [candidate('orders-0', 4711n)], claimUntil: 1_003_000 });
  return createFront({
    elections,
    clock: elections.clock,
    wallNow: () => 0,
    started: { at: 0, wallMs: 0 },
    metrics,
    version: '9.9.9',
    pingKey: null,
    describe: () => ({}),
    health: {
      loopDelayMs: () => 0,
      app: () => ({ configured: false, healthy: true, detail: '' }),
    },
    events: createEvents({ elections, clock: elections.clock, wallNow: () => 0 }),
    history: () => Promise.resolve([]),
    verbs: () => Promise.resolve([]),
    reportError: (error) => {
      throw error;
    },
  });
}

const loopback: ListenAddress = { host: '127.0.0.1', port: 0 };

async function open(
  app = application(),
  address: ListenAddress = loopback,
  limits: Partial<Limits> = {},
): Promise<Listening> {
  const listening = await listen(app, address, limits);
  endings.push(() => listening.close());
  return listening;
}

function portOf({ address }: Listening): number {
  if (!('port' in address)) throw new Error('not a TCP address');
  return address.port;
}

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'electord-http-'));
  endings.push(() => rm(path, { recursive: true, force: true }));
  return path;
}

function leaderOver(
  target: { port: number } | { socketPath: string },
  agent?: Agent,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      ...target,
      path: '/leader',
      agent: agent ?? (false as const),
    };
    get(options, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode ?? 0));
    }).on('error', reject);
  });
}

/** A raw connection, all that came over it, and whether it has ended. */
class Raw {
  readonly socket: Socket;
  received = '';
  ended = false;

  constructor(port: number) {
    this.socket = connect({ host: '127.0.0.1', port });
    this.socket.setEncoding('utf8');
    this.socket.on('data', (part: string) => (this.received += part));
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => (this.ended = true));
    endings.push(async () => {
      this.socket.destroy();
      await Promise.resolve();
    });
  }

  end(what: string): Promise<unknown> {
    return eventually(() => this.ended, { withinMs: 20_000, what });
  }
}

it('serves two listeners at once, each on a port of its own', async () => {
  const one = application();
  const [first, second] = [await open(one), await open(one)];
  expect(portOf(first)).not.toBe(portOf(second));
  expect(await leaderOver({ port: portOf(first) })).toBe(200);
  await first.close();
  expect(await leaderOver({ port: portOf(second) })).toBe(200);
  await expect(leaderOver({ port: portOf(first) })).rejects.toThrow('ECONNREFUSED');
});

it('refuses a port that is taken, with the address in the message', async () => {
  const port = portOf(await open());
  const failed = listen(application(), { host: '127.0.0.1', port });
  await expect(failed).rejects.toThrow(CannotListen);
  await expect(failed).rejects.toThrow(`127.0.0.1:${port}`);
  await expect(failed).rejects.toMatchObject({ passes: true });
});

it('serves a unix socket that only owner and group may use, and removes it', async () => {
  const parent = await folder();
  const path = join(parent, 'electord.sock');
  const modeOfNewFile = async (name: string): Promise<number> => {
    await writeFile(join(parent, name), '');
    return (await stat(join(parent, name))).mode;
  };
  const before = await modeOfNewFile('before');
  const listening = await open(application(), { path });
  expect((await stat(path)).mode & 0o777).toBe(0o660);
  expect(await modeOfNewFile('after')).toBe(before);
  expect(await leaderOver({ socketPath: path })).toBe(200);
  await listening.close();
  await expect(lstat(path)).rejects.toThrow('ENOENT');
});

it('replaces a socket file that a killed process left, but not one that is answered or no socket', async () => {
  const path = join(await folder(), 'electord.sock');
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`;
  const child = execFile(process.execPath, ['-e', script]);
  const gone = once(child, 'exit');
  endings.push(async () => {
    child.kill('SIGKILL');
    await gone;
  });
  await within(once(child.stdout!, 'data'), { withinMs: 10_000, what: 'a process on the socket' });
  const taken = listen(application(), { path });
  await expect(taken).rejects.toThrow('another process answers');
  await expect(taken).rejects.toMatchObject({ passes: true });
  child.kill('SIGKILL');
  await gone;
  expect((await lstat(path)).isSocket()).toBe(true);
  await open(application(), { path });
  expect(await leaderOver({ socketPath: path })).toBe(200);

  const file = join(await folder(), 'precious');
  await writeFile(file, 'kept');
  const inTheWay = listen(application(), { path: file });
  await expect(inTheWay).rejects.toThrow('not a socket');
  await expect(inTheWay).rejects.toMatchObject({ passes: false });
  expect(await readFile(file, 'utf8')).toBe('kept');
});

it('answers what was asked at once one by one, and looks at none before its turn', async () => {
  const asked: ((body: MetricsBody) => void)[] = [];
  const app = application(() => new Promise((resolve) => asked.push(resolve)));
  const raw = new Raw(portOf(await open(app)));
  const many = 20;
  raw.socket.write('GET /metrics HTTP/1.1\r\n\r\n'.repeat(many));
  for (let turn = 0; turn < many; turn += 1) {
    await eventually(() => asked.length > turn, { withinMs: 20_000, what: `question ${turn}` });
    expect(asked.length).toBe(turn + 1);
    asked[turn]!({ contentType: 'text/plain', body: `body ${turn}.` });
    await eventually(() => raw.received.endsWith(`body ${turn}.`), {
      withinMs: 20_000,
      what: `answer ${turn}`,
    });
  }
  expect(raw.received.match(/HTTP\/1\.1 200 OK/g)?.length).toBe(many);
});

it('drops a connection on which more wait for an answer than any program sends', async () => {
  let asked = 0;
  const app = application(() => {
    asked += 1;
    return new Promise(() => undefined);
  });
  const port = portOf(await open(app));
  const most = new Raw(port);
  most.socket.write('GET /metrics HTTP/1.1\r\n\r\n'.repeat(1 + waitingAtMost));
  await eventually(() => asked === 1, { withinMs: 20_000, what: 'the first question' });
  const more = new Raw(port);
  more.socket.write('GET /metrics HTTP/1.1\r\n\r\n'.repeat(2 + waitingAtMost));
  await more.end('the connection is dropped');
  expect([asked, more.received, most.ended]).toEqual([2, '', false]);
});

it('gives each listener its own number of connections and drops at once what is more', async () => {
  const app = application();
  const [few, other] = [await open(app, loopback, { maxConnections: 3 }), await open(app)];
  const kept = Array.from({ length: 3 }, () => new Raw(portOf(few)));
  await Promise.all(kept.map(({ socket }) => once(socket, 'connect')));
  const more = Array.from({ length: 20 }, () => new Raw(portOf(few)));
  await Promise.all(more.map((one) => one.end('one too many is dropped')));
  expect(kept.filter(({ ended }) => ended)).toEqual([]);
  expect(await leaderOver({ port: portOf(other) })).toBe(200);
});

it.each([
  ['a container of old', 1024, 480, 240],
  ['a tight one', 120, 28, 14],
  ['one that hardly starts', 64, 2, 2],
  ['the usual', 1_048_576, 8192, 8192],
  ['no limit', Infinity, 8192, 8192],
])('takes as many connections as %s leaves room for', (_what, openFiles, open, local) => {
  const capacity = capacityOf(openFiles);
  expect(capacity.public.maxConnections).toBe(open);
  expect(capacity.local.maxConnections).toBe(local);
  expect(proxiedAtMost(openFiles, 1)).toBe(local);
  expect(proxiedAtMost(openFiles, 4)).toBeLessThanOrEqual(local);
  for (const { maxConnections, maxStreams } of Object.values(capacity)) {
    expect(maxStreams).toBe(maxConnections / 2);
  }
});

it('is not held up by a client that does not read its answer, and drops that one', async () => {
  const body = 'x'.repeat(32 * 1024 * 1024);
  let asked: () => void = () => undefined;
  const wasAsked = new Promise<void>((resolve) => (asked = resolve));
  const app = application(() => {
    asked();
    return Promise.resolve({ contentType: 'text/plain', body });
  });
  const limits = { stallTimeoutMs: 300, drainMs: 60_000 };
  const listening = await open(app, loopback, limits);
  const slow = new Raw(portOf(listening));
  slow.socket.pause();
  slow.socket.write('GET /metrics HTTP/1.1\r\n\r\n');
  await wasAsked;
  const others = Array.from({ length: 20 }, () => leaderOver({ port: portOf(listening) }));
  const all = await within(Promise.all(others), { withinMs: 20_000, what: 'twenty answers' });
  expect(all).toEqual(Array.from({ length: 20 }, () => 200));
  // The answer in flight would hold this up for a minute if its client were not dropped.
  await within(listening.close(), { withinMs: 20_000, what: 'the slow client is dropped' });
  slow.socket.resume();
  await slow.end('the slow client learns of it');
  expect(slow.received.length).toBeLessThan(body.length);
});

it.each([
  ['the first', ''],
  ['a later', 'GET /leader HTTP/1.1\r\n\r\n'],
])(
  'the answer to %s request may take longer than a client may lie still',
  async (_which, before) => {
    let answer: (body: MetricsBody) => void = () => undefined;
    let asked: () => void = () => undefined;
    const wasAsked = new Promise<void>((resolve) => (asked = resolve));
    const app = application(() => {
      asked();
      return new Promise((resolve) => (answer = resolve));
    });
    const port = portOf(await open(app, loopback, { stallTimeoutMs: 300 }));
    const waiting = new Raw(port);
    waiting.socket.write(`${before}GET /metrics HTTP/1.1\r\n\r\n`);
    await wasAsked;
    // Whoever asks nothing is dropped, later than one that came before would be.
    for (const silent of ['one', 'another']) await new Raw(port).end(`${silent} that asks nothing`);
    expect(waiting.ended).toBe(false);
    answer({ contentType: 'text/plain', body: 'late' });
    await eventually(() => waiting.received.endsWith('late'), {
      withinMs: 20_000,
      what: 'the late answer',
    });
  },
);

it('answers a request without a Host, and one that expects the unheard-of', async () => {
  const port = portOf(await open());
  for (const header of [
    '',
    'Expect: a-miracle\r\n',
    'Connection: upgrade\r\nUpgrade: websocket\r\n',
  ]) {
    const raw = new Raw(port);
    raw.socket.write(`GET /leader HTTP/1.1\r\n${header}\r\n`);
    await eventually(() => raw.received.includes('"isLeader":true'), {
      withinMs: 20_000,
      what: `an answer to ${JSON.stringify(header)}`,
    });
    expect(raw.received).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  }
});

it.each([
  ['nonsense', 'NONSENSE\r\n\r\n', 400, 'malformed_request'],
  [
    'a header too large',
    `GET / HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
    431,
    'header_too_large',
  ],
  ['a header that does not end', 'GET / HTTP/1.1\r\nX: ', 408, 'request_timeout'],
])('answers %s with a problem and ends the connection', async (_what, bytes, status, code) => {
  const limits = { headersTimeoutMs: 100, requestTimeoutMs: 200, checkEveryMs: 50 };
  const raw = new Raw(portOf(await open(application(), loopback, limits)));
  raw.socket.write(bytes);
  await raw.end('the connection ends');
  const [head = '', body = ''] = raw.received.split('\r\n\r\n');
  expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} \\w`));
  expect(head).toContain('X-Electord-Role: leader');
  expect(head).toContain('Cache-Control: no-store');
  expect(head).toContain('Content-Type: application/problem+json');
  expect(head).toContain(`Content-Length: ${Buffer.byteLength(body)}`);
  expect(JSON.parse(body)).toMatchObject({ status, code });
});

it('finishes the answer in flight when it closes, and ends idle connections at once', async () => {
  let finish: (body: MetricsBody) => void = () => undefined;
  let asked: () => void = () => undefined;
  const wasAsked = new Promise<void>((resolve) => (asked = resolve));
  const app = application(
    () =>
      new Promise((resolve) => {
        finish = resolve;
        asked();
      }),
  );
  const listening = await open(app, loopback, { drainMs: 60_000 });
  const port = portOf(listening);
  const agent = new Agent({ keepAlive: true });
  endings.push(async () => {
    agent.destroy();
    await Promise.resolve();
  });
  expect(await leaderOver({ port }, agent)).toBe(200);
  const silent = new Raw(port);
  await once(silent.socket, 'connect');
  const busy = new Raw(port);
  busy.socket.write('GET /metrics HTTP/1.1\r\n\r\n');
  await wasAsked;

  let closed = false;
  const closing = listening.close().then(() => (closed = true));
  await silent.end('a connection without a request ends');
  await eventually(() => Object.keys(agent.freeSockets).length === 0, {
    withinMs: 20_000,
    what: 'the idle connection ends',
  });
  await expect(leaderOver({ port })).rejects.toThrow('ECONNREFUSED');
  expect(closed).toBe(false);
  expect(busy.received).toBe('');
  finish({ contentType: 'text/plain', body: 'the end' });
  await within(closing, { withinMs: 20_000, what: 'closed after the last answer' });
  await busy.end('the busy connection ends');
  expect(busy.received).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*Connection: close\r\n[^]*the end$/);
});

it('lets a client that reads finish a long answer while it closes', async () => {
  const body = 'x'.repeat(32 * 1024 * 1024);
  const app = application(() => Promise.resolve({ contentType: 'text/plain', body }));
  const listening = await open(app, loopback, { drainMs: 60_000 });
  const raw = new Raw(portOf(listening));
  raw.socket.write('GET /metrics HTTP/1.1\r\n\r\n');
  await eventually(() => raw.received !== '', { withinMs: 20_000, what: 'the answer begins' });
  expect(raw.received.length).toBeLessThan(body.length);
  await within(listening.close(), { withinMs: 10_000, what: 'closed' });
  await raw.end('the connection ends');
  expect(raw.received.split('\r\n\r\n')[1]?.length).toBe(body.length);
});

it('closes within its bound even if an answer never comes', async () => {
  let asked: () => void = () => undefined;
  const wasAsked = new Promise<void>((resolve) => (asked = resolve));
  const never = application(() => {
    asked();
    return new Promise<MetricsBody>(() => undefined);
  });
  const listening = await open(never, loopback, { drainMs: 100 });
  const raw = new Raw(portOf(listening));
  raw.socket.write('GET /metrics HTTP/1.1\r\n\r\n');
  await wasAsked;
  await within(Promise.all([listening.close(), listening.close()]), {
    withinMs: 20_000,
    what: 'closed',
  });
  await raw.end('the connection is cut');
  expect(raw.received).toBe('');
});
