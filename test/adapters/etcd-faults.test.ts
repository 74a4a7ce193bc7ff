// What the adapter does when etcd is frozen, silent, gone or has forgotten: requests go elsewhere well within one
// TTL, every call ends, the watch comes back by itself, and closing leaves nothing open.
import { readdirSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { memberId } from '../../src/core/model.ts';
import { ElectordError, Unreachable } from '../../src/errors.ts';
import { startEtcdCluster, type EtcdCluster, type EtcdNode } from '../harness/etcd.ts';
import { startRelay, type Relay, type RelayDirection } from '../harness/relay.ts';
import { eventually } from '../harness/wait.ts';
import {
  anyLease,
  clock,
  connectTo,
  granted,
  idsIn,
  me,
  observed,
  orders,
  watchOrders,
  type Connection,
} from './etcd-connection.ts';

const cleanups: (() => void | Promise<void>)[] = [];
let cluster: EtcdCluster;

beforeAll(async () => {
  cluster = await startEtcdCluster({ size: 3 });
});

afterAll(async () => {
  await cluster.stop();
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  for (const node of cluster.nodes) node.thaw();
  await cluster.leader();
  await cluster.etcdctl(['del', '--prefix', '/electord/']);
});

function connect(endpoints: readonly string[], ttlMs = 2000): Connection {
  const connection = connectTo(endpoints, { ttlMs });
  cleanups.push(() => connection.coordinator.close());
  return connection;
}

async function relayTo(target: string): Promise<Relay> {
  const relay = await startRelay({ target });
  cleanups.push(() => relay.stop());
  return relay;
}

/** All endpoints, this member's first: a client asks it until it fails. */
const firstAsking = ({ clientUrl }: EtcdNode): readonly string[] => [
  clientUrl,
  ...cluster.endpoints.filter((endpoint) => endpoint !== clientUrl),
];

const follower = async (): Promise<EtcdNode> => {
  const leader = await cluster.leader();
  return cluster.nodes.find((node) => node !== leader)!;
};

describe('a frozen member of three', () => {
  /** Renews one after another; the longest time from one renewal that began and succeeded to the next, in ms. */
  async function longestGapWhile(
    node: EtcdNode,
    { ttlMs, renewals }: { readonly ttlMs: number; readonly renewals: number },
  ): Promise<number> {
    const { coordinator } = connect(firstAsking(node), ttlMs);
    const lease = anyLease();
    let { sentAt: last } = await coordinator.grant(lease, ttlMs);
    let longest = 0;
    for (let count = 0; count < renewals; count += 1) {
      if (count === 3) node.freeze();
      const { sentAt } = await eventually(() => coordinator.renew(lease), {
        withinMs: 2 * ttlMs,
        what: 'a renewal',
      });
      longest = Math.max(longest, sentAt - last, clock.now() - last);
      last = sentAt;
    }
    return longest;
  }

  test('a follower of etcd: the gap between renewals is the hedge, and stays below the TTL', async () => {
    const longest = await longestGapWhile(await follower(), { ttlMs: 2000, renewals: 40 });
    // The hedge comes after 200 ms; a renewal on a healthy member takes one or two.
    expect(longest).toBeGreaterThan(100);
    expect(longest).toBeLessThan(2000);
  });

  test('the leader of etcd: the gap is its election, below a TTL of 5 s', async () => {
    const longest = await longestGapWhile(await cluster.leader(), { ttlMs: 5000, renewals: 40 });
    expect(longest).toBeLessThan(5000);
  });

  test('the watch moves to another member and misses nothing', async () => {
    const node = await follower();
    const { coordinator } = connect(firstAsking(node), 10_000);
    const lease = anyLease();
    await coordinator.grant(lease, 60_000);
    const { notices } = watchOrders(coordinator);
    await eventually(() => notices.length > 0, { withinMs: 20_000, what: 'the first snapshot' });
    node.freeze();
    const frozenAt = clock.now();
    await coordinator.join(orders, granted(lease), me);
    await eventually(() => idsIn(notices).includes(me.id), { withinMs: 20_000, what: 'our key' });
    // Asked for its progress every 2 s, and mute a second later: below one TTL of 10 s.
    expect(clock.now() - frozenAt).toBeLessThan(10_000);
  });
});

describe('a black hole', () => {
  test('requests end within their bound, and succeed soon after it has healed', async () => {
    const relay = await relayTo(cluster.endpoints[0]!);
    const { coordinator } = connect([relay.url]);
    const lease = anyLease();
    await coordinator.grant(lease, 60_000);
    relay.cut();
    // Enough failures for the client to be thrown away meanwhile.
    for (let count = 0; count < 4; count += 1) {
      const askedAt = clock.now();
      await expect(coordinator.renew(lease)).rejects.toBeInstanceOf(Unreachable);
      expect(clock.now() - askedAt).toBeLessThan(3000);
    }
    await relay.heal();
    const { value } = await eventually(() => coordinator.renew(lease), {
      withinMs: 20_000,
      what: 'a renewal after healing',
    });
    expect(value).toBe(60_000);
  });

  test('every kind of call ends, with an error of ours', async () => {
    const relay = await relayTo(cluster.endpoints[0]!);
    const { coordinator } = connect([relay.url]);
    const lease = anyLease();
    await coordinator.grant(lease, 60_000);
    const { value } = await coordinator.join(orders, granted(lease), me);
    relay.cut();
    const own = { ...granted(lease), createRevision: value.createRevision };
    const calls = [
      coordinator.grant(anyLease(), 2000),
      coordinator.renew(lease),
      coordinator.revoke(lease),
      coordinator.join(orders, granted(lease), me),
      observed(coordinator),
      coordinator.release({
        election: orders,
        ...own,
        handover: null,
        term: null,
        succession: null,
      }),
      coordinator.enroll(orders, { ...me, leaseId: lease, healthy: true }),
      coordinator.proclaim(orders, own, me, {
        since: new Date().toISOString(),
        leaderlessMs: null,
        leaderlessAtMostMs: null,
        endBefore: null,
      }),
    ];
    const askedAt = clock.now();
    const outcomes = await Promise.allSettled(calls);
    expect(clock.now() - askedAt).toBeLessThan(4000);
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'etcd_unreachable' } });
      if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(ElectordError);
    }
  });

  test('beside two healthy members it costs one hedge', async () => {
    const first: number[] = [];
    const second: number[] = [];
    // The quickest of several: a busy machine makes some of them slow, and none of them quick.
    for (let round = 0; round < 5; round += 1) {
      const relay = await relayTo(cluster.endpoints[0]!);
      const { coordinator } = connect([relay.url, ...cluster.endpoints.slice(1)]);
      const lease = anyLease();
      await coordinator.grant(lease, 60_000);
      relay.cut();
      const askedAt = clock.now();
      await coordinator.renew(lease);
      first.push(clock.now() - askedAt);
      const again = clock.now();
      await coordinator.renew(lease);
      second.push(clock.now() - again);
    }
    expect(Math.min(...first)).toBeLessThan(500);
    expect(Math.min(...second)).toBeLessThan(150);
  });
});

