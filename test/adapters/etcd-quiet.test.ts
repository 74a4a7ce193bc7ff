// A watch on an etcd where nothing is written for a long time, and one through etcd's own proxy: neither is taken for
// mute, whatever of etcd's answers to progress requests differs between versions.
import { afterEach, describe, expect, test, vi } from 'vitest';
import { endedAfterEach } from '../harness/cleanups.ts';
import { spawnGuarded } from '../../src/dev/etcd-child.ts';
import { electionName } from '../../src/core/model.ts';
import { Endpoint } from '../../src/etcd/endpoint.ts';
import { watchProbe } from '../../src/policies.ts';
import type { WatchNotice } from '../../src/ports.ts';
import { etcdBinaries } from '../harness/binaries.ts';
import { startEtcdCluster, type EtcdCluster } from '../harness/etcd.ts';
import { reservePort } from '../harness/ports.ts';
import { eventually } from '../harness/wait.ts';
import {
  anyLease,
  clock,
  connectTo,
  granted,
  idsIn,
  me,
  orders,
  watchOrders,
} from './etcd-connection.ts';

const ttlMs = 2000;
const cleanups = endedAfterEach();
afterEach(() => {
  vi.restoreAllMocks();
});

const of = <Kind extends WatchNotice['kind']>(notices: readonly WatchNotice[], kind: Kind) =>
  notices.filter((notice) => notice.kind === kind) as Extract<WatchNotice, { kind: Kind }>[];

/** Counts the answers to progress requests from now on. */
function countProgress(): () => number {
  let count = 0;
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called with the endpoint that was asked.
  const open = Endpoint.prototype.open;
  vi.spyOn(Endpoint.prototype, 'open').mockImplementation(async function (
    this: Endpoint,
    begin: Parameters<typeof open>[0],
  ) {
    const opened = await open.call(this, begin);
    (opened.stream as unknown as NodeJS.EventEmitter).on('data', (answer: object) => {
      if ('watch_id' in answer && answer.watch_id === '-1') count += 1;
    });
    return opened;
  });
  return () => count;
}

async function start(version: EtcdCluster['version']): Promise<EtcdCluster> {
  const cluster = await startEtcdCluster({ size: 1, version });
  cleanups.push(cluster.stop);
  return cluster;
}

describe.each(['3.4', '3.5', '3.5.30'] as const)('etcd %s', (version) => {
  test('a restarted etcd where nothing is written answers every probe of the watch', async () => {
    const cluster = await start(version);
    await cluster.etcdctl(['put', 'something', 'else']);
    const progress = countProgress();
    const { coordinator } = connectTo(cluster.endpoints, { ttlMs });
    cleanups.push(() => coordinator.close());
    const { notices } = watchOrders(coordinator);
    await eventually(() => notices.length > 0, { withinMs: 20_000, what: 'a snapshot' });
    await cluster.nodes[0]!.restart();
    await eventually(() => of(notices, 'snapshot').length > 1, {
      withinMs: 20_000,
      what: 'another',
    });
    const from = progress();
    const mute = (): boolean => of(notices, 'interrupted').some(({ why }) => /mute/.test(why));
    await eventually(() => progress() >= from + 3 || mute(), {
      withinMs: 20_000,
      what: 'three probes',
    });
    expect(mute()).toBe(false);
  });

  test('a watch begins behind its snapshot, compacted there or not', async () => {
    const cluster = await start(version);
    const { coordinator } = connectTo(cluster.endpoints);
    cleanups.push(() => coordinator.close());
    const lease = anyLease();
    await coordinator.grant(lease, 60_000);
    const { value } = await coordinator.join(orders, granted(lease), me);
    await cluster.etcdctl(['compaction', value.createRevision.toString()]);
    const { notices } = watchOrders(coordinator);
    await eventually(() => notices.length > 0, { withinMs: 20_000, what: 'a snapshot' });
    await coordinator.release({
      election: orders,
      leaseId: lease,
      createRevision: value.createRevision,
      handover: null,
      term: null,
      succession: null,
    });
    await eventually(() => of(notices, 'change').length > 0, { withinMs: 20_000, what: 'the end' });
    expect(notices.map(({ kind }) => kind)).toEqual(['snapshot', 'change']);
    const [change] = of(notices, 'change');
    expect(change!.change).toMatchObject({ candidates: [], removedCandidates: [lease] });
  });

  test('through a proxy of etcd every event arrives, of its own election, and nothing is mute', async () => {
    const cluster = await start(version);
    const port = await reservePort();
    const { etcd } = (await etcdBinaries())[version];
    const proxy = await spawnGuarded({
      file: etcd,
      args: [
        ...['grpc-proxy', 'start', `--endpoints=${cluster.endpoints[0]!.replace('http://', '')}`],
        `--listen-addr=127.0.0.1:${port}`,
      ],
      env: {},
    });
    cleanups.push(async () => {
      await proxy.stop(0);
    });
    const { coordinator } = connectTo([`http://127.0.0.1:${port}`], { ttlMs });
    cleanups.push(() => coordinator.close());
    const lease = anyLease();
    await eventually(() => coordinator.grant(lease, 60_000), { withinMs: 20_000, what: 'a lease' });
    const names = [orders, electionName('others'), electionName('last')];
    const notices: WatchNotice[] = [];
    coordinator.watch(names, (notice) => notices.push(notice));
    await eventually(() => of(notices, 'snapshot').length === 3, {
      withinMs: 20_000,
      what: 'snapshots',
    });
    for (const name of names) {
      await coordinator.join(name, granted(lease), me);
      const changed = (): boolean => of(notices, 'change').some((one) => one.election === name);
      await eventually(changed, { withinMs: 20_000, what: `the change of ${name}` });
    }
    expect(idsIn(of(notices, 'change'))).toEqual([me.id, me.id, me.id]);
    // Three probes of a watch that is asked for its progress.
    const until = clock.now() + 3 * watchProbe(ttlMs).everyMs + watchProbe(ttlMs).answerWithinMs;
    await eventually(() => clock.now() > until, { withinMs: 20_000, what: 'the time of probes' });
    expect(of(notices, 'interrupted')).toEqual([]);
  });
});
