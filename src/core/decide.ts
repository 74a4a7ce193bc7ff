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
  type Candidacy,
  type Election,
  type ElectionEffect,
  type Ending,
  type Ground,
  type OwnKey,
  type Term,
} from './candidacy.ts';
import type { Candidate, Cause, Handover, MemberId, Millis } from './model.ts';
import { fencingToken } from './model.ts';
import { failbackReason, leaderOf, ownOf, type Queue } from './queue.ts';
import { rounds, type Draft } from './rounds.ts';
import { badTermMs, proclaimAfterMs, standBackMs } from './timing.ts';

/** A decision may enable the next one; the longest chain is lapse, release, rejoin, lead. */
const decisionsPerStep = 8;

/** Decides until nothing is left to decide. */
export function settle(draft: Draft, ground: Ground, now: Millis): Draft {
  let { election, effects } = draft;
  for (let count = 0; count < decisionsPerStep; count += 1) {
    const decision = decide(election, ground, now);
    if (decision === null) return rounds({ election, effects }, ground, now);
    const after = { ...election, ...decision.changed, candidacy: decision.candidacy };
    effects = [...effects, ...decision.effects, ...effectsOf(after, ground)];
    election = after;
  }
  throw new AssertionFailure(`an election settles, but not when ${election.candidacy.kind}`);
}

/** The next candidacy, and what the transition itself sets in motion. */
interface Decision {
  readonly candidacy: Candidacy;
  readonly changed: Partial<Election>;
  readonly effects: readonly ElectionEffect[];
}

const to = (
  candidacy: Candidacy,
  effects: readonly ElectionEffect[] = [],
  changed: Partial<Election> = {},
): Decision => ({ candidacy, changed, effects });

function decide(election: Election, ground: Ground, now: Millis): Decision | null {
  const { candidacy } = election;
  switch (candidacy.kind) {
    case 'idle':
      return decideIdle(election, candidacy, ground, now);
    case 'joining':
      if (election.stopping) return to({ kind: 'stopped' });
      return ground.held?.generation === candidacy.generation ? null : to(idle(now));
    case 'waiting':
      return decideWaiting(election, candidacy, ground, now);
    case 'leading':
      return decideLeading(election, candidacy, ground, now);
    case 'steppingDown':
      return decideSteppingDown(election, candidacy, ground, now);
    case 'releasing':
      return decideReleasing(election, candidacy, ground, now);
    case 'stopped':
      return null;
    default:
      return assertNever(candidacy);
  }
}

type In<Kind extends Candidacy['kind']> = Extract<Candidacy, { kind: Kind }>;

/** False once the key cannot exist any more: its lease was given up, or a later revision does not have it. */
function keyExists({ queue }: Election, own: OwnKey, { held }: Ground): boolean {
  if (held?.generation !== own.generation) return false;
  if (queue === null || queue.revision < own.createRevision) return true;
  return queue.candidates.some((candidate) => candidate.createRevision === own.createRevision);
}

function decideIdle(
  election: Election,
  candidacy: In<'idle'>,
  { held }: Ground,
  now: Millis,
): Decision | null {
  if (election.stopping) return to({ kind: 'stopped' });
  if (held === null || now >= held.leadUntil) return null;
  if (obstacleOf(election, now) === null) {
    const { failures } = candidacy;
    const { generation } = held;
    return now >= candidacy.joinAt ? to({ kind: 'joining', generation, failures }) : null;
  }
  // A request to join that was given up for lost may still have arrived.
  const stray = election.queue === null ? null : ownOf(election.queue, held.leaseId);
  return stray === null
    ? null
    : to(
        withdraw({
          generation: held.generation,
          leaseId: held.leaseId,
          createRevision: stray.createRevision,
        }),
      );
}

