// The guarded application beside one sidecar: one child for each term, which takes its time to stop and is killed when
// that time is up. The child is a process of its own: a pause of the sidecar does not pause it.
import type { Cause, ElectionName, FencingToken, Millis } from '../../src/core/model.ts';
import type { App } from '../../src/ports.ts';
import type { Process } from './process.ts';
import type { Random } from './random.ts';
import type { Planned, Scheduler } from './scheduler.ts';

interface Child {
  readonly token: FencingToken;
  alive: boolean;
  quiesced: () => void;
}

export class SimApp implements App {
  readonly #scheduler: Scheduler;
  readonly #process: Process;
  readonly #random: Random;
  readonly #mostStopMs: number;
  readonly #children = new Map<ElectionName, Child>();
  #guardian: Planned = { cancel: () => undefined };

  constructor(scheduler: Scheduler, process: Process, random: Random, mostStopMs: number) {
    this.#scheduler = scheduler;
    this.#process = process;
    this.#random = random;
    this.#mostStopMs = mostStopMs;
  }

  /** The term that a living child acts for, or null. */
  actsFor(election: ElectionName): FencingToken | null {
    const child = this.#children.get(election);
    return child?.alive === true ? child.token : null;
  }

  elected(election: ElectionName, token: FencingToken): void {
    this.#children.set(election, { token, alive: true, quiesced: () => undefined });
  }

  stop(
    election: ElectionName,
    token: FencingToken,
    _cause: Cause,
    mustStopBy: Millis,
    quiesced: () => void,
  ): void {
    const child = this.#children.get(election);
    if (child?.token !== token) return quiesced();
    child.quiesced = quiesced;
    // Now and then it is gone at once, within the very call.
    if (this.#random.chance(0.1)) return this.#died(child);
    this.#scheduler.after(this.#random.next() * this.#mostStopMs, () => {
      if (!child.alive) return;
      child.alive = false;
      this.#process.deliver(child.quiesced);
    });
    this.#process.at(mustStopBy, () => this.#died(child));
  }

  cutOff(election: ElectionName, token: FencingToken): void {
    const child = this.#children.get(election);
    if (child?.token === token) this.#died(child);
  }

  /** The guardian, which outlives a pause and the death of the sidecar, kills what acts beyond that. */
  lasts(until: Millis): void {
    this.#guardian.cancel();
    this.#guardian = this.#scheduler.at(this.#process.trueTimeOf(until), () => this.killAll());
  }

  kill(): Promise<void> {
    this.killAll();
    return Promise.resolve();
  }

  /** The sidecar was killed, and takes everything with it. */
  killAll(): void {
    for (const child of this.#children.values()) child.alive = false;
  }

  #died(child: Child): void {
    if (!child.alive) return;
    child.alive = false;
    child.quiesced();
  }
}
