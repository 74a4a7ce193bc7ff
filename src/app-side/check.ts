// The app check: looks at the app every interval, never twice at once, and tells when it becomes healthy or unhealthy.
// An app counts as unhealthy until it has first passed. Beside `run`, the app is only there while we lead: it is looked
// at from its start on, counts as healthy, and has a while to pass for the first time.
import type { Millis } from '../core/model.ts';
import type { AppLog } from './app-log.ts';
import { probe, type Probe, type ProbeTools, type Verdict } from './probe.ts';
import { count, untested, type Tally, type Thresholds } from './tally.ts';

export interface AppCheckOptions extends ProbeTools {
  readonly intervalMs: number;
  readonly thresholds: Thresholds;
  readonly log: AppLog;
  /** Told whenever the app becomes healthy or unhealthy. */
  readonly onHealth: (healthy: boolean) => void;
}

/** What the check says, for `/health` and metrics. */
export interface AppHealth {
  readonly configured: boolean;
  readonly healthy: boolean;
  /** For people; holds no secret. */
  readonly detail: string;
}

/**
 * How long an app that was just started by `run` may fail its check before failures count: as long as slow programs
 * take to start. Not bound to the TTL, because a term without its app harms nobody but waits for it.
 */
const startPatienceMs = 30_000;

/** Where no check is configured. */
export const uncheckedApp: AppHealth = {
  configured: false,
  healthy: true,
  detail: 'no check is configured',
};

/** One stretch of checking; a stretch that has ended changes nothing any more. */
interface Stretch {
  readonly patientUntil: Millis;
  active: boolean;
}

export class AppChecker {
  readonly #options: AppCheckOptions;
  #tally: Tally;
  #detail = 'not checked yet';
  #stretch: Stretch | null = null;
  #probe: Probe | null = null;
  #explained = '';
  #cancelWait: () => void = () => undefined;

  /** Nothing is checked before `start`. `healthy` is what is said until then. */
  constructor(options: AppCheckOptions, healthy: boolean) {
    this.#options = options;
    this.#tally = untested(healthy);
  }

  health(): AppHealth {
    return { configured: true, healthy: this.#tally.healthy, detail: this.#detail };
  }

  /** Begins to check an app that runs on its own. */
  start(): void {
    this.#begin(false, Number.NEGATIVE_INFINITY);
  }

  /** Begins to check an app that was started just now. */
  startPatiently(): void {
    this.#begin(true, this.#options.clock.now() + startPatienceMs);
  }

  /** Ends checking; what was said last stays. */
  stop(): void {
    if (this.#stretch !== null) this.#stretch.active = false;
    this.#stretch = null;
    this.#probe?.abort();
    this.#cancelWait();
  }

  #begin(healthy: boolean, patientUntil: Millis): void {
    this.stop();
    this.#tally = untested(healthy);
    const stretch = { patientUntil, active: true };
    this.#stretch = stretch;
    void this.#check(stretch);
  }

  async #check(stretch: Stretch): Promise<void> {
    const { clock, intervalMs } = this.#options;
    for (;;) {
      const startedAt = clock.now();
      const verdict = await this.#look(stretch);
      // Asked anew after every wait: `stop` may have been called.
      if (!isActive(stretch)) return;
      this.#take(verdict, clock.now() < stretch.patientUntil);
      await new Promise<void>((resolve) => {
        const cancel = clock.at(startedAt + intervalMs, resolve);
        this.#cancelWait = () => {
          cancel();
          resolve();
        };
      });
      if (!isActive(stretch)) return;
    }
  }

  /** There are never two at once: a command that not even SIGKILL has ended is waited for, and counts as a failure. */
  async #look(stretch: Stretch): Promise<Verdict> {
    const { clock, timeoutMs } = this.#options;
    const before = this.#probe;
    let cancel: () => void = () => undefined;
    const late = new Promise<boolean>((resolve) => {
      cancel = clock.at(clock.now() + timeoutMs, () => resolve(true));
    });
    const stuck =
      before === null ? false : await Promise.race([before.gone.then(() => false), late]);
    cancel();
    if (stuck || !isActive(stretch))
      return { passed: false, detail: 'the check before does not end' };
    this.#probe = probe(this.#options);
    return this.#probe.verdict;
  }

  #take({ passed, detail }: Verdict, patient: boolean): void {
    const { thresholds, log, onHealth } = this.#options;
    const before = this.#tally;
    this.#detail = detail;
    if (!passed && patient && !before.everPassed) {
      this.#detail = `starting: ${detail}`;
      return;
    }
    this.#tally = count(before, passed, thresholds);
    const { healthy } = this.#tally;
    if (healthy === before.healthy) {
      this.#explain(passed, detail);
      return;
    }
    if (healthy) log.info({ detail }, 'the app is healthy');
    else log.warn({ detail }, `the app is unhealthy: ${detail}`);
    this.#explained = '';
    onHealth(healthy);
  }

  /** Why a failing app is not, or soon will not be, healthy: said once for each reason in a row. */
  #explain(passed: boolean, detail: string): void {
    if (!passed && detail !== this.#explained) {
      this.#options.log.info({ detail }, `an app check failed: ${detail}`);
    }
    this.#explained = passed ? '' : detail;
  }
}

const isActive = (stretch: Stretch): boolean => stretch.active;
