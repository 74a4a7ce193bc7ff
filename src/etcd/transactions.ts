// The transactions that an election is made of, as plain requests, and how their answers read. Every one may be sent
// again after an ambiguous failure: guards compare create revisions, and the answer tells what is there now.
import type {
  IKeyValue,
  IRangeRequest,
  IRequestOp,
  IResponseOp,
  ITxnRequest,
  ITxnResponse,
} from 'etcd3';
import {
  fencingToken,
  type Candidate,
  type FencingToken,
  type LeaseId,
  type Member,
  type Revision,
  type Snapshot,
  type TermRecord,
} from '../core/model.ts';
import type { Release, TermBeginning } from '../ports.ts';
import { Refused } from '../errors.ts';
import {
  candidateKey,
  endOfPrefix,
  leaseToDecimal,
  revisionFromDecimal,
  termKey,
  type ElectionKeys,
} from './keys.ts';
import {
  decodeCandidate,
  decodeControl,
  decodeHandover,
  decodeMember,
  decodeSwitchover,
  decodeTerm,
  decodeTermKey,
  encodeCandidate,
  encodeHandover,
  encodeTerm,
} from './records.ts';

type Self = Omit<Member, 'leaseId' | 'healthy'>;

const rangeOfPrefix = (prefix: string): IRequestOp => ({
  request_range: { key: Buffer.from(prefix), range_end: endOfPrefix(prefix) },
});
const rangeOfKey = (key: string): IRequestOp => ({ request_range: { key: Buffer.from(key) } });

/** One read of everything that decides about an election; `snapshotWidth` operations wide. */
export const snapshotOperations = (keys: ElectionKeys): IRequestOp[] => [
  rangeOfPrefix(keys.candidates),
  rangeOfPrefix(keys.members),
  rangeOfKey(keys.control),
  rangeOfKey(keys.switchover),
  rangeOfKey(keys.handover),
];
export const snapshotWidth = 5;

/** Reads the answers to `snapshotOperations`, as of the revision in the header of their transaction. */
export function readSnapshot(
  keys: ElectionKeys,
  revision: string,
  responses: readonly IResponseOp[],
): Snapshot {
  const [candidates, members, control, switchover, handover] = responses.map(
    (response) => response.response_range.kvs,
  );
  const first = (kvs: readonly IKeyValue[] | undefined): IKeyValue | null => kvs?.[0] ?? null;
  const controlKv = first(control);
  const switchoverKv = first(switchover);
  const handoverKv = first(handover);
  return {
    revision: revisionFromDecimal(revision),
    candidates: (candidates ?? []).map((kv) => decodeCandidate(keys, kv)),
    members: (members ?? []).map((kv) => decodeMember(keys, kv)),
    control: controlKv === null ? null : decodeControl(controlKv),
    switchover: switchoverKv === null ? null : decodeSwitchover(switchoverKv),
    handover: handoverKv === null ? null : decodeHandover(handoverKv),
  };
}

const createdAt = (
  key: string,
  revision: Revision | 0n,
): NonNullable<ITxnRequest['compare']>[number] => ({
  key: Buffer.from(key),
  target: 'Create',
  result: 'Equal',
  create_revision: revision.toString(),
});

/** Puts our key unless it is there, and reads the whole election as of that very revision either way. */
export const joinTransaction = (keys: ElectionKeys, lease: LeaseId, me: Self): ITxnRequest => ({
  compare: [createdAt(candidateKey(keys, lease), 0n)],
  success: [
    put(candidateKey(keys, lease), encodeCandidate(me, null), lease),
    ...snapshotOperations(keys),
  ],
  failure: snapshotOperations(keys),
});

/** Where our key stands: from the key itself, because the header tells only when the answer was made. */
export function readJoined(
  keys: ElectionKeys,
  lease: LeaseId,
  answer: ITxnResponse,
): { readonly createRevision: Revision; readonly snapshot: Snapshot } {
  const reads = answer.succeeded ? answer.responses.slice(1) : answer.responses;
  const snapshot = readSnapshot(keys, answer.header.revision, reads);
  const own = snapshot.candidates.find((candidate) => candidate.key === lease);
  if (own?.leaseId !== lease) throw new Refused(`the key ${candidateKey(keys, lease)} is not ours`);
  return { createRevision: own.createRevision, snapshot };
}

const put = (key: string, value: Buffer, lease?: LeaseId): IRequestOp => ({
  request_put: {
    key: Buffer.from(key),
    value,
    ...(lease === undefined ? {} : { lease: leaseToDecimal(lease) }),
  },
});

const deletion = (key: string): IRequestOp => ({ request_delete_range: { key: Buffer.from(key) } });

