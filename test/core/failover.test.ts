// Fast failover as a part of a candidacy: who acknowledges, what bounds and caps a claim, and how a term passes to the
// witness that deposed it.
import { describe, expect, it } from 'vitest';
import { claimOf } from '../../src/core/election.ts';
import { hasAcknowledged } from '../../src/core/failover.ts';
import { fencingToken, memberId, revision, type Ping } from '../../src/core/model.ts';
import { reportOf } from '../../src/core/report.ts';
import { candidate, lease, mine, snapshot } from './given.ts';
import { Story } from './story.ts';

const rev = (value: number) => revision(BigInt(value));
const other = (id: string, at: number) => ({
  ...candidate(id, at),
  url: `http://${id}`,
  pingKey: id,
});
const fast = { timing: { fastFailoverMs: 400 } };

const ping = (sequence: number, more: Partial<Ping> = {}): Ping => ({
  term: fencingToken(rev(1)),
  witness: rev(2),
  sequence,
  forMs: 400,
  enlisted: null,
  ...more,
});

/** We lead with b and c behind us; both are witnesses at 100, heard at 60. */
function leader(options: ConstructorParameters<typeof Story>[0] = fast): Story {
  const story = new Story(options).lease(0, lease(4750));
  story.joined(0, 2, snapshot(9, mine(2), other('b', 3), other('c', 4)));
  const term = fencingToken(rev(2));
  story.tick(10).at(20, { kind: 'recorded', term, number: 1, record: { at: rev(10), listed: [] } });
  for (const [number, at] of [
    [2, 30],
    [3, 60],
  ] as const) {
    for (const witness of [rev(3), rev(4)]) {
      story.at(at, { kind: 'acknowledged', term, witness, sentAt: at });
    }
    const change = story.effects.findLast((effect) => effect.kind === 'record')!.change;
    const record = { at: rev(10 + number), listed: change.to };
    story.at(at + 1, { kind: 'recorded', term, number, record });
  }
  return story;
}

/** We stand behind the leader a, whose term is 1, and have heard of it at 100. */
function follower(enlisted: Ping['enlisted'] = { at: rev(10), number: 1, ahead: 0 }): Story {
  const story = new Story(fast).lease(0, lease(4750));
  story.joined(0, 2, snapshot(9, other('a', 1), mine(2)));
  return story.at(100, { kind: 'pinged', ping: ping(1, { enlisted }) });
}

describe('a leader', () => {
  it('claims no longer than a short lease from the oldest ping that counts', () => {
    const story = leader();
    expect(reportOf(story.election, story.ground, 61).failover?.witnesses).toEqual(['b']);
    expect(claimOf(story.election, story.ground, 459)).not.toBeNull();
    expect(claimOf(story.election, story.ground, 460)).toBeNull();
    expect(story.tick(460).election.phase.kind).toBe('releasing');
    expect(story.transcript()).toContain('ended 2 (lease_expired)');
  });

  it('looks at no acknowledgement before what the clock has ended', () => {
    const story = leader();
    const term = fencingToken(rev(2));
    story.at(401, { kind: 'acknowledged', term, witness: rev(3), sentAt: 400 });
    story.at(461, { kind: 'acknowledged', term, witness: rev(4), sentAt: 459 });
    expect(story.claim).toBeNull();
  });

  it('tells nothing beyond a short lease from now, witness or not', () => {
    const story = new Story(fast).lease(0, lease(4750)).joined(0, 2, snapshot(9, mine(2)));
    expect(claimOf(story.election, story.ground, 7)?.validUntil).toBe(407);
    story.at(10, { kind: 'hold', until: 3000 });
    expect(story.election.phase).toMatchObject({ kind: 'leading', heldUntil: 410 });
  });

  it('neither pings nor is bounded where fast failover is off', () => {
    const story = new Story().lease(0, lease(4750));
    story.joined(0, 2, snapshot(9, mine(2), other('b', 3))).tick(100);
    expect(story.transcript()).not.toMatch(/ping|list/);
    expect(claimOf(story.election, story.ground, 100)?.validUntil).toBe(4750);
  });

  it.each([
    ['an older version', candidate('b', 3)],
    ['another program', { ...other('b', 3), native: false }],
  ])('has no witness behind or in the place of %s that may stand in the way', (_, next) => {
    const story = new Story(fast).lease(0, lease(4750));
    story.joined(0, 2, snapshot(9, mine(2), next, other('c', 4))).tick(10);
    const to = story.effects.flatMap((effect) => (effect.kind === 'ping' ? [effect.to.id] : []));
    expect(to).toEqual(next.native ? ['c'] : []);
  });
});

