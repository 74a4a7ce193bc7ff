// User and password on a real etcd: logging in, tokens that run out or are forgotten, and refusals that name no secret.
import { inspect } from 'node:util';
import { afterEach, describe, expect, test } from 'vitest';
import { Denied, type ElectordError } from '../../src/errors.ts';
import { etcdSeries } from '../harness/binaries.ts';
import { startEtcdCluster, type EtcdCluster, type EtcdClusterOptions } from '../harness/etcd.ts';
import { eventually } from '../harness/wait.ts';
import {
  anyLease,
  connectTo,
  idsIn,
  me,
  orders,
  watchOrders,
  type Connection,
} from './etcd-connection.ts';

const username = 'sidecar';
const password = 'correct-horse-battery';
const cleanups: (() => void | Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(options: Partial<EtcdClusterOptions> = {}): Promise<EtcdCluster> {
  const cluster = await startEtcdCluster({ size: 1, auth: { username, password }, ...options });
  cleanups.push(cluster.stop);
  return cluster;
}

function connect(cluster: EtcdCluster, login: () => typeof good = () => good): Connection {
  const connection = connectTo(cluster.endpoints, { login });
  cleanups.push(() => connection.coordinator.close());
  return connection;
}

const good = { username, password };

const failureOf = (work: Promise<unknown>): Promise<ElectordError> =>
  work.then(
    () => Promise.reject(new Error('it succeeded')),
    (failure: unknown) => failure as ElectordError,
  );

describe.each(etcdSeries)('etcd %s', (version) => {
  test('a login is made once and serves requests, renewals and the watch', async () => {
    const { coordinator } = connect(await start({ version }));
    const lease = anyLease();
    expect((await coordinator.grant(lease, 2000)).value).toBe(2000);
    const { notices, cancel } = watchOrders(coordinator);
    await eventually(() => notices.length > 0, { withinMs: 20_000, what: 'the first snapshot' });
    const { value } = await coordinator.join(orders, lease, me);
    await eventually(() => idsIn(notices).includes(me.id), { withinMs: 20_000, what: 'our key' });
    expect((await coordinator.renew(lease)).value).toBe(2000);
    await coordinator.release({
      election: orders,
      leaseId: lease,
      createRevision: value.createRevision,
      handover: null,
      term: null,
      bypassed: [],
    });
    await coordinator.revoke(lease);
    cancel();
  });

  test('tokens that a restarted etcd has forgotten are replaced, the watch comes back', async () => {
    const cluster = await start({ version });
    const { coordinator } = connect(cluster);
    const lease = anyLease();
    await coordinator.grant(lease, 60_000);
    const { notices, cancel } = watchOrders(coordinator);
    await eventually(() => notices.length > 0, { withinMs: 20_000, what: 'the first snapshot' });
    await cluster.nodes[0]!.restart();
    await eventually(() => coordinator.join(orders, lease, me), {
      withinMs: 20_000,
      what: 'joining with a new token',
    });
    await eventually(() => idsIn(notices).includes(me.id), { withinMs: 20_000, what: 'our key' });
    expect((await coordinator.renew(lease)).value).toBe(60_000);
    cancel();
  });
});

test('a token that has run out is replaced within the request that finds out', async () => {
  const cluster = await start({ extraArgs: ['--auth-token-ttl=1', '--log-level=debug'] });
  const { coordinator, requests } = connect(cluster);
  const first = await coordinator.observe([orders]);
  await eventually(() => cluster.nodes[0]!.recentOutput().includes('deleted a simple token'), {
    withinMs: 10_000,
    what: 'the end of the token in the log of etcd',
  });
  const lease = anyLease();
  const second = await coordinator.grant(lease, 2000);
  expect(second.sentAt).toBeGreaterThan(first.sentAt);
  await coordinator.join(orders, lease, me);
  expect(requests.map(({ result }) => result)).toEqual(['ok', 'ok', 'ok']);
});

test('the password is asked for anew at every login', async () => {
  const cluster = await start();
  let login = good;
  const { coordinator, requests } = connect(cluster, () => login);
  await coordinator.observe([orders]);
  login = { username, password: 'changed-battery-staple' };
  await cluster.etcdctl(['user', 'delete', username]);
  await cluster.etcdctl(['user', 'add', `${username}:${login.password}`]);
  await cluster.etcdctl(['user', 'grant-role', username, 'everything']);
  await coordinator.observe([orders]);
  coordinator.reset();
  await coordinator.observe([orders]);
  expect(requests.map(({ result }) => result)).toEqual(['ok', 'ok', 'ok']);
});

describe('refusals', () => {
  const wrong = { username, password: 'wrong-horse-battery' };

  test('a wrong password is Denied at once, and neither shown nor hidden in a cause', async () => {
    const { coordinator, requests } = connect(await start(), () => wrong);
    const failures = await Promise.all([
      failureOf(coordinator.observe([orders])),
      failureOf(coordinator.grant(anyLease(), 2000)),
      failureOf(coordinator.renew(anyLease())),
    ]);
    for (const failure of failures) {
      expect(failure).toBeInstanceOf(Denied);
      expect(failure.message).toMatch(/authentication failed/);
      const everything = inspect(failure, { depth: 20, showHidden: true }) + String(failure.stack);
      expect(everything).not.toContain(wrong.password);
    }
    expect(requests.every(({ durationMs }) => durationMs < 500)).toBe(true);
  });

  test('a watch that is denied is interrupted with the reason, and works once the password does', async () => {
    let login = wrong;
    const { coordinator } = connect(await start(), () => login);
    const { notices, cancel } = watchOrders(coordinator);
    await eventually(
      () => notices.some((one) => one.kind === 'interrupted' && /authentication/.test(one.why)),
      { withinMs: 20_000, what: 'the refusal' },
    );
    login = good;
    const snapshot = await eventually(() => notices.find((notice) => notice.kind === 'snapshot'), {
      withinMs: 20_000,
      what: 'a snapshot with the right password',
    });
    expect(snapshot).toMatchObject({ election: orders });
    cancel();
  });

  test('a user without permission, and no user at all, are Denied', async () => {
    const cluster = await start();
    await cluster.etcdctl(['user', 'add', 'stranger:pass']);
    const stranger = connect(cluster, () => ({ username: 'stranger', password: 'pass' }));
    expect(await failureOf(stranger.coordinator.observe([orders]))).toBeInstanceOf(Denied);
    const nobody = connectTo(cluster.endpoints);
    cleanups.push(() => nobody.coordinator.close());
    expect(await failureOf(nobody.coordinator.observe([orders]))).toBeInstanceOf(Denied);
  });

  test('a login where etcd asks for none is Denied, in words that say so', async () => {
    const cluster = await startEtcdCluster({ size: 1 });
    cleanups.push(cluster.stop);
    const failure = await failureOf(connect(cluster).coordinator.observe([orders]));
    expect(failure).toBeInstanceOf(Denied);
    expect(failure.message).toMatch(/not enabled/);
  });
});
