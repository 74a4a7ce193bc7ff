// Waiting for a condition in a test: asked again every few milliseconds, with a bound, and with the
// last reason in the error. Nothing here lets time pass for its own sake.
import { setTimeout as delay } from 'node:timers/promises';

/** What is waited for, and for how long at most. */
export interface Bound {
  readonly withinMs: number;
  /** What should come true, for the error message: `a leader among three`. */
  readonly what: string;
}

/** Small against everything a test measures by polling, large against what a question costs. */
const pollEveryMs = 5;

/** A value that ends the waiting. */
export type Met<T> = Exclude<T, false | null | undefined>;

function described(last: unknown): string {
  if (last instanceof Error) return last.message;
  return last === undefined ? 'nothing' : JSON.stringify(last);
}

/** Awaits `work`, but rejects at `deadline` (of `performance.now()`) with `late()`. */
async function before<T>(deadline: number, work: Promise<T>, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const alarm = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), Math.max(0, deadline - performance.now()));
  });
  try {
    return await Promise.race([work, alarm]);
  } finally {
    clearTimeout(timer);
  }
}

/** Awaits `work`, which must end within the bound. */
export function within<T>(work: Promise<T>, bound: Bound): Promise<T> {
  const late = (): Error => new Error(`${bound.what}: not within ${bound.withinMs} ms`);
  return before(performance.now() + bound.withinMs, work, late);
}

/**
 * Asks `check` until it answers something other than false, null or undefined, and resolves to that.
 * A check that throws, or hangs, counts as not met.
 *
 * @throws Error naming what was waited for and the last answer or error, after `withinMs`.
 */
export async function eventually<T>(
  check: () => T | Promise<T>,
  bound: Bound,
): Promise<Met<Awaited<T>>> {
  const deadline = performance.now() + bound.withinMs;
  let last: unknown;
  const late = (): Error =>
    new Error(`${bound.what}: not within ${bound.withinMs} ms; last: ${described(last)}`, {
      cause: last,
    });
  for (;;) {
    try {
      const attempt = (async () => check())();
      attempt.catch(() => undefined);
      const answer = await before(deadline, attempt, late);
      if (answer !== false && answer !== null && answer !== undefined) {
        return answer as Met<Awaited<T>>;
      }
      last = answer;
    } catch (error) {
      if (performance.now() < deadline) last = error;
    }
    if (performance.now() >= deadline) throw late();
    await delay(pollEveryMs);
  }
}
