import { describe, expect, it } from 'vitest';
import { AssertionFailure } from '../../src/core/assert.ts';
import { leaseId } from '../../src/core/model.ts';
import {
  heldLease,
  liveLease,
  newSession,
  stepSession,
  wakeSessionAt,
  type Session,
  type SessionEffect,
  type SessionEvent,
} from '../../src/core/session.ts';
import { validateSession } from '../../src/core/validate.ts';
import { timing } from './given.ts';

const mine = leaseId('abc');

/** Runs events given as [time, event] and collects the effects. */
function run(events: readonly (readonly [number, SessionEvent])[]): {
  session: Session;
  effects: readonly SessionEffect[];
} {
  let session = newSession(0);
  const effects: SessionEffect[] = [];
  for (const [now, event] of events) {
    const step = stepSession(session, event, now, timing);
    validateSession(step.session, now, timing);
    session = step.session;
    effects.push(...step.effects);
  }
  return { session, effects };
}

const tick: SessionEvent = { kind: 'tick' };
const answer = (
  kind: 'granted' | 'renewed',
  sentAt: number,
  more: { generation?: number; ttlMs?: number } = {},
): SessionEvent => ({ kind, generation: 1, leaseId: mine, ttlMs: 5000, ...more, sentAt });
const granted = [
  [0, tick],
  [40, answer('granted', 10)],
] as const;

