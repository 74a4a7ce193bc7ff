// An etcd whose quota is used up takes renewals and deletions, and nothing else. Whoever leads goes on; and who is asked to
// leave, by an operator or by SIGTERM, is succeeded after its TTL: nothing can be written about it, so it looks like a theft.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { monotonicMs, type Answer, type LeaderAnswer } from '../harness/sidecar.ts';
import { Probe, staleClaims } from './claims.ts';
import { agreement, failoverWithinMs, openStage, steadyTtlMs, type Stage } from './stage.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await openStage({ size: 1, extraArgs: [`--quota-backend-bytes=${4 * 1024 * 1024}`] });
});
afterAll(() => stage.end());

async function fill(): Promise<void> {
  const value = 'x'.repeat(100_000);
  for (let count = 0; count < 200; count += 1) {
    const put = stage.cluster.etcdctl(['put', `/filler/${count}`, value]);
    const failure = await put.then(
      () => null,
      (error: unknown) => String(error),
    );
    if (failure === null) continue;
    expect(failure).toContain('database space exceeded');
    return;
  }
  throw new Error('the quota was not used up');
}

test('a full etcd: the leader stays; a step-down and a SIGTERM hand over without a record, after a TTL', async () => {
  const sidecars = await stage.three({ election: 'full' });
  const first = await agreement(sidecars);
  await fill();
  const probe = new Probe(sidecars);
  const asked = await first.leader.get<{ leader: LeaderAnswer['leader'] }>('/step-down', {
    ...{ local: true, method: 'POST', body: '{"notFor":"1m"}', timeoutMs: 20_000 },
    headers: { 'content-type': 'application/json' },
  });
  expect(asked, asked.text).toMatchObject({ status: 200, body: { done: true } });
  const second = await agreement(sidecars, failoverWithinMs(steadyTtlMs));
  expect(second.leader).not.toBe(first.leader);
  expect(BigInt(second.token)).toBeGreaterThan(BigInt(first.token));

  const signalledAt = monotonicMs();
  second.leader.signal('SIGTERM');
  const standing = second.others.filter((one) => one !== first.leader);
  const led: Answer<LeaderAnswer>[] = await Promise.all(
    standing.map((one) => one.waitFor(({ isLeader }) => isLeader, failoverWithinMs(steadyTtlMs))),
  );
  expect(led).toHaveLength(1);
  const tookMs = led[0]!.receivedAt - signalledAt;
  expect(tookMs).toBeGreaterThanOrEqual(steadyTtlMs);
  // And not for the lease as well, which would come on top.
  expect(tookMs).toBeLessThan(1.7 * steadyTtlMs);
  expect(await second.leader.exited).toEqual({ code: 0, signal: null });
  expect(staleClaims(await probe.end())).toEqual([]);
});
