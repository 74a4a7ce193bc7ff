// Many elections are read in one request, and yet each is answered by itself: one that may not be read and a group whose
// answer is lost take no other election with them, neither its confirmation nor its watch.
import { afterEach, expect, test, vi } from 'vitest';
import { endedAfterEach } from '../harness/cleanups.ts';
import { electionName, memberId, type ElectionName } from '../../src/core/model.ts';
import { Elector } from '../../src/elector/elector.ts';
import { Denied, Unreachable } from '../../src/errors.ts';
import { Cluster } from '../../src/etcd/cluster.ts';
import { newLeaseId } from '../../src/etcd/lease-id.ts';
import type { Notice, WatchNotice } from '../../src/ports.ts';
import { startEtcdCluster, type EtcdCluster } from '../harness/etcd.ts';
import { eventually } from '../harness/wait.ts';
import {
  anyLease,
  clock,
  connectTo,
  granted,
  me,
  orders,
  type Connection,
} from './etcd-connection.ts';

const secret = electionName('secret');
const user = { username: 'narrow', password: 'correct-horse-battery' };
const cleanups = endedAfterEach();

afterEach(() => {
  vi.restoreAllMocks();
});

const permit = (cluster: EtcdCluster, root: string): Promise<string> =>
  cluster.etcdctl([
    ...['role', 'grant-permission', 'narrow', '--prefix=true', 'readwrite'],
    `/electord/${root}`,
  ]);

/** Somebody who may do everything in every election but in `secret`. */
async function narrow(
  version: '3.4' | '3.5' = '3.5',
): Promise<Connection & { readonly cluster: EtcdCluster }> {
  const auth = { username: 'wide', password: 'correct-horse-battery' };
  const cluster = await startEtcdCluster({ size: 1, auth, version });
  cleanups.push(cluster.stop);
  await cluster.etcdctl(['role', 'add', 'narrow']);
  await cluster.etcdctl(['user', 'add', `${user.username}:${user.password}`]);
  await cluster.etcdctl(['user', 'grant-role', user.username, 'narrow']);
  for (const root of ['orders/', 'e-']) await permit(cluster, root);
  const connection = connectTo(cluster.endpoints, { login: () => user });
  cleanups.push(() => connection.coordinator.close());
  return { ...connection, cluster };
}

const many = Array.from({ length: 59 }, (_, index) => electionName(`e-${index}`));

test('an election that may not be read fails alone', async () => {
  const { coordinator, requests } = await narrow();
  const names = [...many.slice(0, 30), secret, ...many.slice(30)];
  const outcomes = await Promise.allSettled(coordinator.observe(names));
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(59);
  expect(outcomes[30]).toMatchObject({ status: 'rejected', reason: expect.any(Denied) as Denied });
  // Three groups, and each election of the second one again.
  expect(requests.filter(({ operation }) => operation === 'observe')).toHaveLength(3 + 25);
});

test('a group whose answer is lost fails alone, and at once', async () => {
  const cluster = await startEtcdCluster({ size: 1 });
  cleanups.push(cluster.stop);
  const { coordinator } = connectTo(cluster.endpoints);
  cleanups.push(() => coordinator.close());
  const spy = vi.spyOn(Cluster.prototype, 'request');
  spy.mockRejectedValueOnce(new Unreachable('lost'));
  const outcomes = await Promise.allSettled(coordinator.observe(many));
  const failures = outcomes.flatMap((one) =>
    one.status === 'rejected' ? [one.reason as unknown] : [],
  );
  expect(failures).toHaveLength(25);
  expect(new Set(failures).size).toBe(1);
  expect(outcomes.slice(25).every(({ status }) => status === 'fulfilled')).toBe(true);
  expect(spy).toHaveBeenCalledTimes(3);
});

