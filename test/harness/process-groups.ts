// Who is alive in a process group, for tests on processes that must not be left behind. The dead that nobody has
// collected yet do not count.
import { execFileSync } from 'node:child_process';
import { eventually } from './wait.ts';

interface Listed {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  readonly command: string;
}

function living(): readonly Listed[] {
  const text = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,pgid=,stat=,args='], {
    encoding: 'utf8',
  });
  return text.split('\n').flatMap((line) => {
    const [pid, parent, group, state, ...command] = line.trim().split(/\s+/);
    if (state === undefined || state.startsWith('Z')) return [];
    const entry = { pid: Number(pid), parent: Number(parent), group: Number(group) };
    return [{ ...entry, command: command.join(' ') }];
  });
}

/** The processes of the group that live now. */
export const membersOf = (group: number): readonly number[] =>
  living().flatMap((one) => (one.group === group ? [one.pid] : []));

/** The living children of a process of which the command line matches. */
export const childrenOf = (parent: number, command: RegExp): readonly number[] =>
  living().flatMap((one) => (one.parent === parent && command.test(one.command) ? [one.pid] : []));

/** Waits until nobody of the group lives. */
export async function untilGone(group: number, withinMs: number): Promise<void> {
  await eventually(() => membersOf(group).length === 0, {
    withinMs,
    what: `the end of process group ${group}`,
  });
}
