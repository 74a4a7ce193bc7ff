// The queue as others see and touch it: an administrator with etcdctl who deletes keys and leases, and etcd's own
// elections, whose candidates stand in the same queue, lead, and are followed, in both directions.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { etcdSeries } from '../harness/binaries.ts';
import { monotonicMs, type LeaderAnswer, type Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { brokenPromises, Probe, staleClaims } from './claims.ts';
import { agreement, failoverWithinMs, openStage, steadyTtlMs, type Stage } from './stage.ts';

const candidates = (election: string): string => `/electord/${election}/candidates`;

describe.each(etcdSeries)('etcd %s', (version) => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await openStage({ size: 1, version });
  });
  afterEach(() => stage.clear());
  afterAll(() => stage.end());

  const leaseOf = async (sidecar: Sidecar): Promise<string> =>
    (await sidecar.get<{ lease: { id: string } }>('/status')).body.lease.id;

  test("the leader's key is deleted: another leads after its TTL, the first queues again behind", async () => {
    const sidecars = await stage.three({ election: 'deleted' });
    const { leader, token } = await agreement(sidecars);
    const probe = new Probe(sidecars);
    const deletedAt = monotonicMs();
    await stage.cluster.etcdctl(['del', `${candidates('deleted')}/${await leaseOf(leader)}`]);
    const after = await eventually(
      async () => {
        const now = await agreement(sidecars, 1000);
        return now.token !== token && now;
      },
      { withinMs: failoverWithinMs(steadyTtlMs), what: 'a new leader' },
    );
    expect(monotonicMs() - deletedAt).toBeGreaterThanOrEqual(steadyTtlMs);
    expect(after.leader).not.toBe(leader);
    expect(BigInt(after.token)).toBeGreaterThan(BigInt(token));
    await leader.waitForLog((line) => line['cause'] === 'key_deleted' && 'ledMs' in line, 20_000);
    await eventually(
      async () =>
        (await stage.keys('deleted')).filter((key) => /candidates/.test(key)).length === 3,
      { withinMs: 20_000, what: 'three candidates again' },
    );
    const observations = await probe.end();
    expect(staleClaims(observations)).toEqual([]);
    expect(brokenPromises(observations)).toEqual([]);
  });

  test("the leader's lease is revoked: another leads after its TTL, the first is back under a new one", async () => {
    const sidecars = await stage.three({ election: 'revoked' });
    const { leader, token } = await agreement(sidecars);
    const lease = await leaseOf(leader);
    await stage.cluster.etcdctl(['lease', 'revoke', lease]);
    const after = await eventually(
      async () => {
        const now = await agreement(sidecars, 1000);
        return now.token !== token && now;
      },
      { withinMs: failoverWithinMs(steadyTtlMs), what: 'a new leader' },
    );
    expect(after.leader).not.toBe(leader);
    const renewed = await eventually(
      async () => {
        const own = await leaseOf(leader);
        return own !== lease && own;
      },
      { withinMs: 20_000, what: 'a new lease' },
    );
    await eventually(
      async () => (await stage.keys('revoked')).includes(`${candidates('revoked')}/${renewed}`),
      { withinMs: 20_000, what: 'a new place in the queue' },
    );
    expect((await leader.stop()).code).toBe(0);
  });

  test('etcdctl elect leads first: it is followed by its bare name, and succeeded by a sidecar', async () => {
    const foreign = await stage.etcdctl(['elect', candidates('foreign'), 'a-go-program']);
    await eventually(() => foreign.lines.length >= 2, { withinMs: 20_000, what: 'its election' });
    const sidecars = await stage.three({ election: 'foreign' });
    for (const sidecar of sidecars) {
      const { status, body } = await sidecar.waitFor(({ leader }) => leader !== null, 20_000);
      expect(status).toBe(503);
      expect(body).toMatchObject({
        role: 'follower',
        leader: { id: 'a-go-program', address: null },
      });
      expect((await sidecar.get('/follower')).status).toBe(200);
      expect((await sidecar.get('/')).body).toEqual({ name: 'a-go-program' });
    }
    const members = await eventually(
      async () => {
        const { body } = await sidecars[0]!.get<{ members: Record<string, unknown>[] }>('/members');
        return body.members.length === 4 && body.members;
      },
      { withinMs: 20_000, what: 'four members' },
    );
    expect(members).toContainEqual(
      expect.objectContaining({ id: 'a-go-program', role: 'leader', native: false, place: 1 }),
    );
    const { body } = await sidecars[0]!.get<LeaderAnswer>('/leader');
    const resignedAt = monotonicMs();
    foreign.child.signal('SIGINT');
    const first = await Promise.race(
      sidecars.map((one) => one.waitFor((on) => on.isLeader, 20_000)),
    );
    expect(first.receivedAt - resignedAt).toBeLessThan(steadyTtlMs / 2);
    expect(BigInt(first.body.fencingToken!)).toBeGreaterThan(BigInt(body.leader!.fencingToken));
    await agreement(sidecars);
  });

  test('etcdctl elect waits behind a sidecar, is seen in line, and leads after its SIGTERM', async () => {
    const sidecar = await stage.sidecar({ election: 'behind', id: 'ours' });
    const { token } = await agreement([sidecar]);
    const listing = await stage.etcdctl(['elect', '-l', candidates('behind')]);
    await eventually(() => listing.lines.join('\n').includes('"id":"ours"'), {
      withinMs: 20_000,
      what: 'the sidecar in the listing of etcdctl',
    });
    expect(listing.lines).toContain(`${candidates('behind')}/${await leaseOf(sidecar)}`);
    const foreign = await stage.etcdctl(['elect', candidates('behind'), 'a-go-program']);
    await eventually(
      async () => (await stage.keys('behind')).filter((key) => /candidates/.test(key)).length === 2,
      { withinMs: 20_000, what: 'two candidates' },
    );
    expect(foreign.lines).toEqual([]);
    expect((await sidecar.get<LeaderAnswer>('/leader')).body).toMatchObject({
      isLeader: true,
      fencingToken: token,
    });
    const late = await stage.sidecar({ election: 'behind', id: 'late' });
    await late.waitFor(({ leader }) => leader?.id === 'ours', 20_000);
    expect((await sidecar.stop()).code).toBe(0);
    await eventually(() => foreign.lines.at(-1) === 'a-go-program', {
      withinMs: 20_000,
      what: 'the election of etcdctl',
    });
    await late.waitFor(
      ({ leader, role }) => leader?.id === 'a-go-program' && role === 'follower',
      20_000,
    );
    await eventually(() => listing.lines.includes('a-go-program'), {
      withinMs: 20_000,
      what: 'the new leader in the listing',
    });
    foreign.child.signal('SIGINT');
    await late.waitFor(({ isLeader }) => isLeader, 20_000);
  });
});
