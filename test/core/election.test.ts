import { describe, expect, it } from 'vitest';
import { AssertionFailure } from '../../src/core/assert.ts';
import { obstacleOf } from '../../src/core/candidacy.ts';
import { claimOf, heldForMs, wakeCandidacyAt } from '../../src/core/election.ts';
import {
  fencingToken,
  leaseId,
  memberId,
  revision,
  type Candidate,
  type Snapshot,
  type TermRecord,
} from '../../src/core/model.ts';
import { reportOf } from '../../src/core/report.ts';
import { mostReleaseFailures } from '../../src/core/timing.ts';
import { candidate, change, handover, lease, me, mine, ours, snapshot } from './given.ts';
import { Story } from './story.ts';

/** `me` leads the term 5, elected at 20 on a lease good until 4750, confirmed as of 15. */
const leading = (options: ConstructorParameters<typeof Story>[0] = {}): Story =>
  new Story(options)
    .tick(0)
    .lease(10, lease(4750))
    .joined(20, 5, snapshot(5, mine(5)), 15);

/** `a` leads with 3, `me` waits with 5. */
const waiting = (options: ConstructorParameters<typeof Story>[0] = {}): Story =>
  new Story(options)
    .tick(0)
    .lease(10, lease(4750))
    .joined(20, 5, snapshot(5, candidate('a', 3), mine(5)), 15);

const stepDown = (more: object = {}) =>
  ({
    kind: 'stepDown',
    cause: 'resigned',
    reason: null,
    actor: null,
    standBackUntil: 0,
    ...more,
  }) as const;

/** The record with which an operator asks the leader of a term to hand over to somebody. */
const named = (to: string, token = 5) => ({
  token: fencingToken(revision(BigInt(token))),
  to: memberId(to),
  reason: 'maintenance',
  actor: 'ops',
});

describe('being elected', () => {
  it('alone: by the very transaction that joins', () => {
    expect(leading().transcript()).toMatchInlineSnapshot(`
      "0 tick -> idle
      10 tick -> joining | join
      20 joined [me] sent 15 -> leading, claims 5 | elected 5"
    `);
  });

  it('as the next: in the revision that removes the last one ahead, without a round trip', () => {
    const story = waiting().changed(
      900,
      change(9, { removedCandidates: ['a'], handover: handover('a', 3) }),
    );
    expect(story.transcript()).toMatchInlineSnapshot(`
      "0 tick -> idle
      10 tick -> joining | join
      20 joined [a me] sent 15 -> waiting
      900 changed -a handover 3 -> leading, claims 5 | elected 5"
    `);
  });

  it('not before the last one ahead is gone', () => {
    const story = new Story()
      .lease(10, lease(4750))
      .joined(20, 5, snapshot(5, candidate('a', 3), candidate('b', 4), mine(5)))
      .changed(30, change(6, { removedCandidates: ['a'] }));
    expect(story.claim).toBeNull();
    expect(story.changed(40, change(7, { removedCandidates: ['b'] })).claim).toBe(5);
  });

  it('never on a lease that has lapsed, whatever the watch says', () => {
    const story = waiting().changed(4800, change(9, { removedCandidates: ['a'] }));
    expect(story.election.phase.kind).toBe('waiting');
    expect(story.claim).toBeNull();
  });

  it('never on a view that was not confirmed within a TTL, though the lease is renewed', () => {
    const story = waiting().lease(4000, lease(8500));
    story.changed(4900, change(9, { removedCandidates: ['a'] }));
    expect(story.claim).toBeNull();
    expect(story.observed(4950, snapshot(9, mine(5)), 4940).claim).toBe(5);
  });

  it('again only with a greater token', () => {
    const story = leading();
    story.at(100, stepDown()).released(110, 5);
    expect(() => story.joined(120, 5, snapshot(6, mine(5)))).not.toThrow();
    expect(story.claim).toBeNull();
    expect(story.acts.at(-1)).toMatchObject({ kind: 'release', handover: null });
  });
});

describe('a predecessor that vanished without resigning', () => {
  const delay = { timing: { takeoverDelayMs: 2000 } };

  it('is waited out', () => {
    const story = waiting(delay).changed(900, change(9, { removedCandidates: ['a'] }));
    expect(story.claim).toBeNull();
    expect(wakeCandidacyAt(story.election, story.ground, 900)).toBeLessThanOrEqual(2900);
    story.lease(1000, lease(5750)).observed(1100, snapshot(9, mine(5)));
    expect(story.tick(2899).claim).toBeNull();
    expect(story.tick(2900).claim).toBe(5);
  });

  it('is not waited out where it resigned', () => {
    const left = change(9, { removedCandidates: ['a'], handover: handover('a', 3) });
    expect(waiting(delay).changed(900, left).claim).toBe(5);
  });

  const auto = { timing: { takeoverDelayMs: 'auto' } } as const;
  /** `me` waits behind a candidate whose lease was granted for `ttlMs`, on a lease of its own that lasts for long. */
  const behind = (ttlMs: number | null, own: number): Story =>
    new Story(auto)
      .lease(10, { ...lease(60_000), ttlMs: own })
      .joined(20, 5, snapshot(5, { ...candidate('a', 3), ttlMs }, mine(5)), 15)
      .changed(900, change(9, { removedCandidates: ['a'] }));

  it.each([
    ['as ours was granted, not as it was asked for', 8000, 8000],
    ['longer than ours', 12_000, 8000],
    ['not known, and then taken to be as ours', null, 8000],
  ] as const)('is waited out for its own TTL: %s', (_, theirs, ours) => {
    const story = behind(theirs, ours);
    const at = 900 + Math.max(theirs ?? 0, ours);
    story.observed(at - 2, snapshot(9, mine(5)));
    expect(story.tick(at - 1).claim).toBeNull();
    expect(story.tick(at).claim).toBe(5);
  });

  it('is waited out by a newcomer too', () => {
    const story = new Story(delay).lease(10, lease(4750));
    expect(story.joined(20, 5, snapshot(5, mine(5))).claim).toBeNull();
    expect(story.tick(2020).claim).toBe(5);
  });
});

