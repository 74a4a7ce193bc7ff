// Health by gRPC of the built program on a real etcd, asked by a stock client: elected, killed, paused, handed over, by TLS.
import { credentials } from '@grpc/grpc-js';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { makeCertificates, type Certificates, type KeyPair } from '../harness/certificates.ts';
import { grpcHealth, type GrpcHealth } from '../harness/grpc-health.ts';
import type { Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { agreement, failoverWithinMs, lapsing, openStage, ttlMs, type Stage } from './stage.ts';

const withinMs = 30_000;
const asked = '--grpc-health=127.0.0.1:0';

let stage: Stage;
let certificates: Certificates;
const clients: GrpcHealth[] = [];

beforeAll(async () => {
  [stage, certificates] = await Promise.all([openStage({ size: 1 }), makeCertificates()]);
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await stage.clear();
});
afterAll(async () => {
  await stage.end();
  await certificates.remove();
});

async function portOf(sidecar: Sidecar): Promise<number> {
  const line = await sidecar.waitForLog(({ msg }) => msg === 'gRPC health is served', withinMs);
  return line['port'] as number;
}

async function clientOf(sidecar: Sidecar, pair?: KeyPair | null): Promise<GrpcHealth> {
  const { authority } = certificates;
  const secure =
    pair === undefined
      ? credentials.createInsecure()
      : credentials.createSsl(
          Buffer.from(authority.cert),
          pair && Buffer.from(pair.key),
          pair && Buffer.from(pair.cert),
        );
  const client = grpcHealth(await portOf(sidecar), secure);
  clients.push(client);
  return client;
}

test('a killed leader is replaced: the successor is watched to serve, and the others do not', async () => {
  const election = 'killed';
  const sidecars = await stage.three({ election, args: [asked, lapsing] });
  const { leader, others } = await agreement(sidecars);
  const [first, ...rest] = await Promise.all([leader, ...others].map((one) => clientOf(one)));
  for (const name of ['', 'ready', 'leader', election]) {
    expect([name, await first!.check(name)]).toEqual([name, 'SERVING']);
  }
  const watching = rest.map((client) => client.watch(election));
  for (const [index, client] of rest.entries()) {
    await watching[index]!.tells('NOT_SERVING');
    expect(await client.check('leader')).toBe('NOT_SERVING');
    expect(await client.check('follower')).toBe('SERVING');
    expect(await client.check('ready')).toBe('SERVING');
    expect(await client.check('other')).toBe('NOT_FOUND');
  }
  leader.signal('SIGKILL');
  await eventually(() => watching.some(({ told }) => told.at(-1) === 'SERVING'), {
    withinMs: failoverWithinMs(ttlMs),
    what: 'a successor that serves',
  });
  const { leader: next } = await agreement(others);
  for (const [index, one] of others.entries()) {
    const leads = one === next ? 'SERVING' : 'NOT_SERVING';
    expect(await rest[index]!.check(election)).toBe(leads);
    expect(watching[index]!.told.at(-1)).toBe(leads);
  }
});

test('a leader that stood still answers a question from before with what is so after', async () => {
  const election = 'paused';
  const sidecars = await stage.three({ election, args: [asked, lapsing] });
  const { leader, others } = await agreement(sidecars);
  const client = await clientOf(leader);
  expect(await client.check('leader')).toBe('SERVING');
  leader.signal('SIGSTOP');
  const answers = ['leader', election].map((name) => client.check(name, 60_000));
  await agreement(others, failoverWithinMs(ttlMs));
  leader.signal('SIGCONT');
  expect(await Promise.all(answers)).toEqual(['NOT_SERVING', 'NOT_SERVING']);
});

test('SIGTERM: who watches is told that nothing is served, then the streams end, and the next one serves', async () => {
  const election = 'handed';
  const sidecars = await stage.three({ election, args: [asked] });
  const { leader, others } = await agreement(sidecars);
  const [first, ...rest] = await Promise.all([leader, ...others].map((one) => clientOf(one)));
  const [leads, ready] = [first!.watch('leader'), first!.watch('')];
  const next = rest.map((client) => client.watch('leader'));
  await Promise.all([leads, ready].map((one) => one.tells('SERVING')));
  await Promise.all(next.map((one) => one.tells('NOT_SERVING')));
  leader.signal('SIGTERM');
  expect(await leader.exited).toEqual({ code: 0, signal: null });
  for (const one of [leads, ready]) {
    await eventually(() => one.ended() !== null, { withinMs, what: 'the end of the stream' });
    expect([one.told, one.ended()]).toEqual([['SERVING', 'NOT_SERVING'], 'OK']);
  }
  await eventually(() => next.some(({ told }) => told.at(-1) === 'SERVING'), {
    withinMs,
    what: 'a successor that serves',
  });
  expect(leader.logs.filter(({ level }) => level === 'error')).toEqual([]);
});

test('TLS as on the public listener: a certificate is demanded, and a renewed one is shown', async () => {
  const { authority, client, foreignAuthority, folder } = certificates;
  const [cert, key] = [join(folder, 'shown.crt'), join(folder, 'shown.key')];
  const show = async (name: string, by: KeyPair): Promise<void> => {
    const made = await certificates.issue(name, { commonName: 'electord' }, by);
    await Promise.all([copyFile(made.certFile, cert), copyFile(made.keyFile, key)]);
  };
  await show('foreign-server', foreignAuthority);
  const sidecar = await stage.sidecar({
    election: 'secret',
    id: 'a',
    args: [
      asked,
      `--tls-cert=${cert}`,
      `--tls-key=${key}`,
      `--tls-client-ca=${authority.certFile}`,
    ],
  });
  await sidecar.waitForLog(({ msg }) => /^leads /.test(String(msg)), withinMs);
  expect(await (await clientOf(sidecar, client)).check('leader')).toBe('UNAVAILABLE');
  await show('renewed-server', authority);
  sidecar.signal('SIGHUP');
  await sidecar.waitForLog(({ msg }) => /read anew/.test(String(msg)), withinMs);
  expect(await (await clientOf(sidecar, client)).check('leader')).toBe('SERVING');
  expect(await (await clientOf(sidecar, null)).check('leader')).toBe('UNAVAILABLE');
  expect(await (await clientOf(sidecar)).check('leader')).toBe('UNAVAILABLE');
});

test('an address that is taken is waited for like that of any listener; off, there is none', async () => {
  const one = await stage.sidecar({ election: 'taken', id: 'a', args: [asked] });
  const port = await portOf(one);
  const two = await stage.sidecar({ election: 'taken', id: 'b', args: ['--log-level=info'] });
  expect(two.output()).not.toContain('gRPC');
  const args = [`--grpc-health=127.0.0.1:${port}`];
  const third = await stage.sidecar({ election: 'taken', id: 'c', args });
  await third.waitForLog(({ msg }) => /not to be had yet/.test(String(msg)), withinMs);
  await one.stop();
  expect(await (await clientOf(third)).check('nothing')).toBe('NOT_FOUND');
});
