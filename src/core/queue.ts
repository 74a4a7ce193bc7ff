// What we know of an election's queue: a linearizable snapshot, carried forward revision by revision by a watch.
// Places never change (new keys come last), so the revision that removes the last key ahead of ours makes us
// leader. `freshAt` is when a linearizable read last proved that we had missed nothing; a watch never moves it.
import type {
  Candidate,
  Change,
  Control,
  Handover,
  LeaseId,
  Member,
  Millis,
  Revision,
  Snapshot,
  SwitchoverRequest,
} from './model.ts';
import { fencingToken } from './model.ts';

export interface Queue {
  readonly revision: Revision;
  /** The monotonic time before the newest linearizable read that this view is known to contain was sent. */
  readonly freshAt: Millis;
  /** Sorted by create revision: the first one leads. */
  readonly candidates: readonly Candidate[];
  /** As of the newest snapshot: the watch is about the queue, and members decide nothing. */
  readonly members: readonly Member[];
  readonly handover: Handover | null;
  readonly control: Control | null;
  readonly switchover: SwitchoverRequest | null;
  /** When we last saw leadership go back to a preferred candidate; null where we never did. */
  readonly failbackSeenAt: Millis | null;
  /** When we saw the present leader become first; for people, where it has not said so itself. */
  readonly leaderSeenAt: Millis;
  /** The last leader that we saw leave, and whether it left a record of a clean end. */
  readonly predecessor: Predecessor | null;
}

/** The reason in the record of a leader that made way for a candidate of higher priority. */
export const failbackReason = 'a candidate of higher priority is ready';

export interface Predecessor {
  readonly clean: boolean;
  /** When we saw it leave, or (not seen) when we came. */
  readonly goneAt: Millis;
  readonly seen: boolean;
}

export const leaderOf = (queue: Queue): Candidate | null => queue.candidates[0] ?? null;

/** The key that this lease holds in the queue, as far as the view goes. */
export const ownOf = (queue: Queue, leaseId: LeaseId): Candidate | null =>
  queue.candidates.find((candidate) => candidate.leaseId === leaseId) ?? null;

const byCreateRevision = (a: Candidate, b: Candidate): number =>
  a.createRevision < b.createRevision ? -1 : a.createRevision > b.createRevision ? 1 : 0;

/**
 * Takes in a linearizable read that was sent at `sentAt`. One that is older than the view still proves how
 * fresh the view is: whatever it contains, the view contains too.
 */
export function adopt(queue: Queue | null, snapshot: Snapshot, sentAt: Millis, now: Millis): Queue {
  if (queue !== null && snapshot.revision < queue.revision) {
    return { ...queue, freshAt: Math.max(queue.freshAt, sentAt) };
  }
  const candidates = snapshot.candidates.toSorted(byCreateRevision);
  const next = {
    ...snapshot,
    candidates,
    freshAt: Math.max(queue?.freshAt ?? sentAt, sentAt),
    leaderSeenAt: now,
    failbackSeenAt: queue?.failbackSeenAt ?? null,
    predecessor: unseenPredecessor(now),
  };
  return queue === null ? next : succeed(queue, next, now, 'skipping');
}

/** Takes in all that one revision changed; a revision that the view already contains changes nothing. */
export function apply(queue: Queue, change: Change, now: Millis): Queue {
  if (change.revision <= queue.revision) return queue;
  const replaced = new Set([
    ...change.removedCandidates,
    ...change.candidates.map((candidate) => candidate.key),
  ]);
  const next: Queue = {
    ...queue,
    revision: change.revision,
    candidates: queue.candidates
      .filter((candidate) => !replaced.has(candidate.key))
      .concat(change.candidates)
      .sort(byCreateRevision),
    handover: change.handover === undefined ? queue.handover : change.handover,
    control: change.control === undefined ? queue.control : change.control,
    switchover: change.switchover === undefined ? queue.switchover : change.switchover,
  };
  return succeed(queue, next, now, 'seamless');
}

/**
 * Takes our own key out, once etcd has said that it is gone: the watch will tell us again, later. `ledWithIt`: with it
 * ended a term of ours, and nobody knows better than we that it ended cleanly.
 */
export function forget(
  queue: Queue,
  createRevision: Revision,
  ledWithIt: boolean,
  now: Millis,
): Queue {
  const next = {
    ...queue,
    candidates: queue.candidates.filter((candidate) => candidate.createRevision !== createRevision),
  };
  if (leaderOf(queue)?.createRevision !== createRevision) return next;
  const predecessor = ledWithIt ? { clean: true, goneAt: now, seen: true } : queue.predecessor;
  return { ...next, leaderSeenAt: now, predecessor };
}

/**
 * Remembers who led before. After a seamless step the old leader is the predecessor; where revisions were
 * skipped, others may have led in between, and only the last of those that were ahead counts.
 */
function succeed(before: Queue, next: Queue, now: Millis, how: 'seamless' | 'skipping'): Queue {
  const leader = leaderOf(before);
  const successor = leaderOf(next);
  if (leader?.createRevision === successor?.createRevision) {
    return { ...next, leaderSeenAt: before.leaderSeenAt, predecessor: before.predecessor };
  }
  if (leader === null) return { ...next, leaderSeenAt: now };
  const ahead = before.candidates.filter(
    (candidate) => successor === null || candidate.createRevision < successor.createRevision,
  );
  const last = how === 'seamless' ? leader : (ahead.at(-1) ?? leader);
  const token = fencingToken(last.createRevision);
  // Where the successor itself is news, others may have come, led and gone unseen before it.
  const known =
    how === 'seamless' ||
    before.candidates.some(({ createRevision }) => createRevision === successor?.createRevision);
  const clean = known && next.handover?.token === token;
  const failedBack = clean && next.handover.reason === failbackReason;
  return {
    ...next,
    leaderSeenAt: now,
    failbackSeenAt: failedBack ? now : next.failbackSeenAt,
    predecessor: { clean, goneAt: now, seen: true },
  };
}

/**
 * A newcomer cannot know how the last term before it ended: its leader may have had no time to record that it began. So
 * nobody counts as having resigned whom we did not see resign.
 */
const unseenPredecessor = (now: Millis): Predecessor => ({
  clean: false,
  goneAt: now,
  seen: false,
});
