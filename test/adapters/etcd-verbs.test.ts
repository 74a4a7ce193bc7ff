// What somebody asks for (pause, resume, switchover) and what becomes of it when the request is lost, late or sent twice:
// what was acknowledged later is never undone, and what is not known is not claimed.
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { ITxnRequest } from 'etcd3';
import {
  electionName,
  fencingToken,
  memberId,
  revision,
  type ElectionName,
  type Snapshot,
  type SwitchoverRequest,
} from '../../src/core/model.ts';
import { Unreachable } from '../../src/errors.ts';
import { Cluster } from '../../src/etcd/cluster.ts';
import type { EtcdCoordinator } from '../../src/etcd/coordinator.ts';
import { startEtcdCluster, type EtcdCluster } from '../harness/etcd.ts';
import { eventually } from '../harness/wait.ts';
import { connectTo } from './etcd-connection.ts';

const control = { paused: true, reason: null, by: null, until: null } as const;
const to = (id: string): SwitchoverRequest => ({
  token: fencingToken(revision(7n)),
  to: memberId(id),
  reason: null,
  actor: null,
});
const longMs = 600_000;
const writes = ({ success = [] }: ITxnRequest): boolean =>
  success.some((one) => one.request_range === undefined);

describe.each(['3.4', '3.5'] as const)('etcd %s', (version) => {
  let cluster: EtcdCluster;
  let coordinator: EtcdCoordinator;
  let elections = 0;

  beforeAll(async () => {
    cluster = await startEtcdCluster({ size: 1, version });
    ({ coordinator } = connectTo(cluster.endpoints));
  });
  afterEach(() => vi.restoreAllMocks());
  afterAll(async () => {
    coordinator.close();
    await cluster.stop();
  });

  const fresh = (): ElectionName => electionName(`verbs-${(elections += 1)}`);

  async function seen(election: ElectionName): Promise<Snapshot> {
    const [answer] = await Promise.all(coordinator.observe([election]));
    return answer!.value;
  }

  /** Of the next write that is asked for, `instead` decides what becomes; its `send` sends it as it was. */
  function nextWrite(instead: (send: Send) => ReturnType<Send>): void {
    // eslint-disable-next-line @typescript-eslint/unbound-method -- called with the cluster that was asked.
    const transact = Cluster.prototype.transact;
    const spy = vi.spyOn(Cluster.prototype, 'transact');
    spy.mockImplementation(function (this: Cluster, operation, request, lane) {
      const send: Send = () => transact.call(this, operation, request, lane);
      if (operation !== 'control' || !writes(request)) return send();
      spy.mockRestore();
      return instead(send);
    });
  }

  /** The write that `ask` wants is lost, and told as such; resolves with what delivers it all the same. */
  async function lost(ask: () => Promise<void>): Promise<() => Promise<void>> {
    let late: Send | null = null;
    nextWrite((send) => {
      late = send;
      return Promise.reject(new Unreachable('no answer'));
    });
    await expect(ask()).rejects.toBeInstanceOf(Unreachable);
    return async () => {
      await late!().catch((failure: unknown) => {
        if (failure instanceof Unreachable) throw failure;
      });
    };
  }

  test('a pause that was given up does not come true after a resume', async () => {
    const election = fresh();
    const arrive = await lost(() => coordinator.pause(election, control, longMs));
    await coordinator.resume(election);
    await arrive();
    expect((await seen(election)).control).toBeNull();
  });

  test('a resume that was given up does not end a later pause', async () => {
    const election = fresh();
    await coordinator.pause(election, control, longMs);
    const arrive = await lost(() => coordinator.resume(election));
    await coordinator.pause(election, { ...control, reason: 'again' }, longMs);
    await arrive();
    expect((await seen(election)).control).toEqual({ ...control, reason: 'again' });
  });

  test('a switchover that was given up is not asked for after a later one', async () => {
    const election = fresh();
    const arrive = await lost(() => coordinator.requestSwitchover(election, to('b'), longMs));
    await coordinator.requestSwitchover(election, to('c'), longMs);
    await arrive();
    expect((await seen(election)).switchover).toEqual(to('c'));
  });

  test('a switchover that was given up is not asked for once its time is over', async () => {
    const election = fresh();
    const leases = async (): Promise<number> =>
      (await cluster.etcdctl(['lease', 'list']))
        .split('\n')
        .filter((line) => /^[0-9a-f]+$/.test(line)).length;
    const before = await leases();
    const arrive = await lost(() => coordinator.requestSwitchover(election, to('b'), 2000));
    await eventually(async () => (await leases()) <= before, {
      withinMs: 20_000,
      what: 'the end of its lease',
    });
    await arrive();
    expect((await seen(election)).switchover).toBeNull();
  });

  test('a request that was sent twice is done once, and known by its name', async () => {
    const election = fresh();
    nextWrite(async (send) => {
      await send();
      return { ...(await send()), sent: 2 };
    });
    await coordinator.pause(election, control, longMs);
    expect((await seen(election)).control).toEqual(control);
  });

  test('where somebody else asked between two copies, it is not known which was first', async () => {
    const election = fresh();
    nextWrite(async (send) => {
      await send();
      await coordinator.resume(election);
      return { ...(await send()), sent: 2 };
    });
    const paused = coordinator.pause(election, control, longMs);
    await expect(paused).rejects.toThrow(/not known/);
    expect((await seen(election)).control).toBeNull();
  });

  test('where somebody else was quicker, it is asked for again', async () => {
    const election = fresh();
    nextWrite(async (send) => {
      await coordinator.requestSwitchover(election, to('b'), longMs);
      return send();
    });
    await coordinator.pause(election, control, longMs);
    expect(await seen(election)).toMatchObject({ control, switchover: to('b') });
  });
});

type Send = () => ReturnType<Cluster['transact']>;
