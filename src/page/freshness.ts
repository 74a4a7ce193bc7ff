// How old what the page shows is, and what that means. Pure. A page that looks alive and is not would be worse than none.

/** `connecting`: nothing has come yet. `quiet`: a word is overdue. `stale`: what is shown may be wrong. */
export type Freshness = 'connecting' | 'live' | 'quiet' | 'stale';

export interface Words {
  /** When the sidecar last said anything, on the page's own clock; null before the first word. */
  readonly lastWordAt: number | null;
  /** When the page began to ask. */
  readonly since: number;
  /** Whether the stream of `/peers` flows, which says something every 150 ms; else the page only polls. */
  readonly streams: boolean;
  /** The stream has just broken off, as it does when a process dies: nothing needs to be waited for. */
  readonly broken: boolean;
}

/** Two ticks in a row are missing: most often a stall, but a sidecar that was paused shows first like this. */
const quietAfterMs = 400;
const staleAfterMs = 2000;
/** Where only polling is left: three polls, and some. */
const pollQuietAfterMs = 4000;
const pollStaleAfterMs = 7000;

export function freshnessOf({ lastWordAt, since, streams, broken }: Words, now: number): Freshness {
  const ageMs = now - (lastWordAt ?? since);
  if (ageMs >= (streams || lastWordAt === null ? staleAfterMs : pollStaleAfterMs)) return 'stale';
  if (lastWordAt === null) return 'connecting';
  return broken || ageMs >= (streams ? quietAfterMs : pollQuietAfterMs) ? 'quiet' : 'live';
}
