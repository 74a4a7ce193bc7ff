// How long nobody leads when a leader is killed: three candidates on one etcd, TTL 2 s, from SIGKILL to the successor's
// first 200 on /leader, each victim replaced. electord beside the etcd3 package's Election, in the same run.
//
// node scripts/run-ts.mjs test/bench/failover.ts [ROUNDS]
import { startEtcdCluster } from '../harness/etcd.ts';
import { electord, etcd3Election, heading, median, row, successions } from './rivals.ts';

const rounds = Number(process.argv[2] ?? 7);
const ttlSeconds = 2;

const cluster = await startEtcdCluster({ size: 1, extraArgs: ['--unsafe-no-fsync=false'] });
try {
  console.log(heading);
  for (const rival of [electord(cluster, ttlSeconds), await etcd3Election(cluster, ttlSeconds)]) {
    const times = await successions(rival, cluster, { rounds, signal: 'SIGKILL' });
    const share = median(times) / (ttlSeconds * 1000);
    console.log(`${row(rival.name, times)}   ${share.toFixed(2)} of the TTL`);
  }
} finally {
  await cluster.stop();
}
