// The proxies of one sidecar, on sockets of this machine, before apps that do what apps do; who leads is said by the test.
import { createServer, get, request, type IncomingMessage, type RequestListener } from 'node:http';
import {
  connect,
  createServer as createTcpServer,
  type AddressInfo,
  type Server,
  type Socket,
} from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ElectionName } from '../../src/core/model.ts';
import type { Promised } from '../../src/ports.ts';
import { plainTls } from '../../src/process/ask-tls.ts';
import { openProxies, type Proxies, type ProxiesOptions } from '../../src/proxy/proxy.ts';
import { reservePorts } from '../harness/ports.ts';
import { eventually } from '../harness/wait.ts';
import { candidate, FakeElections, member } from './http-fake-elections.ts';

const soon = { withinMs: 10_000 };
const election = 'orders' as ElectionName;
const me = 'a';
let elections: FakeElections;
let proxies: Proxies | null = null;
let promised: Promised;
let asked = 0;
const warnings: string[] = [];
const servers: { server: Server; sockets: Set<Socket> }[] = [];

beforeEach(() => {
  elections = new FakeElections([election], me);
  promised = { kind: 'silent' };
  asked = 0;
  warnings.length = 0;
});
afterEach(async () => {
  for (const { sockets } of servers) for (const socket of sockets) socket.destroy();
  await proxies?.close();
  proxies = null;
  await Promise.all(
    servers.splice(0).map(({ server }) => new Promise((resolve) => server.close(resolve))),
  );
});

function serving(server: Server): Promise<string> {
  const sockets = new Set<Socket>();
  servers.push({ server, sockets });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () =>
      resolve(`127.0.0.1:${(server.address() as AddressInfo).port}`),
    );
  });
}

const app = (listener: RequestListener): Promise<string> => serving(createServer(listener));
const tcpApp = (listener: (socket: Socket) => void): Promise<string> =>
  serving(createTcpServer({ allowHalfOpen: true }, listener));

async function open(
  spec: Partial<ProxiesOptions['proxies'][number]> = {},
  more: Partial<ProxiesOptions> = {},
): Promise<number> {
  const [port = 0] = await reservePorts(1);
  proxies = await openProxies({
    proxies: [
      {
        ...{ protocol: 'http', to: 'leader', election, proxyProtocol: false },
        listen: { host: '127.0.0.1', port },
        ...spec,
      },
    ],
    maxConnections: 1000,
    ...{ bufferWindowMs: 10_000, bufferSize: 1000, drainMs: 1000, responseTimeoutMs: 10_000 },
    ...{ elections, clock: elections.clock },
    ask: () => {
      asked += 1;
      return Promise.resolve(promised);
    },
    tls: () => plainTls,
    warn: (message) => warnings.push(message),
    ...more,
  });
  return port;
}

/** Instance `id` leads a term, with an app at `address`. */
function leads(id: string, term: bigint, address: string): void {
  elections.know({
    candidates: [candidate(id, term, { address })],
    claimUntil: id === me ? Number.POSITIVE_INFINITY : 0,
  });
  changed();
}
function nobodyLeads(): void {
  elections.know({ candidates: [], claimUntil: 0 });
  changed();
}
const changed = (): void =>
  elections.emit({
    ...{ kind: 'changed', election, previousLeader: null, cause: 'unknown' },
    report: elections.report(election),
  });

const ask = (port: number, path = '/'): Promise<string> =>
  new Promise((resolve, reject) => {
    get({ port, path, agent: false, host: '127.0.0.1' }, (answer) => {
      let text = `${answer.statusCode} `;
      answer.setEncoding('utf8').on('data', (part: string) => (text += part));
      answer.on('end', () => resolve(text)).on('error', reject);
    }).on('error', reject);
  });

/** A connection by hand: what is written, all that was read, and its end. */
function raw(port: number, text: string) {
  const socket = connect({ port, host: '127.0.0.1' });
  let read = Buffer.alloc(0);
  let broken = false;
  socket.on('data', (part: Buffer) => (read = Buffer.concat([read, part])));
  socket.on('error', () => (broken = true));
  const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
  if (text !== '') socket.write(text);
  return { socket, closed, text: () => read.toString('latin1'), broken: () => broken };
}