describe('a predecessor whose key went before its time', () => {
  const evidence = { timing: { takeoverDelayMs: 'evidence' } } as const;
  const answered = (story: Story, askedAt: number, remainingMs: number): Story =>
    story.at(askedAt + 2, {
      ...{
        kind: 'timeToLive',
        leaseId: leaseId('a'),
        askedAt,
        remainingMs,
        grantedMs: 5000,
        etcdTerm: '2',
      },
    });
  const gone = change(9, { removedCandidates: ['a'] });
  /** `me` on a lease of its own that lasts, behind `a`, which was seen to be there. */
  const behind = (): Story =>
    new Story(evidence)
      .lease(10, lease(60_000))
      .joined(20, 5, snapshot(5, candidate('a', 3), mine(5)), 15)
      .observed(3000, snapshot(5, candidate('a', 3), mine(5)));

  it('is asked about: by the second the first, by the third the first two, by nobody else anybody', () => {
    const asks = (story: Story) => story.acts.filter(({ kind }) => kind === 'askTimeToLive');
    expect(asks(behind())[0]).toEqual({ kind: 'askTimeToLive', leases: ['a'] });
    const at = (place: number): Story => {
      const ahead = Array.from({ length: place }, (_, index) => candidate(`c${index}`, index + 1));
      return new Story(evidence)
        .lease(10, lease(60_000))
        .joined(20, 9, snapshot(9, ...ahead, mine(9)));
    };
    // At once.
    expect(asks(at(2))).toMatchObject([{ leases: ['c0', 'c1'] }]);
    expect(asks(at(3).tick(2000))).toEqual([]);
    expect(asks(at(0).tick(2000))).toEqual([]);
  });

  it('is not waited for where its lease ran out', () => {
    const story = answered(answered(behind(), 4000, 0), 4900, 0).changed(5000, gone);
    expect(story.claim).toBe(5);
    const elected = story.effects.findLast((effect) => effect.kind === 'elected');
    expect(elected?.term).toMatchObject({
      ...{ endBefore: 'lease_expired', leaderlessMs: 0, leaderlessAtMostMs: 5100 + 1250 },
    });
  });

  it('is waited for as long as its lease may have lasted where it was taken away', () => {
    const story = answered(behind(), 4900, 4000).changed(5000, gone);
    expect(story.claim).toBeNull();
    const { waiting } = reportOf(story.election, story.ground, 5000);
    expect(waiting).toEqual({ until: 10_000, id: 'a', takenAway: true });
    story.observed(9000, snapshot(9, mine(5)));
    expect(story.tick(9999).claim).toBeNull();
    expect(story.tick(10_000).claim).toBe(5);
    const elected = story.effects.findLast((effect) => effect.kind === 'elected');
    expect(elected?.term).toMatchObject({
      ...{ endBefore: 'taken_away', leaderlessMs: 5000, leaderlessAtMostMs: 6100 + 1250 },
    });
  });

  it('costs a wait for each lost term, of which the last counts, and none replaces another', () => {
    const story = new Story(evidence)
      .lease(10, lease(60_000))
      .joined(20, 5, snapshot(5, { ...candidate('a', 3), ttlMs: 9000 }, candidate('b', 4), mine(5)))
      .changed(1000, gone)
      .changed(2000, change(10, { removedCandidates: ['b'] }));
    story.observed(8000, snapshot(10, mine(5)));
    expect(story.tick(9999).claim).toBeNull();
    expect(story.tick(10_000).claim).toBe(5);
  });

  it('costs a newcomer its TTL where its record has no end, and nothing where there is none', () => {
    const record = {
      ...{ token: fencingToken(revision(3n)), leader: memberId('a'), address: null, from: null },
      ...{
        to: null,
        cause: null,
        reason: null,
        actor: null,
        leaderlessMs: null,
        leaderlessAtMostMs: null,
        endBefore: null,
      },
    };
    const joining = (newest: TermRecord | null): Story =>
      new Story(evidence)
        .lease(10, lease(60_000))
        .observed(15, snapshot(4))
        .joined(20, 5, snapshot(5, mine(5)), 18, newest);
    expect(joining(null).claim).toBe(5);
    expect(joining({ ...record, ttlMs: 8000, to: '2026-11-20T21:00:00.000Z' }).claim).toBe(5);
    const story = joining({ ...record, ttlMs: 8000 });
    expect(story.claim).toBeNull();
    story.observed(8000, snapshot(5, mine(5)));
    expect(story.tick(8019).claim).toBeNull();
    expect(story.tick(8020).claim).toBe(5);
  });

  it('is still waited for by whoever withdraws and joins again', () => {
    const story = answered(behind(), 4900, 4000).changed(5000, gone);
    story.at(5100, { kind: 'appHealth', healthy: false }).released(5110, 5);
    story.at(5200, { kind: 'appHealth', healthy: true });
    story.joined(5300, 12, snapshot(12, mine(12)));
    story.observed(9000, snapshot(12, mine(12)));
    expect(story.tick(9999).claim).toBeNull();
    expect(story.tick(10_000).claim).toBe(12);
  });
});

