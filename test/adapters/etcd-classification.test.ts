// Every failure of etcd and gRPC becomes one of our families: as a table of what they say, and a few that a real etcd
// is made to say, so that the table is about words that exist.
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as etcd3 from 'etcd3';
import { LeaseLost, type ElectordError } from '../../src/errors.ts';
import type { EtcdCoordinator } from '../../src/etcd/coordinator.ts';
import { Cluster } from '../../src/etcd/cluster.ts';
import { classify, isLeaseAlreadyGranted, isStaleToken } from '../../src/etcd/faults.ts';
import { keysOf, leaseToDecimal } from '../../src/etcd/keys.ts';
import { QueueWatch } from '../../src/etcd/watch.ts';
import { revision } from '../../src/core/model.ts';
import type { WatchNotice } from '../../src/ports.ts';
import { etcdBinaries } from '../harness/binaries.ts';
import { startEtcdCluster, type EtcdCluster } from '../harness/etcd.ts';
import { eventually } from '../harness/wait.ts';
import {
  anyLease,
  connectTo,
  granted,
  me,
  observed,
  optionsFor,
  orders,
} from './etcd-connection.ts';

/** A gRPC error as streams reject with it: a code and `<code> <NAME>: <details>`. */
const grpc = (code: number, name: string, details: string): Error =>
  Object.assign(new Error(`${code} ${name}: ${details}`), { code, details });

/** The same as etcd3 hands it on from a unary call: a class instead of the code. */
const cast = (code: number, name: string, details: string): Error =>
  etcd3.castGrpcError(grpc(code, name, details));

const table: readonly (readonly [family: string, code: number, name: string, details: string])[] = [
  ['etcd_unreachable', 1, 'CANCELLED', 'Cancelled on client'],
  ['etcd_unreachable', 2, 'UNKNOWN', 'Stream removed'],
  ['etcd_refused', 3, 'INVALID_ARGUMENT', 'etcdserver: duplicate key given in txn request'],
  ['etcd_refused', 3, 'INVALID_ARGUMENT', 'etcdserver: too many operations in txn request'],
  [
    'etcd_denied',
    3,
    'INVALID_ARGUMENT',
    'etcdserver: authentication failed, invalid user ID or password',
  ],
  ['etcd_denied', 3, 'INVALID_ARGUMENT', 'etcdserver: user name is empty'],
  ['etcd_denied', 3, 'INVALID_ARGUMENT', 'etcdserver: revision of auth store is old'],
  ['etcd_unreachable', 4, 'DEADLINE_EXCEEDED', 'Deadline exceeded after 0.5s'],
  ['lease_lost', 5, 'NOT_FOUND', 'etcdserver: requested lease not found'],
  ['etcd_refused', 6, 'ALREADY_EXISTS', 'etcdserver: member ID already exist'],
  ['etcd_denied', 7, 'PERMISSION_DENIED', 'etcdserver: permission denied'],
  ['etcd_refused', 8, 'RESOURCE_EXHAUSTED', 'etcdserver: mvcc: database space exceeded'],
  ['etcd_unreachable', 8, 'RESOURCE_EXHAUSTED', 'etcdserver: too many requests'],
  ['etcd_refused', 8, 'RESOURCE_EXHAUSTED', 'grpc: received message larger than max (3 vs. 2)'],
  ['etcd_denied', 9, 'FAILED_PRECONDITION', 'etcdserver: authentication is not enabled'],
  ['etcd_refused', 9, 'FAILED_PRECONDITION', 'etcdserver: lease already exists'],
  ['etcd_unreachable', 10, 'ABORTED', 'The operation was aborted'],
  ['etcd_compacted', 11, 'OUT_OF_RANGE', 'etcdserver: mvcc: required revision has been compacted'],
  ['etcd_refused', 11, 'OUT_OF_RANGE', 'etcdserver: mvcc: required revision is a future revision'],
  ['etcd_refused', 12, 'UNIMPLEMENTED', 'etcdserver: not capable'],
  ['etcd_unreachable', 12, 'UNIMPLEMENTED', 'unknown service etcdserverpb.KV'],
  ['etcd_unreachable', 7, 'PERMISSION_DENIED', 'RBAC: access denied'],
  ['etcd_unreachable', 7, 'PERMISSION_DENIED', 'Received HTTP status code 403'],
  ['etcd_unreachable', 12, 'UNIMPLEMENTED', 'Received HTTP status code 404'],
  ['etcd_unreachable', 16, 'UNAUTHENTICATED', 'Received HTTP status code 401'],
  ['etcd_unreachable', 13, 'INTERNAL', 'Received RST_STREAM with code 2'],
  ['etcd_unreachable', 14, 'UNAVAILABLE', 'etcdserver: request timed out'],
  ['etcd_unreachable', 14, 'UNAVAILABLE', 'etcdserver: no leader'],
  ['etcd_unreachable', 14, 'UNAVAILABLE', 'etcdserver: leader changed'],
  ['etcd_unreachable', 14, 'UNAVAILABLE', 'No connection established. Last error: ECONNREFUSED'],
  ['etcd_refused', 15, 'DATA_LOSS', 'etcdserver: corrupt cluster'],
  ['etcd_denied', 16, 'UNAUTHENTICATED', 'etcdserver: invalid auth token'],
];

