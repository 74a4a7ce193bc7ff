// How long nobody leads when a leader is told to stop: three candidates on one etcd, from the signal to the successor's
// first 200 on /leader, each leaver replaced. electord beside the etcd3 package's Election and Go's library, in the same
// run. Fails when our median is more than half of the etcd3 package's.
//
// node scripts/run-ts.mjs test/bench/hand-over.ts [ROUNDS]
import { startEtcdCluster } from '../harness/etcd.ts';
import {
  electord,
  etcd3Election,
  goElection,
  heading,
  median,
  row,
  successions,
} from './rivals.ts';

const rounds = Number(process.argv[2] ?? 15);
const ttlSeconds = 5;
/** The most that our median may be of the etcd3 package's. */
const target = 0.5;

// etcd writes to the disk here, as it does in life; the tests spare that.
const cluster = await startEtcdCluster({ size: 1, extraArgs: ['--unsafe-no-fsync=false'] });
try {
  const medians = new Map<string, number>();
  console.log(heading);
  for (const rival of [
    electord(cluster, ttlSeconds),
    await etcd3Election(cluster, ttlSeconds),
    await goElection(cluster),
  ]) {
    const times = await successions(rival, cluster, { rounds, signal: rival.leave });
    medians.set(rival.name, median(times));
    console.log(row(rival.name, times));
  }
  const ratio = (medians.get('electord') ?? NaN) / (medians.get('etcd3 Election') ?? NaN);
  console.log(`electord takes ${ratio.toFixed(2)} of what etcd3 takes; the target is ${target}`);
  if (!(ratio <= target)) process.exitCode = 1;
} finally {
  await cluster.stop();
}
