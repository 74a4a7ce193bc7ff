// Which answer about a lease counts: only that of a member that then answers a linearizable read in the same term of
// etcd's. A former leader of etcd that was frozen answers from the past; here a real answer is dated back.
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { Cluster } from '../../src/etcd/cluster.ts';
import type { Endpoint } from '../../src/etcd/endpoint.ts';
import { startEtcdCluster, type EtcdCluster } from '../harness/etcd.ts';
import { anyLease, connectTo } from './etcd-connection.ts';

let cluster: EtcdCluster;
beforeAll(async () => {
  cluster = await startEtcdCluster({ size: 1 });
});
afterEach(() => {
  vi.restoreAllMocks();
});
afterAll(() => cluster.stop());

type Client = ReturnType<Endpoint['client']>;

/** The same member, whose answers about leases are of so many terms of etcd's ago; `asked` gets every call in order. */
function datedBack(endpoint: Endpoint, terms: number, asked: string[]): Endpoint {
  const client = (): Client => {
    const { leaseClient, kv } = endpoint.client();
    const leaseTimeToLive: Client['leaseClient']['leaseTimeToLive'] = async (...call) => {
      asked.push('lease');
      const answer = await leaseClient.leaseTimeToLive(...call);
      asked.push('answer');
      const term = String(BigInt(answer.header.raft_term) - BigInt(terms));
      return { ...answer, header: { ...answer.header, raft_term: term } };
    };
    const range: Client['kv']['range'] = (...call) => {
      asked.push('read');
      expect(call[0].serializable ?? false).toBe(false);
      return kv.range(...call);
    };
    return { leaseClient: { leaseTimeToLive }, kv: { range } } as unknown as Client;
  };
  return { client, within: (limitMs: number) => endpoint.within(limitMs) } as unknown as Endpoint;
}

it.each([
  [0, 60_000],
  [1, null],
])('an answer of %i terms before the read after it', async (terms, grantedMs) => {
  const { coordinator } = connectTo(cluster.endpoints);
  const lease = anyLease();
  await coordinator.grant(lease, 60_000);
  const asked: string[] = [];
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called with the cluster that was asked.
  const request = Cluster.prototype.request;
  vi.spyOn(Cluster.prototype, 'request').mockImplementation(function (
    this: Cluster,
    operation,
    attempt,
    lane,
  ) {
    const past = (endpoint: Endpoint, limitMs: number) =>
      attempt(datedBack(endpoint, terms, asked), limitMs);
    return request.call(this, operation, past, lane);
  });
  const { value } = await coordinator.timeToLive(lease);
  expect(value?.grantedMs ?? null).toBe(grantedMs);
  expect(asked).toEqual(['lease', 'answer', 'read']);
  coordinator.close();
});
