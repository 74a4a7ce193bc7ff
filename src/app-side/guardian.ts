// Our side of the guardian: starts it, tells it which process groups are ours, and starts another where it was killed.
// Promises that what it watches is dead soon after we are, however we die; not that a process which left its group
// (by `setsid`) is found.
import type { Writable } from 'node:stream';
import type { Millis } from '../core/model.ts';
import type { Clock } from '../ports.ts';
import type { AppLog } from './app-log.ts';
import { commands, guard } from './guard.ts';
import { startProcess } from './start-process.ts';

/** Between two attempts to have a guardian, where it cannot be started or does not stay. */
const restartAfterMs = 250;

interface Watched {
  readonly tied: boolean;
  /** Called once the guardian was told; null once that was done. */
  told: (() => void) | null;
}

export class Guardian {
  readonly #clock: Clock;
  readonly #log: AppLog;
  readonly #groups = new Map<number, Watched>();
  #pid: number | null = null;
  #input: Writable | null = null;
  #leaseEndsAt: Millis | null = null;
  #closed = false;

  /** Starts the guardian, which takes some 50 ms in the background. */
  constructor(clock: Clock, log: AppLog) {
    this.#clock = clock;
    this.#log = log;
    this.#start();
  }

  /** The process id of the guardian; null while there is none. */
  pid(): number | null {
    return this.#pid;
  }

  /**
   * Has the group killed when we die and, where it is `tied` to the lease, also when the lease runs out. `told` is
   * called when the guardian can no longer miss it: only then may the group begin its work.
   */
  watch(group: number, tied: boolean, told: () => void): void {
    this.#groups.set(group, { tied, told });
    this.#tell(group);
  }

  /** Nothing is left of the group. */
  forget(group: number): void {
    if (this.#groups.delete(group)) this.#write(commands.forget(group));
  }

  /** The lease may be relied upon until then; told anew after every renewal. */
  leaseEndsAt(at: Millis): void {
    this.#leaseEndsAt = at;
    this.#tellLease();
  }

  /** Lets the guardian end; it still kills whatever it watches. */
  close(): void {
    this.#closed = true;
    this.#input?.end();
  }

  #start(): void {
    if (this.#closed) return;
    const started = startProcess(
      process.execPath,
      ['--max-old-space-size=16', '--max-semi-space-size=1', '-e', `(${guard.toString()})()`],
      // In a session of its own, out of reach of the terminal and of signals to our group.
      { detached: true, stdio: ['pipe', 'ignore', 'ignore'], env: guardianEnvironment() },
    );
    if (started.kind === 'failed') {
      void started.why.then((why) => this.#lost(`it could not be started (${why})`));
      return;
    }
    const { child, pid } = started;
    this.#pid = pid;
    this.#input = child.stdin;
    child.once('exit', (code, signal) => this.#lost(signal ?? `exit code ${code ?? 'unknown'}`));
    // Its end is noticed by 'exit'.
    child.stdin?.on('error', () => undefined);
    child.unref();
    for (const group of this.#groups.keys()) this.#tell(group);
    this.#tellLease();
  }

  #lost(why: string): void {
    if (this.#closed) return;
    this.#pid = null;
    this.#input = null;
    this.#log.warn(
      { why },
      'the guardian of the processes beside electord is gone: starting another',
    );
    setTimeout(() => this.#start(), restartAfterMs).unref();
  }

  #tell(group: number): void {
    const watched = this.#groups.get(group);
    if (watched === undefined) return;
    const command = watched.tied ? commands.tie(group) : commands.watch(group);
    // What was written stays readable for the guardian, even if we are killed this very moment.
    this.#write(command, () => {
      watched.told?.();
      watched.told = null;
    });
  }

  #tellLease(): void {
    if (this.#leaseEndsAt === null) return;
    const leftMs = this.#leaseEndsAt - this.#clock.now();
    this.#write(commands.until(Number(process.hrtime.bigint()) / 1e6 + leftMs));
  }

  #write(command: string, written: () => void = () => undefined): void {
    this.#input?.write(command, (error) => {
      if (error === null || error === undefined) written();
    });
  }
}

/** Nothing of ours, which may be secret, and nothing that changes what Node does. */
function guardianEnvironment(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !/^(ELECTORD|NODE)_/.test(name));
  return Object.fromEntries(own);
}
