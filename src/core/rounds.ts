// The level-triggered part of a candidacy: every round asks etcd afresh, and puts right what is missing there. It makes no
// transition; decide.ts does.
import {
  ttlOf,
  waitFor,
  type Candidacy,
  type CandidacyEffect,
  type Draft,
  type Ground,
} from './candidacy.ts';
import { failover } from './failover.ts';
import type { Candidate, Millis } from './model.ts';
import { leaderOf } from './queue.ts';
import type { Lease } from './session.ts';
import { askAgainMs } from './evidence.ts';
import { nextRoundMs, roundEveryMs } from './timing.ts';

/** Asks, enrolls and proclaims where that is due. */
export function rounds({ candidacy, effects }: Draft, ground: Ground, now: Millis): Draft {
  if (candidacy.phase.kind === 'stopped') return { candidacy, effects };
  const due = now >= candidacy.observeAt;
  const ttlMs = ttlOf(ground);
  const stale = candidacy.queue === null || now >= candidacy.queue.freshAt + ttlMs;
  const observeAt = due ? now + nextRoundMs(ttlMs, stale) : candidacy.observeAt;
  const observing: readonly CandidacyEffect[] = due ? [{ kind: 'observe' }] : [];
  const { held } = ground;
  const enrolling = held !== null && now < held.leadUntil && needsEnrolling(candidacy, held, due);
  const enrolled = enrolling
    ? { generation: held.generation, healthy: candidacy.appHealthy }
    : candidacy.enrolled;
  const draft = {
    candidacy: {
      ...candidacy,
      queue: withoutPast(candidacy, ground, now),
      observeAt,
      enrolled,
      preferred: preferredTo(candidacy, now),
    },
    effects: [...effects, ...observing, ...(enrolling ? [enroll(candidacy, held)] : [])],
  };
  const asked = asking(draft, ground, now);
  return failover(conceding(proclaiming(asked, ground, now), ground, now), ground, now);
}

/** Losses that nobody waits for any more are forgotten. */
function withoutPast({ queue }: Candidacy, ground: Ground, now: Millis): Candidacy['queue'] {
  if (queue === null || queue.losses.length === 0) return queue;
  const losses = queue.losses.filter((loss) => (waitFor(loss, ground) ?? now) > now);
  return losses.length === queue.losses.length ? queue : { ...queue, losses };
}

/** How many places ahead of one's own are asked about: the leader, and whoever leads next if both vanish together. */
const placesAsked = 2;

/** Asks how long the leases of those ahead may last, so that it is known how they ended when their keys go. */
function asking({ candidacy, effects }: Draft, ground: Ground, now: Millis): Draft {
  const { phase, queue, evidence } = candidacy;
  if (now < candidacy.askAt || ground.timing.takeoverDelayMs !== 'evidence') {
    return { candidacy, effects };
  }
  const ttlMs = ttlOf(ground);
  const place =
    phase.kind !== 'waiting' || queue === null
      ? -1
      : queue.candidates.findIndex((one) => one.createRevision === phase.own.createRevision);
  const ahead = place > placesAsked ? [] : (queue?.candidates.slice(0, Math.max(0, place)) ?? []);
  const leases = ahead.filter(({ native }) => native).map(({ leaseId }) => leaseId);
  const known = evidence.filter(({ leaseId }) => leases.includes(leaseId));
  const about = leases.map((lease) => known.find(({ leaseId }) => leaseId === lease));
  const againMs = Math.min(roundEveryMs(ttlMs), ...about.map((one) => askAgainMs(one, ttlMs, now)));
  const ask: readonly CandidacyEffect[] =
    leases.length === 0 ? [] : [{ kind: 'askTimeToLive', leases: [...new Set(leases)] }];
  return {
    candidacy: { ...candidacy, evidence: known, askAt: now + againMs },
    effects: [...effects, ...ask],
  };
}

/** The healthy candidate of highest priority above ours, the first in the queue among equals. */
function preferredTo({ queue, me, preferred }: Candidacy, now: Millis): Candidacy['preferred'] {
  if (queue === null) return null;
  const healthy = ({ id, leaseId }: Candidate): boolean =>
    queue.members.some((one) => one.id === id && one.leaseId === leaseId && one.healthy);
  const [best] = queue.candidates
    .filter((one) => one.native && one.priority > me.priority && healthy(one))
    .sort((a, b) => b.priority - a.priority);
  if (best === undefined) return null;
  const { id, createRevision } = best;
  return preferred?.createRevision === createRevision
    ? preferred
    : { id, createRevision, since: now };
}

function enroll({ me, appHealthy: healthy }: Candidacy, { leaseId }: Lease): CandidacyEffect {
  const { id, address, url, priority, version, checked } = me;
  const member = { id, address, url, priority, version, checked, leaseId, healthy };
  return { kind: 'enroll', member };
}

/** Says that we lead, and says it again where etcd does not show it: then it was lost on the way. */
function proclaiming({ candidacy, effects }: Draft, ground: Ground, now: Millis): Draft {
  const { phase, queue, me } = candidacy;
  if (phase.kind !== 'leading' || queue === null || now < phase.proclaimAt) {
    return { candidacy, effects };
  }
  const { own, term } = phase;
  const proclaimAt = now + nextRoundMs(ttlOf(ground), false);
  const shown = leaderOf(queue)?.since !== null;
  return {
    candidacy: { ...candidacy, phase: { ...phase, proclaimAt } },
    effects: shown ? effects : [...effects, { kind: 'proclaim', own, term, me }],
  };
}

/** Says that our claim has ended, while our key has to stay; says it again likewise. */
function conceding({ candidacy, effects }: Draft, ground: Ground, now: Millis): Draft {
  const { phase, queue, me } = candidacy;
  if (phase.kind !== 'steppingDown' || queue === null || now < phase.concedeAt) {
    return { candidacy, effects };
  }
  const { own, ending } = phase;
  const { term, cause, endedAt } = ending;
  const concession = { cause, endedAgoMs: now - endedAt };
  const concedeAt = now + nextRoundMs(ttlOf(ground), false);
  const shown = leaderOf(queue)?.conceded !== null;
  return {
    candidacy: { ...candidacy, phase: { ...phase, concedeAt } },
    effects: shown ? effects : [...effects, { kind: 'concede', own, term, concession, me }],
  };
}

/** At once when something changed; else once a round, where etcd does not show what we wrote. */
function needsEnrolling(
  { enrolled, appHealthy, queue, me }: Candidacy,
  held: Lease,
  due: boolean,
): boolean {
  if (enrolled?.generation !== held.generation || enrolled.healthy !== appHealthy) return true;
  if (!due || queue === null) return false;
  const shown = queue.members.find((member) => member.id === me.id);
  return shown?.leaseId !== held.leaseId || shown.healthy !== appHealthy;
}
