// Endpoints in the list that are no etcd: a load balancer, an ingress, a wrong port. What they answer says nothing about
// our requests; whoever else is well is asked, and waited for.
import { createServer, type Http2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { endedAfterEach } from '../harness/cleanups.ts';
import { Unreachable } from '../../src/errors.ts';
import { startEtcdCluster, type EtcdCluster } from '../harness/etcd.ts';
import { reservePort } from '../harness/ports.ts';
import { eventually } from '../harness/wait.ts';
import {
  anyLease,
  connectTo,
  freeze,
  granted,
  idsIn,
  me,
  observed,
  orders,
  watchOrders,
  type Connection,
} from './etcd-connection.ts';

const cleanups = endedAfterEach();

interface Stranger {
  readonly url: string;
  /** How many requests it has refused. */
  readonly refused: () => number;
}

/** Speaks HTTP/2, and refuses every request with this status. */
async function stranger(status: number): Promise<Stranger> {
  let refused = 0;
  const server: Http2Server = createServer((request, response) => {
    refused += 1;
    request.resume();
    response.writeHead(status).end();
  });
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (session) => sessions.add(session));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(async () => {
    for (const session of sessions) session.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, refused: () => refused };
}

function connect(endpoints: readonly string[]): Connection {
  const connection = connectTo(endpoints);
  cleanups.push(() => connection.coordinator.close());
  return connection;
}

describe.each(['3.4', '3.5.30'] as const)('etcd %s', (version) => {
  let cluster: EtcdCluster;
  beforeAll(async () => {
    cluster = await startEtcdCluster({ size: 1, version });
  });
  afterAll(() => cluster.stop());

  test.each([404, 403, 401, 400, 502])(
    'first in the list is a %i: all of it works',
    async (status) => {
      const { url } = await stranger(status);
      const { coordinator, requests } = connect([url, cluster.endpoints[0]!]);
      const lease = anyLease();
      await coordinator.grant(lease, 60_000);
      const { notices, cancel } = watchOrders(coordinator);
      cleanups.push(cancel);
      await eventually(() => notices.length > 0, { withinMs: 20_000, what: 'a snapshot' });
      await coordinator.join(orders, granted(lease), me);
      await eventually(() => idsIn(notices).includes(me.id), { withinMs: 20_000, what: 'our key' });
      expect((await coordinator.renew(lease)).value).toBe(60_000);
      await coordinator.revoke(lease);
      expect(requests.filter(({ result }) => result === 'failed')).toEqual([]);
    },
  );

  test('a well one that is frozen for a while is waited for, and asked again', async () => {
    const bad = await stranger(404);
    const { coordinator } = connect([cluster.endpoints[0]!, bad.url]);
    await observed(coordinator);
    const node = cluster.nodes[0]!;
    await freeze(node);
    try {
      const answers = [observed(coordinator)];
      await eventually(() => bad.refused() > 0, { withinMs: 20_000, what: 'the hedge' });
      // When the second one is refused, the refusal of the first has long arrived.
      answers.push(observed(coordinator));
      await eventually(() => bad.refused() > 1, { withinMs: 20_000, what: 'the second hedge' });
      node.thaw();
      for (const { value } of await Promise.all(answers))
        expect(value.revision).toBeGreaterThan(0n);
    } finally {
      node.thaw();
    }
    await observed(coordinator);
  });

  test('one is dead, one is none, one is well', async () => {
    const dead = `http://127.0.0.1:${await reservePort()}`;
    const bad = await stranger(403);
    const { coordinator, requests } = connect([dead, bad.url, cluster.endpoints[0]!]);
    for (let count = 0; count < 5; count += 1) await observed(coordinator);
    expect(requests.map(({ result }) => result)).toEqual(Array.from({ length: 5 }, () => 'ok'));
    expect(bad.refused()).toBe(1);
  });

  test('nobody else is there: it is unreachable, and says why', async () => {
    const bad = await stranger(404);
    const failure: unknown = await observed(connect([bad.url]).coordinator).then(
      () => null,
      (error: unknown) => error,
    );
    expect(failure).toBeInstanceOf(Unreachable);
    expect(String(failure)).toMatch(/404/);
  });
});