function decideWaiting(
  election: Election,
  { own }: In<'waiting'>,
  ground: Ground,
  now: Millis,
): Decision | null {
  if (election.stopping) return to({ kind: 'stopped' });
  if (!keyExists(election, own, ground)) return to(idle(now));
  if (obstacleOf(election, now) !== null) return to(withdraw(own));
  const token = fencingToken(own.createRevision);
  // A key from before our newest term: the request that deleted it has not been heard of. Never claim it again.
  if (election.lastToken !== null && token <= election.lastToken) return to(withdraw(own));
  const { queue } = election;
  if (queue === null || leaderOf(queue)?.createRevision !== own.createRevision) return null;
  if (now >= boundOf(election, ground)) return null;
  if (eligibleAt(election, ground.timing).some((at) => now < at)) return null;
  const { predecessor } = queue;
  const leaderlessMs = predecessor?.seen === true ? now - predecessor.goneAt : null;
  const term = { token, since: now, leaderlessMs };
  const proclaimAt = now + proclaimAfterMs;
  return to(
    { kind: 'leading', own, term, holdUntil: now, proclaimAt, asked: null },
    [{ kind: 'elected', own, term }],
    { lastToken: token },
  );
}

function decideLeading(
  election: Election,
  candidacy: In<'leading'>,
  ground: Ground,
  now: Millis,
): Decision | null {
  const { own, term } = candidacy;
  if (ground.held?.generation !== own.generation) return lost(now, term, 'lease_expired');
  if (!keyExists(election, own, ground)) return lost(now, term, 'key_deleted');
  const leader = election.queue === null ? null : leaderOf(election.queue);
  assert(
    leader?.createRevision === own.createRevision,
    'nobody gets ahead of a key that is first in the queue',
  );
  const bound = boundOf(election, ground);
  if (now >= bound - ground.timing.stopLeadMs) {
    return stepDown(election, own, endingOf(term, now, 'etcd_unreachable'), now, bound);
  }
  // A hold is a promise to the app; an app that is gone has no use for it.
  if (now < candidacy.holdUntil && candidacy.asked?.cause !== 'app_exited') return null;
  const ending = voluntaryEnding(election, candidacy, ground, now);
  return ending === null ? null : stepDown(election, own, ending, now, now + ground.timing.graceMs);
}

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
  ...more,
});

/** What ends a term by our own decision, the most pressing first. */
function voluntaryEnding(
  election: Election,
  { own, term, asked }: In<'leading'>,
  ground: Ground,
  now: Millis,
): Ending | null {
  const { queue, preferred } = election;
  if (election.stopping) return endingOf(term, now, 'stopping');
  if (asked !== null) return { term, endedAt: now, ...asked };
  if (!appMayLead(election)) return endingOf(term, now, 'app_unhealthy');
  if (queue === null) return null;
  const request = queue.switchover;
  if (request?.token === term.token && mayTakeOver(queue, own, request.to)) {
    const { to, reason, actor } = request;
    return endingOf(term, now, 'switchover', { to, reason, actor });
  }
  if (preferred === null || now < failbackAt(election, preferred, ground)) return null;
  const successor = queue.candidates.find(
    (each) => each.createRevision === preferred.createRevision,
  );
  if (successor === undefined || !mayTakeOver(queue, own, successor.id)) return null;
  return endingOf(term, now, 'switchover', { to: successor.id, reason: failbackReason });
}

/** Where a member stands, by its newest key: an older one is what a process that is no more has left. */
const placeOf = ({ candidates }: Queue, id: MemberId): number =>
  candidates.findLastIndex((candidate) => candidate.id === id);

/** A successor can be named if it stands in the queue and nobody foreign, who would not understand, stands before it. */
function mayTakeOver(queue: Queue, own: OwnKey, id: MemberId): boolean {
  const place = placeOf(queue, id);
  const passed = queue.candidates.slice(1, place + 1);
  return (
    place > 0 &&
    leaderOf(queue)?.createRevision === own.createRevision &&
    passed.every((candidate) => candidate.native)
  );
}

/** The key is gone already: there is nothing to release and no time left to stop in. */
const lost = (now: Millis, term: Term, cause: Cause): Decision =>
  to(idle(now), [
    { kind: 'ended', term, cause, reason: null, mustStopBy: now },
    { kind: 'cutOff', term },
  ]);

