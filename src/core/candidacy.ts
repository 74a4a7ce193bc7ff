// The state of one candidacy in one election, what can happen to it, what it asks for, and the questions that can
// be asked of it at a moment. No transitions: those are in decide.ts.
import type {
  Candidate,
  Cause,
  Change,
  Concession,
  ElectionName,
  FencingToken,
  Handover,
  LeaseId,
  Member,
  MemberId,
  Millis,
  Ping,
  Revision,
  Self,
  Snapshot,
  TermRecord,
} from './model.ts';
import type { Evidence, TimeToLive } from './evidence.ts';
import type { Loss, Queue, Succession } from './queue.ts';
import type { Lease } from './session.ts';
import {
  shortBoundOf,
  type RecordChange,
  type ShortLease,
  type WitnessRecord,
} from './short-lease.ts';
import { failbackWindowMs, reliableUntil, settlingMs, type Timing } from './timing.ts';
import type { Vigil } from './witness.ts';

/** Our key in the queue. */
export interface OwnKey {
  readonly generation: number;
  readonly leaseId: LeaseId;
  /** As etcd granted it. */
  readonly ttlMs: number;
  readonly createRevision: Revision;
}

/** A term of ours. */
export interface Term {
  readonly token: FencingToken;
  readonly since: Millis;
  /** How long nobody led before it, at least, as far as we saw; null where we did not see the predecessor leave. */
  readonly leaderlessMs: number | null;
  /** The same at most: since the predecessor's last sign of life. */
  readonly leaderlessAtMostMs: number | null;
  /** How the term before it ended, by its record or as we judge; null where we did not see it. */
  readonly endBefore: Cause | null;
}

/** Which term ends, why, and for whom it makes way. */
export interface Ending {
  readonly term: Term;
  /** When the claim ended. */
  readonly endedAt: Millis;
  readonly cause: Cause;
  readonly to: MemberId | null;
  readonly reason: string | null;
  readonly actor: string | null;
  /** It was over before we noticed: we stood still, and cannot say more of it than others can. */
  readonly stoodStill: boolean;
}

export type Phase =
  | { readonly kind: 'idle'; readonly joinAt: Millis; readonly failures: number }
  | { readonly kind: 'joining'; readonly generation: number; readonly failures: number }
  | {
      readonly kind: 'waiting';
      readonly own: OwnKey;
      /** What the leader was promised; null where it has asked for nothing. */
      readonly vigil: Vigil | null;
    }
  | {
      readonly kind: 'leading';
      readonly own: OwnKey;
      readonly term: Term;
      /** The short lease that is held with the next in the queue; null without fast failover. */
      readonly short: ShortLease | null;
      /** Until when we promised that nobody else leads. */
      readonly heldUntil: Millis;
      /** When to say in etcd that we lead, unless etcd shows it by then. */
      readonly proclaimAt: Millis;
      /** A step-down that was asked for and not yet begun. */
      readonly asked: Pick<Ending, 'cause' | 'reason' | 'actor'> | null;
    }
  | {
      /** No longer claiming: the app stops, a hold runs out; the lease is kept renewed meanwhile. */
      readonly kind: 'steppingDown';
      readonly own: OwnKey;
      readonly ending: Ending;
      readonly short: ShortLease | null;
      readonly quiesced: boolean;
      /** Before this the key stays: a hold was promised that is not over. */
      readonly keptUntil: Millis;
      readonly until: Millis;
      /** When to say in etcd that the claim has ended, unless the key is released or etcd shows it by then. */
      readonly concedeAt: Millis;
    }
  | {
      /** Deleting our key; tried again at `retryAt` (null while an attempt is under way). */
      readonly kind: 'releasing';
      readonly own: OwnKey;
      /** Null where no term ends: we were only waiting, and withdraw. */
      readonly ending: Ending | null;
      readonly failures: number;
      readonly retryAt: Millis | null;
    }
  | { readonly kind: 'stopped' };

/** What keeps an instance from campaigning. */
export type Obstacle = 'never_leads' | 'paused' | 'app_unhealthy' | 'standing_back';

export interface Candidacy {
  readonly name: ElectionName;
  readonly me: Self;
  /** Whether an unhealthy app may lead where the apps of all members are unhealthy. */
  readonly whenAllUnhealthy: 'lead' | 'none';
  /** True where something beside us (a hook, a child) must stop before the key may be released. */
  readonly quiesces: boolean;
  readonly queue: Queue | null;
  readonly observeAt: Millis;
  readonly phase: Phase;
  readonly appHealthy: boolean;
  /** Set by a step-down that asks not to be elected again before this. */
  readonly standBackUntil: Millis;
  readonly stopping: boolean;
  /** How many terms in a row the app's own fault has ended soon. */
  readonly badTerms: number;
  /** What etcd has said of the leases of those ahead of us, and when they are asked for next. */
  readonly evidence: readonly Evidence[];
  readonly askAt: Millis;
  /** The candidate that would be preferred to us as a leader, and since when it is ready. */
  readonly preferred: {
    readonly id: MemberId;
    readonly createRevision: Revision;
    readonly since: Millis;
  } | null;
  /** The token of our newest term: a later one must be greater. */
  readonly lastToken: FencingToken | null;
  /** The lease under which our member record was last written, and with which health. */
  readonly enrolled: { readonly generation: number; readonly healthy: boolean } | null;
}

