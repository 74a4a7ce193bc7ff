// The level-triggered part of a candidacy: every round asks etcd afresh, and puts right what is missing there. It makes no
// transition; decide.ts does.
import { ttlOf, type Election, type ElectionEffect, type Ground } from './candidacy.ts';
import type { Candidate, Millis } from './model.ts';
import { leaderOf } from './queue.ts';
import type { Lease } from './session.ts';
import { nextRoundMs } from './timing.ts';

/** A state on its way to being settled, and what it has asked for so far. */
export interface Draft {
  readonly election: Election;
  readonly effects: readonly ElectionEffect[];
}

/** Asks, enrolls and proclaims where that is due. */
export function rounds({ election, effects }: Draft, ground: Ground, now: Millis): Draft {
  if (election.candidacy.kind === 'stopped') return { election, effects };
  const due = now >= election.observeAt;
  const ttlMs = ttlOf(ground);
  const stale = election.queue === null || now >= election.queue.freshAt + ttlMs;
  const observeAt = due ? now + nextRoundMs(ttlMs, stale) : election.observeAt;
  const observing: readonly ElectionEffect[] = due ? [{ kind: 'observe' }] : [];
  const { held } = ground;
  const enrolling = held !== null && now < held.leadUntil && needsEnrolling(election, held, due);
  const enrolled = enrolling
    ? { generation: held.generation, healthy: election.appHealthy }
    : election.enrolled;
  const draft = {
    election: { ...election, observeAt, enrolled, preferred: preferredTo(election, now) },
    effects: [...effects, ...observing, ...(enrolling ? [enroll(election, held)] : [])],
  };
  return proclaiming(draft, ground, now);
}

/** The healthy candidate of highest priority above ours, the first in the queue among equals. */
function preferredTo({ queue, me, preferred }: Election, now: Millis): Election['preferred'] {
  if (queue === null) return null;
  const healthy = ({ id, leaseId }: Candidate): boolean =>
    queue.members.some((one) => one.id === id && one.leaseId === leaseId && one.healthy);
  const [best] = queue.candidates
    .filter((one) => one.native && one.priority > me.priority && healthy(one))
    .sort((a, b) => b.priority - a.priority);
  if (best === undefined) return null;
  const { createRevision } = best;
  return preferred?.createRevision === createRevision ? preferred : { createRevision, since: now };
}

const enroll = ({ me, appHealthy: healthy }: Election, { leaseId }: Lease): ElectionEffect => ({
  kind: 'enroll',
  member: { ...me, leaseId, healthy },
});

/** Says that we lead, and says it again where etcd does not show it: then it was lost on the way. */
function proclaiming({ election, effects }: Draft, ground: Ground, now: Millis): Draft {
  const { candidacy, queue, me } = election;
  if (candidacy.kind !== 'leading' || queue === null || now < candidacy.proclaimAt) {
    return { election, effects };
  }
  const { own, term } = candidacy;
  const proclaimAt = now + nextRoundMs(ttlOf(ground), false);
  const shown = leaderOf(queue)?.since !== null;
  return {
    election: { ...election, candidacy: { ...candidacy, proclaimAt } },
    effects: shown ? effects : [...effects, { kind: 'proclaim', own, term, me }],
  };
}

/** At once when something changed; else once a round, where etcd does not show what we wrote. */
function needsEnrolling(
  { enrolled, appHealthy, queue, me }: Election,
  held: Lease,
  due: boolean,
): boolean {
  if (enrolled?.generation !== held.generation || enrolled.healthy !== appHealthy) return true;
  if (!due || queue === null) return false;
  const shown = queue.members.find((member) => member.id === me.id);
  return shown?.leaseId !== held.leaseId || shown.healthy !== appHealthy;
}
