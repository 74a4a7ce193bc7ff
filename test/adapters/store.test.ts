// The fenced store on a real etcd of every series: only the leader of a term writes, races are lost cleanly, the journal has
// no gaps, and a request that arrives twice or too late changes nothing.
import { Etcd3, type ITxnRequest } from 'etcd3';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { fencingToken, memberId, type LeaseId } from '../../src/core/model.ts';
import { FencedOut, Unreachable } from '../../src/errors.ts';
import type { EtcdCoordinator } from '../../src/etcd/coordinator.ts';
import { keysOf } from '../../src/etcd/keys.ts';
import { EtcdFencedStore } from '../../src/etcd/store.ts';
import { entryKey, journalKeys } from '../../src/etcd/store-records.ts';
import type { FencedStore, NewEntry, Writer } from '../../src/store-port.ts';
import { etcdSeries } from '../harness/binaries.ts';
import { startEtcdCluster, type EtcdCluster } from '../harness/etcd.ts';
import { anyLease, clock, connectTo, granted, me, orders } from './etcd-connection.ts';

const plain = (text: string) => ({ bytes: Buffer.from(text), contentType: 'text/plain' });
const entry = (value: unknown, idempotencyKey: string | null = null): NewEntry => ({
  json: JSON.stringify(value),
  at: '2026-11-20T21:00:00.000Z',
  by: memberId('orders-0'),
  idempotencyKey,
});
const textOf = async (store: FencedStore, key: string): Promise<string | null> => {
  const stored = await store.read(orders, key);
  return stored === null ? null : Buffer.from(stored.bytes).toString();
};

