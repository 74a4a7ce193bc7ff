// What we know of an election's queue: a linearizable snapshot, carried forward revision by revision by a watch.
// Places never change (new keys come last), so the revision that removes the last key ahead of ours makes us
// leader. `freshAt` is when a linearizable read last proved that we had missed nothing; a watch never moves it.
import type { Verdict } from './evidence.ts';
import type {
  Candidate,
  Cause,
  Change,
  Control,
  FencingToken,
  Handover,
  LeaseId,
  Member,
  MemberId,
  Millis,
  Revision,
  Snapshot,
  SwitchoverRequest,
  TermRecord,
} from './model.ts';
import { fencingToken, unrecordedEnds } from './model.ts';
import { attemptMs } from './timing.ts';

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
  /** When its claim ended, where we saw it concede that; else null. */
  readonly concededAt: Millis | null;
  /** The last leader that we saw leave. */
  readonly predecessor: Predecessor | null;
  /** The terms that ended without a record, for as long as somebody waits for their holders. */
  readonly losses: readonly Loss[];
}

export interface Predecessor {
  readonly token: FencingToken;
  readonly goneAt: Millis;
  /** When its claim ended, by its record; where there is none, its last sign of life: it ended no sooner. */
  readonly aliveAt: Millis;
  /** From its record; else `lease_expired` or `taken_away`, as etcd's answers say; `unknown` of another program. */
  readonly cause: Cause;
}

/** The end of a term that left no record, or (token null) of one that may have been there unseen. */
export interface Loss {
  readonly token: FencingToken | null;
  readonly id: MemberId | null;
  readonly goneAt: Millis;
  /** Of its lease, as far as it is known. */
  readonly ttlMs: number | null;
  /** Its holder may claim it still, unless its lease `ran_out` or it is another program. */
  readonly verdict: Verdict | 'foreign';
}

export const leaderOf = (queue: Queue): Candidate | null => queue.candidates[0] ?? null;

/** The key that this lease holds in the queue, as far as the view goes. */
export const ownOf = (queue: Queue, leaseId: LeaseId): Candidate | null =>
  queue.candidates.find((candidate) => candidate.leaseId === leaseId) ?? null;

/** Who leads next where a successor is named, and who stands between and is passed over. */
export interface Succession {
  readonly successor: Candidate;
  readonly bypassed: readonly Candidate[];
}

/**
 * The succession of `id` to the leader whose key was created at `own`, or null: `id` must stand in the queue (by its newest
 * key, since an older one is what a process that is no more has left) and nobody foreign, who would not understand, before
 * it. Asked anew at each use, because the queue moves on while an app stops.
 */
export function successionOf(
  queue: Queue | null,
  own: Revision,
  id: MemberId | null,
): Succession | null {
  if (queue === null || id === null || leaderOf(queue)?.createRevision !== own) return null;
  const place = queue.candidates.findLastIndex((candidate) => candidate.id === id);
  const passed = queue.candidates.slice(1, place + 1);
  const successor = passed.at(-1);
  if (successor === undefined || !passed.every(({ native }) => native)) return null;
  return { successor, bypassed: passed.slice(0, -1) };
}

/** How long after its time etcd may end a lease: it looks twice a second, and then has to agree. */
export const expiryLagMs = 1000;

/** How long nobody has led until `now`, at least and at most, and how the term before ended; null where nobody was seen to leave. */
export function timeBefore({ predecessor }: Queue, now: Millis) {
  if (predecessor === null)
    return { leaderlessMs: null, leaderlessAtMostMs: null, endBefore: null };
  const { goneAt, aliveAt, cause } = predecessor;
  const isRecorded = !unrecordedEnds.has(cause) && cause !== 'unknown';
  const leaderlessAtMostMs = now - aliveAt;
  const leaderlessMs = isRecorded ? leaderlessAtMostMs : now - goneAt;
  return { leaderlessMs, leaderlessAtMostMs, endBefore: cause };
}

const byCreateRevision = (a: Candidate, b: Candidate): number =>
  a.createRevision < b.createRevision ? -1 : a.createRevision > b.createRevision ? 1 : 0;

/** What is known beside the queue when a view follows from the one before. */
export interface Knowledge {
  /** The lease that our own keys hang on; null where we have none. */
  readonly own: LeaseId | null;
  /** Whether our key in the queue, if there is one, has led. */
  readonly led: boolean;
  /** What etcd has said of a lease whose key is gone; the TTL null where it was not asked. */
  readonly judge: (leaseId: LeaseId) => {
    readonly verdict: Verdict;
    readonly ttlMs: number | null;
    /** When its holder is last known to have renewed it; null where it was not asked. */
    readonly aliveAt: Millis | null;
  };
  /** For how long a lease may have gone unrenewed that nobody has asked about, and that does not say its TTL. */
  readonly unrenewedMs: number;
}

