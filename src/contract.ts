// The wire types of the HTTP interface: what a client may rely on. The same types serve the server and the client. With them
// the one form in which durations are written, since settings, flags, bodies and queries are read in rooms that do not know
// each other, and must not read them differently.
import type { Cause, Control } from './core/model.ts';
import type { Role } from './core/report.ts';

/** The leader as others are told of it; `since` is ISO 8601, `fencingToken` a decimal string. */
export interface LeaderOnWire {
  readonly id: string;
  readonly address: string | null;
  readonly fencingToken: string;
  readonly since: string;
}

/** `GET /leader` and `GET /follower`, whatever the status code. */
export interface LeaderAnswer {
  readonly election: string;
  readonly id: string;
  readonly role: Role;
  readonly isLeader: boolean;
  readonly leader: LeaderOnWire | null;
  /** This instance's own term, null where it does not lead. */
  readonly fencingToken: string | null;
  /** How long this instance's own claim lasts if nothing planned ends it, counted from when the request was sent; else 0. */
  readonly validForMs: number;
  /** How old the knowledge of etcd is; null before etcd's first answer. */
  readonly observedAgeMs: number | null;
  /**
   * Only where a hold was asked for and any are granted: for so long nobody else leads, whatever is planned, counted from when
   * the request was sent.
   */
  readonly heldForMs?: number;
}

/** The data of an event on `/events`. */
export interface LeadershipEvent extends LeaderAnswer {
  readonly reason: Cause;
}

/** `GET /elections`: the answer of `/leader` for every election of this instance. */
export interface ElectionsAnswer {
  readonly elections: readonly LeaderAnswer[];
}

/** `GET /status`: all that one wants to know of an instance in one place. Times in milliseconds or ISO 8601. */
export interface StatusAnswer extends LeaderAnswer {
  /** What keeps this instance from campaigning: never_leads, paused, app_unhealthy or standing_back. */
  readonly obstacle: string | null;
  /** Until when it stands back (ISO 8601); null where it does not. */
  readonly standsBackUntil: string | null;
  /** First in the queue, and not leading yet: for whose sake, and for how much longer; null where that is not so. */
  readonly waiting: {
    readonly forMs: number;
    /** Who may still claim the term; null where that is not known. */
    readonly for: string | null;
    /** `taken_away`: its lease or key went before its time; else `takeover_delay`. */
    readonly because: 'taken_away' | 'takeover_delay';
  } | null;
  /** Past the end of its own term, while the app stops and the key is released. */
  readonly steppingDown: boolean;
  readonly stopping: boolean;
  /** Null where fast failover is off. */
  readonly failover: {
    /** The short lease: a leader that is not heard of for so long is replaced. */
    readonly shortMs: number;
    /** Of this instance's own term: who replaces it; where it is nobody, a crash costs a TTL. */
    readonly witnesses: readonly string[];
    /** Whether this instance replaces the leader when that is not heard of. */
    readonly isWitness: boolean;
  } | null;
  readonly ttlMs: number;
  readonly lease: {
    readonly id: string;
    readonly ttlMs: number;
    readonly remainingMs: number;
  } | null;
  readonly etcd: {
    /** How long ago the newest request that etcd answered was sent; null before the first. */
    readonly contactAgeMs: number | null;
    /** Why etcd or an endpoint of it is not used, for people: it has gone back, or belongs to another cluster. */
    readonly trouble: string | null;
  };
  /** The app beside this instance; where no check is configured it counts as healthy, and nothing is known of it. */
  readonly app: { readonly checked: boolean; readonly healthy: boolean; readonly detail: string };
  /** Present while the election is paused. */
  readonly control: Control | null;
  readonly version: string;
  readonly startedAt: string;
  readonly uptimeMs: number;
  readonly settings: Record<string, unknown>;
}