describe('the table', () => {
  test.each(table)('%s: %i %s %s', (family, code, name, details) => {
    for (const make of [grpc, cast]) {
      const original = make(code, name, details);
      const error = classify(original);
      expect(error.code, make === grpc ? 'from a stream' : 'from a call').toBe(family);
      expect(error.cause).toBe(original);
    }
  });

  test('what etcd is said to say, every etcd can say', async () => {
    const texts = table
      .map(([, , , details]) => details)
      .filter((text) => /^etcdserver:/.test(text));
    for (const { etcd } of Object.values(await etcdBinaries())) {
      const program = await readFile(etcd);
      expect(texts.filter((text) => !program.includes(text))).toEqual([]);
    }
  });

  test('all codes of gRPC but OK are in it', () => {
    const codes = new Set(table.map(([, code]) => code));
    expect([...codes].sort((a, b) => a - b)).toEqual(
      Array.from({ length: 16 }, (_, index) => index + 1),
    );
  });

  test('what is ours stays as it is, what is no error becomes one', () => {
    const ours = new LeaseLost('gone');
    expect(classify(ours)).toBe(ours);
    expect(classify('text').code).toBe('etcd_unreachable');
    expect(classify(undefined).code).toBe('etcd_unreachable');
  });

  test.each([
    ['etcdserver: invalid auth token', true],
    ['etcdserver: invalid authentication token', true],
    ['etcdserver: revision of auth store is old', true],
    ['etcdserver: user name is empty', true],
    ['etcdserver: permission denied', false],
  ])('%s: a stale token is %s', (details, stale) => {
    expect(isStaleToken(classify(grpc(3, 'INVALID_ARGUMENT', details)))).toBe(stale);
  });
});

