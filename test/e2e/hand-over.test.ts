// Three sidecars on a 3-node etcd: one leads, hands over at SIGTERM in milliseconds and leaves nothing behind, and is
// replaced after one TTL when it is killed.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { monotonicMs, type LeaderAnswer, type Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { Probe, staleClaims } from './claims.ts';
import {
  agreement,
  failoverWithinMs,
  lapsing,
  openStage,
  steadyTtlMs,
  ttlMs,
  type Stage,
} from './stage.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await openStage({ size: 3 });
});
afterEach(() => stage.clear());
afterAll(() => stage.end());

/** As in keys: hexadecimal without leading zeros. */
const leaseOf = async (sidecar: Sidecar): Promise<string> =>
  (await sidecar.get<{ lease: { id: string } }>('/status')).body.lease.id;

test('three sidecars elect exactly one, and all say the same about it', async () => {
  const sidecars = await stage.three({ election: 'one', args: ['--advertise=10.0.0.7:8080'] });
  const { leader, others, token } = await agreement(sidecars);
  const claim = await leader.get<LeaderAnswer>('/leader');
  expect(claim).toMatchObject({
    status: 200,
    headers: { 'x-electord-role': 'leader', 'cache-control': 'no-store' },
    body: {
      election: 'one',
      id: leader.id,
      role: 'leader',
      isLeader: true,
      fencingToken: token,
      leader: { id: leader.id, address: '10.0.0.7:8080', fencingToken: token },
    },
  });
  expect(claim.body.validForMs).toBeGreaterThan(0);
  expect(claim.body.validForMs).toBeLessThanOrEqual(steadyTtlMs);
  for (const other of others) {
    const answer = await other.get<LeaderAnswer>('/leader');
    expect(answer).toMatchObject({
      status: 503,
      headers: { 'x-electord-role': 'follower' },
      body: { id: other.id, role: 'follower', isLeader: false, fencingToken: null, validForMs: 0 },
    });
    expect((await other.get('/follower')).status).toBe(200);
  }
  expect((await leader.get('/follower')).status).toBe(503);
  for (const each of sidecars) {
    for (const path of ['/health', '/readyz', '/livez']) {
      expect((await each.get(path)).status, path).toBe(200);
    }
    expect((await each.get('/')).body).toEqual({ name: leader.id });
  }
});

test('SIGTERM hands over in milliseconds, leaves no key and no lease, and disturbs nothing else', async () => {
  const sidecars = await stage.three({ election: 'planned' });
  const { leader, others, token } = await agreement(sidecars);
  await stage.cluster.etcdctl(['put', '/electord/other/candidates/1', 'theirs']);
  const leaving = await leaseOf(leader);
  const stayingLeases = await Promise.all(others.map(leaseOf));
  expect(await stage.keys('planned')).toContain(`/electord/planned/candidates/${leaving}`);

  const signalledAt = monotonicMs();
  leader.signal('SIGTERM');
  const successors = others.map((other) => other.waitFor(({ isLeader }) => isLeader, 20_000));
  const first = await Promise.race(successors);
  // The median is some ten milliseconds (test/bench); here it only must not have waited for the lease.
  expect(first.receivedAt - signalledAt).toBeLessThan(steadyTtlMs / 2);
  expect(BigInt(first.body.fencingToken!)).toBeGreaterThan(BigInt(token));
  expect(await leader.exited).toEqual({ code: 0, signal: null });
  for (const pending of successors) pending.catch(() => undefined);

  const leases = await stage.leases();
  expect(leases).not.toContain(leaving);
  expect(leases).toEqual(expect.arrayContaining([...stayingLeases]));
  const keys = await stage.keys('planned');
  expect(keys.some((key) => key.endsWith(`/${leaving}`))).toBe(false);
  expect(keys).not.toContain(`/electord/planned/members/${leader.id}`);
  for (const lease of stayingLeases) {
    expect(keys).toContain(`/electord/planned/candidates/${lease}`);
  }
  expect(await stage.keys('other')).toEqual(['/electord/other/candidates/1']);
  await agreement(others);
  for (const other of others) expect(other.output()).not.toMatch(/"level":"(warn|error|fatal)"/);

  const handover = await stage.cluster.etcdctl([
    'get',
    '--print-value-only',
    '/electord/planned/handover',
  ]);
  expect(JSON.parse(handover)).toMatchObject({ from: leader.id, token, cause: 'stopping' });
});

test('the last one leaves neither candidate nor member nor lease', async () => {
  const sidecars = await stage.three({ election: 'last' });
  await agreement(sidecars);
  const own = await Promise.all(sidecars.map(leaseOf));
  expect(await stage.leases()).toEqual(expect.arrayContaining(own));
  const ends = await Promise.all(sidecars.map((sidecar) => sidecar.stop()));
  expect(ends).toEqual(sidecars.map(() => ({ code: 0, signal: null })));
  const keys = await stage.keys('last');
  expect(keys.filter((key) => /\/(candidates|members)\//.test(key))).toEqual([]);
  expect((await stage.leases()).filter((lease) => own.includes(lease))).toEqual([]);
});

test('SIGTERM at every turn: six hand-overs, no stale claim, tokens grow', async () => {
  const running = new Set(await stage.three({ election: 'rolling' }));
  const tokens: bigint[] = [];
  const tookMs: number[] = [];
  for (let round = 0; round < 6; round += 1) {
    const { leader, others, token } = await agreement([...running]);
    tokens.push(BigInt(token));
    const probe = new Probe([leader, ...others]);
    const signalledAt = monotonicMs();
    leader.signal('SIGTERM');
    const first = await eventually(
      () => probe.observations.find(({ claims }) => claims !== null && claims > BigInt(token)),
      { withinMs: 20_000, what: 'a successor' },
    );
    tookMs.push(first.receivedAt - signalledAt);
    expect((await leader.exited).code).toBe(0);
    expect(staleClaims(await probe.end())).toEqual([]);
    running.delete(leader);
    running.add(await stage.sidecar({ election: 'rolling', id: `next-${round}` }));
  }
  expect(tokens).toEqual(tokens.toSorted((a, b) => (a < b ? -1 : 1)));
  expect(new Set(tokens).size).toBe(tokens.length);
  // Nobody waited for a lease.
  expect(Math.max(...tookMs)).toBeLessThan(steadyTtlMs / 2);
});

test('SIGKILL: another leads after one TTL, with a greater token and never before', async () => {
  const sidecars = await stage.three({ election: 'killed', args: [lapsing] });
  const { leader, others, token } = await agreement(sidecars);
  const probe = new Probe(sidecars);
  await eventually(() => probe.of(leader).some(({ claims }) => claims !== null), {
    withinMs: 20_000,
    what: 'a claim',
  });
  const killedAt = monotonicMs();
  leader.signal('SIGKILL');
  const first = await eventually(
    () => probe.observations.find(({ claims }) => claims !== null && claims > BigInt(token)),
    { withinMs: failoverWithinMs(ttlMs), what: 'a successor' },
  );
  // The last renewal was at most a fifth of the TTL before the end, so the lease had most of it left.
  expect(first.receivedAt - killedAt).toBeGreaterThan(1000);
  expect(staleClaims(await probe.end())).toEqual([]);
  const after = await agreement(others);
  expect(after.leader.id).toBe(first.from);
});
