// Which election needs a person first: what is wrong with each, the worst on top, and who matches a search. Pure.
import type { OverviewRow } from './wire.ts';

/** What the page knows of one election, from polling and events. Times on the sidecar's wall clock, milliseconds. */
export interface Standing extends OverviewRow {
  /** Since when nobody is known to lead; null while somebody does. */
  readonly leaderlessSince: number | null;
  /** When the page saw the leader change, and how often; null: not since it was opened. */
  readonly changedAt: number | null;
  readonly changes: number;
  readonly twoClaims: readonly [string, string] | null;
}

export type Tone = 'bad' | 'warn' | 'ok';

export interface Concern {
  /** Higher is worse. */
  readonly rank: number;
  readonly tone: Tone;
  readonly label: string;
}

/** So many changes of leader while the page was open are flapping. */
const flapping = 3;
/** A change is worth a look for so long. */
const recentMs = 600_000;

export function concernOf(standing: Standing, nowMs: number): Concern {
  const { leader, role, candidates, paused, obstacle, changedAt, changes } = standing;
  if (standing.twoClaims !== null) return { rank: 9, tone: 'bad', label: 'two claims' };
  if (leader === null && role === 'unknown') return { rank: 8, tone: 'bad', label: 'not known' };
  if (leader === null) return { rank: 7, tone: 'bad', label: 'no leader' };
  if (changes >= flapping) return { rank: 6, tone: 'warn', label: `${changes} changes` };
  if (paused) return { rank: 5, tone: 'warn', label: 'paused' };
  if (changedAt !== null && nowMs - changedAt < recentMs) {
    return { rank: 4, tone: 'warn', label: 'just changed' };
  }
  if (candidates < 2) return { rank: 3, tone: 'warn', label: 'no successor' };
  if (obstacle !== null) return { rank: 2, tone: 'ok', label: 'stands aside here' };
  return { rank: 0, tone: 'ok', label: 'fine' };
}

/** Who leads, for a list and a title. */
export const leaderWords = ({ leader, role }: Standing): string =>
  leader?.id ?? (role === 'unknown' ? 'not known who leads' : 'nobody leads');

const byName = new Intl.Collator('en', { numeric: true });

/** Worst first; among the leaderless the longest first; then by name, numbers in it as numbers. */
export function worstFirst(standings: readonly Standing[], nowMs: number): readonly Standing[] {
  return standings
    .map((standing) => ({ standing, rank: concernOf(standing, nowMs).rank }))
    .sort(
      (a, b) =>
        b.rank - a.rank ||
        (a.standing.leaderlessSince ?? 0) - (b.standing.leaderlessSince ?? 0) ||
        byName.compare(a.standing.election, b.standing.election),
    )
    .map(({ standing }) => standing);
}

/** Every word of the search stands in the election's name, its leader's id, or the label of what is wrong. */
export function matches(standing: Standing, search: string, nowMs: number): boolean {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return true;
  const { election, leader } = standing;
  const text = `${election} ${leader?.id ?? ''} ${concernOf(standing, nowMs).label}`.toLowerCase();
  return words.every((word) => text.includes(word));
}
