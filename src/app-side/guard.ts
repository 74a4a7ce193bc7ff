// The program of the guardian: a tiny process that outlives us by a moment. It is told which process groups belong to
// us, and kills them when its standard input ends, which it does however we die; and those tied to the lease also
// when the lease runs out while we are stopped or stuck. It needs nothing but what Node has without imports.

/** What the guardian reads, one command a line. Group ids are numbers; times are milliseconds of `process.hrtime`. */
export const commands = {
  /** A group that is killed when we die. */
  watch: (group: number): string => `watch ${group}\n`,
  /** A group that is killed also when the lease runs out. */
  tie: (group: number): string => `tie ${group}\n`,
  /** Nothing of the group is left: its number may belong to a stranger soon. */
  forget: (group: number): string => `forget ${group}\n`,
  /** The lease may be relied upon until then. */
  until: (hrtimeMs: number): string => `until ${hrtimeMs}\n`,
};

/**
 * Runs in the guardian, from its own source text: it must not refer to anything outside itself. Ends once we are dead
 * and the groups are gone, or have had a second to go.
 */
export function guard(): void {
  const everyMs = 20;
  const attempts = 50;
  const watched = new Set<number>();
  const tied = new Set<number>();
  let timer: NodeJS.Timeout | undefined;
  const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;

  /** True while somebody of these was there to be killed. */
  const kill = (groups: ReadonlySet<number>): boolean => {
    let found = false;
    for (const group of groups) {
      try {
        process.kill(-group, 'SIGKILL');
        found = true;
      } catch {
        // Gone already.
      }
    }
    return found;
  };
  const killTiedAt = (atMs: number): void => {
    clearTimeout(timer);
    const waitMs = Math.min(Math.max(0, atMs - nowMs()), 2 ** 31 - 1);
    timer = setTimeout(() => {
      if (nowMs() < atMs) killTiedAt(atMs);
      else kill(tied);
    }, waitMs);
  };
  const obey = (line: string): void => {
    const [word, argument] = line.split(' ');
    const value = Number(argument);
    // -1 and 0 would be everybody, 1 the first process of the system.
    if (!Number.isFinite(value) || value <= 1) return;
    if (word === 'watch') watched.add(value);
    else if (word === 'tie') tied.add(value);
    else if (word === 'until') killTiedAt(value);
    else if (word === 'forget') {
      watched.delete(value);
      tied.delete(value);
    }
  };
  const finish = (attempt: number): void => {
    const left = [kill(watched), kill(tied)].includes(true);
    if (!left || attempt >= attempts) process.exit(0);
    setTimeout(() => finish(attempt + 1), everyMs);
  };

  process.title = 'electord-guardian';
  // Nobody but the end of our input ends us: neither a terminal nor somebody who means electord.
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const) {
    process.on(name, () => undefined);
  }
  let rest = '';
  process.stdin.setEncoding('utf8');
  process.stdin.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    lines.forEach(obey);
  });
  let finishing = false;
  const ended = (): void => {
    if (!finishing) finish(0);
    finishing = true;
  };
  process.stdin.on('error', ended);
  process.stdin.on('close', ended);
  process.stdin.on('end', ended);
}
