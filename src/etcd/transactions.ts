// The transactions that an election is made of, as plain requests, and how their answers read. Every one may be sent
// again after an ambiguous failure: guards compare create revisions, and the answer tells what is there now.
import type { IKeyValue, IRequestOp, IResponseOp, ITxnRequest, ITxnResponse } from 'etcd3';
import {
  fencingToken,
  type Candidate,
  type FencingToken,
  type LeaseId,
  type Member,
  type Revision,
  type Snapshot,
} from '../core/model.ts';
import type { Release } from '../ports.ts';
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
  rangeOfKey(keys.handover),
  {
    request_range: {
      key: Buffer.from(keys.terms),
      range_end: endOfPrefix(keys.terms),
      keys_only: true,
      limit: 1,
      sort_order: 'Descend',
      sort_target: 'Create',
    },
  },
];
export const snapshotWidth = 5;

/** Reads the answers to `snapshotOperations`, as of the revision in the header of their transaction. */
export function readSnapshot(
  keys: ElectionKeys,
  revision: string,
  responses: readonly IResponseOp[],
): Snapshot {
  const [candidates, members, control, handover, terms] = responses.map(
    (response) => response.response_range.kvs,
  );
  const first = (kvs: readonly IKeyValue[] | undefined): IKeyValue | null => kvs?.[0] ?? null;
  const controlKv = first(control);
  const handoverKv = first(handover);
  const termKv = first(terms);
  return {
    revision: revisionFromDecimal(revision),
    candidates: (candidates ?? []).map((kv) => decodeCandidate(keys, kv)),
    members: (members ?? []).map((kv) => decodeMember(keys, kv)),
    control: controlKv === null ? null : decodeControl(controlKv),
    handover: handoverKv === null ? null : decodeHandover(handoverKv),
    latestTerm: termKv === null ? null : decodeTermKey(keys, termKv.key),
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
    {
      request_put: {
        key: Buffer.from(candidateKey(keys, lease)),
        value: encodeCandidate(me, null),
        lease: leaseToDecimal(lease),
      },
    },
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

const deletion = (key: string): IRequestOp => ({ request_delete_range: { key: Buffer.from(key) } });

/** Deletes our key and those bypassed, and leaves the record of a clean end, all in one revision or not at all. */
export function releaseTransaction(keys: ElectionKeys, request: Release): ITxnRequest {
  const own = candidateKey(keys, request.leaseId);
  const bypassed = request.bypassed.map((candidate: Candidate) => ({
    key: keys.candidates + candidate.key,
    createRevision: candidate.createRevision,
  }));
  const record: IRequestOp[] =
    request.handover === null
      ? []
      : [
          {
            request_put: {
              key: Buffer.from(keys.handover),
              value: encodeHandover(request.handover),
            },
          },
        ];
  return {
    compare: [
      createdAt(own, request.createRevision),
      ...bypassed.map(({ key, createRevision }) => createdAt(key, createRevision)),
    ],
    success: [deletion(own), ...bypassed.map(({ key }) => deletion(key)), ...record],
    failure: [rangeOfKey(own)],
  };
}

/** True once our key of that create revision is certainly gone. */
export function readReleased(answer: ITxnResponse, createRevision: Revision): boolean {
  if (answer.succeeded) return true;
  const [kv] = answer.responses[0]?.response_range.kvs ?? [];
  return kv === undefined || revisionFromDecimal(kv.create_revision) !== createRevision;
}

/** Says in the leader's key since when it leads, and records the term; only while that term's key exists. */
export function proclaimTransaction(
  keys: ElectionKeys,
  own: { readonly leaseId: LeaseId; readonly createRevision: Revision },
  me: Self,
  since: string,
): ITxnRequest {
  const key = candidateKey(keys, own.leaseId);
  const token = fencingToken(own.createRevision);
  return {
    compare: [createdAt(key, own.createRevision)],
    success: [
      {
        request_put: {
          key: Buffer.from(key),
          value: encodeCandidate(me, since),
          lease: leaseToDecimal(own.leaseId),
        },
      },
      {
        request_put: {
          key: Buffer.from(termKey(keys, token)),
          value: encodeTerm(me, token, since),
        },
      },
      {
        request_range: {
          key: Buffer.from(keys.terms),
          range_end: endOfPrefix(keys.terms),
          keys_only: true,
          sort_order: 'Descend',
          sort_target: 'Create',
        },
      },
    ],
  };
}

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
