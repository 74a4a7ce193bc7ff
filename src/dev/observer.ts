// Watches from outside who leads, by asking every sidecar `GET /leader` over and over. Promises to
// notice each term that lasts longer than one round, and how long at most nobody led before it. It
// trusts answers, not processes: a leader is who answers 200 with the highest fencing token.
import { setTimeout as sleep } from 'node:timers/promises';
import { askLeader, type LeaderAnswer } from './leader-answer.ts';
import type { Place } from './stage.ts';

/** Between two questions while someone leads: idle cost stays near zero. */
const CALM_MS = 50;
/** Between two questions while nobody leads: this bounds the error of the gap that is shown. */
const EAGER_MS = 5;
/** A sidecar that has not answered by then counts as silent; far below the TTL. */
const ANSWER_BOUND_MS = 1_000;

/** One term, as seen from outside. */
export interface Reign {
  readonly place: Place;
  readonly fencingToken: bigint;
  /** Wall clock, for people. */
  readonly since: Date;
  /** Monotonic clock: the first answer 200. */
  readonly firstSeenMs: number;
  /** Monotonic clock: the latest answer 200. */
  lastSeenMs: number;
  readonly previous: { readonly id: string; readonly lastSeenMs: number } | null;
}

/** See the head of this file. */
export class Observer {
  readonly #answers = new Map<string, LeaderAnswer | null>();
  readonly #waiting = new Set<(reign: Reign) => void>();
  readonly #onReign: (reign: Reign) => void;
  #reign: Reign | null = null;
  #isStopped = false;
  #isEager = false;

  constructor(places: readonly Place[], onReign: (reign: Reign) => void) {
    this.#onReign = onReign;
    for (const place of places) void this.#follow(place);
  }

  /** The sidecar's latest answer; null when it was silent. */
  answerOf(place: Place): LeaderAnswer | null {
    return this.#answers.get(place.id) ?? null;
  }

  /** The latest term seen, whether or not its leader still answers. */
  get reign(): Reign | null {
    return this.#reign;
  }

  /** Whether the latest round of answers had a leader in it. */
  get isLed(): boolean {
    return [...this.#answers.values()].some((answer) => answer?.isLeader === true);
  }

  /** Asks as fast as it can from now on, where a gap of milliseconds is to be measured. */
  hurry(): void {
    this.#isEager = true;
  }

  /**
   * The first term with a higher token than that one.
   * @throws Error when there is none within the bound.
   */
  async reignAfter(token: bigint, boundMs: number): Promise<Reign> {
    if (this.#reign !== null && this.#reign.fencingToken > token) return this.#reign;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(found);
        reject(new Error(`no sidecar answered 200 on /leader within ${boundMs} ms`));
      }, boundMs);
      const found = (reign: Reign): void => {
        clearTimeout(timer);
        this.#waiting.delete(found);
        resolve(reign);
      };
      this.#waiting.add(found);
    });
  }

  stop(): void {
    this.#isStopped = true;
  }

  async #follow(place: Place): Promise<void> {
    while (!this.#isStopped) {
      const answer = await askLeader(place.sidecar.url, ANSWER_BOUND_MS);
      this.#answers.set(place.id, answer);
      if (answer?.isLeader === true && answer.fencingToken !== null) {
        this.#see(place, answer.fencingToken);
      }
      await sleep(this.isLed && !this.#isEager ? CALM_MS : EAGER_MS);
    }
  }

  #see(place: Place, fencingToken: bigint): void {
    const now = performance.now();
    const reign = this.#reign;
    if (reign?.fencingToken === fencingToken) {
      reign.lastSeenMs = now;
      return;
    }
    if (reign !== null && fencingToken < reign.fencingToken) return;
    this.#reign = {
      place,
      fencingToken,
      since: new Date(),
      firstSeenMs: now,
      lastSeenMs: now,
      previous: reign && { id: reign.place.id, lastSeenMs: reign.lastSeenMs },
    };
    this.#onReign(this.#reign);
    for (const found of this.#waiting) found(this.#reign);
  }
}

/** `12 ms`, `3.1 s`: a duration for people. */
export function describeMs(ms: number): string {
  return ms < 1000 ? `${Math.max(0, Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`;
}
