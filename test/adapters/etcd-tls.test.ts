// TLS and client certificates on a real etcd: who is trusted, who is not, and certificates that are rotated while a
// lease and a watch go on.
import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { endedAfterEach } from '../harness/cleanups.ts';
import { Unreachable } from '../../src/errors.ts';
import type { TlsMaterial } from '../../src/etcd/endpoint.ts';
import { startEtcdCluster, type EtcdCluster } from '../harness/etcd.ts';
import { eventually } from '../harness/wait.ts';
import {
  anyLease,
  connectTo,
  granted,
  idsIn,
  me,
  observed,
  orders,
  watchOrders,
  type Connection,
} from './etcd-connection.ts';

const cleanups = endedAfterEach();

async function start(tls: true | 'mutual', version?: '3.4'): Promise<EtcdCluster> {
  const cluster = await startEtcdCluster({ size: 1, tls, ...(version ? { version } : {}) });
  cleanups.push(cluster.stop);
  return cluster;
}

function connect(cluster: EtcdCluster, tls: () => TlsMaterial): Connection {
  const connection = connectTo(cluster.endpoints, { tls });
  cleanups.push(() => connection.coordinator.close());
  return connection;
}

const material = (ca: string | null, pair?: { key: string; cert: string }): TlsMaterial => ({
  ca: ca === null ? null : Buffer.from(ca),
  certificate: pair === undefined ? null : Buffer.from(pair.cert),
  key: pair === undefined ? null : Buffer.from(pair.key),
});

async function elects({ coordinator }: Connection): Promise<void> {
  const lease = anyLease();
  await coordinator.grant(lease, 2000);
  const { notices, cancel } = watchOrders(coordinator);
  await eventually(() => notices.length > 0, { withinMs: 20_000, what: 'the first snapshot' });
  await coordinator.join(orders, granted(lease), me);
  await eventually(() => idsIn(notices).includes(me.id), { withinMs: 20_000, what: 'our key' });
  await coordinator.revoke(lease);
  cancel();
}

test('our authority is trusted, another one and the system are not', async () => {
  const cluster = await start(true);
  const { authority, foreignAuthority } = cluster.certificates!;
  await elects(connect(cluster, () => material(authority.cert)));
  for (const ca of [foreignAuthority.cert, null]) {
    const { coordinator } = connect(cluster, () => material(ca));
    await expect(observed(coordinator)).rejects.toBeInstanceOf(Unreachable);
    await expect(observed(coordinator)).rejects.toThrow(
      /certificate|self.signed|issuer|unable to/i,
    );
  }
});

test.each([undefined, '3.4'] as const)(
  'mutual TLS (%s): our client certificate is taken, a foreign one and none are not',
  async (version) => {
    const cluster = await start('mutual', version);
    const { authority, client, foreignClient } = cluster.certificates!;
    await elects(connect(cluster, () => material(authority.cert, client)));
    for (const pair of [foreignClient, undefined]) {
      const { coordinator } = connect(cluster, () => material(authority.cert, pair));
      await expect(observed(coordinator)).rejects.toBeInstanceOf(Unreachable);
    }
  },
);

test('rotated certificates are taken up by reset(); the lease and the watch survive', async () => {
  const cluster = await start('mutual');
  const { authority, client, foreignAuthority, foreignClient } = cluster.certificates!;
  let presented = client;
  const { coordinator } = connect(cluster, () => material(authority.cert, presented));
  const lease = anyLease();
  await coordinator.grant(lease, 60_000);
  const { notices, cancel } = watchOrders(coordinator);
  await eventually(() => notices.length > 0, { withinMs: 20_000, what: 'the first snapshot' });
  // From now on etcd trusts the clients of another authority, and only those.
  await writeFile(authority.certFile, foreignAuthority.cert);
  await cluster.nodes[0]!.start();
  await eventually(
    () =>
      coordinator.renew(lease).then(
        () => false,
        (failure: unknown) => /certificate|alert|disconnect|ECONN|closed/i.test(String(failure)),
      ),
    { withinMs: 10_000, what: 'the refusal of the old certificate' },
  );
  presented = foreignClient;
  coordinator.reset();
  const { value } = await eventually(() => coordinator.renew(lease), {
    withinMs: 10_000,
    what: 'a renewal of the same lease with the new certificate',
  });
  expect(value).toBe(60_000);
  await coordinator.join(orders, granted(lease), me);
  await eventually(() => idsIn(notices).includes(me.id), { withinMs: 20_000, what: 'our key' });
  cancel();
});
