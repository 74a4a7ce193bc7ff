// HTTPS on a listening socket: what is served, to whom where client certificates are required, which versions of TLS, a
// certificate that is replaced while connections stay, and the drain.
import { request as requestHttps, type RequestOptions } from 'node:https';
import { request as requestHttp } from 'node:http';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect, type PeerCertificate, type TLSSocket } from 'node:tls';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { createFront } from '../../src/http/front.ts';
import { listen, type Listening, type ServerTls } from '../../src/http/listen.ts';
import { makeCertificates, type Certificates } from '../harness/certificates.ts';
import { eventually, within } from '../harness/wait.ts';
import { candidate, FakeElections } from './http-fake-elections.ts';
import { inputsOf } from './http-serving.ts';

let certificates: Certificates;
const opened: Listening[] = [];
const sockets: Socket[] = [];

beforeAll(async () => {
  certificates = await makeCertificates();
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const one of opened.splice(0)) await one.close();
});
afterAll(() => certificates.remove());

const material = (clientCa: string | null = null): ServerTls => ({
  certificate: certificates.server.cert,
  key: certificates.server.key,
  clientCa,
});

async function open(
  tls: ServerTls,
  drainMs = 2000,
): Promise<{ listening: Listening; port: number }> {
  const fake = new FakeElections(['orders']);
  fake.know({ candidates: [candidate('orders-0', 4711n)], claimUntil: 1_004_000 });
  const application = createFront(inputsOf(fake));
  const listening = await listen(application, { host: '127.0.0.1', port: 0 }, { drainMs }, tls);
  opened.push(listening);
  if (!('port' in listening.address)) throw new Error('not a TCP address');
  return { listening, port: listening.address.port };
}

function leaderOver(port: number, more: RequestOptions = {}): Promise<number> {
  const ca = certificates.authority.cert;
  const options = { host: '127.0.0.1', port, path: '/leader', ca, agent: false as const };
  return new Promise((resolve, reject) => {
    const asked = requestHttps({ ...options, ...more }, (answer) => {
      answer.resume();
      answer.on('end', () => resolve(answer.statusCode ?? 0));
      answer.on('error', reject);
    });
    asked.on('error', reject);
    asked.end();
  });
}

async function handshake(port: number): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port, ca: certificates.authority.cert });
  socket.on('error', () => undefined);
  sockets.push(socket);
  await once(socket, 'secureConnect');
  return socket;
}

it('serves HTTPS, and nothing to a client that speaks plainly or an old version', async () => {
  const { port } = await open(material());
  expect(await leaderOver(port)).toBe(200);
  await expect(leaderOver(port, { maxVersion: 'TLSv1.1', minVersion: 'TLSv1' })).rejects.toThrow();
  const plain = new Promise((resolve, reject) => {
    requestHttp({ host: '127.0.0.1', port, path: '/leader', agent: false }, resolve)
      .on('error', reject)
      .end();
  });
  await expect(plain).rejects.toThrow();
  expect(await leaderOver(port)).toBe(200);
});

it('requires a certificate of the clients’ authority where one is set', async () => {
  const { port } = await open(material(certificates.authority.cert));
  await expect(leaderOver(port)).rejects.toThrow();
  const { foreignClient, client } = certificates;
  await expect(
    leaderOver(port, { key: foreignClient.key, cert: foreignClient.cert }),
  ).rejects.toThrow();
  expect(await leaderOver(port, { key: client.key, cert: client.cert })).toBe(200);
});

it('takes up another certificate for new connections, and keeps the old ones', async () => {
  const { listening, port } = await open(material());
  const subject = (socket: TLSSocket): PeerCertificate['subject']['CN'] =>
    socket.getPeerCertificate().subject.CN;
  const before = await handshake(port);
  expect(subject(before)).toBe('etcd');
  const renewed = await certificates.issue('renewed', { commonName: 'renewed' });
  listening.renew({ certificate: renewed.cert, key: renewed.key, clientCa: null });
  expect(subject(await handshake(port))).toBe('renewed');
  let answer = '';
  before.on('data', (part: Buffer) => (answer += part.toString()));
  before.write('GET /leader HTTP/1.1\r\n\r\n');
  await eventually(() => answer.startsWith('HTTP/1.1 200'), {
    withinMs: 20_000,
    what: 'an answer',
  });
  // What cannot be used changes nothing.
  const broken = { certificate: 'nonsense', key: 'nonsense', clientCa: null };
  expect(() => listening.renew(broken)).toThrow();
  expect(subject(await handshake(port))).toBe('renewed');
});

it('closes idle connections at once, and those that never shook hands when time is up', async () => {
  const { listening, port } = await open(material(), 200);
  const idle = await handshake(port);
  const ended = once(idle, 'close');
  const silent = connectTcp({ host: '127.0.0.1', port });
  silent.on('error', () => undefined);
  sockets.push(silent);
  await once(silent, 'connect');
  // Behind the silent one: the server has seen that by the time this is through.
  await handshake(port);
  idle.resume();
  await within(listening.close(), { withinMs: 20_000, what: 'the end' });
  await within(ended, { withinMs: 20_000, what: 'the end of the idle one' });
  expect(idle.destroyed).toBe(true);
});
