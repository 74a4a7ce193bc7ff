// One run of a hook: a command in a process group of its own, or a POST. It always ends: by itself, by its time limit,
// or because its term has no time left. Whatever happens to it is logged and counted, and nothing else follows.
import type { Millis } from '../core/model.ts';
import type { Clock } from '../ports.ts';
import { judgeAt } from '../process/time-out.ts';
import type { AppLog } from './app-log.ts';
import type { HookLimits } from './deadlines.ts';
import { hookBody, hookEnvironment, type Happening, type Surroundings } from './environment.ts';
import type { Guardian } from './guardian.ts';
import { call, failureOf } from './http-call.ts';
import { ProcessGroup } from './process-group.ts';

/** What to run, or to POST to, as the setting has it. */
export type Hook =
  | { readonly kind: 'http'; readonly url: string }
  | { readonly kind: 'exec'; readonly command: string };

export type HookResult = 'ok' | 'failed' | 'timeout';

/** Told of every run: the event, how it ended, and how long it took. */
export type ObserveHook = (event: string, result: HookResult, seconds: number) => void;

/** What every run of a hook needs. */
export interface HookTools {
  readonly clock: Clock;
  readonly log: AppLog;
  /** Only exec hooks need one. */
  readonly guardian: Guardian | null;
  readonly surroundings: Surroundings;
  readonly observeHook: ObserveHook;
}

/** How one run is to be. */
export interface HookRunOptions {
  readonly hook: Hook;
  readonly happening: Happening;
  readonly limits: HookLimits;
  /** Whether it must be dead when the lease runs out. */
  readonly tied: boolean;
}

/** A run of a hook. */
export interface HookRun {
  /** Resolves when it has ended, though processes it left behind may go on; never rejects. */
  readonly finished: Promise<void>;
  /** Resolves when nothing of it is left; never rejects. */
  readonly gone: Promise<void>;
  /** Asks what is left of it to end, and kills it at `killAt`. */
  end(killAt: Millis): void;
  /** Kills what is left of it now. */
  kill(): void;
}

/** The two ways of running a hook, alike from here on. */
interface Work {
  /** A sentence on how it failed; null where it did not. */
  readonly outcome: Promise<string | null>;
  readonly gone: Promise<void>;
  end(killAt: Millis): void;
  kill(): void;
  tail(): string;
}

/** Starts a hook. */
export function runHook(tools: HookTools, options: HookRunOptions): HookRun {
  const { clock } = tools;
  const startedAt = clock.now();
  const work = startWork(tools, options);
  let late = false;
  let cut = false;
  const cancel = judgeAt(clock, options.limits.endAt, () => {
    late = true;
    work.end(options.limits.killAt);
  });
  const finished = work.outcome.then((failure) => {
    cancel();
    const result = late ? 'timeout' : failure === null ? 'ok' : 'failed';
    const why = late ? 'it took too long' : cut ? 'the term had no time left for it' : failure;
    report(tools, options.happening, { result, why, tail: work.tail() }, clock.now() - startedAt);
  });
  const gone = Promise.all([finished, work.gone]).then(() => undefined);
  const end = (killAt: Millis): void => {
    cut = true;
    work.end(killAt);
  };
  const kill = (): void => {
    cut = true;
    work.kill();
  };
  return { finished, gone, end, kill };
}

function startWork(tools: HookTools, { hook, happening, tied }: HookRunOptions): Work {
  if (hook.kind === 'http') return post(hook.url, hookBody(tools.surroundings, happening));
  const { guardian, clock, surroundings } = tools;
  if (guardian === null) throw new Error('an exec hook needs a guardian');
  const group = new ProcessGroup({
    command: ['/bin/sh', '-c', hook.command],
    environment: hookEnvironment(surroundings, happening),
    tied,
    stdio: 'tail',
    guardian,
    clock,
  });
  return {
    outcome: group.exited.then(({ code, signal }) => {
      if (code === 0) return null;
      return signal === null
        ? `it ended with exit code ${code ?? 'unknown'}`
        : `it died of ${signal}`;
    }),
    gone: group.gone,
    end: (killAt) => group.end(killAt),
    kill: () => group.kill(),
    tail: () => group.tail(),
  };
}

function post(url: string, body: string): Work {
  const { status, abort } = call(url, body);
  const outcome = status.then(
    (code) => (code >= 200 && code < 300 ? null : `it answered ${code}`),
    (error: unknown) => `it could not be reached: ${failureOf(error)}`,
  );
  const gone = outcome.then(() => undefined);
  return { outcome, gone, end: abort, kill: abort, tail: () => '' };
}

function report(
  { log, observeHook }: HookTools,
  { event, election, token }: Happening,
  { result, why, tail }: { result: HookResult; why: string | null; tail: string },
  tookMs: number,
): void {
  observeHook(event, result, tookMs / 1000);
  const fields = {
    election,
    term: token.toString(),
    hook: event,
    result,
    tookMs: Math.round(tookMs),
    ...(tail === '' ? {} : { output: tail }),
  };
  if (result === 'ok') log.info(fields, `the ${event} hook of ${election} ran`);
  else log.warn(fields, `the ${event} hook of ${election} failed: ${why ?? result}`);
}