describe('losing a term', () => {
  it('by the clock, at the very millisecond, before any late answer is looked at', () => {
    const story = leading();
    story.now = 4749;
    expect(story.claim).toBe(5);
    story.now = 4750;
    expect(story.claim).toBeNull();
    story.lease(60_000, lease(59_000)).observed(60_001, snapshot(9, mine(5)), 100);
    expect(story.transcript()).toMatchInlineSnapshot(`
      "0 tick -> idle
      10 tick -> joining | join
      20 joined [me] sent 15 -> leading, claims 5 | elected 5
      60000 tick -> releasing | ended 5 (etcd_unreachable), stop by 4765, release 5 (etcd_unreachable to next)
      60001 observed [me] sent 100 -> releasing"
    `);
  });

  it('by a confirmation that does not come, while renewals succeed', () => {
    const story = leading().lease(4000, lease(8500));
    story.now = 4764;
    expect(story.claim).toBe(5);
    story.tick(4765);
    expect(story.transcript()).toMatchInlineSnapshot(`
      "0 tick -> idle
      10 tick -> joining | join
      20 joined [me] sent 15 -> leading, claims 5 | elected 5
      4000 tick -> leading, claims 5
      4765 tick -> releasing | ended 5 (etcd_unreachable), stop by 4765, release 5 (etcd_unreachable to next)"
    `);
  });

  it('by a lease that etcd denies', () => {
    const story = leading().lease(700, null);
    expect(story.transcript()).toMatchInlineSnapshot(`
      "0 tick -> idle
      10 tick -> joining | join
      20 joined [me] sent 15 -> leading, claims 5 | elected 5
      700 tick -> idle | ended 5 (lease_expired), stop by 700, cut off"
    `);
  });

  it('by a key that was deleted, and stands again at once', () => {
    const story = leading().changed(700, change(9, { removedCandidates: [ours] }));
    expect(story.transcript()).toMatchInlineSnapshot(`
      "0 tick -> idle
      10 tick -> joining | join
      20 joined [me] sent 15 -> leading, claims 5 | elected 5
      700 changed -aaa -> joining | ended 5 (key_deleted), stop by 700, cut off, join"
    `);
  });

  it('and comes back behind those who waited, never with the old token', () => {
    const story = leading();
    story.tick(5000).lease(9000, lease(13_700)).released(9010, 5);
    story.joined(9020, 12, snapshot(12, candidate('b', 8), mine(12)));
    expect(story.claim).toBeNull();
    story.changed(9500, change(14, { removedCandidates: ['b'] }));
    expect(story.claim).toBe(12);
  });
});

