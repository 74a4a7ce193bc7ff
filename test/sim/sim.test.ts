// Many simulated minutes, of fixed seeds and of fresh ones: no promise is broken in any. A failure names its seed, and
// tells a small schedule that fails in the same way.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requestBounds, watchProbe } from '../../src/policies.ts';
import { buildSimulation } from './bundle.ts';
import { Random } from './random.ts';
import { discard, simulate } from './runner.ts';
import { leaderWithinMs, scheduleOf } from './schedule.ts';
import { shrink } from './shrink.ts';
import { runSchedule } from './world.ts';

/** About ten seconds each on two idle cores. */
const schedulesEach = 300;
/** The machine may be busy with the other tests. */
const testTimeoutMs = 240_000;

let file = '';
beforeAll(async () => {
  file = await buildSimulation('test');
});
afterAll(async () => {
  await discard(file);
});

async function expectKept(firstSeed: number): Promise<void> {
  const tally = await simulate({ file, firstSeed, count: schedulesEach });
  const [first] = tally.broken;
  if (first !== undefined) {
    const { schedule } = await shrink(scheduleOf(first.seed), first.violation);
    const { transcript } = await runSchedule(schedule, { transcript: true });
    const replay = `npm run sim -- --seed ${first.seed} --schedules 1`;
    expect.fail([`${replay} fails; made small:`, ...transcript].join('\n'));
  }
  expect(tally.schedules).toBe(schedulesEach);
  // A world in which nobody leads, or hardly ever, would keep every promise.
  expect(tally.terms).toBeGreaterThan(2 * schedulesEach);
  expect(tally.claims).toBeGreaterThan(tally.answers / 5);
}

describe('the simulation', () => {
  it('keeps every promise on the fixed seeds', () => expectKept(1), testTimeoutMs);

  it(
    'keeps every promise on fresh seeds',
    async () => {
      const firstSeed = 1_000_000 + Math.floor(Math.random() * 1e9);
      console.log(`fresh seeds: npm run sim -- --seed ${firstSeed} --schedules ${schedulesEach}`);
      await expectKept(firstSeed);
    },
    testTimeoutMs,
  );

  it('gives the same world for the same seed', async () => {
    for (const seed of [3, 14, 15]) {
      const once = await runSchedule(scheduleOf(seed), { transcript: true });
      const again = await runSchedule(scheduleOf(seed), { transcript: true });
      expect(again.transcript).toEqual(once.transcript);
      expect(once.transcript.length).toBeGreaterThan(20);
    }
  });

  it('gives a fresh world for another seed', () => {
    const numbers = [1, 2].map((seed) => new Random(seed).next());
    expect(numbers[0]).not.toBe(numbers[1]);
    expect(scheduleOf(1).happenings).not.toEqual(scheduleOf(2).happenings);
  });

  it('waits for a leader no longer than a TTL and a bound that follows from it', () => {
    for (let seed = 1; seed <= 50; seed += 1) {
      const { setup } = scheduleOf(seed);
      const { attemptMs, hedgeAfterMs } = requestBounds(setup.ttlMs);
      const { everyMs, answerWithinMs } = watchProbe(setup.ttlMs);
      const afterTtlMs =
        leaderWithinMs({ ...setup, takeoverDelayMs: 0 }) - setup.ttlMs - setup.graceMs;
      // Twice a request and a round, a mute watch, and what etcd takes: written out in schedule.ts.
      const mostMs =
        2 * (attemptMs + 3 * hedgeAfterMs + setup.ttlMs / 5) + everyMs + answerWithinMs;
      expect(afterTtlMs).toBeLessThan((mostMs + 2500) * 1.2);
    }
  });
});
