// Asks one path again and again, never twice at once, each time within a bound: for what events do not carry.
import { beside } from './address.ts';

export interface PollOptions {
  readonly everyMs: () => number;
  /** Beside the page; null: nothing to ask now. */
  readonly path: () => string | null;
  /** The body of an answer; `path` says what it is the answer to. */
  readonly take: (body: unknown, path: string) => void;
  /** No answer in time, or one that is none. */
  readonly failed: () => void;
}

const timeoutMs = 1500;
/** Wishes for an answer right now are met at most this often. */
const soonestMs = 200;

/** Anything that the sidecar answers in JSON is a word of its, a 503 of `/health` too; a problem is not the answer. */
async function get(path: string): Promise<unknown> {
  const answer = await fetch(beside(path), {
    headers: { Accept: 'application/json' },
    signal: AbortSignal.timeout(timeoutMs),
    redirect: 'error',
  });
  const isJson = answer.headers.get('content-type')?.startsWith('application/json') === true;
  return isJson ? await answer.json() : null;
}

export class Poll {
  readonly #options: PollOptions;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asking = false;
  #wanted = false;
  #asleep = false;

  constructor(options: PollOptions) {
    this.#options = options;
  }

  /** Asks now, and regularly from now on. */
  soon(afterMs = 0): void {
    this.#asleep = false;
    if (this.#asking) this.#wanted = true;
    else this.#plan(afterMs);
  }

  sleep(): void {
    this.#asleep = true;
    clearTimeout(this.#timer);
  }

  #plan(afterMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#ask(), afterMs);
  }

  async #ask(): Promise<void> {
    const path = this.#options.path();
    if (path !== null) {
      this.#asking = true;
      try {
        const body = await get(path);
        if (body !== null) this.#options.take(body, path);
      } catch {
        this.#options.failed();
      }
      this.#asking = false;
    }
    const afterMs = this.#wanted ? soonestMs : this.#options.everyMs();
    this.#wanted = false;
    if (!this.#asleep) this.#plan(afterMs);
  }
}
