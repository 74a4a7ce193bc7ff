// The interfaces between the floors: what the runtime needs from the world, and what the world may ask of it.
// Nothing here knows a vendor, and nothing has behaviour.
import type {
  Cause,
  Change,
  Concession,
  Control,
  ElectionName,
  FencingToken,
  Handover,
  LeaseId,
  Member,
  MemberId,
  Millis,
  Revision,
  Self,
  Snapshot,
  SwitchoverRequest,
  TermRecord,
} from './core/model.ts';
import type { AuditEntry } from './contract.ts';
import type { Succession } from './core/queue.ts';
import type { Report } from './core/report.ts';
import type { RecordChange, WitnessRecord } from './core/short-lease.ts';
import type { ElectionPing } from './core/model.ts';

/** The monotonic clock, and the one timer that stands on it. */
export interface Clock {
  /** Milliseconds that never go backwards and count through a suspend of the machine. */
  now(): Millis;
  /** Calls `run` once at `at` or soon after; the returned function cancels it. */
  at(at: Millis, run: () => void): () => void;
  /** The wall-clock time of a moment of this clock, ISO 8601: for people and records, it decides nothing. */
  wallTimeOf(at: Millis): string;
}

/** An answer, and the monotonic time just before the request that brought it was sent. */
export interface Answer<Value> {
  readonly value: Value;
  readonly sentAt: Millis;
}

/** After joining: where our key stands, and the whole election as of that very transaction. */
export interface Joined {
  readonly createRevision: Revision;
  readonly snapshot: Snapshot;
  /** The record of the newest term that was proclaimed; null where none is remembered. */
  readonly newestTerm: TermRecord | null;
}

/** What a leader records of its term when it begins. */
export interface TermBeginning {
  /** ISO 8601, the leader's wall clock. */
  readonly since: string;
  /** How long nobody led before, at least and at most, as far as it saw; null where it did not see the predecessor leave. */
  readonly leaderlessMs: number | null;
  readonly leaderlessAtMostMs: number | null;
  /** How the term before it ended; null where it did not see that. */
  readonly endBefore: Cause | null;
}

/** How long a lease will last, in whole seconds as etcd says it. */
export interface LeaseTime {
  readonly remainingMs: number;
  readonly grantedMs: number;
  /** The term of etcd's own leader. */
  readonly etcdTerm: string;
}

export interface Release {
  readonly election: ElectionName;
  readonly leaseId: LeaseId;
  /** Guards the transaction: a key of another term is never touched. */
  readonly createRevision: Revision;
  /** Written in the same transaction; null where no term ends. */
  readonly handover: Handover | null;
  /** The whole record of the term that ends, written in the same transaction; null where none ends. */
  readonly term: TermRecord | null;
  /** Who was named, and is there; those passed over are deleted in the same transaction. All are guards of it. */
  readonly succession: Succession | null;
}

/** The whole election as of the very transaction that released; our key may still stand in it. */
export interface Released {
  /** Whether this request deleted it; else a guard did not hold: it was gone before, or the succession has changed. */
  readonly deleted: boolean;
  readonly snapshot: Snapshot;
}

/** Ends the term of another: a release in its place, by a witness, for itself. */
export interface Deposition extends Release {
  /** Guards the transaction as well: what wrote the record of witnesses last in which this one stands. */
  readonly witnessesAt: Revision;
}

export interface Deposed extends Released {
  /** Who is a witness of that term now. */
  readonly record: WitnessRecord;
}

/** The lease that a key hangs on, as etcd granted it. */
export interface GrantedLease {
  readonly leaseId: LeaseId;
  readonly ttlMs: number;
}

/** What a watch tells: a linearizable snapshot first and after every interruption, then each revision in order. */
export type WatchNotice =
  | {
      readonly kind: 'snapshot';
      readonly election: ElectionName;
      readonly snapshot: Snapshot;
      readonly sentAt: Millis;
    }
  | { readonly kind: 'change'; readonly election: ElectionName; readonly change: Change }
  | { readonly kind: 'interrupted'; readonly why: string };

/**
 * The store that elections are coordinated through. Every call ends within a bound that the implementation
 * derives from the TTL; it rejects with a class of errors.ts and nothing else. An implementation may send a request
 * again, elsewhere, after an ambiguous failure: a copy that arrives late changes nothing (docs/adr/0002).
 */
