// What the status page and its sidecar say to each other besides the documented answers of contract.ts, for both sides.
// It belongs to the page and changes with it; programs should use `/leader`, `/events` and `/status`.
import type { HealthAnswer, MembersAnswer, StatusAnswer } from '../contract.ts';
import type { Role } from '../core/report.ts';

/** So many elections can be followed by one stream of `/peers`; windows that look at more do without frames. */
export const electionsAtMost = 32;
/** The name by which the page's policy knows who makes the address of the worker. */
export const workerPolicy = 'electord-worker';
/** What the worker says to each wish, so that a window knows that it lives. */
export const heard = 'heard';

/**
 * How a member answers the sidecar that serves the page. `asking`: no answer yet, and no reason to expect none.
 * `cannot_be_asked`: nothing can be said about it from here (no url, another program, a certificate that cannot be
 * verified); it may well be alive.
 */
export type PeerState = 'self' | 'asking' | 'answers' | 'silent' | 'cannot_be_asked';

export interface PeerOnWire {
  readonly id: string;
  readonly leaseId: string;
  readonly url: string | null;
  readonly state: PeerState;
  /** Since its last answer; 0 unless silent. */
  readonly silentForMs: number;
  /** Why it is silent or cannot be asked. */
  readonly detail: string | null;
  /** From here on: as it said itself in its last answer, null before the first. */
  readonly role: Role | null;
  /** Its claim to lead; null where it has none, or where the time that it gave has run out. */
  readonly claim: { readonly fencingToken: string; readonly remainingMs: number } | null;
  /** How old its knowledge of etcd is by now. */
  readonly observedAgeMs: number | null;
  readonly roundTripMs: number | null;
}

/** The data of an event `peers` on `/peers`. */
export interface PeersFrame {
  readonly election: string;
  /** The sidecar's wall clock, ISO 8601. */
  readonly at: string;
  readonly peers: readonly PeerOnWire[];
  /** Two members that were seen to claim leadership at one and the same moment. */
  readonly twoClaims: readonly [string, string] | null;
  /** How many members are beyond the bound on how many are asked. */
  readonly notAsked: number;
}

/** One election in `GET /overview`: what a list needs. */
export interface OverviewRow {
  readonly election: string;
  readonly role: Role;
  readonly obstacle: string | null;
  readonly leader: {
    readonly id: string;
    readonly fencingToken: string;
    /** As it says itself; null where it has not said so. */
    readonly since: string | null;
  } | null;
  readonly candidates: number;
  readonly paused: boolean;
}

export interface OverviewAnswer {
  readonly id: string;
  readonly version: string;
  /** The sidecar's wall clock, ISO 8601. */
  readonly at: string;
  /** As `/health` has it; here it is no failure for a browser to complain of. */
  readonly health: HealthAnswer;
  readonly elections: readonly OverviewRow[];
  /** Of the election that is looked at; null where none is. */
  readonly details: { readonly status: StatusAnswer; readonly members: MembersAnswer } | null;
}
