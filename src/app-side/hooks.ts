// One run of a hook: a command in a process group of its own, or a POST. It always ends: by itself, by its time limit,
// or because its term has no time left. Whatever happens to it is logged and counted, and nothing else follows.
import type { Millis } from '../core/model.ts';
import type { Clock } from '../ports.ts';
import { plainTls, type AskTls } from '../process/ask-tls.ts';
import { backoffMs, Loop } from '../process/loop.ts';
import { judgeAt } from '../process/time-out.ts';
import type { AppLog } from './app-log.ts';
import type { HookLimits } from './deadlines.ts';
import { hookBody, hookEnvironment, type Occasion, type Surroundings } from './environment.ts';
import type { Guardian } from './guardian.ts';
import { call, failureOf, type Call } from './http-call.ts';
import { endOf, ProcessGroup } from './process-group.ts';

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
  /** For a POST by https. */
  readonly tls?: () => AskTls;
  readonly observeHook: ObserveHook;
}

/** How one run is to be. */
export interface HookRunOptions {
  readonly hook: Hook;
  readonly occasion: Occasion;
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
    const tooLate = `it took too long${failure === null ? '' : `, and ${failure}`}`;
    const why = late ? tooLate : cut ? 'the term had no time left for it' : failure;
    report(tools, options.occasion, { result, why, tail: work.tail() }, clock.now() - startedAt);
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

function startWork(tools: HookTools, { hook, occasion, tied }: HookRunOptions): Work {
  const { guardian, clock, surroundings, tls = () => plainTls } = tools;
  if (hook.kind === 'http') {
    const until = clock.now() + patienceMs[occasion.event];
    const send = (): Call => call(hook.url, hookBody(surroundings, occasion), tls());
    return post(clock, until, send);
  }
  if (guardian === null) throw new Error('an exec hook needs a guardian');
  const group = new ProcessGroup({
    command: ['/bin/sh', '-c', hook.command],
    environment: hookEnvironment(surroundings, occasion),
    tied,
    stdio: 'tail',
    guardian,
    clock,
  });
  return {
    outcome: group.exited.then((exit) => (exit.code === 0 ? null : `it ${endOf(exit)}`)),
    gone: group.gone,
    end: (killAt) => group.end(killAt),
    kill: () => group.kill(),
    tail: () => group.tail(),
  };
}

const tryAgain = { firstMs: 250, longestMs: 500 };

/**
 * How long to try again. On election nobody waits for the hook, and it has all its time. A step-down does wait: it gives a
 * receiver the seconds in which it starts anew (the last try is up to half a second later), and does not hold
 * leadership for one that has gone.
 */
const patienceMs = { elected: Number.POSITIVE_INFINITY, 'step-down': 2500 } as const;

/** What a proxy answers for a receiver that is away. */
const awayStatuses = [502, 503, 504];

/** One POST: a sentence on how it failed, null where it did not, and whether another one may succeed. */
const answerTo = ({ status }: Call): Promise<{ failure: string | null; away: boolean }> =>
  status.then(
    (code) => {
      const failure = code >= 200 && code < 300 ? null : `it answered ${code}`;
      return { failure, away: awayStatuses.includes(code) };
    },
    (error: unknown) => ({
      failure: `it could not be reached: ${failureOf(error)}`,
      away: true,
    }),
  );

/**
 * Sends it again and again while the receiver is away, until then or until it is told to end. So the receiver may get it twice:
 * event, election and fencing token say that it is the same.
 */
function post(clock: Clock, until: Millis, send: () => Call): Work {
  const loop = new Loop(clock);
  let failures = 0;
  let last: string | null = 'it did not answer';
  let abort: () => void = () => undefined;
  const tries = loop.run(async () => {
    const sent = send();
    abort = sent.abort;
    const { failure, away } = await answerTo(sent);
    // What we cut off ourselves says nothing about the receiver.
    if (!loop.isRunning()) return 0;
    last = failure;
    if (!away || clock.now() >= until) loop.stop();
    failures += 1;
    return backoffMs(tryAgain, failures, Math.random);
  });
  const end = (): void => {
    loop.stop();
    abort();
  };
  const gone = tries.then(() => undefined);
  return { outcome: tries.then(() => last), gone, end, kill: end, tail: () => '' };
}

function report(
  { log, observeHook }: HookTools,
  { event, election, token }: Occasion,
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