describe('a witness', () => {
  it('acknowledges the term that leads, to its own key and once', () => {
    const story = follower();
    expect(hasAcknowledged(story.election, ping(1))).toBe(true);
    for (const wrong of [
      ping(2, { witness: rev(3) }),
      ping(2, { term: fencingToken(rev(7)) }),
      ping(0),
    ]) {
      const before = story.election;
      story.at(150, { kind: 'pinged', ping: wrong });
      expect(story.election.phase).toEqual(before.phase);
      expect(hasAcknowledged(story.election, wrong)).toBe(false);
    }
  });

  it('acknowledges nothing once its own lease may have run out', () => {
    const story = follower().observed(4700, snapshot(9, other('a', 1), mine(2)));
    story.at(4751, { kind: 'pinged', ping: ping(2) });
    expect(hasAcknowledged(story.election, ping(2))).toBe(false);
  });

  it('deposes a silent leader after the short lease and a margin, and leads by the answer', () => {
    const story = follower();
    // 400 ms, a twentieth of it for rates, and 10 ms.
    expect(story.tick(529).acts).not.toContainEqual(expect.objectContaining({ kind: 'depose' }));
    const [deposing] = story.tick(530).effects.filter((effect) => effect.kind === 'depose');
    expect(deposing).toMatchObject({
      at: 10n,
      handover: { token: 1n, cause: 'crashed', to: 'me' },
    });
    story.at(531, { kind: 'pinged', ping: ping(2) });
    expect(hasAcknowledged(story.election, ping(2))).toBe(false);
    const after = { ...snapshot(20, mine(2)), handover: deposing!.handover };
    const outcome = { record: { at: rev(10), listed: [] }, snapshot: after, sentAt: 530 };
    story.at(535, { kind: 'deposed', term: fencingToken(rev(1)), at: rev(10), outcome });
    expect(story.claim).toBe(2);
    expect(story.effects.find((effect) => effect.kind === 'elected')?.term).toMatchObject({
      endBefore: 'crashed',
    });
  });

  it('is another candidate after it has joined anew, and was told nothing', () => {
    const story = follower(null);
    expect(story.tick(4000).acts).not.toContainEqual(expect.objectContaining({ kind: 'depose' }));
    expect(reportOf(story.election, story.ground, 110).failover?.isWitness).toBe(false);
  });

  it('forgets a term that leads no more', () => {
    const story = follower().observed(200, snapshot(12, other('z', 0), mine(2)));
    expect(story.election.phase).toMatchObject({ kind: 'waiting', vigil: null });
  });

  it('serves again where it was refused, and says who it is in the record of the end', () => {
    const story = follower().tick(530);
    const listed = [{ witness: rev(3), number: 4 }];
    const still = snapshot(20, other('a', 1), mine(2));
    const outcome = { record: { at: rev(15), listed }, snapshot: still, sentAt: 530 };
    story.at(535, { kind: 'deposed', term: fencingToken(rev(1)), at: rev(10), outcome });
    story.at(540, { kind: 'pinged', ping: ping(2) });
    expect(hasAcknowledged(story.election, ping(2))).toBe(true);
    expect(story.effects.find((effect) => effect.kind === 'depose')?.handover.actor).toBe(
      memberId('me'),
    );
  });
});
