// The audit log on a real etcd: the newest hundred entries, newest first, whoever wrote them; and a verb is done where its
// entry cannot be kept.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AuditEntry } from '../../src/contract.ts';
import { electionName } from '../../src/core/model.ts';
import type { EtcdCoordinator } from '../../src/etcd/coordinator.ts';
import { startEtcdCluster, type EtcdCluster } from '../harness/etcd.ts';
import { connectTo } from './etcd-connection.ts';

const entry = (detail: string): AuditEntry => ({
  ...{ at: '2026-11-20T21:00:00.000Z', verb: 'pause', by: 'ann', certificate: null },
  ...{ from: '127.0.0.1', via: 'orders-0', reason: 'why', outcome: 'done', detail },
});

describe.each(['3.4', '3.5'] as const)('etcd %s', (version) => {
  let cluster: EtcdCluster;
  let coordinator: EtcdCoordinator;

  beforeAll(async () => {
    cluster = await startEtcdCluster({ size: 1, version });
    ({ coordinator } = connectTo(cluster.endpoints));
  });
  afterAll(async () => {
    coordinator.close();
    await cluster.stop();
  });

  test('keeps what it is told, of each election by itself', async () => {
    const audit = coordinator.auditLog();
    const [orders, bills] = [electionName('orders'), electionName('bills')];
    await audit.record(orders, entry('one'));
    await audit.record(orders, entry('two'));
    expect(await audit.entries(orders)).toEqual([entry('two'), entry('one')]);
    expect(await audit.entries(bills)).toEqual([]);
  });

  test('forgets all but the newest hundred, and passes over what is not of its form', async () => {
    const audit = coordinator.auditLog();
    const many = electionName('many');
    for (let count = 0; count < 103; count += 1) await audit.record(many, entry(String(count)));
    const kept = (await audit.entries(many)).map(({ detail }) => detail);
    expect(kept).toHaveLength(100);
    expect([kept[0], kept.at(-1)]).toEqual(['102', '3']);
    const keys = await cluster.etcdctl(['get', '--prefix', '--keys-only', '/electord/many/audit/']);
    expect(keys.split('\n').filter((line) => line !== '')).toHaveLength(100);
    await cluster.etcdctl(['put', '/electord/many/audit/x', '{"v":1}']);
    expect(await audit.entries(many)).toHaveLength(99);
  });
});
