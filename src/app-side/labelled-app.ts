// A label beside whatever else stands beside a term. In a planned end the key waits for its removal, though not long, so that
// the label is gone before anybody else can lead; in any other end it is removed as soon as it can be.
import type { ElectionName, FencingToken, Millis } from '../core/model.ts';
import type { App, Clock } from '../ports.ts';
import type { LeaderLabel } from './leader-label.ts';

/** The most that a hand-over waits for the API of Kubernetes. */
const removedWithinMs = 1000;
/** The same at an end in haste, which has two seconds for everything. */
const hastilyWithinMs = 500;

export class LabelledApp implements App {
  readonly #label: LeaderLabel;
  readonly #clock: Clock;
  /** Null where nothing else stands beside us. */
  readonly #beside: App | null;

  constructor(label: LeaderLabel, clock: Clock, beside: App | null) {
    this.#label = label;
    this.#clock = clock;
    this.#beside = beside;
  }

  elected(election: ElectionName, token: FencingToken): void {
    this.#beside?.elected(election, token);
    this.#label.set();
  }

  stop(...[election, token, cause, mustStopBy, quiesced]: Parameters<App['stop']>): void {
    const withinMs = Math.min(removedWithinMs, mustStopBy - this.#clock.now());
    const removed = this.#label.remove(withinMs);
    const stopped = new Promise<void>((resolve) => {
      if (this.#beside === null) resolve();
      else this.#beside.stop(election, token, cause, mustStopBy, resolve);
    });
    void Promise.all([removed, stopped]).then(quiesced);
  }

  lasts(until: Millis): void {
    this.#beside?.lasts(until);
  }

  cutOff(election: ElectionName, token: FencingToken): void {
    this.#beside?.cutOff(election, token);
  }

  async kill(): Promise<void> {
    await Promise.all([this.#beside?.kill(), this.#label.remove(hastilyWithinMs)]);
  }
}
