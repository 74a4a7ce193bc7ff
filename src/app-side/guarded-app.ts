// The app beside us as the elector sees it: hooks and the child of `run`, one set for every term. It never decides
// about leadership; it asks for a step-down when the child is gone, as anybody else would.
import type { Cause, ElectionName, FencingToken, Millis } from '../core/model.ts';
import type { App, Elections } from '../ports.ts';
import { exitCodeOf, howItEnded } from './child.ts';
import type { HookTools } from './hooks.ts';
import type { Exit } from './process-group.ts';
import { TermBeside, type Plan } from './term-beside.ts';

export interface GuardedAppOptions {
  readonly plan: Plan;
  readonly tools: HookTools;
  /** Told in the moment a term ends, before anything has stopped. */
  readonly onEnded: (cause: Cause) => void;
  readonly onChildStarted: () => void;
}

export class GuardedApp implements App {
  readonly #options: GuardedAppOptions;
  readonly #terms = new Map<ElectionName, TermBeside>();
  #elections: Elections | null = null;
  #childExit: Exit | null = null;

  constructor(options: GuardedAppOptions) {
    this.#options = options;
  }

  /** Whom to ask for a step-down. */
  attach(elections: Elections): void {
    this.#elections = elections;
  }

  elected(election: ElectionName, token: FencingToken): void {
    const { plan, tools, onChildStarted } = this.#options;
    const term = new TermBeside({
      plan,
      tools,
      election,
      token,
      previous: this.#terms.get(election)?.over ?? Promise.resolve(),
      onChildStarted,
      onChildExited: (exit) => this.#childExited(election, exit),
    });
    this.#terms.set(election, term);
  }

  stop(
    election: ElectionName,
    token: FencingToken,
    cause: Cause,
    mustStopBy: Millis,
    quiesced: () => void,
  ): void {
    const term = this.#termOf(election, token);
    if (term === null) quiesced();
    else void term.end(cause, mustStopBy).then(quiesced);
    this.#options.onEnded(cause);
  }

  lasts(until: Millis): void {
    this.#options.tools.guardian?.leaseEndsAt(until);
  }

  cutOff(election: ElectionName, token: FencingToken): void {
    this.#termOf(election, token)?.cutOff();
  }

  /** Sends a signal to the child of `run`, to its whole group where `all`; false where none runs. */
  signalChild(name: NodeJS.Signals, all: boolean): boolean {
    const children = [...this.#terms.values()].flatMap((term) => term.child() ?? []);
    const running = children.filter((child) => child.exit() === null);
    for (const child of running) {
      if (all) child.signalAll(name);
      else child.signal(name);
    }
    return running.length > 0;
  }

  /** The exit code of the child as a shell has it; null where none has run, or has ended. */
  childExitCode(): number | null {
    const [term] = this.#terms.values();
    const exit = term?.child()?.exit() ?? this.#childExit;
    return exit === null ? null : exitCodeOf(exit);
  }

  /** Resolves when nothing is left of any term that has ended. */
  async settled(): Promise<void> {
    const ended = [...this.#terms.values()].filter((term) => term.isEnding());
    await Promise.all(ended.map((term) => term.over));
  }

  /** Kills everything now; resolves when all of it is gone. */
  async kill(): Promise<void> {
    await Promise.all([...this.#terms.values()].map((term) => term.kill()));
  }

  #termOf(election: ElectionName, token: FencingToken): TermBeside | null {
    const term = this.#terms.get(election);
    return term?.token === token ? term : null;
  }

  #childExited(election: ElectionName, exit: Exit): void {
    this.#childExit = exit;
    const reason = howItEnded(exit);
    const request = { cause: 'app_exited', reason, actor: null, notForMs: 0 } as const;
    this.#elections?.stepDown(election, request);
    this.#options.tools.log.info({ election, reason }, reason);
  }
}
