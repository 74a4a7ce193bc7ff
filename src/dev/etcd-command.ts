// Runs one outside program to its end, for the search for an etcd: bounded in time and in what it
// keeps of the output, never through a shell. It does not keep anything running in the background.
import { execFile } from 'node:child_process';

/** What a finished program left behind. `code` is null where it could not run or was killed. */
export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Options of {@link runCommand}. */
export interface CommandOptions {
  /** The most that the program may take; it is killed after that. */
  readonly timeoutMs: number;
  readonly cwd?: string;
  /** The whole environment; this process's own by default. */
  readonly env?: NodeJS.ProcessEnv;
}

/** More output than this is a program gone wrong; package lists stay far below it. */
const maxOutputBytes = 16 * 1024 * 1024;

/**
 * Runs `file` with `args` and answers how it ended. A program that does not exist, fails or runs out
 * of time is an answer too, never an exception.
 */
export function runCommand(
  file: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<CommandResult> {
  const { timeoutMs, ...rest } = options;
  return new Promise((resolve) => {
    execFile(
      file,
      [...args],
      { ...rest, timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: maxOutputBytes },
      (error, stdout, stderr) => {
        if (error === null) {
          resolve({ code: 0, stdout, stderr });
          return;
        }
        const code = typeof error.code === 'number' ? error.code : null;
        resolve({ code, stdout, stderr: stderr === '' ? error.message : stderr });
      },
    ).stdin?.end();
  });
}

/** The last lines of a program's complaint, short enough for an error message. */
export function complaint(result: CommandResult): string {
  const text = `${result.stdout}\n${result.stderr}`;
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  return lines.slice(-4).join(' | ').slice(0, 600);
}
