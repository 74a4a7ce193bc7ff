// The transactions that an election is made of, as plain requests, and how their answers read. Every one may be sent
// again after an ambiguous failure: guards compare revisions that never come back, and the answer tells what is there.
import type { IRangeRequest, IRequestOp, IResponseOp, ITxnRequest, ITxnResponse } from 'etcd3';
import {
  fencingToken,
  type Candidate,
  type FencingToken,
  type LeaseId,
  type Member,
  type Revision,
  type Self,
  type Snapshot,
  type TermRecord,
} from '../core/model.ts';
import type { RecordChange, WitnessRecord } from '../core/short-lease.ts';
import type { Deposed, Deposition, GrantedLease, Release, Released } from '../ports.ts';
import { encode } from './fields.ts';
import {
  candidateKey,
  leaseFromDecimal,
  leftKey,
  memberKey,
  revisionFromDecimal,
  termKey,
  type ElectionKeys,
} from './keys.ts';
import { unpublish } from './publication.ts';
import {
  decodeCandidate,
  decodeControl,
  decodeHandover,
  decodeMember,
  decodeSwitchover,
  decodeTerm,
  decodeWitnesses,
  encodeCandidate,
  encodeHandover,
  encodeMember,
  encodeTerm,
  encodeWitnesses,
} from './records.ts';
import {
  allFound,
  createdAt,
  found,
  modOf,
  put,
  read,
  readAll,
  remove,
  unchanged,
} from './requests.ts';

type OwnKeyInEtcd = GrantedLease & { readonly createRevision: Revision };

