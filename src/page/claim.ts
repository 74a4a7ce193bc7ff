// The leader's claim as a bar can show it. Pure.
import type { StatusAnswer } from '../contract.ts';
import { peerOfLeader } from './alarms.ts';
import type { Details } from './knowledge.ts';
import type { Standing } from './ranking.ts';

interface Claim {
  readonly leftMs: number;
  readonly ofMs: number;
  /** It is not being renewed, as far as can be seen. */
  readonly silent: boolean;
  /** Of a short lease that is being renewed: gone and back sooner than one can look, so it is whole. */
  readonly isShort: boolean;
}

/** What is left of the leader's claim at `now`, and out of how much; null where that is not known. */
export function claimOf(standing: Standing, details: Details, now: number): Claim | null {
  const peer = peerOfLeader(details, standing);
  const { frame, status } = details;
  if (frame === null || peer?.claim === null || peer === null || status === null) return null;
  // A sidecar of an older version does not speak of it.
  const { ttlMs, failover }: Pick<StatusAnswer, 'ttlMs'> & Partial<StatusAnswer> = status.value;
  const { remainingMs } = peer.claim;
  const silent = peer.state === 'silent';
  const shortMs = failover?.shortMs ?? 0;
  // A leader without witnesses claims as long as its lease lasts.
  if (remainingMs <= shortMs && !silent) {
    return { leftMs: shortMs, ofMs: shortMs, silent, isShort: true };
  }
  const leftMs = Math.max(0, remainingMs - (now - frame.at));
  return { leftMs, ofMs: remainingMs <= shortMs ? shortMs : ttlMs, silent, isShort: false };
}
