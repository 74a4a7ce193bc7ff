// Real etcd as a subject of the contract: the production coordinator, and etcdctl for what an administrator does.
import { vi } from 'vitest';
import { Unreachable } from '../../src/errors.ts';
import { SystemClock } from '../../src/process/clock.ts';
import { Cluster } from '../../src/etcd/cluster.ts';
import { EtcdCoordinator } from '../../src/etcd/coordinator.ts';
import { newLeaseId } from '../../src/etcd/lease-id.ts';
import type { EtcdSeries } from '../harness/binaries.ts';
import { startEtcdCluster } from '../harness/etcd.ts';
import { eventually, within } from '../harness/wait.ts';
import type { Copy, Subject } from './subject.ts';

const prefix = '/contract';
const withinMs = 15_000;

export async function etcdSubject(version: EtcdSeries): Promise<Subject> {
  const cluster = await startEtcdCluster({ size: 1, version });
  const clock = new SystemClock();
  const { sent, end } = recording();
  const coordinator = new EtcdCoordinator({
    endpoints: cluster.endpoints,
    prefix,
    publish: [{ key: '/published/{election}', value: '{token} of {election}' }],
    // Bounds every request by two seconds, which a busy machine may need.
    ttlMs: 8000,
    clock,
    observer: { requested: () => undefined },
    tls: () => ({ ca: null, certificate: null, key: null }),
    login: () => null,
  });
  const compact = async (): Promise<void> => {
    const answer = await cluster.etcdctl(['get', 'nothing', '--write-out=json']);
    const { header } = JSON.parse(answer) as { header: { revision: number } };
    await cluster.etcdctl(['compaction', String(header.revision)]);
  };
  return {
    coordinator,
    sent,
    now: () => clock.now(),
    newLease: newLeaseId,
    run: (work) => within(work, { withinMs, what: 'an answer' }),
    until: async (check, what) => {
      await eventually(check, { withinMs, what });
    },
    putForeign: async (election, lease, value) => {
      const key = `${prefix}/${election}/candidates/${lease}`;
      await cluster.etcdctl(['put', `--lease=${lease}`, key, value]);
    },
    deleteCandidate: async (election, lease) => {
      await cluster.etcdctl(['del', `${prefix}/${election}/candidates/${lease}`]);
    },
    published: async (key) => {
      const text = await cluster.etcdctl(['get', '--print-value-only', key]);
      return text === '' ? null : text.replace(/\n$/, '');
    },
    putByHand: async (key, value) => {
      await cluster.etcdctl(['put', key, value]);
    },
    compact,
    interrupt: () => coordinator.reset(),
    stop: async () => {
      end();
      coordinator.close();
      await cluster.stop();
    },
  };
}

/** Keeps every request that is sent from now on, until `end`. */
function recording(): { readonly sent: readonly Copy[]; readonly end: () => void } {
  const sent: Copy[] = [];
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called with the cluster that was asked.
  const request = Cluster.prototype.request;
  const spy = vi.spyOn(Cluster.prototype, 'request').mockImplementation(function (
    this: Cluster,
    operation,
    attempt,
    ...how
  ) {
    const again = async (): Promise<void> => {
      await request.call(this, operation, attempt, ...how).catch((failure: unknown) => {
        // Refused is delivered all the same.
        if (failure instanceof Unreachable) throw failure;
      });
    };
    sent.push({ operation, again });
    return request.call(this, operation, attempt, ...how);
  });
  return { sent, end: () => spy.mockRestore() };
}
