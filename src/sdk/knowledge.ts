// What a client may believe, and until when. All arithmetic of validity is here; nothing here reads a clock.
//
// A claim counts from the moment its question was sent, for as long as the answer promised: for the hold, which whatever is
// planned keeps; where the sidecar grants none, for as long as the lease lasts. Anything that says "you do not lead" ends
// the claim at once, whenever it was asked for, and no answer to a question sent before that can bring it back. Only what
// names a leader of an earlier term than ours is certainly older than our claim. In doubt it claims less.
import type { LeaderAnswer, LeadershipEvent } from '../contract.ts';
import type { Cause, Millis } from '../core/model.ts';
import type { Role } from '../core/report.ts';
import { UnusableAnswer } from './errors.ts';

/** The leader of an election as the sidecar names it. */
export interface Leader {
  readonly id: string;
  /** Where its app is reached; null where it does not say. */
  readonly address: string | null;
  readonly fencingToken: bigint;
  /** When it began to lead, ISO 8601, by its own wall clock. */
  readonly since: string;
}

/** What a client believes at a moment. */
export interface Leadership {
  /** Null before the sidecar's first answer. */
  readonly election: string | null;
  /** The id of the sidecar asked; null before its first answer. */
  readonly id: string | null;
  /** `unknown` also while the sidecar does not answer. */
  readonly role: Role;
  readonly isLeader: boolean;
  readonly leader: Leader | null;
  /** The token of the own term, null where this instance does not lead. */
  readonly fencingToken: bigint | null;
  /** Why it last changed, as far as the sidecar said; null where it did not. */
  readonly cause: Cause | null;
}

/** An own term, and until when it may be believed in. */
export interface Claim {
  readonly fencingToken: bigint;
  readonly validUntil: Millis;
}

/** How long the name of a leader is repeated while the sidecar is silent: the shortest TTL that there is. */
const nameValidForMs = 2000;
/** No lease is longer than ten minutes: what is said to be valid for longer is no answer of ours. */
const longestValidityMs = 600_000;

const isText = (value: unknown): value is string => typeof value === 'string';
const isToken = (value: unknown): value is string => isText(value) && /^\d{1,20}$/.test(value);
const isTime = (value: unknown): value is number =>
  typeof value === 'number' && value >= 0 && value <= longestValidityMs;
const roles: readonly unknown[] = ['leader', 'follower', 'observer', 'unknown'];

function isLeaderOnWire(value: unknown): boolean {
  if (value === null) return true;
  if (typeof value !== 'object') return false;
  const { id, address, fencingToken, since } = value as Record<string, unknown>;
  return (
    isText(id) && (address === null || isText(address)) && isToken(fencingToken) && isText(since)
  );
}

/**
 * A body as the answer that it should be.
 *
 * @throws UnusableAnswer if it is not one.
 */
export function leaderAnswerIn(body: unknown): LeaderAnswer {
  const answer = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  const { election, id, role, isLeader, leader, fencingToken, validForMs, heldForMs } = answer;
  const good =
    isText(election) &&
    isText(id) &&
    roles.includes(role) &&
    typeof isLeader === 'boolean' &&
    isLeaderOnWire(leader) &&
    (fencingToken === null || isToken(fencingToken)) &&
    isTime(validForMs) &&
    (heldForMs === undefined || isTime(heldForMs));
  if (!good) throw new UnusableAnswer('what should be an answer of /leader is none');
  return body as LeaderAnswer;
}

/** The own term that an answer claims, null where it says that we do not lead. */
const claimedBy = ({ isLeader, fencingToken }: LeaderAnswer): bigint | null =>
  isLeader && fencingToken !== null ? BigInt(fencingToken) : null;

/** Whether what says "no" is of before our term `own` began, which only the name of an earlier leader can tell. */
const isOlderThan = (own: bigint | null, { leader }: LeaderAnswer): boolean =>
  own !== null && leader !== null && BigInt(leader.fencingToken) < own;

const leaderIn = ({ leader }: LeaderAnswer): Leader | null =>
  leader === null ? null : { ...leader, fencingToken: BigInt(leader.fencingToken) };

export class Knowledge {
  #answer: LeaderAnswer | null = null;
  #leader: Leader | null = null;
  /** When the question of the newest answer was sent. */
  #askedAt: Millis = Number.NEGATIVE_INFINITY;
  #claim: Claim | null = null;
  /** Until when the longest hold of the claimed term was promised. */
  #heldUntil: Millis = Number.NEGATIVE_INFINITY;
  /** When it was last heard that we do not lead. */
  #deniedAt: Millis = Number.NEGATIVE_INFINITY;
  #cause: Cause | null = null;

