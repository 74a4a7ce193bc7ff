// The built program as a process that runs to its end.
import { join } from 'node:path';
import { spawnGuarded, type ChildExit } from '../../src/dev/etcd-child.ts';
import { projectFolder } from '../harness/binaries.ts';

export const program = join(projectFolder, 'dist', 'electord.js');

export interface Ended extends ChildExit {
  /** Lines without their ends. */
  readonly stdout: readonly string[];
  readonly stderr: readonly string[];
}

/** Without settings of the machine that the test runs on. */
export function environment(more: Record<string, string> = {}): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('ELECTORD_'));
  return { ...Object.fromEntries(own), ...more };
}

/** Runs the program to its end. */
export async function run(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Ended> {
  const output = { stdout: [] as string[], stderr: [] as string[] };
  const child = await spawnGuarded({
    file: process.execPath,
    args: [program, ...args],
    env: environment(env),
    onLine: (line, stream) => output[stream].push(line),
  });
  return { ...(await child.exited), ...output };
}
