// One candidacy in one election as a pure machine. Events only add to what is known; every transition is made by
// `settle`, from what is known, the lease and the time. It promises that a term is claimed only while our key is
// first in the queue, the lease may be relied upon, and a linearizable read confirmed both within one TTL; and
// that the key is released only after the claim has ended. It does not talk to anybody.
import { assert, assertNever } from './assert.ts';
import {
  boundOf,
  eligibleAt,
  failbackAt,
  toldUntil,
  ttlOf,
  type Candidacy,
  type CandidacyEffect,
  type CandidacyEvent,
  type Ground,
} from './candidacy.ts';
import { settle, voluntaryEnding } from './decide.ts';
import { fencingToken, type FencingToken, type Millis, type Snapshot } from './model.ts';
import { judge, learn as learnOf, type Evidence, type TimeToLive } from './evidence.ts';
import { adopt, apply, leaderOf, withNewestTerm, type Queue, type Knowledge } from './queue.ts';
import { retryDelayMs, type Timing } from './timing.ts';
import {
  onAcknowledged,
  onPinged,
  onRecorded,
  refusedToDepose,
  wakeFailoverAt,
} from './failover.ts';

export interface CandidacyStep {
  readonly candidacy: Candidacy;
  readonly effects: readonly CandidacyEffect[];
}

/** A claim that may be made now: the term and until when it may be believed. */
export interface Claim {
  readonly token: FencingToken;
  readonly since: Millis;
  readonly validUntil: Millis;
}

/** For how long from `now` nothing ends our term of its own accord, in milliseconds; 0 where nothing is held. */
export function heldForMs(candidacy: Candidacy, ground: Ground, now: Millis): number {
  const claim = claimOf(candidacy, ground, now);
  if (claim === null || candidacy.phase.kind !== 'leading') return 0;
  return Math.max(0, Math.min(candidacy.phase.heldUntil, claim.validUntil) - now);
}

/** Until when whatever acts for our terms may go on, if we are not there to say otherwise: as long as every lease on them. */
export function lastsUntil(candidacies: readonly Candidacy[], ground: Ground, now: Millis): Millis {
  const bounds = candidacies
    .filter(({ phase }) => 'short' in phase && phase.short !== null)
    .map((candidacy) => toldUntil(candidacy, boundOf(candidacy, ground), now));
  return Math.min(ground.held?.leadUntil ?? now, ...bounds);
}

/**
 * The claim of this instance at `now`, or null. Asked at the moment of answering, so that a process that was
 * paused for an hour cannot answer from before the pause.
 */
export function claimOf(candidacy: Candidacy, ground: Ground, now: Millis): Claim | null {
  const { phase } = candidacy;
  if (phase.kind !== 'leading') return null;
  if (ground.held?.generation !== phase.own.generation) return null;
  const endsAt = boundOf(candidacy, ground) - ground.timing.stopLeadMs;
  const { token, since } = phase.term;
  if (now >= endsAt) return null;
  return { token, since, validUntil: toldUntil(candidacy, endsAt, now) };
}

export function stepCandidacy(
  candidacy: Candidacy,
  event: CandidacyEvent,
  ground: Ground,
  now: Millis,
): CandidacyStep {
  // What the clock has ended is ended first: a late answer cannot bring a term back to life.
  const before = settle({ candidacy, effects: [] }, ground, now);
  const learned = learn(before.candidacy, event, ground, now);
  return settle({ candidacy: learned, effects: before.effects }, ground, now);
}

/** When the machine, settled at `now`, wants a tick: of all times that matter, the first that is to come. */
export function wakeCandidacyAt(candidacy: Candidacy, ground: Ground, now: Millis): Millis {
  if (candidacy.phase.kind === 'stopped') return Number.POSITIVE_INFINITY;
  const times = [
    candidacy.observeAt,
    candidacy.askAt,
    candidacy.standBackUntil,
    ...wakePhaseAt(candidacy, ground),
    wakeFailoverAt(candidacy),
  ];
  // The moments from which a name may be that of a dead leader, or be named at all: what is told to others changes then.
  if (candidacy.queue !== null) times.push(candidacy.queue.freshAt + ttlOf(ground));
  times.push(...eligibleAt(candidacy, ground));
  return Math.min(...times.filter((time) => time > now));
}

