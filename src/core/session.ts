// The lease of this process as a pure machine: granted, renewed in rounds, lapsed on our own clock, lost.
// It promises that `leadUntil` never lies beyond what etcd granted, counted from before the request was sent.
// It does not know about elections, and it never blocks a renewal on the one before it.
import { assert, assertNever } from './assert.ts';
import type { LeaseId, Millis } from './model.ts';
import { nextRoundMs, reliableUntil, retryDelayMs, type Timing } from './timing.ts';

/** A lease as far as this process may rely on it. `generation` numbers the leases of one process. */
export interface Lease {
  readonly generation: number;
  readonly leaseId: LeaseId;
  readonly ttlMs: number;
  /** From here on nothing may be claimed on the strength of this lease. */
  readonly leadUntil: Millis;
}

export type Session =
  | {
      readonly kind: 'absent';
      readonly generation: number;
      readonly failures: number;
      readonly retryAt: Millis;
    }
  | { readonly kind: 'granting'; readonly generation: number; readonly failures: number }
  | {
      readonly kind: 'live' | 'lapsed';
      readonly lease: Lease;
      readonly renewAt: Millis;
      /** Leases in a row that went without having been renewed once. */
      readonly failures: number;
    }
  | { readonly kind: 'closing'; readonly generation: number }
  | { readonly kind: 'closed'; readonly generation: number };

export type SessionEvent =
  | { readonly kind: 'tick' }
  | {
      readonly kind: 'granted' | 'renewed';
      readonly generation: number;
      readonly leaseId: LeaseId;
      readonly ttlMs: number;
      readonly sentAt: Millis;
    }
  | { readonly kind: 'grantFailed'; readonly generation: number; readonly jitter: number }
  /** etcd says that the lease is no more: TTL 0, or "requested lease not found". */
  | { readonly kind: 'leaseLost'; readonly generation: number }
  | { readonly kind: 'close' }
  | { readonly kind: 'revoked'; readonly generation: number };

export type SessionEffect =
  | { readonly kind: 'grant'; readonly generation: number; readonly ttlMs: number }
  | { readonly kind: 'renew'; readonly generation: number; readonly leaseId: LeaseId }
  | { readonly kind: 'revoke'; readonly generation: number; readonly leaseId: LeaseId };

export interface SessionStep {
  readonly session: Session;
  readonly effects: readonly SessionEffect[];
}

export const newSession = (now: Millis): Session => ({
  kind: 'absent',
  generation: 0,
  failures: 0,
  retryAt: now,
});

const unchanged = (session: Session): SessionStep => ({ session, effects: [] });

/** Events of an earlier lease say nothing about this one. */
const generationOf = (session: Session): number =>
  'lease' in session ? session.lease.generation : session.generation;

/** The lease that may be relied upon now, or null: asked at the moment of use, never kept. */
export const liveLease = (session: Session, now: Millis): Lease | null =>
  session.kind === 'live' && now < session.lease.leadUntil ? session.lease : null;

/** The lease that keys are attached to, whether or not it may be relied upon at the moment. */
export const heldLease = (session: Session): Lease | null =>
  session.kind === 'live' || session.kind === 'lapsed' ? session.lease : null;

export function stepSession(
  session: Session,
  event: SessionEvent,
  now: Millis,
  timing: Timing,
): SessionStep {
  const current = lapse(session, now);
  switch (event.kind) {
    case 'tick':
      return onTick(current, now, timing);
    case 'granted':
      return onGranted(current, event, now, timing);
    case 'renewed':
      return onRenewed(current, event, now, timing);
    case 'grantFailed':
      return onGrantFailed(current, event, now, timing);
    case 'leaseLost':
      return onLeaseLost(current, event, now, timing);
    case 'close':
      return onClose(current);
    case 'revoked':
      return current.kind === 'closing' && event.generation === current.generation
        ? unchanged({ kind: 'closed', generation: current.generation })
        : unchanged(current);
    default:
      return assertNever(event);
  }
}

/** When the machine wants a tick, or null when it waits for an answer. */
export function wakeSessionAt(session: Session): Millis | null {
  switch (session.kind) {
    case 'absent':
      return session.retryAt;
    case 'live':
      return Math.min(session.renewAt, session.lease.leadUntil);
    case 'lapsed':
      return session.renewAt;
    case 'granting':
    case 'closing':
    case 'closed':
      return null;
    default:
      return assertNever(session);
  }
}

/** Past `leadUntil` a lease may still exist in etcd, but we no longer know: it is renewed, not relied upon. */
const lapse = (session: Session, now: Millis): Session =>
  session.kind === 'live' && now >= session.lease.leadUntil
    ? { ...session, kind: 'lapsed' }
    : session;

