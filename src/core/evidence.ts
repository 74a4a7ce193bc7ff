// Whether a lease ran out or was taken away: what etcd has said of its time to live decides, by the clock and never by
// what somebody believes. An answer says that the lease cannot run out before the moment of its question plus the rest
// that it names. A key that goes while every answer allows it, the newest of them fresh, went with a lease that ran out,
// and its holder has stopped before. A live leader renews every fifth of its TTL, so that its newest answers lie far ahead.
import type { LeaseId, Millis } from './model.ts';
import { roundEveryMs } from './timing.ts';

/** An answer that counts: of a member of etcd whose linearizable read, asked after it, was of the same term of etcd's. */
export interface TimeToLive {
  readonly leaseId: LeaseId;
  /** Before the question was sent. */
  readonly askedAt: Millis;
  /** As etcd says it, rounded down to whole seconds. */
  readonly remainingMs: number;
  readonly grantedMs: number;
  /** The term of etcd's own leader, in which it was given. */
  readonly etcdTerm: string;
}

/** All that the answers about one lease say together. */
export interface Evidence {
  readonly leaseId: LeaseId;
  readonly grantedMs: number;
  /** When the newest of them was asked for, and what was left then. */
  readonly askedAt: Millis;
  readonly remainingMs: number;
  /** Before this the lease cannot have run out, by any of them. */
  readonly notBefore: Millis;
  /** The holder's last sign of life: when it is known to have renewed the lease. For people; it decides nothing. */
  readonly aliveAt: Millis;
  readonly etcdTerm: string;
  /** A renewal before this may have been none: etcd lengthened the lease when its leader changed. */
  readonly doubtedUntil: Millis;
}

/** Takes in an answer. etcd lengthens leases when its leader changes, which the next renewal takes back: so no more than was granted. */
export function learn(known: Evidence | undefined, answer: TimeToLive): Evidence {
  const { leaseId, askedAt, grantedMs, etcdTerm } = answer;
  const remainingMs = Math.min(answer.remainingMs, grantedMs);
  const notBefore = Math.max(known?.notBefore ?? askedAt, askedAt + remainingMs);
  if (known !== undefined && known.askedAt > askedAt) return { ...known, notBefore };
  const renewedAt = askedAt + remainingMs - grantedMs;
  const signs = signsOf(known, renewedAt, etcdTerm);
  return { leaseId, grantedMs, askedAt, remainingMs, notBefore, ...signs };
}

/** How much later a renewal must be than what etcd showed first in a new term: the rest is told in whole seconds, and late. */
const surelyLaterMs = 2000;

/** Only what was renewed within one term of etcd's is a sign of life: the next leader of etcd lengthens every lease, the dead's too. */
function signsOf(
  known: Evidence | undefined,
  renewedAt: Millis,
  etcdTerm: string,
): Pick<Evidence, 'aliveAt' | 'etcdTerm' | 'doubtedUntil'> {
  if (known === undefined) {
    return { aliveAt: renewedAt, etcdTerm, doubtedUntil: Number.NEGATIVE_INFINITY };
  }
  const { aliveAt } = known;
  if (etcdTerm !== known.etcdTerm) {
    return { aliveAt, etcdTerm, doubtedUntil: renewedAt + surelyLaterMs };
  }
  const { doubtedUntil } = known;
  const isSure = renewedAt > doubtedUntil;
  return { aliveAt: isSure ? Math.max(aliveAt, renewedAt) : aliveAt, etcdTerm, doubtedUntil };
}

/** Asked for the smaller of the two TTLs: whose own is long must not be late for a short one. */
const paceOf = (ownTtlMs: number, known: Evidence | undefined): number =>
  Math.min(ownTtlMs, known?.grantedMs ?? ownTtlMs);

/** How old the newest answer may be: two dense rounds, and a tenth for timers that are late. */
const freshForMs = (paceMs: number): number => paceMs * 0.11 + 5;

/** How a lease ended whose key is gone: `taken_away` by what etcd has said; `unknown` where nobody can say. */
export type Verdict = 'ran_out' | 'taken_away' | 'unknown';

/** Judges a lease whose key is seen to be gone at `now`. */
export function judge(known: Evidence | undefined, ownTtlMs: number, now: Millis): Verdict {
  if (known === undefined) return 'unknown';
  if (now < known.notBefore) return 'taken_away';
  return now - known.askedAt <= freshForMs(paceOf(ownTtlMs, known)) ? 'ran_out' : 'unknown';
}

/**
 * How long after a question the next one is due: a round where all is well; a twentieth of the TTL where the holder has
 * missed a renewal, or nothing was heard for a while, so that the newest answer is fresh when the key goes.
 */
export function askAgainMs(known: Evidence | undefined, ownTtlMs: number, now: Millis): number {
  const paceMs = paceOf(ownTtlMs, known);
  const well =
    known !== undefined &&
    known.remainingMs >= 0.6 * known.grantedMs - 1000 &&
    now - known.askedAt <= 0.3 * known.grantedMs;
  return well ? roundEveryMs(paceMs) : paceMs / 20;
}