/**
 * Takes in a linearizable read that was sent at `sentAt`. One that is older than the view still proves how
 * fresh the view is: whatever it contains, the view contains too. It is `seamless` where nobody can have led since that view
 * without being seen: where it was read in the very transaction that deleted our leading key.
 */
export function adopt(
  queue: Queue | null,
  snapshot: Snapshot,
  sentAt: Millis,
  now: Millis,
  knowledge: Knowledge,
  seamless = false,
): Queue {
  if (queue !== null && snapshot.revision < queue.revision) {
    return { ...queue, freshAt: Math.max(queue.freshAt, sentAt) };
  }
  const next = {
    ...snapshot,
    freshAt: Math.max(queue?.freshAt ?? sentAt, sentAt),
    leaderSeenAt: now,
    concededAt: null,
    // Whoever was not there counts from when it came.
    failbackSeenAt: queue?.failbackSeenAt ?? (isFailback(snapshot.handover) ? now : null),
    predecessor: null,
    losses: [unseenLoss(now)],
  };
  return queue === null ? next : succeed(queue, next, now, knowledge, seamless);
}

/** Takes in all that one revision changed; a revision that the view already contains changes nothing. */
export function apply(queue: Queue, change: Change, now: Millis, knowledge: Knowledge): Queue {
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
  return succeed(queue, next, now, knowledge, true);
}

/**
 * Remembers who led before, and which terms ended without a record. Only a key that was first in some step can have led:
 * after a seamless step the old leader; where revisions were skipped, all that went from before the first that is left.
 */
function succeed(
  before: Queue,
  seen: Queue,
  now: Millis,
  knowledge: Knowledge,
  seamless: boolean,
): Queue {
  const failbackSeenAt = failedBackSince(before, seen) ? now : before.failbackSeenAt;
  const { predecessor, losses } = before;
  const next = {
    ...seen,
    failbackSeenAt,
    predecessor,
    losses,
    concededAt: concededAt(before, seen, now),
  };
  const leader = leaderOf(before);
  const successor = leaderOf(next);
  if (leader?.createRevision === successor?.createRevision) {
    return { ...next, leaderSeenAt: before.leaderSeenAt };
  }
  const gone = seamless ? before.candidates.slice(0, 1) : goneAhead(before, successor);
  const ends = gone.flatMap((candidate) => endOf(candidate, before, next, now, knowledge));
  const last = ends.at(-1);
  const unseen = !seamless && mayHaveLedUnseen(before, next, knowledge) ? [unseenLoss(now)] : [];
  // Whoever leaves a record has led, and so has waited for all that we did not see.
  const isClean = last !== undefined && last.loss === null;
  const kept = isClean ? losses.filter(({ token }) => token !== null) : losses;
  return {
    ...next,
    leaderSeenAt: now,
    predecessor: last?.predecessor ?? predecessor,
    losses: [...kept, ...ends.flatMap(({ loss }) => loss ?? []), ...unseen],
  };
}

/** Those that went from before the first that is left of them; behind it nobody can have led. */
function goneAhead({ candidates }: Queue, successor: Candidate | null): readonly Candidate[] {
  return candidates.filter(
    ({ createRevision }) => successor === null || createRevision < successor.createRevision,
  );
}

