// The clock of this process: monotonic, and counting through a suspend of the machine, during which Linux's
// CLOCK_MONOTONIC stands still while etcd's leases run out. The wall clock is only a hint that it is worth reading the
// dearer uptime; it never decides. A pause of a whole virtual machine is invisible from within: see guarantees.md.
import { uptime } from 'node:os';
import { performance } from 'node:perf_hooks';
import type { Millis } from '../core/model.ts';
import type { Clock } from '../ports.ts';

/** Where time comes from; replaced in tests. All in milliseconds. */
export interface TimeSources {
  /** Stands still while the machine is suspended. */
  readonly monotonic: () => number;
  readonly wall: () => number;
  /** Counts through a suspend; coarse (10 ms) and dear (a file is read). */
  readonly uptime: () => number;
}

const systemSources: TimeSources = {
  monotonic: () => performance.now(),
  wall: () => Date.now(),
  uptime: () => uptime() * 1000,
};

/**
 * Several times uptime's coarseness (10 ms), and well below the default margin (250 ms or more). A shorter suspend goes
 * unseen: whoever sets a smaller margin does without it.
 */
const suspiciousJumpMs = 50;

/** The longest that Node's timers take; a later moment is reached in steps. */
const longestTimerMs = 2 ** 31 - 1;

export class SystemClock implements Clock {
  readonly #sources: TimeSources;
  readonly #startedMonotonic: number;
  readonly #startedUptime: number;
  #wallAhead: number;
  #suspendedMs = 0;

  constructor(sources: TimeSources = systemSources) {
    this.#sources = sources;
    this.#startedMonotonic = sources.monotonic();
    this.#startedUptime = sources.uptime();
    this.#wallAhead = sources.wall() - this.#startedMonotonic;
  }

  now(): Millis {
    const monotonic = this.#sources.monotonic();
    const wallAhead = this.#sources.wall() - monotonic;
    if (Math.abs(wallAhead - this.#wallAhead) > suspiciousJumpMs) this.#lookForSuspend(monotonic);
    this.#wallAhead = wallAhead;
    return monotonic + this.#suspendedMs;
  }

  at(at: Millis, run: () => void): () => void {
    const waitMs = Math.min(Math.max(0, at - this.now()), longestTimerMs);
    const timer = setTimeout(run, Math.ceil(waitMs));
    return () => {
      clearTimeout(timer);
    };
  }

  wallTimeOf(at: Millis): string {
    return new Date(this.#sources.wall() - (this.now() - at)).toISOString();
  }

  /** The suspended time only grows: the clock may jump ahead, which ends claims, and never back. */
  #lookForSuspend(monotonic: number): void {
    const elapsedMs = monotonic - this.#startedMonotonic;
    const upMs = this.#sources.uptime() - this.#startedUptime;
    if (upMs - elapsedMs > this.#suspendedMs + suspiciousJumpMs) {
      this.#suspendedMs = upMs - elapsedMs;
    }
  }
}
