// The promises of the contract, judged from outside with true time and with what etcd really holds. Nothing in here
// looks into the core: it asks what an HTTP client, a child or etcdctl could ask, at every moment that matters.
import {
  fencingToken,
  type Candidate,
  type ElectionName,
  type FencingToken,
  type Handover,
  type LeaseId,
} from '../../src/core/model.ts';
import type { Report } from '../../src/core/report.ts';
import type { Notice } from '../../src/ports.ts';
import type { EndOfKey, KeyLife, ModelEtcd } from './model-etcd.ts';
import { mostAheadMs } from './process.ts';
import type { Setup } from './schedule.ts';
import type { Life, SimSidecar } from './sim-sidecar.ts';

/** The promises, in the order of the contract. */
export type Promised =
  | 'no older term is claimed after a newer one'
  | 'nobody claims while an older promise lasts'
  | 'leadership never outlives the key'
  | 'leadership never outlives the lease'
  | 'leadership never outlives the confirmation'
  | 'who has conceded claims nothing'
  | 'nobody is named who has conceded'
  | 'only the newest term is published'
  | 'only the first in the queue leads'
  | 'tokens rise'
  | 'a term that has ended stays ended'
  | 'gained and lost alternate'
  | 'a named successor is the successor'
  | 'no other program is passed over'
  | 'holds are kept'
  | 'a child is dead before its lease can lapse'
  | 'no name is served that may be dead'
  | 'there is a leader again'
  | 'leadership is stable once nothing is wrong'
  | 'who is asked to stop ends'
  | 'assertions hold';

export interface Violation {
  readonly promise: Promised;
  readonly atMs: number;
  readonly what: string;
}

/** What one sidecar promised a client: that nothing voluntary gives up the key before then (true time). */
interface Hold {
  readonly token: FencingToken;
  readonly untilMs: number;
}

export interface CheckersOptions {
  readonly setup: Setup;
  readonly etcd: ModelEtcd;
  readonly now: () => number;
  readonly sidecars: () => readonly SimSidecar[];
  readonly violated: (violation: Violation) => void;
}

export class Checkers {
  readonly #options: CheckersOptions;
  /** By election: the newest term that anybody claimed. */
  readonly #newest = new Map<ElectionName, FencingToken>();
  /** By member and election: the newest term that it announced. */
  readonly #lastOf = new Map<string, FencingToken>();
  /** By token: until when (true time) claims said that they may be believed, and which process said so. */
  readonly #believedUntil = new Map<FencingToken, number>();
  readonly #toldBy = new Map<FencingToken, Life>();
  readonly #holds = new Map<FencingToken, Hold>();
  /** By election: who was named by the holder of a term, and is first in the queue since. */
  readonly #named = new Map<
    ElectionName,
    { readonly after: FencingToken; readonly next: FencingToken }
  >();
  /** By term: the newest revision that its leader had been told of when it ended it. */
  readonly #knownAtEnd = new Map<FencingToken, bigint>();
  /** The leases that their holders were told are no more. */
  readonly #lostLeases = new Set<LeaseId>();
  claims = 0;
  answers = 0;

  constructor(options: CheckersOptions) {
    this.#options = options;
    options.etcd.listeners.push({
      keyGone: (life) => this.#keyGone(life),
      handedOver: (election, handover, before) => {
        this.#handedOver(election, handover, before);
      },
      conceded: (life) => this.#conceded(life),
      published: (key, life) => this.#publishes(key, life),
    });
  }

