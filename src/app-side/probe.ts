// One look at the app: an HTTP answer of 200 to 399, a TCP connection, or a command that exits with 0. What it says
// about a failure holds no address and no output, since both may hold secrets.
import type { Millis } from '../core/model.ts';
import type { Clock } from '../ports.ts';
import { plainTls, type AskTls } from '../process/ask-tls.ts';
import { judgeAt } from '../process/time-out.ts';
import { dial } from './dial.ts';
import type { Guardian } from './guardian.ts';
import { call, failureOf } from './http-call.ts';
import { endOf, ProcessGroup } from './process-group.ts';

/** How to find out whether the app is well, as the setting has it. */
export type AppCheck =
  | { readonly kind: 'http'; readonly url: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'exec'; readonly command: string };

export interface ProbeTools {
  readonly check: AppCheck;
  readonly timeoutMs: number;
  readonly clock: Clock;
  /** Only exec checks need one. */
  readonly guardian: Guardian | null;
  /** For a check by https. */
  readonly tls?: () => AskTls;
  /** The environment of an exec check. */
  readonly environment: NodeJS.ProcessEnv;
}

export interface Verdict {
  readonly passed: boolean;
  /** For people. */
  readonly detail: string;
}

export interface Probe {
  /** Within the timeout; never rejects. */
  readonly verdict: Promise<Verdict>;
  /** Resolves when nothing of it is left; never rejects. */
  readonly gone: Promise<void>;
  /** Ends it now. */
  abort(): void;
}

/** A probe without its time limit. */
interface Look {
  readonly verdict: Promise<Verdict>;
  readonly gone: Promise<void>;
  readonly abort: () => void;
}

const passed = (detail: string): Verdict => ({ passed: true, detail });
const failed = (detail: string): Verdict => ({ passed: false, detail });

/** Looks once. */
export function probe(tools: ProbeTools): Probe {
  const { clock, timeoutMs } = tools;
  const look = start(tools);
  const endAt: Millis = clock.now() + timeoutMs;
  let cancel: () => void = () => undefined;
  const late = new Promise<Verdict>((resolve) => {
    cancel = judgeAt(clock, endAt, () => {
      resolve(failed(`no answer within ${timeoutMs} ms`));
      look.abort();
    });
  });
  const verdict = Promise.race([late, look.verdict]).finally(() => cancel());
  return { verdict, gone: look.gone, abort: look.abort };
}

function start(tools: ProbeTools): Look {
  const { check } = tools;
  switch (check.kind) {
    case 'http':
      return askHttp(check.url, tools.tls?.() ?? plainTls);
    case 'tcp':
      return connectTcp(check.host, check.port);
    case 'exec':
      return execute(check.command, tools);
  }
}

function askHttp(url: string, tls: AskTls): Look {
  const { status, abort } = call(url, null, tls);
  const verdict = status.then(
    (code) => (code >= 200 && code < 400 ? passed : failed)(`answered ${code}`),
    (error: unknown) => failed(`no answer: ${failureOf(error)}`),
  );
  return { verdict, gone: verdict.then(() => undefined), abort };
}

function connectTcp(host: string, port: number): Look {
  let abort: () => void = () => undefined;
  const verdict = new Promise<Verdict>((resolve) => {
    abort = dial(host, port, (failure, socket) => {
      socket?.on('error', () => undefined).destroy();
      if (failure === null) resolve(passed('accepts connections'));
      else resolve(failed(`no connection: ${failureOf(failure)}`));
    });
  });
  return { verdict, gone: verdict.then(() => undefined), abort };
}

function execute(command: string, { guardian, clock, environment }: ProbeTools): Look {
  if (guardian === null) throw new Error('an exec check needs a guardian');
  const group = new ProcessGroup({
    command: ['/bin/sh', '-c', command],
    environment,
    tied: false,
    stdio: 'ignore',
    guardian,
    clock,
  });
  const verdict = group.exited.then((exit) => {
    // What it left running is no check any more.
    group.kill();
    return exit.code === 0 ? passed('the command succeeded') : failed(`the command ${endOf(exit)}`);
  });
  return { verdict, gone: group.gone, abort: () => group.kill() };
}