function wakePhaseAt(candidacy: Candidacy, ground: Ground): readonly Millis[] {
  const { phase } = candidacy;
  switch (phase.kind) {
    case 'idle':
      return [phase.joinAt];
    case 'leading':
      return [
        boundOf(candidacy, ground) - ground.timing.stopLeadMs,
        phase.heldUntil,
        phase.proclaimAt,
        ...(candidacy.preferred === null
          ? []
          : [failbackAt(candidacy, candidacy.preferred, ground)]),
      ];
    case 'steppingDown':
      return [phase.until, phase.keptUntil, phase.concedeAt, boundOf(candidacy, ground)];
    case 'releasing':
      return phase.retryAt === null ? [] : [phase.retryAt];
    case 'joining':
    case 'waiting':
    case 'stopped':
      return [];
    default:
      return assertNever(phase);
  }
}

// What an event teaches us. No transition but those that are answers to our own requests.

function learn(
  candidacy: Candidacy,
  event: CandidacyEvent,
  ground: Ground,
  now: Millis,
): Candidacy {
  const { timing } = ground;
  switch (event.kind) {
    case 'tick':
      return candidacy;
    case 'observed':
      return { ...candidacy, queue: taken(candidacy, event, ground, now) };
    case 'changed': {
      const { queue } = candidacy;
      if (queue === null) return candidacy;
      return {
        ...candidacy,
        queue: apply(queue, event.change, now, knowledgeOf(candidacy, ground, now)),
      };
    }
    case 'joined':
      return onJoined(candidacy, event, ground, now);
    case 'joinFailed':
      return onJoinFailed(candidacy, event, now, timing);
    case 'released':
      return onReleased(candidacy, event, ground, now);
    case 'releaseFailed':
      return releaseAgain(candidacy, event, now, timing);
    case 'timeToLive':
      return { ...candidacy, evidence: withAnswer(candidacy.evidence, event) };
    case 'pinged':
      return onPinged(candidacy, event.ping, ground, now);
    case 'acknowledged':
      return onAcknowledged(candidacy, event);
    case 'recorded':
      return onRecorded(candidacy, event, now);
    case 'deposed':
      return onDeposed(candidacy, event, ground, now);
    case 'quiesced':
      return onQuiesced(candidacy, event.token);
    case 'hold':
      return onHold(candidacy, event.until, ground, now);
    case 'appHealth':
      return { ...candidacy, appHealthy: event.healthy };
    case 'stepDown':
      return onStepDown(candidacy, event);
    case 'standAgain':
      return { ...candidacy, standBackUntil: now };
    case 'stop':
      return { ...candidacy, stopping: true };
    default:
      return assertNever(event);
  }
}

type Of<Kind extends CandidacyEvent['kind']> = Extract<CandidacyEvent, { kind: Kind }>;

function knowledgeOf(
  { phase, lastToken, evidence }: Candidacy,
  ground: Ground,
  now: Millis,
): Knowledge {
  const token = 'own' in phase ? fencingToken(phase.own.createRevision) : null;
  return {
    own: ground.held?.leaseId ?? null,
    led: token !== null && token === lastToken,
    judge: (leaseId) => {
      const known = evidence.find((one) => one.leaseId === leaseId);
      const { grantedMs: ttlMs = null, aliveAt = null } = known ?? {};
      return { verdict: judge(known, ttlOf(ground), now), ttlMs, aliveAt };
    },
    unrenewedMs: ttlOf(ground),
  };
}

const withAnswer = (evidence: readonly Evidence[], answer: TimeToLive): readonly Evidence[] => [
  ...evidence.filter(({ leaseId }) => leaseId !== answer.leaseId),
  learnOf(
    evidence.find(({ leaseId }) => leaseId === answer.leaseId),
    answer,
  ),
];

/** The view with a linearizable read taken in. */
const taken = (
  candidacy: Candidacy,
  { snapshot, sentAt }: { readonly snapshot: Snapshot; readonly sentAt: Millis },
  ground: Ground,
  now: Millis,
  seamless = false,
): Queue =>
  adopt(candidacy.queue, snapshot, sentAt, now, knowledgeOf(candidacy, ground, now), seamless);

