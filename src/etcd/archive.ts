// What of an election outlives every process: its state, journal and history, read whole as of one revision and written
// back where nobody campaigns. Leases and what hangs on them (candidates, members, a pause) are never part of it.
// Written back, nothing is as new as before: `raiseRevision` makes every later term greater than those in the archive.
// Every write is guarded as a verb is (verbs.ts): a late copy of one changes nothing of what was written after it.
import type { IKeyValue, IRequestOp, ITxnRequest, ITxnResponse } from 'etcd3';
import type { ElectionName, Revision } from '../core/model.ts';
import { Refused } from '../errors.ts';
import { Cluster, type ClusterOptions } from './cluster.ts';
import { endOfPrefix, justBehind, keysOf, revisionFromDecimal } from './keys.ts';
import { pageIn, pagesOf, type Page } from './paging.ts';
import { encode } from './fields.ts';
import { allFound, found, nothingIn, put, rangeOf, read, readAll, removeAll } from './requests.ts';
import { carryOut, type Transact } from './verbs.ts';

/** One key of an election, its name relative to PREFIX/ELECTION/. */
export interface ArchivedKey {
  readonly key: string;
  readonly value: Buffer;
  /** What stands beside a value of the state: content type and term; null where another program wrote the value. */
  readonly meta: Buffer | null;
}

/** Entries before their head, so that a journal which was written back in part has none. */
const parts = ['journal/entries/', 'journal/head', 'state/', 'terms/'] as const;
/** All that `parts` are in, and what else hangs on them: that an idempotency key was used. */
const trees = ['journal/', 'state/', 'terms/'] as const;
/** In one transaction, against etcd's 128 operations and 1.5 MiB; one value of the state fits in any case. */
const bytesPerWrite = 256 * 1024;
const keysPerWrite = 48;
/** So many writes at once raise the revision some ten thousand times a second. */
const writesAtOnce = 64;
/** More would take many minutes: etcd's own tool does it in one step. */
const mostRevisionsToRaise = 2_000_000n;

const metaOf = (key: string): string => `${key}#meta`;

export class Archive {
  readonly #cluster: Cluster;
  readonly #prefix: string;

  constructor({ prefix, ...options }: ClusterOptions & { readonly prefix: string }) {
    this.#cluster = new Cluster(options);
    this.#prefix = prefix;
  }

