// What is written of a term that begins, and whose claim ends while its key stays: by its leader, guarded by its key.
// With it go the keys that it publishes; where etcd does not let it write those, the term is proclaimed without.
import type { ITxnRequest, ITxnResponse } from 'etcd3';
import {
  fencingToken,
  type Concession,
  type Revision,
  type Self,
  type TermRecord,
} from '../core/model.ts';
import { FencedOut } from '../errors.ts';
import type { GrantedLease, TermBeginning } from '../ports.ts';
import { isRefusal } from './faults.ts';
import { candidateKey, termKey, type ElectionKeys } from './keys.ts';
import { publish, unpublish, type Publication } from './publication.ts';
import { decodeTermKey, encodeCandidate, encodeTerm } from './records.ts';
import { allFound, createdAt, found, modOf, put, read, remove, unchanged } from './requests.ts';
import { newestTermsFirst, termsKept } from './transactions.ts';

type Own = GrantedLease & { readonly createRevision: Revision };

interface Proclamation {
  readonly own: Own;
  readonly me: Self;
  readonly began: TermBeginning;
  readonly published: readonly Publication[];
}

/**
 * Says in the leader's key since when it leads, records the term and publishes; only while that key is as it was when it was
 * made: a late copy says nothing again, and unsays no concession. Reads the key where it is not.
 */
function proclaimTransaction(
  keys: ElectionKeys,
  { own, me, began: { since: from, ...before }, published }: Proclamation,
): ITxnRequest {
  const { leaseId, ttlMs, createRevision } = own;
  const key = candidateKey(keys, leaseId);
  const token = fencingToken(createRevision);
  const { id: leader, address } = me;
  const notYet = { to: null, cause: null, reason: null, actor: null };
  const term: TermRecord = { token, leader, address, from, ...before, ttlMs, ...notYet };
  return {
    compare: [unchanged(key, createRevision)],
    success: [
      put(key, encodeCandidate({ ...me, ttlMs, since: from }), leaseId),
      put(termKey(keys, token), encodeTerm(term)),
      newestTermsFirst(keys, { keys_only: true }),
      ...publish(published, leaseId),
    ],
    failure: [read(key)],
  };
}

/** Whether the term is over; else it was proclaimed, now or before, or has conceded since. */
function isOver({ createRevision }: Own, answer: ITxnResponse): boolean {
  if (answer.succeeded) return false;
  return found(answer, 0)?.create_revision !== createRevision.toString();
}

/** Forgets the records beyond those that are kept, all or none: what was forgotten or restored meanwhile is looked at in the next term. */
function forgetTransaction(keys: ElectionKeys, answer: ITxnResponse): ITxnRequest | null {
  const surplus = (answer.succeeded ? allFound(answer, 2) : [])
    .slice(termsKept, 2 * termsKept)
    .filter((kv) => decodeTermKey(keys, kv.key) !== null)
    .map((kv) => ({ key: kv.key.toString('utf8'), at: modOf(kv) }));
  if (surplus.length === 0) return null;
  return {
    compare: surplus.map(({ key, at }) => unchanged(key, at)),
    success: surplus.map(({ key }) => remove(key)),
  };
}

type Ask = (request: ITxnRequest) => Promise<{ readonly value: ITxnResponse }>;

/**
 * Resolves when it is proclaimed, now or before: null, or why etcd did not let it publish. Rejects with FencedOut where the term
 * is over, else as `ask` does.
 */
export async function proclaimTerm(
  ask: Ask,
  keys: ElectionKeys,
  proclamation: Proclamation,
): Promise<Error | null> {
  const { own, published } = proclamation;
  try {
    const { value } = await ask(proclaimTransaction(keys, proclamation));
    if (isOver(own, value)) throw new FencedOut(`term ${own.createRevision.toString()} is over`);
    const forget = forgetTransaction(keys, value);
    if (forget !== null) await ask(forget);
    return null;
  } catch (failure) {
    if (published.length === 0 || !isRefusal(failure)) throw failure;
    await proclaimTerm(ask, keys, { ...proclamation, published: [] });
    return failure instanceof Error ? failure : new Error(String(failure));
  }
}

/**
 * Says in the key of a term that its claim has ended, and takes back what it publishes; only while that key exists. Nothing that
 * comes later claims that term again, so a copy, however late, says what is true.
 */
export async function concedeTerm(
  ask: Ask,
  keys: ElectionKeys,
  { leaseId, createRevision, ttlMs }: Own,
  me: Self & { readonly since: string },
  conceded: Concession,
  published: readonly string[],
): Promise<void> {
  const key = candidateKey(keys, leaseId);
  const concession = (taken: readonly string[]): ITxnRequest => ({
    compare: [createdAt(key, createRevision)],
    success: [
      put(key, encodeCandidate({ ...me, ttlMs, conceded }), leaseId),
      ...unpublish(taken, leaseId),
    ],
  });
  try {
    await ask(concession(published));
  } catch (failure) {
    if (published.length === 0 || !isRefusal(failure)) throw failure;
    await ask(concession([]));
  }
}