function onJoined(
  candidacy: Candidacy,
  event: Of<'joined'>,
  ground: Ground,
  now: Millis,
): Candidacy {
  const view = taken(candidacy, event, ground, now);
  const queue = withNewestTerm(view, event.newestTerm, candidacy.lastToken, now);
  const { phase } = candidacy;
  if (phase.kind !== 'joining' || phase.generation !== event.generation) {
    return { ...candidacy, queue };
  }
  const own = event.snapshot.candidates.find(
    (candidate) => candidate.createRevision === event.createRevision,
  );
  assert(own !== undefined, 'a snapshot taken by joining contains the key that joined');
  const { generation, ttlMs, createRevision } = event;
  const key = { generation, leaseId: own.leaseId, ttlMs, createRevision };
  // Whoever is ahead is asked about at once: until an answer comes nobody can say how its lease ends.
  return { ...candidacy, queue, askAt: now, phase: { kind: 'waiting', own: key, vigil: null } };
}

function onJoinFailed(
  candidacy: Candidacy,
  event: Of<'joinFailed'>,
  now: Millis,
  timing: Timing,
): Candidacy {
  const { phase } = candidacy;
  if (phase.kind !== 'joining' || phase.generation !== event.generation) return candidacy;
  const failures = phase.failures + 1;
  const joinAt = now + retryDelayMs(failures, timing.ttlMs, event.jitter);
  return { ...candidacy, phase: { kind: 'idle', joinAt, failures } };
}

/** Whether we lead now is decided from the snapshot, as everything is; where the term goes on, we may serve it again. */
function onDeposed(
  candidacy: Candidacy,
  event: Of<'deposed'>,
  ground: Ground,
  now: Millis,
): Candidacy {
  const { outcome } = event;
  const queue = outcome === null ? candidacy.queue : taken(candidacy, outcome, ground, now);
  return refusedToDepose({ ...candidacy, queue }, event, now);
}

/** Whether our key is gone is decided from the snapshot, as everything is; where it is not, it is released again. */
function onReleased(
  candidacy: Candidacy,
  event: Of<'released'>,
  ground: Ground,
  now: Millis,
): Candidacy {
  const { createRevision, deleted } = event;
  const { queue } = candidacy;
  // It was first until that very revision, so nobody can have led unseen before.
  const seamless = deleted && queue !== null && leaderOf(queue)?.createRevision === createRevision;
  const after = { ...candidacy, queue: taken(candidacy, event, ground, now, seamless) };
  return releaseAgain(after, event, now, ground.timing);
}

function releaseAgain(
  candidacy: Candidacy,
  { createRevision, jitter }: Of<'released'> | Of<'releaseFailed'>,
  now: Millis,
  timing: Timing,
): Candidacy {
  const { phase } = candidacy;
  if (phase.kind !== 'releasing' || phase.own.createRevision !== createRevision) {
    return candidacy;
  }
  const failures = phase.failures + 1;
  const retryAt = now + retryDelayMs(failures, timing.ttlMs, jitter);
  return { ...candidacy, phase: { ...phase, failures, retryAt } };
}

function onQuiesced(candidacy: Candidacy, token: FencingToken): Candidacy {
  const { phase } = candidacy;
  if (phase.kind !== 'steppingDown' || phase.ending.term.token !== token) return candidacy;
  return { ...candidacy, phase: { ...phase, quiesced: true } };
}

/**
 * A hold is promised only by a leader, for no longer than it may claim, and not any more once something is to end its term:
 * that would never end.
 */
function onHold(candidacy: Candidacy, until: Millis, ground: Ground, now: Millis): Candidacy {
  const { phase } = candidacy;
  const claim = claimOf(candidacy, ground, now);
  if (phase.kind !== 'leading' || claim === null) return candidacy;
  if (voluntaryEnding(candidacy, phase, ground, now) !== null) return candidacy;
  const heldUntil = Math.max(phase.heldUntil, Math.min(until, claim.validUntil));
  return { ...candidacy, phase: { ...phase, heldUntil } };
}

/** Keeps us from standing again for a while; a leader is asked to step down as well. */
function onStepDown(candidacy: Candidacy, event: Of<'stepDown'>): Candidacy {
  const standBackUntil = Math.max(candidacy.standBackUntil, event.standBackUntil);
  const { phase } = candidacy;
  if (phase.kind !== 'leading') return { ...candidacy, standBackUntil };
  const { cause, reason, actor } = event;
  const asked = { cause, reason, actor };
  return { ...candidacy, standBackUntil, phase: { ...phase, asked } };
}
