import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  fencingToken,
  memberId,
  revision,
  type Candidate,
  type Change,
  type Snapshot,
  type TermRecord,
} from '../../src/core/model.ts';
import {
  adopt,
  apply,
  leaderOf,
  successionOf,
  withNewestTerm,
  type Queue,
  type Knowledge,
} from '../../src/core/queue.ts';
import { candidate, change, handover, mine, ours, snapshot } from './given.ts';

/** Nobody of whom we know that we have a key, and nobody has asked etcd about anybody's lease. */
/** A renewal of a lease of 5 s may have been on its way for so long. */
const late = 1250;
const unknown = { verdict: 'unknown', ttlMs: null, aliveAt: null } as const;
const stranger: Knowledge = { own: null, led: false, judge: () => unknown, unrenewedMs: 9000 };
/** Ours is the key on the lease `aaa`, which has led. */
const leader: Knowledge = { ...stranger, own: ours, led: true };
const waiter: Knowledge = { ...stranger, own: ours };

const queueOf = (...candidates: readonly Candidate[]): Queue =>
  adopt(null, snapshot(10, ...candidates), 100, 110, stranger);
const token = (revisionOf: number) => fencingToken(revision(BigInt(revisionOf)));
/** The tokens of those who are waited for: null for somebody who may have led unseen. */
const lost = ({ losses }: Queue): (number | null)[] =>
  losses.map((loss) => (loss.token === null ? null : Number(loss.token)));
/** Without what a newcomer cannot know. */
const known = (queue: Queue): Queue => ({ ...queue, losses: [] });

