// What a restore writes, delivered a second time: a copy that is late undoes nothing of what was written after it, by the
// restore itself or by the terms that follow it.
import { afterEach, expect, test, vi } from 'vitest';
import { endedAfterEach } from '../harness/cleanups.ts';
import { Etcd3, type ITxnRequest } from 'etcd3';
import { revision } from '../../src/core/model.ts';
import { Archive, type ArchivedKey } from '../../src/etcd/archive.ts';
import { Cluster } from '../../src/etcd/cluster.ts';
import { startEtcdCluster } from '../harness/etcd.ts';
import { anyLease, connectTo, granted, me, optionsFor, orders } from './etcd-connection.ts';

const cleanups = endedAfterEach();
afterEach(() => {
  vi.restoreAllMocks();
});

async function* keysWith(value: string): AsyncGenerator<ArchivedKey> {
  // More than are written at once.
  for (let count = 0; count < 100; count += 1) {
    yield await Promise.resolve({ key: `state/k${count}`, value: Buffer.from(value), meta: null });
  }
}

test.each(['3.4', '3.5'] as const)('etcd %s: late copies of a restore', async (version) => {
  const cluster = await startEtcdCluster({ size: 1, version });
  cleanups.push(cluster.stop);
  const archive = new Archive(optionsFor(cluster.endpoints));
  const raw = new Etcd3({ hosts: cluster.endpoints });
  const { coordinator } = connectTo(cluster.endpoints);
  cleanups.push(() => {
    archive.close();
    raw.close();
    coordinator.close();
  });
  const sent: ITxnRequest[] = [];
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called with the cluster that was asked.
  const transact = Cluster.prototype.transact;
  vi.spyOn(Cluster.prototype, 'transact').mockImplementation(function (
    this: Cluster,
    operation,
    request,
    lane,
  ) {
    if (operation === 'archive') sent.push(request);
    return transact.call(this, operation, request, lane);
  });
  const contents = async (): Promise<unknown> => {
    const { kvs } = await raw.getAll().prefix('/electord/orders/').exec();
    const kept = kvs.filter(({ key }) => !key.toString().endsWith('/verbs'));
    return kept.map((kv) => [kv.key.toString(), kv.value.toString(), kv.mod_revision]);
  };
  const lease = anyLease();
  const story: readonly (() => Promise<unknown>)[] = [
    () => archive.write(orders, keysWith('old')),
    () => archive.clear(orders),
    () => archive.write(orders, keysWith('new')),
    async () => archive.raiseRevision(revision((await archive.revision(orders)) + 50n), orders),
    () => archive.expectNobody(orders),
    // A term that writes, and ends.
    async () => {
      await coordinator.grant(lease, 60_000);
      const { value } = await coordinator.join(orders, granted(lease), me);
      await raw.put('/electord/orders/state/k0').value('written in a term');
      const { createRevision } = value;
      const nothing = { handover: null, term: null, succession: null };
      await coordinator.release({ election: orders, leaseId: lease, createRevision, ...nothing });
    },
  ];
  for (const [index, run] of story.entries()) {
    await run();
    const before = await contents();
    for (const request of [...sent]) {
      await raw.kv.txn(request);
      expect(await contents(), `a copy after step ${index}`).toEqual(before);
    }
  }
  expect(await raw.get('/electord/orders/state/k0').string()).toBe('written in a term');
  expect(await raw.get('/electord/orders/state/k99').string()).toBe('new');
});