/** How a key ended that was first, or may have been; nothing where it is known not to have led. */
function endOf(
  candidate: Candidate,
  before: Queue,
  after: Queue,
  now: Millis,
  { own, led: weLed, judge, unrenewedMs }: Knowledge,
): readonly { readonly predecessor: Predecessor; readonly loss: Loss | null }[] {
  const { leaseId, createRevision, id, native } = candidate;
  const { handover } = after;
  const isOurs = leaseId === own;
  if (isOurs && !weLed) return [];
  const token = fencingToken(createRevision);
  const end = (cause: Cause, aliveAt: Millis, loss: Loss | null = null) => [
    { predecessor: { token, goneAt: now, aliveAt, cause }, loss },
  ];
  if (handover?.token === token) return end(handover.cause, now - (handover.endedAgoMs ?? 0));
  if (passedOver(candidate, before, after)) return [];
  const { verdict, ttlMs, ...told } = judge(leaseId);
  // Its key stood when we read last: however long etcd stood still since, its lease had been renewed a TTL before that.
  const leaseMs = candidate.ttlMs ?? ttlMs ?? unrenewedMs;
  const renewedAt = told.aliveAt ?? before.freshAt - leaseMs - expiryLagMs;
  // etcd may take up a renewal as late as its sender would have waited for the answer.
  const aliveAt = Math.min(now, renewedAt) - attemptMs(leaseMs);
  // Nobody waits for us, who know that we stopped; what another program says is no promise that could be broken.
  if (!native) {
    const foreign = { token, id, goneAt: now, ttlMs: null, verdict: 'foreign' } as const;
    return end('unknown', aliveAt, foreign);
  }
  // Of ours others may say so.
  const cause = isOurs || verdict === 'taken_away' ? 'taken_away' : 'lease_expired';
  const loss = { token, id, goneAt: now, ttlMs: candidate.ttlMs ?? ttlMs, verdict };
  // Who has not said that it leads may have been dead when it became first: nobody led since the one before it.
  const led = candidate.since !== null || before.predecessor === null;
  // Who has conceded lived on without a claim; nothing is waited for less, since something may act for its term yet.
  const conceded = candidate.conceded === null ? null : before.concededAt;
  const claimedAt = Math.min(aliveAt, conceded ?? aliveAt);
  return end(
    cause,
    led ? claimedAt : Math.min(aliveAt, before.predecessor.aliveAt),
    isOurs ? null : loss,
  );
}

/** Whether a leader that handed over to somebody named passed this one over: then it never led. */
function passedOver(
  { key }: Candidate,
  { candidates }: Queue,
  { handover }: Pick<Queue, 'handover'>,
): boolean {
  if (handover === null || handover.to === null) return false;
  const from = candidates.findIndex((one) => fencingToken(one.createRevision) === handover.token);
  const to = candidates.findLastIndex(({ id }) => id === handover.to);
  const place = candidates.findIndex((one) => one.key === key);
  return from >= 0 && from < place && place < to;
}

/** Where the leader itself is news others may have led before it, unless our key was there all along: they came behind it. */
function mayHaveLedUnseen(before: Queue, after: Queue, { own }: Knowledge): boolean {
  const successor = leaderOf(after);
  const wasThere = ({ createRevision }: Candidate): boolean =>
    before.candidates.some((one) => one.createRevision === createRevision);
  const ours = own === null ? null : ownOf(after, own);
  return !(successor !== null && wasThere(successor)) && !(ours !== null && wasThere(ours));
}

/** Of whoever is first: a concession that stood there before was seen then. */
function concededAt(before: Queue, after: Queue, now: Millis): Millis | null {
  const first = leaderOf(after);
  if (first === null || first.conceded === null) return null;
  const known = before.candidates.find((one) => one.createRevision === first.createRevision);
  return known !== undefined && known.conceded !== null
    ? before.concededAt
    : now - first.conceded.endedAgoMs;
}

const isFailback = (handover: Handover | null): boolean => handover?.cause === 'failback';

/** Whether leadership went back to a preferred candidate since an earlier view, whoever it was that gave it back. */
const failedBackSince = (before: Queue, { handover }: Queue): boolean =>
  isFailback(handover) && handover?.token !== before.handover?.token;

/** Whoever comes, or has not looked for a while, cannot know by the queue alone who led meanwhile. */
const unseenLoss = (now: Millis): Loss => ({
  token: null,
  id: null,
  goneAt: now,
  ttlMs: null,
  verdict: 'unknown',
});

/**
 * What the record of the newest term says to whoever joins: a term that is not over by it, whose key is gone and whose end
 * we did not see, may be claimed still.
 */
export function withNewestTerm(
  queue: Queue,
  term: TermRecord | null,
  ownToken: FencingToken | null,
  now: Millis,
): Queue {
  // Whoever was deposed had no time to say so in its own record.
  if (term === null || term.to !== null || queue.handover?.token === term.token) return queue;
  const { token, leader: id, ttlMs } = term;
  const isThere = queue.candidates.some((one) => fencingToken(one.createRevision) === token);
  // A later key that went says nothing about it: whoever waits for a term, and goes before it leads, stood behind it too.
  const wasSeen = [queue.predecessor, ...queue.losses].some((seen) => seen?.token === token);
  if (isThere || wasSeen || (ownToken !== null && ownToken >= token)) return queue;
  const loss: Loss = { token, id, goneAt: now, ttlMs, verdict: 'unknown' };
  return { ...queue, losses: [...queue.losses, loss] };
}
