// What the app beside a sidecar costs in a hand-over: three electords on one etcd, each leaver replaced, all in one run.
// Measured are the signal to the successor's first 200; the release of the key to that 200, without and with a
// step-down hook of 2 s; and the death of a child of `run` to that 200. Fails where the median after a hook is above
// 20 ms, or that after a child's death above 100 ms.
//
// node scripts/run-ts.mjs test/bench/app-side.ts [ROUNDS]
import { Etcd3 } from 'etcd3';
import { startEtcdCluster } from '../harness/etcd.ts';
import { within } from '../harness/wait.ts';
import { electord, heading, median, row, successions, type Candidate } from './rivals.ts';

const rounds = Number(process.argv[2] ?? 9);
const ttlSeconds = 5;
const hookMs = 2000;
const mostReleaseToClaimMs = 20;
const mostDeathToClaimMs = 100;

const cluster = await startEtcdCluster({ size: 1, extraArgs: ['--unsafe-no-fsync=false'] });
const etcd = new Etcd3({ hosts: cluster.endpoints });
try {
  const plain = electord(cluster, ttlSeconds);
  const watcher = await etcd.watch().prefix(plain.queuePrefix).create();
  /** Asks the leader to leave; resolves to when its key was seen to go. */
  const untilReleased = (leader: Candidate): Promise<number> => {
    const gone = new Promise<number>((resolve) => {
      watcher.once('delete', () => resolve(performance.now()));
    });
    leader.child.signal('SIGTERM');
    return within(gone, { withinMs: 30_000, what: 'the release of the key' });
  };
  const untilChildDead = (leader: Candidate): Promise<number> => {
    const pid = Number(/^up (\d+)$/m.exec(leader.child.recentOutput())?.[1]);
    const at = performance.now();
    process.kill(pid, 'SIGKILL');
    return Promise.resolve(at);
  };
  const hook = [`--on-step-down=exec:sleep ${String(hookMs / 1000)}`];
  const hooked = electord(cluster, ttlSeconds, { name: 'release, hook', args: hook });
  const command = ['sh', '-c', 'echo up $$; exec sleep 1000'];
  const running = electord(cluster, ttlSeconds, { name: 'child killed', command });
  const signal = 'SIGTERM';

  console.log(heading);
  const times = async (name: string, ...[rival, end]: [typeof plain, typeof untilReleased?]) => {
    const how = { rounds, signal, ...(end === undefined ? {} : { end }) } as const;
    const all = await successions(rival, cluster, how);
    console.log(row(name, all));
    return median(all);
  };
  const signalled = await times('SIGTERM', plain);
  const released = await times('release, no hook', plain, untilReleased);
  const afterHook = await times('release, 2 s hook', hooked, untilReleased);
  const afterDeath = await times('child killed', running, untilChildDead);
  const added = afterHook - released;
  console.log(
    `release to claim: ${(afterHook / released).toFixed(2)} of what it is without a hook, ${added.toFixed(1)} ms more; ` +
      `child's death to claim: ${(afterDeath / signalled).toFixed(2)} of a planned hand-over`,
  );
  if (!(afterHook <= mostReleaseToClaimMs && afterDeath <= mostDeathToClaimMs))
    process.exitCode = 1;
  await watcher.cancel();
} finally {
  etcd.close();
  await cluster.stop();
}
