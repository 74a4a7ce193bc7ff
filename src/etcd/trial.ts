// Whether a way to etcd is good for a member of an election, found out without changing anything there.
import type { ITxnRequest } from 'etcd3';
import { Refused } from '../errors.ts';
import type { ElectionKeys } from './keys.ts';
import { createdAt, put } from './requests.ts';
import { snapshotOperations } from './transactions.ts';

/** No key is ever created at this revision. */
const never = 2n ** 63n - 1n;

/** Rejects as `transact` does where we may not do there what a member does: etcd judges both branches before it compares. */
export async function tryAsMember(
  keys: ElectionKeys,
  transact: (request: ITxnRequest) => Promise<unknown>,
): Promise<void> {
  const reads = snapshotOperations(keys);
  const writes = [put(`${keys.candidates}0`, Buffer.alloc(0))];
  try {
    await transact({
      compare: [createdAt(keys.handover, never)],
      success: writes,
      failure: reads,
    });
  } catch (failure) {
    // A full etcd takes no write from anybody.
    if (!(failure instanceof Refused)) throw failure;
    await transact({ success: reads });
  }
}