export type CandidacyEvent =
  | { readonly kind: 'tick' }
  | { readonly kind: 'observed'; readonly snapshot: Snapshot; readonly sentAt: Millis }
  | { readonly kind: 'changed'; readonly change: Change }
  | {
      readonly kind: 'joined';
      readonly generation: number;
      readonly ttlMs: number;
      readonly createRevision: Revision;
      /** The record of the newest term there is; null where there is none. */
      readonly newestTerm: TermRecord | null;
      readonly snapshot: Snapshot;
      readonly sentAt: Millis;
    }
  | { readonly kind: 'joinFailed'; readonly generation: number; readonly jitter: number }
  | {
      /** `deleted`: by this very request; else our key was gone before, or is still there. */
      readonly kind: 'released';
      readonly createRevision: Revision;
      readonly deleted: boolean;
      readonly snapshot: Snapshot;
      readonly sentAt: Millis;
      readonly jitter: number;
    }
  | { readonly kind: 'releaseFailed'; readonly createRevision: Revision; readonly jitter: number }
  | ({ readonly kind: 'timeToLive' } & TimeToLive)
  /** The leader of a term asks that we do not depose it. */
  | { readonly kind: 'pinged'; readonly ping: Ping }
  /** A candidate promised that it does not depose our term, in answer to a ping that was sent at `sentAt`. */
  | {
      readonly kind: 'acknowledged';
      readonly term: FencingToken;
      readonly witness: Revision;
      readonly sentAt: Millis;
    }
  /** What the record of our witnesses is after change `number`; null where its outcome is not known. */
  | {
      readonly kind: 'recorded';
      readonly term: FencingToken;
      readonly number: number;
      readonly record: WitnessRecord | null;
    }
  /** What became of our request to depose a term; null where that is not known. */
  | {
      readonly kind: 'deposed';
      readonly term: FencingToken;
      readonly at: Revision;
      readonly outcome: {
        readonly record: WitnessRecord;
        readonly snapshot: Snapshot;
        readonly sentAt: Millis;
      } | null;
    }
  | { readonly kind: 'quiesced'; readonly token: FencingToken }
  | { readonly kind: 'hold'; readonly until: Millis }
  | { readonly kind: 'appHealth'; readonly healthy: boolean }
  | {
      readonly kind: 'stepDown';
      readonly cause: Cause;
      readonly reason: string | null;
      readonly actor: string | null;
      readonly standBackUntil: Millis;
    }
  /** What was told by `standBackUntil` is taken back. */
  | { readonly kind: 'standAgain' }
  | { readonly kind: 'stop' };

export type CandidacyEffect =
  | {
      readonly kind: 'join';
      readonly lease: Pick<Lease, 'generation' | 'leaseId' | 'ttlMs'>;
      readonly me: Candidacy['me'];
    }
  | { readonly kind: 'observe' }
  | { readonly kind: 'askTimeToLive'; readonly leases: readonly LeaseId[] }
  | { readonly kind: 'enroll'; readonly member: Member }
  | {
      readonly kind: 'release';
      readonly own: OwnKey;
      readonly handover: Handover | null;
      /** The term that ends, null where none does. */
      readonly ending: Ending | null;
      /** Who was named, and is there; null for "whoever is next". */
      readonly succession: Succession | null;
    }
  /** Our term ended, its key is gone, and nobody has recorded why: only we can say. */
  | { readonly kind: 'correct'; readonly own: OwnKey; readonly ending: Ending }
  /** Asks a candidate not to depose our term. */
  | { readonly kind: 'ping'; readonly to: Candidate; readonly ping: Ping }
  /** Changes the record of our witnesses. */
  | { readonly kind: 'record'; readonly own: OwnKey; readonly change: RecordChange }
  /** Ends the term of a leader that was not heard of, in our favour. */
  | {
      readonly kind: 'depose';
      readonly leader: Candidate;
      /** What wrote the record last in which we stand as a witness. */
      readonly at: Revision;
      readonly succession: Succession;
      readonly handover: Handover;
    }
  | { readonly kind: 'elected'; readonly own: OwnKey; readonly term: Term }
  /** Say in our key since when we lead, and record the term. */
  | {
      readonly kind: 'proclaim';
      readonly own: OwnKey;
      readonly term: Term;
      readonly me: Candidacy['me'];
    }
  /** Say in our key, which is to stay for a while, that its claim has ended. */
  | {
      readonly kind: 'concede';
      readonly own: OwnKey;
      readonly term: Term;
      readonly concession: Concession;
      readonly me: Candidacy['me'];
    }
  | {
      readonly kind: 'ended';
      readonly term: Term;
      readonly cause: Cause;
      readonly reason: string | null;
      /** By when all that acts for the term must have stopped; it may be cut off before that. */
      readonly mustStopBy: Millis;
    }
  /** The lease will not last until `mustStopBy`: whatever still acts for the term is killed now. */
  | { readonly kind: 'cutOff'; readonly term: Term }
  /** etcd does not let our key go: the lease that it hangs on is given up, and with it the key. */
  | { readonly kind: 'giveUpLease'; readonly generation: number };

