// What a process that cannot wait gives back: whatever acts for a term is killed, each term's key goes with the record of
// its end, and the lease with the rest. Promises that a key goes only when what acted for it is dead and every hold of it
// is over; where that cannot be, the lease has to run out.
import type { Candidacy, CandidacyEffect } from '../core/candidacy.ts';
import { hastyReleaseOf, keptUntilOf } from '../core/decide.ts';
import type { Cause, ElectionName, Millis } from '../core/model.ts';
import type { Lease } from '../core/session.ts';
import type { App, Clock, Coordinator, Notice } from '../ports.ts';
import type { Requests } from './requests.ts';

/** A term that a hasty end ends, or finds ending. */
export interface HastyEnd {
  readonly name: ElectionName;
  readonly effect: Extract<CandidacyEffect, { kind: 'release' }>;
  readonly claimed: boolean;
  /** Nobody else leads before: a hold was promised until then. */
  readonly keptUntil: Millis;
}

/** What the hasty end of an election is; null where no term of it is to be ended. */
export function hastyEndOf(candidacy: Candidacy, cause: Cause, now: Millis): HastyEnd | null {
  const effect = hastyReleaseOf(candidacy, cause, now);
  if (effect === null) return null;
  const { name, phase } = candidacy;
  const claimed = phase.kind === 'leading';
  return { name, effect, claimed, keptUntil: keptUntilOf(candidacy) };
}

/** What others are told of it: the end of a term that was claimed until then. */
export function noticesOf({ name: election, effect, claimed }: HastyEnd): readonly Notice[] {
  if (effect.ending === null || !claimed) return [];
  const { term, cause, reason, endedAt } = effect.ending;
  const ledMs = endedAt - term.since;
  return [{ kind: 'ended', election, token: term.token, cause, reason, ledMs }];
}

interface Tools {
  readonly app: App | null;
  readonly clock: Clock;
  readonly coordinator: Coordinator;
  readonly requests: Requests;
}

/** Resolves when all is given back, or cannot be; never rejects. What is in its way is killed before it first waits. */
export async function giveBack(
  { app, clock, coordinator, requests }: Tools,
  held: Lease | null,
  ends: readonly HastyEnd[],
): Promise<void> {
  try {
    await app?.kill();
    const released = ends.map(async ({ name, effect, keptUntil }) => {
      await until(clock, keptUntil);
      await requests.releaseHastily(name, effect);
    });
    await Promise.allSettled(released);
    if (held !== null) await coordinator.revoke(held.leaseId);
  } catch {
    // Nobody is left to be told; the lease runs out.
  }
}

async function until(clock: Clock, at: Millis): Promise<void> {
  while (clock.now() < at) {
    await new Promise<void>((resolve) => {
      clock.at(at, resolve);
    });
  }
}
