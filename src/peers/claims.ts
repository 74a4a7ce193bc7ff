// Whether two members were seen to claim leadership at once, from answers that came one after the other. Pure, and
// careful: a claim that ended between two questions, as in every hand-over, is no second claim.
import type { Millis } from '../core/model.ts';

/**
 * The answers in a row in which a member claimed one and the same term. It claimed it at some moment of each exchange,
 * and so all the time from the end of the first to the beginning of the last.
 */
export interface ClaimSpan {
  readonly id: string;
  readonly fencingToken: string;
  /** When the first of these answers had come. */
  readonly from: Millis;
  /** When the question of the last one was sent. */
  readonly to: Millis;
}

/** What an answer adds to the span before it; null where the answer holds no claim. */
export function extended(
  before: ClaimSpan | null,
  id: string,
  fencingToken: string | null,
  { sentAt, receivedAt }: { readonly sentAt: Millis; readonly receivedAt: Millis },
): ClaimSpan | null {
  if (fencingToken === null) return null;
  const goesOn = before?.id === id && before.fencingToken === fencingToken;
  return { id, fencingToken, from: goesOn ? before.from : receivedAt, to: sentAt };
}

/** Two whose spans overlap, and when they last did; null where no two do. */
export function overlap(
  spans: readonly ClaimSpan[],
): { readonly ids: readonly [string, string]; readonly until: Millis } | null {
  for (const [index, one] of spans.entries()) {
    for (const other of spans.slice(index + 1)) {
      const until = Math.min(one.to, other.to);
      if (Math.max(one.from, other.from) < until) return { ids: [one.id, other.id], until };
    }
  }
  return null;
}