  /**
   * etcd's revision now, asked with a read of the election: a user may have no right to more. All methods reject with a
   * class of errors.ts.
   */
  async revision(election: ElectionName): Promise<Revision> {
    const root = this.#rootOf(election);
    const answer = await this.#transact({
      success: [readAll(root, { limit: 1, keys_only: true })],
    });
    return revisionFromDecimal(answer.header.revision);
  }

  /** Everything as of that revision. Rejects with Compacted where etcd does not have it any more. */
  async *read(election: ElectionName, at: Revision): AsyncGenerator<ArchivedKey> {
    const root = this.#rootOf(election);
    for (const part of parts) {
      for await (const { kvs } of this.#pages(root + part, at)) {
        yield* await this.#withMeta(root, kvs, at, part === 'state/');
      }
    }
  }

  /** The names under the prefix, in their order: one read for each, however many keys it has. */
  async elections(): Promise<readonly string[]> {
    const tree = `${this.#prefix}/`;
    const names: string[] = [];
    let from: Buffer = Buffer.from(tree);
    for (;;) {
      const request_range = { ...rangeOf(tree, from), limit: 1, keys_only: true };
      const [kv] = allFound(await this.#transact({ success: [{ request_range }] }), 0);
      if (kv === undefined) return names;
      const [, name] = /^([^/]+)\//.exec(kv.key.toString('utf8').slice(tree.length)) ?? [];
      if (name !== undefined) names.push(name);
      // Behind all keys of that name, or behind a key that belongs to none.
      from = name === undefined ? justBehind(kv.key) : endOfPrefix(`${tree}${name}/`);
    }
  }

  /** Whether there is anything that writing back would replace. */
  async isEmpty(election: ElectionName): Promise<boolean> {
    const root = this.#rootOf(election);
    const success = parts.map((part) => readAll(root + part, { limit: 1, keys_only: true }));
    const { responses } = await this.#transact({ success });
    return responses.every(({ response_range: { kvs } }) => kvs.length === 0);
  }

  /** Rejects with Refused while somebody campaigns. */
  async expectNobody(election: ElectionName): Promise<void> {
    const { candidates } = keysOf(this.#prefix, election);
    const { succeeded } = await this.#transact({ compare: [nothingIn(candidates)] });
    if (!succeeded) throw campaigning(election);
  }

  /** Removes what `isEmpty` looks for. Rejects with Refused while somebody campaigns. */
  async clear(election: ElectionName): Promise<void> {
    const root = this.#rootOf(election);
    await this.#write(
      election,
      trees.map((tree) => removeAll(root + tree)),
    );
  }

  /**
   * Writes the keys back, some at a time; resolves with their number. Rejects with Refused while somebody campaigns: a
   * leader would write in between.
   */
  async write(election: ElectionName, keys: AsyncIterable<ArchivedKey>): Promise<number> {
    const root = this.#rootOf(election);
    let batch: IRequestOp[] = [];
    let bytes = 0;
    let count = 0;
    const flush = async (): Promise<void> => {
      if (batch.length > 0) await this.#write(election, batch);
      [batch, bytes] = [[], 0];
    };
    for await (const { key, value, meta } of keys) {
      const size = value.length + (meta?.length ?? 0);
      if (bytes + size > bytesPerWrite || batch.length >= keysPerWrite) await flush();
      // A value and its meta in one transaction: that is how they are known to belong together.
      batch.push(put(root + key, value), ...(meta === null ? [] : [put(root + metaOf(key), meta)]));
      bytes += size;
      count += 1;
    }
    await flush();
    return count;
  }

  /**
   * Writes until etcd's revision is above `floor`, so that every term from now on has a greater fencing token.
   * Rejects with Refused where that is too far: etcd's own restore can do it in one step.
   */
  async raiseRevision(floor: Revision, election: ElectionName): Promise<bigint> {
    const from = await this.revision(election);
    const missing = floor - from + 1n;
    if (missing <= 0n) return 0n;
    if (missing > mostRevisionsToRaise) {
      throw new Refused(
        `etcd is ${missing} revisions behind the backup, and tokens must not fall: restore etcd itself with ` +
          `"etcdutl snapshot restore --bump-revision ${missing} --mark-compacted", and then try again`,
      );
    }
    // Any key would do. A late copy of a write to this one leaves nothing behind, and makes others at most try again.
    const { verbs } = keysOf(this.#prefix, election);
    const value = encode({});
    let left = missing;
    const writer = async (): Promise<void> => {
      while (left > 0n) {
        left -= 1n;
        await this.#transact({ success: [put(verbs, value)] });
      }
    };
    await Promise.all(Array.from({ length: writesAtOnce }, writer));
    return missing;
  }

  close(): void {
    this.#cluster.close();
  }

  #rootOf(election: ElectionName): string {
    return `${this.#prefix}/${election}/`;
  }

  #pages(name: string, at: Revision): AsyncGenerator<Page> {
    return pagesOf(name, name, async (range) => {
      const request_range = { ...range, revision: at.toString() };
      return pageIn(await this.#transact({ success: [{ request_range }] }), 0);
    });
  }

  async #withMeta(
    root: string,
    page: readonly IKeyValue[],
    at: Revision,
    isState: boolean,
  ): Promise<readonly ArchivedKey[]> {
    const values = page.map((kv) => ({ key: kv.key.toString('utf8').slice(root.length), kv }));
    if (!isState) return values.map(({ key, kv }) => ({ key, value: kv.value, meta: null }));
    const own = values.filter(({ key }) => !key.includes('#'));
    if (own.length === 0) return [];
    const success = own.map(({ key }) => read(root + metaOf(key), { revision: at.toString() }));
    const answer = await this.#transact({ success });
    return own.map(({ key, kv }, index) => {
      const meta = found(answer, index);
      const belongs = meta?.mod_revision === kv.mod_revision;
      return { key, value: kv.value, meta: belongs ? meta.value : null };
    });
  }

  async #write(election: ElectionName, operations: readonly IRequestOp[]): Promise<void> {
    const keys = keysOf(this.#prefix, election);
    const compare = [nothingIn(keys.candidates)];
    const transact: Transact = (request) => this.#cluster.transact('archive', request, 'patient');
    const done = await carryOut(transact, keys, { operations, compare });
    if (!done) throw campaigning(election);
  }

  async #transact(request: ITxnRequest): Promise<ITxnResponse> {
    return (await this.#cluster.transact('archive', request, 'patient')).value;
  }
}

const campaigning = (election: ElectionName): Refused =>
  new Refused(`somebody campaigns in ${election}: stop every sidecar of it first`);