describe('a queue', () => {
  it('is led by the lowest create revision, compared as a number', () => {
    const joined = change(12, { candidates: [candidate('b', 10)] });
    expect(leaderOf(apply(queueOf(candidate('a', 6)), joined, 200, stranger))?.id).toBe('a');
  });

  it('takes in a revision once, whole, and none that it already contains', () => {
    const queue = queueOf(candidate('a', 6), mine(8));
    const left = change(12, { removedCandidates: ['a'], handover: handover('a', 6) });
    const after = apply(queue, left, 200, stranger);
    expect(leaderOf(after)?.id).toBe('me');
    expect(after.predecessor).toEqual({
      token: token(6),
      goneAt: 200,
      aliveAt: 200,
      cause: 'stopping',
    });
    expect(apply(after, left, 300, stranger)).toBe(after);
    expect(apply(after, change(11, { candidates: [candidate('z', 5)] }), 300, stranger)).toBe(
      after,
    );
  });

  it('lets an older read prove freshness, but not change what is known', () => {
    const queue = apply(
      queueOf(candidate('a', 6), mine(8)),
      change(20, { removedCandidates: ['a'] }),
      150,
      stranger,
    );
    const after = adopt(queue, snapshot(15, candidate('a', 6), mine(8)), 140, 160, stranger);
    expect(leaderOf(after)?.id).toBe('me');
    expect(after.freshAt).toBe(140);
    expect(adopt(after, snapshot(30, mine(8)), 120, 170, stranger).freshAt).toBe(140);
  });

  it('keeps the place of a key whose value changes', () => {
    const queue = queueOf(candidate('a', 6), mine(8));
    const said = { ...candidate('a', 6), since: '2026-11-20T21:00:00.000Z' };
    const after = apply(queue, change(12, { candidates: [said] }), 200, stranger);
    expect(leaderOf(after)).toEqual(said);
    expect(after.leaderSeenAt).toBe(queue.leaderSeenAt);
  });

  it('remembers a leader that vanished without a record, until somebody says that its lease ran out', () => {
    const queue = known(queueOf(candidate('a', 6), mine(8)));
    const gone = change(12, { removedCandidates: ['a'] });
    const taken = apply(queue, gone, 200, waiter);
    expect(taken.predecessor).toEqual({
      ...{ token: token(6), goneAt: 200, aliveAt: -5900 - late, cause: 'lease_expired' },
    });
    expect(taken.losses).toEqual([
      { token: token(6), id: 'a', goneAt: 200, ttlMs: 5000, verdict: 'unknown' },
    ]);
    const over = apply(queue, gone, 200, {
      ...waiter,
      judge: () => ({ verdict: 'ran_out', ttlMs: 5000, aliveAt: -3000 }),
    });
    expect(over.predecessor).toEqual({
      ...{ token: token(6), goneAt: 200, aliveAt: -3000 - late, cause: 'lease_expired' },
    });
    expect(over.losses).toMatchObject([{ token: token(6), verdict: 'ran_out' }]);
  });

  it('knows since when nobody led: a clean end says how long ago it was, and who never said that it leads did not', () => {
    const queue = known(queueOf(candidate('a', 6), candidate('b', 7), mine(8)));
    const record = { ...handover('a', 6), endedAgoMs: 150 };
    const left = change(12, { removedCandidates: ['a'], handover: record });
    expect(apply(queue, left, 200, waiter).predecessor?.aliveAt).toBe(50);
    const first = apply(queue, change(12, { removedCandidates: ['a'] }), 200, waiter);
    const gone = change(13, { removedCandidates: ['b'] });
    const alive: Knowledge = { ...waiter, judge: () => ({ ...unknown, aliveAt: 290 }) };
    expect(apply(first, gone, 300, alive).predecessor?.aliveAt).toBe(-5900 - late);
    const since = '2026-11-20T21:00:00.000Z';
    const led = { ...first, candidates: [{ ...candidate('b', 7), since }, mine(8)] };
    expect(apply(led, gone, 300, alive).predecessor?.aliveAt).toBe(290 - late);
  });

  it('waits for no other program, and not for ourselves', () => {
    const foreign = known(queueOf({ ...candidate('go', 6), native: false }, mine(8)));
    const left = apply(foreign, change(12, { removedCandidates: ['go'] }), 200, waiter);
    expect(left.predecessor?.cause).toBe('unknown');
    expect(left.losses).toMatchObject([{ token: token(6), verdict: 'foreign' }]);
    const own = known(queueOf(mine(8), candidate('b', 9)));
    const robbed = apply(own, change(12, { removedCandidates: [ours] }), 200, leader);
    expect(robbed.predecessor).toMatchObject({ token: token(8), goneAt: 200 });
    expect(lost(robbed)).toEqual([]);
  });

  it('keeps what was lost when another leaves a clean record', () => {
    const queue = known(queueOf(candidate('a', 6), candidate('b', 7), mine(8)));
    const first = apply(queue, change(12, { removedCandidates: ['a'] }), 200, waiter);
    const left = change(13, { removedCandidates: ['b'], handover: handover('b', 7) });
    const second = apply(first, left, 300, waiter);
    expect(second.predecessor).toEqual({
      token: token(7),
      goneAt: 300,
      aliveAt: 300,
      cause: 'stopping',
    });
    expect(lost(second)).toEqual([6]);
  });

  it('where revisions were skipped, counts all that went from before the first that is left', () => {
    const queue = known(queueOf(candidate('a', 6), candidate('b', 7), mine(8), candidate('c', 9)));
    const skipped: Snapshot = { ...snapshot(30, mine(8)), handover: handover('a', 6) };
    const after = adopt(queue, skipped, 200, 210, waiter);
    expect(lost(after)).toEqual([7]);
    expect(after.predecessor).toMatchObject({ token: token(7), cause: 'lease_expired' });
    const clean = adopt(queue, { ...skipped, handover: handover('b', 7) }, 200, 210, waiter);
    expect(lost(clean)).toEqual([6]);
    expect(clean.predecessor).toMatchObject({ token: token(7), cause: 'stopping' });
  });

  it('does not count whoever was passed over in a hand-over, which never led', () => {
    const queue = known(queueOf(candidate('a', 6), candidate('b', 7), mine(8)));
    const named = { ...handover('a', 6), to: memberId('me') };
    const after = adopt(queue, { ...snapshot(30, mine(8)), handover: named }, 200, 210, waiter);
    expect(lost(after)).toEqual([]);
    expect(after.predecessor).toMatchObject({ token: token(6) });
    // One behind the successor led after it.
    const four = known(queueOf(candidate('a', 6), candidate('b', 7), candidate('c', 8), mine(9)));
    const toB = { ...handover('a', 6), to: memberId('b') };
    const later = adopt(four, { ...snapshot(30, mine(9)), handover: toB }, 200, 210, waiter);
    expect(lost(later)).toEqual([7, 8]);
  });

  it('knows that others may have led unseen, unless our own key was there all along', () => {
    const queue = known(queueOf(candidate('a', 6)));
    expect(lost(adopt(queue, snapshot(30, mine(20)), 200, 210, waiter))).toEqual([6, null]);
    expect(lost(adopt(queue, snapshot(30), 200, 210, stranger))).toEqual([6, null]);
    const waiting = known(queueOf(candidate('a', 6), mine(8)));
    expect(lost(adopt(waiting, snapshot(30, mine(8)), 200, 210, waiter))).toEqual([6]);
    expect(lost(queueOf(mine(8)))).toEqual([null]);
  });

  it('knows of our key that it was there until it was deleted, whoever else has come since', () => {
    const before = known(queueOf(mine(8), candidate('b', 9)));
    const released = { ...snapshot(20, candidate('z', 15)), handover: handover('me', 8) };
    const seamless = adopt(before, released, 240, 250, leader, true);
    expect(seamless).toMatchObject({ leaderSeenAt: 250, predecessor: { goneAt: 250 } });
    expect(lost(seamless)).toEqual([]);
    const nobody = { ...released, candidates: [] };
    expect(lost(adopt(before, nobody, 240, 250, leader, true))).toEqual([]);
    // Read by chance, and not in the transaction that deleted it: somebody may have led and gone unseen.
    expect(lost(adopt(before, nobody, 240, 250, leader))).toEqual([9, null]);
  });

  it('remembers who led before us where we withdraw without having led', () => {
    const gone = change(12, { removedCandidates: ['a'] });
    const seen = apply(known(queueOf(candidate('a', 6), mine(8))), gone, 200, waiter);
    const led = { leaderSeenAt: 250, predecessor: { token: token(6), goneAt: 200 } };
    expect(adopt(seen, snapshot(13), 240, 250, waiter, true)).toMatchObject(led);
    const withdrawn = apply(seen, change(13, { removedCandidates: [ours] }), 250, waiter);
    expect(withdrawn).toMatchObject(led);
    expect(lost(withdrawn)).toEqual([6]);
  });

  describe('the newest record, to whoever joins', () => {
    const record = (of: number, more: Partial<TermRecord> = {}): TermRecord => ({
      ...{ token: token(of), leader: memberId('a'), address: null, from: null, to: null },
      ...{
        cause: null,
        reason: null,
        actor: null,
        leaderlessMs: null,
        leaderlessAtMostMs: null,
        ttlMs: 9000,
        endBefore: null,
      },
      ...more,
    });
    const view = known(queueOf(candidate('b', 7), mine(8)));
    const after = (term: TermRecord | null, ownToken: number | null = null, queue = view) =>
      withNewestTerm(queue, term, ownToken === null ? null : token(ownToken), 300);

    it('costs its TTL where it has no end and its key is gone', () => {
      expect(after(record(6)).losses).toEqual([
        { token: token(6), id: 'a', goneAt: 300, ttlMs: 9000, verdict: 'unknown' },
      ]);
    });

    it('costs its TTL, too, where only one that stood behind it was seen to go', () => {
      const before = queueOf(candidate('b', 7), mine(8));
      const gone = apply(before, change(12, { removedCandidates: ['b'] }), 200, waiter);
      expect(lost(after(record(6), null, gone))).toEqual([null, 7, 6]);
      // Once only.
      expect(lost(after(record(7), null, gone))).toEqual([null, 7]);
    });

    it.each([
      ['there is none', after(null)],
      ['it has an end', after(record(6, { to: '2026-11-20T21:00:00.000Z' }))],
      ['its key is there', after(record(7))],
      ['it is our own', after(record(6), 6)],
      [
        'we saw its end',
        after(
          record(6),
          null,
          known(
            apply(
              queueOf(candidate('a', 6), mine(8)),
              change(12, { removedCandidates: ['a'] }),
              200,
              waiter,
            ),
          ),
        ),
      ],
    ])('costs nothing where %s', (_, queue) => {
      expect(lost(queue)).toEqual([]);
    });
  });

  it('sees a failback whoever has made it, and counts one that it did not see from when it came', () => {
    const back = { ...handover('low', 6), cause: 'failback' } as const;
    const queue = queueOf(candidate('low', 6), candidate('p', 8));
    expect(queue.failbackSeenAt).toBeNull();
    const gone = { removedCandidates: ['low'], handover: back };
    expect(apply(queue, change(12, gone), 200, stranger).failbackSeenAt).toBe(200);
    const skipped = adopt(
      queue,
      { ...snapshot(30, candidate('q', 20)), handover: back },
      290,
      300,
      stranger,
    );
    expect(skipped.failbackSeenAt).toBe(300);
    expect(
      adopt(skipped, { ...snapshot(31), handover: back }, 390, 400, stranger).failbackSeenAt,
    ).toBe(300);
    expect(
      adopt(null, { ...snapshot(31), handover: back }, 490, 500, stranger).failbackSeenAt,
    ).toBe(500);
  });

  it('takes no reason that a person may type for a failback', () => {
    const said = { ...handover('low', 6), reason: 'a candidate of higher priority is ready' };
    const gone = { removedCandidates: ['low'], handover: said };
    expect(
      apply(queueOf(candidate('low', 6)), change(12, gone), 200, stranger).failbackSeenAt,
    ).toBeNull();
  });

  describe('a succession', () => {
    const to = (id: string, ...between: readonly Candidate[]) =>
      successionOf(queueOf(mine(6), ...between), mine(6).createRevision, memberId(id));

    it('goes to the newest key of whoever is named, past those between', () => {
      const [b, c] = [candidate('b', 7), candidate('c', 8)];
      expect(to('c', b, c)).toEqual({ successor: c, bypassed: [b] });
      const again = candidate('c', 9, 'c2');
      expect(to('c', b, c, again)).toEqual({ successor: again, bypassed: [b, c] });
    });

    it.each([
      ['nobody of that name', to('z', candidate('b', 7))],
      ['ourselves', to('me', candidate('b', 7))],
      ['whoever is foreign', to('b', { ...candidate('b', 7), native: false })],
      [
        'whoever stands behind somebody foreign',
        to('c', { ...candidate('b', 7), native: false }, candidate('c', 8)),
      ],
    ])('does not go to %s', (_, succession) => {
      expect(succession).toBeNull();
    });

    it('is not ours to decide unless we are first', () => {
      const queue = queueOf(candidate('a', 5), mine(6), candidate('b', 7));
      expect(successionOf(queue, mine(6).createRevision, memberId('b'))).toBeNull();
    });
  });
});