export interface Coordinator {
  /** Grants a lease under an id of our own choosing. `value` is the TTL granted, in milliseconds. */
  grant(leaseId: LeaseId, ttlMs: number): Promise<Answer<number>>;
  /** Renews a lease. `value` is the TTL granted, in milliseconds. Rejects with LeaseLost if it is gone. */
  renew(leaseId: LeaseId): Promise<Answer<number>>;
  /**
   * Asks for how long a lease will last. Null where the answer does not count: there is no such lease, or the member that
   * answered, asked for a linearizable read at once, was no longer of the same term of etcd's and may have been a former
   * leader.
   */
  timeToLive(leaseId: LeaseId): Promise<Answer<LeaseTime | null>>;
  /** Revokes a lease, and with it all its keys; a lease that is gone is a success. */
  revoke(leaseId: LeaseId): Promise<void>;
  /** Puts our key at the end of the queue, or finds it where it already stands. */
  join(election: ElectionName, lease: GrantedLease, me: Self): Promise<Answer<Joined>>;
  /**
   * Linearizable: the state of each election named, in the order asked; each is answered, or fails, by itself. Those
   * that fail together for one reason reject with the same error.
   */
  observe(elections: readonly ElectionName[]): readonly Promise<Answer<Snapshot>>[];
  /**
   * Deletes our key, guarded, and answers with what is there then. Where etcd refuses to do that much, the key goes
   * without a record, or without a named successor: better an end that nobody explains than no successor.
   */
  release(request: Release): Promise<Answer<Released>>;
  /**
   * Makes a change of the record of who is a witness of our term, guarded by the term and by what the record was; answers
   * with what it is then. Rejects with FencedOut if the term is over.
   */
  recordWitnesses(
    election: ElectionName,
    own: GrantedLease & { readonly createRevision: Revision },
    change: RecordChange,
  ): Promise<Answer<WitnessRecord>>;
  /** Deletes the key of a leader, guarded as a release is and by the record of its witnesses. */
  depose(request: Deposition): Promise<Answer<Deposed>>;
  /** Writes our leased member record. */
  enroll(election: ElectionName, member: Member): Promise<void>;
  /**
   * Says in the leader's key since when it leads, and records the term; guarded by the term, and by that key saying nothing
   * yet. Rejects with FencedOut if the term is over.
   */
  proclaim(
    election: ElectionName,
    own: GrantedLease & { readonly createRevision: Revision },
    me: Self,
    began: TermBeginning,
  ): Promise<void>;
  /**
   * Says in the key of a term that its claim has ended; guarded by the term, so that one that is over, or a later one, is left
   * as it is. `since` is when it began.
   */
  concede(
    election: ElectionName,
    own: GrantedLease & { readonly createRevision: Revision },
    me: Self & { readonly since: string },
    concession: Concession,
  ): Promise<void>;
  /**
   * Says in the record of a term how it ended: only where there is a record that says nothing yet. For a term whose key is
   * gone, so that nobody else writes it.
   */
  correct(election: ElectionName, ended: TermRecord): Promise<void>;
  /**
   * Pauses the election for `forMs` (whole seconds): the record is on a lease of its own, and so ends by itself. This and
   * the next two reject with Unreachable where others asked for something too and it is not known which was first.
   */
  pause(election: ElectionName, control: Control, forMs: number): Promise<void>;
  /** Ends a pause; one that is over is a success. */
  resume(election: ElectionName): Promise<void>;
  /** Asks the leader of a term to hand over; the request goes away by itself after `forMs` (whole seconds). */
  requestSwitchover(
    election: ElectionName,
    request: SwitchoverRequest,
    forMs: number,
  ): Promise<void>;
  /** Linearizable: the records of the terms remembered, newest first, at most a hundred. */
  history(election: ElectionName): Promise<readonly TermRecord[]>;
  /** Linearizable: whether the key that this term stands for still leads. */
  isCurrent(election: ElectionName, token: FencingToken): Promise<boolean>;
  /** Watches the queues of these elections until the returned function is called. */
  watch(elections: readonly ElectionName[], listener: (notice: WatchNotice) => void): () => void;
  close(): void;
}

/** What an election remembers of the verbs that were asked for. */
export interface AuditLog {
  /** Remembers one more. Rejects with a class of errors.ts where that is not known. */
  record(election: ElectionName, entry: AuditEntry): Promise<void>;
  /** Linearizable: the newest first, at most a hundred. Rejects with a class of errors.ts. */
  entries(election: ElectionName): Promise<readonly AuditEntry[]>;
}

/** How pings reach another process of ours. */
export interface Pings {
  /**
   * Sends pings to the process at `url`, signed with `key`; resolves with those that it acknowledged. Rejects where no answer
   * that is signed likewise comes within the shortest lease that they ask for.
   */
  send(
    to: { readonly url: string; readonly key: string },
    pings: readonly ElectionPing[],
  ): Promise<readonly ElectionPing[]>;
  close(): void;
}

/** The guarded application beside us, as far as the runtime is concerned with it. */
export interface App {
  /** A term of ours began. */
  elected(election: ElectionName, token: FencingToken): void;
  /** A term of ours ended: everything acting for it stops by `mustStopBy`; then `quiesced` is called. */
  stop(
    election: ElectionName,
    token: FencingToken,
    cause: Cause,
    mustStopBy: Millis,
    quiesced: () => void,
  ): void;
  /** Whatever acts for our terms may go on until then, whatever becomes of us; told anew whenever that has moved. */
  lasts(until: Millis): void;
  /** No time is left: whatever still acts for the term is killed now. */
  cutOff(election: ElectionName, token: FencingToken): void;
  /** Kills whatever acts for any term; resolves when it is gone. */
  kill(): Promise<void>;
}

