// What etcd's answers about a lease prove when its key goes: that it ran out, or that nobody can say so.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  askAgainMs,
  learn,
  judge,
  type Evidence,
  type TimeToLive,
} from '../../src/core/evidence.ts';
import { leaseId } from '../../src/core/model.ts';

const own = 5000;
const answer = (
  askedAt: number,
  remainingMs: number,
  grantedMs = 5000,
  etcdTerm = '2',
): TimeToLive => ({
  leaseId: leaseId('abc'),
  askedAt,
  remainingMs,
  grantedMs,
  etcdTerm,
});
const learnt = (...answers: readonly TimeToLive[]): Evidence | undefined =>
  answers.reduce<Evidence | undefined>((known, one) => learn(known, one), undefined);

describe('a lease', () => {
  it('ran out where every answer allows it and the newest is fresh', () => {
    // Renewed for the last time at 0: 4 s are left at 900, 1 s at 3900, none at 4900.
    const dead = learnt(answer(900, 4000), answer(3900, 1000), answer(4900, 0));
    expect(judge(dead, own, 5100)).toBe('ran_out');
  });

  it.each<[string, Evidence | undefined, number]>([
    ['nobody has asked', undefined, 5100],
    [
      'one answer does not allow it, though newer ones do',
      learnt(answer(4000, 4000), answer(4900, 0)),
      5100,
    ],
    ['one that came late was asked early', learnt(answer(4900, 0), answer(4000, 4000)), 5100],
    ['the newest answer is old', learnt(answer(900, 4000), answer(4400, 0)), 5100],
    ['it was renewed a moment ago', learnt(answer(4900, 4000)), 5100],
  ])('was taken away, or nobody can say, where %s', (_, known, now) => {
    expect(judge(known, own, now)).not.toBe('ran_out');
  });

  it('was taken away where an answer says that it should be there', () => {
    expect(judge(learnt(answer(4900, 4000)), own, 5100)).toBe('taken_away');
    expect(judge(undefined, own, 5100)).toBe('unknown');
  });

  it('lasts no longer than it was granted for, though etcd lengthens it when its leader changes', () => {
    const known = learnt(answer(0, 9000), answer(4990, 3000));
    expect(known?.notBefore).toBe(7990);
    expect(judge(learnt(answer(0, 9000), answer(4990, 0)), own, 5000)).toBe('ran_out');
  });

  it('is judged by its own pace where it is shorter than ours', () => {
    const short = learnt(answer(0, 1000, 2000), answer(1700, 0, 2000));
    expect(judge(short, 60_000, 1900)).toBe('ran_out');
    expect(judge(short, 60_000, 2000)).not.toBe('ran_out');
  });

  it('is never said to have run out while its holder renews it every fifth of its TTL', () => {
    const moments = fc.record({
      ttlMs: fc.constantFrom(2000, 3000, 5000, 10_000, 60_000),
      ownTtlMs: fc.constantFrom(2000, 5000, 60_000),
      asked: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 30 }),
      goneAfter: fc.double({ min: 0, max: 0.1, noNaN: true }),
    });
    fc.assert(
      fc.property(moments, ({ ttlMs, ownTtlMs, asked, goneAfter }) => {
        const times = asked.map((part) => part * 3 * ttlMs).sort((a, b) => a - b);
        const known = learnt(
          ...times.map((at) => {
            const renewedAt = Math.floor(at / (ttlMs / 5)) * (ttlMs / 5);
            const rest = Math.floor((renewedAt + ttlMs - at) / 1000) * 1000;
            return answer(at, rest, ttlMs);
          }),
        );
        expect(judge(known, ownTtlMs, times.at(-1)! + goneAfter * ttlMs)).not.toBe('ran_out');
      }),
    );
  });
});

describe("the holder's last sign of life", () => {
  it('is the newest renewal that an answer shows', () => {
    expect(learnt(answer(900, 4000))?.aliveAt).toBe(-100);
    expect(learnt(answer(900, 4000), answer(1900, 4000))?.aliveAt).toBe(900);
    expect(learnt(answer(1900, 4000), answer(900, 4000))?.aliveAt).toBe(900);
    // A lease that is not renewed any more shows its end ever more closely, and no later renewal.
    expect(learnt(answer(900, 4000), answer(1950, 2000), answer(2400, 2000))?.aliveAt).toBe(-100);
  });

  it('is not that etcd lengthened the lease as its own leader changed, until a later renewal is sure', () => {
    const before = answer(900, 4000);
    const lengthened = answer(3000, 5000, 5000, '3');
    expect(learnt(before, lengthened)?.aliveAt).toBe(-100);
    const stillDead = answer(3900, 4000, 5000, '3');
    expect(learnt(before, lengthened, stillDead)?.aliveAt).toBe(-100);
    expect(learnt(before, lengthened, answer(5900, 4000, 5000, '3'))?.aliveAt).toBe(-100);
    expect(learnt(before, lengthened, answer(6200, 4000, 5000, '3'))?.aliveAt).toBe(5200);
  });
});

describe('the next question', () => {
  it('is a round away while the holder renews', () => {
    expect(askAgainMs(learnt(answer(0, 4000)), own, 10)).toBe(1000);
    expect(askAgainMs(learnt(answer(0, 1000, 2000)), 2000, 10)).toBe(400);
  });

  it.each<[string, Evidence | undefined, number]>([
    ['nothing is known yet', undefined, 10],
    ['a renewal was missed', learnt(answer(0, 1000)), 10],
    ['nothing was heard for a while', learnt(answer(0, 4000)), 1501],
  ])('comes soon where %s', (_, known, now) => {
    expect(askAgainMs(known, own, now)).toBe(250);
  });

  it('keeps the pace of the shorter lease', () => {
    expect(askAgainMs(learnt(answer(0, 1000, 2000)), 60_000, 10)).toBe(400);
  });
});
