// The witness's half of fast failover, one rule a test: what may be acknowledged, until when a promise holds, and who may
// be deposed.
import { describe, expect, it } from 'vitest';
import { fencingToken, revision, type Ping } from '../../src/core/model.ts';
import {
  depose,
  deposeAt,
  deposeLater,
  hear,
  refused,
  type Vigil,
} from '../../src/core/witness.ts';

const rev = (value: number) => revision(BigInt(value));
const term = fencingToken(rev(10));
const ping = (sequence: number, more: Partial<Ping> = {}): Ping => ({
  term,
  witness: rev(11),
  sequence,
  forMs: 400,
  enlisted: null,
  ...more,
});
const listed = { at: rev(20), number: 1, ahead: 0 };
const enlisted = (sequence: number): Ping => ping(sequence, { enlisted: listed });
const never = Number.POSITIVE_INFINITY;

describe('a vigil', () => {
  it('promises from when the ping was heard, for the short lease and a margin', () => {
    expect(deposeAt(hear(null, enlisted(1), 30, 1000))).toBe(1430);
  });

  it('never shortens a promise, whatever a later ping asks for', () => {
    const long = hear(null, enlisted(1), 30, 1000);
    expect(hear(long, ping(2, { forMs: 100 }), 30, 1010).promisedUntil).toBe(1430);
  });

  it('acknowledges neither a second copy of a ping nor an older one', () => {
    const vigil = hear(null, ping(5), 30, 1000);
    expect(hear(vigil, ping(5), 30, 2000)).toBe(vigil);
    expect(hear(vigil, ping(4), 30, 2000)).toBe(vigil);
    expect(hear(vigil, ping(6), 30, 2000)).not.toBe(vigil);
  });

  it('begins anew with another term, without what was told of the last one', () => {
    const before = hear(null, enlisted(7), 30, 1000);
    const after = hear(before, ping(1, { term: fencingToken(rev(30)) }), 30, 2000);
    expect(after).toMatchObject({ sequence: 1, promisedUntil: 2430, enlisted: null });
  });

  it('takes the newest word of where it stands, also that it stands nowhere', () => {
    const vigil = hear(null, enlisted(1), 30, 1000);
    const newer = { at: rev(25), number: 2, ahead: 0 };
    expect(hear(vigil, ping(2, { enlisted: newer }), 30, 1010).enlisted).toEqual(newer);
    expect(hear(vigil, ping(2), 30, 1010).enlisted).toBeNull();
  });
});

describe('a deposition', () => {
  const vigil = hear(null, enlisted(1), 30, 1000);

  it('is for those only who were told that they stand in the record', () => {
    expect(deposeAt(hear(null, ping(1), 30, 1000))).toBe(never);
    expect(() => depose(hear(null, ping(1), 30, 1000))).toThrow(/witness/);
  });

  it('comes a quarter of the short lease later for each who may do it first', () => {
    const third = ping(1, { enlisted: { ...listed, ahead: 2 } });
    expect(deposeAt(hear(null, third, 30, 1000))).toBe(1430 + 200);
  });

  it('ends all acknowledging until its outcome is known', () => {
    const deposing = depose(vigil);
    expect(deposing.deposing).toEqual({ at: rev(20), failures: 0, retryAt: null });
    expect(hear(deposing, enlisted(2), 30, 1500)).toBe(deposing);
    const unknown = deposeLater(deposing, rev(20), 1550);
    expect(hear(unknown, enlisted(3), 30, 1550)).toBe(unknown);
    expect([deposeAt(deposing), deposeAt(unknown)]).toEqual([never, 1600]);
    expect(depose(unknown).deposing).toEqual({ at: rev(20), failures: 1, retryAt: null });
  });

  it('is asked for again where the record was only written since, under the same enlistment', () => {
    const again = refused(depose(vigil), rev(20), { at: rev(21), number: 1 }, 1500);
    expect(again.deposing).toEqual({ at: rev(21), failures: 0, retryAt: 1500 });
  });

  it.each([
    ['it is listed no more', null],
    ['it is listed under another enlistment', { at: rev(22), number: 3, ahead: 0 }],
  ])('is given up where %s, and whoever serves again was told nothing', (_, place) => {
    const served = refused(depose(vigil), rev(20), place, 1500);
    expect(served).toMatchObject({ enlisted: null, deposing: null });
    expect(deposeAt(served)).toBe(never);
    expect(hear(served, enlisted(1), 30, 1500)).toBe(served);
    expect(hear(served, enlisted(2), 30, 1500).promisedUntil).toBe(1930);
  });

  it('is asked for again, with longer pauses, where not the record but something else has changed', () => {
    let deposing: Vigil = depose(vigil);
    const pauses = [50, 100, 200, 400, 800, 1600, 1600].map((pauseMs) => {
      deposing = refused(depose(deposing), rev(20), listed, 1500);
      expect(deposing.deposing?.at).toBe(rev(20));
      return [deposeAt(deposing) - 1500, pauseMs];
    });
    for (const [pauseMs, wantedMs] of pauses) expect(pauseMs).toBe(wantedMs);
  });

  it('is not touched by the outcome of another', () => {
    const deposing: Vigil = depose(vigil);
    expect(refused(deposing, rev(19), null, 1500)).toBe(deposing);
    expect(deposeLater(deposing, rev(19), 1500)).toBe(deposing);
  });
});