test('the watch of the others goes on, and takes the election in once it may be read', async () => {
  const { coordinator, cluster } = await narrow();
  const notices: WatchNotice[] = [];
  const told = (kind: WatchNotice['kind'], election: ElectionName): boolean =>
    notices.some((one) => one.kind === kind && 'election' in one && one.election === election);
  const cancel = coordinator.watch([orders, secret], (notice) => notices.push(notice));
  cleanups.push(cancel);
  await eventually(() => told('snapshot', orders), { withinMs: 20_000, what: 'a snapshot' });
  const lease = anyLease();
  await coordinator.grant(lease, 60_000);
  await coordinator.join(orders, granted(lease), me);
  await eventually(() => told('change', orders), { withinMs: 20_000, what: 'a change' });
  expect(told('snapshot', secret)).toBe(false);
  await permit(cluster, 'secret/');
  await eventually(() => told('snapshot', secret), { withinMs: 30_000, what: 'its snapshot' });
  await coordinator.join(secret, granted(lease), me);
  await eventually(() => told('change', secret), { withinMs: 20_000, what: 'its change' });
  const snapshots = notices.filter((one) => one.kind === 'snapshot' && one.election === orders);
  expect(snapshots).toHaveLength(1);
});

test.each(['3.4', '3.5'] as const)(
  'etcd %s: an election that may be read and not watched ends no watch but its own',
  async (version) => {
    const { coordinator, cluster } = await narrow(version);
    const read = ['role', 'grant-permission', 'narrow', 'read'];
    for (const tree of ['candidates/', 'members/']) await permit(cluster, `secret/${tree}`);
    for (const key of ['control', 'control/switchover', 'handover']) {
      await cluster.etcdctl([...read, `/electord/secret/${key}`]);
    }
    const notices: WatchNotice[] = [];
    cleanups.push(coordinator.watch([secret, orders], (notice) => notices.push(notice)));
    const snapshotsOf = (name: ElectionName): number =>
      notices.filter((one) => one.kind === 'snapshot' && one.election === name).length;
    // Its own watch is opened and refused again and again, more slowly; each time with a snapshot.
    await eventually(() => snapshotsOf(secret) >= 4, { withinMs: 20_000, what: 'its snapshots' });
    const lease = anyLease();
    await coordinator.grant(lease, 60_000);
    await coordinator.join(orders, granted(lease), me);
    const changed = (one: WatchNotice): boolean => one.kind === 'change' && one.election === orders;
    await eventually(() => notices.some(changed), { withinMs: 20_000, what: 'a change' });
    // Once at first, and once without the other.
    expect(snapshotsOf(orders)).toBeLessThanOrEqual(2);
  },
);

test('an elector leads where it can read, and is told once of what fails together', async () => {
  const { coordinator, requests } = await narrow();
  const troubles: Extract<Notice, { kind: 'trouble' }>[] = [];
  const elector = new Elector({
    elections: [orders, secret],
    me: { ...me, id: memberId('a') },
    timing: {
      ttlMs: 2000,
      marginMs: 200,
      takeoverDelayMs: 0,
      graceMs: 500,
      stopLeadMs: 0,
      fastFailoverMs: null,
    },
    pings: null,
    clock,
    coordinator,
    app: null,
    appHealthy: true,
    whenAllUnhealthy: 'none',
    validation: 'all',
    random: Math.random,
    newLeaseId,
    onFatal: (failure) => {
      throw failure;
    },
  });
  elector.subscribe((notice) => {
    if (notice.kind === 'trouble' && notice.operation === 'observe') troubles.push(notice);
  });
  elector.start();
  cleanups.push(() => elector.stop());
  const leads = (): boolean => elector.report(orders).role === 'leader';
  await eventually(leads, { withinMs: 20_000, what: 'the term' });
  const { token } = elector.report(orders);
  const failed = (): number =>
    requests.filter(({ operation, result }) => operation === 'observe' && result === 'failed')
      .length;
  // Each round asks for both at once, then for each, and is refused twice: of more than a TTL without a confirmation.
  const from = failed();
  await eventually(() => failed() >= from + 24 || !leads(), { withinMs: 20_000, what: 'rounds' });
  expect(elector.report(orders)).toMatchObject({ role: 'leader', token });
  expect(elector.report(secret).role).toBe('unknown');
  expect(troubles.length).toBeGreaterThan(0);
  expect(new Set(troubles.map(({ election }) => election))).toEqual(new Set([secret]));
});
