// The label by which a Service of Kubernetes finds the leader: set once a term of ours has begun, removed when it ends. A hint:
// it decides nothing, and nobody waits for it but a release, and that not long. What is left of a former life is removed first.
import type { Clock } from '../ports.ts';
import { backoffMs, Loop } from '../process/loop.ts';
import type { AppLog } from './app-log.ts';
import type { LabelFailure, OwnPod } from './own-pod.ts';

/** Of another attempt, after one that failed. */
const backoff = { firstMs: 250, longestMs: 10_000 };
/** A label that was perhaps set by a request that nobody answered may come so late: then it is removed once more. */
const lateForMs = 5_000;
/** There is nothing to do until somebody says so. */
const idleMs = 3_600_000;

export interface LeaderLabelOptions {
  readonly pod: Pick<OwnPod, 'change'>;
  /** As in the setting, for the log. */
  readonly label: string;
  readonly clock: Clock;
  readonly log: AppLog;
  /** 0 to 1, as Math.random. */
  readonly random?: () => number;
}

export class LeaderLabel {
  readonly #options: LeaderLabelOptions;
  readonly #loop: Loop;
  readonly #whenTried = new Set<() => void>();
  #wanted = false;
  /** As the pod has it; null where that is not known: at the start, while it is being changed, and where nobody answered. */
  #known: boolean | null = null;
  /** An attempt to set it has gone unanswered since it was last removed. */
  #mayComeLate = false;
  #removesAgain = false;
  #underWay: { readonly wanted: boolean; readonly abort: AbortController } | null = null;
  #failures = 0;
  #explained = '';

  constructor(options: LeaderLabelOptions) {
    this.#options = options;
    this.#loop = new Loop(options.clock);
  }

  start(): void {
    void this.#loop.run(() => this.#round());
  }

  /** Ends all attempts: what is not removed by now stays. */
  stop(): void {
    this.#loop.stop();
    this.#underWay?.abort.abort();
    if (this.#known !== false) {
      this.#options.log.warn({}, `the label ${this.#options.label} may be left on this pod`);
    }
  }

  set(): void {
    this.#want(true);
  }

  /** Resolves once it was tried, or after `withinMs`; what has failed goes on being tried after that. */
  remove(withinMs: number): Promise<void> {
    this.#want(false);
    if (this.#known === false || withinMs <= 0) return Promise.resolve();
    const { clock } = this.#options;
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        this.#whenTried.delete(done);
        resolve();
      };
      const cancel = clock.at(clock.now() + withinMs, done);
      this.#whenTried.add(done);
    });
  }

  #want(wanted: boolean): void {
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    this.#failures = 0;
    // A removal that is under way is waited for; to set it any longer would be wrong.
    if (this.#underWay?.wanted === true) this.#underWay.abort.abort();
    this.#loop.wake();
  }

  async #round(): Promise<number> {
    const [wanted, before] = [this.#wanted, this.#known];
    if (wanted === before && !this.#removesAgain) return idleMs;
    this.#removesAgain = false;
    const abort = new AbortController();
    this.#underWay = { wanted, abort };
    this.#known = null;
    try {
      await this.#options.pod.change(wanted, abort.signal);
    } catch (failure) {
      const { message, isDoubtful } = failure as LabelFailure;
      if (!isDoubtful) this.#known = before;
      else if (wanted) this.#mayComeLate = true;
      return this.#failed(wanted, message);
    } finally {
      this.#underWay = null;
      if (!wanted) for (const done of this.#whenTried) done();
    }
    if (wanted !== before) this.#tell(wanted);
    this.#known = wanted;
    this.#failures = 0;
    this.#explained = '';
    if (wanted || !this.#mayComeLate) return idleMs;
    this.#mayComeLate = false;
    this.#removesAgain = true;
    return lateForMs;
  }

  #tell(isSet: boolean): void {
    const { log, label } = this.#options;
    log.info({}, isSet ? `this pod has the label ${label}` : `this pod has no label ${label}`);
  }

  #failed(wanted: boolean, message: string): number {
    const { log, label, random = Math.random } = this.#options;
    // It was given up by ourselves: nothing is wrong.
    if (wanted !== this.#wanted) return 0;
    this.#failures += 1;
    const what = `the label ${label} could not be ${wanted ? 'set' : 'removed'}: ${message}`;
    if (what !== this.#explained) log.warn({}, what);
    this.#explained = what;
    return backoffMs(backoff, this.#failures, random);
  }
}
