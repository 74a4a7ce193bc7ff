// A child process that does not outlive us: it is killed when this process exits, and on Linux also
// when this process is killed outright, where util-linux is there to ask the kernel for it. Its
// output is kept in a short ring, for error messages. It promises nothing about a parent on a Mac
// that dies of SIGKILL.
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { StringDecoder } from 'node:string_decoder';

/** How a process ended: its exit code, or the signal that killed it. */
export interface ChildExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A running (or ended) child. */
export interface GuardedChild {
  readonly pid: number;
  /** Resolves at its end; never rejects. */
  readonly exited: Promise<ChildExit>;
  /** How it ended, or null while it runs. */
  exit(): ChildExit | null;
  /** The last lines of both its outputs, oldest first. */
  recentOutput(): string;
  /** Sends a signal; does nothing once it has ended. */
  signal(name: NodeJS.Signals): void;
  /**
   * SIGTERM, and SIGKILL when it is still there after `graceMs`; a stopped child is continued so that
   * it can obey. Resolves when it is gone.
   */
  stop(graceMs: number): Promise<ChildExit>;
}

/** What to run. */
export interface GuardedChildOptions {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Gets every line of output, without its end. */
  readonly onLine?: (line: string, stream: 'stdout' | 'stderr') => void;
}

/** Enough lines to see why a program failed, and no more than an error message can carry. */
const ringLines = 200;

/** A program that writes one endless line must not fill our memory. */
const longestLine = 1024 * 1024;

const running = new Set<ChildProcess>();

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

let deathSignal: boolean | undefined;

/** Whether setpriv can make the kernel kill a child when its parent dies. */
function canAskForDeathSignal(): boolean {
  deathSignal ??=
    process.platform === 'linux' &&
    spawnSync('setpriv', ['--pdeathsig', 'KILL', 'true'], { stdio: 'ignore' }).status === 0;
  return deathSignal;
}

/** Cuts a stream into lines; a last line without an end counts too. */
function eachLine(stream: NodeJS.ReadableStream | null, take: (line: string) => void): void {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  stream?.on('data', (chunk: Buffer) => {
    const lines = (rest + decoder.write(chunk)).split('\n');
    rest = (lines.pop() ?? '').slice(0, longestLine);
    lines.forEach(take);
  });
  stream?.on('end', () => {
    if (rest !== '') take(rest);
  });
}

/** Resolves to true when `done` does within `withinMs`, else to false. */
async function settles(done: Promise<unknown>, withinMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, withinMs, false);
  });
  const answer = await Promise.race([done.then(() => true), late]);
  clearTimeout(timer);
  return answer;
}

/**
 * Starts a program in a session of its own, so that a Ctrl-C in the terminal reaches us first.
 *
 * @throws Error when the program cannot be started.
 */
export async function spawnGuarded(options: GuardedChildOptions): Promise<GuardedChild> {
  const { file, args, env, onLine } = options;
  const command = [file, ...args];
  // setpriv replaces itself by the program, which so keeps the process id that we know.
  if (canAskForDeathSignal()) command.unshift('setpriv', '--pdeathsig', 'KILL', '--');
  const [first = file, ...rest] = command;
  const child = spawn(first, rest, { env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const ring: string[] = [];
  const take = (stream: 'stdout' | 'stderr') => (line: string) => {
    ring.push(line);
    if (ring.length > ringLines) ring.shift();
    onLine?.(line, stream);
  };
  eachLine(child.stdout, take('stdout'));
  eachLine(child.stderr, take('stderr'));
  let ended: ChildExit | null = null;
  // 'close' comes after the last output, so that nobody misses a program's last words.
  const exited = new Promise<ChildExit>((resolve) => {
    child.once('close', (code, signal) => {
      ended = { code, signal };
      running.delete(child);
      resolve(ended);
    });
  });
  await once(child, 'spawn');
  running.add(child);
  const signal = (name: NodeJS.Signals): void => {
    if (ended === null) child.kill(name);
  };
  return {
    pid: child.pid ?? 0,
    exited,
    exit: () => ended,
    recentOutput: () => ring.join('\n'),
    signal,
    async stop(graceMs) {
      signal('SIGTERM');
      signal('SIGCONT');
      if (!(await settles(exited, graceMs))) signal('SIGKILL');
      return exited;
    },
  };
}
