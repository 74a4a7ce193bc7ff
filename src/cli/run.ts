// `electord run -- CMD…`: a sidecar whose app is its own child, which runs only while this instance leads. One term and
// one child, then the end: with the child's own exit code, or with 75 where leadership was lost to something else. With
// --restart a loss is no end: it stays in the queue, and the child is started again when it leads again.
// The child shares our terminal, so the log goes to the standard error.
import { tooShortToStop } from '../config/relations.ts';
import { startSidecar, type Sidecar } from '../app.ts';
import type { Cause } from '../core/model.ts';
import { exitCodes } from './exit-codes.ts';
import type { Flags } from './load.ts';
import { endAtOnce, fall, onFailure, stopSignals } from './hasty-end.ts';
import { reload } from './serve.ts';
import { notStarted, settingsOf } from './start.ts';

/** Handed on to the child, which may do with them what it likes; the whole group where a terminal would do that. */
const forwarded: readonly { readonly name: NodeJS.Signals; readonly all: boolean }[] = [
  { name: 'SIGHUP', all: false },
  { name: 'SIGUSR1', all: false },
  { name: 'SIGUSR2', all: false },
  { name: 'SIGWINCH', all: true },
];

/** How the child is asked to end, and whether there is another one after it. */
export interface RunFlags {
  readonly restart?: boolean;
  readonly stopSignal: NodeJS.Signals;
  readonly signalScope: 'process' | 'group';
}

/** Runs `command`, at least one word, while this instance leads. Resolves with the exit code; the caller ends the process with it. */
export async function run(
  { stopSignal, signalScope, restart = false, ...flags }: Flags & RunFlags,
  command: readonly string[],
): Promise<number> {
  const stopRequest = { signal: stopSignal, scope: signalScope };
  const settings = settingsOf(flags);
  if (settings === null) return exitCodes.configuration;
  const { elections } = settings.configuration;
  if (elections.length > 1) {
    const problem = `names ${elections.length} elections; run stands in exactly one`;
    process.stderr.write(`--election ${problem}\n`);
    return exitCodes.configuration;
  }
  const tooShort = tooShortToStop(settings.configuration.fastFailoverMs);
  if (tooShort !== null) {
    process.stderr.write(`--fast-failover ${tooShort}\n`);
    return exitCodes.configuration;
  }
  return new Promise((resolve) => {
    const running = new Running(flags, restart, resolve);
    const onFatal = (failure: unknown): void => running.fail(failure);
    const onEnded = (cause: Cause): void => running.ended(cause);
    startSidecar({ ...settings, onFatal, run: { command, stopRequest, onEnded } }).then(
      (sidecar) => running.started(sidecar),
      (failure: unknown) => resolve(notStarted(failure)),
    );
  });
}

/** One run from its start to its exit code. */
class Running {
  readonly #flags: Flags;
  readonly #restart: boolean;
  readonly #exit: (code: number) => void;
  #sidecar: Sidecar | null = null;
  /** Why the last term ended; null before that. */
  #cause: Cause | null = null;
  #signalled = false;
  #stopping = false;
  #failed = false;

  constructor(flags: Flags, restart: boolean, exit: (code: number) => void) {
    this.#flags = flags;
    this.#restart = restart;
    this.#exit = exit;
    onFailure((failure) => this.fail(failure));
    for (const signal of stopSignals) process.on(signal, () => this.#signal(signal));
    for (const { name, all } of forwarded) process.on(name, () => this.#forward(name, all));
    // Stopped by the terminal we would lose the lease and, with it, the child.
    process.on('SIGTSTP', () => {
      this.#sidecar?.log.warn('cannot be suspended: a leader that stands still is none');
    });
  }

  started(sidecar: Sidecar): void {
    this.#sidecar = sidecar;
  }

  /** The term ended: there is no other, so that whoever watches over us sees that it was lost, unless we are to go on. */
  ended(cause: Cause): void {
    if (this.#restart && isLoss(cause)) {
      const said = 'the term is over; the command is started again in the next one';
      this.#sidecar?.log.info({ cause }, said);
      return;
    }
    this.#cause ??= cause;
    this.#stop();
  }

  /** An internal assertion failed, or something that nobody expected. */
  fail(failure: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    void fall(this.#sidecar, failure).then(this.#exit);
  }

  #signal(signal: NodeJS.Signals): void {
    const sidecar = this.#sidecar;
    if (sidecar === null) {
      this.#exit(exitCodes.clean);
    } else if (this.#signalled) {
      void endAtOnce(sidecar, signal).then(this.#exit);
    } else {
      this.#signalled = true;
      this.#stop();
      sidecar.log.info({ signal }, 'asked to stop: stepping down');
    }
  }

  #forward(name: NodeJS.Signals, all: boolean): void {
    const sidecar = this.#sidecar;
    if (sidecar === null) return;
    if (name === 'SIGHUP') reload(sidecar, this.#flags);
    sidecar.signalChild(name, all);
  }

  #stop(): void {
    if (this.#stopping || this.#sidecar === null) return;
    this.#stopping = true;
    const fail = (failure: unknown): void => this.fail(failure);
    void this.#sidecar.stop().then(() => this.#exit(this.#exitCode()), fail);
  }

  /** A child that nobody but its own end, or our being told to stop, has ended gives its code; else it was lost. */
  #exitCode(): number {
    if (this.#cause === null) return exitCodes.clean;
    if (isLoss(this.#cause)) return exitCodes.lost;
    return this.#sidecar?.childExitCode() ?? exitCodes.clean;
  }
}

/** Whether something else ended the term than the child itself, or our being told to stop. */
const isLoss = (cause: Cause): boolean => cause !== 'app_exited' && cause !== 'stopping';
