// One candidacy in one election as a pure machine. Events only add to what is known; every transition is made by
// `settle`, from what is known, the lease and the time. It promises that a term is claimed only while our key is
// first in the queue, the lease may be relied upon, and a linearizable read confirmed both within one TTL; and
// that the key is released only after the claim has ended. It does not talk to anybody.
import { assert, assertNever } from './assert.ts';
import {
  boundOf,
  eligibleAt,
  failbackAt,
  idle,
  ttlOf,
  type Election,
  type ElectionEffect,
  type ElectionEvent,
  type Ground,
} from './candidacy.ts';
import { settle } from './decide.ts';
import type { FencingToken, Millis } from './model.ts';
import { adopt, apply, forget } from './queue.ts';
import { retryDelayMs, type Timing } from './timing.ts';

export interface ElectionStep {
  readonly election: Election;
  readonly effects: readonly ElectionEffect[];
}

/** A claim that may be made now: the term and until when it may be believed. */
export interface Claim {
  readonly token: FencingToken;
  readonly since: Millis;
  readonly validUntil: Millis;
}

/** For how long from `now` nothing ends our term of its own accord, in milliseconds; 0 where nothing is held. */
export function heldForMs(election: Election, ground: Ground, now: Millis): number {
  const claim = claimOf(election, ground, now);
  if (claim === null || election.candidacy.kind !== 'leading') return 0;
  return Math.max(0, Math.min(election.candidacy.holdUntil, claim.validUntil) - now);
}

/**
 * The claim of this instance at `now`, or null. Asked at the moment of answering, so that a process that was
 * paused for an hour cannot answer from before the pause.
 */
export function claimOf(election: Election, ground: Ground, now: Millis): Claim | null {
  const { candidacy } = election;
  if (candidacy.kind !== 'leading') return null;
  if (ground.held?.generation !== candidacy.own.generation) return null;
  const validUntil = boundOf(election, ground) - ground.timing.stopLeadMs;
  const { token, since } = candidacy.term;
  return now < validUntil ? { token, since, validUntil } : null;
}

export function stepElection(
  election: Election,
  event: ElectionEvent,
  ground: Ground,
  now: Millis,
): ElectionStep {
  // What the clock has ended is ended first: a late answer cannot bring a term back to life.
  const before = settle({ election, effects: [] }, ground, now);
  const learned = learn(before.election, event, now, ground.timing);
  return settle({ election: learned, effects: before.effects }, ground, now);
}

/** When the machine, settled at `now`, wants a tick: of all times that matter, the first that is to come. */
export function wakeElectionAt(election: Election, ground: Ground, now: Millis): Millis {
  if (election.candidacy.kind === 'stopped') return Number.POSITIVE_INFINITY;
  const times = [election.observeAt, election.standBackUntil, ...wakeCandidacyAt(election, ground)];
  // The moments from which a name may be that of a dead leader, or be named at all: what is told to others changes then.
  if (election.queue !== null) times.push(election.queue.freshAt + ttlOf(ground));
  times.push(...eligibleAt(election, ground.timing));
  return Math.min(...times.filter((time) => time > now));
}

function wakeCandidacyAt(election: Election, ground: Ground): readonly Millis[] {
  const { candidacy } = election;
  switch (candidacy.kind) {
    case 'idle':
      return [candidacy.joinAt];
    case 'leading':
      return [
        boundOf(election, ground) - ground.timing.stopLeadMs,
        candidacy.holdUntil,
        candidacy.proclaimAt,
        ...(election.preferred === null ? [] : [failbackAt(election, election.preferred, ground)]),
      ];
    case 'steppingDown':
      return [candidacy.until, boundOf(election, ground)];
    case 'releasing':
      return candidacy.retryAt === null ? [] : [candidacy.retryAt];
    case 'joining':
    case 'waiting':
    case 'stopped':
      return [];
    default:
      return assertNever(candidacy);
  }
}

// What an event teaches us. No transition but those that are answers to our own requests.

