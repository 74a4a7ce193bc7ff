// The words of the domain: identifiers, records and causes. No behaviour beyond parsing and comparing.

declare const brand: unique symbol;
type Branded<Base, Name extends string> = Base & { readonly [brand]: Name };

/**
 * A point on the monotonic clock of this process, in milliseconds. Only differences mean anything, and only
 * within one process; the wall clock decides nothing.
 */
export type Millis = number;

/** The name of an election, `[A-Za-z0-9._-]{1,128}`. */
export type ElectionName = Branded<string, 'ElectionName'>;
/** The name of an instance, unique within an election (for a foreign candidate: its bare value). */
export type MemberId = Branded<string, 'MemberId'>;
/** An etcd lease id, in lower-case hexadecimal without leading zeros, as Go prints it. */
export type LeaseId = Branded<string, 'LeaseId'>;
/** An etcd revision. A bigint, because revisions compared as strings say that '10' < '6'. */
export type Revision = Branded<bigint, 'Revision'>;
/** The fencing token of a term: the create revision of the leader's key, greater in every later term. */
export type FencingToken = Branded<bigint, 'FencingToken'>;

export const electionName = (text: string): ElectionName => text as ElectionName;
export const memberId = (text: string): MemberId => text as MemberId;
export const leaseId = (hexadecimal: string): LeaseId => hexadecimal as LeaseId;
export const revision = (value: bigint): Revision => value as Revision;
/** The term that the key created at `createRevision` stands for. */
export const fencingToken = (createRevision: Revision): FencingToken =>
  createRevision as bigint as FencingToken;

/** Why a term began or ended: the same words in logs, events, history and metrics. */
export const causes = [
  'elected',
  'resigned',
  'switchover',
  'failback',
  'app_unhealthy',
  'app_exited',
  'lease_expired',
  'taken_away',
  'key_deleted',
  'etcd_unreachable',
  'paused',
  'stopping',
  'crashed',
  'unknown',
] as const;
export type Cause = (typeof causes)[number];

/** The ends that the record of a term may not tell, as a successor judges them. */
export const unrecordedEnds: ReadonlySet<Cause> = new Set<Cause>([
  'lease_expired',
  'taken_away',
  'crashed',
]);

/** The ends that somebody meant, or a setting. */
export const plannedEnds: ReadonlySet<Cause> = new Set<Cause>([
  'resigned',
  'switchover',
  'failback',
  'paused',
  'stopping',
]);

/** What a leader that steps down says in its key, which is to stay for a while: its claim has ended. */
export interface Concession {
  readonly cause: Cause;
  /** How long before this was written. */
  readonly endedAgoMs: number;
}

/** One key in the queue of an election; the one with the lowest create revision leads. */
export interface Candidate {
  /** The part of the key behind `candidates/`: the lease id in hexadecimal. */
  readonly key: string;
  readonly leaseId: LeaseId;
  readonly createRevision: Revision;
  readonly id: MemberId;
  /** Where others reach the app, and the sidecar; null where not told or not one of ours. */
  readonly address: string | null;
  readonly url: string | null;
  readonly priority: number;
  /** The TTL that etcd granted its lease; null where it does not say: an older version, another program. */
  readonly ttlMs: number | null;
  /** When it began to lead (ISO 8601, its own wall clock), once it has proclaimed that. */
  readonly since: string | null;
  /** That its claim has ended, once it has said so while its key has to stay; null before, and of another program. */
  readonly conceded: Concession | null;
  /** What pings to it are signed with; null where it is no witness: without fast failover, an older version. */
  readonly pingKey: string | null;
  /** False for a candidate whose value is not ours: `etcdctl elect`, a Go program. */
  readonly native: boolean;
}

/** A sidecar present in an election, candidate or not: the leased record `members/<id>`. */
export interface Member {
  readonly id: MemberId;
  readonly leaseId: LeaseId;
  readonly address: string | null;
  readonly url: string | null;
  readonly priority: number;
  readonly healthy: boolean;
  /** Whether its app is checked at all: one that is not counts as healthy; null where it does not say: an older version. */
  readonly checked: boolean | null;
  readonly version: string;
}

