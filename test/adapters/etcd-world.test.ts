// Which etcd it is: endpoints of two clusters in one list, an etcd that comes back empty, and versions with known faults.
// The header of each answer tells, and nothing is written to an etcd that is not ours or not where it was.
import { createConnection, createServer, type AddressInfo, type Socket } from 'node:net';
import { pipeline } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { endedAfterEach } from '../harness/cleanups.ts';
import { EtcdWentBack, OtherCluster, type ElectordError } from '../../src/errors.ts';
import { versionWarning } from '../../src/etcd/versions.ts';
import { startEtcdCluster, type EtcdCluster, type EtcdClusterOptions } from '../harness/etcd.ts';
import { eventually } from '../harness/wait.ts';
import {
  anyLease,
  connectTo,
  freeze,
  granted,
  me,
  observed,
  orders,
  watchOrders,
  type Connection,
} from './etcd-connection.ts';

const cleanups = endedAfterEach();

async function start(options: Partial<EtcdClusterOptions> = {}): Promise<EtcdCluster> {
  const cluster = await startEtcdCluster({ size: 1, ...options });
  cleanups.push(cluster.stop);
  return cluster;
}

function connect(
  endpoints: readonly string[],
  more: Parameters<typeof connectTo>[1] = {},
): Connection & { readonly warnings: readonly string[] } {
  const warnings: string[] = [];
  const warn = (message: string): void => void warnings.push(message);
  const connection = connectTo(endpoints, { warn, ...more });
  cleanups.push(() => connection.coordinator.close());
  return { ...connection, warnings };
}

const portOf = ({ endpoints }: EtcdCluster): number => Number(new URL(endpoints[0]!).port);

