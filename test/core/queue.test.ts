import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { leaseId, type Candidate, type Change, type Snapshot } from '../../src/core/model.ts';
import { adopt, apply, forget, leaderOf, ownOf, type Queue } from '../../src/core/queue.ts';
import { candidate, change, handover, mine, ours, snapshot } from './given.ts';

const queueOf = (...candidates: readonly Candidate[]): Queue =>
  adopt(null, snapshot(10, ...candidates), 100, 110);

describe('a queue', () => {
  it('is led by the lowest create revision, compared as a number', () => {
    expect(leaderOf(queueOf(candidate('b', 10), candidate('a', 6)))?.id).toBe('a');
  });

  it('takes in a revision once, whole, and none that it already contains', () => {
    const queue = queueOf(candidate('a', 6), mine(8));
    const left = change(12, { removedCandidates: ['a'], handover: handover('a', 6) });
    const after = apply(queue, left, 200);
    expect(leaderOf(after)?.id).toBe('me');
    expect(after.predecessor).toEqual({ clean: true, goneAt: 200, seen: true });
    expect(apply(after, left, 300)).toBe(after);
    expect(apply(after, change(11, { candidates: [candidate('z', 5)] }), 300)).toBe(after);
  });

  it('lets an older read prove freshness, but not change what is known', () => {
    const queue = apply(
      queueOf(candidate('a', 6), mine(8)),
      change(20, { removedCandidates: ['a'] }),
      150,
    );
    const after = adopt(queue, snapshot(15, candidate('a', 6), mine(8)), 140, 160);
    expect(leaderOf(after)?.id).toBe('me');
    expect(after.freshAt).toBe(140);
    expect(adopt(after, snapshot(30, mine(8)), 120, 170).freshAt).toBe(140);
  });

  it('keeps the place of a key whose value changes', () => {
    const queue = queueOf(candidate('a', 6), mine(8));
    const said = { ...candidate('a', 6), since: '2026-11-20T21:00:00.000Z' };
    const after = apply(queue, change(12, { candidates: [said] }), 200);
    expect(leaderOf(after)).toEqual(said);
    expect(after.leaderSeenAt).toBe(queue.leaderSeenAt);
  });

  it('finds a predecessor that vanished without a record', () => {
    const queue = queueOf(candidate('a', 6), mine(8));
    const after = apply(queue, change(12, { removedCandidates: ['a'] }), 200);
    expect(after.predecessor).toEqual({ clean: false, goneAt: 200, seen: true });
  });

  it('judges by the last one ahead where revisions were skipped', () => {
    const queue = queueOf(candidate('a', 6), candidate('b', 7), mine(8));
    const skipped: Snapshot = { ...snapshot(30, mine(8)), handover: handover('a', 6) };
    const last: Snapshot = { ...skipped, handover: handover('b', 7) };
    expect(adopt(queue, skipped, 200, 210).predecessor).toMatchObject({ clean: false });
    expect(adopt(queue, last, 200, 210).predecessor).toMatchObject({ clean: true });
  });

  it('counts nobody as having resigned whom it did not see resign', () => {
    const read = { ...snapshot(10, mine(8)), handover: handover('a', 6) };
    expect(adopt(null, read, 100, 110).predecessor).toMatchObject({ clean: false, seen: false });
    const skipped = { ...snapshot(30, mine(20)), handover: handover('a', 6) };
    const queue = adopt(queueOf(candidate('a', 6)), skipped, 200, 210);
    expect(queue.predecessor).toMatchObject({ clean: false, seen: true });
  });

  it('forgets our own key once etcd has said that it is gone', () => {
    const queue = queueOf(mine(8), candidate('b', 9));
    const forgotten = forget(queue, mine(8).createRevision, true, 250);
    expect(ownOf(forgotten, leaseId(ours))).toBeNull();
    expect(forgotten).toMatchObject({
      leaderSeenAt: 250,
      predecessor: { clean: true, goneAt: 250, seen: true },
    });
  });

  it('remembers who led before us where we withdraw without having led, or from further back', () => {
    const seen = apply(
      queueOf(candidate('a', 6), mine(8)),
      change(12, { removedCandidates: ['a'] }),
      200,
    );
    const withdrawn = forget(seen, mine(8).createRevision, false, 250);
    expect(withdrawn).toMatchObject({
      leaderSeenAt: 250,
      predecessor: { clean: false, goneAt: 200, seen: true },
    });
    const queue = queueOf(candidate('a', 6), mine(8));
    expect(forget(queue, mine(8).createRevision, false, 250)).toMatchObject({
      leaderSeenAt: queue.leaderSeenAt,
      predecessor: queue.predecessor,
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
          let queue = adopt(null, snapshots[first]!, 0, 0);
          let next = first;
          for (const [isRead, pick] of mixture) {
            if (isRead) queue = adopt(queue, snapshots[pick % snapshots.length]!, pick, pick);
            else if (next < changes.length) queue = apply(queue, changes[next++]!, pick);
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
        let queue = adopt(null, snapshots[0]!, 0, 0);
        for (const each of changes) {
          const before = queue.candidates;
          queue = apply(queue, each, 0);
          const kept = before.filter((one) => queue.candidates.includes(one));
          expect(queue.candidates.slice(0, kept.length)).toEqual(kept);
        }
      }),
    );
  });
});
