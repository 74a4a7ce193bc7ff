// The record of outages, compared with what was done: what history, page and metrics say of how long nobody led holds the
// truth, as it is measured from outside.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { agreement, failoverWithinMs, openStage, printedBy, type Stage } from './stage.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await openStage({ size: 1 });
});
afterEach(() => stage.clear());
afterAll(() => stage.end());

/** As it stands in `/history`. */
interface Term {
  readonly fencingToken: string;
  readonly leader: string;
  readonly from: string;
  readonly to: string | null;
  readonly toEarliest: string | null;
  readonly cause: string | null;
  readonly leaderlessMs: number | null;
  readonly leaderlessAtLeastMs: number | null;
  readonly leaderlessAtMostMs: number | null;
  readonly endDerived: boolean;
}

interface Change {
  readonly next: Term;
  readonly last: Term;
}

/** The term after the one with this token, once it is recorded, and that one itself. */
const changeAfter = (sidecars: readonly Sidecar[], token: string): Promise<Change> =>
  eventually(
    async () => {
      const { leader } = await agreement(sidecars, failoverWithinMs(10_000));
      const { terms } = (await leader.get<{ terms: readonly Term[] }>('/history')).body;
      const index = terms.findIndex(({ fencingToken }) => fencingToken === token);
      return index > 0 && { next: terms[index - 1]!, last: terms[index]! };
    },
    { withinMs: failoverWithinMs(10_000), what: `the term after ${token}` },
  );

const historyInWords = async (sidecar: Sidecar): Promise<readonly string[]> =>
  (await printedBy(sidecar, 'history')).split('\n');

/** Of one histogram's sum or count, or one counter, of all causes. */
async function metricOf(sidecar: Sidecar, name: string): Promise<Readonly<Record<string, number>>> {
  const { text } = await sidecar.get('/metrics');
  const lines = [...text.matchAll(/^(\w+)\{([^}]*)\} (\S+)$/gm)].filter(([, is]) => is === name);
  const causeOf = (labels: string): string => /cause="(\w+)"/.exec(labels)?.[1] ?? '';
  return Object.fromEntries(lines.map(([, , labels, value]) => [causeOf(labels!), Number(value)]));
}

/** Wall clocks are told in whole milliseconds. */
const roundedMs = 2;

const ends = {
  // etcd looks for leases that ran out every half second, and says how long they last in whole ones.
  'by the end of its lease': { args: ['--ttl=3s'], cause: 'lease_expired', mostMs: 3000 + 2000 },
  'by a witness': {
    args: ['--ttl=10m', '--fast-failover=1s', '--max-hold=0s'],
    cause: 'crashed',
    mostMs: 1000 + 1000,
  },
};

test.each(Object.entries(ends))(
  'a leader that was killed and replaced %s: the bounds hold what was measured',
  async (how, { args, cause, mostMs }) => {
    const election = `killed-${cause}`;
    let sidecars = await stage.three({ election, args });
    const covered = async (): Promise<boolean> => {
      const { leader } = await agreement(sidecars);
      const { failover } = (
        await leader.get<{ failover: { witnesses: string[] } | null }>('/status')
      ).body;
      return failover === null || failover.witnesses.length > 0;
    };
    for (let round = 0; round < 2; round += 1) {
      await eventually(covered, { withinMs: 30_000, what: 'somebody who can replace the leader' });
      const { leader, others, token } = await agreement(sidecars);
      const killedAt = Date.now();
      leader.signal('SIGKILL');
      await leader.exited;
      const goneAt = Date.now();
      sidecars = others;
      const { next, last } = await changeAfter(others, token);
      const measured = Date.parse(next.from) - killedAt;
      const least = Date.parse(next.from) - goneAt;
      console.error(`${how}: ${measured} ms; said: ${JSON.stringify(next)}`);
      expect(last).toMatchObject({ leader: leader.id, cause, endDerived: true, to: next.from });
      expect(next.leaderlessMs).toBeNull();
      expect(next.leaderlessAtLeastMs).toBeLessThanOrEqual(measured + roundedMs);
      expect(next.leaderlessAtMostMs).toBeGreaterThanOrEqual(least - roundedMs);
      expect(Date.parse(last.toEarliest!)).toBeLessThanOrEqual(goneAt + roundedMs);
      // And it says something: it is not much more than what a crash can cost.
      expect(next.leaderlessAtMostMs).toBeLessThan(Math.max(mostMs, measured + 2000));
      const successor = others.find(({ id }) => id === next.leader)!;
      const seconds = await metricOf(successor, 'electord_failover_duration_seconds_sum');
      expect(seconds[cause]).toBeCloseTo(next.leaderlessAtMostMs! / 1000, 1);
      const counted = await metricOf(successor, 'electord_leaderless_seconds_total');
      expect(counted['']).toBeGreaterThanOrEqual(seconds[cause]! - 0.01);
      const [, newest, killed] = await historyInWords(successor);
      expect(newest).toMatch(/ ≤ \d/);
      expect(killed).toContain(`${cause}?`);
    }
  },
);

