// What is done at somebody's request (pause, resume, switchover, restore), each in one transaction that compares and
// rewrites PREFIX/ELECTION/verbs. That key is never deleted and no revision of it comes back: a copy that arrives late,
// after the request was answered or after any later one, finds its guard broken and changes nothing.
import { randomUUID } from 'node:crypto';
import type { IRequestOp, ITxnRequest, ITxnResponse } from 'etcd3';
import type { Revision } from '../core/model.ts';
import { Refused, Unreachable } from '../errors.ts';
import { encode, fieldsOf, textOf } from './fields.ts';
import type { ElectionKeys } from './keys.ts';
import { found, modOf, put, read, unchanged } from './requests.ts';

/** Sends a transaction, perhaps more than once; `sent` says how often, to wherever. */
export type Transact = (
  request: ITxnRequest,
) => Promise<{ readonly value: ITxnResponse; readonly sent: number }>;

export interface Verb {
  readonly operations: readonly IRequestOp[];
  /** More that must hold. */
  readonly compare?: ITxnRequest['compare'];
  /** Whether it leaves its name; a full etcd takes none. `true` by default. */
  readonly named?: boolean;
}

/** Races are lost to other people's requests only: so many in a row are no accident. */
const attemptsAtMost = 16;

/**
 * Carries out a verb once. Resolves with false where `compare` does not hold. Rejects with Unreachable where it is not
 * known whether it was done, with Refused where others are always quicker, else as `transact` does.
 */
export async function carryOut(
  transact: Transact,
  { verbs }: ElectionKeys,
  { operations, compare = [], named = true }: Verb,
): Promise<boolean> {
  const id = randomUUID();
  const { value: before } = await transact({ success: [read(verbs)] });
  let was: Revision | null = modOf(found(before, 0));
  for (let count = 0; count < attemptsAtMost; count += 1) {
    const { value: answer, sent } = await transact({
      compare: [unchanged(verbs, was), ...compare],
      success: [...(named ? [put(verbs, encode({ id }))] : []), ...operations],
      failure: [read(verbs)],
    });
    if (answer.succeeded) return true;
    const there = found(answer, 0);
    // An earlier copy of this request did it, and nothing was asked for since.
    if (there !== null && textOf(fieldsOf(there.value), 'id') === id) return true;
    if (modOf(there) === was) return false;
    if (sent > 1) throw new Unreachable('whether it was done is not known: others asked too');
    was = modOf(there);
  }
  throw new Refused('others kept asking for something else');
}