/** Deletes our key and those bypassed, and leaves the record of a clean end, all in one revision or not at all. */
export function releaseTransaction(keys: ElectionKeys, request: Release): ITxnRequest {
  const own = candidateKey(keys, request.leaseId);
  const bypassed = request.bypassed.map((candidate: Candidate) => ({
    key: keys.candidates + candidate.key,
    createRevision: candidate.createRevision,
  }));
  const { handover, term } = request;
  const records = [
    ...(handover === null ? [] : [put(keys.handover, encodeHandover(handover))]),
    ...(term === null ? [] : [put(termKey(keys, term.token), encodeTerm(term))]),
  ];
  return {
    compare: [
      createdAt(own, request.createRevision),
      ...bypassed.map(({ key, createRevision }) => createdAt(key, createRevision)),
    ],
    success: [deletion(own), ...bypassed.map(({ key }) => deletion(key)), ...records],
    failure: [rangeOfKey(own)],
  };
}

/** True once our key of that create revision is certainly gone. */
export function readReleased(answer: ITxnResponse, createRevision: Revision): boolean {
  if (answer.succeeded) return true;
  const [kv] = answer.responses[0]?.response_range.kvs ?? [];
  return kv === undefined || revisionFromDecimal(kv.create_revision) !== createRevision;
}

const newestTermsFirst = (keys: ElectionKeys, more: IRangeRequest): IRequestOp => ({
  request_range: {
    key: Buffer.from(keys.terms),
    range_end: endOfPrefix(keys.terms),
    sort_order: 'Descend',
    sort_target: 'Create',
    ...more,
  },
});

/** Says in the leader's key since when it leads, and records the term; only while that term's key exists. */
export function proclaimTransaction(
  keys: ElectionKeys,
  own: { readonly leaseId: LeaseId; readonly createRevision: Revision },
  me: Self,
  { since, leaderlessMs }: TermBeginning,
): ITxnRequest {
  const key = candidateKey(keys, own.leaseId);
  const token = fencingToken(own.createRevision);
  const { id: leader, address } = me;
  const notYet = { to: null, cause: null, reason: null, actor: null };
  const term = { token, leader, address, from: since, leaderlessMs, ...notYet };
  return {
    compare: [createdAt(key, own.createRevision)],
    success: [
      put(key, encodeCandidate(me, since), own.leaseId),
      put(termKey(keys, token), encodeTerm(term)),
      newestTermsFirst(keys, { keys_only: true }),
    ],
  };
}

/** The terms remembered, newest first. */
export const historyTransaction = (keys: ElectionKeys): ITxnRequest => ({
  success: [newestTermsFirst(keys, { limit: termsKept })],
});

export const readHistory = (keys: ElectionKeys, answer: ITxnResponse): readonly TermRecord[] =>
  (answer.responses[0]?.response_range.kvs ?? [])
    .map((kv) => decodeTerm(keys, kv))
    .filter((term) => term !== null);

/** Reads who is first in the queue. */
export const leaderTransaction = (keys: ElectionKeys): ITxnRequest => ({
  success: [
    {
      request_range: {
        key: Buffer.from(keys.candidates),
        range_end: endOfPrefix(keys.candidates),
        limit: 1,
        sort_order: 'Ascend',
        sort_target: 'Create',
      },
    },
  ],
});

export const readLeaderToken = (answer: ITxnResponse): FencingToken | null => {
  const [first] = answer.responses[0]?.response_range.kvs ?? [];
  return first === undefined ? null : fencingToken(revisionFromDecimal(first.create_revision));
};

/** A record that goes away with its lease, or (no value) is deleted now. */
export const controlTransaction = (
  key: string,
  value: Buffer | null,
  lease?: LeaseId,
): ITxnRequest => ({
  success: [value === null ? deletion(key) : put(key, value, lease)],
});

/** How many terms are remembered. */
export const termsKept = 100;

/** The records beyond the newest hundred, as the answer to a proclamation shows them. */
export const readSurplusTerms = (
  keys: ElectionKeys,
  answer: ITxnResponse,
): readonly FencingToken[] =>
  (answer.responses[2]?.response_range.kvs ?? [])
    .slice(termsKept)
    .map((kv) => decodeTermKey(keys, kv.key))
    .filter((token) => token !== null);

/** Forgets old terms. Deleting one that is gone already does nothing. */
export const forgetTransaction = (
  keys: ElectionKeys,
  tokens: readonly FencingToken[],
): ITxnRequest => ({
  success: tokens.slice(0, termsKept).map((token) => deletion(termKey(keys, token))),
});