/** A state on its way to being settled, and what it has asked for so far. */
export interface Draft {
  readonly candidacy: Candidacy;
  readonly effects: readonly CandidacyEffect[];
}

/** The lease that our keys hang on and, if it may be relied upon now, until when. */
export interface Ground {
  readonly held: Lease | null;
  readonly timing: Timing;
}

export const newCandidacy = (
  name: ElectionName,
  me: Candidacy['me'],
  options: Pick<Candidacy, 'quiesces' | 'appHealthy' | 'whenAllUnhealthy'>,
  now: Millis,
): Candidacy => ({
  name,
  me,
  ...options,
  queue: null,
  observeAt: now,
  phase: { kind: 'idle', joinAt: now, failures: 0 },
  standBackUntil: now,
  stopping: false,
  badTerms: 0,
  evidence: [],
  askAt: now,
  preferred: null,
  lastToken: null,
  enrolled: null,
});

export const idle = (joinAt: Millis): Phase => ({ kind: 'idle', joinAt, failures: 0 });

/**
 * Until when we may lead: bounded by the last renewal and, just so, by the last confirmation; and with fast failover by the
 * last acknowledgement of whoever may depose the term.
 */
export function boundOf({ phase, queue }: Candidacy, { held, timing }: Ground): Millis {
  if (held === null || queue === null) return Number.NEGATIVE_INFINITY;
  const confirmed = reliableUntil(queue.freshAt, held.ttlMs, timing.marginMs);
  const short = 'short' in phase && phase.short !== null ? [shortBoundOf(phase.short)] : [];
  return Math.min(held.leadUntil, confirmed, ...short);
}

/**
 * Until when something may be told, or relied upon, of a term that lasts until `bound`: with fast failover never for longer
 * than the short lease, witness or not, or what was said before one was enlisted would outlast a deposition by it.
 */
export const toldUntil = ({ phase }: Candidacy, bound: Millis, now: Millis): Millis =>
  'short' in phase && phase.short !== null ? Math.min(bound, now + phase.short.forMs) : bound;

/** A healthy app may lead; an unhealthy one only where that was asked for, and no member is better off. */
export function appMayLead({ appHealthy, whenAllUnhealthy, queue, me }: Candidacy): boolean {
  if (appHealthy) return true;
  if (whenAllUnhealthy === 'none' || queue === null) return false;
  return queue.members.every(
    ({ id, healthy, priority }) => id === me.id || !healthy || priority < 0,
  );
}

export function obstacleOf(candidacy: Candidacy, now: Millis): Obstacle | null {
  if (candidacy.me.priority < 0) return 'never_leads';
  if (candidacy.queue !== null && candidacy.queue.control !== null) return 'paused';
  if (!appMayLead(candidacy)) return 'app_unhealthy';
  if (now < candidacy.standBackUntil) return 'standing_back';
  return null;
}

/** Until when the first in the queue waits for the holder of a term that ended without a record; null: not at all. */
export function waitFor(loss: Loss, ground: Ground): Millis | null {
  const { takeoverDelayMs } = ground.timing;
  if (takeoverDelayMs === 0) return null;
  if (typeof takeoverDelayMs === 'number') return loss.goneAt + takeoverDelayMs;
  // Who may have led unseen is known by its record when we join: evidence needs no doubt beyond that.
  const isOver = loss.verdict === 'ran_out' || loss.verdict === 'foreign';
  if (takeoverDelayMs === 'evidence' && (loss.token === null || isOver)) return null;
  // A lease whose TTL is not known is taken to have one like ours.
  return loss.goneAt + (loss.ttlMs ?? ttlOf(ground));
}

/** From when on the first in the queue may lead: one moment for each lost term, of which the last counts. */
export const eligibleAt = ({ queue }: Candidacy, ground: Ground): readonly Millis[] =>
  (queue?.losses ?? []).flatMap((loss) => waitFor(loss, ground) ?? []);

export const ttlOf = ({ held, timing }: Ground): number => held?.ttlMs ?? timing.ttlMs;

/** From when on a leader makes way for the candidate that is preferred to it. */
export function failbackAt(
  { queue }: Candidacy,
  preferred: NonNullable<Candidacy['preferred']>,
  ground: Ground,
): Millis {
  const settled = preferred.since + settlingMs(ttlOf(ground));
  const lastOne = queue?.failbackSeenAt ?? null;
  return lastOne === null ? settled : Math.max(settled, lastOne + failbackWindowMs);
}
