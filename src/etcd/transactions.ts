// The transactions that an election is made of, as plain requests, and how their answers read. Every one may be sent
// again after an ambiguous failure: guards compare create revisions, and the answer tells what is there now.
import type { IRangeRequest, IRequestOp, IResponseOp, ITxnRequest, ITxnResponse } from 'etcd3';
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
import { candidateKey, revisionFromDecimal, termKey, type ElectionKeys } from './keys.ts';
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
import { allFound, createdAt, found, put, read, readAll, remove } from './requests.ts';

type Self = Omit<Member, 'leaseId' | 'healthy'>;

/** One read of everything that decides about an election; `snapshotWidth` operations wide. */
export const snapshotOperations = (keys: ElectionKeys): IRequestOp[] => [
  readAll(keys.candidates),
  readAll(keys.members),
  read(keys.control),
  read(keys.switchover),
  read(keys.handover),
];
export const snapshotWidth = 5;

/** Reads the answers to `snapshotOperations`, as of the revision in the header of their transaction. */
export function readSnapshot(
  keys: ElectionKeys,
  revision: string,
  responses: readonly IResponseOp[],
): Snapshot {
  const answer = { responses };
  const control = found(answer, 2);
  const switchover = found(answer, 3);
  const handover = found(answer, 4);
  return {
    revision: revisionFromDecimal(revision),
    candidates: allFound(answer, 0).map((kv) => decodeCandidate(keys, kv)),
    members: allFound(answer, 1).map((kv) => decodeMember(keys, kv)),
    control: control && decodeControl(control),
    switchover: switchover && decodeSwitchover(switchover),
    handover: handover && decodeHandover(handover),
  };
}

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
    success: [remove(own), ...bypassed.map(({ key }) => remove(key)), ...records],
    failure: [read(own)],
  };
}

/** True once our key of that create revision is certainly gone. */
export function readReleased(answer: ITxnResponse, createRevision: Revision): boolean {
  if (answer.succeeded) return true;
  const kv = found(answer, 0);
  return kv === null || revisionFromDecimal(kv.create_revision) !== createRevision;
}

const newestTermsFirst = (keys: ElectionKeys, more: IRangeRequest): IRequestOp =>
  readAll(keys.terms, { sort_order: 'Descend', sort_target: 'Create', ...more });

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
  allFound(answer, 0)
    .map((kv) => decodeTerm(keys, kv))
    .filter((term) => term !== null);

/** Reads who is first in the queue. */
export const leaderTransaction = (keys: ElectionKeys): ITxnRequest => ({
  success: [readAll(keys.candidates, { limit: 1, sort_order: 'Ascend', sort_target: 'Create' })],
});

export const readLeaderToken = (answer: ITxnResponse): FencingToken | null => {
  const first = found(answer, 0);
  return first === null ? null : fencingToken(revisionFromDecimal(first.create_revision));
};

/** A record that goes away with its lease, or (no value) is deleted now. */
export const controlTransaction = (
  key: string,
  value: Buffer | null,
  lease?: LeaseId,
): ITxnRequest => ({
  success: [value === null ? remove(key) : put(key, value, lease)],
});

/** How many terms are remembered. */
export const termsKept = 100;

/** The records beyond the newest hundred, as the answer to a proclamation shows them. */
export const readSurplusTerms = (
  keys: ElectionKeys,
  answer: ITxnResponse,
): readonly FencingToken[] =>
  allFound(answer, 2)
    .slice(termsKept)
    .map((kv) => decodeTermKey(keys, kv.key))
    .filter((token) => token !== null);

/** Forgets old terms. Deleting one that is gone already does nothing. */
export const forgetTransaction = (
  keys: ElectionKeys,
  tokens: readonly FencingToken[],
): ITxnRequest => ({
  success: tokens.slice(0, termsKept).map((token) => remove(termKey(keys, token))),
});