describe('stepping down', () => {
  it('ends the claim in the same step that releases the key', () => {
    const story = leading().at(100, { kind: 'stop' }).released(110, 5);
    expect(story.transcript()).toMatchInlineSnapshot(`
      "0 tick -> idle
      10 tick -> joining | join
      20 joined [me] sent 15 -> leading, claims 5 | elected 5
      100 stop -> releasing | ended 5 (stopping), stop by 10100, release 5 (stopping to next)
      110 released -> stopped"
    `);
  });

  it('waits for what acts for the term, while the lease is kept', () => {
    const story = leading({ quiesces: true }).at(100, stepDown());
    expect(story.claim).toBeNull();
    story
      .lease(1500, lease(6250))
      .observed(1500, snapshot(6, mine(5)))
      .tick(2000);
    expect(story.effects.some(({ kind }) => kind === 'release')).toBe(false);
    story.at(2100, { kind: 'quiesced', token: fencingToken(revision(5n)) });
    expect(story.transcript()).toMatchInlineSnapshot(`
      "0 tick -> idle
      10 tick -> joining | join
      20 joined [me] sent 15 -> leading, claims 5 | elected 5
      100 step down (resigned) -> steppingDown | ended 5 (resigned), stop by 10100
      1500 tick -> steppingDown | concede 5 (resigned)
      1500 observed [me] sent 1500 -> steppingDown
      2000 tick -> steppingDown
      2100 quiesced -> releasing | release 5 (resigned to next)"
    `);
  });

  it('ignores that something of another term has stopped', () => {
    const story = leading({ quiesces: true }).at(100, stepDown());
    story.at(200, { kind: 'quiesced', token: fencingToken(revision(4n)) });
    expect(story.election.phase.kind).toBe('steppingDown');
  });

  it('cuts off what has not stopped by the end of the grace', () => {
    const story = leading({ quiesces: true, timing: { graceMs: 1000 } }).at(100, stepDown());
    story.tick(1100);
    expect(story.acts.slice(-2).map(({ kind }) => kind)).toEqual(['cutOff', 'release']);
  });

  it('cuts it off earlier where the lease does not last', () => {
    const story = leading({ quiesces: true }).at(100, stepDown()).tick(4750);
    expect(story.acts.slice(-2).map(({ kind }) => kind)).toEqual(['cutOff', 'release']);
  });

  it('begins early enough for a child to be asked before it is killed', () => {
    const story = leading({ quiesces: true, timing: { stopLeadMs: 1000 } });
    story.now = 3749;
    expect(story.claim).toBe(5);
    story.tick(3750);
    expect(story.acts.at(-1)).toMatchObject({ kind: 'ended', mustStopBy: 4750 });
    story.tick(4750);
    expect(story.acts.slice(-2).map(({ kind }) => kind)).toEqual(['cutOff', 'release']);
  });

  it('keeps a hold: it leads on until that is over, and then steps down', () => {
    const story = leading().at(50, { kind: 'hold', until: 550 }).at(100, stepDown());
    expect(story.tick(549).claim).toBe(5);
    expect(wakeCandidacyAt(story.election, story.ground, 549)).toBe(550);
    expect(story.tick(550).claim).toBeNull();
    expect(story.election.phase.kind).toBe('releasing');
  });

  it('does not hold for an app that is gone', () => {
    const story = leading().at(50, { kind: 'hold', until: 550 });
    expect(story.at(100, stepDown({ cause: 'app_exited' })).claim).toBeNull();
  });

  it('grants no further hold once it was asked to leave', () => {
    const story = leading().at(50, { kind: 'hold', until: 550 }).at(100, stepDown());
    expect(heldForMs(story.election, story.ground, 100)).toBe(450);
    story.at(200, { kind: 'hold', until: 5000 });
    expect(heldForMs(story.election, story.ground, 200)).toBe(350);
  });

  it('asked to stop, it ends the claim at once and keeps the key for as long as was promised', () => {
    const story = leading().at(50, { kind: 'hold', until: 550 }).at(100, { kind: 'stop' });
    expect(story.claim).toBeNull();
    expect(story.acts.at(-1)).toMatchObject({ kind: 'ended', cause: 'stopping' });
    expect(wakeCandidacyAt(story.election, story.ground, 549)).toBe(550);
    expect(story.tick(549).election.phase.kind).toBe('steppingDown');
    expect(story.tick(550).acts.at(-1)).toMatchObject({
      kind: 'release',
      own: { createRevision: 5n },
    });
  });

  it.each([
    ['a switchover', (story: Story) => story.changed(100, change(8, { switchover: named('c') }))],
    ['a step-down', (story: Story) => story.at(100, stepDown())],
    ['an app that fails', (story: Story) => story.at(100, { kind: 'appHealth', healthy: false })],
  ])('%s ends all holds: none is extended once something is to end the term', (_, end) => {
    const story = leading().changed(40, change(7, { candidates: [candidate('c', 7)] }));
    end(story.at(50, { kind: 'hold', until: 550 }));
    story.at(200, { kind: 'hold', until: 1200 });
    expect(heldForMs(story.election, story.ground, 200)).toBe(350);
    expect(story.tick(549).claim).toBe(5);
    expect(story.tick(550).claim).toBeNull();
  });

  it('a switchover whose successor is gone when the hold is over ends no term', () => {
    const story = leading()
      .changed(40, change(7, { candidates: [candidate('c', 7)] }))
      .at(50, { kind: 'hold', until: 550 })
      .changed(100, change(8, { switchover: named('c') }))
      .changed(200, change(9, { removedCandidates: ['c'] }));
    expect(story.tick(550).claim).toBe(5);
    story.at(600, { kind: 'hold', until: 900 });
    expect(heldForMs(story.election, story.ground, 600)).toBe(300);
  });

  it('names a successor only as the queue stands when the key is released', () => {
    const story = leading({ quiesces: true })
      .changed(50, change(6, { candidates: [candidate('c', 6)] }))
      .changed(100, change(8, { switchover: named('c') }));
    // While the app stops, a stranger comes and the named member comes back behind it.
    story.changed(200, change(9, { candidates: [{ ...candidate('go', 9), native: false }] }));
    story.changed(210, change(10, { removedCandidates: ['c'] }));
    story.changed(220, change(11, { candidates: [candidate('c', 11, 'c2')] }));
    story.at(300, { kind: 'quiesced', token: fencingToken(revision(5n)) });
    expect(story.acts.at(-1)).toMatchObject({
      kind: 'release',
      handover: { cause: 'switchover', to: null },
      succession: null,
    });
  });

  it('does not insist on a successor where the queue changes whenever one is named', () => {
    const story = leading()
      .changed(50, change(6, { candidates: [candidate('b', 6)] }))
      .changed(60, change(7, { candidates: [candidate('c', 7)] }))
      .changed(100, change(8, { switchover: named('c') }));
    const there = snapshot(9, mine(5), candidate('c', 7));
    story.released(110, 5, { deleted: false, snapshot: there }).tick(160);
    expect(story.acts.at(-1)).toMatchObject({
      succession: { successor: { id: 'c' }, bypassed: [] },
    });
    story.released(170, 5, { deleted: false, snapshot: there }).tick(270);
    expect(story.acts.at(-1)).toMatchObject({ kind: 'release', succession: null });
  });

  it('gives up the lease where etcd answers everything but does not let the key go', () => {
    const story = leading().at(100, stepDown());
    const refused = { kind: 'releaseFailed', createRevision: revision(5n), jitter: 0 } as const;
    const attempts = (): number => story.effects.filter(({ kind }) => kind === 'release').length;
    for (let failures = 1; failures <= mostReleaseFailures; failures += 1) {
      expect(attempts()).toBe(failures);
      story.at(story.now + 1, refused).tick(story.now + 1000);
      story.lease(story.now, lease(story.now + 4750)).observed(story.now, snapshot(6, mine(5)));
    }
    expect(story.acts.at(-1)).toEqual({ kind: 'giveUpLease', generation: 1 });
    expect(attempts()).toBe(mostReleaseFailures);
  });

  it('keeps the lease while nothing is answered at all: the key goes when etcd is back', () => {
    const story = leading().at(100, stepDown()).tick(4750);
    const silent = { kind: 'releaseFailed', createRevision: revision(5n), jitter: 0 } as const;
    for (let failures = 0; failures < 2 * mostReleaseFailures; failures += 1) {
      story.at(story.now + 1250, silent).tick(story.now + 2500);
    }
    expect(story.acts.filter(({ kind }) => kind === 'giveUpLease')).toEqual([]);
    expect(story.election.phase.kind).toBe('releasing');
  });

  it('never holds beyond the lease', () => {
    const story = leading().at(50, { kind: 'hold', until: 99_000 });
    expect(heldForMs(story.election, story.ground, 50)).toBe(4700);
    expect(story.tick(4750).claim).toBeNull();
  });

  it('tries again until the key is certainly gone, and only then stands again', () => {
    const story = leading().at(100, stepDown());
    const failed = { kind: 'releaseFailed', createRevision: revision(5n), jitter: 0 } as const;
    story.at(600, failed).tick(649);
    expect(story.effects.filter(({ kind }) => kind === 'release')).toHaveLength(1);
    story.tick(650);
    expect(story.effects.filter(({ kind }) => kind === 'release')).toHaveLength(2);
    expect(story.effects.filter(({ kind }) => kind === 'join')).toHaveLength(1);
    story.changed(700, change(9, { removedCandidates: [ours] }));
    expect(story.effects.filter(({ kind }) => kind === 'join')).toHaveLength(2);
  });

  it('hands over to a named successor past those between', () => {
    const story = leading();
    story.changed(50, change(6, { candidates: [candidate('b', 6)] }));
    story.changed(60, change(7, { candidates: [candidate('c', 7)] }));
    story.changed(100, change(8, { switchover: named('c') }));
    expect(story.transcript().split('\n').at(-1)).toMatchInlineSnapshot(
      `"100 changed -> releasing | ended 5 (switchover), stop by 10100, release 5 (switchover to c, past b)"`,
    );
  });

  it('stands back for as long as was asked', () => {
    const story = leading()
      .at(100, stepDown({ standBackUntil: 2000 }))
      .released(110, 5);
    expect(obstacleOf(story.election, 1999)).toBe('standing_back');
    expect(wakeCandidacyAt(story.election, story.ground, 110)).toBeLessThanOrEqual(2000);
    story.tick(1999);
    expect(story.effects.filter(({ kind }) => kind === 'join')).toHaveLength(1);
    story.tick(2000);
    expect(story.effects.filter(({ kind }) => kind === 'join')).toHaveLength(2);
  });
});

