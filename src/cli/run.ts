// `electord run -- CMD…`: a sidecar whose app is its own child, which runs only while this instance leads. One term and
// one child, then the end: with the child's own exit code, or with 75 where leadership was lost to something else.
// The child shares our terminal, so the log goes to the standard error.
import { startSidecar, type Sidecar } from '../app.ts';
import { formatFaults } from '../config/faults.ts';
import type { Cause } from '../core/model.ts';
import { exitCodes } from './exit-codes.ts';
import { load, type Flags } from './load.ts';
import { abandonWithinMs, reload, signalCodes, within } from './serve.ts';

/** Handed on to the child, which may do with them what it likes; the whole group where a terminal would do that. */
const forwarded: readonly { readonly name: NodeJS.Signals; readonly all: boolean }[] = [
  { name: 'SIGHUP', all: false },
  { name: 'SIGUSR1', all: false },
  { name: 'SIGUSR2', all: false },
  { name: 'SIGWINCH', all: true },
];

/** Runs `command`, at least one word, while this instance leads. Resolves with the exit code; the caller ends the process with it. */
export async function run(flags: Flags, command: readonly string[]): Promise<number> {
  const loaded = load(flags);
  if (!loaded.ok) {
    process.stderr.write(formatFaults(loaded.faults));
    return exitCodes.configuration;
  }
  const { configuration, credentials } = loaded;
  const { elections } = configuration;
  if (elections.length > 1) {
    const problem = `names ${elections.length} elections; run stands in exactly one`;
    process.stderr.write(`--election ${problem}\n`);
    return exitCodes.configuration;
  }
  return new Promise((resolve) => {
    const running = new Running(flags, resolve);
    const options = {
      configuration,
      credentials,
      onFatal: (failure: unknown) => running.fail(failure),
    };
    const onEnded = (cause: Cause): void => running.ended(cause);
    startSidecar({ ...options, run: { command, onEnded } }).then(
      (sidecar) => running.started(sidecar),
      (failure: unknown) => {
        const message = failure instanceof Error ? failure.message : String(failure);
        process.stderr.write(`electord: ${message}\n`);
        resolve(exitCodes.configuration);
      },
    );
  });
}

/** One run from its start to its exit code. */
class Running {
  readonly #flags: Flags;
  readonly #exit: (code: number) => void;
  #sidecar: Sidecar | null = null;
  /** Why the only term ended; null before that. */
  #cause: Cause | null = null;
  #signalled = false;
  #stopping = false;
  #failed = false;

  constructor(flags: Flags, exit: (code: number) => void) {
    this.#flags = flags;
    this.#exit = exit;
    const fail = (failure: unknown): void => this.fail(failure);
    process.on('uncaughtException', fail);
    process.on('unhandledRejection', fail);
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => this.#signal(signal));
    }
    for (const { name, all } of forwarded) process.on(name, () => this.#forward(name, all));
    // Stopped by the terminal we would lose the lease and, with it, the child.
    process.on('SIGTSTP', () => {
      this.#sidecar?.log.warn('cannot be suspended: a leader that stands still is none');
    });
  }

  started(sidecar: Sidecar): void {
    this.#sidecar = sidecar;
  }

  /** The term ended: there is no other, so that whoever watches over us sees that it was lost. */
  ended(cause: Cause): void {
    this.#cause ??= cause;
    this.#stop();
  }

  /** An internal assertion failed, or something that nobody expected. */
  fail(failure: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    if (this.#sidecar === null) {
      const report = failure instanceof Error ? (failure.stack ?? failure.message) : failure;
      process.stderr.write(`electord: ${String(report)}\n`);
    } else {
      this.#sidecar.log.fatal({ err: failure }, 'giving up: an internal assertion failed');
    }
    this.#abandon(exitCodes.internal);
  }

  #signal(signal: NodeJS.Signals): void {
    const sidecar = this.#sidecar;
    if (sidecar === null) {
      this.#exit(exitCodes.clean);
    } else if (this.#signalled) {
      sidecar.log.warn({ signal }, 'asked to stop again: ending at once');
      this.#abandon(signalCodes[signal] ?? 1);
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
    const own = this.#cause === 'app_exited' || this.#cause === 'stopping';
    return own ? (this.#sidecar?.childExitCode() ?? exitCodes.clean) : exitCodes.lost;
  }

  /** The child is killed first: nobody else is to lead while it lives. */
  #abandon(code: number): void {
    void within(abandonWithinMs, this.#sidecar?.abandon()).then(() => this.#exit(code));
  }
}
