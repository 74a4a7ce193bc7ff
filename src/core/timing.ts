// Every interval and bound that follows from the TTL, in one place, each with the reason for its relation.
import type { Millis } from './model.ts';

/** What the machines need to know of the settings; all in milliseconds. */
export interface Timing {
  /** The TTL that is asked for; what etcd grants is what counts afterwards. */
  readonly ttlMs: number;
  /** Cut off every lease on our side, for clocks that run at different rates. */
  readonly marginMs: number;
  /**
   * How long to wait after a predecessor vanished without resigning. `evidence`: not at all where its lease is seen to have
   * run out, else as long as that may have lasted; `auto`: always as long.
   */
  readonly takeoverDelayMs: number | 'auto' | 'evidence';
  /** The most that a planned step-down may take before the key is released. */
  readonly graceMs: number;
  /**
   * How long before a lease runs out a term is ended where something beside us must stop first (a child that
   * is asked before it is killed); 0 where nothing must.
   */
  readonly stopLeadMs: number;
  /** The short lease that a leader holds with its witnesses; null where there is none, and a crash costs a TTL. */
  readonly fastFailoverMs: number | null;
}

/**
 * A round of renewal and observation starts this often. A fifth of the TTL leaves four more rounds after a
 * lost one, so that an etcd election (about 1 s) fits into a TTL of 5 s more than three times over.
 */
export const roundEveryMs = (ttlMs: number): number => ttlMs / 5;

/**
 * Whoever asks etcd gives up after this. A quarter of the TTL: a lost request leaves time for the rounds behind it. At least
 * 500 ms, which a busy etcd may need for a write to disk; at most 2 s, so that a silent endpoint is noticed under long TTLs too.
 */
export const attemptMs = (ttlMs: number): number => Math.min(Math.max(ttlMs / 4, 500), 2000);

/** While etcd is out of reach rounds follow each other at least this fast: its return is noticed soon. */
const searchingEveryMs = 250;

/** How long after the start of a round the next one starts; `searching` once our knowledge has run out. */
export const nextRoundMs = (ttlMs: number, searching: boolean): number =>
  searching ? Math.min(searchingEveryMs, roundEveryMs(ttlMs)) : roundEveryMs(ttlMs);

/**
 * Until when something that was true at `sentAt` may be relied upon: etcd counts from when it received the
 * request, we count from before we sent it, and stop a margin earlier.
 */
export const reliableUntil = (sentAt: Millis, ttlMs: number, marginMs: number): Millis =>
  sentAt + ttlMs - marginMs;

/** The first retry after a failure comes this soon: well above a round trip, well below a round. */
const retryBaseMs = 50;

/**
 * The pause before retry number `failures` (1, 2, …): doubling, at most a round, and jittered down by up to a
 * half so that many sidecars do not return in step. `jitter` is in [0, 1).
 */
export function retryDelayMs(failures: number, ttlMs: number, jitter: number): number {
  const doubled = retryBaseMs * 2 ** Math.min(failures - 1, 10);
  return Math.min(doubled, roundEveryMs(ttlMs)) * (1 - jitter / 2);
}

/**
 * After so many failures in a row to release a key, while etcd answers everything else, the lease is given up: a second or
 * two of refusals, two TTLs of silence. Nobody else leads before.
 */
export const mostReleaseFailures = 6;

/** After so many the key is released for whoever is next, even where a successor was named. */
export const mostSuccessionFailures = 2;

/** A new leader says so in etcd this much later: nothing is to compete with its first answers. */
export const proclaimAfterMs = 10;

/** Who steps down says so this much later: nothing is to compete with a release that follows at once. */
export const concedeAfterMs = 10;

/** A lease is revoked this long after the last key was released: nothing is to compete with the hand-over. */
export const revokeAfterMs = 25;

/** How long a candidate of higher priority must have been healthy and in the queue before a leader makes way. */
export const settlingMs = (ttlMs: number): number => Math.max(5000, 2 * ttlMs);

/** Leadership goes back to a preferred candidate at most once in this window, so that it cannot flap. */
export const failbackWindowMs = 60_000;

/** A term that the app's own fault ends within this was a bad one. */
export const badTermMs = 60_000;

/** How long to stand back after the bad term number `badTerms` (1, 2, …) in a row: 5 s, doubling, at most a minute. */
export const standBackMs = (badTerms: number): number =>
  Math.min(5000 * 2 ** Math.min(badTerms - 1, 10), 60_000);

/** A leader pings its witnesses this often: three pings in a row may be lost before one of them is dismissed. */
export const pingEveryMs = (shortMs: number): number => shortMs / 8;

/** The next moment to ping after `now`, the same for all elections of a process: those for one witness go in one message. */
export const nextPingAt = (shortMs: number, now: Millis): Millis =>
  (Math.floor(now / pingEveryMs(shortMs)) + 1) * pingEveryMs(shortMs);

/** The pause before retry number `failures` of what a short lease depends on: doubling, at most four short leases. */
export const shortRetryMs = (shortMs: number, failures: number): number =>
  pingEveryMs(shortMs) * 2 ** Math.min(failures - 1, 5);

/**
 * A witness that has acknowledged nothing for so long is dismissed: half of the short lease leaves a quarter for etcd's
 * answer, and a quarter for what must stop beside us, where something must.
 */
export const dismissAfterMs = (shortMs: number, stopLeadMs: number): number =>
  (shortMs - stopLeadMs / 2) / 2;

/** Who is enlisted has acknowledged a ping that was sent no longer ago: time enough to dismiss it again. */
export const enlistWithinMs = (shortMs: number): number => shortMs / 4;

/** How much later each further witness acts: the nearest is to have time to be the one. */
export const staggerMs = (shortMs: number): number => shortMs / 4;

/** How long who was dismissed is not enlisted: doubling, at most 64 times a short lease. */
export const standDownMs = (shortMs: number, dismissals: number): number =>
  (shortMs / 4) * 2 ** Math.min(dismissals, 8);

/** Who has served for so long was dismissed for a reason of its own. */
export const servedWellMs = (shortMs: number): number => 256 * shortMs;

/** What a timer, the event loop and the grain of a clock may cost a short lease, at any length. */
const grainMs = 10;

/** A witness waits so much longer than the short lease: clocks differ by a ratio, and timers by a constant. */
export const shortMarginMs = (shortMs: number, { marginMs, ttlMs }: Timing): number =>
  (shortMs * marginMs) / ttlMs + grainMs;