  /** Takes in an answer of `/leader`, asked at `sentAt`, that came at `now`. False: it is worth asking again. */
  answered(answer: LeaderAnswer, sentAt: Millis, now: Millis): boolean {
    const own = this.#claim?.fencingToken ?? null;
    const claimed = claimedBy(answer);
    if (sentAt < this.#askedAt) return this.#overtaken(answer, claimed, now);
    // Nobody can tell whether it was made before or after the "no" that came while it was under way.
    if (claimed !== null && sentAt < this.#deniedAt) return false;
    if (claimed !== null && own !== null && claimed < own) {
      // One of the two terms is over.
      this.#deny(now);
      return false;
    }
    if (claimed === null) this.#deny(now);
    else this.#believe(claimed, answer, sentAt);
    this.#take(answer);
    this.#askedAt = sentAt;
    return true;
  }

  /** An answer that comes after one that was asked for later may have been made after it all the same. */
  #overtaken(answer: LeaderAnswer, claimed: bigint | null, now: Millis): boolean {
    const own = this.#claim?.fencingToken ?? null;
    const isDenial = claimed === null ? !isOlderThan(own, answer) : own !== null && claimed > own;
    if (isDenial) this.#deny(now);
    return !isDenial;
  }

  /**
   * Takes in an event that came at `now`. It may have waited for us while this process slept: so it ends a claim and
   * names a leader, and never begins or extends anything.
   */
  pushed(event: LeadershipEvent, now: Millis): void {
    this.#cause = event.reason;
    const own = this.#claim?.fencingToken ?? null;
    const claimed = claimedBy(event);
    if (claimed !== null) {
      // Only an answer can say for how long; it is asked for at once.
      if (own !== null && claimed > own) this.#deny(now);
      return;
    }
    // It was overtaken by the answer that we claim by.
    if (isOlderThan(own, event)) return;
    this.#deny(now);
    this.#take(event);
  }

  /** The own term while it may be believed in, else null. */
  claim(now: Millis): Claim | null {
    return this.#claim !== null && now < this.#claim.validUntil ? this.#claim : null;
  }

  /** Up to when what is said now stays so by itself; null: nothing runs out. */
  changesAt(now: Millis): Millis | null {
    const claim = this.claim(now);
    if (claim !== null) return claim.validUntil;
    const nameUntil = this.#askedAt + nameValidForMs;
    return now < nameUntil ? nameUntil : null;
  }

  at(now: Millis): Leadership {
    const claim = this.claim(now);
    const answer = this.#answer;
    const fresh = now < this.#askedAt + nameValidForMs;
    const known = answer === null || !(fresh || claim !== null) ? null : answer;
    const role = known?.role ?? 'unknown';
    return {
      election: answer?.election ?? null,
      id: answer?.id ?? null,
      // The answer may have outlived its claim, and its claim a "no".
      role: claim !== null ? 'leader' : role === 'leader' ? 'unknown' : role,
      isLeader: claim !== null,
      leader: known === null ? null : this.#named(claim),
      fencingToken: claim?.fencingToken ?? null,
      cause: this.#cause,
    };
  }

  #named(claim: Claim | null): Leader | null {
    const own = this.#claim?.fencingToken;
    // Ourselves only while we claim; and while we claim nobody else.
    if (claim === null && this.#leader?.fencingToken === own) return null;
    if (claim === null && this.#answer?.role === 'leader') return null;
    return this.#leader;
  }

  #take(answer: LeaderAnswer): void {
    this.#answer = answer;
    this.#leader = leaderIn(answer);
  }

  #believe(fencingToken: bigint, answer: LeaderAnswer, sentAt: Millis): void {
    const { validForMs, heldForMs = validForMs } = answer;
    // A shorter hold that was asked for as well takes back nothing of a longer one.
    const heldBefore =
      this.#claim?.fencingToken === fencingToken ? this.#heldUntil : Number.NEGATIVE_INFINITY;
    this.#heldUntil = Math.max(heldBefore, sentAt + heldForMs);
    const validUntil = Math.min(sentAt + validForMs, this.#heldUntil);
    this.#claim = { fencingToken, validUntil };
  }

  #deny(now: Millis): void {
    this.#claim = null;
    this.#deniedAt = now;
  }
}