  /** Whoever was named, and known as a candidate to the leader when it ended its term, is next. */
  #handedOver(election: ElectionName, handover: Handover, before: readonly Candidate[]): void {
    const { to, from, token } = handover;
    const known = this.#knownAtEnd.get(token) ?? 0n;
    const successor = before.find(({ id }) => id === to);
    if (successor === undefined || successor === before[0]) return;
    if (successor.createRevision > known) return;
    const [first] = this.#options.etcd.snapshot(election).candidates;
    // A candidate that was restarted may have two keys; either is it.
    if (first?.id !== to) {
      const what = `${from} handed ${election} to ${to}, but ${first?.id ?? 'nobody'} is first`;
      return this.#violated('a named successor is the successor', what);
    }
    this.#named.set(election, { after: token, next: fencingToken(first.createRevision) });
  }

  /** Written by the first in the queue, while its claim has not ended as far as etcd knows; and gone with its key. */
  #publishes(key: string, { election, token, goneAt, concededRevision }: KeyLife): void {
    const [first] = this.#options.etcd.snapshot(election).candidates;
    const isFirst = (first?.createRevision as bigint | undefined) === token;
    if (isFirst && goneAt === null && concededRevision === null) return;
    this.#violated('only the newest term is published', `${key} by term ${token} of ${election}`);
  }

  /** Whoever concedes a term has ended it before it sends that. */
  #conceded({ id, election, token }: KeyLife): void {
    const life = this.#options.sidecars().find((one) => one.id === id)?.life;
    if (life?.announced.get(election) !== token) return;
    const what = `${id} concedes term ${token} of ${election}, which it has not ended`;
    this.#violated('who has conceded claims nothing', what);
  }

  /** By election: the newest term that anybody claimed; nobody has led before. */
  newest(election: ElectionName): FencingToken | null {
    return this.#newest.get(election) ?? null;
  }

  /** A client asks a sidecar that runs: judges the answer. */
  probe(sidecar: SimSidecar, election: ElectionName): Report | null {
    const { life } = sidecar;
    if (life === null || !life.process.isRunning()) return null;
    const report = life.elector.report(election);
    this.answers += 1;
    this.#resumed(sidecar, life, report);
    if (report.token !== null) this.#claimed(sidecar, life, report, report.token);
    if (report.leader !== null) this.#named_(sidecar, life, report);
    this.#childOf(sidecar, life, election);
    return report;
  }

  /** A client was promised a hold. */
  held(token: FencingToken, untilMs: number): void {
    const before = this.#holds.get(token);
    if (before === undefined || before.untilMs < untilMs)
      this.#holds.set(token, { token, untilMs });
  }

  notice(sidecar: SimSidecar, life: Life, notice: Notice): void {
    if (notice.kind === 'elected') {
      const { election, token } = notice;
      const key = `${sidecar.id} ${election}`;
      const last = this.#lastOf.get(key);
      if (last !== undefined && token <= last) {
        this.#violated('tokens rise', `${sidecar.id} gained term ${token} after ${last}`);
      }
      this.#lastOf.set(key, token);
      const open = life.announced.get(election);
      if (open !== undefined) {
        const what = `${sidecar.id} gained term ${token} without having lost ${open}`;
        this.#violated('gained and lost alternate', what);
      }
      life.announced.set(election, token);
    }
    if (notice.kind === 'ended') {
      const { election, token } = notice;
      if (life.announced.get(election) !== token) {
        const what = `${sidecar.id} lost term ${token}, which it had not gained`;
        this.#violated('gained and lost alternate', what);
      }
      life.announced.delete(election);
      this.#knownAtEnd.set(token, life.told.revisions.get(election) ?? 0n);
    }
  }

  /** etcd has told the holder of a lease that it is no more, whether or not that is so. */
  lostLease(leaseId: LeaseId): void {
    this.#lostLeases.add(leaseId);
  }

  fatal(sidecar: SimSidecar, failure: unknown): void {
    this.#violated('assertions hold', `${sidecar.id}: ${String(failure)}`);
  }

  leaderless(election: ElectionName, withinMs: number): void {
    const what = `nobody leads ${election} ${Math.round(withinMs)} ms after the last fault`;
    this.#violated('there is a leader again', what);
  }

  lingers(sidecar: SimSidecar, withinMs: number): void {
    const what = `${sidecar.id} has not stopped ${Math.round(withinMs)} ms after the last fault`;
    this.#violated('who is asked to stop ends', what);
  }

  restless(election: ElectionName, what: string): void {
    this.#violated('leadership is stable once nothing is wrong', `${election}: ${what}`);
  }

  /** Who has said that it does not lead any more does not take that back: only a new term makes it a leader. */
  #resumed(sidecar: SimSidecar, life: Life, { election, token }: Report): void {
    const before = life.claimed.get(election);
    if (token === null && before !== undefined) {
      life.claimed.delete(election);
      life.unclaimed.add(before);
    }
    if (token === null) return;
    life.claimed.set(election, token);
    if (!life.unclaimed.has(token)) return;
    const what = `${sidecar.id} claims term ${token} of ${election} again`;
    this.#violated('a term that has ended stays ended', what);
  }

  #claimed(sidecar: SimSidecar, life: Life, report: Report, token: FencingToken): void {
    const { election, validUntil } = report;
    const { etcd, now } = this.#options;
    this.claims += 1;
    const key = etcd.lives.get(token);
    const who = `${sidecar.id} claims term ${token} of ${election}`;
    if (key?.id !== sidecar.id || key.election !== election) {
      return this.#violated('leadership never outlives the key', `${who}, which is not its own`);
    }
    if (life.announced.get(election) !== token) {
      this.#violated('gained and lost alternate', `${who} without having said so`);
    }
    if (key.concededRevision !== null) {
      this.#violated('who has conceded claims nothing', `${who}, which it has conceded`);
    }
    this.#againstEtcd(who, life, key);
    this.#againstNewest(who, life, key);
    this.#againstAnswers(who, life, key);
    const untilMs = life.process.trueTimeOf(validUntil);
    if (untilMs <= now()) {
      this.#violated('leadership never outlives the lease', `${who}, valid no longer`);
    }
    if (untilMs > (this.#believedUntil.get(token) ?? 0)) this.#believedUntil.set(token, untilMs);
    this.#toldBy.set(token, life);
  }

  /** With what etcd holds at this moment: the key is there, and first. */
  #againstEtcd(who: string, life: Life, key: KeyLife): void {
    const { etcd } = this.#options;
    if (key.goneAt === null) {
      const [first] = etcd.snapshot(key.election).candidates;
      if ((first?.createRevision as bigint) === key.token) return;
      return this.#violated('only the first in the queue leads', `${who}, behind ${first?.id}`);
    }
    if (this.#mayNotKnow(life, key)) return;
    const what = `${who}, whose key was ${key.end ?? 'gone'} at ${Math.round(key.goneAt)}`;
    this.#violated('leadership never outlives the key', what);
  }

  /**
   * The one exception in the contract. Where etcd revoked a lease too early, or somebody deleted the key, its holder
   * cannot know before the first word of it arrives; nor can it go on for longer than its last confirmation lasts.
   */
  #mayNotKnow(life: Life, { end, goneAt, goneRevision, leaseId, election }: KeyLife): boolean {
    if (end !== 'wrongly revoked' && end !== 'deleted by hand') return false;
    if (this.#lostLeases.has(leaseId)) return false;
    const seen = life.told.revisions.get(election) ?? 0n;
    if (seen >= (goneRevision ?? 0n)) return false;
    return this.#options.now() < (goneAt ?? 0) + this.#options.setup.ttlMs;
  }

  #againstNewest(who: string, life: Life, key: KeyLife): void {
    const { election, token } = key;
    const newest = this.#newest.get(election);
    if (newest === undefined || token > newest) {
      this.#newest.set(election, token);
      this.#againstNamed(who, election, token);
      this.#againstPromises(who, key);
      return;
    }
    if (token === newest) return;
    if (!this.#waitsForWhatWasTaken() && this.#mayNotKnow(life, key)) return;
    if (isInTheHole(key)) return;
    const what = `${who} after ${newest} was claimed`;
    this.#violated('no older term is claimed after a newer one', what);
  }

  /** A clean end speaks for every term of its process: whatever acted for them has stopped. */
  #silence(life: Life): void {
    for (const [token, one] of this.#toldBy) if (one === life) this.#believedUntil.delete(token);
  }

  /** Whether a successor waits where a term was taken away: then there is no exception for administrators and for etcd. */
  #waitsForWhatWasTaken(): boolean {
    const { takeoverDelayMs, ttlMs } = this.#options.setup;
    return typeof takeoverDelayMs !== 'number' || takeoverDelayMs >= ttlMs;
  }

  /** What was told of an older term (`validForMs`) is over, unless its holder ended it, and so knows better. */
  #againstPromises(who: string, { election, token, id }: KeyLife): void {
    if (!this.#waitsForWhatWasTaken()) return;
    const { etcd, now } = this.#options;
    for (const [older, untilMs] of this.#believedUntil) {
      const key = etcd.lives.get(older);
      if (key?.election !== election || older >= token || untilMs <= now()) continue;
      if (key.id === id || key.corrected || isInTheHole(key)) continue;
      if (key.end === null || chosenEnds.has(key.end)) continue;
      const what = `${who}, while ${older} was said to last until ${Math.round(untilMs)} (${key.end})`;
      this.#violated('nobody claims while an older promise lasts', what);
    }
  }

  #againstNamed(who: string, election: ElectionName, token: FencingToken): void {
    const named = this.#named.get(election);
    if (named === undefined || token <= named.after) return;
    if (token !== named.next && this.#options.etcd.lives.get(named.next)?.goneAt === null) {
      const what = `${who}, although ${named.next} was named by ${named.after}`;
      this.#violated('a named successor is the successor', what);
    }
  }

  /** With what this process has been answered: a renewal and a linearizable read, both recent by its own clock. */
  #againstAnswers(who: string, life: Life, key: KeyLife): void {
    const { marginMs } = this.#options.setup;
    const now = life.process.latest();
    const renewal = life.told.renewedAt.get(key.leaseId);
    if (renewal === undefined || now >= renewal.sentAt + renewal.ttlMs - marginMs) {
      this.#violated('leadership never outlives the lease', `${who} on an old renewal`);
    }
    const confirmedAt = life.told.confirmedAt.get(key.election);
    const ttlMs = renewal?.ttlMs ?? this.#options.setup.ttlMs;
    if (confirmedAt === undefined || now >= confirmedAt + ttlMs - marginMs) {
      this.#violated('leadership never outlives the confirmation', `${who} on an old read`);
    }
  }

  /** A leader that is named held its key at some time since our knowledge was fresh. */
  #named_(sidecar: SimSidecar, life: Life, { election, leader, observedAgeMs }: Report): void {
    const { etcd, now, setup } = this.#options;
    const confirmedAt = life.told.confirmedAt.get(election) ?? Number.NEGATIVE_INFINITY;
    const who = `${sidecar.id} names ${leader?.id} as leader of ${election}`;
    const ageMs = life.process.latest() - confirmedAt;
    if (ageMs >= setup.ttlMs || observedAgeMs === null || observedAgeMs < ageMs) {
      return this.#violated('no name is served that may be dead', `${who}, ${ageMs} ms old`);
    }
    const { goneAt, concededRevision } = etcd.lives.get(leader!.token) ?? gone;
    // Places never change, nor is a concession taken back: whoever was told of that revision knows it for ever. Only who is about to
    // end watches nothing more, and leaves unread what its last question brought.
    const told = life.coordinator.watches.size > 0 ? life.told.revisions.get(election) : undefined;
    if (concededRevision !== null && concededRevision <= (told ?? 0n)) {
      this.#violated('nobody is named who has conceded', `${who}, term ${leader!.token}`);
    }
    // Its clock may have been ahead when it sent what it knows this from, and no longer be.
    const freshAt = now() - observedAgeMs / life.process.rate - mostAheadMs;
    if (goneAt !== null && goneAt < freshAt) {
      const what = `${who}, gone since ${Math.round(goneAt)}`;
      this.#violated('no name is served that may be dead', what);
    }
  }

  /** A child acts only while the key is there, or nobody could know that it is not. */
  #childOf(sidecar: SimSidecar, life: Life, election: ElectionName): void {
    const token = life.app?.actsFor(election) ?? null;
    if (token === null || life.process.isBehind()) return;
    const key = this.#options.etcd.lives.get(token)!;
    if (key.goneAt === null || this.#mayNotKnow(life, key)) return;
    const what = `${sidecar.id}'s child acts for term ${token}, whose key was ${key.end} at ${Math.round(key.goneAt)}`;
    this.#violated('a child is dead before its lease can lapse', what);
  }

  #keyGone(key: KeyLife): void {
    const { now, sidecars } = this.#options;
    const { token, end, election } = key;
    const name = `/published/${election}`;
    const left = this.#options.etcd.published(name)?.startsWith(`${token} `) === true;
    if (left && end !== 'deleted by hand') {
      this.#violated('only the newest term is published', `${name} by ${token}, ${end}`);
    }
    const believedUntil = this.#believedUntil.get(token) ?? 0;
    if ((end === 'expired' || end === 'deposed') && believedUntil > now()) {
      const what = `term ${token} was said to last until ${Math.round(believedUntil)}, and is ${end}`;
      this.#violated('leadership never outlives the lease', what);
    }
    const sidecar = sidecars().find(({ id }) => id === key.id);
    if (end === 'bypassed' && sidecar === undefined) {
      const what = `the key of ${key.id}, which would not understand, was deleted`;
      this.#violated('no other program is passed over', what);
    }
    if (end === 'released' && sidecar?.life) this.#silence(sidecar.life);
    const hold = this.#holds.get(token);
    const lostBefore = this.#lostLeases.has(key.leaseId);
    const voluntary = end === 'released' || end === 'deposed' || (end === 'revoked' && !lostBefore);
    if (voluntary && hold !== undefined && now() + mostAheadMs < hold.untilMs) {
      const what = `term ${token} was held until ${Math.round(hold.untilMs)}, and ${end}`;
      this.#violated('holds are kept', what);
    }
    const life = sidecar?.life;
    // Of a lease that ends etcd knows late; a witness acts in time, and the guardian does not pause with us.
    const excused = life?.process.isBehind() === true && end !== 'deposed';
    if (life?.app?.actsFor(election) !== token || excused) return;
    if (end === 'wrongly revoked' || end === 'deleted by hand') return;
    if (end === 'revoked' && lostBefore) return;
    const what = `${key.id}'s child still acts for term ${token}, whose key was ${end}`;
    this.#violated('a child is dead before its lease can lapse', what);
  }

  #violated(promise: Promised, what: string): void {
    this.#options.violated({ promise, atMs: this.#options.now(), what });
  }
}

/** A key that etcd never had. */
const gone = { goneAt: 0, concededRevision: null };

/** Ends that the holder of a key brought about, having stopped to claim. */
const chosenEnds: ReadonlySet<EndOfKey> = new Set<EndOfKey>(['released', 'bypassed', 'revoked']);

/**
 * What even evidence cannot tell, and the guarantees say so: a holder that had not renewed for long, renewed after the
 * newest answer, and lost its lease to a mistake at once; and a term that nobody had recorded, to those who come.
 */
function isInTheHole({ renewedAt, ttlMs, goneAt, proclaimed }: KeyLife): boolean {
  if (!proclaimed) return true;
  if (goneAt === null) return false;
  const longestMs = ttlMs - Math.floor((0.11 * ttlMs + 5) / 1000) * 1000 - 1000 - 30;
  const times = [...renewedAt.filter((at) => at <= goneAt && at > goneAt - 2 * ttlMs), goneAt];
  return times.some((at, index) => index > 0 && at - times[index - 1]! > longestMs);
}