/** What happened, for logs, metrics and events; told once, in order, after the state has changed. */
export type Notice =
  | {
      readonly kind: 'elected';
      readonly election: ElectionName;
      readonly token: FencingToken;
      readonly leaderlessMs: number | null;
      readonly leaderlessAtMostMs: number | null;
      readonly endBefore: Cause | null;
    }
  | {
      readonly kind: 'ended';
      readonly election: ElectionName;
      readonly token: FencingToken;
      readonly cause: Cause;
      readonly reason: string | null;
      readonly ledMs: number;
    }
  | { readonly kind: 'released'; readonly election: ElectionName; readonly token: FencingToken }
  /** The leader that this instance sees, or its own role, is another than before. */
  | {
      readonly kind: 'changed';
      readonly election: ElectionName;
      readonly report: Report;
      readonly previousLeader: { readonly id: MemberId; readonly token: FencingToken } | null;
      readonly cause: Cause;
    }
  | {
      readonly kind: 'lease';
      readonly state: 'granted' | 'lapsed' | 'recovered' | 'lost' | 'revoking';
      readonly leaseId: LeaseId;
      readonly ttlMs: number;
    }
  | {
      readonly kind: 'renewal';
      readonly result: 'ok' | 'failed' | 'lost';
      readonly durationMs: number;
    }
  | {
      readonly kind: 'trouble';
      readonly operation: string;
      readonly election: ElectionName | null;
      readonly error: Error;
    }
  | { readonly kind: 'watchInterrupted'; readonly why: string }
  /** We ended the term of a leader that was not heard of. */
  | { readonly kind: 'deposed'; readonly election: ElectionName; readonly token: FencingToken }
  /** Who may depose our term is another set than before. */
  | {
      readonly kind: 'witnesses';
      readonly election: ElectionName;
      readonly token: FencingToken;
      readonly ids: readonly MemberId[];
    }
  /** A ping to a witness, or to a candidate for one, ended. */
  | {
      readonly kind: 'ping';
      readonly result: 'acknowledged' | 'refused' | 'failed';
      readonly durationMs: number;
    };

/** One request to etcd as it ended, for the metrics. */
export interface RequestObserver {
  /**
   * `operation` is grant, renew, timeToLive, revoke, join, observe, release, recordWitnesses, depose, enroll, proclaim, concede, correct, watch,
   * authenticate, control, history, audit, fence, state or journal.
   */
  requested(operation: string, result: 'ok' | 'failed', durationMs: number): void;
}

/** What a sidecar says that is asked to promise that nobody else leads before a moment is over. */
export type Promised =
  /** For so long after `sentAt`; 0 where it does not lead that term, or not any more. */
  | { readonly kind: 'held'; readonly sentAt: Millis; readonly forMs: number }
  | { readonly kind: 'silent' }
  /** It makes no such promises, or cannot be asked: `why` is for people. */
  | { readonly kind: 'none'; readonly why: string };

/** How one proxy stands. */
export interface ProxyFigures {
  /** As it was configured: `tcp://127.0.0.1:5432=leader`. */
  readonly name: string;
  /** Connections that are open, those that wait among them. */
  readonly open: number;
  /** Connections or requests that wait for somebody to reach. */
  readonly waiting: number;
  /** Of those who have waited, by how it ended, since the start. */
  readonly ended: Readonly<Record<'passed' | 'full' | 'timed_out' | 'closing', number>>;
}

/** What may be asked of the running elector by HTTP, metrics and the operator's verbs. */
export interface Elections {
  readonly names: readonly ElectionName[];
  /** A fresh report, made at the moment of the call; throws if the name is not one of `names`. */
  report(election: ElectionName): Report;
  /** The lease as it stands; null while there is none. */
  lease(): {
    readonly leaseId: LeaseId;
    readonly ttlMs: number;
    readonly remainingMs: number;
  } | null;
  /** The TTL that knowledge is judged by: as granted, else as asked for. */
  ttlMs(): number;
  /** Of the newest request that etcd answered: milliseconds since it was sent, and until it was answered; null before the first. */
  contact(): { readonly ageMs: number; readonly tookMs: number } | null;
  isStopping(): boolean;
  /** Calls `listener` with every notice from now on; the returned function ends that. */
  subscribe(listener: (notice: Notice) => void): () => void;
  /** Ends our own term for a reason of the caller's, and does not stand again for `notForMs`. */
  stepDown(
    election: ElectionName,
    request: {
      readonly cause: Cause;
      readonly reason: string | null;
      readonly actor: string | null;
      readonly notForMs: number;
    },
  ): void;
  /** Takes back that we do not stand for a while, whatever it was for. */
  standAgain(election: ElectionName): void;
  /** Promises that nobody else leads for `holdMs` more; returns for how long that is promised (0: not at all). */
  hold(election: ElectionName, holdMs: number): number;
  /** What the app check found. */
  appHealth(healthy: boolean): void;
  /** The leader of a term asks not to be deposed: whether that is promised. */
  ping(ping: ElectionPing): boolean;
}
