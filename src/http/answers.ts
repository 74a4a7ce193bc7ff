// From a report of the core to the bodies that clients see. Pure, apart from reading the clocks: nothing is kept
// between two calls, so that no answer is older than its request.
import { etcdTrouble } from './health.ts';
import type { ElectionsAnswer, LeaderAnswer, LeaderOnWire, StatusAnswer } from '../contract.ts';
import type { LeaderReport, Report } from '../core/report.ts';
import type { Inputs } from './inputs.ts';

const roundedOrNull = (ms: number | null): number | null => (ms === null ? null : Math.round(ms));

const iso = (wallMs: number): string => new Date(wallMs).toISOString();

/** Until when this instance does not stand again, ISO 8601 and for people; null where nothing keeps it. */
export function standsBackUntil(
  { standsBackUntil: until }: Report,
  { clock, wallNow }: Clocks,
): string | null {
  return until === null ? null : iso(Math.round(wallNow() + (until - clock.now())));
}

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

/**
 * The body of `/leader` and `/follower`, which the status and the role of the answer follow from. `report` was made for this
 * very answer. Who has less than a millisecond left does not lead: a claim that lasts for nothing is none.
 */
export function leaderAnswer(report: Report, inputs: Clocks): LeaderAnswer {
  // Read after the report was made: the remaining time is told a little too short, never too long.
  const remainingMs = Math.floor(report.validUntil - inputs.clock.now());
  const { election, id, token } = report;
  const observedAgeMs = roundedOrNull(report.observedAgeMs);
  const isLeader = report.role === 'leader' && token !== null && remainingMs > 0;
  if (report.role === 'leader' && !isLeader) {
    const role = report.obstacle === null ? 'follower' : 'observer';
    const nobody = { role, isLeader, leader: null, fencingToken: null } as const;
    return { election, id, ...nobody, validForMs: 0, observedAgeMs };
  }
  return {
    election,
    id,
    role: report.role,
    isLeader,
    leader: report.leader === null ? null : leaderOnWire(report.leader, inputs),
    fencingToken: isLeader ? token.toString() : null,
    validForMs: isLeader ? remainingMs : 0,
    observedAgeMs,
  };
}

export function electionsAnswer(inputs: Inputs): ElectionsAnswer {
  const { elections } = inputs;
  return { elections: elections.names.map((name) => leaderAnswer(elections.report(name), inputs)) };
}

function waitingOnWire({ waiting }: Report, { clock }: Inputs): StatusAnswer['waiting'] {
  if (waiting === null) return null;
  const { until, id, takenAway } = waiting;
  return {
    forMs: Math.max(0, Math.ceil(until - clock.now())),
    for: id,
    because: takenAway ? 'taken_away' : 'takeover_delay',
  };
}

function appOnWire({ health }: Inputs): StatusAnswer['app'] {
  const { configured: checked, healthy, detail } = health.app();
  return { checked, healthy, detail };
}

export function statusAnswer(report: Report, inputs: Inputs): StatusAnswer {
  const { elections, clock, started } = inputs;
  const lease = elections.lease();
  return {
    ...leaderAnswer(report, inputs),
    obstacle: report.obstacle,
    standsBackUntil: standsBackUntil(report, inputs),
    waiting: waitingOnWire(report, inputs),
    steppingDown: report.steppingDown,
    stopping: elections.isStopping(),
    failover: report.failover,
    ttlMs: elections.ttlMs(),
    lease: lease && {
      id: lease.leaseId,
      ttlMs: lease.ttlMs,
      remainingMs: Math.max(0, Math.floor(lease.remainingMs)),
    },
    etcd: {
      contactAgeMs: roundedOrNull(elections.contactAgeMs()),
      trouble: etcdTrouble(inputs),
    },
    app: appOnWire(inputs),
    control: report.control,
    version: inputs.version,
    startedAt: iso(started.wallMs),
    uptimeMs: Math.max(0, Math.round(clock.now() - started.at)),
    settings: inputs.describe(),
  };
}
