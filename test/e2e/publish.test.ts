// What the leader keeps in etcd for those who read it themselves, read with etcdctl as they would read it: CoreDNS (the SkyDNS
// layout), vip-manager (a key with the member's name). It is there while the term lasts, on its lease, and names no other.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { agreement, failoverWithinMs, lapsing, openStage, ttlMs, type Stage } from './stage.ts';

const withinMs = 20_000;

let stage: Stage;

beforeAll(async () => {
  stage = await openStage({ size: 1 });
});
afterEach(() => stage.clear());
afterAll(() => stage.end());

const valueOf = async (key: string): Promise<string> =>
  (await stage.cluster.etcdctl(['get', '--print-value-only', key])).trim();
const leaseOf = async (key: string): Promise<string> => {
  const text = await stage.cluster.etcdctl(['get', key, '--write-out=fields']);
  return BigInt(/"Lease" : (\d+)/.exec(text)![1]!).toString(16);
};
const shows = (key: string, wanted: string | RegExp): Promise<string> =>
  eventually(
    async () => {
      const value = await valueOf(key);
      return (
        (typeof wanted === 'string' ? value === wanted : wanted.test(value)) && (value || 'nothing')
      );
    },
    { withinMs, what: `${key} to be ${String(wanted)}` },
  );

const addresses: Readonly<Record<string, string>> = { a: '10.0.0.1', b: '10.0.0.2', c: '10.0.0.3' };
const args = (id: string, more: readonly string[] = []): readonly string[] => [
  `--advertise=${addresses[id]}:5432`,
  '--publish=/skydns/local/example/{election}/x1={"host":"{host}","port":{port},"ttl":5}',
  '--publish=/service/{election}/leader={id}',
  '--publish=/token/{election}={token} of {election}, {address}',
  ...more,
];
const three = (election: string, more: readonly string[] = []): Promise<Sidecar[]> =>
  Promise.all(['a', 'b', 'c'].map((id) => stage.sidecar({ election, id, args: args(id, more) })));

async function published(election: string, { id }: Sidecar, token: string): Promise<void> {
  const address = `${addresses[id]}:5432`;
  await shows(`/token/${election}`, `${token} of ${election}, ${address}`);
  // All in one transaction: whoever sees one sees the others.
  expect(await valueOf(`/service/${election}/leader`)).toBe(id);
  const record = JSON.parse(await valueOf(`/skydns/local/example/${election}/x1`)) as unknown;
  expect(record).toEqual({ host: addresses[id], port: 5432, ttl: 5 });
}

test('it names the leader, term after term, on the lease of each, and nobody when all have gone', async () => {
  const sidecars = await three('db');
  const first = await agreement(sidecars);
  await published('db', first.leader, first.token);
  const status = await first.leader.get<{ lease: { id: string } }>('/status');
  expect(await leaseOf('/service/db/leader')).toBe(status.body.lease.id);
  const headers = { 'content-type': 'application/json' };
  const asked = { local: true, method: 'POST', headers, body: '{}', timeoutMs: withinMs };
  expect((await first.leader.get('/step-down', asked)).status).toBe(200);
  const second = await agreement(sidecars);
  expect(second.leader.id).not.toBe(first.leader.id);
  await published('db', second.leader, second.token);
  for (const sidecar of sidecars) await sidecar.stop();
  for (const key of ['/token/db', '/service/db/leader', '/skydns/local/example/db/x1']) {
    expect(await valueOf(key)).toBe('');
  }
});

test('it goes with the lease of a leader that is killed, or with its witness before that', async () => {
  const sidecars = await three('killed', [lapsing, '--fast-failover=500ms']);
  const { leader, others, token } = await agreement(sidecars);
  await published('killed', leader, token);
  leader.signal('SIGKILL');
  const next = await agreement(others, failoverWithinMs(ttlMs));
  await published('killed', next.leader, next.token);
});

test('it is taken back while the app of the leader is still stopping', async () => {
  const one = await stage.sidecar({
    election: 'stopping',
    id: 'a',
    args: args('a', ['--on-step-down=exec:sleep 2']),
  });
  await one.waitFor(({ isLeader }) => isLeader, withinMs);
  await shows('/service/stopping/leader', 'a');
  one.signal('SIGTERM');
  await shows('/service/stopping/leader', '');
  // The hook is running: its key is still in the queue.
  expect((await stage.keys('stopping')).some((key) => key.includes('/candidates/'))).toBe(true);
  expect((await one.exited).code).toBe(0);
});
