// The parts that transactions are made of, as etcd3 takes them, and how their answers are found.
import type { IKeyValue, IRangeRequest, IRequestOp, IResponseOp, ITxnRequest } from 'etcd3';
import type { LeaseId, Revision } from '../core/model.ts';
import { endOfPrefix, justBehind, leaseToDecimal, revisionFromDecimal } from './keys.ts';

type Compare = NonNullable<ITxnRequest['compare']>[number];

/** Reads one key. */
export const read = (key: string, more: IRangeRequest = {}): IRequestOp => ({
  request_range: { key: Buffer.from(key), ...more },
});

/** All keys of a tree, whose name ends in a slash, from `from` on; any other name is that of a single key. */
export const rangeOf = (name: string, from: Buffer = Buffer.from(name)) => ({
  key: from,
  range_end: name.endsWith('/') ? endOfPrefix(name) : justBehind(name),
});

/** Reads a tree. */
export const readAll = (tree: string, more: IRangeRequest = {}): IRequestOp => ({
  request_range: { ...rangeOf(tree), ...more },
});

/** Puts a value, which goes away with `lease` where there is one. */
export const put = (key: string, value: Uint8Array, lease?: LeaseId): IRequestOp => ({
  request_put: {
    key: Buffer.from(key),
    value: Buffer.from(value),
    ...(lease === undefined ? {} : { lease: leaseToDecimal(lease) }),
  },
});

export const remove = (key: string): IRequestOp => ({
  request_delete_range: { key: Buffer.from(key) },
});

/** Deletes a key if it hangs on that lease; a transaction within the one that it is part of. */
export const removeOn = (key: string, lease: LeaseId): IRequestOp => ({
  request_txn: {
    compare: [
      {
        key: Buffer.from(key),
        target: 'Lease',
        result: 'Equal',
        lease: leaseToDecimal(lease),
      },
    ],
    success: [remove(key)],
  },
});

export const removeAll = (tree: string): IRequestOp => ({ request_delete_range: rangeOf(tree) });

const created = (
  where: Pick<Compare, 'key' | 'range_end'>,
  result: 'Equal' | 'Greater',
  revision: bigint,
): Compare => ({ ...where, target: 'Create', result, create_revision: revision.toString() });

/** The key was created then; 0: there is none. */
export const createdAt = (key: string, revision: bigint): Compare =>
  created({ key: Buffer.from(key) }, 'Equal', revision);

/** No key of the tree was created before that. */
export const noneOlderThan = (tree: string, revision: bigint): Compare =>
  created(rangeOf(tree), 'Greater', revision - 1n);

/** There is no key in the tree: of an empty range etcd says that its create revision is 0. */
export const nothingIn = (tree: string): Compare => created(rangeOf(tree), 'Equal', 0n);

/** What was read is still there, or still nothing is. */
export const unchanged = (key: string, was: Revision | null): Compare => ({
  key: Buffer.from(key),
  target: 'Mod',
  result: 'Equal',
  mod_revision: (was ?? 0n).toString(),
});

/** What `unchanged` compares. */
export const modOf = (kv: IKeyValue | null): Revision | null =>
  kv === null ? null : revisionFromDecimal(kv.mod_revision);

interface Answers {
  readonly responses: readonly IResponseOp[];
}

/** The keys that answer number `index` of a transaction found. */
export const allFound = ({ responses }: Answers, index: number): readonly IKeyValue[] =>
  responses[index]?.response_range.kvs ?? [];

/** The single key that it found. */
export const found = (answer: Answers, index: number): IKeyValue | null =>
  allFound(answer, index)[0] ?? null;