function learn(election: Election, event: ElectionEvent, now: Millis, timing: Timing): Election {
  switch (event.kind) {
    case 'tick':
      return election;
    case 'observed':
      return { ...election, queue: adopt(election.queue, event.snapshot, event.sentAt, now) };
    case 'changed': {
      const { queue } = election;
      return queue === null ? election : { ...election, queue: apply(queue, event.change, now) };
    }
    case 'joined':
      return onJoined(election, event, now);
    case 'joinFailed':
      return onJoinFailed(election, event, now, timing);
    case 'released':
    case 'releaseFailed':
      return onReleased(election, event, now, timing);
    case 'quiesced':
      return onQuiesced(election, event.token);
    case 'hold':
      return onHold(election, event.until);
    case 'appHealth':
      return { ...election, appHealthy: event.healthy };
    case 'stepDown':
      return onStepDown(election, event);
    case 'stop':
      return { ...election, stopping: true };
    default:
      return assertNever(event);
  }
}

type Of<Kind extends ElectionEvent['kind']> = Extract<ElectionEvent, { kind: Kind }>;

function onJoined(election: Election, event: Of<'joined'>, now: Millis): Election {
  const queue = adopt(election.queue, event.snapshot, event.sentAt, now);
  const { candidacy } = election;
  if (candidacy.kind !== 'joining' || candidacy.generation !== event.generation) {
    return { ...election, queue };
  }
  const own = event.snapshot.candidates.find(
    (candidate) => candidate.createRevision === event.createRevision,
  );
  assert(own !== undefined, 'a snapshot taken by joining contains the key that joined');
  const { generation, createRevision } = event;
  const key = { generation, leaseId: own.leaseId, createRevision };
  return { ...election, queue, candidacy: { kind: 'waiting', own: key } };
}

function onJoinFailed(
  election: Election,
  event: Of<'joinFailed'>,
  now: Millis,
  timing: Timing,
): Election {
  const { candidacy } = election;
  if (candidacy.kind !== 'joining' || candidacy.generation !== event.generation) return election;
  const failures = candidacy.failures + 1;
  const joinAt = now + retryDelayMs(failures, timing.ttlMs, event.jitter);
  return { ...election, candidacy: { kind: 'idle', joinAt, failures } };
}

function onReleased(
  election: Election,
  event: Of<'released'> | Of<'releaseFailed'>,
  now: Millis,
  timing: Timing,
): Election {
  const { candidacy } = election;
  if (candidacy.kind !== 'releasing' || candidacy.own.createRevision !== event.createRevision) {
    return election;
  }
  if (event.kind === 'released') {
    const { queue } = election;
    const led = candidacy.ending !== null;
    const after = queue === null ? null : forget(queue, event.createRevision, led, now);
    return { ...election, queue: after, candidacy: idle(now) };
  }
  const failures = candidacy.failures + 1;
  const retryAt = now + retryDelayMs(failures, timing.ttlMs, event.jitter);
  return { ...election, candidacy: { ...candidacy, failures, retryAt } };
}

function onQuiesced(election: Election, token: FencingToken): Election {
  const { candidacy } = election;
  if (candidacy.kind !== 'steppingDown' || candidacy.ending.term.token !== token) return election;
  return { ...election, candidacy: { ...candidacy, quiesced: true } };
}

/** A hold is granted only to a leader, and not any more once it was asked to step down: that would never end. */
function onHold(election: Election, until: Millis): Election {
  const { candidacy, stopping } = election;
  if (candidacy.kind !== 'leading' || candidacy.asked !== null || stopping) return election;
  const holdUntil = Math.max(candidacy.holdUntil, until);
  return { ...election, candidacy: { ...candidacy, holdUntil } };
}

/** Keeps us from standing again for a while; a leader is asked to step down as well. */
function onStepDown(election: Election, event: Of<'stepDown'>): Election {
  const standBackUntil = Math.max(election.standBackUntil, event.standBackUntil);
  const { candidacy } = election;
  if (candidacy.kind !== 'leading') return { ...election, standBackUntil };
  const { cause, to, reason, actor } = event;
  const asked = { cause, to, reason, actor };
  return { ...election, standBackUntil, candidacy: { ...candidacy, asked } };
}
