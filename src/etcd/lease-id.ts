// Lease ids of our own choosing: a grant may then be sent again without granting twice.
import { randomBytes } from 'node:crypto';
import { leaseId, type LeaseId } from '../core/model.ts';

/** 63 random bits, never 0, which etcd takes for "choose one yourself". */
export function newLeaseId(): LeaseId {
  const value = randomBytes(8).readBigUInt64BE() & 0x7fff_ffff_ffff_ffffn;
  return leaseId((value === 0n ? 1n : value).toString(16));
}
