// Every transition of a candidacy: what follows from what is known, the lease and the time. Repeated until nothing
// is left to decide, so that a change is acted upon completely in the step that brings it.
import { assert, AssertionFailure, assertNever } from './assert.ts';
import {
  appMayLead,
  boundOf,
  eligibleAt,
  failbackAt,
  idle,
  obstacleOf,
  ttlOf,
  type Phase,
  type Candidacy,
  type CandidacyEffect,
  type Draft,
  type Ending,
  type Ground,
  type OwnKey,
  type Term,
} from './candidacy.ts';
import { correctionOf } from './correction.ts';
import type { Cause, Handover, MemberId, Millis } from './model.ts';
import { fencingToken } from './model.ts';
import { leaderOf, ownOf, successionOf, timeBefore, type Succession } from './queue.ts';
import { rounds } from './rounds.ts';
import { newShortLease, shortBoundOf } from './short-lease.ts';
import {
  badTermMs,
  concedeAfterMs,
  mostReleaseFailures,
  mostSuccessionFailures,
  proclaimAfterMs,
  roundEveryMs,
  standBackMs,
} from './timing.ts';

/** A decision may enable the next one; the longest chain is lapse, release, rejoin, lead. */
const decisionsPerStep = 8;

/** Decides until nothing is left to decide. */
export function settle(draft: Draft, ground: Ground, now: Millis): Draft {
  let { candidacy, effects } = draft;
  for (let count = 0; count < decisionsPerStep; count += 1) {
    const decision = decide(candidacy, ground, now);
    if (decision === null) return rounds({ candidacy, effects }, ground, now);
    const after = { ...candidacy, ...decision.changed, phase: decision.phase };
    effects = [...effects, ...decision.effects, ...effectsOf(after, ground, now)];
    candidacy = after;
  }
  throw new AssertionFailure(`an election settles, but not when ${candidacy.phase.kind}`);
}

/** The next candidacy, and what the transition itself sets in motion. */
interface Decision {
  readonly phase: Phase;
  readonly changed: Partial<Candidacy>;
  readonly effects: readonly CandidacyEffect[];
}

const to = (
  phase: Phase,
  effects: readonly CandidacyEffect[] = [],
  changed: Partial<Candidacy> = {},
): Decision => ({ phase, changed, effects });

function decide(candidacy: Candidacy, ground: Ground, now: Millis): Decision | null {
  const { phase } = candidacy;
  switch (phase.kind) {
    case 'idle':
      return decideIdle(candidacy, phase, ground, now);
    case 'joining':
      if (candidacy.stopping) return to({ kind: 'stopped' });
      return ground.held?.generation === phase.generation ? null : to(idle(now));
    case 'waiting':
      return decideWaiting(candidacy, phase, ground, now);
    case 'leading':
      return decideLeading(candidacy, phase, ground, now);
    case 'steppingDown':
      return decideSteppingDown(candidacy, phase, ground, now);
    case 'releasing':
      return decideReleasing(candidacy, phase, ground, now);
    case 'stopped':
      return null;
    default:
      return assertNever(phase);
  }
}

type In<Kind extends Phase['kind']> = Extract<Phase, { kind: Kind }>;

/** False once the key cannot exist any more: its lease was given up, or a later revision does not have it. */
function keyExists({ queue }: Candidacy, own: OwnKey, { held }: Ground): boolean {
  if (held?.generation !== own.generation) return false;
  if (queue === null || queue.revision < own.createRevision) return true;
  return queue.candidates.some((candidate) => candidate.createRevision === own.createRevision);
}

