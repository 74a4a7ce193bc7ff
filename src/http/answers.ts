// From a report of the core to the bodies that clients see. Pure, apart from reading the clocks: nothing is kept
// between two calls, so that no answer is older than its request.
import type { ElectionsAnswer, LeaderAnswer, LeaderOnWire, StatusAnswer } from '../contract.ts';
import type { LeaderReport, Report } from '../core/report.ts';
import type { Inputs } from './inputs.ts';

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