export interface HealthAnswer {
  readonly status: 'ok' | 'failing';
  readonly checks: Readonly<Record<string, { readonly ok: boolean; readonly detail: string }>>;
}

export interface MemberOnWire {
  readonly id: string;
  readonly role: 'leader' | 'candidate' | 'observer';
  readonly address: string | null;
  readonly url: string | null;
  readonly priority: number;
  readonly healthy: boolean;
  /** Whether its app is checked; one that is not counts as healthy. Null where that is not known. */
  readonly checked: boolean | null;
  readonly version: string | null;
  /** The place in the queue, 1 for the leader; null where it is not a candidate. */
  readonly place: number | null;
  /** The create revision of its key, null where it is not a candidate. */
  readonly fencingToken: string | null;
  readonly leaseId: string;
  /** False for a candidate of another program: `etcdctl elect`, a Go program. */
  readonly native: boolean;
  readonly self: boolean;
}

export interface MembersAnswer {
  readonly election: string;
  readonly members: readonly MemberOnWire[];
  readonly observedAgeMs: number | null;
}

/** The answer to a verb of the operator that was carried out; `detail` is a sentence for people. */
export interface VerbAnswer {
  readonly election: string;
  readonly done: boolean;
  readonly detail: string;
  /** Who leads now, as far as this instance knows. */
  readonly leader: LeaderOnWire | null;
}

/** The body of `POST /resume`, and what every verb may say: why, and who asks for it. */
export interface VerbRequest {
  readonly reason?: string | null;
  readonly by?: string | null;
}

/** The body of `POST /step-down`; `notFor` is a duration such as `30s`. `force`: even where nobody else can lead. */
export interface StepDownRequest extends VerbRequest {
  readonly notFor?: string;
  readonly force?: boolean;
}

/**
 * The body of `POST /switchover`; `to` is a member's id. `force`: a pause is ended for it, and so is the standing back of the
 * sidecar that is asked, where it is the one named.
 */
export interface SwitchoverBody extends VerbRequest {
  readonly to: string;
  readonly force?: boolean;
}

/** The body of `POST /pause`; `for` is a duration, ten minutes where it is not given. */
export interface PauseRequest extends VerbRequest {
  readonly for?: string;
}

export interface PauseAnswer extends VerbAnswer {
  readonly paused: boolean;
  /** When the pause ends by itself (ISO 8601), null where there is none. */
  readonly until: string | null;
}

/** One term in `GET /history`, newest first; null where something is not known, or the term is not over. */
export interface TermOnWire {
  readonly fencingToken: string;
  readonly leader: string;
  readonly address: string | null;
  readonly from: string | null;
  readonly to: string | null;
  /** Its end is not before this: `to` where that is recorded, else the last sign of life of its leader. */
  readonly toEarliest: string | null;
  readonly cause: Cause | null;
  readonly reason: string | null;
  readonly actor: string | null;
  /** How long nobody led before it, in milliseconds, where that is known; null where it is known by its bounds only. */
  readonly leaderlessMs: number | null;
  /** Its bounds: the end before lies between the last sign of life of that leader and this term. */
  readonly leaderlessAtLeastMs: number | null;
  readonly leaderlessAtMostMs: number | null;
  /** True where its leader had no time to record the end: `to` and `cause` follow from the next term. */
  readonly endDerived: boolean;
}

export interface HistoryAnswer {
  readonly election: string;
  readonly terms: readonly TermOnWire[];
  /** The verbs that were carried out, newest first, as far as they are remembered. */
  readonly verbs: readonly VerbTrace[];
}

