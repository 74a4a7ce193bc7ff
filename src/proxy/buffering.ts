// Where connections and requests wait while there is nobody to send them to: so many at most, for so long at most, and
// in the order in which they came.
import type { Destination, Target } from './target.ts';

export type Refused = 'full' | 'timed_out' | 'closing';

export interface BufferingOptions {
  readonly destination: Destination;
  /** How many may wait. */
  readonly size: number;
  readonly windowMs: number;
}

interface Waiter {
  readonly settle: (result: Target | Refused) => void;
}

/** How often is looked at what no event tells of, while somebody waits. */
const lookEveryMs = 25;

export class Buffering {
  readonly windowMs: number;
  readonly #options: BufferingOptions;
  readonly #waiters = new Set<Waiter>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #closing = false;
  /** Of those who have waited: how many came through, and how many did not. */
  readonly ended = { passed: 0, full: 0, timed_out: 0, closing: 0 };

  constructor(options: BufferingOptions) {
    this.#options = options;
    this.windowMs = options.windowMs;
    options.destination.onChange(() => this.#look());
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  /** Who may be sent to: at once where nobody waits before. */
  ready(): Target | null {
    return this.#waiters.size === 0 ? this.#options.destination.ready() : null;
  }

  /** Calls `settle` once, `withinMs` milliseconds from now at the latest; the returned function gives up waiting. */
  wait(withinMs: number, settle: (result: Target | Refused) => void): () => void {
    const refused = this.#closing ? 'closing' : this.#isFull() ? 'full' : null;
    if (refused !== null) {
      this.ended[refused] += 1;
      settle(refused);
      return () => undefined;
    }
    const leave = (): void => {
      clearTimeout(bound);
      this.#waiters.delete(waiter);
    };
    const waiter: Waiter = {
      settle: (result) => {
        leave();
        this.ended[typeof result === 'string' ? result : 'passed'] += 1;
        settle(result);
      },
    };
    const bound = setTimeout(() => waiter.settle('timed_out'), withinMs);
    this.#waiters.add(waiter);
    this.#timer ??= setInterval(() => this.#seek(), lookEveryMs);
    this.#options.destination.seek();
    return leave;
  }

  /** Nobody waits any more. */
  close(): void {
    this.#closing = true;
    clearInterval(this.#timer);
    for (const waiter of this.#waiters) waiter.settle('closing');
  }

  #isFull(): boolean {
    return this.#waiters.size >= this.#options.size;
  }

  #seek(): void {
    if (this.#waiters.size > 0) {
      this.#options.destination.seek();
      this.#look();
      return;
    }
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    for (const waiter of this.#waiters) {
      const target = this.#options.destination.ready();
      if (target === null) return;
      waiter.settle(target);
    }
  }
}
