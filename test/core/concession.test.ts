// What a leader that steps down says to the others while its key has to stay, and what they make of it.
import { describe, expect, it } from 'vitest';
import type { CandidacyEffect } from '../../src/core/candidacy.ts';
import { wakeCandidacyAt } from '../../src/core/election.ts';
import { fencingToken, revision, type Candidate } from '../../src/core/model.ts';
import { reportOf, type Report } from '../../src/core/report.ts';
import { candidate, change, handover, lease, mine, snapshot } from './given.ts';
import { Story } from './story.ts';

/** `me` leads the term 5, elected at 20. */
const leading = (quiesces: boolean): Story =>
  new Story({ quiesces })
    .tick(0)
    .lease(10, lease(4750))
    .joined(20, 5, snapshot(5, mine(5)), 15);

const resigned = { cause: 'resigned', reason: null, actor: null, standBackUntil: 0 } as const;
const stepDown = { kind: 'stepDown', ...resigned } as const;
const quiesced = { kind: 'quiesced', token: fencingToken(revision(5n)) } as const;

const concessions = ({ effects }: Story) =>
  effects.filter((effect): effect is Extract<CandidacyEffect, { kind: 'concede' }> => {
    return effect.kind === 'concede';
  });

const conceding = (one: Candidate, endedAgoMs = 12): Candidate => ({
  ...one,
  conceded: { cause: 'resigned', endedAgoMs },
});
const report = ({ election, ground, now }: Story): Report => reportOf(election, ground, now);

describe('whoever steps down', () => {
  it('concedes nothing where the key is released at once', () => {
    expect(concessions(leading(false).at(100, stepDown).tick(1000).released(1010, 5))).toEqual([]);
    const fast = leading(true).at(100, stepDown).at(104, quiesced).released(110, 5);
    expect(concessions(fast.tick(5000))).toEqual([]);
  });

  it('concedes a moment after its claim ended, and again each round where etcd does not show it', () => {
    const story = leading(true).at(100, stepDown).tick(109);
    expect(concessions(story)).toEqual([]);
    expect(wakeCandidacyAt(story.election, story.ground, 109)).toBe(110);
    story.tick(110);
    expect(story.claim).toBeNull();
    expect(concessions(story)).toMatchObject([
      {
        own: { createRevision: 5n },
        term: { token: 5n, since: 20 },
        concession: { cause: 'resigned', endedAgoMs: 10 },
      },
    ]);
    story.tick(1110);
    expect(concessions(story)).toHaveLength(2);
    story.changed(1200, change(9, { candidates: [conceding(mine(5))] })).tick(2110);
    expect(concessions(story)).toHaveLength(2);
  });

  it('concedes while a hold runs out, and not while it leads on until one is over', () => {
    const stopping = leading(false).at(50, { kind: 'hold', until: 900 }).at(100, { kind: 'stop' });
    expect(concessions(stopping.tick(110))).toMatchObject([{ concession: { cause: 'stopping' } }]);
    const asked = leading(false).at(50, { kind: 'hold', until: 900 }).at(100, stepDown).tick(110);
    expect(asked.claim).toBe(5);
    expect(concessions(asked.tick(890))).toEqual([]);
  });

  it('concedes nothing once the key is being released, or is gone', () => {
    const story = leading(true).at(100, stepDown).at(105, quiesced);
    expect(concessions(story.tick(4000))).toEqual([]);
    const robbed = leading(true).changed(100, change(9, { removedCandidates: ['aaa'] }));
    expect(concessions(robbed.tick(1000))).toEqual([]);
  });
});

describe('whoever sees a concession', () => {
  /** `a` leads with 3, `me` waits with 5. */
  const waiting = (first = candidate('a', 3)): Story =>
    new Story()
      .tick(0)
      .lease(10, lease(4750))
      .joined(20, 5, snapshot(5, first, mine(5)), 15);

  it('names nobody, knows who is leaving, and since when and why nobody leads', () => {
    const story = waiting();
    expect(report(story)).toMatchObject({ leader: { id: 'a' }, leaving: null, lastEnd: null });
    story.changed(100, change(6, { candidates: [conceding(candidate('a', 3))] }));
    expect(report(story)).toMatchObject({
      role: 'follower',
      leader: null,
      leaving: 'a',
      lastEnd: { token: 3n, goneAt: 88, aliveAt: 88, cause: 'resigned' },
    });
    // Said again, it ended when it did.
    story.observed(150, snapshot(7, conceding(candidate('a', 3), 70), mine(5)));
    expect(report(story).lastEnd).toMatchObject({ goneAt: 88 });
    story.changed(
      200,
      change(8, { removedCandidates: ['a'], handover: { ...handover('a', 3), endedAgoMs: 112 } }),
    );
    expect(story.claim).toBe(5);
    expect(report(story)).toMatchObject({ leader: { id: 'me' }, leaving: null, lastEnd: null });
  });

  it('leads no sooner for it', () => {
    const story = waiting();
    story.changed(100, change(6, { candidates: [conceding(candidate('a', 3))] })).tick(1000);
    expect(story.claim).toBeNull();
    expect(story.effects.some(({ kind }) => kind === 'elected')).toBe(false);
    // Its app may act for the term yet: what is taken away is waited for as ever.
    const robbed = new Story({ timing: { takeoverDelayMs: 'evidence' } })
      .tick(0)
      .lease(10, lease(9750))
      .joined(20, 5, snapshot(5, candidate('a', 3), mine(5)), 15)
      .tick(5021)
      .observed(5021, snapshot(5, candidate('a', 3), mine(5)))
      .changed(5100, change(6, { candidates: [conceding(candidate('a', 3))] }))
      .changed(5200, change(7, { removedCandidates: ['a'] }));
    expect(robbed.claim).toBeNull();
    expect(report(robbed).waiting).toMatchObject({ id: 'a', until: 10_200 });
  });

  it('counts how long nobody led from there, where its key then goes without a record', () => {
    const story = waiting();
    story.changed(100, change(6, { candidates: [conceding(candidate('a', 3))] }));
    story.changed(3000, change(7, { removedCandidates: ['a'] }));
    const elected = story.effects.find((effect) => effect.kind === 'elected');
    expect(elected?.term.leaderlessAtMostMs).toBeGreaterThanOrEqual(3000 - 88);
  });

  it('cannot say since when where it came later', () => {
    const story = waiting(conceding(candidate('a', 3)));
    expect(report(story)).toMatchObject({ leader: null, leaving: 'a', lastEnd: null });
  });

  it('goes by its own claim where somebody else wrote that into our key', () => {
    const story = leading(false).changed(100, change(6, { candidates: [conceding(mine(5))] }));
    expect(report(story)).toMatchObject({ role: 'leader', leader: { id: 'me' }, leaving: null });
  });
});