test('an etcd that stood still for 8 s: whoever led corrects the record of its own term', async () => {
  const sidecars = await stage.three({ election: 'frozen', args: ['--ttl=3s'] });
  const { leader, token } = await agreement(sidecars);
  const node = stage.cluster.nodes[0]!;
  const recorded = async (): Promise<boolean> => {
    const { terms } = (await leader.get<{ terms: readonly Term[] }>('/history')).body;
    return terms[0]?.fencingToken === token;
  };
  await eventually(recorded, { withinMs: 20_000, what: 'the term in the history' });
  const frozenAt = Date.now();
  node.freeze();
  const ended = await leader.waitForLog(
    (line) => line['term'] === token && 'ledMs' in line,
    20_000,
  );
  const endedAt = Date.now();
  expect(ended['cause']).toBe('etcd_unreachable');
  await new Promise((resolve) => setTimeout(resolve, 8000 - (endedAt - frozenAt)));
  node.thaw();
  const corrected = async (): Promise<Change | false> => {
    const change = await changeAfter(sidecars, token);
    return change.last.cause === 'etcd_unreachable' && change;
  };
  const { next, last } = await eventually(corrected, {
    withinMs: 20_000,
    what: 'the corrected record',
  });
  console.error(`etcd frozen: ${JSON.stringify({ last, next })}`);
  expect(last).toMatchObject({ leader: leader.id, endDerived: false, toEarliest: last.to });
  expect(Date.parse(last.to!)).toBeGreaterThanOrEqual(frozenAt);
  expect(Date.parse(last.to!)).toBeLessThanOrEqual(endedAt);
  // From its end to the next term, which cannot have begun while etcd stood still.
  expect(next.leaderlessMs).toBe(Date.parse(next.from) - Date.parse(last.to!));
  expect(next.leaderlessMs).toBeGreaterThan(4000);
  const words = await historyInWords(leader);
  expect(words.find((line) => line.startsWith(token))).toMatch(/ etcd_unreachable /);
});

test('a hand-over is told exactly, with the time that the app took to stop', async () => {
  const args = ['--on-step-down=exec:sleep 1.2'];
  const sidecars = await stage.three({ election: 'handed-over', args });
  const { leader, others, token } = await agreement(sidecars);
  const headers = { 'content-type': 'application/json' };
  const asked = { local: true, method: 'POST', headers, body: '{}', timeoutMs: 20_000 } as const;
  expect((await leader.get('/step-down', asked)).status).toBe(200);
  const { next, last } = await changeAfter(sidecars, token);
  expect(last).toMatchObject({ cause: 'resigned', endDerived: false });
  expect(last.toEarliest).toBe(last.to);
  expect(next.leaderlessMs).toBeGreaterThanOrEqual(1200);
  expect(next.leaderlessMs).toBeLessThan(10_000);
  const between = Date.parse(next.from) - Date.parse(last.to!);
  // The record is measured without what lies between the deletion and its being seen.
  expect(Math.abs(between - next.leaderlessMs!)).toBeLessThan(1000);
  const successor = others.find(({ id }) => id === next.leader)!;
  const seconds = await metricOf(successor, 'electord_failover_duration_seconds_sum');
  expect(seconds['resigned']).toBeCloseTo(next.leaderlessMs! / 1000, 1);
});
