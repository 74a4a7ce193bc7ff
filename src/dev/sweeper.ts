// A process that waits for `electord dev` to end, and then ends what that left behind: after a clean
// end there is nothing to do; after a crash or a SIGKILL it kills the processes and removes the folder
// it was told of. Promises to look at nothing else, and to end itself.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';

/** The side of `electord dev`. */
export interface Sweeper {
  readonly pid: number;
  /** To be killed if `electord dev` vanishes. */
  watch(pid: number): void;
  /** It has ended: its number may belong to a stranger soon. */
  forget(pid: number): void;
  /** Says that all is cleaned up; resolves when the sweeper is gone. */
  dismiss(): Promise<void>;
}

/**
 * @param command how to run the sweeper's side
 * @param folder to be removed if `electord dev` vanishes
 */
export async function startSweeper(
  command: readonly string[],
  folder: string,
  environment: NodeJS.ProcessEnv,
): Promise<Sweeper> {
  const child = spawn(process.execPath, [...command, folder], {
    env: environment,
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  // It was killed: there is no one left to tell, and nothing here depends on it.
  child.stdin.on('error', () => undefined);
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => {
      resolve();
    });
  });
  await once(child, 'spawn');
  return {
    pid: child.pid ?? 0,
    watch: (pid) => void child.stdin.write(`watch ${pid}\n`),
    forget: (pid) => void child.stdin.write(`forget ${pid}\n`),
    dismiss: async () => {
      child.stdin.end('dismissed\n');
      await exited;
    },
  };
}

/** The side of the sweeper itself; its standard input ends when `electord dev` does. */
export async function runSweeper(folder: string): Promise<number> {
  const pids = new Set<number>();
  for await (const line of createInterface({ input: process.stdin })) {
    const [word, argument] = line.split(' ');
    if (word === 'dismissed') return 0;
    const pid = Number(argument);
    if (!Number.isInteger(pid) || pid <= 1) continue;
    if (word === 'watch') pids.add(pid);
    if (word === 'forget') pids.delete(pid);
  }
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
  await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  return 0;
}
