// User and password on a real etcd: logging in, tokens that run out or are forgotten, and refusals that name no secret.
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { endedAfterEach } from '../harness/cleanups.ts';
import { Denied, type ElectordError } from '../../src/errors.ts';
import { etcdSeries } from '../harness/binaries.ts';
import { startEtcdCluster, type EtcdCluster, type EtcdClusterOptions } from '../harness/etcd.ts';
import { startRelay } from '../harness/relay.ts';
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

const username = 'sidecar';
const password = 'correct-horse-battery';
const cleanups = endedAfterEach();

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
    const { value } = await coordinator.join(orders, granted(lease), me);
    await eventually(() => idsIn(notices).includes(me.id), { withinMs: 20_000, what: 'our key' });
    expect((await coordinator.renew(lease)).value).toBe(2000);
    await coordinator.release({
      election: orders,
      leaseId: lease,
      createRevision: value.createRevision,
      handover: null,
      term: null,
      succession: null,
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
    await eventually(() => coordinator.join(orders, granted(lease), me), {
      withinMs: 20_000,
      what: 'joining with a new token',
    });
    await eventually(() => idsIn(notices).includes(me.id), { withinMs: 20_000, what: 'our key' });
    expect((await coordinator.renew(lease)).value).toBe(60_000);
    cancel();
  });
});

/** The flag that makes etcd give out signed tokens, which name the revision of its users. */
async function signedTokens(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'electord-jwt-'));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  const pair = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const [publicFile, privateFile] = [join(folder, 'public.pem'), join(folder, 'private.pem')];
  await writeFile(publicFile, pair.publicKey);
  await writeFile(privateFile, pair.privateKey);
  return `--auth-token=jwt,pub-key=${publicFile},priv-key=${privateFile},sign-method=RS256,ttl=10m`;
}

test.each(['3.4', '3.5', '3.5.30'] as const)(
  'etcd %s: signed tokens that a new user made old are replaced within the request that finds out',
  async (version) => {
    const cluster = await start({ version, extraArgs: [await signedTokens()] });
    const { coordinator, requests } = connect(cluster);
    const lease = anyLease();
    await coordinator.grant(lease, 60_000);
    const { notices, cancel } = watchOrders(coordinator);
    cleanups.push(cancel);
    await eventually(() => notices.length > 0, { withinMs: 20_000, what: 'the first snapshot' });
    await cluster.etcdctl(['user', 'add', 'x:x']);
    await observed(coordinator);
    await cluster.etcdctl(['user', 'add', 'y:y']);
    await coordinator.renew(lease);
    await cluster.etcdctl(['user', 'add', 'z:z']);
    await coordinator.join(orders, granted(lease), me);
    await eventually(() => idsIn(notices).includes(me.id), { withinMs: 20_000, what: 'our key' });
    expect(requests.filter(({ result }) => result === 'failed')).toEqual([]);
  },
);

test('a token that has run out is replaced within the request that finds out', async () => {
  const cluster = await start({ extraArgs: ['--auth-token-ttl=1', '--log-level=debug'] });
  const { coordinator, requests } = connect(cluster);
  const first = await observed(coordinator);
  await eventually(() => cluster.nodes[0]!.recentOutput().includes('deleted a simple token'), {
    withinMs: 10_000,
    what: 'the end of the token in the log of etcd',
  });
  const lease = anyLease();
  const second = await coordinator.grant(lease, 2000);
  expect(second.sentAt).toBeGreaterThan(first.sentAt);
  await coordinator.join(orders, granted(lease), me);
  expect(requests.map(({ result }) => result)).toEqual(['ok', 'ok', 'ok']);
});

test('a first endpoint that is silent delays the first login by no more than the hedge', async () => {
  const cluster = await start();
  const relay = await startRelay({ target: cluster.endpoints[0]! });
  cleanups.push(() => relay.stop());
  relay.cut();
  const endpoints = [relay.url, ...cluster.endpoints];
  const { coordinator, requests } = connectTo(endpoints, { login: () => good });
  cleanups.push(() => coordinator.close());
  const lease = anyLease();
  await Promise.all([coordinator.grant(lease, 60_000), observed(coordinator)]);
  // An attempt at the silent one takes two seconds, and a login there is tried twice.
  for (const { durationMs } of requests) expect(durationMs).toBeLessThan(2000);
});

test('the password is asked for anew at every login', async () => {
  const cluster = await start();
  let login = good;
  const { coordinator, requests } = connect(cluster, () => login);
  await observed(coordinator);
  login = { username, password: 'changed-battery-staple' };
  await cluster.etcdctl(['user', 'delete', username]);
  await cluster.etcdctl(['user', 'add', `${username}:${login.password}`]);
  await cluster.etcdctl(['user', 'grant-role', username, 'everything']);
  await observed(coordinator);
  coordinator.reset();
  await observed(coordinator);
  expect(requests.map(({ result }) => result)).toEqual(['ok', 'ok', 'ok']);
});

describe('refusals', () => {
  const wrong = { username, password: 'wrong-horse-battery' };

  test('a wrong password is Denied at once, and neither shown nor hidden in a cause', async () => {
    const { coordinator, requests } = connect(await start(), () => wrong);
    const failures = await Promise.all([
      failureOf(observed(coordinator)),
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
    expect(await failureOf(observed(stranger.coordinator))).toBeInstanceOf(Denied);
    const nobody = connectTo(cluster.endpoints);
    cleanups.push(() => nobody.coordinator.close());
    expect(await failureOf(observed(nobody.coordinator))).toBeInstanceOf(Denied);
  });

  test('a login where etcd asks for none is Denied, in words that say so', async () => {
    const cluster = await startEtcdCluster({ size: 1 });
    cleanups.push(cluster.stop);
    const failure = await failureOf(observed(connect(cluster).coordinator));
    expect(failure).toBeInstanceOf(Denied);
    expect(failure.message).toMatch(/not enabled/);
  });
});
