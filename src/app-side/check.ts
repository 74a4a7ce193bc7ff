// The app check: looks at the app every interval, never twice at once, and tells when it becomes healthy or unhealthy.
// An app counts as unhealthy until it has first passed. Beside `run`, the app is only there while we lead: it is looked
// at from its start on, counts as healthy, and has a while to pass for the first time.
import type { Millis } from '../core/model.ts';
import { Loop } from '../process/loop.ts';
import { judgeAt } from '../process/time-out.ts';
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
  detail: 'not checked: no --app-check is configured',
};

export class AppChecker {
  readonly #options: AppCheckOptions;
  #tally: Tally;
  #detail = 'not checked yet';
  /** One stretch of checking; one that was stopped changes nothing any more. */
  #stretch: Loop | null = null;
  #probe: Probe | null = null;
  #explained = '';

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

  /** The app that was checked has ended, and there is none to be unhealthy until it is started again. */
  rest(): void {
    const { healthy } = this.#tally;
    this.stop();
    this.#tally = untested(true);
    this.#detail = 'it does not run';
    if (!healthy) this.#options.onHealth(true);
  }

  /** Ends checking; what was said last stays. */
  stop(): void {
    this.#stretch?.stop();
    this.#probe?.abort();
  }

  #begin(healthy: boolean, patientUntil: Millis): void {
    this.stop();
    this.#tally = untested(healthy);
    const stretch = new Loop(this.#options.clock);
    this.#stretch = stretch;
    void stretch.run(() => this.#check(stretch, patientUntil));
  }

  async #check(stretch: Loop, patientUntil: Millis): Promise<number> {
    const { clock, intervalMs } = this.#options;
    const startedAt = clock.now();
    const verdict = await this.#look(stretch);
    if (stretch.isRunning()) this.#take(verdict, clock.now() < patientUntil);
    return startedAt + intervalMs - clock.now();
  }

  /** There are never two at once: a command that not even SIGKILL has ended is waited for, and counts as a failure. */
  async #look(stretch: Loop): Promise<Verdict> {
    const { clock, timeoutMs } = this.#options;
    const before = this.#probe;
    let cancel: () => void = () => undefined;
    const late = new Promise<boolean>((resolve) => {
      cancel = judgeAt(clock, clock.now() + timeoutMs, () => resolve(true));
    });
    const stuck =
      before === null ? false : await Promise.race([before.gone.then(() => false), late]);
    cancel();
    if (stuck || !stretch.isRunning())
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
