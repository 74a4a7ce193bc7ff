// What a fault acts on, and how it tells what it does: the hosts, and a record of beginning, proof and healing with
// their times. It injects nothing itself.
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../sim/random.ts';
import { monotonicMs } from '../harness/sidecar.ts';
import type { EtcdBinaries } from '../../src/dev/etcd-cache.ts';
import type { EtcdHost } from './etcd-host.ts';
import type { EtcdHosts } from './etcd-hosts.ts';
import type { Host, Laboratory } from './hosts.ts';
import type { Contestants, SidecarHost, SidecarHosts } from './sidecar-hosts.ts';

/** Everything there is. */
export interface Scene {
  readonly laboratory: Laboratory;
  readonly etcd: EtcdHosts;
  readonly sidecars: SidecarHosts;
  readonly contestants: Contestants;
  /** For what stands in etcd's place. */
  readonly elsewhere: Host;
  /** Another cluster there, which runs only in a fault. */
  readonly stranger: EtcdHost;
  readonly binaries: EtcdBinaries;
  /** A small one, for the log of a sidecar. */
  readonly logDisk: string;
}

/** A stretch of time. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** One fault as it happened. Times in ms of CLOCK_MONOTONIC. */
export interface FaultRecord {
  readonly kind: string;
  /** Whom it struck, and with what: `a, the leader, for 3200 ms`. */
  readonly target: string;
  readonly startedAt: number;
  /** From when on nothing was broken any more. */
  readonly healedAt: number;
  /** When all sidecars agreed on a leader again. */
  readonly settledAt: number;
  /** What shows that it took effect. */
  readonly effect: string;
  readonly leaderDue: 'throughout' | 'after';
  /** Terms whose leader was asked to end by a signal: it may give them up before they run out. */
  readonly plannedEnds: readonly bigint[];
  /** Terms that an administrator ended behind the leader's back. */
  readonly administered: readonly bigint[];
  /**
   * Terms whose key etcd itself deleted before its time, as their leaders saw: a leader of etcd that was stopped, and
   * deposed meanwhile, comes back and revokes leases that are long renewed (etcd issue 15247).
   */
  readonly revokedByEtcd: readonly bigint[];
  /** When no etcd was there that a sidecar may believe: past one TTL of it, nobody may name anybody. */
  readonly withoutEtcd: readonly Span[];
  /** When a snapshot's leader, who is gone, was first in the queue again until its lease ran out; null where it never was. */
  readonly revived: Span | null;
}

/** Written by a fault while it runs. */
export class Course {
  target = '';
  startedAt = Number.NaN;
  healedAt = Number.NaN;
  readonly effects: string[] = [];
  readonly plannedEnds: bigint[] = [];
  readonly administered: bigint[] = [];
  readonly withoutEtcd: Span[] = [];
  revived: Span | null = null;
  /** When a deposed leader of etcd was continued, which may revoke leases; null where none was. */
  exLeaderBackAt: number | null = null;

  /** To be called just before the first thing breaks. */
  begin(target: string): void {
    this.target = target;
    this.startedAt = monotonicMs();
  }

  /**
   * Tells what shows that it took effect.
   *
   * @throws Error when it did not: a fault without effect proves nothing.
   */
  proves(effect: string, holds: boolean): void {
    if (!holds) throw new Error(`the fault took no effect: expected "${effect}" (${this.target})`);
    this.effects.push(effect);
  }

  /** To be called when etcd is about to be believed again; `from` is when it was there no more. */
  etcdWasGone(from: number): void {
    this.withoutEtcd.push({ from, to: monotonicMs() });
  }

  /** To be called just after the last thing was mended. */
  heal(): void {
    this.healedAt = monotonicMs();
  }
}

/** One kind of fault. */
export interface FaultKind {
  readonly name: string;
  /** One line for people. */
  readonly doc: string;
  /** Whether there must be a leader while it lasts (within the bound), or only after it. */
  readonly leaderDue: 'throughout' | 'after';
  /** How often in each round, once unless it says more. */
  readonly weight?: number;
  /** Only for our own program: what it needs, others do not have. */
  readonly onlyElectord?: true;
  /** Without it there would be nothing to strike. */
  readonly needs?: 'fast failover';
  /** Begins, holds, proves and heals. */
  readonly run: (scene: Scene, random: Random, course: Course) => Promise<void>;
}

/** A length for people. */
export const ms = (value: number): string => `${Math.round(value)} ms`;

/** Lets a fault last: its length is what the fault is. */
export const hold = (lengthMs: number): Promise<void> => delay(Math.round(lengthMs));

/** Long enough for a lease to run out in etcd (which looks every 500 ms) and for a successor to act. */
export const longerThanTtl = ({ contestants }: Scene, random: Random): number =>
  contestants.ttlMs * random.between(1.2, 1.8) + 800;

/** The longest that a sound cluster may take to agree, before the run is given up. */
const settleWithinMs = 30_000;

/** Waits for the present leader. */
export const leaderOf = (
  scene: Scene,
): Promise<{ readonly sidecar: SidecarHost; readonly token: bigint }> =>
  scene.sidecars.agreement(settleWithinMs);

/** The leader mostly, another one now and then; and how to say that. */
export async function someSidecar(
  scene: Scene,
  random: Random,
  leaderChance = 0.75,
): Promise<{ readonly sidecar: SidecarHost; readonly title: string }> {
  const { sidecar: leader } = await leaderOf(scene);
  if (random.chance(leaderChance)) return { sidecar: leader, title: `${leader.name}, the leader` };
  const others = scene.sidecars.members.filter((one) => one !== leader);
  const sidecar = random.pick(others);
  return { sidecar, title: `${sidecar.name}, a follower` };
}

/** Ends the leaders in turn until this one leads. */
export async function makeLeader(scene: Scene, wanted: SidecarHost, course: Course): Promise<void> {
  for (;;) {
    const { sidecar, token } = await leaderOf(scene);
    if (sidecar === wanted) return;
    course.plannedEnds.push(token);
    await sidecar.end('SIGTERM');
    await sidecar.start();
  }
}
