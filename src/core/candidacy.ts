// The state of one candidacy in one election, what can happen to it, what it asks for, and the questions that can
// be asked of it at a moment. No transitions: those are in decide.ts.
import type {
  Candidate,
  Cause,
  Change,
  ElectionName,
  FencingToken,
  Handover,
  LeaseId,
  Member,
  MemberId,
  Millis,
  Revision,
  Snapshot,
} from './model.ts';
import type { Queue } from './queue.ts';
import type { Lease } from './session.ts';
import { failbackWindowMs, reliableUntil, settlingMs, type Timing } from './timing.ts';

/** Our key in the queue. */
export interface OwnKey {
  readonly generation: number;
  readonly leaseId: LeaseId;
  readonly createRevision: Revision;
}

/** A term of ours. */
export interface Term {
  readonly token: FencingToken;
  readonly since: Millis;
  /** How long nobody led before it, as far as we saw; null where we did not see the predecessor leave. */
  readonly leaderlessMs: number | null;
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
}

export type Candidacy =
  | { readonly kind: 'idle'; readonly joinAt: Millis; readonly failures: number }
  | { readonly kind: 'joining'; readonly generation: number; readonly failures: number }
  | { readonly kind: 'waiting'; readonly own: OwnKey }
  | {
      readonly kind: 'leading';
      readonly own: OwnKey;
      readonly term: Term;
      /** Nothing ends the term of its own accord before this. */
      readonly holdUntil: Millis;
      /** When to say in etcd that we lead, unless etcd shows it by then. */
      readonly proclaimAt: Millis;
      /** A step-down that was asked for and not yet begun. */
      readonly asked: Omit<Ending, 'term' | 'endedAt'> | null;
    }
  | {
      /** No longer claiming: the app stops; the lease is kept renewed meanwhile. */
      readonly kind: 'steppingDown';
      readonly own: OwnKey;
      readonly ending: Ending;
      readonly quiesced: boolean;
      readonly until: Millis;
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

export interface Election {
  readonly name: ElectionName;
  readonly me: Omit<Member, 'leaseId' | 'healthy'>;
  /** Whether an unhealthy app may lead where the apps of all members are unhealthy. */
  readonly whenAllUnhealthy: 'lead' | 'none';
  /** True where something beside us (a hook, a child) must stop before the key may be released. */
  readonly quiesces: boolean;
  readonly queue: Queue | null;
  readonly observeAt: Millis;
  readonly candidacy: Candidacy;
  readonly appHealthy: boolean;
  /** Set by a step-down that asks not to be elected again before this. */
  readonly standBackUntil: Millis;
  readonly stopping: boolean;
  /** How many terms in a row the app's own fault has ended soon. */
  readonly badTerms: number;
  /** The candidate that would be preferred to us as a leader, and since when it is ready. */
  readonly preferred: { readonly createRevision: Revision; readonly since: Millis } | null;
  /** The token of our newest term: a later one must be greater. */
  readonly lastToken: FencingToken | null;
  /** The lease under which our member record was last written, and with which health. */
  readonly enrolled: { readonly generation: number; readonly healthy: boolean } | null;
}

export type ElectionEvent =
  | { readonly kind: 'tick' }
  | { readonly kind: 'observed'; readonly snapshot: Snapshot; readonly sentAt: Millis }
  | { readonly kind: 'changed'; readonly change: Change }
  | {
      readonly kind: 'joined';
      readonly generation: number;
      readonly createRevision: Revision;
      readonly snapshot: Snapshot;
      readonly sentAt: Millis;
    }
  | { readonly kind: 'joinFailed'; readonly generation: number; readonly jitter: number }
  | { readonly kind: 'released'; readonly createRevision: Revision }
  | { readonly kind: 'releaseFailed'; readonly createRevision: Revision; readonly jitter: number }
  | { readonly kind: 'quiesced'; readonly token: FencingToken }
  | { readonly kind: 'hold'; readonly until: Millis }
  | { readonly kind: 'appHealth'; readonly healthy: boolean }
  | {
      readonly kind: 'stepDown';
      readonly cause: Cause;
      readonly to: MemberId | null;
      readonly reason: string | null;
      readonly actor: string | null;
      readonly standBackUntil: Millis;
    }
  | { readonly kind: 'stop' };

export type ElectionEffect =
  | {
      readonly kind: 'join';
      readonly generation: number;
      readonly leaseId: LeaseId;
      readonly me: Election['me'];
    }
  | { readonly kind: 'observe' }
  | { readonly kind: 'enroll'; readonly member: Member }
  | {
      readonly kind: 'release';
      readonly own: OwnKey;
      readonly handover: Handover | null;
      /** The term that ends, null where none does. */
      readonly ending: Ending | null;
      /** The candidates between us and a named successor, deleted in the same transaction. */
      readonly bypassed: readonly Candidate[];
    }
  | { readonly kind: 'elected'; readonly own: OwnKey; readonly term: Term }
  /** Say in our key since when we lead, and record the term. */
  | {
      readonly kind: 'proclaim';
      readonly own: OwnKey;
      readonly term: Term;
      readonly me: Election['me'];
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
  | { readonly kind: 'cutOff'; readonly term: Term };

/** The lease that our keys hang on and, if it may be relied upon now, until when. */
export interface Ground {
  readonly held: Lease | null;
  readonly timing: Timing;
}

export const newElection = (
  name: ElectionName,
  me: Election['me'],
  options: Pick<Election, 'quiesces' | 'appHealthy' | 'whenAllUnhealthy'>,
  now: Millis,
): Election => ({
  name,
  me,
  ...options,
  queue: null,
  observeAt: now,
  candidacy: { kind: 'idle', joinAt: now, failures: 0 },
  standBackUntil: now,
  stopping: false,
  badTerms: 0,
  preferred: null,
  lastToken: null,
  enrolled: null,
});

export const idle = (joinAt: Millis): Candidacy => ({ kind: 'idle', joinAt, failures: 0 });

/** Until when we may lead: bounded by the last renewal and, just so, by the last confirmation. */
export function boundOf(election: Election, { held, timing }: Ground): Millis {
  if (held === null || election.queue === null) return Number.NEGATIVE_INFINITY;
  const confirmed = reliableUntil(election.queue.freshAt, held.ttlMs, timing.marginMs);
  return Math.min(held.leadUntil, confirmed);
}

/** A healthy app may lead; an unhealthy one only where that was asked for, and no member is better off. */
export function appMayLead({ appHealthy, whenAllUnhealthy, queue, me }: Election): boolean {
  if (appHealthy) return true;
  if (whenAllUnhealthy === 'none' || queue === null) return false;
  return queue.members.every(
    ({ id, healthy, priority }) => id === me.id || !healthy || priority < 0,
  );
}

export function obstacleOf(election: Election, now: Millis): Obstacle | null {
  if (election.me.priority < 0) return 'never_leads';
  if (election.queue !== null && election.queue.control !== null) return 'paused';
  if (!appMayLead(election)) return 'app_unhealthy';
  if (now < election.standBackUntil) return 'standing_back';
  return null;
}

/** From when on the first in the queue may lead: at once after a clean end, else after the delay. */
export function eligibleAt({ queue }: Election, { takeoverDelayMs }: Timing): readonly Millis[] {
  const predecessor = queue?.predecessor ?? null;
  if (predecessor === null || predecessor.clean || takeoverDelayMs === 0) return [];
  return [predecessor.goneAt + takeoverDelayMs];
}

export const ttlOf = ({ held, timing }: Ground): number => held?.ttlMs ?? timing.ttlMs;

/** From when on a leader makes way for the candidate that is preferred to it. */
export function failbackAt(
  { queue }: Election,
  preferred: NonNullable<Election['preferred']>,
  ground: Ground,
): Millis {
  const settled = preferred.since + settlingMs(ttlOf(ground));
  const lastOne = queue?.failbackSeenAt ?? null;
  return lastOne === null ? settled : Math.max(settled, lastOne + failbackWindowMs);
}
