// How late the event loop runs: the worst lateness of a regular timer within the last seconds, and the lateness of the
// one that is due right now. A loop that is blocked cannot answer; this tells the answer after it.
import type { Millis } from '../core/model.ts';

/** Often enough to see a block that could cost a round of renewals, rare enough to cost nothing. */
const beatEveryMs = 200;
/** How long a delay is remembered: longer than a usual interval between health checks. */
const rememberedMs = 15_000;

export class LoopDelay {
  readonly #now: () => Millis;
  readonly #timer: NodeJS.Timeout;
  #lastBeat: Millis;
  #worst = { lateMs: 0, at: 0 };

  constructor(clock: { now(): Millis }) {
    this.#now = () => clock.now();
    this.#lastBeat = clock.now();
    this.#timer = setInterval(() => this.beat(), beatEveryMs).unref();
  }

  /** Called by a regular timer: notes how late it is. */
  beat(): void {
    const now = this.#now();
    this.#note(now - this.#lastBeat - beatEveryMs, now);
    this.#lastBeat = now;
  }

  /** The worst delay of the last quarter of a minute, in milliseconds. */
  worstMs(): number {
    const now = this.#now();
    const presentMs = Math.max(0, now - this.#lastBeat - beatEveryMs);
    const past = now - this.#worst.at < rememberedMs ? this.#worst.lateMs : 0;
    return Math.max(presentMs, past);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #note(lateMs: number, now: Millis): void {
    const forgotten = now - this.#worst.at >= rememberedMs;
    if (forgotten || lateMs >= this.#worst.lateMs)
      this.#worst = { lateMs: Math.max(0, lateMs), at: now };
  }
}
