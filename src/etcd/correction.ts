// The record of a term that ended without a word, corrected by who led it and came back. Read and then written under the
// guard that it is as it was read: a copy that arrives late finds another record, or none, and changes nothing.
import type { ITxnRequest, ITxnResponse } from 'etcd3';
import type { TermRecord } from '../core/model.ts';
import { termKey, type ElectionKeys } from './keys.ts';
import { decodeTerm, encodeTerm } from './records.ts';
import { found, modOf, put, read, unchanged } from './requests.ts';

/** Resolves when the record says how the term ended, or is not there; rejects as `transact` does. */
export async function correctTerm(
  transact: (request: ITxnRequest) => Promise<{ readonly value: ITxnResponse }>,
  keys: ElectionKeys,
  { token, to, cause, reason, actor }: TermRecord,
): Promise<void> {
  const key = termKey(keys, token);
  const { value } = await transact({ success: [read(key)] });
  const there = found(value, 0);
  const record = there && decodeTerm(keys, there);
  if (record === null || record.to !== null) return;
  await transact({
    compare: [unchanged(key, modOf(there))],
    success: [put(key, encodeTerm({ ...record, to, cause, reason, actor }))],
  });
}