/** What a process says of itself in an election. */
export interface Self extends Omit<Member, 'leaseId' | 'healthy'> {
  /** Of its candidates' keys: what pings to it are signed with; null where it is no witness. */
  readonly pingKey: string | null;
}

/**
 * What is left in the same revision that deletes a leader's key, by itself or by a witness that deposes it: the proof that
 * it claims nothing any more.
 */
export interface Handover {
  readonly from: MemberId;
  readonly token: FencingToken;
  readonly cause: Cause;
  /** The successor named by a switchover, null for "whoever is next". */
  readonly to: MemberId | null;
  readonly reason: string | null;
  /** Who asked for it, where somebody did; of a leader that was deposed, the witness. */
  readonly actor: string | null;
  /**
   * How long before this the claim had ended; of a leader that was deposed, how long ago its witness heard of it last. Null
   * where it does not say: an older version.
   */
  readonly endedAgoMs: number | null;
}

/** `control/switchover`: somebody asks the leader of a term to hand over. Ignored by every other term. */
export interface SwitchoverRequest {
  readonly token: FencingToken;
  readonly to: MemberId;
  readonly reason: string | null;
  readonly actor: string | null;
}

/** `control`: present while the election is paused; leased, so that it ends by itself. */
export interface Control {
  readonly paused: true;
  readonly reason: string | null;
  /** Who paused it, and by which member; just the member where nobody said who. */
  readonly by: string | null;
  /** When it ends (ISO 8601), for people; the lease decides. */
  readonly until: string | null;
}

/** What is remembered of a term; null where it is not known, or not over. Times are ISO 8601, for people. */
export interface TermRecord {
  readonly token: FencingToken;
  readonly leader: MemberId;
  readonly address: string | null;
  readonly from: string | null;
  /** When and why it ended, as its own leader recorded it; null for one that is not over, or had no time to say. */
  readonly to: string | null;
  readonly cause: Cause | null;
  readonly reason: string | null;
  readonly actor: string | null;
  /** How long nobody led before it, at least, as its leader saw it. */
  readonly leaderlessMs: number | null;
  /** The same at most: the same number where the end before is recorded; null where nobody knows, or an older version. */
  readonly leaderlessAtMostMs: number | null;
  /** The TTL of its lease; null where it does not say: an older version. */
  readonly ttlMs: number | null;
  /** How the term before it ended, as it recorded that or its successor judged; null where nobody knows. */
  readonly endBefore: Cause | null;
}

/** Where a witness stands in the record of the term: what wrote that record last, and which enlistment it is. */
export interface Enlistment {
  readonly at: Revision;
  readonly number: number;
  /** How many witnesses stand before it in the queue: they are to act first. */
  readonly ahead: number;
}

/** What a leader says to a witness, or to a candidate for one. */
export interface Ping {
  readonly term: FencingToken;
  /** The create revision of the candidate's key that is meant: neither an id nor an address. */
  readonly witness: Revision;
  /** Rises from ping to ping of a term. */
  readonly sequence: number;
  /** The short lease that it asks for, in milliseconds. */
  readonly forMs: number;
  /** Null where it is not enlisted, or its leader does not know that yet. */
  readonly enlisted: Enlistment | null;
}

/** A ping, and the election that it is about. */
export interface ElectionPing {
  readonly election: ElectionName;
  readonly ping: Ping;
}

/** Everything that one linearizable read says about an election. */
export interface Snapshot {
  readonly revision: Revision;
  /** Sorted by create revision: the first one leads. */
  readonly candidates: readonly Candidate[];
  readonly members: readonly Member[];
  readonly handover: Handover | null;
  readonly control: Control | null;
  readonly switchover: SwitchoverRequest | null;
}

/** All that one revision changed in the queue of an election. Absent means unchanged; null means deleted. */
export interface Change {
  readonly revision: Revision;
  readonly candidates: readonly Candidate[];
  readonly removedCandidates: readonly string[];
  readonly handover?: Handover | null;
  readonly control?: Control | null;
  readonly switchover?: SwitchoverRequest | null;
}
