// The witness's half of fast failover (docs/adr/0013): a candidate hears the leader of a term ping, and promises with
// each acknowledgement not to depose that term for a while. Promises that it deposes nobody before the longest of its
// promises is over by its own clock, and nobody whom it was not told, by a ping, to stand as a witness for. A pure
// machine of its own: whether a ping may be acknowledged at all, its caller says (failover.ts).
import type { Enlistment, FencingToken, Millis, Ping, Revision } from './model.ts';
import { assert } from './assert.ts';
import { shortRetryMs, staggerMs } from './timing.ts';

/** What a candidate has heard of the term of the leader, and promised to it. */
export interface Vigil {
  readonly term: FencingToken;
  /** Of the newest ping that was acknowledged. */
  readonly sequence: number;
  readonly forMs: number;
  /** When that was. */
  readonly lastHeardAt: Millis;
  /** Not before this is the term deposed. */
  readonly promisedUntil: Millis;
  readonly enlisted: Enlistment | null;
  /** A deposition under way, and when it is asked for again (null while an attempt is under way). */
  readonly deposing: {
    readonly at: Revision;
    readonly failures: number;
    readonly retryAt: Millis | null;
  } | null;
}

/**
 * Takes in a ping that may be acknowledged. It is acknowledged, by a promise that counts from `now`, where the answer is
 * another vigil than before: not while we depose, and not one that is older than what was acknowledged.
 */
export function hear(vigil: Vigil | null, ping: Ping, marginMs: number, now: Millis): Vigil {
  const { term, sequence, forMs } = ping;
  const before = vigil?.term === term ? vigil : null;
  if (before !== null && (before.deposing !== null || sequence <= before.sequence)) return before;
  const promisedUntil = Math.max(
    before?.promisedUntil ?? Number.NEGATIVE_INFINITY,
    now + forMs + marginMs,
  );
  const { enlisted } = ping;
  return { term, sequence, forMs, lastHeardAt: now, promisedUntil, enlisted, deposing: null };
}

/** When the term is to be deposed, where nothing more is heard: later for each who may do it first. */
export function deposeAt(vigil: Vigil): Millis {
  const { enlisted, deposing, promisedUntil, forMs } = vigil;
  if (deposing !== null) return deposing.retryAt ?? Number.POSITIVE_INFINITY;
  if (enlisted === null) return Number.POSITIVE_INFINITY;
  return promisedUntil + enlisted.ahead * staggerMs(forMs);
}

/** Begins to depose, or tries once more; from now on nothing is acknowledged until the outcome is known. */
export function depose(vigil: Vigil): Vigil & { readonly deposing: { readonly at: Revision } } {
  const at = vigil.deposing?.at ?? vigil.enlisted?.at;
  assert(at !== undefined, 'only who was told to be a witness deposes');
  const failures = vigil.deposing?.failures ?? 0;
  return { ...vigil, deposing: { at, failures, retryAt: null } };
}

/** Whether it was done is not known, or what stood in its way was not the record: it is asked for again, with longer pauses. */
export function deposeLater(vigil: Vigil, at: Revision, now: Millis): Vigil {
  if (vigil.deposing?.at !== at) return vigil;
  const failures = vigil.deposing.failures + 1;
  const retryAt = now + shortRetryMs(vigil.forMs, failures);
  return { ...vigil, deposing: { at, failures, retryAt } };
}

/**
 * It was refused, and the term goes on. Where the record lists us still under the same enlistment it was only written since,
 * or somebody between us and the leader has gone: it is asked for again. Else we serve as anybody who was told nothing yet.
 */
export function refused(
  vigil: Vigil,
  at: Revision,
  listed: Pick<Enlistment, 'at' | 'number'> | null,
  now: Millis,
): Vigil {
  if (vigil.deposing?.at !== at) return vigil;
  const { enlisted } = vigil;
  const same = listed !== null && enlisted !== null && listed.number === enlisted.number;
  if (same && listed.at === at) return deposeLater(vigil, at, now);
  if (same) return { ...vigil, deposing: { at: listed.at, failures: 0, retryAt: now } };
  return { ...vigil, enlisted: null, deposing: null, promisedUntil: Number.NEGATIVE_INFINITY };
}