/** One read of everything that decides about an election; `snapshotWidth` operations wide. */
export const snapshotOperations = (keys: ElectionKeys): IRequestOp[] => [
  readAll(keys.candidates, { sort_order: 'Ascend', sort_target: 'Create' }),
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

/**
 * Puts our key unless it is there, or has left since `left` was read (null: never on this lease), and reads the whole
 * election as of that very revision either way.
 */
export function joinTransaction(
  keys: ElectionKeys,
  { leaseId, ttlMs }: GrantedLease,
  me: Self,
  left: Revision | null,
): ITxnRequest {
  const key = candidateKey(keys, leaseId);
  const value = encodeCandidate({ ...me, ttlMs, since: null });
  const newest = newestTermsFirst(keys, { limit: 1 });
  return {
    compare: [createdAt(key, 0n), unchanged(leftKey(keys, leaseId), left)],
    success: [put(key, value, leaseId), newest, ...snapshotOperations(keys)],
    failure: [read(leftKey(keys, leaseId)), newest, ...snapshotOperations(keys)],
  };
}

/**
 * Where our key stands: from the key itself, because the header tells only when the answer was made. `own` is null where
 * it is not there: it left, at `left`.
 */
export function readJoined(
  keys: ElectionKeys,
  lease: LeaseId,
  answer: ITxnResponse,
): {
  readonly own: Candidate | null;
  readonly left: Revision | null;
  readonly newestTerm: TermRecord | null;
  readonly snapshot: Snapshot;
} {
  const snapshot = readSnapshot(keys, answer.header.revision, answer.responses.slice(2));
  const own = snapshot.candidates.find((candidate) => candidate.key === lease) ?? null;
  const newest = found(answer, 1);
  const newestTerm = newest && decodeTerm(keys, newest);
  return { own, left: answer.succeeded ? null : modOf(found(answer, 0)), newestTerm, snapshot };
}

/** What is written of a release besides the end of the key. */
export interface ReleaseForm extends Release {
  /** Whether each key that goes leaves a mark, for as long as its lease lasts, that stops late copies of joining. */
  readonly marked: boolean;
  /** The keys that the term that ends may have published. */
  readonly published: readonly string[];
}

/**
 * Deletes our key and those bypassed, and leaves the record of a clean end, all in one revision or not at all; reads the
 * whole election as of then.
 */
export function releaseTransaction(keys: ElectionKeys, request: ReleaseForm): ITxnRequest {
  const own = candidateKey(keys, request.leaseId);
  const { leaseId, handover, term, succession, marked, published } = request;
  const bypassed = succession?.bypassed ?? [];
  const named = succession === null ? [] : [succession.successor, ...bypassed];
  const keyOf = (candidate: Candidate): string => keys.candidates + candidate.key;
  const records = [
    ...(handover === null ? [] : [put(keys.handover, encodeHandover(handover))]),
    ...(term === null ? [] : [put(termKey(keys, term.token), encodeTerm(term))]),
    ...(marked
      ? [leaseId, ...bypassed.map((candidate) => candidate.leaseId)].map((lease) =>
          put(leftKey(keys, lease), encode({}), lease),
        )
      : []),
  ];
  return {
    compare: [
      createdAt(own, request.createRevision),
      ...named.map((candidate) => createdAt(keyOf(candidate), candidate.createRevision)),
    ],
    success: [
      remove(own),
      ...bypassed.map((candidate) => remove(keyOf(candidate))),
      ...records,
      ...unpublish(published, leaseId),
      ...snapshotOperations(keys),
    ],
    failure: snapshotOperations(keys),
  };
}

/** A release of another's key, guarded by the record of its witnesses as well; that record is read besides. */
export function deposeTransaction(
  keys: ElectionKeys,
  { witnessesAt, ...release }: Deposition & ReleaseForm,
): ITxnRequest {
  const { compare = [], success = [], failure = [] } = releaseTransaction(keys, release);
  return {
    compare: [...compare, unchanged(keys.witnesses, witnessesAt)],
    success: [read(keys.witnesses), ...success],
    failure: [read(keys.witnesses), ...failure],
  };
}

export const readDeposed = (
  keys: ElectionKeys,
  { createRevision }: Deposition,
  answer: ITxnResponse,
): Deposed => ({
  ...readReleased(keys, answer),
  record: readWitnesses(fencingToken(createRevision), answer),
});

/** The record, which the first of these answers found. */
function readWitnesses(
  token: FencingToken,
  answer: Pick<ITxnResponse, 'responses'>,
): WitnessRecord {
  const record = found(answer, 0);
  return { at: modOf(record), listed: record === null ? [] : decodeWitnesses(record, token) };
}

/** Lists witnesses if the term lasts and the record is as it was read; reads it, as of then, either way. */
export function recordWitnessesTransaction(
  keys: ElectionKeys,
  { leaseId, createRevision }: OwnKeyInEtcd,
  { was, to }: RecordChange,
): ITxnRequest {
  const own = candidateKey(keys, leaseId);
  const value = encodeWitnesses(fencingToken(createRevision), to);
  return {
    compare: [createdAt(own, createRevision), unchanged(keys.witnesses, was)],
    success: [read(own), put(keys.witnesses, value, leaseId), read(keys.witnesses)],
    failure: [read(own), read(keys.witnesses)],
  };
}

/** Null where the term is over. */
export function readRecordedWitnesses(
  { createRevision }: OwnKeyInEtcd,
  { responses }: ITxnResponse,
): WitnessRecord | null {
  const own = found({ responses }, 0);
  if (own === null || revisionFromDecimal(own.create_revision) !== createRevision) return null;
  return readWitnesses(fencingToken(createRevision), { responses: responses.slice(-1) });
}

export function readReleased(keys: ElectionKeys, answer: ITxnResponse): Released {
  const reads = answer.responses.slice(-snapshotWidth);
  return {
    deleted: answer.succeeded,
    snapshot: readSnapshot(keys, answer.header.revision, reads),
  };
}

/**
 * What to ask for instead where etcd refuses a release: at last without the successor where those passed over are more
 * than fit into a transaction (etcd counts the longest of its three lists, 128 by default), else with less and less
 * written: a role may not write it, and a full etcd takes nothing but deletions. Null where nothing is left to leave out.
 */
export function simplerRelease(form: ReleaseForm, tooMuch: boolean): ReleaseForm | null {
  const { term, handover, succession, marked, published } = form;
  const unnamed = { ...form, succession: null, handover: handover && { ...handover, to: null } };
  if (marked) return { ...form, marked: false };
  if (published.length > 0) return { ...form, published: [] };
  if (succession !== null && tooMuch) return unnamed;
  if (term !== null) return { ...form, term: null };
  if (handover !== null) return { ...form, handover: null };
  return succession === null ? null : unnamed;
}

/** Writes our member record if that is as it was read; else reads it. */
export const enrollTransaction = (
  keys: ElectionKeys,
  member: Member,
  was: Revision | null,
): ITxnRequest => {
  const key = memberKey(keys, member.id);
  return {
    compare: [unchanged(key, was)],
    success: [put(key, encodeMember(member), member.leaseId)],
    failure: [read(key)],
  };
};

/** What became of our member record: whether it is there, and the revision that wrote what is. */
export function readEnrolled(
  member: Member,
  answer: ITxnResponse,
): { readonly enrolled: boolean; readonly was: Revision | null } {
  if (answer.succeeded) return { enrolled: true, was: null };
  const there = found(answer, 0);
  const enrolled =
    there !== null &&
    there.value.equals(encodeMember(member)) &&
    leaseFromDecimal(there.lease) === member.leaseId;
  return { enrolled, was: modOf(there) };
}

/** The records of terms, the newest first. */
export const newestTermsFirst = (keys: ElectionKeys, more: IRangeRequest): IRequestOp =>
  readAll(keys.terms, { sort_order: 'Descend', sort_target: 'Create', ...more });

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

/** How many terms are remembered. */
export const termsKept = 100;
