// Whether the newest term on record goes on, and until when that is known: what the record says, and what the head of the
// page says, must not be two things. Pure.
import type { Details } from './knowledge.ts';
import type { Standing } from './ranking.ts';

export interface Present {
  /** `leads` at this moment; `unknown`: led when last heard of; `over`, though its end is not on record yet. */
  readonly newest: 'leads' | 'unknown' | 'over';
  /** The last moment, on the sidecar's wall clock, of which anything is known: nothing is drawn beyond it. */
  readonly untilMs: number;
}

export interface Moment {
  /** On the page's monotonic clock. */
  readonly now: number;
  /** On the sidecar's wall clock. */
  readonly wallNow: number;
  /** How long the sidecar has said nothing, where what is shown may be wrong; else null. */
  readonly staleForMs: number | null;
}

export function presentOf(
  standing: Standing | null,
  { status, history }: Details,
  { now, wallNow, staleForMs }: Moment,
): Present {
  const newest = history?.value.terms[0];
  const unknown = standing === null || (standing.leader === null && standing.role === 'unknown');
  if (staleForMs !== null) return { newest: 'unknown', untilMs: wallNow - staleForMs };
  if (unknown) {
    const ageMs = status?.value.observedAgeMs ?? null;
    const observed =
      status === null || ageMs === null ? wallNow : wallNow - ageMs - (now - status.at);
    return { newest: 'unknown', untilMs: observed };
  }
  if (standing.leader === null)
    return { newest: 'over', untilMs: standing.leaderlessSince ?? wallNow };
  // The record of a new term comes a moment after its beginning, and the newest on record is then the one before.
  const leads = standing.leader.fencingToken === newest?.fencingToken;
  return leads
    ? { newest: 'leads', untilMs: wallNow }
    : {
        newest: 'over',
        untilMs: Math.min(wallNow, Date.parse(standing.leader.since ?? '') || wallNow),
      };
}