it('stands again before that where it is told to', () => {
  const story = leading()
    .at(100, stepDown({ standBackUntil: 2000 }))
    .released(110, 5);
  expect(reportOf(story.election, story.ground, 120).standsBackUntil).toBe(2000);
  story.at(130, { kind: 'standAgain' });
  expect(reportOf(story.election, story.ground, 130).standsBackUntil).toBeNull();
  expect(story.effects.filter(({ kind }) => kind === 'join')).toHaveLength(2);
});

describe('after a term of our own', () => {
  it('the gap before our next one counts from there, not from who led before', () => {
    const story = leading()
      .at(100, stepDown({ standBackUntil: 2000 }))
      .released(110, 5)
      .tick(2000)
      .changed(2005, change(9, { candidates: [mine(9)] }))
      .joined(2010, 9, snapshot(9, mine(9)));
    expect(story.claim).toBe(9);
    const elected = story.effects.filter((effect) => effect.kind === 'elected').at(-1);
    expect(elected?.term.leaderlessMs).toBe(1900);
  });

  it('our successor leads since then, until it says so itself', () => {
    const story = leading();
    story.changed(50, change(6, { candidates: [candidate('b', 6)] }));
    story.at(100, stepDown({ standBackUntil: 5000 })).released(110, 5);
    const { leader } = reportOf(story.election, story.ground, 120);
    expect(leader).toMatchObject({ id: 'b', since: null, seenAt: 110 });
  });
});

