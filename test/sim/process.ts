// One process as an operating system runs it: a clock of its own rate that never shows the same moment twice, timers
// that are a little early or late, messages that are handed over one at a time; it may be paused, whereupon everything waits and comes at once, in any order.
import type { Millis } from '../../src/core/model.ts';
import type { Clock } from '../../src/ports.ts';
import type { Random } from './random.ts';
import type { Planned, Scheduler } from './scheduler.ts';

/** The wall clock of every process when its world begins; it decides nothing. */
const wallStart = Date.parse('2026-11-20T21:00:00.000Z');

/** How much a clock has moved on at least when it is looked at again: no two looks see the same moment. */
const betweenLooksMs = 0.0005;
/** Now and then the processor was elsewhere in between. */
const interruptedEvery = 16;
const interruptedForMs = 0.25;
/** A turn takes no time in this world: so much may its clock be ahead for what the turn would have taken. */
export const mostAheadMs = 1;
/** How early a timer may fire: Node counts from the start of a turn of its loop, in whole milliseconds. */
const timerEarlyByMs = 1;

export class Process implements Clock {
  /** How fast its clock runs: 1 is etcd's rate. */
  readonly rate: number;
  alive = true;
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #startedAt: number;
  readonly #offset: number;
  readonly #afterTurn: () => void;
  /** How late a timer may be: Node rounds up to whole milliseconds, and the loop is busy. */
  readonly #timerLateByMs: number;
  #paused = false;
  /** What a pause has held back and what has not yet been handed over since. */
  #backlog: (() => void)[] = [];
  #handingOver = 0;
  #resumedAt = Number.NEGATIVE_INFINITY;
  #lastLook = Number.NEGATIVE_INFINITY;
  #looks = 0;

  constructor(
    scheduler: Scheduler,
    random: Random,
    { rate, timerLateByMs }: { readonly rate: number; readonly timerLateByMs: number },
    afterTurn: () => void,
  ) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.rate = rate;
    this.#startedAt = scheduler.now;
    this.#offset = random.between(0, 1e6);
    this.#afterTurn = afterTurn;
    this.#timerLateByMs = timerLateByMs;
  }

  now(): Millis {
    this.#looks += 1;
    const shown = this.#shown();
    const interrupted = this.#lastLook + interruptedForMs;
    const isInterrupted = this.#looks % interruptedEvery === 0 && interrupted < shown + mostAheadMs;
    this.#lastLook = Math.max(shown, isInterrupted ? interrupted : this.#lastLook + betweenLooksMs);
    return this.#lastLook;
  }

  /** What its clock showed last, or more, for a judge whose look must not move it. */
  latest(): Millis {
    return Math.max(this.#shown(), this.#lastLook);
  }

  #shown(): Millis {
    return this.#offset + (this.#scheduler.now - this.#startedAt) * this.rate;
  }

  at(at: Millis, run: () => void): () => void {
    const lateMs = this.#random.between(-timerEarlyByMs, this.#timerLateByMs);
    return this.timer(at - this.now() + lateMs, run);
  }

  wallTimeOf(at: Millis): string {
    return new Date(wallStart + this.trueTimeOf(at)).toISOString();
  }

  /** The true time at which this process's clock shows `at`. */
  trueTimeOf(at: Millis): number {
    return this.#startedAt + (at - this.#offset) / this.rate;
  }

  /** Runs once after `delayMs` of this process's clock, or later where the process is paused. */
  timer(delayMs: number, run: () => void): () => void {
    let cancelled = false;
    const planned: Planned = this.#scheduler.after(Math.max(0, delayMs) / this.rate, () =>
      this.deliver(() => {
        if (!cancelled) run();
      }),
    );
    return () => {
      cancelled = true;
      planned.cancel();
    };
  }

  /** Hands something over to this process as one turn of its event loop: now, or when its pause is over. */
  deliver(run: () => void): void {
    if (!this.alive) return;
    if (this.#paused) {
      this.#backlog.push(run);
      return;
    }
    run();
    this.#afterTurn();
  }

  /** Paused, or still catching up with what a pause held back, timers included. */
  isBehind(): boolean {
    if (this.#paused || this.#handingOver > 0) return true;
    return this.#scheduler.now < this.#resumedAt + 2 * this.#timerLateByMs;
  }

  isRunning(): boolean {
    return this.alive && !this.#paused;
  }

  pause(): void {
    this.#paused = true;
  }

  /** Everything that was held back is handed over, in any order; whoever asks in between is answered. */
  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#resumedAt = this.#scheduler.now;
    const backlog = this.#random.shuffle(this.#backlog);
    this.#backlog = [];
    this.#handingOver += backlog.length;
    for (const run of backlog) {
      this.#scheduler.at(this.#scheduler.now, () => {
        this.#handingOver -= 1;
        if (this.#paused) this.#backlog.push(run);
        else this.deliver(run);
      });
    }
    this.#afterTurn();
  }

  /** SIGKILL: nothing runs here ever again. */
  kill(): void {
    this.alive = false;
    this.#backlog = [];
  }
}
