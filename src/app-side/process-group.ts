// A command in a process group of its own, which is signalled and waited for as a whole, forks included. It begins
// only when the guardian knows of it, so that nothing of it survives us. Processes that leave the group (`setsid`)
// are out of sight.
import type { StdioOptions } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import type { Duplex, Readable } from 'node:stream';
import type { Millis } from '../core/model.ts';
import type { Clock } from '../ports.ts';
import { Loop } from '../process/loop.ts';
import type { Guardian } from './guardian.ts';
import { startProcess, type StartedProcess } from './start-process.ts';

/** How the group's first process ended; `code` and `signal` are null where it could not be started. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Why it could not be started, an error code such as EMFILE; else null. */
  readonly notStarted: string | null;
}

/** For people: how it ended, as a clause that follows "it". */
export function endOf({ code, signal, notStarted }: Exit): string {
  if (notStarted !== null) return `could not be started (${notStarted})`;
  return signal === null ? `ended with exit code ${code ?? 'unknown'}` : `died of ${signal}`;
}

/** How a group is asked to end: by which signal, and whether all of it is asked at once or its first process alone. */
export interface StopRequest {
  readonly signal: NodeJS.Signals;
  readonly scope: 'process' | 'group';
}

const everybodyTerm: StopRequest = { signal: 'SIGTERM', scope: 'group' };

export interface GroupOptions {
  readonly command: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  /** Whether the group acts for a term, and is to be dead when the lease runs out. */
  readonly tied: boolean;
  readonly stdio: 'inherit' | 'ignore' | 'tail';
  /** SIGTERM to all where nothing is said. */
  readonly stopRequest?: StopRequest;
  readonly guardian: Guardian;
  readonly clock: Clock;
}

/**
 * The shell waits for a word on the third descriptor, or for its end, which is ours; then it becomes the command,
 * keeping the process id that was told to the guardian. A command that is not there is the shell's 127, or 126.
 */
const gate = 'read -r go <&3 || exit 126; exec 3<&-; exec';

/** What every shell hands on; others, such as `spring.profiles.active`, some drop. */
const plainName = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * The gate with the environment that the command is to have. What a shell may drop goes through it under names that it
 * keeps, and `env` puts it back: not as arguments of the shell, which everybody on the machine could read while it waits.
 */
function gated(environment: NodeJS.ProcessEnv): {
  readonly script: string;
  readonly environment: NodeJS.ProcessEnv;
} {
  const variables = Object.entries(environment);
  const odd = variables.filter(([name]) => !plainName.test(name));
  if (odd.length === 0) return { script: `${gate} "$@"`, environment };
  const carried = odd.map(
    ([name, value = ''], index) => [`ELECTORD_CARRIED_${index}`, `${name}=${value}`] as const,
  );
  const unset = carried.map(([name]) => `-u ${name}`).join(' ');
  const put = carried.map(([name]) => `"$${name}"`).join(' ');
  const kept = variables.filter(([name]) => plainName.test(name));
  return {
    script: `${gate} env ${unset} -- ${put} "$@"`,
    environment: Object.fromEntries([...kept, ...carried]),
  };
}

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
  readonly #process: StartedProcess;
  /** What it writes, where it was started with `tail`. */
  readonly #outputs: readonly Readable[];
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
    const { script, environment: env } = gated(environment);
    const started = startProcess('/bin/sh', ['-c', script, 'electord', ...command], {
      env,
      stdio: channels,
      // A new session, and so a new group. Without a controlling terminal, it can still read from ours.
      detached: true,
    });
    this.#process = started;
    this.#outputs =
      started.kind === 'runs'
        ? [started.child.stdout, started.child.stderr].filter((one) => one !== null)
        : [];
    this.exited = this.#untilExited();
    this.gone = this.exited.then(() => this.#untilGone());
    this.#keepTail();
    if (started.kind === 'failed') return;
    const start = started.child.stdio[3] as Duplex | null | undefined;
    // The group may be killed before it was let in.
    start?.on('error', () => undefined);
    guardian.watch(started.pid, tied, () => start?.end('go\n'));
  }

  get pid(): number | null {
    return this.#process.kind === 'runs' ? this.#process.pid : null;
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
    if (this.#exit === null && this.#process.kind === 'runs') this.#process.child.kill(name);
  }

  /** Sends a signal to every process of the group. */
  signalAll(name: NodeJS.Signals): void {
    const { pid } = this;
    if (pid === null || this.#over) return;
    try {
      process.kill(-pid, name);
    } catch {
      // Nobody is left, or nobody whom we may signal: `gone` tells.
    }
  }

  /** Asks it to end, and kills all at `killAt`; stopped processes are continued so that they can obey. */
  end(killAt: Millis): void {
    this.#beginEnding();
    this.#ask(this.#options.stopRequest ?? everybodyTerm);
    this.signalAll('SIGCONT');
    this.#cancelKill();
    if (!this.#over) this.#cancelKill = this.#options.clock.at(killAt, () => this.kill());
  }

  /** SIGKILL to all, now. */
  kill(): void {
    this.#beginEnding();
    this.signalAll('SIGKILL');
  }

  /** Where the first process alone is asked, the others are once it has ended: they may be its own to end. */
  #ask({ signal, scope }: StopRequest): void {
    if (scope === 'group' || this.#exit !== null) {
      this.signalAll(signal);
      return;
    }
    this.signal(signal);
    void this.exited.then(() => this.signalAll(signal));
  }

  #beginEnding(): void {
    this.#ending = true;
    this.#looks = 0;
    this.#looking.wake();
  }

  #untilExited(): Promise<Exit> {
    const started = this.#process;
    const ended =
      started.kind === 'failed'
        ? started.why.then((notStarted): Exit => ({ code: null, signal: null, notStarted }))
        : new Promise<Exit>((resolve) => {
            started.child.once('exit', (code, signal) =>
              resolve({ code, signal, notStarted: null }),
            );
          });
    return ended.then((exit) => (this.#exit = exit));
  }

  async #untilGone(): Promise<void> {
    const { pid } = this;
    await this.#looking.run(() => {
      const scan = this.#looks % looksPerScan === firstScanAt;
      if (pid === null || !isAlive(pid, scan)) this.#looking.stop();
      this.#looks += 1;
      return this.#ending ? lookEveryMs : lookAtLeftoversEveryMs;
    });
    this.#over = true;
    this.#cancelKill();
    if (pid !== null) this.#options.guardian.forget(pid);
    for (const output of this.#outputs) output.destroy();
  }

  #keepTail(): void {
    for (const output of this.#outputs) {
      output.setEncoding('utf8').on('data', (text: string) => {
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

/** What says nothing of a process: we had no file, or no memory, to read of it with. */
const ownWants: readonly unknown[] = ['EMFILE', 'ENFILE', 'ENOMEM'];

/** In doubt somebody lives: what could not be read, for a want of ours, says nothing. */
function livesInProc(group: number): boolean {
  try {
    const ids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    return ids.some((id) => livesInGroup(id, group));
  } catch {
    return true;
  }
}

/** Whether this process is of the group and alive. Throws where a want of ours keeps that from being read. */
function livesInGroup(id: string, group: number): boolean {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${id}/stat`, 'utf8');
  } catch (error) {
    if (ownWants.includes((error as NodeJS.ErrnoException).code)) throw error;
    // It has ended, or is none that we may look at.
    return false;
  }
  // After the name, which may hold anything: state, parent, group, and as the 18th the count of threads.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const dead = (fields[0] === 'Z' || fields[0] === 'X') && Number(fields[17]) <= 1;
  return Number(fields[2]) === group && !dead;
}
