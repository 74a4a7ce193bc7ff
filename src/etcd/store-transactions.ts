// The transactions of the fenced store as plain requests. Each write compares the leader's key and the revision of what
// was read before, so that a request that arrives twice is carried out once; and each failure reads what tells
// whether an earlier copy of the same request had been carried out.
import type { IKeyValue, IRangeRequest, IRequestOp, ITxnRequest } from 'etcd3';
import type { LeaseId, Revision } from '../core/model.ts';
import type { NewEntry, Writer } from '../ports.ts';
import { candidateKey, revisionFromDecimal, type ElectionKeys } from './keys.ts';
import { createdAt, noneOlderThan, put, read, remove, unchanged } from './requests.ts';
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

/** The term leads: its key is there, and none in the queue is older. */
const leads = (keys: ElectionKeys, { leaseId, token }: Writer) => [
  createdAt(candidateKey(keys, leaseId), token),
  noneOlderThan(keys.candidates, token),
];

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
  compare: leads(keys, writer),
  success: [read(stateKey(keys, key), { keys_only: true })],
});

/** What a write or a removal that was refused needs to know. Answers: own key, value without its bytes, meta. */
const whyRefused = (keys: ElectionKeys, { leaseId }: Writer, key: string): IRequestOp[] => [
  read(candidateKey(keys, leaseId), { keys_only: true }),
  read(stateKey(keys, key), { keys_only: true }),
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
      read(stateKey(keys, key), { keys_only: true }),
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
  compare: leads(keys, writer),
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
      read(candidateKey(keys, leaseId), { keys_only: true }),
      read(entryKey(keys, seq)),
      ...(useKey === null ? [] : [read(useKey)]),
    ],
  };
}

/** Answers: head, entries in order. */
export const pageTransaction = (keys: ElectionKeys, range: IRangeRequest): ITxnRequest => ({
  success: [read(journalKeys(keys).head), { request_range: range }],
});