/** Ends the claim now; the key is released once the app has stopped. */
function stepDown(
  election: Election,
  own: OwnKey,
  ending: Ending,
  now: Millis,
  until: Millis,
): Decision {
  const { term, cause, reason } = ending;
  return to(
    { kind: 'steppingDown', own, ending, quiesced: !election.quiesces, until },
    [{ kind: 'ended', term, cause, reason, mustStopBy: until }],
    afterwards(election, term, cause, now),
  );
}

/** Who loses a term soon to its own app's fault stands back for a while before it tries again. */
function afterwards(
  { badTerms, standBackUntil }: Election,
  term: Term,
  cause: Cause,
  now: Millis,
): Partial<Election> {
  const appsFault = cause === 'app_unhealthy' || cause === 'app_exited';
  if (!appsFault || now - term.since >= badTermMs) return { badTerms: 0 };
  const count = badTerms + 1;
  return { badTerms: count, standBackUntil: Math.max(standBackUntil, now + standBackMs(count)) };
}

const release = (own: OwnKey, ending: Ending | null): Candidacy => ({
  kind: 'releasing',
  own,
  ending,
  failures: 0,
  retryAt: null,
});

const withdraw = (own: OwnKey): Candidacy => release(own, null);

function decideSteppingDown(
  election: Election,
  candidacy: In<'steppingDown'>,
  ground: Ground,
  now: Millis,
): Decision | null {
  const { own, ending, quiesced, until } = candidacy;
  const cutOff: readonly ElectionEffect[] = quiesced ? [] : [{ kind: 'cutOff', term: ending.term }];
  if (!keyExists(election, own, ground)) return to(idle(now), cutOff);
  if (quiesced) return to(release(own, ending));
  const overdue = now >= until || now >= boundOf(election, ground);
  return overdue ? to(release(own, ending), cutOff) : null;
}

function decideReleasing(
  election: Election,
  candidacy: In<'releasing'>,
  ground: Ground,
  now: Millis,
): Decision | null {
  if (!keyExists(election, candidacy.own, ground)) return to(idle(now));
  if (candidacy.retryAt === null || now < candidacy.retryAt) return null;
  // While stopping, one failed attempt is enough once the grace is over or etcd is out of reach: the lease ends the key.
  const giveUpAt = (candidacy.ending?.endedAt ?? now) + ground.timing.graceMs;
  if (election.stopping && now >= Math.min(giveUpAt, boundOf(election, ground))) {
    return to({ kind: 'stopped' });
  }
  return to({ ...candidacy, retryAt: null });
}

// What a candidacy asks of etcd when it begins.

function effectsOf(election: Election, { held }: Ground): readonly ElectionEffect[] {
  const { candidacy, me } = election;
  if (candidacy.kind === 'joining') {
    assert(held !== null, 'joining needs a lease');
    return [{ kind: 'join', generation: candidacy.generation, leaseId: held.leaseId, me }];
  }
  if (candidacy.kind === 'releasing') {
    const { own, ending } = candidacy;
    const handover = recordOf(election, ending);
    const bypassed = bypassedBy(election, ending);
    return [{ kind: 'release', own, handover, ending, bypassed }];
  }
  return [];
}

/** Those between us and the successor that was named, as the queue stands now. */
function bypassedBy({ queue }: Election, ending: Ending | null): readonly Candidate[] {
  if (queue === null || ending === null || ending.to === null) return [];
  const successor = placeOf(queue, ending.to);
  return successor < 1 ? [] : queue.candidates.slice(1, successor);
}

const recordOf = ({ me, queue }: Election, ending: Ending | null): Handover | null =>
  ending === null
    ? null
    : {
        from: me.id,
        token: ending.term.token,
        cause: ending.cause,
        // Who is not in the queue any more cannot be the successor.
        to:
          queue !== null && ending.to !== null && placeOf(queue, ending.to) > 0 ? ending.to : null,
        reason: ending.reason,
        actor: ending.actor,
      };