/** An address that leads new connections to whichever cluster it is told. */
async function openDoor(first: EtcdCluster): Promise<{
  readonly url: string;
  readonly leadsTo: (cluster: EtcdCluster) => void;
  readonly reset: () => void;
}> {
  let port = portOf(first);
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const target = createConnection({ host: '127.0.0.1', port });
    open.add(client);
    client.on('close', () => open.delete(client));
    pipeline(client, target, client, () => undefined);
  });
  const reset = (): void => open.forEach((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => {
    reset();
    server.close();
  });
  const { port: own } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${own}`,
    leadsTo: (cluster) => void (port = portOf(cluster)),
    reset,
  };
}

const failureOf = (work: Promise<unknown>): Promise<ElectordError> =>
  work.then(
    () => Promise.reject(new Error('it succeeded')),
    (failure: unknown) => failure as ElectordError,
  );

describe.each(['3.4', '3.5.30'] as const)('etcd %s', (version) => {
  test('two clusters in one list: a refusal at the start, in either order', async () => {
    const [a, b] = await Promise.all([start({ version }), start({ version })]);
    const [one, other] = [a.endpoints[0]!, b.endpoints[0]!];
    for (const endpoints of [
      [one, other],
      [other, one],
    ]) {
      const failure = await failureOf(connect(endpoints).coordinator.meet());
      expect(failure).toBeInstanceOf(OtherCluster);
      expect(failure.message).toMatch(/belongs to etcd cluster/);
    }
  });

  test('an endpoint of another cluster that appears later is left out, loudly, and gets no write', async () => {
    const [a, b] = await Promise.all([start({ version }), start({ version })]);
    const { coordinator, warnings } = connect([a.endpoints[0]!, b.endpoints[0]!], { ttlMs: 2000 });
    const lease = anyLease();
    await coordinator.grant(lease, 60_000);
    await freeze(a.nodes[0]!);
    await failureOf(coordinator.join(orders, granted(lease), me));
    await failureOf(coordinator.grant(anyLease(), 60_000));
    a.nodes[0]!.thaw();
    const revoked = eventually(() => coordinator.revoke(lease).then(() => true), {
      withinMs: 20_000,
      what: 'the other one again',
    });
    await revoked;
    expect(coordinator.condition().leftOut).toEqual([expect.stringContaining(b.endpoints[0]!)]);
    expect(warnings.filter((one) => /left out/.test(one))).toHaveLength(1);
    expect(await b.etcdctl(['get', '', '--from-key'])).toBe('');
    expect(await b.etcdctl(['lease', 'list'])).toMatch(/found 0 leases/);
  });

  test('an etcd that comes back empty is not believed, nor written to, until it is where it was', async () => {
    const cluster = await start({ version });
    for (const value of ['1', '2', '3', '4', '5']) await cluster.etcdctl(['put', 'other', value]);
    const { coordinator } = connect(cluster.endpoints);
    const lease = anyLease();
    await coordinator.grant(lease, 60_000);
    await coordinator.join(orders, granted(lease), me);
    const before = (await observed(coordinator)).value.revision;
    const { notices } = watchOrders(coordinator);
    await eventually(() => notices.length > 0, { withinMs: 20_000, what: 'a snapshot' });
    await cluster.nodes[0]!.forget();
    await cluster.nodes[0]!.restart();
    await eventually(() => notices.some((one) => 'why' in one && /gone back/.test(one.why)), {
      withinMs: 20_000,
      what: 'the reason of the interruption',
    });
    expect(notices.filter(({ kind }) => kind === 'snapshot')).toHaveLength(1);
    expect(await failureOf(observed(coordinator))).toBeInstanceOf(EtcdWentBack);
    const other = anyLease();
    expect(await failureOf(coordinator.grant(other, 60_000))).toBeInstanceOf(EtcdWentBack);
    expect(await failureOf(coordinator.renew(lease))).toBeInstanceOf(EtcdWentBack);
    expect(await failureOf(coordinator.join(orders, granted(other), me))).toBeInstanceOf(
      EtcdWentBack,
    );
    expect(coordinator.condition().wentBack).toMatch(/gone back to revision 1 and was at \d+/);
    expect(await cluster.etcdctl(['get', '', '--from-key'])).toBe('');
    for (let revision = 1n; revision < before; revision += 1n) {
      await cluster.etcdctl(['put', 'raised', 'x']);
    }
    expect((await observed(coordinator)).value.revision).toBe(before);
    expect(coordinator.condition().wentBack).toBeNull();
    await coordinator.grant(other, 60_000);
    const joined = await coordinator.join(orders, granted(other), me);
    expect(joined.value.createRevision).toBeGreaterThan(before);
  });
});

test('an address that led to another cluster and is put right is used again', async () => {
  const [ours, others] = await Promise.all([start(), start()]);
  const door = await openDoor(ours);
  const { coordinator } = connect([door.url]);
  const lease = anyLease();
  await coordinator.grant(lease, 60_000);
  door.leadsTo(others);
  door.reset();
  await eventually(async () => (await failureOf(observed(coordinator))) instanceof OtherCluster, {
    withinMs: 20_000,
    what: 'the address is left out',
  });
  // A connection that is kept goes on to the other cluster.
  door.leadsTo(ours);
  await eventually(() => coordinator.renew(lease).then(() => true), {
    withinMs: 20_000,
    what: 'our cluster again',
  });
  expect(await others.etcdctl(['get', '', '--from-key'])).toBe('');
});

describe('versions', () => {
  test.each([
    ['3.4.23', true],
    ['3.4.42', false],
    ['3.5.16', true],
    ['3.5.27', true],
    ['3.5.28', false],
    ['3.6.8', true],
    ['3.6.9', false],
    ['3.7.0', false],
    ['', false],
  ])('%s: warned of is %s', (version, warned) => {
    expect(versionWarning('http://a:1', version) !== null).toBe(warned);
  });

  const auth = { username: 'root', password: 'correct-horse-battery' };
  test.each([
    ['3.4', null, 1],
    ['3.5', null, 1],
    ['3.5.30', null, 0],
    ['3.5', auth, 1],
    ['3.5.30', auth, 0],
  ] as const)('etcd %s, login %j: %i warning, once', async (version, login, count) => {
    const cluster = await start({ version, ...(login === null ? {} : { auth: login }) });
    const { coordinator, warnings } = connect(cluster.endpoints, { login: () => login });
    await coordinator.meet();
    await observed(coordinator);
    coordinator.reset();
    await observed(coordinator);
    expect(warnings).toHaveLength(count);
  });

  test('an etcd that tells its version to administrators only is used all the same', async () => {
    const user = { username: 'sidecar', password: 'correct-horse-battery' };
    const cluster = await start({ version: '3.5.30', auth: user });
    const { coordinator, warnings } = connect(cluster.endpoints, { login: () => user });
    await coordinator.meet();
    await observed(coordinator);
    expect(warnings).toEqual([]);
  });
});
