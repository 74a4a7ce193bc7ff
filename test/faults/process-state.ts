// What Linux says of a process: whether a stop signal has taken effect on all of it.
import { readdirSync, readFileSync } from 'node:fs';

/** The letter of a task's state: `R` running, `S` sleeping, `T` stopped. */
const stateOf = (file: string): string =>
  // The name before it may contain anything, parentheses too.
  readFileSync(file, 'utf8')
    .replace(/^.*\) /s, '')
    .charAt(0);

/** Whether every thread of the process is stopped; false for one that does not run. */
export function isStopped(pid: number): boolean {
  try {
    const tasks = readdirSync(`/proc/${pid}/task`);
    return tasks.every((task) => stateOf(`/proc/${pid}/task/${task}/stat`) === 'T');
  } catch {
    return false;
  }
}
