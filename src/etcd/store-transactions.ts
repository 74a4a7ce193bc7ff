// The transactions of the fenced store as plain requests. Each write compares the leader's key and the revision of what
// was read before, so that a request that arrives twice is carried out once; and each failure reads what tells
// whether an earlier copy of the same request had been carried out.
import type { IRangeRequest, IRequestOp, ITxnRequest, ITxnResponse } from 'etcd3';
import type { LeaseId, Revision } from '../core/model.ts';
import type { NewEntry, Writer } from '../store-port.ts';
import { encode } from './fields.ts';
import { candidateKey, type ElectionKeys } from './keys.ts';
import {
  createdAt,
  found,
  modOf,
  noneOlderThan,
  put,
  read,
  remove,
  unchanged,
} from './requests.ts';
import {
  encodeEntry,
  encodeHead,
  encodeMeta,
  encodeUse,
  entryKey,
  idempotencyRecordKey,
  journalKeys,
  metaKey,
  removalsKey,
  stateKey,
} from './store-records.ts';

/** The term leads: its key is there, and none in the queue is older. */
const leads = (keys: ElectionKeys, { leaseId, token }: Writer) => [
  createdAt(candidateKey(keys, leaseId), token),
  noneOlderThan(keys.candidates, token),
];

/** What is under a key, by the revisions that wrote it last. */
export interface Found {
  /** Null where there is no value; then the other two tell whether there has been one in between. */
  readonly value: Revision | null;
  readonly meta: Revision | null;
  readonly removals: Revision | null;
}

const look = (keys: ElectionKeys, key: string): IRequestOp[] => [
  read(stateKey(keys, key), { keys_only: true }),
  read(metaKey(keys, key)),
  read(removalsKey(keys, key)),
];

/** Reads the answers to `look`, which begin with number `from`. */
export const readFound = (answer: ITxnResponse, from: number): Found => ({
  value: modOf(found(answer, from)),
  meta: modOf(found(answer, from + 1)),
  removals: modOf(found(answer, from + 2)),
});

/**
 * What was found is still so, without anything in between. The revision of a value never comes back. "Nothing" does: so
 * nothing of that name may have been removed since, by us (`removals`) or by another program (which leaves `meta`).
 */
const stillSo = (keys: ElectionKeys, key: string, was: Found) => [
  unchanged(stateKey(keys, key), was.value),
  ...(was.value === null
    ? [unchanged(metaKey(keys, key), was.meta), unchanged(removalsKey(keys, key), was.removals)]
    : []),
];

/** The same by comparison: whether a guard of what `was` there may have been broken by a copy of the request itself. */
export const isStillSo = (was: Found, now: Found): boolean =>
  now.value === was.value &&
  (was.value !== null || (now.meta === was.meta && now.removals === was.removals));

/** Answers: value, meta. */
export const readTransaction = (keys: ElectionKeys, key: string): ITxnRequest => ({
  success: [read(stateKey(keys, key)), read(metaKey(keys, key))],
});

/** Succeeds if the term leads. Answers: what `readFound` reads. */
export const inspectTransaction = (
  keys: ElectionKeys,
  writer: Writer,
  key: string,
): ITxnRequest => ({
  compare: leads(keys, writer),
  success: look(keys, key),
});

/** What a write or a removal that was refused needs to know. Answers: own key, and what `readFound` reads from 1 on. */
const whyRefused = (keys: ElectionKeys, { leaseId }: Writer, key: string): IRequestOp[] => [
  read(candidateKey(keys, leaseId), { keys_only: true }),
  ...look(keys, key),
];

/** Success answers: put, put, value without its bytes. */
export function writeTransaction(
  keys: ElectionKeys,
  writer: Writer,
  request: {
    readonly key: string;
    readonly was: Found;
    readonly bytes: Uint8Array;
    readonly contentType: string;
    readonly write: string;
  },
): ITxnRequest {
  const { key, was, bytes, contentType, write } = request;
  return {
    compare: [...leads(keys, writer), ...stillSo(keys, key, was)],
    success: [
      put(stateKey(keys, key), bytes),
      put(metaKey(keys, key), encodeMeta(contentType, writer.token, write)),
      read(stateKey(keys, key), { keys_only: true }),
    ],
    failure: whyRefused(keys, writer, key),
  };
}

/** `noted`: that something was removed; a full etcd takes no note, and no late write either. */
export const removeTransaction = (
  keys: ElectionKeys,
  writer: Writer,
  request: { readonly key: string; readonly was: Found; readonly noted: boolean },
): ITxnRequest => ({
  compare: [...leads(keys, writer), ...stillSo(keys, request.key, request.was)],
  success: [
    remove(stateKey(keys, request.key)),
    remove(metaKey(keys, request.key)),
    ...(request.noted ? [put(removalsKey(keys, request.key), encode({}))] : []),
  ],
  failure: whyRefused(keys, writer, request.key),
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
