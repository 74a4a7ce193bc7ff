// A command in a process group of its own, which is signalled and waited for as a whole, forks included. It begins
// only when the guardian knows of it, so that nothing of it survives us. Processes that leave the group (`setsid`)
// are out of sight.
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import type { Millis } from '../core/model.ts';
import type { Clock } from '../ports.ts';
import { Loop } from '../process/loop.ts';
import type { Guardian } from './guardian.ts';

/** How the group's first process ended; both null where it could not be started. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface GroupOptions {
  readonly command: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  /** Whether the group acts for a term, and is to be dead when the lease runs out. */
  readonly tied: boolean;
  readonly stdio: 'inherit' | 'ignore' | 'tail';
  readonly guardian: Guardian;
  readonly clock: Clock;
}

/**
 * The shell waits for a word on the third descriptor, or for its end, which is ours; then it becomes the command,
 * keeping the process id that was told to the guardian. A command that is not there is the shell's 127, or 126.
 */
const gate = 'read -r go <&3 || exit 126; exec 3<&-; exec "$@"';

/** Soon enough not to be felt in a hand-over. */
const lookEveryMs = 5;
/** What a hook left running on purpose is looked at less often. */
const lookAtLeftoversEveryMs = 1000;
/** Reading the whole process table is dear: only every so many looks, the first time after two. */
const looksPerScan = 20;
const firstScanAt = 2;
const tailCharacters = 2000;

export class ProcessGroup {
  /** Resolves when the first process has ended; never rejects. */
  readonly exited: Promise<Exit>;
  /** Resolves when nobody of the group is left; never rejects. */
  readonly gone: Promise<void>;
  readonly #options: GroupOptions;
  readonly #child: ChildProcess;
  readonly #looking: Loop;
  #exit: Exit | null = null;
  #over = false;
  #ending = false;
  #looks = 0;
  #tail = '';
  #cancelKill: () => void = () => undefined;

  /** Starts the command. A failure to start shows as an exit. */
  constructor(options: GroupOptions) {
    this.#options = options;
    this.#looking = new Loop(options.clock);
    const { command, environment, stdio, tied, guardian } = options;
    const kind = stdio === 'tail' ? 'pipe' : stdio;
    const channels: StdioOptions = [stdio === 'tail' ? 'ignore' : kind, kind, kind, 'pipe'];
    this.#child = spawn('/bin/sh', ['-c', gate, 'electord', ...command], {
      env: environment,
      stdio: channels,
      // A new session, and so a new group. Without a controlling terminal, it can still read from ours.
      detached: true,
    });
    this.exited = this.#untilExited();
    this.gone = this.exited.then(() => this.#untilGone());
    this.#keepTail();
    const start = this.#child.stdio[3] as Duplex | null | undefined;
    // The group may be killed before it was let in.
    start?.on('error', () => undefined);
    const { pid } = this.#child;
    if (pid !== undefined) guardian.watch(pid, tied, () => start?.end('go\n'));
  }

  get pid(): number | null {
    return this.#child.pid ?? null;
  }

  /** How the first process ended; null while it runs. */
  exit(): Exit | null {
    return this.#exit;
  }

  /** The end of what it has written, where it was started with `tail`. */
  tail(): string {
    return this.#tail.trim();
  }

  /** Sends a signal to the first process. */
  signal(name: NodeJS.Signals): void {
    if (this.#exit === null) this.#child.kill(name);
  }

  /** Sends a signal to every process of the group. */
  signalAll(name: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid === undefined || this.#over) return;
    try {
      process.kill(-pid, name);
    } catch {
      // Nobody is left, or nobody whom we may signal: `gone` tells.
    }
  }

  /** SIGTERM to all, and SIGKILL at `killAt`; stopped processes are continued so that they can obey. */
  end(killAt: Millis): void {
    this.#beginEnding();
    this.signalAll('SIGTERM');
    this.signalAll('SIGCONT');
    this.#cancelKill();
    if (!this.#over) this.#cancelKill = this.#options.clock.at(killAt, () => this.kill());
  }

  /** SIGKILL to all, now. */
  kill(): void {
    this.#beginEnding();
    this.signalAll('SIGKILL');
  }

  #beginEnding(): void {
    this.#ending = true;
    this.#looks = 0;
    this.#looking.wake();
  }

  #untilExited(): Promise<Exit> {
    return new Promise((resolve) => {
      const ended = (code: number | null, signal: NodeJS.Signals | null): void => {
        this.#exit ??= { code, signal };
        resolve(this.#exit);
      };
      this.#child.once('exit', ended);
      this.#child.once('error', () => ended(null, null));
    });
  }

  async #untilGone(): Promise<void> {
    const { pid } = this.#child;
    await this.#looking.run(() => {
      const scan = this.#looks % looksPerScan === firstScanAt;
      if (pid === undefined || !isAlive(pid, scan)) this.#looking.stop();
      this.#looks += 1;
      return this.#ending ? lookEveryMs : lookAtLeftoversEveryMs;
    });
    this.#over = true;
    this.#cancelKill();
    if (pid !== undefined) this.#options.guardian.forget(pid);
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.destroy();
  }

  #keepTail(): void {
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#tail = (this.#tail + text).slice(-tailCharacters);
      });
    }
  }
}

/**
 * Whether anybody of the group lives. The dead whom nobody has collected yet do not count: in a container whose first
 * process does not collect orphans, they stay for ever.
 */
function isAlive(group: number, scan: boolean): boolean {
  try {
    process.kill(-group, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  return !scan || process.platform !== 'linux' || livesInProc(group);
}

function livesInProc(group: number): boolean {
  const ids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return ids.some((id) => {
    try {
      const stat = readFileSync(`/proc/${id}/stat`, 'utf8');
      // After the name, which may hold anything: state, parent, group, and as the 18th the count of threads.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const dead = (fields[0] === 'Z' || fields[0] === 'X') && Number(fields[17]) <= 1;
      return Number(fields[2]) === group && !dead;
    } catch {
      return false;
    }
  });
}
