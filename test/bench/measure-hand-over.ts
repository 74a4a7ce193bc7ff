// How long nobody leads when a leader is told to stop: three candidates on one etcd, from the signal to the successor's
// first 200 on /leader, each leaver replaced. electord beside the etcd3 package's Election and Go's library, in the same
// run.
import type { Figure, Judged } from './figures.ts';
import { ttlSeconds } from './lab.ts';
import { electord, etcd3Election, goElection, goLibrary, successions } from './rivals.ts';
import type { Bench } from './sections.ts';

/** The most that our median may be of the etcd3 package's; the benchmark fails where it is more. */
export const mostOfEtcd3 = 0.5;

const name = 'hand-over by SIGTERM';

export async function handOver({ lab, rounds }: Bench): Promise<readonly Figure[]> {
  const { cluster, goProgram } = lab;
  const times = async (rival: ReturnType<typeof electord>): Promise<readonly number[]> =>
    successions(rival, cluster, { rounds, signal: rival.leave });
  const values = {
    electord: await times(electord(cluster, ttlSeconds)),
    etcd3: await times(await etcd3Election(cluster, ttlSeconds)),
    etcdctl: await times(await goElection(cluster)),
    ...(goProgram === null ? {} : { go: await times(goLibrary(cluster, ttlSeconds, goProgram)) }),
  };
  const target = { of: ['go', 'etcdctl'], atMost: 1 } as const;
  return [{ name, unit: 'ms', digits: 1, values, target }];
}

/** A sentence where our hand-over was measured and is too slow for this benchmark to succeed. */
export function tooSlow(rows: readonly Judged[]): string | null {
  const { electord: ours, etcd3: theirs } = rows.find((row) => row.name === name)?.medians ?? {};
  if (ours === undefined || theirs === undefined || ours <= theirs * mostOfEtcd3) return null;
  return `hand-over takes ${(ours / theirs).toFixed(2)} of what etcd3 takes; it has to be ${mostOfEtcd3} at most`;
}
