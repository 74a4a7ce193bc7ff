// The child of `electord run`: one command in a process group of its own, on our terminal. How it ends is told as a
// shell would tell it.
import { constants } from 'node:os';
import { endOf, ProcessGroup, type Exit, type GroupOptions } from './process-group.ts';

/** Starts the child; it has our standard input, output and error. */
export const startChild = (options: Omit<GroupOptions, 'tied' | 'stdio'>): ProcessGroup =>
  new ProcessGroup({ ...options, tied: true, stdio: 'inherit' });

/** The exit code of a shell for a command that could not be started. */
const cannotStart = 126;

/** As a shell has it in `$?`: the command's own code, 128+N for signal N. */
export function exitCodeOf({ code, signal }: Exit): number {
  if (signal !== null) return 128 + constants.signals[signal];
  return code ?? cannotStart;
}

/** For people. */
export const howItEnded = (exit: Exit): string => `the child ${endOf(exit)}`;
