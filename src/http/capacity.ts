// How many connections each listener takes: what follows from the file descriptors that this process may open, since whoever
// uses up the last one shuts out everybody, etcd included. Each listener has a share of its own.
import { readFileSync } from 'node:fs';
import type { Side } from './inputs.ts';

/** For one listener. */
interface Share {
  readonly maxConnections: number;
  /** How many of them may be streams of `/events`; the others stay free for questions. */
  readonly maxStreams: number;
}

export type Capacity = Readonly<Record<Side, Share>>;

/** For etcd, the log, the pipes of checks, hooks and children, files that are read anew, and Node itself, which takes 25. */
const reserved = 64;
/** Few connections cost more than that in memory: some 20 kB each while they do nothing. */
const connectionsAtMost = 8192;
/** What any system allows that is not asked; Node raises the soft limit to the hard one when it starts. */
const assumedOpenFiles = 1024;

/** How many file descriptors this process may have open at a time; a cautious guess where the system does not say. */
export function openFilesAllowed(): number {
  try {
    const [, soft = ''] = /^Max open files +(\d+|unlimited)/m.exec(
      readFileSync('/proc/self/limits', 'utf8'),
    ) ?? ['', String(assumedOpenFiles)];
    return soft === 'unlimited' ? Infinity : Number(soft);
  } catch {
    return assumedOpenFiles;
  }
}

/** At least one of each, however few there are: a listener that takes nobody could not even say that it is alive. */
function share(connections: number): Share {
  const maxConnections = Math.max(2, Math.min(connectionsAtMost, Math.floor(connections)));
  return { maxConnections, maxStreams: Math.floor(maxConnections / 2) };
}

/**
 * Half of what is left goes to the public listener and a quarter to the local one; the last quarter is for what comes and
 * goes with them, such as the questions to other members while a status page is open.
 */
export function capacityOf(openFiles: number): Capacity {
  const left = openFiles - reserved;
  return { public: share(left / 2), local: share(left / 4) };
}

/**
 * How many connections each of `count` proxies takes. Each has one to an app beside it: together they may use up twice the
 * last quarter, since all of these are hardly ever full at once.
 */
export const proxiedAtMost = (openFiles: number, count: number): number =>
  share((openFiles - reserved) / 4 / count).maxConnections;
