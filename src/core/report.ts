// What may be said about an election at a moment: one pure view that every answer, metric and event is made from.
// It never names a leader on knowledge older than one TTL, and never names ourselves unless we may claim.
import {
  eligibleAt,
  obstacleOf,
  ttlOf,
  type Election,
  type Ground,
  type Obstacle,
} from './candidacy.ts';
import { claimOf } from './election.ts';
import type {
  Candidate,
  Control,
  ElectionName,
  FencingToken,
  Member,
  MemberId,
  Millis,
  Revision,
} from './model.ts';
import { fencingToken } from './model.ts';
import { leaderOf } from './queue.ts';

export type Role = 'leader' | 'follower' | 'observer' | 'unknown';

export interface LeaderReport {
  readonly id: MemberId;
  readonly address: string | null;
  readonly url: string | null;
  readonly token: FencingToken;
  /** When it began to lead: as it says itself (ISO 8601), else when we saw it (monotonic). */
  readonly since: string | null;
  readonly seenAt: Millis;
}

export interface Report {
  readonly election: ElectionName;
  readonly id: MemberId;
  readonly role: Role;
  /** Why this instance does not campaign, null where nothing keeps it from that. */
  readonly obstacle: Obstacle | null;
  readonly leader: LeaderReport | null;
  /** Our own claim, null where we do not lead. */
  readonly token: FencingToken | null;
  /** Until when our own claim may be believed; `now` where there is none. */
  readonly validUntil: Millis;
  /** The revision of the queue that this was made from; null before the first answer. */
  readonly revision: Revision | null;
  /** How old our knowledge of etcd is, in milliseconds; null before the first answer. */
  readonly observedAgeMs: number | null;
  readonly candidates: readonly Candidate[];
  readonly members: readonly Member[];
  readonly control: Control | null;
  /** Past the end of our own claim, while the app stops and the key is released. */
  readonly steppingDown: boolean;
}

export function reportOf(election: Election, ground: Ground, now: Millis): Report {
  const { queue, candidacy } = election;
  const claim = claimOf(election, ground, now);
  const observedAgeMs = queue === null ? null : Math.max(0, now - queue.freshAt);
  const known = observedAgeMs !== null && observedAgeMs < ttlOf(ground);
  const obstacle = obstacleOf(election, now);
  const shown = known && queue !== null ? queue : null;
  return {
    election: election.name,
    id: election.me.id,
    role:
      claim !== null ? 'leader' : !known ? 'unknown' : obstacle !== null ? 'observer' : 'follower',
    obstacle,
    leader: shown === null ? null : leaderReport(election, ground, now, claim !== null),
    token: claim?.token ?? null,
    validUntil: claim?.validUntil ?? now,
    revision: queue?.revision ?? null,
    observedAgeMs,
    candidates: shown?.candidates ?? [],
    members: shown?.members ?? [],
    control: queue?.control ?? null,
    steppingDown: candidacy.kind === 'steppingDown' || candidacy.kind === 'releasing',
  };
}

function leaderReport(
  election: Election,
  { held, timing }: Ground,
  now: Millis,
  weLead: boolean,
): LeaderReport | null {
  const { queue, me } = election;
  const first = queue === null ? null : leaderOf(queue);
  if (queue === null || first === null) return null;
  // Ours without a claim: stepping down, waiting out a delay, unable to confirm, or of the process that we replaced.
  if ((first.leaseId === held?.leaseId || first.id === me.id) && !weLead) return null;
  const { id, address, url, since, native } = first;
  // One of ours that has not said that it leads waits out the delay that it shares with us.
  const says = weLead || !native || since !== null;
  if (!says && eligibleAt(election, timing).some((at) => now < at)) return null;
  const token = fencingToken(first.createRevision);
  return { id, address, url, token, since, seenAt: queue.leaderSeenAt };
}