describe('not campaigning', () => {
  it('with a negative priority', () => {
    const story = new Story({ priority: -1 }).lease(10, lease(4750)).observed(20, snapshot(5));
    expect(story.effects.some(({ kind }) => kind === 'join')).toBe(false);
    expect(reportOf(story.election, story.ground, 20).role).toBe('observer');
  });

  it('while paused: who waits withdraws, who leads stays', () => {
    const paused = { paused: true, reason: null, by: null, until: null } as const;
    expect(waiting().changed(100, change(6, { control: paused })).election.phase.kind).toBe(
      'releasing',
    );
    expect(leading().changed(100, change(6, { control: paused })).claim).toBe(5);
  });

  it('while the app is unhealthy', () => {
    const story = leading().at(100, { kind: 'appHealth', healthy: false }).released(110, 5);
    expect(story.transcript()).toMatchInlineSnapshot(`
      "0 tick -> idle
      10 tick -> joining | join
      20 joined [me] sent 15 -> leading, claims 5 | elected 5
      100 app unhealthy -> releasing | ended 5 (app_unhealthy), stop by 10100, release 5 (app_unhealthy to next)
      110 released -> idle"
    `);
    expect(story.at(200, { kind: 'appHealth', healthy: true }).election.phase.kind).toBe('idle');
    expect(story.lease(5100, lease(9800)).election.phase.kind).toBe('joining');
  });

  it('takes back a key that a lost request to join has left', () => {
    const story = new Story({ priority: -1 })
      .lease(10, lease(4750))
      .observed(20, snapshot(5, mine(5)));
    expect(story.acts.at(-1)).toMatchObject({ kind: 'release', handover: null });
  });
});

describe('a switchover that somebody asks for', () => {
  const request = named;
  const three = (): Story =>
    leading()
      .changed(50, change(6, { candidates: [candidate('b', 6)] }))
      .changed(60, change(7, { candidates: [candidate('c', 7)] }));

  it('is carried out past those between, with who asked and why', () => {
    const story = three().changed(100, change(8, { switchover: request('c') }));
    expect(story.acts.at(-1)).toMatchObject({
      kind: 'release',
      handover: { cause: 'switchover', to: 'c', reason: 'maintenance', actor: 'ops' },
      succession: { successor: { id: 'c' }, bypassed: [{ id: 'b' }] },
    });
  });

  it.each([
    ['a term that is not ours', request('c', 4)],
    ['somebody who does not stand', request('z')],
    ['ourselves', request('me')],
  ])('is ignored for %s', (_what, switchover) => {
    expect(three().changed(100, change(8, { switchover })).claim).toBe(5);
  });

  it('goes to the newest key of a member that was restarted, not to the one that it left behind', () => {
    const story = three().changed(70, change(8, { candidates: [candidate('b', 8, 'b2')] }));
    story.changed(100, change(9, { switchover: request('b') }));
    expect(story.acts.at(-1)).toMatchObject({
      succession: { successor: { key: 'b2' }, bypassed: [{ key: 'b' }, { key: 'c' }] },
    });
  });

  it('is ignored where a foreign candidate, who would not understand, stands between', () => {
    const story = leading()
      .changed(50, change(6, { candidates: [{ ...candidate('b', 6), native: false }] }))
      .changed(60, change(7, { candidates: [candidate('c', 7)] }));
    expect(story.changed(100, change(8, { switchover: request('c') })).claim).toBe(5);
  });
});

describe('a candidate of higher priority', () => {
  const preferred = { ...candidate('p', 8), priority: 10 };
  const member = (healthy: boolean) => ({
    ...me,
    id: memberId('p'),
    leaseId: leaseId('p'),
    healthy,
  });
  /** Renews and confirms once a second, with `p` in the queue and its member record. */
  const rounds = (story: Story, from: number, to: number, healthy = true): Story => {
    for (let now = from; now <= to; now += 1000) {
      const read = { ...snapshot(now, mine(5), preferred), members: [member(healthy)] };
      story.lease(now, lease(now + 4750)).observed(now, read);
    }
    return story;
  };

  it('is made way for once it has been ready for the settling time', () => {
    const story = rounds(leading(), 1000, 10_000);
    expect(story.claim).toBe(5);
    rounds(story, 11_000, 11_000);
    expect(story.acts.at(-1)).toMatchObject({
      kind: 'release',
      handover: { cause: 'failback', to: 'p' },
    });
  });

  it('is not while its app is unhealthy, and the time begins anew', () => {
    const story = rounds(rounds(rounds(leading(), 1000, 8000), 9000, 9000, false), 10_000, 19_000);
    expect(story.claim).toBe(5);
    expect(rounds(story, 20_000, 20_000).claim).toBeNull();
  });

  it('is made way for at most once in a window', () => {
    const story = new Story().lease(10, lease(4750));
    story.joined(
      20,
      5,
      snapshot(5, { ...candidate('low', 3) }, { ...candidate('p', 4), priority: 10 }, mine(5)),
    );
    const back = { ...handover('low', 3), cause: 'failback' } as const;
    story.changed(30, change(6, { removedCandidates: ['low'], handover: back }));
    story.changed(40, change(7, { removedCandidates: ['p'] }));
    expect(rounds(story, 1000, 59_000).claim).toBe(5);
    expect(rounds(story, 60_000, 61_000).claim).toBeNull();
  });
});

