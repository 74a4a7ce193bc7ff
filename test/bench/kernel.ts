// What the kernel says of a process and its children: memory, processor time, wake-ups. Linux only.
import { readdirSync, readFileSync } from 'node:fs';

const read = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // It, or this thread of it, has just ended.
    return '';
  }
};

function threadsOf(pid: number): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map((thread) => `/proc/${pid}/task/${thread}`);
  } catch {
    return [];
  }
}

/** The process and whoever descends from it. */
function familyOf(pid: number): readonly number[] {
  const children = threadsOf(pid)
    .flatMap((thread) => read(`${thread}/children`).trim().split(' '))
    .filter((text) => text !== '');
  return [pid, ...children.flatMap((child) => familyOf(Number(child)))];
}

const sum = (values: readonly number[]): number => values.reduce((one, other) => one + other, 0);

const field = (text: string, name: string): number =>
  Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);

/** Resident memory in MiB. */
export const residentMib = (pid: number): number =>
  sum(familyOf(pid).map((each) => field(read(`/proc/${each}/status`), 'VmRSS'))) / 1024;

/** A kernel without the scheduler's own count, in ns, still has this one, in ticks of 10 ms. */
function ticksUs(pid: number): number {
  const fields = read(`/proc/${pid}/stat`)
    .replace(/^.*\) /s, '')
    .split(' ');
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) * 10_000;
}

/** Processor time since its start, user's and system's, in µs. */
export const processorUs = (pid: number): number =>
  sum(
    familyOf(pid).map((each) => {
      const spent = threadsOf(each).map((thread) => read(`${thread}/schedstat`).split(' ')[0]);
      return sum(spent.map(Number)) / 1000 || ticksUs(each);
    }),
  );

/** How often its threads went to sleep and were woken, since its start. */
export const wakeUps = (pid: number): number =>
  sum(
    familyOf(pid)
      .flatMap(threadsOf)
      .map((thread) => field(read(`${thread}/status`), 'voluntary_ctxt_switches')),
  );
