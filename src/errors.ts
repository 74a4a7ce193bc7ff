// One class per family of failures, each with a stable `code`: translated once, at the edge where they happen.

/** Base of all failures that are not bugs; `code` is stable and may be matched by users and tests. */
export abstract class ElectordError extends Error {
  abstract readonly code: string;
}

/** etcd did not answer in time, or no endpoint could be reached: whether the request was carried out is unknown. */
export class Unreachable extends ElectordError {
  override readonly name = 'Unreachable';
  readonly code = 'etcd_unreachable';
}

/** etcd answered that the lease is no more: every key of this session is gone or about to go. */
export class LeaseLost extends ElectordError {
  override readonly name = 'LeaseLost';
  readonly code = 'lease_lost';
}

/** A guarded request was refused because the term it was made for has ended. */
export class FencedOut extends ElectordError {
  override readonly name = 'FencedOut';
  readonly code = 'fenced_out';
}

/** etcd does not accept who we are or what we may do: a user, password, role or certificate is wrong. */
export class Denied extends ElectordError {
  override readonly name = 'Denied';
  readonly code = 'etcd_denied';
}

/** etcd answered and refused for a reason of its own: out of space, too many requests, a request too large. */
export class Refused extends ElectordError {
  override readonly name = 'Refused';
  readonly code = 'etcd_refused';
}

/** The history that was asked for has been compacted away: a new snapshot is needed. */
export class Compacted extends ElectordError {
  override readonly name = 'Compacted';
  readonly code = 'etcd_compacted';
}

/** The endpoint belongs to another etcd cluster than the one that answered first: nothing it says is about us. */
export class OtherCluster extends ElectordError {
  override readonly name = 'OtherCluster';
  readonly code = 'etcd_other_cluster';
}

/** etcd is at a lower revision than it was: it came back empty or from an older backup. */
export class EtcdWentBack extends ElectordError {
  override readonly name = 'EtcdWentBack';
  readonly code = 'etcd_went_back';
}
