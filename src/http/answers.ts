// From a report of the core to the bodies that clients see. Pure, apart from reading the clocks: nothing is kept
// between two calls, so that no answer is older than its request.
import type { LeaderAnswer, LeaderOnWire } from '../contract.ts';
import type { Control } from '../core/model.ts';
import type { LeaderReport, Report } from '../core/report.ts';
import type { Inputs } from './inputs.ts';

/** `GET /elections`: the answer of `/leader` for every election of this instance. */
export interface ElectionsAnswer {
  readonly elections: readonly LeaderAnswer[];
}

/** `GET /status`: all that one wants to know of an instance in one place. Times in milliseconds or ISO 8601. */
export interface StatusAnswer extends LeaderAnswer {
  /** What keeps this instance from campaigning: never_leads, paused, app_unhealthy or standing_back. */
  readonly obstacle: string | null;
  /** Past the end of its own term, while the app stops and the key is released. */
  readonly steppingDown: boolean;
  readonly stopping: boolean;
  readonly ttlMs: number;
  readonly lease: {
    readonly id: string;
    readonly ttlMs: number;
    readonly remainingMs: number;
  } | null;
  /** How long ago the newest request that etcd answered was sent; null before the first. */
  readonly etcd: { readonly contactAgeMs: number | null };
  /** Present while the election is paused. */
  readonly control: Control | null;
  readonly version: string;
  readonly startedAt: string;
  readonly uptimeMs: number;
  readonly settings: Record<string, unknown>;
}

const roundedOrNull = (ms: number | null): number | null => (ms === null ? null : Math.round(ms));

const iso = (wallMs: number): string => new Date(wallMs).toISOString();

type Clocks = Pick<Inputs, 'clock' | 'wallNow'>;

/** The leader as others are told of it. */
export function leaderOnWire(leader: LeaderReport, { clock, wallNow }: Clocks): LeaderOnWire {
  return {
    id: leader.id,
    address: leader.address,
    fencingToken: leader.token.toString(),
    since: leader.since ?? iso(wallNow() - (clock.now() - leader.seenAt)),
  };
}

/** The body of `/leader` and `/follower`. `report` was made for this very answer. */
export function leaderAnswer(report: Report, inputs: Clocks): LeaderAnswer {
  // Read after the report was made: the remaining time is told a little too short, never too long.
  const remainingMs = Math.floor(report.validUntil - inputs.clock.now());
  return {
    election: report.election,
    id: report.id,
    role: report.role,
    isLeader: report.role === 'leader',
    leader: report.leader === null ? null : leaderOnWire(report.leader, inputs),
    fencingToken: report.token === null ? null : report.token.toString(),
    validForMs: report.token === null ? 0 : Math.max(0, remainingMs),
    observedAgeMs: roundedOrNull(report.observedAgeMs),
  };
}

export function electionsAnswer(inputs: Inputs): ElectionsAnswer {
  const { elections } = inputs;
  return { elections: elections.names.map((name) => leaderAnswer(elections.report(name), inputs)) };
}

export function statusAnswer(report: Report, inputs: Inputs): StatusAnswer {
  const { elections, clock, started } = inputs;
  const lease = elections.lease();
  return {
    ...leaderAnswer(report, inputs),
    obstacle: report.obstacle,
    steppingDown: report.steppingDown,
    stopping: elections.isStopping(),
    ttlMs: elections.ttlMs(),
    lease: lease && {
      id: lease.leaseId,
      ttlMs: lease.ttlMs,
      remainingMs: Math.max(0, Math.floor(lease.remainingMs)),
    },
    etcd: { contactAgeMs: roundedOrNull(elections.contactAgeMs()) },
    control: report.control,
    version: inputs.version,
    startedAt: iso(started.wallMs),
    uptimeMs: Math.max(0, Math.round(clock.now() - started.at)),
    settings: inputs.describe(),
  };
}