describe.each(etcdSeries)('on etcd %s', (version) => {
  let cluster: EtcdCluster;
  let raw: Etcd3;
  let coordinator: EtcdCoordinator;
  let store: FencedStore;
  let prefixes = 0;
  let prefix = '';
  const leases: LeaseId[] = [];

  beforeAll(async () => {
    cluster = await startEtcdCluster({ size: 1, version });
    raw = new Etcd3({ hosts: cluster.endpoints });
  });
  afterEach(async () => {
    for (const lease of leases.splice(0)) await coordinator.revoke(lease);
    coordinator.close();
  });
  afterAll(async () => {
    raw.close();
    await cluster.stop();
  });

  /** A store on a tree of its own, and the term that leads there. */
  async function leading(): Promise<Writer> {
    prefixes += 1;
    prefix = `/store-${prefixes}`;
    coordinator = connectTo(cluster.endpoints, { prefix }).coordinator;
    store = coordinator.fencedStore();
    return stand();
  }

  /** Stands at the end of the queue. */
  async function stand(): Promise<Writer> {
    const leaseId = anyLease();
    leases.push(leaseId);
    await coordinator.grant(leaseId, 60_000);
    const { value } = await coordinator.join(orders, granted(leaseId), me);
    return { election: orders, leaseId, token: fencingToken(value.createRevision) };
  }

  const endTerm = ({ leaseId }: Writer): Promise<void> => coordinator.revoke(leaseId);

  /** A store of which each write is sent twice, as hedging may; the answer is the second one's. */
  function twice(between: () => Promise<unknown> = () => Promise.resolve()): EtcdFencedStore {
    return new EtcdFencedStore({
      transact: async (_operation, request) => {
        const first = await raw.kv.txn(request);
        const writes = request.success?.some((one) => one.request_range === undefined) ?? false;
        if (!writes) return { value: first, sent: 1 };
        await between();
        return { value: await raw.kv.txn(request), sent: 2 };
      },
      grant: (lease, ttlMs) => coordinator.grant(lease, ttlMs),
      keysOf: (election) => keysOf(prefix, election),
      now: () => clock.now(),
    });
  }

  describe('state', () => {
    it('keeps bytes as they are, with their type, revision and term', async () => {
      const writer = await leading();
      expect(await store.read(orders, 'a/b')).toBeNull();
      const bytes = Buffer.from([0, 255, 10, 13, 195, 40]);
      const written = await store.write(writer, 'a/b', { bytes, contentType: 'image/x' }, null);
      if (written.kind !== 'written') throw new Error('not written');
      const read = await store.read(orders, 'a/b');
      expect(read).toMatchObject({
        contentType: 'image/x',
        revision: written.revision,
        writtenIn: writer.token,
      });
      expect(Buffer.from(read!.bytes)).toEqual(bytes);
      // Bare bytes under the plain key, for other programs.
      expect(await raw.get(`${prefix}/orders/state/a/b`).buffer()).toEqual(bytes);

      // What another program writes is read, but its type is not known.
      await raw.put(`${prefix}/orders/state/a/b`).value('theirs');
      const theirs = await store.read(orders, 'a/b');
      expect(theirs).toMatchObject({ contentType: null, writtenIn: null });
      expect(theirs!.revision).toBeGreaterThan(written.revision);
    });

    it('takes a mebibyte', async () => {
      const writer = await leading();
      const value = { bytes: Buffer.alloc(1_048_576, 7), contentType: 'application/octet-stream' };
      expect(await store.write(writer, 'large', value, null)).toMatchObject({ kind: 'written' });
      expect((await store.read(orders, 'large'))!.bytes.length).toBe(1_048_576);
    });

    it('writes and removes on conditions only', async () => {
      const writer = await leading();
      const { kind } = await store.write(writer, 'k', plain('0'), 'anything');
      expect(kind).toBe('conflict');
      const first = await store.write(writer, 'k', plain('1'), 'nothing');
      if (first.kind !== 'written') throw new Error('not written');
      const conflict = { kind: 'conflict', revision: first.revision };
      expect(await store.write(writer, 'k', plain('2'), 'nothing')).toEqual(conflict);
      const second = await store.write(writer, 'k', plain('2'), [first.revision]);
      if (second.kind !== 'written') throw new Error('not written');
      expect(await store.write(writer, 'k', plain('3'), [first.revision])).toEqual({
        kind: 'conflict',
        revision: second.revision,
      });
      expect(await store.remove(writer, 'k', [first.revision])).toMatchObject({ kind: 'conflict' });
      expect(await textOf(store, 'k')).toBe('2');
      expect(await store.remove(writer, 'k', 'anything')).toEqual({ kind: 'removed' });
      expect(await store.remove(writer, 'k', null)).toEqual({ kind: 'absent' });
      expect(await store.remove(writer, 'k', 'anything')).toMatchObject({ revision: null });
      expect(await raw.getAll().prefix(`${prefix}/orders/state/`).keys()).toEqual([]);
    });

    it('lets exactly one of many writers win who expect the same value', async () => {
      const writer = await leading();
      const outcomes = await Promise.all(
        Array.from({ length: 30 }, (_, index) =>
          store.write(writer, 'race', plain(String(index)), 'nothing'),
        ),
      );
      expect(outcomes.filter(({ kind }) => kind === 'written').length).toBe(1);
      // Two processes of the same term would race in etcd itself: there is one line in each store only.
      const [one, other] = [coordinator.fencedStore(), coordinator.fencedStore()];
      const both = await Promise.all([
        one.write(writer, 'pair', plain('one'), 'nothing'),
        other.write(writer, 'pair', plain('other'), 'nothing'),
      ]);
      expect(both.filter(({ kind }) => kind === 'written').length).toBe(1);
    });

    it('refuses a term that is over, one that only waits, and one of another lease', async () => {
      const writer = await leading();
      await store.write(writer, 'k', plain('1'), null);
      const next = await stand();
      for (const wrong of [
        next,
        { ...writer, leaseId: next.leaseId },
        { ...writer, token: next.token },
      ]) {
        await expect(store.write(wrong, 'k', plain('2'), null)).rejects.toBeInstanceOf(FencedOut);
        await expect(store.remove(wrong, 'k', null)).rejects.toBeInstanceOf(FencedOut);
        await expect(store.append(wrong, entry(1))).rejects.toBeInstanceOf(FencedOut);
      }
      await endTerm(writer);
      await expect(store.write(writer, 'k', plain('3'), null)).rejects.toBeInstanceOf(FencedOut);
      expect(await textOf(store, 'k')).toBe('1');
      expect(await store.write(next, 'k', plain('4'), null)).toMatchObject({ kind: 'written' });
    });

    it('knows its own write again when it was sent twice', async () => {
      const writer = await leading();
      const first = await twice().write(writer, 'k', plain('1'), 'nothing');
      const read = await store.read(orders, 'k');
      expect(first).toEqual({ kind: 'written', revision: read!.revision });
      // The last answer says that the term is over, and yet the write was made.
      const ending = twice(() => endTerm(writer));
      const last = await ending.write(writer, 'k', plain('2'), null);
      expect(last.kind).toBe('written');
      expect(await textOf(store, 'k')).toBe('2');
    });

    it('removes once, and says so, when that was sent twice', async () => {
      const writer = await leading();
      await store.write(writer, 'k', plain('1'), null);
      expect(await twice().remove(writer, 'k', null)).toEqual({ kind: 'removed' });
      await store.write(writer, 'k', plain('1'), null);
      const again = twice(() => store.write(writer, 'k', plain('2'), 'nothing'));
      await expect(again.remove(writer, 'k', null)).rejects.toBeInstanceOf(Unreachable);
      // The copy that came late did not remove what was written in between.
      expect(await textOf(store, 'k')).toBe('2');
    });

    it('does not write again what was removed between two copies, nor pretends to know', async () => {
      const writer = await leading();
      const between = twice(() => store.remove(writer, 'k', 'anything'));
      await expect(between.write(writer, 'k', plain('1'), 'nothing')).rejects.toThrow(/not known/);
      expect(await textOf(store, 'k')).toBeNull();
    });

    it('never writes over what came between two copies, and does not pretend to know', async () => {
      const writer = await leading();
      const key = `${prefix}/orders/state/k`;
      const between = twice(async () => raw.put(key).value('between').exec());
      await expect(between.write(writer, 'k', plain('mine'), null)).rejects.toThrow(/not known/);
      expect(await textOf(store, 'k')).toBe('between');
    });
  });

  /** A store that keeps every transaction it sends. */
  function recording(): { readonly store: EtcdFencedStore; readonly sent: ITxnRequest[] } {
    const sent: ITxnRequest[] = [];
    const recorded = new EtcdFencedStore({
      transact: async (_operation, request) => {
        sent.push(request);
        return { value: await raw.kv.txn(request), sent: 1 };
      },
      grant: (lease, ttlMs) => coordinator.grant(lease, ttlMs),
      keysOf: (election) => keysOf(prefix, election),
      now: () => clock.now(),
    });
    return { store: recorded, sent };
  }

  it('changes nothing by a copy of any write, after whatever write it arrives', async () => {
    const writer = await leading();
    const { store: recorded, sent } = recording();
    const theirs = `${prefix}/orders/state/k`;
    const story: readonly (readonly [string, () => Promise<unknown>])[] = [
      ['create', () => recorded.write(writer, 'k', plain('1'), 'nothing')],
      ['remove', () => recorded.remove(writer, 'k', null)],
      ['create again', () => recorded.write(writer, 'k', plain('2'), 'nothing')],
      ['write over', () => recorded.write(writer, 'k', plain('3'), 'anything')],
      ['write blindly', () => recorded.write(writer, 'k', plain('4'), null)],
      ['remove again', () => recorded.remove(writer, 'k', 'anything')],
      ['create blindly', () => recorded.write(writer, 'k', plain('5'), null)],
      ['another program deletes', () => raw.delete().key(theirs).exec()],
      ['create after that', () => recorded.write(writer, 'k', plain('6'), 'nothing')],
      ['another program writes', () => raw.put(theirs).value('theirs').exec()],
      ['remove what it wrote', () => recorded.remove(writer, 'k', null)],
      ['create another', () => recorded.write(writer, 'other', plain('1'), null)],
      ['append', () => recorded.append(writer, entry('a'))],
      ['append with a key', () => recorded.append(writer, entry('b', 'x'))],
      ['append more', () => recorded.append(writer, entry('c', 'y'))],
    ];
    const everything = async (): Promise<unknown> =>
      (await raw.getAll().prefix(`${prefix}/orders/`).exec()).kvs.map((kv) => [
        kv.key.toString(),
        kv.value.toString(),
        kv.mod_revision,
      ]);
    const copies: { readonly of: string; readonly request: ITxnRequest }[] = [];
    for (const [name, run] of story) {
      const from = sent.length;
      await run();
      copies.push(...sent.slice(from).map((request) => ({ of: name, request })));
      const before = await everything();
      for (const { of, request } of copies) {
        await raw.kv.txn(request);
        expect(await everything(), `a copy of "${of}" after "${name}"`).toEqual(before);
      }
    }
    expect(await textOf(store, 'k')).toBeNull();
    expect(await store.journal(orders, 0, 10)).toMatchObject({ last: 3 });
  });

  describe('the journal', () => {
    it('shows nothing behind its head, such as half a restore leaves there', async () => {
      const writer = await leading();
      await store.append(writer, entry(1));
      const keys = keysOf(prefix, orders);
      const [first] = (await raw.getAll().prefix(journalKeys(keys).entries).exec()).kvs;
      await raw.put(entryKey(keys, 2)).value(first!.value);
      const page = await store.journal(orders, 0, 10);
      expect(page).toMatchObject({ last: 1, entries: [{ seq: 1 }] });
    });

    it('numbers without gaps, whoever appends at once, and keeps the JSON as it was', async () => {
      const writer = await leading();
      expect(await store.journal(orders, 0, 10)).toEqual({ entries: [], last: 0 });
      const stores = [store, coordinator.fencedStore(), coordinator.fencedStore()];
      const outcomes = await Promise.all(
        Array.from({ length: 45 }, (_, index) =>
          stores[index % stores.length]!.append(writer, entry({ index })),
        ),
      );
      const numbers = outcomes.map(({ seq }) => seq).sort((a, b) => a - b);
      expect(numbers).toEqual(Array.from({ length: 45 }, (_, index) => index + 1));
      const exact = '{"n":90071992547409931,"t":"ä"}';
      await store.append(writer, { ...entry(null), json: exact });
      const page = await store.journal(orders, 44, 10);
      expect(page).toMatchObject({
        last: 46,
        entries: [{ seq: 45 }, { seq: 46, json: exact, token: writer.token, by: 'orders-0' }],
      });
      expect((await store.journal(orders, 0, 7)).entries.map(({ seq }) => seq)).toEqual([
        1, 2, 3, 4, 5, 6, 7,
      ]);
      expect((await store.journal(orders, 0, 1000)).entries.length).toBe(46);
      expect(await store.journal(orders, 46, 10)).toEqual({ entries: [], last: 46 });
    });

    it('goes on where the term before ended', async () => {
      const writer = await leading();
      await store.append(writer, entry('a'));
      const next = await stand();
      await endTerm(writer);
      await expect(store.append(writer, entry('late'))).rejects.toBeInstanceOf(FencedOut);
      expect(await store.append(next, entry('b'))).toMatchObject({ seq: 2 });
      const { entries } = await store.journal(orders, 0, 10);
      expect(entries.map(({ json }) => json)).toEqual(['"a"', '"b"']);
    });

    it('appends once for an idempotency key, in whichever term, and refuses another entry for it', async () => {
      const writer = await leading();
      const appended = { kind: 'appended', seq: 1 };
      expect(await store.append(writer, entry(1, 'x'))).toEqual({ ...appended, replayed: false });
      expect(await store.append(writer, entry(1, 'x'))).toEqual({ ...appended, replayed: true });
      expect(await store.append(writer, entry(2, 'x'))).toEqual({ kind: 'reused', seq: 1 });
      const next = await stand();
      await endTerm(writer);
      const elsewhere = coordinator.fencedStore();
      expect(await elsewhere.append(next, entry(1, 'x'))).toEqual({ ...appended, replayed: true });
      const many = await Promise.all(
        Array.from({ length: 12 }, () => coordinator.fencedStore().append(next, entry(3, 'y'))),
      );
      expect(new Set(many.map(({ seq }) => seq))).toEqual(new Set([2]));
      expect((await store.journal(orders, 0, 10)).last).toBe(2);
    });

    it('remembers a key on a lease of a day, and takes another one where that was revoked', async () => {
      const writer = await leading();
      await store.append(writer, entry(1, 'x'));
      const keys = await raw.getAll().prefix(`${prefix}/orders/journal/keys/`).exec();
      const lease = keys.kvs[0]!.lease;
      const { TTL } = await raw.leaseClient.leaseTimeToLive({ ID: lease });
      expect(Number(TTL)).toBeGreaterThan(24 * 3600);
      await raw.leaseClient.leaseRevoke({ ID: lease });
      expect(await store.append(writer, entry(2, 'y'))).toMatchObject({ seq: 2, replayed: false });
    });

    it('hangs no more keys on a lease than end with it quickly', async () => {
      const writer = await leading();
      for (let count = 0; count < 1001; count += 1) {
        await store.append(writer, entry(count, `key-${count}`));
      }
      const { kvs } = await raw.getAll().prefix(`${prefix}/orders/journal/keys/`).exec();
      expect(kvs).toHaveLength(1001);
      const onLease = new Map<string, number>();
      for (const { lease } of kvs) onLease.set(lease, (onLease.get(lease) ?? 0) + 1);
      expect([...onLease.values()].sort((a, b) => a - b)).toEqual([1, 500, 500]);
    });

    it('is written once where the request arrives twice, the second time after the end of the term', async () => {
      const writer = await leading();
      expect(await twice().append(writer, entry('a'))).toMatchObject({ seq: 1 });
      expect(await twice().append(writer, entry('b', 'k'))).toMatchObject({ seq: 2 });
      const others = twice(() => store.append(writer, entry('between')));
      expect(await others.append(writer, entry('c'))).toMatchObject({ seq: 3, replayed: false });
      const ending = twice(() => endTerm(writer));
      expect(await ending.append(writer, entry('d'))).toMatchObject({ seq: 5 });
      const { entries, last } = await store.journal(orders, 0, 10);
      expect(entries.map(({ json }) => json)).toEqual(['"a"', '"b"', '"c"', '"between"', '"d"']);
      expect(last).toBe(5);
    });

    it('reads large entries, fewer at a time', async () => {
      const writer = await leading();
      const large = 'x'.repeat(1_000_000);
      for (let count = 0; count < 10; count += 1) await store.append(writer, entry(large));
      const page = await store.journal(orders, 0, 100);
      // A page ends with the entry that passes 8 MiB.
      expect(page.entries.length).toBe(9);
      expect(page.last).toBe(10);
      expect(page.entries.every(({ json }) => json.length === 1_000_002)).toBe(true);
    });
  });
});
