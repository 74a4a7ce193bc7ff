// How the time that a term leaves to what stands beside it is divided: asking first, killing while there is still time
// to die. Each bound says what it relates to.
import type { Millis } from '../core/model.ts';

/**
 * How long before the lease runs out a term ends where a child or a step-down hook must stop first. A quarter of the
 * TTL leaves the renewals of the first three quarters, so that a single lost round does not cost the term; more than
 * 2 s would only make long leases shorter than they need to be. With fast failover the short lease is the one that counts.
 * 0 where nothing has to stop.
 */
export const stopLeadMsFor = (
  ttlMs: number,
  fastFailoverMs: number | null,
  somethingStops: boolean,
): number => (somethingStops ? Math.min((fastFailoverMs ?? ttlMs) / 4, 2000) : 0);

/** At most so long before the end is killed what was asked in vain: a process with much memory takes a while to die. */
const mostDyingMs = 1000;

/** When to kill what must be gone at `mustStopBy`: a quarter of the time left before that, at most a second. */
export const lastKillAt = (mustStopBy: Millis, now: Millis): Millis =>
  mustStopBy - Math.min(mostDyingMs, Math.max(0, mustStopBy - now) / 4);

/** Between SIGTERM and SIGKILL to a hook that is over its time. */
const hookObeysWithinMs = 200;

export interface HookLimits {
  /** When it is asked to end, which counts as a timeout. */
  readonly endAt: Millis;
  /** When it is killed, in vain asked. */
  readonly killAt: Millis;
}

/** The limits of a hook that has all of `--hook-timeout`. */
export const freeLimits = (now: Millis, timeoutMs: number): HookLimits => ({
  endAt: now + timeoutMs,
  killAt: now + timeoutMs + hookObeysWithinMs,
});

/** The limits of a hook that must be gone at `mustStopBy` as well. */
export function boundLimits(now: Millis, timeoutMs: number, mustStopBy: Millis): HookLimits {
  const last = lastKillAt(mustStopBy, now);
  const endAt = Math.min(now + timeoutMs, last);
  return { endAt, killAt: Math.min(endAt + hookObeysWithinMs, (last + mustStopBy) / 2) };
}

/** When to kill an on-elected hook whose term ends: the step-down hook waits for that. */
export const supersededAt = (now: Millis, mustStopBy: Millis): Millis =>
  Math.min(now + hookObeysWithinMs, lastKillAt(mustStopBy, now));