/** A verb of the operator that was asked for, and what became of it. */
export interface AuditEntry {
  /** When it was asked for, ISO 8601. */
  readonly at: string;
  /** `bench`: a step-down of one that does not lead, which is not to lead for a while. */
  readonly verb: 'step-down' | 'bench' | 'switchover' | 'pause' | 'resume';
  /** Who asked, in their own words. */
  readonly by: string | null;
  /** Whom the client's certificate is for; null where there was none. */
  readonly certificate: string | null;
  /** The address that it came from, or `unix socket`. */
  readonly from: string;
  /** The id of the sidecar that was asked. */
  readonly via: string;
  readonly reason: string | null;
  /** `done`, `accepted` (it goes on), or the code of the problem that it was refused with. */
  readonly outcome: string;
  /** A sentence for people. */
  readonly detail: string;
}

/** What everybody may know of a verb that was carried out. */
export type VerbTrace = Omit<AuditEntry, 'certificate' | 'from' | 'outcome'>;

/** `GET /audit`: the verbs asked for, newest first, at most a hundred. */
export interface AuditAnswer {
  readonly election: string;
  readonly entries: readonly AuditEntry[];
}

/** The answer to a switchover that was carried out: the new term. */
export interface SwitchoverAnswer extends VerbAnswer {
  readonly fencingToken: string;
}

/** `GET /fence/TOKEN`, with 200 where it is current and 409 where it is not. */
export interface FenceAnswer {
  readonly election: string;
  readonly fencingToken: string;
  readonly current: boolean;
}

/** `PUT /state/KEY`; `revision` is the number in the `ETag`. */
export interface StateWriteAnswer {
  readonly election: string;
  readonly key: string;
  readonly revision: string;
  readonly fencingToken: string;
}

/** `POST /journal`; `replayed`: the same `Idempotency-Key` had been appended before. */
export interface JournalAppendAnswer {
  readonly election: string;
  readonly seq: number;
  readonly replayed: boolean;
}

/** One entry of `GET /journal`; `entry` is the JSON that was appended. */
export interface JournalEntryOnWire {
  readonly seq: number;
  readonly fencingToken: string;
  readonly at: string;
  readonly by: string;
  readonly entry: unknown;
}

/** `GET /journal`: go on with `after` set to the last `seq` until that is `last`. */
export interface JournalAnswer {
  readonly election: string;
  readonly entries: readonly JournalEntryOnWire[];
  readonly last: number;
}

/** One thing that is wrong with a body or a query, in the member `faults` of a problem. */
export interface FaultOnWire {
  readonly field: string;
  readonly problem: string;
}

/** An error answer, `application/problem+json` (RFC 9457), with a stable `code`. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: string;
  readonly detail: string;
}

const millisecondsOf = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;

/** One number and one unit: a number without its unit is refused, since guessing it would be wrong by a thousand. */
export const durationForm = /^(\d{1,9})(ms|s|m|h)$/;

/**
 * Reads a duration.
 * @param text such as `500ms`, `5s`, `2m` or `1h`
 * @returns whole milliseconds, or what is wrong as a phrase that follows the text
 */
export function readDuration(text: string): { readonly ms: number } | { readonly problem: string } {
  const match = durationForm.exec(text);
  if (match) return { ms: Number(match[1]) * millisecondsOf[match[2] as 'ms' | 's' | 'm' | 'h'] };
  if (/^\d{1,9}$/.test(text)) {
    return { problem: `has no unit; write for example ${text}s or ${text}ms` };
  }
  if (/^\d+\.\d+(ms|s|m|h)$/.test(text)) {
    return { problem: 'is not a whole number; write it in a smaller unit, as 1500ms for 1.5s' };
  }
  if (/^-/.test(text)) return { problem: 'is negative' };
  return { problem: 'is not a duration; write for example 500ms, 5s, 2m or 1h' };
}

/**
 * Writes a duration in the largest unit that divides it.
 * @param durationMs whole milliseconds, not negative
 */
export function formatDuration(durationMs: number): string {
  if (durationMs === 0) return '0s';
  const unit = (['h', 'm', 's'] as const).find((each) => durationMs % millisecondsOf[each] === 0);
  return unit === undefined ? `${durationMs}ms` : `${durationMs / millisecondsOf[unit]}${unit}`;
}
