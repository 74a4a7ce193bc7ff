import { describe, expect, it } from 'vitest';
import { SystemClock } from '../../src/process/clock.ts';
import { LoopDelay } from '../../src/process/loop-delay.ts';

/** A machine whose three clocks are moved by hand. */
function machine() {
  const time = { monotonic: 1000, wall: 1_700_000_000_000, uptime: 50_000 };
  const clock = new SystemClock({
    monotonic: () => time.monotonic,
    wall: () => time.wall,
    uptime: () => time.uptime,
  });
  return {
    clock,
    run: (ms: number): void => {
      time.monotonic += ms;
      time.wall += ms;
      time.uptime += ms;
    },
    suspend: (ms: number): void => {
      time.wall += ms;
      time.uptime += ms;
    },
    setWall: (ms: number): void => {
      time.wall += ms;
    },
  };
}

describe('the clock', () => {
  it('is the monotonic one while the machine runs', () => {
    const { clock, run } = machine();
    const before = clock.now();
    run(1234);
    expect(clock.now() - before).toBe(1234);
  });

  it('counts through a suspend, in which the monotonic one stands still', () => {
    const { clock, run, suspend } = machine();
    const before = clock.now();
    run(100);
    suspend(3_600_000);
    run(100);
    expect(clock.now() - before).toBe(3_600_200);
    suspend(60_000);
    expect(clock.now() - before).toBe(3_660_200);
  });

  it.each([3_600_000, -3_600_000])('does not follow a wall clock that is set by %d ms', (byMs) => {
    const { clock, run, setWall } = machine();
    const before = clock.now();
    setWall(byMs);
    run(500);
    expect(clock.now() - before).toBe(500);
    run(500);
    expect(clock.now() - before).toBe(1000);
  });

  it('never goes back, whatever happens to the others', () => {
    const { clock, run, suspend, setWall } = machine();
    let last = clock.now();
    for (const step of [
      () => suspend(5000),
      () => setWall(-90_000),
      () => run(1),
      () => setWall(90_000),
      () => suspend(200),
    ]) {
      step();
      const now = clock.now();
      expect(now).toBeGreaterThanOrEqual(last);
      last = now;
    }
  });

  it('tells the wall-clock time of a moment', () => {
    const { clock, run } = machine();
    const moment = clock.now();
    run(5000);
    expect(clock.wallTimeOf(moment)).toBe(new Date(1_700_000_000_000).toISOString());
  });

  it('calls once at the time, not before, and not at all once cancelled', async () => {
    const clock = new SystemClock();
    const at = clock.now() + 30;
    let calls = 0;
    const cancel = clock.at(at, () => (calls += 100));
    cancel();
    const calledAt = await new Promise<number>((resolve) => {
      clock.at(at, () => {
        calls += 1;
        resolve(clock.now());
      });
    });
    expect(calledAt).toBeGreaterThanOrEqual(at - 1);
    expect(calls).toBe(1);
  });
});

describe('the delay of the event loop', () => {
  it('is seen while it lasts, remembered for a while, and forgotten', () => {
    const time = { now: 0 };
    const delay = new LoopDelay({ now: () => time.now });
    // Its own timer does not get a turn within this test: beats come from here.
    time.now = 5000;
    expect(delay.worstMs()).toBe(4800);
    delay.beat();
    time.now = 5200;
    delay.beat();
    expect(delay.worstMs()).toBe(4800);
    for (time.now = 5400; time.now < 20_000; time.now += 200) delay.beat();
    expect(delay.worstMs()).toBe(0);
    delay.stop();
  });
});
