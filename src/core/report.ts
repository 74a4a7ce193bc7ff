// What may be said about an election at a moment: one pure view that every answer, metric and event is made from.
// It never names a leader on knowledge older than one TTL, and never names ourselves unless we may claim.
import {
  eligibleAt,
  obstacleOf,
  ttlOf,
  waitFor,
  type Candidacy,
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
import { leaderOf, type Predecessor, type Queue } from './queue.ts';
import { witnessesOf } from './short-lease.ts';

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

/** Until when the first in the queue does not lead, and for whose sake. */
export interface Waiting {
  readonly until: Millis;
  /** Who held the term; null where that is not known. */
  readonly id: MemberId | null;
  /** Whether its lease, or its key, was taken away: else the takeover delay is to be waited out in any case. */
  readonly takenAway: boolean;
}

/** How fast failover stands, where it is on. */
export interface FailoverReport {
  /** The short lease, in milliseconds. */
  readonly shortMs: number;
  /** Of our own term: who deposes it when it is not heard of. */
  readonly witnesses: readonly MemberId[];
  /** Whether we depose the term of the leader when it is not heard of. */
  readonly isWitness: boolean;
}

export interface Report {
  readonly election: ElectionName;
  readonly id: MemberId;
  readonly role: Role;
  /** Why this instance does not campaign, null where nothing keeps it from that. */
  readonly obstacle: Obstacle | null;
  /** Until when it does not stand again, because it was told so or lost a term to its own app; null where nothing says so. */
  readonly standsBackUntil: Millis | null;
  readonly leader: LeaderReport | null;
  /** How the last term ended, where nobody leads and we saw its end; null elsewhere. */
  readonly lastEnd: Predecessor | null;
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
  /** First in the queue, and waiting for the holder of a term that ended without a record; null where we are not. */
  readonly waiting: Waiting | null;
  /** Past the end of our own claim, while the app stops and the key is released. */
  readonly steppingDown: boolean;
  /** Who, other than ourselves, has said that its claim has ended while its key is there yet; null where nobody has. */
  readonly leaving: MemberId | null;
  /** Null where fast failover is off. */
  readonly failover: FailoverReport | null;
}

export function reportOf(candidacy: Candidacy, ground: Ground, now: Millis): Report {
  const { queue, phase } = candidacy;
  const claim = claimOf(candidacy, ground, now);
  const observedAgeMs = queue === null ? null : Math.max(0, now - queue.freshAt);
  const known = observedAgeMs !== null && observedAgeMs < ttlOf(ground);
  const obstacle = obstacleOf(candidacy, now);
  const shown = known && queue !== null ? queue : null;
  const leader = shown === null ? null : leaderReport(candidacy, ground, now, claim !== null);
  return {
    election: candidacy.name,
    id: candidacy.me.id,
    role:
      claim !== null ? 'leader' : !known ? 'unknown' : obstacle !== null ? 'observer' : 'follower',
    obstacle,
    standsBackUntil: now < candidacy.standBackUntil ? candidacy.standBackUntil : null,
    leader,
    lastEnd: shown === null || leader !== null ? null : lastEndOf(candidacy),
    token: claim?.token ?? null,
    validUntil: claim?.validUntil ?? now,
    revision: queue?.revision ?? null,
    observedAgeMs,
    candidates: shown?.candidates ?? [],
    members: shown?.members ?? [],
    control: queue?.control ?? null,
    waiting: waitingOf(candidacy, ground, now),
    steppingDown: phase.kind === 'steppingDown' || phase.kind === 'releasing',
    leaving: shown === null ? null : leavingOf(shown, candidacy),
    failover: failoverReport(candidacy, ground),
  };
}

/** The end of a term is not in the queue before its key is gone: of our own we know, another's leader may have conceded it. */
function lastEndOf({ phase, queue }: Candidacy): Predecessor | null {
  if (phase.kind === 'leading' || queue === null) return null;
  const isOurs = phase.kind === 'steppingDown' || phase.kind === 'releasing';
  if (isOurs && phase.ending !== null) {
    const { term, endedAt, cause } = phase.ending;
    return { token: term.token, goneAt: endedAt, aliveAt: endedAt, cause };
  }
  const first = leaderOf(queue);
  const { concededAt: at } = queue;
  if (first === null || first.conceded === null || at === null) return queue.predecessor;
  const token = fencingToken(first.createRevision);
  return { token, goneAt: at, aliveAt: at, cause: first.conceded.cause };
}

function leavingOf(queue: Queue, { me }: Candidacy): MemberId | null {
  const first = leaderOf(queue);
  return first === null || first.conceded === null || first.id === me.id ? null : first.id;
}

function failoverReport({ phase, queue }: Candidacy, { timing }: Ground): FailoverReport | null {
  const { fastFailoverMs: shortMs } = timing;
  if (shortMs === null) return null;
  const counting = phase.kind === 'leading' && phase.short !== null ? witnessesOf(phase.short) : [];
  const witnesses = (queue?.candidates ?? [])
    .filter(({ createRevision }) => counting.includes(createRevision))
    .map(({ id }) => id);
  const isWitness = phase.kind === 'waiting' && (phase.vigil?.enlisted ?? null) !== null;
  return { shortMs, witnesses, isWitness };
}

function waitingOf(candidacy: Candidacy, ground: Ground, now: Millis): Waiting | null {
  const { phase, queue } = candidacy;
  if (phase.kind !== 'waiting' || queue === null) return null;
  if (leaderOf(queue)?.createRevision !== phase.own.createRevision) return null;
  let waiting: Waiting | null = null;
  for (const loss of queue.losses) {
    const until = waitFor(loss, ground) ?? now;
    if (until <= now || (waiting !== null && until <= waiting.until)) continue;
    waiting = { until, id: loss.id, takenAway: loss.verdict === 'taken_away' };
  }
  return waiting;
}

function leaderReport(
  candidacy: Candidacy,
  ground: Ground,
  now: Millis,
  weLead: boolean,
): LeaderReport | null {
  const { queue, me } = candidacy;
  const first = queue === null ? null : leaderOf(queue);
  if (queue === null || first === null) return null;
  // It says itself that it claims nothing any more.
  if (first.conceded !== null && !weLead) return null;
  // Ours without a claim: stepping down, waiting out a delay, unable to confirm, or of the process that we replaced.
  if ((first.leaseId === ground.held?.leaseId || first.id === me.id) && !weLead) return null;
  const { id, address, url, since, native } = first;
  // One of ours that has not said that it leads waits as we would, and also for a term of ours that was taken away.
  const says = weLead || !native || since !== null;
  const waits = (): boolean =>
    [...eligibleAt(candidacy, ground), ...othersWaitUntil(candidacy, ground)].some(
      (at) => now < at,
    );
  if (!says && waits()) return null;
  const token = fencingToken(first.createRevision);
  return { id, address, url, token, since, seenAt: queue.leaderSeenAt };
}

/** Until when others may wait for us, whose newest term was taken away; nobody waits for himself. */
function othersWaitUntil({ queue, lastToken }: Candidacy, ground: Ground): readonly Millis[] {
  const predecessor = queue?.predecessor ?? null;
  const isOurs = predecessor !== null && predecessor.token === lastToken;
  if (!isOurs || predecessor.cause !== 'taken_away') return [];
  return ground.timing.takeoverDelayMs === 0 ? [] : [predecessor.goneAt + ttlOf(ground)];
}