// However snapshots and watch events interleave, the view is what etcd had at the highest revision heard of.

/** A history of an election: at each revision one candidate comes or goes. */
const histories = fc
  .array(fc.nat({ max: 4 }), { minLength: 1, maxLength: 25 })
  .map((steps): { snapshots: Snapshot[]; changes: Change[] } => {
    let present: Candidate[] = [];
    const snapshots = [snapshot(1)];
    const changes: Change[] = [];
    steps.forEach((who, index) => {
      const at = index + 2;
      const name = `c${String(who)}`;
      if (present.some(({ key }) => key === name)) {
        present = present.filter(({ key }) => key !== name);
        changes.push(change(at, { removedCandidates: [name] }));
      } else {
        const joined = candidate(name, at);
        present = [...present, joined];
        changes.push(change(at, { candidates: [joined] }));
      }
      snapshots.push(snapshot(at, ...present));
    });
    return { snapshots, changes };
  });

describe('a view of a queue', () => {
  it('converges on the truth under any interleaving of snapshots and a watch', () => {
    fc.assert(
      fc.property(
        histories,
        fc.nat(),
        fc.array(fc.tuple(fc.boolean(), fc.nat()), { maxLength: 40 }),
        ({ snapshots, changes }, start, mixture) => {
          const first = start % snapshots.length;
          let queue = adopt(null, snapshots[first]!, 0, 0, stranger);
          let next = first;
          for (const [isRead, pick] of mixture) {
            if (isRead)
              queue = adopt(queue, snapshots[pick % snapshots.length]!, pick, pick, stranger);
            else if (next < changes.length) queue = apply(queue, changes[next++]!, pick, stranger);
          }
          const truth = snapshots.find(({ revision }) => revision === queue.revision)!;
          expect(queue.candidates).toEqual(truth.candidates);
        },
      ),
    );
  });

  it('never changes the places of those who stay', () => {
    fc.assert(
      fc.property(histories, ({ snapshots, changes }) => {
        let queue = adopt(null, snapshots[0]!, 0, 0, stranger);
        for (const each of changes) {
          const before = queue.candidates;
          queue = apply(queue, each, 0, stranger);
          const kept = before.filter((one) => queue.candidates.includes(one));
          expect(queue.candidates.slice(0, kept.length)).toEqual(kept);
        }
      }),
    );
  });
});