test('a port that refuses is left at once, and found again when it is back', async () => {
  const relay = await relayTo(cluster.endpoints[0]!);
  const alone = connect([relay.url]);
  const besides = connect([relay.url, cluster.endpoints[1]!]);
  const lease = anyLease();
  await alone.coordinator.grant(lease, 60_000);
  await besides.coordinator.renew(lease);
  relay.refuse();
  relay.reset();
  await expect(alone.coordinator.renew(lease)).rejects.toBeInstanceOf(Unreachable);
  await besides.coordinator.renew(lease);
  await relay.heal();
  await eventually(() => alone.coordinator.renew(lease), { withinMs: 20_000, what: 'a renewal' });
});

describe('the watch', () => {
  test.each<RelayDirection>(['down', 'up'])(
    'mute in one direction (%s) is noticed and opened again elsewhere',
    async (direction) => {
      const relay = await relayTo(cluster.endpoints[0]!);
      const { coordinator } = connect([relay.url, cluster.endpoints[1]!], 10_000);
      const lease = anyLease();
      await coordinator.grant(lease, 60_000);
      const { notices } = watchOrders(coordinator);
      await eventually(() => notices.length > 0, { withinMs: 20_000, what: 'the first snapshot' });
      relay.cutOneWay(direction);
      const cutAt = clock.now();
      await connect(cluster.endpoints).coordinator.join(orders, granted(lease), me);
      await eventually(() => notices.some(({ kind }) => kind === 'interrupted'), {
        withinMs: 20_000,
        what: 'the interruption',
      });
      await eventually(() => idsIn(notices).includes(me.id), { withinMs: 20_000, what: 'our key' });
      const last = await eventually(() => notices.filter(({ kind }) => kind === 'snapshot').at(1), {
        withinMs: 20_000,
        what: 'a second snapshot',
      });
      expect(idsIn([last])).toEqual([me.id]);
      expect(clock.now() - cutAt).toBeLessThan(10_000);
    },
  );

  test('cut off while its history is compacted, it goes on from what is there now', async () => {
    const relay = await relayTo(cluster.endpoints[0]!);
    const { coordinator } = connect([relay.url]);
    const { notices } = watchOrders(coordinator);
    await eventually(() => notices.length > 0, { withinMs: 20_000, what: 'the first snapshot' });
    relay.cut();
    const direct = connect(cluster.endpoints);
    const [gone, staying] = [anyLease(), anyLease()];
    for (const [lease, id] of [
      [gone, 'gone'],
      [staying, 'staying'],
    ] as const) {
      await direct.coordinator.grant(lease, 60_000);
      await direct.coordinator.join(orders, granted(lease), { ...me, id: memberId(id) });
    }
    await direct.coordinator.revoke(gone);
    const { value } = await observed(direct.coordinator);
    await cluster.etcdctl(['compact', '--physical', value.revision.toString()]);
    // A cut that nobody has noticed yet loses nothing: TCP delivers what was on its way.
    await eventually(() => notices.some(({ kind }) => kind === 'interrupted'), {
      withinMs: 20_000,
      what: 'the interruption',
    });
    await relay.heal();
    const last = await eventually(
      () =>
        notices.findLast(
          (notice) => notice.kind === 'snapshot' && notice.snapshot.revision >= value.revision,
        ),
      { withinMs: 20_000, what: 'a snapshot of after the compaction' },
    );
    expect(idsIn([last])).toEqual(['staying']);
  });

  test('an etcd that dies and comes back is watched again', async () => {
    const node = await follower();
    const { coordinator } = connect([node.clientUrl]);
    const { notices } = watchOrders(coordinator);
    await eventually(() => notices.length > 0, { withinMs: 20_000, what: 'the first snapshot' });
    await node.kill();
    await eventually(() => notices.some(({ kind }) => kind === 'interrupted'), {
      withinMs: 20_000,
      what: 'the interruption',
    });
    await node.restart();
    const direct = connect(cluster.endpoints);
    const lease = anyLease();
    await direct.coordinator.grant(lease, 60_000);
    await direct.coordinator.join(orders, granted(lease), me);
    await eventually(() => idsIn(notices).includes(me.id), { withinMs: 20_000, what: 'our key' });
    expect(notices.filter(({ kind }) => kind === 'snapshot').length).toBeGreaterThan(1);
  });
});

