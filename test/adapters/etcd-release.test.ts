// Whatever etcd refuses of a release, the key goes: with too many who are passed over, for a role that may not write the
// records, and in an etcd that is full.
import { describe, expect, test } from 'vitest';
import { endedAfterEach } from '../harness/cleanups.ts';
import {
  fencingToken,
  memberId,
  type Candidate,
  type LeaseId,
  type Snapshot,
} from '../../src/core/model.ts';
import type { EtcdCoordinator } from '../../src/etcd/coordinator.ts';
import type { Release } from '../../src/ports.ts';
import { startEtcdCluster, type EtcdCluster, type EtcdClusterOptions } from '../harness/etcd.ts';
import { eventually } from '../harness/wait.ts';
import { anyLease, connectTo, granted, me, observed, orders } from './etcd-connection.ts';

const cleanups = endedAfterEach();

async function start(options: Partial<EtcdClusterOptions>): Promise<EtcdCluster> {
  const cluster = await startEtcdCluster({ size: 1, ...options });
  cleanups.push(cluster.stop);
  return cluster;
}

function connect(
  cluster: EtcdCluster,
  login: { username: string; password: string } | null = null,
): EtcdCoordinator {
  const { coordinator } = connectTo(cluster.endpoints, { login: () => login });
  cleanups.push(() => coordinator.close());
  return coordinator;
}

async function stand(coordinator: EtcdCoordinator, id: string): Promise<LeaseId> {
  const lease = anyLease();
  await coordinator.grant(lease, 600_000);
  await coordinator.join(orders, granted(lease), { ...me, id: memberId(id) });
  return lease;
}

/** A release by the first in the queue, which names the last one and passes over all between them. */
function handingOverToTheLast({ candidates }: Snapshot): Release {
  const [leader, ...rest] = candidates as readonly [Candidate, ...Candidate[]];
  const successor = rest.at(-1)!;
  const { leaseId, createRevision, id: from } = leader;
  const token = fencingToken(createRevision);
  const why = { cause: 'switchover', reason: null, actor: null } as const;
  const at = '2026-11-20T21:00:00.000Z';
  const began = {
    address: null,
    leaderlessMs: null,
    leaderlessAtMostMs: null,
    ttlMs: null,
    endBefore: null,
  };
  return {
    election: orders,
    leaseId,
    createRevision,
    handover: { from, token, to: successor.id, endedAgoMs: 0, ...why },
    term: { ...began, token, leader: from, from: at, to: at, ...why },
    succession: { successor, bypassed: rest.slice(0, -1) },
  };
}

const idsOf = ({ candidates }: Snapshot): string[] => candidates.map(({ id }) => id);

describe.each(['3.4', '3.5'] as const)('etcd %s', (version) => {
  test.each([
    // With a mark for each that goes; without marks; and the least number that does not fit at all.
    [50, 'named', 1],
    [120, 'named', 1],
    [121, null, 122],
    [140, null, 141],
  ])('%i who are passed over: the successor is %s', async (between, named, left) => {
    const coordinator = connect(await start({ version }));
    await stand(coordinator, 'leader');
    for (let count = 0; count < between; count += 1) await stand(coordinator, `between-${count}`);
    await stand(coordinator, 'named');
    const request = handingOverToTheLast((await observed(coordinator)).value);
    const { value } = await coordinator.release(request);
    expect(value.deleted).toBe(true);
    expect(value.snapshot.candidates).toHaveLength(left);
    expect(idsOf(value.snapshot)[0]).toBe(named ?? 'between-0');
    expect(value.snapshot.handover).toEqual({ ...request.handover, to: named });
    expect(await coordinator.history(orders)).toEqual([request.term]);
  });

  test.each([
    ['neither records nor marks', [], { handover: false, terms: false }],
    ['no handover', ['terms/'], { handover: false, terms: false }],
    ['no terms', ['handover'], { handover: true, terms: false }],
    ['no marks', ['terms/', 'handover'], { handover: true, terms: true }],
  ])('a role that may write %s still ends its term', async (_, more, written) => {
    const user = { username: 'narrow', password: 'correct-horse-battery' };
    const auth = { username: 'wide', password: 'correct-horse-battery' };
    const cluster = await start({ version, auth });
    await cluster.etcdctl(['role', 'add', 'narrow']);
    await cluster.etcdctl(['user', 'add', `${user.username}:${user.password}`]);
    await cluster.etcdctl(['user', 'grant-role', user.username, 'narrow']);
    const grant = (kind: string, name: string): Promise<string> =>
      cluster.etcdctl(['role', 'grant-permission', 'narrow', '--prefix=true', kind, name]);
    const root = '/electord/orders/';
    await grant('read', root);
    for (const name of ['candidates/', ...more]) await grant('readwrite', root + name);
    const coordinator = connect(cluster, user);
    for (const id of ['leader', 'between', 'named']) await stand(coordinator, id);
    const request = handingOverToTheLast((await observed(coordinator)).value);
    const { value } = await coordinator.release(request);
    expect(value.deleted).toBe(true);
    expect(idsOf(value.snapshot)).toEqual(['named']);
    expect(value.snapshot.handover).toEqual(written.handover ? request.handover : null);
    expect(await coordinator.history(orders)).toEqual(written.terms ? [request.term] : []);
  });

  test('in a full etcd the key goes, without a record', async () => {
    // Above etcd's own use of the file, so that only what is written fills it.
    const cluster = await start({ version, extraArgs: ['--quota-backend-bytes=200000'] });
    const coordinator = connect(cluster);
    const paused = { paused: true, reason: null, by: null, until: null } as const;
    for (const id of ['leader', 'between', 'named']) await stand(coordinator, id);
    await coordinator.pause(orders, paused, 600_000);
    const { candidates } = (await observed(coordinator)).value;
    const { leaseId, createRevision } = candidates[0]!;
    const writer = { election: orders, leaseId, token: fencingToken(createRevision) };
    const value = { bytes: Buffer.from('1'), contentType: 'text/plain' };
    const store = coordinator.fencedStore();
    await store.write(writer, 'k', value, null);
    const fill = (): Promise<string> => cluster.etcdctl(['put', 'big', 'x'.repeat(50_000)]);
    await eventually(() => fill().then(() => null, String), {
      withinMs: 20_000,
      what: 'a refusal',
    });
    await expect(coordinator.pause(orders, paused, 600_000)).rejects.toMatchObject({
      code: 'etcd_refused',
    });
    await coordinator.resume(orders);
    expect(await store.remove(writer, 'k', null)).toEqual({ kind: 'removed' });
    const request = handingOverToTheLast((await observed(coordinator)).value);
    const { value: released } = await coordinator.release(request);
    expect(released.deleted).toBe(true);
    expect(idsOf(released.snapshot)).toEqual(['named']);
    expect(released.snapshot).toMatchObject({ handover: null, control: null });
  });
});
