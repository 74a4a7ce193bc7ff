// The one loop of the product, on a clock that the test moves: waits, backs off, is woken and stops at once.
import { expect, test } from 'vitest';
import { backoffMs, Loop } from '../../src/process/loop.ts';
import { FakeClock, settled } from './sdk-stand-in.ts';

test('waits between rounds for as long as each says, and never has two at once', async () => {
  const clock = new FakeClock();
  const loop = new Loop(clock);
  const began: number[] = [];
  void loop.run(async () => {
    began.push(clock.now());
    await new Promise<void>((resolve) => {
      clock.at(clock.now() + 30, resolve);
    });
    return 100 * began.length;
  });
  await clock.advance(800);
  // 30 in the round, then 100, 200, 300 of waiting.
  expect(began).toEqual([0, 130, 360, 690]);
});

test('stopped while it waits, it ends at once and begins no round', async () => {
  const clock = new FakeClock();
  const loop = new Loop(clock);
  let rounds = 0;
  const ended = loop.run(() => {
    rounds += 1;
    return 1_000_000;
  });
  await settled();
  expect(loop.isRunning()).toBe(true);
  loop.stop();
  await ended;
  expect(loop.isRunning()).toBe(false);
  await clock.advance(2_000_000);
  expect(rounds).toBe(1);
});

test('stopped during a round, or before it was run, it begins no other', async () => {
  const loop = new Loop(new FakeClock());
  let rounds = 0;
  const round = (): number => {
    rounds += 1;
    loop.stop();
    return 0;
  };
  await loop.run(round);
  expect(rounds).toBe(1);
  await loop.run(round);
  expect(rounds).toBe(1);
});

test('woken while it waits or during a round, it begins the next at once, and then waits again', async () => {
  const clock = new FakeClock();
  const loop = new Loop(clock);
  let rounds = 0;
  let wakeInRound = false;
  void loop.run(() => {
    rounds += 1;
    if (wakeInRound) loop.wake();
    wakeInRound = false;
    return 1000;
  });
  await settled();
  wakeInRound = true;
  loop.wake();
  await clock.advance(0);
  expect(rounds).toBe(3);
  await clock.advance(999);
  expect(rounds).toBe(3);
  await clock.advance(1);
  expect(rounds).toBe(4);
  loop.stop();
});

test('a round that throws ends the loop with that', async () => {
  const loop = new Loop(new FakeClock());
  await expect(loop.run(() => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
});

test('the backoff doubles up to the longest, and jitter takes at most half of it', () => {
  const bounds = { firstMs: 20, longestMs: 500 };
  const waits = (random: number): readonly number[] =>
    [1, 2, 3, 4, 5, 6, 7, 1_000_000].map((failures) => backoffMs(bounds, failures, () => random));
  expect(waits(1)).toEqual([20, 40, 80, 160, 320, 500, 500, 500]);
  expect(waits(0)).toEqual([10, 20, 40, 80, 160, 250, 250, 250]);
});