describe('an app that fails', () => {
  it('soon after the election keeps its instance back, longer each time', () => {
    const story = leading().at(100, { kind: 'appHealth', healthy: false }).released(110, 5);
    story.at(200, { kind: 'appHealth', healthy: true });
    expect(obstacleOf(story.election, 5099)).toBe('standing_back');
    story.lease(5100, lease(9800)).joined(5110, 9, snapshot(9, mine(9)));
    expect(story.claim).toBe(9);
    story.at(5200, stepDown({ cause: 'app_exited' })).released(5210, 9);
    expect(obstacleOf(story.election, 15_199)).toBe('standing_back');
    expect(obstacleOf(story.election, 15_200)).toBeNull();
  });

  const others = (healthy: boolean) => ({
    ...snapshot(6, mine(5)),
    members: [{ ...me, id: memberId('b'), leaseId: leaseId('b'), healthy }],
  });

  it.each([
    ['none', false, null],
    ['lead', true, null],
    ['lead', false, 5],
  ] as const)('with %s, another app healthy: %s', (whenAllUnhealthy, healthy, claim) => {
    const story = leading({ whenAllUnhealthy }).observed(100, others(healthy));
    expect(story.at(200, { kind: 'appHealth', healthy: false }).claim).toBe(claim);
  });
});

describe('a waiting candidate', () => {
  it('queues again behind when its key is deleted', () => {
    const story = waiting().changed(100, change(6, { removedCandidates: [ours] }));
    expect(story.acts.at(-1)).toMatchObject({ kind: 'join' });
  });

  it('drops everything with its lease, and joins on the next one', () => {
    const story = waiting().lease(700, null);
    expect(story.election.phase.kind).toBe('idle');
    story.lease(800, lease(5500, 2));
    expect(story.acts.at(-1)).toMatchObject({
      kind: 'join',
      lease: { generation: 2, leaseId: 'aaa2' },
    });
  });

  it('ignores the answer to a request that it made on an earlier lease', () => {
    const story = new Story().lease(10, lease(4750)).lease(20, null).lease(30, lease(4780, 2));
    story.at(40, {
      kind: 'joined',
      generation: 1,
      ttlMs: 5000,
      newestTerm: null,
      createRevision: revision(5n),
      snapshot: snapshot(5, mine(5)),
      sentAt: 15,
    });
    expect(story.election.phase).toMatchObject({ kind: 'joining', generation: 2 });
  });

  it('tries to join again after a bounded pause', () => {
    const story = new Story().lease(10, lease(4750));
    story.at(20, { kind: 'joinFailed', generation: 1, jitter: 0 });
    expect(wakeCandidacyAt(story.election, story.ground, 20)).toBe(70);
    expect(story.tick(70).effects.filter(({ kind }) => kind === 'join')).toHaveLength(2);
  });
});

describe('a report', () => {
  it('names no leader on knowledge older than one TTL', () => {
    const story = waiting();
    expect(reportOf(story.election, story.ground, 5014)).toMatchObject({
      role: 'follower',
      leader: { id: 'a', token: 3n },
    });
    expect(reportOf(story.election, story.ground, 5015)).toMatchObject({
      role: 'unknown',
      leader: null,
    });
  });

  it('does not name ourselves unless we may claim', () => {
    const story = leading().at(100, stepDown());
    expect(reportOf(story.election, story.ground, 100).leader).toBeNull();
  });

  it('names nobody while the first of ours waits out the delay that it shares with us', () => {
    const named = (more: Partial<Candidate>): string | undefined => {
      const story = waiting({ timing: { takeoverDelayMs: 2000 } });
      story.observed(800, snapshot(8, candidate('a', 3), candidate('b', 4), mine(5)));
      story.changed(900, change(9, { removedCandidates: ['a'] }));
      if (more.id !== undefined) {
        story.changed(950, change(10, { candidates: [{ ...candidate('b', 4), ...more }] }));
      }
      return reportOf(story.election, story.ground, 1000).leader?.id;
    };
    expect(named({})).toBeUndefined();
    const id = memberId('b');
    expect(named({ id, since: '2026-01-01T00:00:00.000Z' })).toBe('b');
    expect(named({ id, native: false })).toBe('b');
  });

  it('names the first of ours once the delay is over, though it could not say that it leads', () => {
    const story = waiting({ timing: { takeoverDelayMs: 2000 } });
    story.observed(800, snapshot(8, candidate('a', 3), candidate('b', 4), mine(5)));
    story.changed(900, change(9, { removedCandidates: ['a'] }));
    expect(reportOf(story.election, story.ground, 2899).leader).toBeNull();
    expect(reportOf(story.election, story.ground, 2900).leader?.id).toBe('b');
    story.observed(2000, snapshot(9, candidate('b', 4), mine(5)));
    expect(wakeCandidacyAt(story.election, story.ground, 2899)).toBe(2900);
  });

  it('tells of the last end while nobody leads: our own from the end of its claim, another one as it was seen', () => {
    const lastEnd = ({ election, ground }: Story, now: number) =>
      reportOf(election, ground, now).lastEnd;
    const own = leading();
    expect(lastEnd(own, 100)).toBeNull();
    own.at(100, stepDown());
    const ended = { token: 5n, goneAt: 100, aliveAt: 100, cause: 'resigned' };
    expect(lastEnd(own, 130)).toEqual(ended);
    const other = waiting({ timing: { takeoverDelayMs: 2000 } });
    other.changed(900, change(9, { removedCandidates: ['a'] }));
    const seen = lastEnd(other, 950);
    expect(seen).toMatchObject({ token: 3n, goneAt: 900, cause: 'lease_expired' });
    // Its last sign of life is an earlier moment.
    expect(seen?.aliveAt).toBeLessThan(900);
    // Who knows nothing tells of no end.
    expect(lastEnd(other, 6000)).toBeNull();
  });

  it('shows what is claimed and until when', () => {
    const story = leading();
    expect(reportOf(story.election, story.ground, 1000)).toMatchObject({
      role: 'leader',
      token: 5n,
      validUntil: 4750,
      observedAgeMs: 985,
    });
  });
});