function onTick(session: Session, now: Millis, timing: Timing): SessionStep {
  if (session.kind === 'absent' && now >= session.retryAt) {
    const generation = session.generation + 1;
    return {
      session: { kind: 'granting', generation, failures: session.failures },
      effects: [{ kind: 'grant', generation, ttlMs: timing.ttlMs }],
    };
  }
  if ((session.kind === 'live' || session.kind === 'lapsed') && now >= session.renewAt) {
    const { generation, leaseId, ttlMs } = session.lease;
    return {
      session: { ...session, renewAt: now + nextRoundMs(ttlMs, session.kind === 'lapsed') },
      effects: [{ kind: 'renew', generation, leaseId }],
    };
  }
  return unchanged(session);
}

type LeaseAnswer = Extract<SessionEvent, { kind: 'granted' | 'renewed' }>;

function onGranted(session: Session, event: LeaseAnswer, now: Millis, timing: Timing): SessionStep {
  if (event.generation !== generationOf(session)) return unchanged(session);
  if (session.kind === 'closing' || session.kind === 'closed') {
    return {
      session,
      effects: [{ kind: 'revoke', generation: event.generation, leaseId: event.leaseId }],
    };
  }
  assert(
    session.kind === 'granting',
    `a lease is granted only while asking, not when ${session.kind}`,
  );
  const lease = {
    generation: event.generation,
    leaseId: event.leaseId,
    ttlMs: event.ttlMs,
    leadUntil: reliableUntil(event.sentAt, event.ttlMs, timing.marginMs),
  };
  const renewAt = Math.min(event.sentAt + nextRoundMs(event.ttlMs, false), lease.leadUntil);
  const { failures } = session;
  return unchanged(lapse({ kind: 'live', lease, renewAt, failures }, now));
}

/** A late answer counts from its own `sentAt`; it can make a lapsed lease live again, but only ahead of now. */
function onRenewed(session: Session, event: LeaseAnswer, now: Millis, timing: Timing): SessionStep {
  if (session.kind !== 'live' && session.kind !== 'lapsed') return unchanged(session);
  if (event.generation !== session.lease.generation) return unchanged(session);
  assert(event.leaseId === session.lease.leaseId, 'one generation has one lease');
  const until = reliableUntil(event.sentAt, event.ttlMs, timing.marginMs);
  if (until <= session.lease.leadUntil) return unchanged(session);
  const lease = { ...session.lease, ttlMs: event.ttlMs, leadUntil: until };
  return unchanged(lapse({ kind: 'live', lease, renewAt: session.renewAt, failures: 0 }, now));
}

function onGrantFailed(
  session: Session,
  event: Extract<SessionEvent, { kind: 'grantFailed' }>,
  now: Millis,
  timing: Timing,
): SessionStep {
  if (session.kind !== 'granting' || event.generation !== session.generation) {
    return unchanged(session);
  }
  const failures = session.failures + 1;
  const retryAt = now + retryDelayMs(failures, timing.ttlMs, event.jitter);
  return unchanged({ kind: 'absent', generation: session.generation, failures, retryAt });
}

function onLeaseLost(
  session: Session,
  event: Extract<SessionEvent, { kind: 'leaseLost' }>,
  now: Millis,
  timing: Timing,
): SessionStep {
  if (session.kind !== 'live' && session.kind !== 'lapsed') return unchanged(session);
  if (event.generation !== session.lease.generation) return unchanged(session);
  const { generation, leaseId } = session.lease;
  // At once for a lease that has served; an etcd that grants leases and does not know them is not asked without a pause.
  const failures = session.failures + 1;
  const retryAt = failures === 1 ? now : now + retryDelayMs(failures - 1, timing.ttlMs, 0);
  return {
    session: { kind: 'absent', generation, failures, retryAt },
    // A new leader of etcd may deny a lease that it has not heard of yet: no key of ours may outlive our belief.
    effects: [{ kind: 'revoke', generation, leaseId }],
  };
}

function onClose(session: Session): SessionStep {
  const generation = generationOf(session);
  switch (session.kind) {
    case 'live':
    case 'lapsed':
      return {
        session: { kind: 'closing', generation },
        effects: [{ kind: 'revoke', generation, leaseId: session.lease.leaseId }],
      };
    case 'absent':
    case 'granting':
      return unchanged({ kind: 'closed', generation });
    case 'closing':
    case 'closed':
      return unchanged(session);
    default:
      return assertNever(session);
  }
}