function decideIdle(
  candidacy: Candidacy,
  phase: In<'idle'>,
  { held }: Ground,
  now: Millis,
): Decision | null {
  if (candidacy.stopping) return to({ kind: 'stopped' });
  if (held === null || now >= held.leadUntil) return null;
  if (obstacleOf(candidacy, now) === null) {
    const { failures } = phase;
    const { generation } = held;
    return now >= phase.joinAt ? to({ kind: 'joining', generation, failures }) : null;
  }
  // A request to join that was given up for lost may still have arrived.
  const stray = candidacy.queue === null ? null : ownOf(candidacy.queue, held.leaseId);
  return stray === null
    ? null
    : to(
        withdraw({
          generation: held.generation,
          leaseId: held.leaseId,
          ttlMs: held.ttlMs,
          createRevision: stray.createRevision,
        }),
      );
}

function decideWaiting(
  candidacy: Candidacy,
  { own }: In<'waiting'>,
  ground: Ground,
  now: Millis,
): Decision | null {
  if (candidacy.stopping) return to({ kind: 'stopped' });
  if (!keyExists(candidacy, own, ground)) return to(idle(now));
  if (obstacleOf(candidacy, now) !== null) return to(withdraw(own));
  const token = fencingToken(own.createRevision);
  // A key from before our newest term: the request that deleted it has not been heard of. Never claim it again.
  if (candidacy.lastToken !== null && token <= candidacy.lastToken) return to(withdraw(own));
  const { queue } = candidacy;
  if (queue === null || leaderOf(queue)?.createRevision !== own.createRevision) return null;
  if (now >= boundOf(candidacy, ground)) return null;
  if (eligibleAt(candidacy, ground).some((at) => now < at)) return null;
  const term = { token, since: now, ...timeBefore(queue, now) };
  const proclaimAt = now + proclaimAfterMs;
  const { fastFailoverMs, stopLeadMs } = ground.timing;
  const short =
    fastFailoverMs === null ? null : newShortLease(token, fastFailoverMs, stopLeadMs, now);
  return to(
    { kind: 'leading', own, term, short, heldUntil: now, proclaimAt, asked: null },
    [{ kind: 'elected', own, term }],
    { lastToken: token },
  );
}

function decideLeading(
  candidacy: Candidacy,
  phase: In<'leading'>,
  ground: Ground,
  now: Millis,
): Decision | null {
  const { own, term } = phase;
  if (ground.held?.generation !== own.generation) return lost(now, term, 'lease_expired');
  if (!keyExists(candidacy, own, ground)) return lost(now, term, endOfKey(candidacy, term));
  const leader = candidacy.queue === null ? null : leaderOf(candidacy.queue);
  assert(
    leader?.createRevision === own.createRevision,
    'nobody gets ahead of a key that is first in the queue',
  );
  const bound = boundOf(candidacy, ground);
  const endsAt = bound - ground.timing.stopLeadMs;
  if (now >= endsAt) {
    const stoodStill = now - endsAt > ground.timing.marginMs;
    const ending = endingOf(term, now, whyBounded(phase, bound), { stoodStill });
    return stepDown(candidacy, phase, ending, now, bound);
  }
  const ending = voluntaryEnding(candidacy, phase, ground, now);
  if (ending === null || (now < phase.heldUntil && waitsForHold(ending.cause))) return null;
  return stepDown(candidacy, phase, ending, now, now + ground.timing.graceMs);
}

/** Of our key, which is gone while its lease is not: a witness that deposed us has left a record. */
const endOfKey = ({ queue }: Candidacy, { token }: Term): Cause =>
  queue?.handover?.token === token ? queue.handover.cause : 'key_deleted';

/** Of the two leases the one that ended: etcd's, or the short one, where witnesses were not heard of in time. */
const whyBounded = ({ short }: In<'leading'>, bound: Millis): Cause =>
  short !== null && shortBoundOf(short) === bound ? 'lease_expired' : 'etcd_unreachable';

/**
 * A hold is a promise to the app: the term goes on until it is over. Whoever is asked to stop ends the claim at once and
 * keeps the key instead; an app that is gone has no use for either.
 */
const waitsForHold = (cause: Cause): boolean => cause !== 'app_exited' && cause !== 'stopping';