describe('the level-triggered rounds', () => {
  it('observe every fifth of a TTL, faster once knowledge has run out', () => {
    const story = waiting();
    const observations = (): number =>
      story.effects.filter(({ kind }) => kind === 'observe').length;
    expect(observations()).toBe(1);
    story.tick(1000).tick(1999);
    expect(observations()).toBe(2);
    story.tick(6000);
    expect(wakeCandidacyAt(story.election, story.ground, 6000)).toBe(6250);
  });

  it('write the member record at once, and again where etcd does not show it', () => {
    const story = leading();
    const enrolled = (): number => story.effects.filter(({ kind }) => kind === 'enroll').length;
    expect(enrolled()).toBe(1);
    story.tick(200);
    expect(enrolled()).toBe(1);
    story.tick(250);
    expect(enrolled()).toBe(2);
    const member = { ...me, leaseId: ours, healthy: true };
    story.observed(300, { ...snapshot(6, mine(5)), members: [member] }).tick(1300);
    expect(enrolled()).toBe(2);
  });

  it('correct the record of a term that ended while nobody could record it, and no other', () => {
    const corrections = (lateMs: number, seen: Snapshot) => {
      const story = new Story().lease(10, lease(60_000)).joined(20, 5, snapshot(5, mine(5)), 15);
      const bound = 15 + 4750;
      story.tick(bound + lateMs).observed(9000, seen);
      return story.effects.filter(({ kind }) => kind === 'correct');
    };
    const gone = snapshot(9);
    expect(corrections(1, gone)).toMatchObject([
      { ending: { cause: 'etcd_unreachable', endedAt: 4766, term: { token: 5n } } },
    ]);
    // It is recorded, or our release was carried out and its answer lost.
    expect(corrections(1, { ...gone, handover: handover('me', 5) })).toEqual([]);
    // A witness that deposed us knew no more than that it did not hear of us.
    const deposed = { ...handover('me', 5), cause: 'crashed' } as const;
    expect(corrections(1, { ...gone, handover: deposed })).toHaveLength(1);
    // Who stood still has nothing to say that others do not know better.
    expect(corrections(1000, gone)).toEqual([]);
  });

  it('correct nothing while a hold lasts that was promised: a newcomer is to wait for it', () => {
    const corrected = (goneAt: number): boolean => {
      const story = leading().at(50, { kind: 'hold', until: 550 }).at(100, { kind: 'stop' });
      story.changed(goneAt, change(9, { removedCandidates: [mine(5).key] }));
      return story.effects.some(({ kind }) => kind === 'correct');
    };
    expect(corrected(549)).toBe(false);
  });

  it('proclaim again where a proclamation was lost', () => {
    const story = leading();
    const proclaimed = (): number => story.effects.filter(({ kind }) => kind === 'proclaim').length;
    expect(proclaimed()).toBe(0);
    expect(wakeCandidacyAt(story.election, story.ground, 20)).toBe(30);
    story.tick(30);
    expect(proclaimed()).toBe(1);
    story.tick(1030);
    expect(proclaimed()).toBe(2);
    const since = { ...mine(5), since: '2026-11-20T21:00:00.000Z' };
    story.changed(1100, change(9, { candidates: [since] })).tick(2030);
    expect(proclaimed()).toBe(2);
  });
});

describe('what cannot happen', () => {
  it('halts: somebody ahead of a key that was first', () => {
    const story = leading();
    expect(() => story.observed(100, snapshot(9, candidate('z', 2), mine(5)))).toThrow(
      AssertionFailure,
    );
  });

  it('halts: a join whose own snapshot does not have its key', () => {
    const story = new Story().lease(10, lease(4750));
    expect(() => story.joined(20, 5, snapshot(5, candidate('b', 4)))).toThrow(AssertionFailure);
  });

  it('claims nothing without a lease, whatever the state says', () => {
    const { election, ground } = leading();
    expect(claimOf(election, { ...ground, held: null }, 100)).toBeNull();
    const other = { ...lease(4750), leaseId: leaseId('zzz'), generation: 9 };
    expect(claimOf(election, { ...ground, held: other }, 100)).toBeNull();
  });
});
