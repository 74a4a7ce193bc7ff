// The layout of the keys under PREFIX/ELECTION/, which is part of the public contract, and the numbers in them.
import {
  leaseId,
  memberId,
  revision,
  type ElectionName,
  type FencingToken,
  type LeaseId,
  type MemberId,
  type Revision,
} from '../core/model.ts';

/** The keys of one election. */
export interface ElectionKeys {
  readonly candidates: string;
  readonly members: string;
  readonly control: string;
  /** Between `control` and `handover`, so that the same watch sees it. */
  readonly switchover: string;
  readonly handover: string;
  readonly terms: string;
  /** What was asked for by verbs, outside of what members watch. */
  readonly audit: string;
  /** Rewritten by everything that is done at somebody's request, and outside of what members watch. */
  readonly verbs: string;
  /** Where a lease has left the queue; outside of that too. */
  readonly left: string;
  /** Who may depose the leader, on its lease; outside of that too. */
  readonly witnesses: string;
}

export function keysOf(prefix: string, election: ElectionName): ElectionKeys {
  const root = `${prefix}/${election}`;
  return {
    candidates: `${root}/candidates/`,
    members: `${root}/members/`,
    control: `${root}/control`,
    switchover: `${root}/control/switchover`,
    handover: `${root}/handover`,
    terms: `${root}/terms/`,
    audit: `${root}/audit/`,
    verbs: `${root}/verbs`,
    left: `${root}/left/`,
    witnesses: `${root}/witnesses`,
  };
}

/** The keys of any election, each made once. */
export function keyring(prefix: string): (election: ElectionName) => ElectionKeys {
  const made = new Map<ElectionName, ElectionKeys>();
  return (election) => {
    const keys = made.get(election) ?? keysOf(prefix, election);
    made.set(election, keys);
    return keys;
  };
}

export const candidateKey = (keys: ElectionKeys, lease: LeaseId): string => keys.candidates + lease;
export const leftKey = (keys: ElectionKeys, lease: LeaseId): string => keys.left + lease;
export const memberKey = (keys: ElectionKeys, id: MemberId): string => keys.members + id;
export const termKey = (keys: ElectionKeys, token: FencingToken): string =>
  keys.terms + token.toString();

/** The end of the range of all keys that begin with `prefix`, which must end in an ASCII character. */
export function endOfPrefix(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  const last = end.length - 1;
  end[last] = (end[last] ?? 0) + 1;
  return end;
}

/** The smallest key behind `key`: the end of a range that includes it. */
export const justBehind = (key: string | Buffer): Buffer =>
  Buffer.concat([Buffer.from(key), Buffer.from([0])]);

/** etcd's gRPC carries int64 as decimal strings: a `Number` would lose the low bits of a lease id. */
export const leaseFromDecimal = (decimal: string): LeaseId => leaseId(BigInt(decimal).toString(16));
export const leaseToDecimal = (lease: LeaseId): string => BigInt(`0x${lease}`).toString();
export const revisionFromDecimal = (decimal: string): Revision => revision(BigInt(decimal));
export const memberFromKey = (keys: ElectionKeys, key: string): MemberId =>
  memberId(key.slice(keys.members.length));