describe('a real etcd', () => {
  let cluster: EtcdCluster;
  const coordinators: EtcdCoordinator[] = [];
  const connect = (endpoints = cluster.endpoints): EtcdCoordinator => {
    const { coordinator } = connectTo(endpoints);
    coordinators.push(coordinator);
    return coordinator;
  };
  const failureOf = async (work: Promise<unknown>): Promise<ElectordError> =>
    work.then(
      () => Promise.reject(new Error('it succeeded')),
      (failure: unknown) => failure as ElectordError,
    );

  beforeAll(async () => {
    cluster = await startEtcdCluster({ size: 1 });
  });
  afterAll(async () => {
    for (const coordinator of coordinators) coordinator.close();
    await cluster.stop();
  });

  test('a lease that never was is lost, whoever asks; to revoke it succeeds', async () => {
    const coordinator = connect();
    const lease = anyLease();
    expect((await failureOf(coordinator.renew(lease))).code).toBe('lease_lost');
    expect((await failureOf(coordinator.join(orders, granted(lease), me))).code).toBe('lease_lost');
    const enrolled = coordinator.enroll(orders, { ...me, leaseId: lease, healthy: true });
    expect((await failureOf(enrolled)).code).toBe('lease_lost');
    await coordinator.revoke(lease);
  });

  test('a second grant of the same lease succeeds, with what was granted', async () => {
    const coordinator = connect();
    const lease = anyLease();
    await coordinator.grant(lease, 60_000);
    expect((await coordinator.grant(lease, 2000)).value).toBe(60_000);
    const raw = new etcd3.Etcd3({ hosts: cluster.endpoints });
    const failure = await raw.leaseClient
      .leaseGrant({ ID: leaseToDecimal(lease), TTL: 60 })
      .then(() => null, classify);
    raw.close();
    expect(failure?.code).toBe('etcd_refused');
    expect(isLeaseAlreadyGranted(failure!)).toBe(true);
  });

  test('a term that is over is fenced out', async () => {
    const coordinator = connect();
    const lease = anyLease();
    await coordinator.grant(lease, 60_000);
    const { value } = await coordinator.join(orders, granted(lease), me);
    const own = { ...granted(lease), createRevision: revision(value.createRevision - 1n) };
    const began = {
      since: new Date().toISOString(),
      leaderlessMs: null,
      leaderlessAtMostMs: null,
      endBefore: null,
    };
    expect((await failureOf(coordinator.proclaim(orders, own, me, began))).code).toBe('fenced_out');
    await coordinator.revoke(lease);
  });

  test('a full database refuses', async () => {
    // Above etcd's own use of the file, so that only what is written fills it.
    const small = await startEtcdCluster({ size: 1, extraArgs: ['--quota-backend-bytes=100000'] });
    try {
      const coordinator = connect(small.endpoints);
      const lease = anyLease();
      await small
        .etcdctl(['put', 'big', 'x'.repeat(90_000)])
        .then(() => small.etcdctl(['put', 'big', 'x'.repeat(90_000)]))
        .catch(() => undefined);
      const failure = await eventually(
        () =>
          coordinator
            .grant(lease, 2000)
            .then(() => coordinator.join(orders, granted(lease), me))
            .then(() => null, classify),
        { withinMs: 20_000, what: 'a refusal' },
      );
      expect(failure.code).toBe('etcd_refused');
    } finally {
      await small.stop();
    }
  });

  test('a watch whose history is compacted is interrupted as such, and begins anew', async () => {
    const coordinator = connect();
    for (const value of ['1', '2', '3']) await cluster.etcdctl(['put', 'other', value]);
    const fresh = await observed(coordinator);
    const now = fresh.value;
    await cluster.etcdctl(['compact', now.revision.toString()]);
    const options = optionsFor(cluster.endpoints);
    const requests = new Cluster(options);
    const notices: WatchNotice[] = [];
    let reads = 0;
    const watch = new QueueWatch({
      cluster: requests,
      watched: [{ election: orders, keys: keysOf(options.prefix, orders) }],
      // The first snapshot is so old that the history behind it is gone by the time the watch asks for it.
      observe: () => {
        reads += 1;
        const stale = { ...now, revision: revision(1n) };
        return reads === 1
          ? [Promise.resolve({ value: stale, sentAt: fresh.sentAt })]
          : coordinator.observe([orders]);
      },
      listener: (notice) => notices.push(notice),
      ttlMs: 2000,
      clock: options.clock,
      random: () => 1,
      observer: options.observer,
    });
    watch.start();
    try {
      await eventually(() => notices.length >= 3, { withinMs: 20_000, what: 'a second snapshot' });
      expect(notices.map(({ kind }) => kind)).toEqual(['snapshot', 'interrupted', 'snapshot']);
      expect(notices[1]).toMatchObject({ why: expect.stringMatching(/compacted/i) as string });
    } finally {
      watch.stop();
      requests.close();
    }
  });
});
