// The one way to do something over and over: a loop that can be stopped and woken, and waits longer after failures.
// It promises that no round begins once it was stopped, and that there is never more than one at a time.
import type { Millis } from '../core/model.ts';
import type { Clock } from '../ports.ts';

export class Loop {
  readonly #clock: Pick<Clock, 'now' | 'at'>;
  #running = true;
  #wakes = 0;
  #endWait: () => void = () => undefined;

  constructor(clock: Pick<Clock, 'now' | 'at'>) {
    this.#clock = clock;
  }

  /** False once it was stopped, be it before `run`. A method: the compiler takes a field for unchanged across an await. */
  isRunning(): boolean {
    return this.#running;
  }

  /**
   * Runs `round` until it is stopped; a round says for how many milliseconds to wait before the next, which is no wait
   * where it was woken meanwhile. IO has its turn between two rounds in any case. Rejects with what a round throws.
   */
  async run(round: () => Promise<number> | number): Promise<void> {
    while (this.isRunning()) {
      const wakes = this.#wakes;
      const waitMs = await round();
      if (this.isRunning()) await this.#wait(this.#wakes === wakes ? waitMs : 0);
    }
  }

  /** Ends the wait, for good; a round that is under way ends by itself. */
  stop(): void {
    this.#running = false;
    this.#endWait();
  }

  /** The next round begins at once, or as soon as the one that is under way has ended. */
  wake(): void {
    this.#wakes += 1;
    this.#endWait();
  }

  #wait(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const until: Millis = this.#clock.now() + waitMs;
      const cancel = this.#clock.at(until, resolve);
      this.#endWait = () => {
        cancel();
        resolve();
      };
    });
  }
}

/** The wait after a failure, in milliseconds: doubles from the first to the longest. */
export interface Backoff {
  readonly firstMs: number;
  readonly longestMs: number;
}

/** More doublings than any backoff has, and few enough for a number. */
const mostDoublings = 30;

/**
 * How long to wait after so many failures in a row, one at least. Between half of it and all of it, by `random` (0 to 1,
 * as Math.random): those who failed together do not come back together.
 */
export const backoffMs = (
  { firstMs, longestMs }: Backoff,
  failures: number,
  random: () => number,
): number =>
  Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, mostDoublings)) *
  (0.5 + 0.5 * random());