const endingOf = (
  term: Term,
  endedAt: Millis,
  cause: Cause,
  more: Partial<Ending> = {},
): Ending => ({
  term,
  endedAt,
  cause,
  to: null,
  reason: null,
  actor: null,
  stoodStill: false,
  ...more,
});

/** What ends a term by our own decision, the most pressing first. While there is such an end no hold is extended. */
export function voluntaryEnding(
  candidacy: Candidacy,
  { own, term, asked }: In<'leading'>,
  ground: Ground,
  now: Millis,
): Ending | null {
  const { queue, preferred } = candidacy;
  if (candidacy.stopping) return endingOf(term, now, 'stopping');
  if (asked !== null) return endingOf(term, now, asked.cause, asked);
  if (!appMayLead(candidacy)) return endingOf(term, now, 'app_unhealthy');
  if (queue === null) return null;
  const request = queue.switchover;
  if (request?.token === term.token) {
    const { to, reason, actor } = request;
    const succession = successionOf(queue, own.createRevision, to);
    if (succession !== null) return endingOf(term, now, 'switchover', { to, reason, actor });
  }
  if (preferred === null || now < failbackAt(candidacy, preferred, ground)) return null;
  const succession = successionOf(queue, own.createRevision, preferred.id);
  if (succession?.successor.createRevision !== preferred.createRevision) return null;
  const reason = `${preferred.id}, of higher priority, is ready`;
  return endingOf(term, now, 'failback', { to: preferred.id, reason });
}

/** The key is gone already: there is nothing to release and no time left to stop in. */
const lost = (now: Millis, term: Term, cause: Cause): Decision =>
  to(idle(now), [
    { kind: 'ended', term, cause, reason: null, mustStopBy: now },
    { kind: 'cutOff', term },
  ]);

/** Ends the claim now; the key is released once the app has stopped. */
function stepDown(
  candidacy: Candidacy,
  { own, heldUntil, short }: In<'leading'>,
  ending: Ending,
  now: Millis,
  until: Millis,
): Decision {
  const { term, cause, reason } = ending;
  const keptUntil = cause === 'stopping' ? heldUntil : now;
  const kept = { own, ending, short, keptUntil, until, concedeAt: now + concedeAfterMs };
  return to(
    { kind: 'steppingDown', ...kept, quiesced: !candidacy.quiesces },
    [{ kind: 'ended', term, cause, reason, mustStopBy: until }],
    afterwards(candidacy, term, cause, now),
  );
}

/** Who loses a term soon to its own app's fault stands back for a while before it tries again. */
function afterwards(
  { badTerms, standBackUntil }: Candidacy,
  term: Term,
  cause: Cause,
  now: Millis,
): Partial<Candidacy> {
  const appsFault = cause === 'app_unhealthy' || cause === 'app_exited';
  if (!appsFault || now - term.since >= badTermMs) return { badTerms: 0 };
  const count = badTerms + 1;
  return { badTerms: count, standBackUntil: Math.max(standBackUntil, now + standBackMs(count)) };
}

const release = (own: OwnKey, ending: Ending | null): Phase => ({
  kind: 'releasing',
  own,
  ending,
  failures: 0,
  retryAt: null,
});

const withdraw = (own: OwnKey): Phase => release(own, null);

function decideSteppingDown(
  candidacy: Candidacy,
  phase: In<'steppingDown'>,
  ground: Ground,
  now: Millis,
): Decision | null {
  const { own, ending, quiesced, keptUntil, until } = phase;
  const cutOff: readonly CandidacyEffect[] = quiesced
    ? []
    : [{ kind: 'cutOff', term: ending.term }];
  if (!keyExists(candidacy, own, ground)) {
    return to(idle(now), [...cutOff, ...correctionOf(candidacy, own, ending, now < keptUntil)]);
  }
  if (now >= boundOf(candidacy, ground)) return to(release(own, ending), cutOff);
  if (now < keptUntil) return null;
  if (quiesced) return to(release(own, ending));
  return now >= until ? to(release(own, ending), cutOff) : null;
}