test('a request waits while nobody leads, and reaches who leads then', async () => {
  const port = await open();
  const answer = ask(port);
  await eventually(() => proxies!.figures()[0]!.waiting === 1, { ...soon, what: 'one waits' });
  leads(me, 5n, await app((_, response) => response.end('here')));
  expect(await answer).toBe('200 here');
  expect(proxies!.figures()[0]).toMatchObject({ waiting: 0, ended: { passed: 1 } });
});

test('waiting is bounded in number and in time, and says so', async () => {
  const port = await open({}, { bufferSize: 1, bufferWindowMs: 300 });
  const first = ask(port);
  await eventually(() => proxies!.figures()[0]!.waiting === 1, { ...soon, what: 'one waits' });
  expect(await ask(port)).toMatch(/^503 .*"code":"full"/);
  expect(await first).toMatch(/^503 .*"code":"timed_out"/);
  expect(proxies!.figures()[0]!.ended).toEqual({ passed: 0, full: 1, timed_out: 1, closing: 0 });
  const gone = raw(port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await eventually(() => proxies!.figures()[0]!.waiting === 1, { ...soon, what: 'one waits' });
  gone.socket.destroy();
  await eventually(() => proxies!.figures()[0]!.waiting === 0, { ...soon, what: 'it has left' });
});

test('nothing reaches another instance without its promise, nor after one that is over', async () => {
  let reached = 0;
  const address = await app((_, response) => response.end(`${(reached += 1)}`));
  leads('b', 5n, address);
  const port = await open();
  const early = ask(port);
  await eventually(() => asked > 2, { ...soon, what: 'questions' });
  expect(reached).toBe(0);
  promised = { kind: 'held', sentAt: elections.nowMs, forMs: 150 };
  expect(await early).toBe('200 1');
  // Its leader says no: as long as etcd names it, all wait.
  elections.nowMs += 151;
  promised = { kind: 'held', sentAt: elections.nowMs, forMs: 0 };
  const late = ask(port);
  const before = asked;
  await eventually(() => asked > before + 2, { ...soon, what: 'questions' });
  expect(reached).toBe(1);
  leads(me, 6n, await app((_, response) => response.end('next')));
  expect(await late).toBe('200 next');
});

test('the app beside it gets nothing once the claim is over by the clock, though no notice has said so', async () => {
  leads(me, 5n, await app((_, response) => response.end('mine')));
  // Shorter than an answer about it is taken up.
  elections.know({ claimUntil: elections.nowMs + 5 });
  const port = await open();
  expect(await ask(port)).toBe('200 mine');
  elections.nowMs += 5;
  const late = ask(port);
  await eventually(() => proxies!.figures()[0]!.waiting === 1, { ...soon, what: 'it waits' });
  leads(me, 6n, await app((_, response) => response.end('next')));
  expect(await late).toBe('200 next');
});

test('one that makes no promises is taken at the word of etcd, and a warning says so once', async () => {
  leads('b', 5n, await app((_, response) => response.end('there')));
  promised = { kind: 'none', why: 'it answers with 403' };
  const port = await open();
  expect(await ask(port)).toBe('200 there');
  elections.nowMs += 1000;
  elections.know({});
  expect(await ask(port)).toBe('200 there');
  expect(warnings).toHaveLength(1);
  // What etcd said too long ago is not its word.
  elections.nowMs += 6000;
  const late = ask(port);
  await eventually(() => proxies!.figures()[0]!.waiting === 1, { ...soon, what: 'it waits' });
  nobodyLeads();
  leads(me, 6n, await app((_, response) => response.end('next')));
  expect(await late).toBe('200 next');
});

test('what is under way when a term ends is finished; what takes longer than the drain is not', async () => {
  const held: (() => void)[] = [];
  leads(me, 5n, await app((asked, response) => void held.push(() => response.end(asked.url))));
  const port = await open({}, { drainMs: 300 });
  const [short, long] = [ask(port, '/short'), ask(port, '/long')];
  await eventually(() => held.length === 2, { ...soon, what: 'both there' });
  nobodyLeads();
  held[0]!();
  const ended = await Promise.race([short, long]);
  expect(ended).toBe('200 /short');
  leads(me, 6n, await app((_, response) => response.end('next')));
  // It was safe to repeat.
  expect(await long).toBe('200 next');
});

test('streams answers as they come, no faster than the client reads, with trailers', async () => {
  let sent = 0;
  let done = false;
  const chunk = 'z'.repeat(100_000);
  const address = await app((asked, response) => {
    if (asked.url === '/events') {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' }).write('data: 1\n\n');
      return;
    }
    response.writeHead(200, { Trailer: 'X-Sum' });
    const more = (): void => {
      while (sent < 400) {
        sent += 1;
        if (!response.write(chunk)) return void response.once('drain', more);
      }
      response.addTrailers({ 'X-Sum': 'all' });
      response.end(() => (done = true));
    };
    more();
  });
  leads(me, 5n, address);
  const port = await open();
  const events = await new Promise<IncomingMessage>((resolve) =>
    get({ port, path: '/events', agent: false, host: '127.0.0.1' }, resolve),
  );
  expect(String(await new Promise((resolve) => events.once('data', resolve)))).toBe('data: 1\n\n');
  events.destroy();
  const answer = await new Promise<IncomingMessage>((resolve) =>
    get({ port, path: '/all', agent: false, host: '127.0.0.1' }, resolve),
  );
  // Forty megabytes do not fit between the two.
  await eventually(() => sent > 5, { ...soon, what: 'the first' });
  expect(done).toBe(false);
  expect(sent).toBeLessThan(400);
  let bytes = 0;
  for await (const part of answer) bytes += (part as Buffer).length;
  expect(bytes).toBe(400 * chunk.length);
  expect(answer.trailers).toEqual({ 'x-sum': 'all' });
});

test('a client that goes takes its request along; an app that breaks off shows as that', async () => {
  let gone = false;
  const address = await app((asked, response) => {
    asked.on('close', () => (gone = true));
    if (asked.url === '/half') {
      response.writeHead(200, { 'Content-Length': '100' }).write('half');
      setImmediate(() => response.destroy());
    }
  });
  leads(me, 5n, address);
  const port = await open();
  const leaving = raw(port, 'GET /hang HTTP/1.1\r\nHost: x\r\n\r\n');
  await eventually(() => proxies!.figures()[0]!.open === 1, { ...soon, what: 'a connection' });
  leaving.socket.destroy();
  await eventually(() => gone, { ...soon, what: 'the request has gone' });
  await expect(ask(port, '/half')).rejects.toThrow();
});

test('speaks what HTTP/1.1 has: HEAD, 100, pipelining, an old client, no body, many cookies', async () => {
  const address = await app((asked, response) => {
    response.setHeader('Set-Cookie', ['a=1', 'b=2']);
    response.setHeader('Connection', 'X-Private, keep-alive');
    response.setHeader('X-Private', 'no');
    if (asked.url === '/204') response.writeHead(204).end();
    else
      asked
        .setEncoding('utf8')
        .on('data', (part) => response.write(part))
        .on('end', () => response.end('!'));
  });
  leads(me, 5n, address);
  const port = await open();
  const head = raw(port, 'HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  await head.closed;
  expect(head.text()).toMatch(/^HTTP\/1.1 200 OK\r\n/);
  expect(head.text().match(/set-cookie/gi)).toHaveLength(2);
  expect(head.text()).not.toMatch(/x-private/i);
  expect(head.text().endsWith('\r\n\r\n')).toBe(true);
  const piped = raw(
    port,
    'GET /204 HTTP/1.1\r\nHost: x\r\n\r\nPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi',
  );
  await piped.closed;
  expect(piped.text()).toMatch(/^HTTP\/1.1 204[^]*HTTP\/1.1 200[^]*hi[^]*!/);
  const expecting = raw(
    port,
    'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n',
  );
  await eventually(() => expecting.text().startsWith('HTTP/1.1 100 Continue'), {
    ...soon,
    what: '100',
  });
  expecting.socket.write('ok');
  await expecting.closed;
  expect(expecting.text()).toMatch(/200 OK[^]*ok/);
  const old = raw(port, 'GET / HTTP/1.0\r\n\r\n');
  await old.closed;
  expect(old.text()).toMatch(/^HTTP\/1.1 200 OK[^]*\r\n\r\n!$/);
});

test('a WebSocket is relayed once the app agrees, and its refusal is passed on', async () => {
  const server = createServer((_, response) => response.writeHead(426).end('no'));
  server.on('upgrade', (asked: IncomingMessage, socket: Socket, head: Buffer) => {
    if (asked.url !== '/ws') {
      socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno');
      return;
    }
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${asked.headers.upgrade}\r\nX-Term: ${String(asked.headers['x-electord-fencing-token'])}\r\n\r\n`,
    );
    if (head.length > 0) socket.write(head);
    socket.on('data', (part) => socket.write(part));
  });
  leads(me, 5n, await serving(server));
  const port = await open();
  const head = (path: string): string =>
    `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n`;
  const agreed = raw(port, `${head('/ws')}early`);
  await eventually(() => agreed.text().endsWith('early'), {
    ...soon,
    what: 'what came with the request',
  });
  expect(agreed.text()).toMatch(/^HTTP\/1.1 101 [^]*upgrade: websocket\r\n/i);
  expect(agreed.text()).toMatch(/x-term: 5/i);
  agreed.socket.write('late');
  await eventually(() => agreed.text().endsWith('late'), { ...soon, what: 'an echo' });
  const refused = raw(port, head('/no'));
  await refused.closed;
  expect(refused.text()).toMatch(/^HTTP\/1.1 403 Forbidden[^]*no$/);
  nobodyLeads();
  await agreed.closed;
});

test('an upgrade waits for the next leader where the promise is over when the connection is made', async () => {
  const asked: string[] = [];
  const serve = (name: string): Promise<string> => {
    const server = createServer((_, response) => response.end(name));
    server.on('upgrade', (_, socket: Socket) => {
      asked.push(name);
      socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
    });
    return serving(server);
  };
  leads('b', 5n, await serve('late'));
  promised = { kind: 'held', sentAt: elections.nowMs, forMs: 150 };
  let isArmed = false;
  // It is over in the turn after it was looked at: no connection is made sooner.
  const now = (): number => {
    if (isArmed) {
      setImmediate(() => (elections.nowMs += 151));
      promised = { kind: 'silent' };
    }
    isArmed = false;
    return elections.nowMs;
  };
  const port = await open({}, { clock: { now } });
  expect(await ask(port)).toBe('200 late');
  isArmed = true;
  const upgraded = raw(
    port,
    'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n',
  );
  await eventually(() => proxies!.figures()[0]!.waiting === 1, { ...soon, what: 'it waits' });
  leads(me, 6n, await serve('next'));
  await upgraded.closed;
  expect(asked).toEqual(['next']);
});

test('an app that accepts and never answers holds nobody longer than the bound', async () => {
  leads(me, 5n, await tcpApp(() => undefined));
  const port = await open({}, { responseTimeoutMs: 300 });
  expect(await ask(port)).toMatch(/^504 .*"code":"app_silent"/);
});

test('an app that cannot be reached is asked again until it can, and is not flooded', async () => {
  const [closedPort = 0] = await reservePorts(1);
  leads(me, 5n, `127.0.0.1:${closedPort}`);
  const port = await open();
  const answers = Promise.all(Array.from({ length: 50 }, () => ask(port)));
  await eventually(() => proxies!.figures()[0]!.waiting === 50, { ...soon, what: 'fifty wait' });
  let connections = 0;
  const late = createServer((_, response) => response.end('up'));
  late.on('connection', () => (connections += 1));
  servers.push({ server: late, sockets: new Set() });
  late.listen(closedPort, '127.0.0.1');
  expect(new Set(await answers)).toEqual(new Set(['200 up']));
  expect(connections).toBeLessThanOrEqual(60);
});

test('tcp: both ways, half-open ends, and the client named by the PROXY protocol', async () => {
  const heads: Buffer[] = [];
  const address = await tcpApp((socket) => {
    socket.once('data', (part: Buffer) => heads.push(part));
    socket.on('end', () => socket.end('goodbye'));
  });
  leads(me, 5n, address);
  const port = await open({ protocol: 'tcp', proxyProtocol: true });
  const client = raw(port, 'hello');
  await eventually(() => heads.length === 1, { ...soon, what: 'the header' });
  const from = client.socket.localPort!;
  client.socket.end();
  await client.closed;
  expect(client.text()).toBe('goodbye');
  const head = heads[0]!;
  const version2 = '0d0a0d0a000d0a515549540a2111000c7f0000017f000001';
  expect(head.subarray(0, 24).toString('hex')).toBe(version2);
  expect([head.readUInt16BE(24), head.readUInt16BE(26)]).toEqual([from, port]);
});

test('tcp: bytes wait for leave, and an idle connection ends with the term', async () => {
  const parts: string[] = [];
  const address = await tcpApp((socket) => {
    socket.setEncoding('utf8').on('data', (part: string) => {
      parts.push(part);
      socket.write('ok');
    });
  });
  leads('b', 5n, address);
  promised = { kind: 'held', sentAt: elections.nowMs, forMs: 150 };
  const port = await open({ protocol: 'tcp' });
  const client = raw(port, 'one');
  await eventually(() => client.text() === 'ok', { ...soon, what: 'an answer' });
  elections.nowMs += 1000;
  promised = { kind: 'silent' };
  const before = asked;
  client.socket.write('two');
  await eventually(() => asked > before + 2, { ...soon, what: 'questions' });
  expect(parts).toEqual(['one']);
  promised = { kind: 'held', sentAt: elections.nowMs, forMs: 150 };
  await eventually(() => client.text() === 'okok', { ...soon, what: 'the second answer' });
  nobodyLeads();
  await client.closed;
  expect(client.broken()).toBe(true);
});

test('a proxy that reaches itself cuts that off', async () => {
  const port = await open({ protocol: 'tcp' });
  leads(me, 5n, `127.0.0.1:${port}`);
  const client = raw(port, 'round');
  await client.closed;
  await eventually(() => proxies!.figures()[0]!.open === 0, { ...soon, what: 'no connection' });
  expect(warnings[0]).toMatch(/comes from itself/);
});

test('no more connections are taken than allowed', async () => {
  const port = await open({}, { maxConnections: 1 });
  const first = raw(port, '');
  await eventually(() => proxies!.figures()[0]!.open === 1, { ...soon, what: 'one connection' });
  const second = raw(port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await second.closed;
  expect(second.text()).toBe('');
  first.socket.destroy();
});

test('what cannot be passed on is refused at once', async () => {
  leads(me, 5n, await app((_, response) => response.end('here')));
  const port = await open();
  const odd = raw(port, 'OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  await odd.closed;
  expect(odd.text()).toMatch(/^HTTP\/1.1 400 [^]*"code":"not_passed_on"/);
});

test('a request that goes round in circles is answered with 508', async () => {
  const port = await open();
  leads(me, 5n, `127.0.0.1:${port}`);
  expect(await ask(port)).toMatch(/^508 .*"code":"loop"/);
});

test('closing ends what waits and what is silent, and finishes what is under way', async () => {
  const held: (() => void)[] = [];
  leads(me, 5n, await app((_, response) => void held.push(() => response.end('done'))));
  const port = await open();
  const last = ask(port);
  await eventually(() => held.length === 1, { ...soon, what: 'it is there' });
  nobodyLeads();
  const waiting = ask(port);
  await eventually(() => proxies!.figures()[0]!.waiting === 1, { ...soon, what: 'one waits' });
  const closed = proxies!.close();
  expect(await waiting).toMatch(/^503 .*"code":"closing"/);
  held[0]!();
  expect(await last).toBe('200 done');
  await closed;
  await expect(ask(port)).rejects.toThrow('ECONNREFUSED');
});

test('tcp: closing ends a connection whose app is reached only then', async () => {
  leads(me, 5n, await tcpApp((socket) => socket.on('error', () => undefined)));
  const closed: Promise<void>[] = [];
  // In the turn after the app was chosen: it cannot be connected sooner.
  const now = (): number => {
    if (connecting !== null) setImmediate(() => void closed.push(proxies!.close()));
    return elections.nowMs;
  };
  let connecting: ReturnType<typeof raw> | null = null;
  // A drain of days: nothing else ends it.
  const port = await open({ protocol: 'tcp' }, { drainMs: 1e8, clock: { now } });
  connecting = raw(port, '');
  await connecting.closed;
  await Promise.all(closed);
  expect(closed).not.toHaveLength(0);
});

test('closing ends a kept connection with the answer that is under way, begun or not', async () => {
  const begun: string[] = [];
  const finish: (() => void)[] = [];
  const listener: RequestListener = (asked, response) => {
    if (asked.url === '/begun') response.write('half');
    begun.push(asked.url ?? '');
    finish.push(() => response.end('done'));
  };
  leads(me, 5n, await app(listener));
  // A drain of days: nothing but the ends of the answers closes it.
  const port = await open({}, { drainMs: 1e8 });
  const kept = ['/begun', '/asked'].map((path) =>
    raw(port, `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`),
  );
  const isHalfThere = (): boolean => begun.length === 2 && kept[0]!.text().includes('half');
  await eventually(isHalfThere, { ...soon, what: 'both under way' });
  const closed = proxies!.close();
  for (const one of finish) one();
  await closed;
  await Promise.all(kept.map((one) => one.closed));
  expect(kept[0]!.text()).toMatch(/half[^]*done\r\n0\r\n\r\n$/);
  expect(kept[1]!.text()).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*connection: close\r\n[^]*done$/i);
});

test('followers: the one with fewest requests, the leader last, none that is unwell', async () => {
  const held: (() => void)[] = [];
  const names = ['a', 'b', 'c', 'd'];
  const addresses = await Promise.all(
    names.map((name) => app((_, response) => void held.push(() => response.end(name)))),
  );
  const healthy = (id: string): boolean => id !== 'd';
  const members = names.map((id, place) =>
    member(id, BigInt(place + 5), { address: addresses[place]!, healthy: healthy(id) }),
  );
  elections.know({
    members,
    candidates: [candidate('a', 5n, { address: addresses[0]! })],
    claimUntil: Infinity,
  });
  const port = await open({ to: 'followers' });
  const two = [ask(port), ask(port)];
  await eventually(() => held.length === 2, { ...soon, what: 'two there' });
  for (const answer of held.splice(0)) answer();
  expect(new Set(await Promise.all(two))).toEqual(new Set(['200 b', '200 c']));
  elections.nowMs += 1000;
  elections.know({ members: members.slice(0, 1) });
  const alone = ask(port);
  await eventually(() => held.length === 1, { ...soon, what: 'one there' });
  held[0]!();
  expect(await alone).toBe('200 a');
});

test('a write that may have been carried out is not sent again', async () => {
  let writes = 0;
  const address = await app((asked) => {
    writes += 1;
    asked.socket.destroy();
  });
  leads(me, 5n, address);
  const port = await open({}, { bufferWindowMs: 500 });
  const status = await new Promise((resolve, reject) => {
    request({ port, host: '127.0.0.1', method: 'POST', agent: false }, (answer) =>
      resolve(answer.resume().statusCode),
    )
      .on('error', reject)
      .end('x');
  });
  expect(status).toBe(502);
  expect(writes).toBe(1);
  // What is safe to repeat is sent once more, and not again and again.
  expect(await ask(port)).toMatch(/^502 /);
  expect(writes).toBe(3);
});