describe('closing', () => {
  const openDescriptors = (): number =>
    readdirSync(process.platform === 'linux' ? '/proc/self/fd' : '/dev/fd').length;

  /** Waits until no more descriptors are open than before; fails with how many there are. */
  async function closedAgain(before: number): Promise<void> {
    let now = Number.POSITIVE_INFINITY;
    await eventually(
      () => {
        now = openDescriptors();
        return now <= before;
      },
      { withinMs: 20_000, what: `at most the ${before} descriptors of before` },
    ).catch(() => undefined);
    expect(now).toBeLessThanOrEqual(before);
  }

  test('twenty clients with a lease and a watch each leave no descriptor open', async () => {
    const before = openDescriptors();
    const connections = Array.from({ length: 20 }, () => connectTo(cluster.endpoints));
    for (const { coordinator } of connections) {
      const lease = anyLease();
      await coordinator.grant(lease, 2000);
      await coordinator.join(orders, granted(lease), me);
      const { notices } = watchOrders(coordinator);
      await eventually(() => notices.length > 0, { withinMs: 20_000, what: 'the first snapshot' });
      await coordinator.renew(lease);
    }
    expect(openDescriptors()).toBeGreaterThan(before + 15);
    for (const { coordinator } of connections) coordinator.close();
    await closedAgain(before);
  });

  test('at any moment of opening the watch, nothing stays open', async () => {
    const openAndClose = async (): Promise<void> => {
      for (let turns = 0; turns < 20; turns += 1) {
        const { coordinator } = connectTo(cluster.endpoints);
        const { cancel } = watchOrders(coordinator);
        for (let count = 0; count < turns; count += 1) await turn();
        cancel();
        coordinator.close();
      }
    };
    // What is opened once for a process is open after the first time, and a second one adds nothing.
    const atFirst = openDescriptors();
    await openAndClose();
    await closedAgain(atFirst + 1);
    const before = openDescriptors();
    await openAndClose();
    await closedAgain(before);
  });
});