describe('a session', () => {
  it('asks for a lease at once', () => {
    expect(run([[0, tick]]).effects).toEqual([{ kind: 'grant', generation: 1, ttlMs: 5000 }]);
  });

  it('counts the lease from the send, not from the answer, and cuts off the margin', () => {
    const { session } = run(granted);
    expect(heldLease(session)?.leadUntil).toBe(10 + 5000 - 250);
    expect(liveLease(session, 4759)).not.toBeNull();
    expect(liveLease(session, 4760)).toBeNull();
  });

  it('relies on what was granted, not on what was asked', () => {
    const { session } = run([
      [0, tick],
      [40, answer('granted', 10, { ttlMs: 2000 })],
    ]);
    expect(heldLease(session)?.leadUntil).toBe(10 + 2000 - 250);
    expect(wakeSessionAt(session)).toBe(10 + 400);
  });

  it('renews in rounds, and one that hangs does not hold up the next', () => {
    const { effects } = run([...granted, [1010, tick], [2010, tick], [3010, tick]]);
    const renewal = { kind: 'renew', generation: 1, leaseId: mine };
    expect(effects.slice(1)).toEqual([renewal, renewal, renewal]);
  });

  it.each([
    ['a prompt answer', 2000, 1010, 1010 + 4750],
    ['a late answer counts from its own send', 4700, 1010, 1010 + 4750],
    ['an answer overtaken by a later one takes nothing back', 4700, 5, 10 + 4750],
  ])('%s', (_what, at, sentAt, leadUntil) => {
    const { session } = run([...granted, [1010, tick], [at, answer('renewed', sentAt)]]);
    expect(heldLease(session)?.leadUntil).toBe(leadUntil);
  });

  it('lapses by its own clock, goes on renewing more often, and recovers only ahead of now', () => {
    const lapsed = run([...granted, [4760, tick]]);
    expect(lapsed.session.kind).toBe('lapsed');
    expect(lapsed.effects.at(-1)).toMatchObject({ kind: 'renew' });
    expect(wakeSessionAt(lapsed.session)).toBe(4760 + 250);
    const tooLate = run([...granted, [4760, tick], [9000, answer('renewed', 4200)]]);
    expect(tooLate.session.kind).toBe('lapsed');
    const back = run([...granted, [4760, tick], [9000, answer('renewed', 4761)]]);
    expect(back.session.kind).toBe('live');
  });

  it('notices on any event that the lease has lapsed meanwhile', () => {
    const { session } = run([...granted, [60_000, answer('renewed', 1010)]]);
    expect(session.kind).toBe('lapsed');
    expect(liveLease(session, 60_000)).toBeNull();
  });

  it('drops a lease that etcd denies, revokes what may be left of it, and asks for another at once', () => {
    const { session, effects } = run([
      ...granted,
      [2000, { kind: 'leaseLost', generation: 1 }],
      [2000, tick],
    ]);
    expect(session).toMatchObject({ kind: 'granting', generation: 2 });
    expect(effects.slice(1)).toEqual([
      { kind: 'revoke', generation: 1, leaseId: mine },
      { kind: 'grant', generation: 2, ttlMs: 5000 },
    ]);
  });

  it('pauses where etcd grants leases and then does not know them, until one is renewed', () => {
    let session = newSession(0);
    let now = 0;
    const lose = (renewedFirst: boolean): number => {
      session = stepSession(session, tick, now, timing).session;
      const generation = session.kind === 'granting' ? session.generation : -1;
      const about = { generation, leaseId: mine, ttlMs: 5000, sentAt: now };
      session = stepSession(session, { kind: 'granted', ...about }, now, timing).session;
      if (renewedFirst) {
        now += 1;
        const renewed = { kind: 'renewed', ...about, sentAt: now } as const;
        session = stepSession(session, renewed, now, timing).session;
      }
      session = stepSession(session, { kind: 'leaseLost', generation }, now, timing).session;
      const pauseMs = (wakeSessionAt(session) ?? Number.NaN) - now;
      now += pauseMs;
      return pauseMs;
    };
    expect([1, 2, 3, 4].map(() => lose(false))).toEqual([0, 50, 100, 200]);
    expect(lose(true)).toBe(0);
  });

  it('ignores every answer about an earlier lease', () => {
    const again = [
      ...granted,
      [2000, { kind: 'leaseLost', generation: 1 }],
      [2000, tick],
      [2050, { ...answer('granted', 2010, { generation: 2 }), leaseId: leaseId('def') }],
    ] as const;
    const { session } = run(again);
    const after = run([
      ...again,
      [2100, answer('renewed', 2099)],
      [2100, { kind: 'leaseLost', generation: 1 }],
      [2100, { kind: 'grantFailed', generation: 1, jitter: 0 }],
    ]);
    expect(after.session).toEqual(session);
    expect(heldLease(session)?.leaseId).toBe('def');
  });

  it('retries a grant after a growing, jittered and bounded pause', () => {
    const pauses: number[] = [];
    let session = newSession(0);
    let now = 0;
    for (let failure = 1; failure <= 8; failure += 1) {
      session = stepSession(session, tick, now, timing).session;
      const generation = session.kind === 'granting' ? session.generation : -1;
      const jitter = failure === 2 ? 0.5 : 0;
      session = stepSession(
        session,
        { kind: 'grantFailed', generation, jitter },
        now,
        timing,
      ).session;
      const wakeAt = wakeSessionAt(session) ?? Number.NaN;
      pauses.push(wakeAt - now);
      now = wakeAt;
    }
    expect(pauses).toEqual([50, 75, 200, 400, 800, 1000, 1000, 1000]);
  });

  it('revokes on close, also a lease whose grant arrives afterwards', () => {
    const closed = run([
      ...granted,
      [100, { kind: 'close' }],
      [120, { kind: 'revoked', generation: 1 }],
    ]);
    expect(closed.session.kind).toBe('closed');
    expect(closed.effects.at(-1)).toEqual({ kind: 'revoke', generation: 1, leaseId: mine });
    const early = run([
      [0, tick],
      [5, { kind: 'close' }],
      [40, answer('granted', 10)],
    ]);
    expect(early.session.kind).toBe('closed');
    expect(early.effects.at(-1)).toEqual({ kind: 'revoke', generation: 1, leaseId: mine });
  });

  it('asserts that one generation has one lease', () => {
    const other = { ...answer('renewed', 50), leaseId: leaseId('other') };
    expect(() => run([...granted, [100, other]])).toThrow(AssertionFailure);
  });
});
