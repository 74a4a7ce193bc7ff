// What stands beside one term of ours: the on-elected hook, the child, and the step-down hook. Promises that when
// `end` resolves nothing of them is left; that the step-down hook runs once for every term that began, never together
// with another hook of the election; and that after `cutOff` nothing acts for the term.
import type { Cause, ElectionName, FencingToken, Millis } from '../core/model.ts';
import { startChild } from './child.ts';
import { boundLimits, freeLimits, lastKillAt, supersededAt } from './deadlines.ts';
import { childEnvironment, type Occasion } from './environment.ts';
import type { Guardian } from './guardian.ts';
import { runHook, type Hook, type HookRun, type HookTools } from './hooks.ts';
import type { Exit, ProcessGroup, StopRequest } from './process-group.ts';

/** What is to stand beside every term. */
export interface Plan {
  readonly onElected: Hook | null;
  readonly onStepDown: Hook | null;
  readonly hookTimeoutMs: number;
  /** The command of `run`, and the guardian that it needs. */
  readonly child: {
    readonly command: readonly string[];
    readonly stopRequest: StopRequest;
    readonly guardian: Guardian;
  } | null;
}

export interface TermOptions {
  readonly plan: Plan;
  readonly tools: HookTools;
  readonly election: ElectionName;
  readonly token: FencingToken;
  /** Resolves when nothing is left of the term before. */
  readonly previous: Promise<void>;
  /** The child has started, or has ended by itself while the term lasts. */
  readonly onChildStarted: () => void;
  readonly onChildExited: (exit: Exit) => void;
}

export class TermBeside {
  readonly token: FencingToken;
  /** Resolves when the term is over and nothing is left of it. */
  readonly over: Promise<void>;
  readonly #options: TermOptions;
  readonly #begun: Promise<void>;
  #isOver: () => void = () => undefined;
  #elected: HookRun | null = null;
  #stepDown: HookRun | null = null;
  #child: ProcessGroup | null = null;
  #ending = false;
  #noTimeLeft = false;

  constructor(options: TermOptions) {
    this.#options = options;
    this.token = options.token;
    this.over = new Promise((resolve) => {
      this.#isOver = resolve;
    });
    this.#begun = this.#begin();
  }

  /** The child of this term, null where there is none. */
  child(): ProcessGroup | null {
    return this.#child;
  }

  /** Has everything stop by `mustStopBy`; resolves when nothing is left. */
  async end(cause: Cause, mustStopBy: Millis): Promise<void> {
    const { clock } = this.#options.tools;
    const now = clock.now();
    this.#ending = true;
    this.#noTimeLeft ||= mustStopBy <= now;
    // Asked at once; what is in the way of the step-down hook is given less time.
    this.#child?.end(lastKillAt(mustStopBy, now));
    this.#elected?.end(supersededAt(now, mustStopBy));
    const stepDown = this.#begun
      .then(() => this.#elected?.gone)
      .then(() => this.#runStepDown(cause, mustStopBy));
    await Promise.all([stepDown, this.#child?.gone]);
    this.#isOver();
  }

  /** Whether the term has ended; then `over` is to come. */
  isEnding(): boolean {
    return this.#ending;
  }

  /** Kills whatever acts for the term. A step-down hook that began in good time is killed too. */
  cutOff(): void {
    this.#ending = true;
    this.#noTimeLeft = true;
    this.#child?.kill();
    this.#elected?.kill();
    this.#stepDown?.kill();
  }

  /** As `cutOff`; resolves when nothing that acts for the term is left. */
  async kill(): Promise<void> {
    this.cutOff();
    await Promise.all([this.#child?.gone, this.#elected?.gone, this.#stepDown?.gone]);
  }

  async #begin(): Promise<void> {
    const { previous, plan, tools, election, token } = this.#options;
    await previous;
    // To start a process takes a while: what the election itself has to say to etcd goes first.
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#ending) return;
    if (plan.onElected !== null) {
      const limits = freeLimits(tools.clock.now(), plan.hookTimeoutMs);
      const occasion = this.#occasion('elected', 'elected', null);
      this.#elected = runHook(tools, { hook: plan.onElected, occasion, limits, tied: true });
    }
    if (plan.child === null) return;
    const environment = childEnvironment(tools.surroundings, election, token);
    this.#child = startChild({ ...plan.child, environment, clock: tools.clock });
    this.#options.onChildStarted();
    void this.#child.exited.then((exit) => {
      if (!this.#ending) this.#options.onChildExited(exit);
    });
  }

  /** Where no time is left it runs all the same, after the fact, because something may have to be put right. */
  async #runStepDown(cause: Cause, mustStopBy: Millis): Promise<void> {
    const { plan, tools } = this.#options;
    if (plan.onStepDown === null) return;
    const now = tools.clock.now();
    const afterTheFact = this.#noTimeLeft;
    const limits = afterTheFact
      ? freeLimits(now, plan.hookTimeoutMs)
      : boundLimits(now, plan.hookTimeoutMs, mustStopBy);
    const endAt = afterTheFact ? now : limits.endAt;
    const by = tools.clock.wallTimeOf(endAt);
    const inMs = Math.max(0, Math.floor(endAt - now));
    const occasion = this.#occasion('step-down', cause, { by, inMs });
    const run = runHook(tools, { hook: plan.onStepDown, occasion, limits, tied: !afterTheFact });
    if (!afterTheFact) this.#stepDown = run;
    await run.finished;
    // What it left running would act for a term that is over.
    run.kill();
    await run.gone;
  }

  #occasion(event: Occasion['event'], cause: Cause, mustStop: Occasion['mustStop']): Occasion {
    const { election, token } = this.#options;
    return { event, election, token, cause, mustStop };
  }
}