function decideReleasing(
  candidacy: Candidacy,
  phase: In<'releasing'>,
  ground: Ground,
  now: Millis,
): Decision | null {
  if (!keyExists(candidacy, phase.own, ground)) {
    return to(idle(now), correctionOf(candidacy, phase.own, phase.ending));
  }
  if (phase.retryAt === null || now < phase.retryAt) return null;
  // etcd answers our reads and renewals, and yet the key does not go: with the lease it will.
  const hopeless = phase.failures >= mostReleaseFailures && now < boundOf(candidacy, ground);
  if (candidacy.stopping) {
    // One failed attempt is enough once the grace is over or etcd is out of reach: the lease ends the key.
    const giveUpAt = (phase.ending?.endedAt ?? now) + ground.timing.graceMs;
    const overdue = now >= Math.min(giveUpAt, boundOf(candidacy, ground));
    return to(hopeless || overdue ? { kind: 'stopped' } : { ...phase, retryAt: null });
  }
  if (!hopeless) return to({ ...phase, retryAt: null });
  const joinAt = now + roundEveryMs(ttlOf(ground));
  return to(idle(joinAt), [{ kind: 'giveUpLease', generation: phase.own.generation }]);
}

// What a candidacy asks of etcd when it begins.

function effectsOf(
  candidacy: Candidacy,
  { held }: Ground,
  now: Millis,
): readonly CandidacyEffect[] {
  const { phase, me } = candidacy;
  if (phase.kind === 'joining') {
    assert(held !== null, 'joining needs a lease');
    const { generation, leaseId, ttlMs } = held;
    return [{ kind: 'join', lease: { generation, leaseId, ttlMs }, me }];
  }
  if (phase.kind === 'releasing') {
    const { own, ending, failures } = phase;
    // A queue that changes whenever a successor is named in it is not waited for.
    const named = failures < mostSuccessionFailures ? (ending?.to ?? null) : null;
    const succession = successionOf(candidacy.queue, own.createRevision, named);
    return [releaseEffect(candidacy, own, ending, succession, now)];
  }
  return [];
}

function releaseEffect(
  { me }: Candidacy,
  own: OwnKey,
  ending: Ending | null,
  succession: Succession | null,
  now: Millis,
): Extract<CandidacyEffect, { kind: 'release' }> {
  const to = succession?.successor.id ?? null;
  const handover = ending === null ? null : recordOf(me.id, ending, to, now);
  return { kind: 'release', own, handover, ending, succession };
}

const recordOf = (from: MemberId, ending: Ending, to: MemberId | null, now: Millis): Handover => ({
  from,
  token: ending.term.token,
  cause: ending.cause,
  to,
  reason: ending.reason,
  actor: ending.actor,
  endedAgoMs: Math.max(0, now - ending.endedAt),
});

/** Before this the key of a candidacy that ends without any more decisions stays: a hold was promised that is not over. */
export function keptUntilOf({ phase }: Candidacy): Millis {
  if (phase.kind === 'leading') return phase.heldUntil;
  return phase.kind === 'steppingDown' ? phase.keptUntil : Number.NEGATIVE_INFINITY;
}

/**
 * What is still to be released of a candidacy that ends without any more decisions: the key of a term that has begun, with
 * the record of its end; null where there is none, and the end of the lease is enough.
 */
export function hastyReleaseOf(
  candidacy: Candidacy,
  cause: Cause,
  now: Millis,
): Extract<CandidacyEffect, { kind: 'release' }> | null {
  const { phase } = candidacy;
  switch (phase.kind) {
    case 'leading':
      return releaseEffect(candidacy, phase.own, endingOf(phase.term, now, cause), null, now);
    case 'steppingDown':
    case 'releasing':
      return releaseEffect(candidacy, phase.own, phase.ending, null, now);
    case 'idle':
    case 'joining':
    case 'waiting':
    case 'stopped':
      return null;
    default:
      return assertNever(phase);
  }
}
