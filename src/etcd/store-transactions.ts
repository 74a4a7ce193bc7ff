// The transactions of the fenced store as plain requests. Each write compares the leader's key and the revision of what
// was read before, so that a request that arrives twice is carried out once; and each failure reads what tells
// whether an earlier copy of the same request had been carried out.
import type { IKeyValue, IRequestOp, IResponseOp, ITxnRequest, ITxnResponse } from 'etcd3';
import type { LeaseId, Revision } from '../core/model.ts';
import type { NewEntry, Writer } from '../ports.ts';
import {
  candidateKey,
  endOfPrefix,
  leaseToDecimal,
  revisionFromDecimal,
  type ElectionKeys,
} from './keys.ts';
import {
  encodeEntry,
  encodeHead,
  encodeMeta,
  encodeUse,
  entryKey,
  idempotencyRecordKey,
  journalKeys,
  metaKey,
  stateKey,
} from './store-records.ts';

type Compare = NonNullable<ITxnRequest['compare']>[number];

const read = (key: string, keysOnly = false): IRequestOp => ({
  request_range: { key: Buffer.from(key), keys_only: keysOnly },
});
const put = (key: string, value: Uint8Array, lease?: LeaseId): IRequestOp => ({
  request_put: {
    key: Buffer.from(key),
    value: Buffer.from(value),
    ...(lease === undefined ? {} : { lease: leaseToDecimal(lease) }),
  },
});
const remove = (key: string): IRequestOp => ({ request_delete_range: { key: Buffer.from(key) } });

/** The term leads: its key is there, and none in the queue is older. */
function leads(keys: ElectionKeys, { leaseId, token }: Writer): readonly Compare[] {
  const key = Buffer.from(candidateKey(keys, leaseId));
  const queue = { key: Buffer.from(keys.candidates), range_end: endOfPrefix(keys.candidates) };
  return [
    { key, target: 'Create', result: 'Equal', create_revision: token.toString() },
    { ...queue, target: 'Create', result: 'Greater', create_revision: (token - 1n).toString() },
  ];
}

/** What was read is still there, or still nothing is: a key that does not exist has the revision 0. */
const unchanged = (key: string, was: Revision | null): Compare => ({
  key: Buffer.from(key),
  target: 'Mod',
  result: 'Equal',
  mod_revision: (was ?? 0n).toString(),
});

/** The single key that answer number `index` of a transaction found. */
export function found(answer: ITxnResponse, index: number): IKeyValue | null {
  const response: IResponseOp | undefined = answer.responses[index];
  return response?.response_range.kvs[0] ?? null;
}

export const modOf = (kv: IKeyValue | null): Revision | null =>
  kv === null ? null : revisionFromDecimal(kv.mod_revision);

/** Answers: value, meta. */
export const readTransaction = (keys: ElectionKeys, key: string): ITxnRequest => ({
  success: [read(stateKey(keys, key)), read(metaKey(keys, key))],
});

/** Succeeds if the term leads. Answers: value without its bytes. */
export const inspectTransaction = (
  keys: ElectionKeys,
  writer: Writer,
  key: string,
): ITxnRequest => ({
  compare: [...leads(keys, writer)],
  success: [read(stateKey(keys, key), true)],
});

/** What a write or a removal that was refused needs to know. Answers: own key, value without its bytes, meta. */
const whyRefused = (keys: ElectionKeys, { leaseId }: Writer, key: string): IRequestOp[] => [
  read(candidateKey(keys, leaseId), true),
  read(stateKey(keys, key), true),
  read(metaKey(keys, key)),
];

/** Success answers: put, put, value without its bytes. */
export function writeTransaction(
  keys: ElectionKeys,
  writer: Writer,
  request: {
    readonly key: string;
    readonly was: Revision | null;
    readonly bytes: Uint8Array;
    readonly contentType: string;
    readonly write: string;
  },
): ITxnRequest {
  const { key, was, bytes, contentType, write } = request;
  return {
    compare: [...leads(keys, writer), unchanged(stateKey(keys, key), was)],
    success: [
      put(stateKey(keys, key), bytes),
      put(metaKey(keys, key), encodeMeta(contentType, writer.token, write)),
      read(stateKey(keys, key), true),
    ],
    failure: whyRefused(keys, writer, key),
  };
}

export const removeTransaction = (
  keys: ElectionKeys,
  writer: Writer,
  key: string,
  was: Revision,
): ITxnRequest => ({
  compare: [...leads(keys, writer), unchanged(stateKey(keys, key), was)],
  success: [remove(stateKey(keys, key)), remove(metaKey(keys, key))],
  failure: whyRefused(keys, writer, key),
});

/** An idempotency key in use, and the lease under which that is remembered. */
export interface Use {
  readonly key: string;
  readonly leaseId: LeaseId;
}

/** Succeeds if the term leads. Answers: head, and the use of the idempotency key where there is one. */
export const beforeAppending = (
  keys: ElectionKeys,
  writer: Writer,
  use: Use | null,
): ITxnRequest => ({
  compare: [...leads(keys, writer)],
  success: [
    read(journalKeys(keys).head),
    ...(use === null ? [] : [read(idempotencyRecordKey(keys, use.key))]),
  ],
});

/** Failure answers: own key, the entry under `seq`, and the use of the idempotency key where there is one. */
export function appendTransaction(
  keys: ElectionKeys,
  writer: Writer,
  request: {
    readonly seq: number;
    readonly head: Revision | null;
    readonly entry: NewEntry;
    readonly write: string;
    readonly use: Use | null;
  },
): ITxnRequest {
  const { seq, head, entry, write, use } = request;
  const useKey = use === null ? null : idempotencyRecordKey(keys, use.key);
  const { token, leaseId } = writer;
  return {
    compare: [
      ...leads(keys, writer),
      unchanged(journalKeys(keys).head, head),
      unchanged(entryKey(keys, seq), null),
      ...(useKey === null ? [] : [unchanged(useKey, null)]),
    ],
    success: [
      put(journalKeys(keys).head, encodeHead(seq)),
      put(entryKey(keys, seq), encodeEntry(entry, seq, token, write)),
      ...(useKey === null || use === null
        ? []
        : [put(useKey, encodeUse(seq, entry.json), use.leaseId)]),
    ],
    failure: [
      read(candidateKey(keys, leaseId), true),
      read(entryKey(keys, seq)),
      ...(useKey === null ? [] : [read(useKey)]),
    ],
  };
}

/** Answers: head, entries in order. */
export const pageTransaction = (keys: ElectionKeys, after: number, limit: number): ITxnRequest => ({
  success: [
    read(journalKeys(keys).head),
    {
      request_range: {
        key: Buffer.from(entryKey(keys, after + 1)),
        range_end: endOfPrefix(journalKeys(keys).entries),
        limit,
      },
    },
  ],
});
