// What the tests of the core start from: small candidates, snapshots and timings with readable numbers.
import {
  electionName,
  leaseId,
  memberId,
  revision,
  type Candidate,
  type Change,
  type Handover,
  type Snapshot,
} from '../../src/core/model.ts';
import { fencingToken } from '../../src/core/model.ts';
import type { Lease } from '../../src/core/session.ts';
import type { Timing } from '../../src/core/timing.ts';

/** TTL 5 s, so a round is 1 s; a margin of 250 ms, so a claim is good for 4750 ms from the send. */
export const timing: Timing = {
  ttlMs: 5000,
  marginMs: 250,
  takeoverDelayMs: 0,
  graceMs: 10_000,
  stopLeadMs: 0,
  fastFailoverMs: null,
};

export const orders = electionName('orders');
export const me = {
  id: memberId('me'),
  address: '10.0.0.1:80',
  url: 'http://10.0.0.1:4040',
  priority: 0,
  version: '1.0.0',
  pingKey: null,
  checked: null,
};
/** The lease that `me` holds in these tests. */
export const ours = leaseId('aaa');

export const lease = (leadUntil: number, generation = 1): Lease => ({
  generation,
  leaseId: generation === 1 ? ours : leaseId(`aaa${String(generation)}`),
  ttlMs: 5000,
  leadUntil,
});

/** The candidate `id` whose key was created at `createRevision`, on a lease named like it. */
export const candidate = (id: string, createRevision: number, lease: string = id): Candidate => ({
  key: lease,
  leaseId: leaseId(lease),
  createRevision: revision(BigInt(createRevision)),
  id: memberId(id),
  address: null,
  url: null,
  priority: 0,
  ttlMs: 5000,
  since: null,
  conceded: null,
  pingKey: null,
  native: true,
});

export const mine = (createRevision: number): Candidate => candidate('me', createRevision, ours);

export const snapshot = (at: number, ...candidates: readonly Candidate[]): Snapshot => ({
  revision: revision(BigInt(at)),
  candidates,
  members: [],
  handover: null,
  control: null,
  switchover: null,
});

export const change = (at: number, what: Partial<Omit<Change, 'revision'>>): Change => ({
  revision: revision(BigInt(at)),
  candidates: [],
  removedCandidates: [],
  ...what,
});

/** The record that `id` leaves when it ends the term `token` cleanly. */
export const handover = (id: string, token: number): Handover => ({
  from: memberId(id),
  token: fencingToken(revision(BigInt(token))),
  cause: 'stopping',
  to: null,
  reason: null,
  actor: null,
  endedAgoMs: 0,
});
