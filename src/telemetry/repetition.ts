// Keeps the same trouble from filling the log: said once, then counted and said again at most every 30 seconds,
// and its end said once. Pure: the time is an argument.
import type { Millis } from '../core/model.ts';

/** Often enough to see that it still lasts, seldom enough to read everything else. */
export const repeatEveryMs = 30_000;

interface Happening {
  sayAgainAt: Millis;
  lastAt: Millis;
  /** How often it happened since it was last said. */
  unsaid: number;
  /** How often it happened since it began, and whether its beginning was said and its end not yet. */
  total: number;
  open: boolean;
}

/** One trouble of each key at a time. Keys are a small fixed set: operations and error codes. */
export class Repetition {
  readonly #happenings = new Map<string, Happening>();

  /** Counts a happening. Returns how many to say it for (1: just this one), or null: say nothing. */
  happened(key: string, now: Millis): number | null {
    const known = this.#happenings.get(key);
    if (known !== undefined && now < known.sayAgainAt) {
      known.lastAt = now;
      known.unsaid += 1;
      known.total += 1;
      return null;
    }
    const count = (known?.unsaid ?? 0) + 1;
    const total = known?.open === true ? known.total + 1 : count;
    const sayAgainAt = now + repeatEveryMs;
    this.#happenings.set(key, { sayAgainAt, lastAt: now, unsaid: 0, total, open: true });
    return count;
  }

  /** What was said to have begun and has not happened for `quietMs`: each once, with how often it happened. */
  ended(now: Millis, quietMs: number): readonly { readonly key: string; readonly total: number }[] {
    const over = [...this.#happenings].filter(
      ([, { open, lastAt }]) => open && now - lastAt >= quietMs,
    );
    return over.map(([key, happening]) => {
      const { total } = happening;
      // Kept, so that a trouble which comes and goes is still said at most every 30 seconds.
      Object.assign(happening, { open: false, unsaid: 0, total: 0 });
      return { key, total };
    });
  }
}
