import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nextRoundMs, reliableUntil, retryDelayMs } from '../../src/core/timing.ts';

const ttls = fc.integer({ min: 2000, max: 600_000 });

describe('timing', () => {
  it('makes at least four rounds fit between a renewal and the end of its claim', () => {
    fc.assert(
      fc.property(ttls, (ttlMs) => {
        const marginMs = Math.max(250, ttlMs / 20);
        const claim = reliableUntil(0, ttlMs, marginMs);
        expect(4 * nextRoundMs(ttlMs, false)).toBeLessThan(claim);
      }),
    );
  });

  it('bounds every retry by a round and keeps at least half of the pause', () => {
    fc.assert(
      fc.property(
        ttls,
        fc.integer({ min: 1, max: 1000 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (ttlMs, failures, jitter) => {
          const pauseMs = retryDelayMs(failures, ttlMs, jitter);
          expect(pauseMs).toBeLessThanOrEqual(nextRoundMs(ttlMs, false));
          expect(pauseMs).toBeGreaterThanOrEqual(25);
        },
      ),
    );
  });
});
