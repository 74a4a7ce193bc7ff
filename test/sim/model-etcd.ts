// What etcd means to an election, and nothing else of it: revisions, leases, leased keys, guarded transactions and the
// history that watches read. One linearizable machine: requests are carried out here at one moment of true time, in
// the order in which they arrive. Delay, loss and lag are the network's business. The contract suite (test/contract/)
// holds it to what real etcd does.
import {
  fencingToken,
  revision as asRevision,
  type Candidate,
  type Change,
  type Concession,
  type Control,
  type ElectionName,
  type FencingToken,
  type Handover,
  type LeaseId,
  type Member,
  type MemberId,
  type Revision,
  type Self,
  type Snapshot,
  type SwitchoverRequest,
  type TermRecord,
} from '../../src/core/model.ts';
import type { Publication } from '../../src/etcd/publication.ts';
import { Compacted, FencedOut, LeaseLost } from '../../src/errors.ts';
import type { Listed, RecordChange, WitnessRecord } from '../../src/core/short-lease.ts';
import type {
  Deposed,
  Deposition,
  GrantedLease,
  Joined,
  LeaseTime,
  Release,
  Released,
  TermBeginning,
} from '../../src/ports.ts';
import type { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';

/** How a candidate's key came to an end. The last two are nobody's fault among the candidates. */
export type EndOfKey =
  | 'released'
  | 'deposed'
  | 'bypassed'
  | 'revoked'
  | 'expired'
  | 'wrongly revoked'
  | 'deleted by hand';

/** The life of one key in a queue, as only somebody outside can know it; times are true times. */
export interface KeyLife {
  readonly election: ElectionName;
  readonly token: FencingToken;
  readonly leaseId: LeaseId;
  readonly id: MemberId;
  readonly bornAt: number;
  /** Whether its term was recorded. */
  proclaimed: boolean;
  /** Whether its holder recorded its end after its key had gone: then whatever acted for it has stopped. */
  corrected: boolean;
  /** When its lease was renewed, the newest last; and its TTL. */
  readonly renewedAt: readonly number[];
  readonly ttlMs: number;
  /** Which revision says first that its claim has ended. */
  concededRevision: Revision | null;
  goneAt: number | null;
  goneRevision: Revision | null;
  end: EndOfKey | null;
}

/** Who wants to hear of what is committed, in the moment in which it is. */
export interface EtcdListener {
  keyBorn?(life: KeyLife): void;
  keyGone?(life: KeyLife): void;
  conceded?(life: KeyLife): void;
  published?(key: string, by: KeyLife): void;
  handedOver?(election: ElectionName, handover: Handover, before: readonly Candidate[]): void;
  leaseGone?(leaseId: LeaseId, how: EndOfKey): void;
}

interface Lease {
  readonly id: LeaseId;
  readonly ttlMs: number;
  expiresAt: number;
  /** When it was granted and renewed, the newest last. */
  readonly renewedAt: number[];
  /** Until then etcd wrongly says that it does not know this lease. */
  deniedUntil: number;
}

interface ElectionState {
  candidates: readonly Candidate[];
  members: readonly Member[];
  handover: Handover | null;
  control: Control | null;
  controlLease: LeaseId | null;
  switchover: SwitchoverRequest | null;
  switchoverLease: LeaseId | null;
  /** The newest last. */
  terms: readonly TermRecord[];
  /** What wrote each member's record last. */
  readonly membersAt: Map<MemberId, Revision>;
  /** Where each lease has left the queue; as long as it lasts. */
  readonly left: Map<LeaseId, Revision>;
  /** Who may depose the leader: what wrote it last, of which term, on which lease. */
  witnesses: {
    readonly at: Revision;
    readonly term: FencingToken;
    readonly lease: LeaseId;
    readonly listed: readonly Listed[];
  } | null;
  /** The verb that was carried out last. */
  verb: { readonly at: Revision; readonly id: string } | null;
  /** One entry for each revision that changed what a watch of the queue shows. */
  readonly history: Change[];
}

type Follower = (election: ElectionName, change: Change) => void;

/** How often etcd looks for leases that have run out. */
const expiryCheckEveryMs = 500;
/** A new leader of etcd adds its election timeout to every lease, so that nobody suffers from the change. */
export const leaseExtensionMs = 1000;
/** More renewals than fit into two TTLs. */
const renewalsKept = 64;
/** How many terms are remembered. */
const termsKept = 100;
/** A key that was only made. */
const saysNothing = { since: null, conceded: null };

export class ModelEtcd {
  /** False while there is no leader of etcd: nothing is carried out, and no lease ends. */
  serving = true;
  readonly lives = new Map<bigint, KeyLife>();
  readonly listeners: EtcdListener[] = [];
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #leastTtlMs: number;
  /** What the lives of leases looked like to a leader of etcd that was frozen, and what it does about them later. */
  #past: ReadonlyMap<LeaseId, Lease> | null = null;
  readonly #leases = new Map<LeaseId, Lease>();
  readonly #elections = new Map<ElectionName, ElectionState>();
  readonly #followers = new Set<Follower>();
  readonly #published = new Map<
    string,
    { readonly value: string; readonly lease: LeaseId | null }
  >();
  #revision: Revision = asRevision(1n);
  #compactedAt: Revision = asRevision(0n);

  /** `leastTtlMs`: a lease is granted for no less, whatever was asked for. */
  constructor(scheduler: Scheduler, random: Random, leastTtlMs: number) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.#leastTtlMs = leastTtlMs;
    scheduler.after(random.between(0, expiryCheckEveryMs), () => this.#endExpired());
  }

  get revision(): Revision {
    return this.#revision;
  }

  // Leases.

  /** Grants a lease; `null` where that id is in use. Whole seconds, and not less than etcd's minimum. */
  grant(id: LeaseId, ttlMs: number): number | null {
    if (this.#leases.has(id)) return null;
    const granted = Math.max(Math.round(ttlMs / 1000) * 1000, this.#leastTtlMs);
    const { now } = this.#scheduler;
    const lease = {
      id,
      ttlMs: granted,
      expiresAt: now + granted,
      renewedAt: [now],
      deniedUntil: 0,
    };
    this.#leases.set(id, lease);
    return granted;
  }

  renew(id: LeaseId): number {
    const lease = this.#leases.get(id);
    const { now } = this.#scheduler;
    if (lease === undefined || lease.expiresAt <= now || now < lease.deniedUntil) {
      throw new LeaseLost(`lease ${id} has expired or was revoked`);
    }
    lease.expiresAt = now + lease.ttlMs;
    lease.renewedAt.push(now);
    if (lease.renewedAt.length > renewalsKept) lease.renewedAt.shift();
    return lease.ttlMs;
  }

  /** How long a lease will last, rounded down as etcd does; null where there is no such lease. */
  timeToLive(id: LeaseId): LeaseTime | null {
    return this.#timeIn(this.#leases, id);
  }

  /** The same as a leader of etcd says it that was frozen, and does not know yet that another leads. */
  timeToLiveInThePast(id: LeaseId): LeaseTime | null {
    return this.#past === null ? null : this.#timeIn(this.#past, id);
  }

  #timeIn(leases: ReadonlyMap<LeaseId, Lease>, id: LeaseId): LeaseTime | null {
    const lease = leases.get(id);
    if (lease === undefined) return null;
    const leftMs = Math.max(0, lease.expiresAt - this.#scheduler.now);
    return { remainingMs: Math.floor(leftMs / 1000) * 1000, grantedMs: lease.ttlMs, etcdTerm: '' };
  }

  /** The leader of etcd freezes now: this is what it will know when it goes on. */
  rememberForTheFrozen(): void {
    this.#past = new Map([...this.#leases].map(([id, lease]) => [id, { ...lease }]));
  }

  /** It goes on, and revokes what has run out by what it knows. */
  revokeFromThePast(): void {
    for (const [id, { expiresAt }] of this.#past ?? []) {
      if (expiresAt <= this.#scheduler.now) this.#endLease(id, 'wrongly revoked');
    }
  }

  revoke(id: LeaseId): void {
    this.#endLease(id, 'revoked');
  }

  // What an election asks.

  /** As of now. What it shares with the state is never changed, only replaced. */
  snapshot(election: ElectionName): Snapshot {
    const { candidates, members, handover, control, switchover } = this.#state(election);
    const records = { handover, control, switchover };
    return { revision: this.#revision, candidates, members, ...records };
  }

  /** Joins unless that lease has left since `left`; then `joined` is null, and `left` says when. */
  join(
    election: ElectionName,
    { leaseId: lease, ttlMs }: GrantedLease,
    me: Self,
    left: Revision | null,
  ): { readonly joined: Joined | null; readonly left: Revision | null } {
    const { id, address, url, priority, pingKey } = me;
    const { candidates, left: marks } = this.#state(election);
    const leftAt = marks.get(lease) ?? null;
    if (!candidates.some(({ key }) => key === lease)) {
      if (leftAt !== left) return { joined: null, left: leftAt };
      this.#mustKnow(lease);
      const about = { id, address, url, priority, ttlMs, pingKey, native: true };
      this.#addCandidate(election, { key: lease, leaseId: lease, ...saysNothing, ...about });
    }
    const snapshot = this.snapshot(election);
    const own = snapshot.candidates.find(({ key }) => key === lease)!;
    const newestTerm = this.#state(election).terms.at(-1) ?? null;
    return { joined: { createRevision: own.createRevision, newestTerm, snapshot }, left: leftAt };
  }

  release(
    request: Release,
    published: readonly string[] = [],
    end: EndOfKey = 'released',
  ): Released {
    const { election, leaseId, createRevision, handover, term, succession } = request;
    const { candidates } = this.#state(election);
    const { bypassed = [], successor = null } = succession ?? {};
    const present = (key: string, created: Revision): boolean =>
      candidates.some((candidate) => candidate.key === key && candidate.createRevision === created);
    const guarded =
      present(leaseId, createRevision) &&
      [...bypassed, ...(successor === null ? [] : [successor])].every((candidate) =>
        present(candidate.key, candidate.createRevision),
      );
    if (!guarded) return { deleted: false, snapshot: this.snapshot(election) };
    const ends = new Map<string, EndOfKey>([[leaseId, end]]);
    for (const { key } of bypassed) ends.set(key, 'bypassed');
    if (term !== null) this.#recordTerm(election, term);
    const leases = [leaseId, ...bypassed.map((candidate) => candidate.leaseId)];
    const gone = this.#removeCandidates(election, ends, handover);
    for (const lease of leases) this.#state(election).left.set(lease, this.#revision);
    this.#unpublish(published, leaseId);
    for (const candidate of gone) this.#bury(candidate, ends.get(candidate.key)!);
    if (handover !== null) {
      for (const listener of this.listeners) listener.handedOver?.(election, handover, candidates);
    }
    return { deleted: true, snapshot: this.snapshot(election) };
  }

  /** A release of another's key, guarded by the record of witnesses as well. */
  depose({ witnessesAt, ...release }: Deposition, published: readonly string[] = []): Deposed {
    const { election, createRevision } = release;
    const { witnesses } = this.#state(election);
    const term = fencingToken(createRevision);
    const released =
      witnesses?.at === witnessesAt
        ? this.release(release, published, 'deposed')
        : { deleted: false, snapshot: this.snapshot(election) };
    return { ...released, record: this.#witnessesOf(election, term) };
  }

  /** Lists witnesses if the term lasts and the record was written at `was`; says what is there, null where it is over. */
  recordWitnesses(
    election: ElectionName,
    { leaseId: lease, createRevision }: GrantedLease & { readonly createRevision: Revision },
    { was, to }: RecordChange,
  ): WitnessRecord | null {
    const state = this.#state(election);
    if (!state.candidates.some((one) => one.createRevision === createRevision)) return null;
    const term = fencingToken(createRevision);
    if ((state.witnesses?.at ?? null) === was) {
      state.witnesses = { at: this.#advance(), term, lease, listed: to };
    }
    return this.#witnessesOf(election, term);
  }

  #witnessesOf(election: ElectionName, term: FencingToken): WitnessRecord {
    const { witnesses } = this.#state(election);
    const listed = witnesses?.term === term ? witnesses.listed : [];
    return { at: witnesses?.at ?? null, listed };
  }

  /** Writes the record if what is there was written at `was`; else says what is. */
  enroll(
    election: ElectionName,
    member: Member,
    was: Revision | null,
  ): { readonly written: boolean; readonly there: Member | null; readonly at: Revision | null } {
    const { members, membersAt } = this.#state(election);
    const there = members.find(({ id }) => id === member.id) ?? null;
    const at = there === null ? null : (membersAt.get(member.id) ?? null);
    if (at !== was) return { written: false, there, at };
    this.#mustKnow(member.leaseId);
    membersAt.set(member.id, this.#advance());
    this.#state(election).members = [...members.filter(({ id }) => id !== member.id), member];
    return { written: true, there: member, at };
  }

  /** The verb that was carried out last. */
  verb(election: ElectionName): { readonly at: Revision; readonly id: string } | null {
    return this.#state(election).verb;
  }

  /** Carries out a verb if no other was since `was`; says which was carried out last. */
  carryOut(
    election: ElectionName,
    { id, was, act }: { readonly id: string; readonly was: Revision | null; act: () => void },
  ): { readonly at: Revision; readonly id: string } | null {
    const state = this.#state(election);
    if ((state.verb?.at ?? null) !== was) return state.verb;
    act();
    state.verb = { at: this.#advance(), id };
    return state.verb;
  }

  proclaim(
    election: ElectionName,
    own: GrantedLease & { readonly createRevision: Revision },
    me: Self,
    { since, ...before }: TermBeginning,
    published: readonly Publication[] = [],
  ): void {
    const state = this.#state(election);
    const { candidates } = state;
    const index = candidates.findIndex(
      ({ createRevision }) => createRevision === own.createRevision,
    );
    const candidate = candidates[index];
    if (candidate === undefined) throw new FencedOut(`term ${own.createRevision} is over`);
    // It is as it was when it was made.
    if (candidate.since !== null) return;
    const proclaimed = { ...candidate, since };
    state.candidates = candidates.with(index, proclaimed);
    const token = fencingToken(own.createRevision);
    const { id: leader, address } = me;
    const notYet = { to: null, cause: null, reason: null, actor: null };
    const { ttlMs } = own;
    this.#recordTerm(election, {
      token,
      leader,
      address,
      from: since,
      ...before,
      ttlMs,
      ...notYet,
    });
    this.lives.get(token)!.proclaimed = true;
    state.terms = state.terms.slice(-termsKept);
    this.#publish(published, own.leaseId, this.lives.get(token)!);
    this.#commit(election, { candidates: [proclaimed], removedCandidates: [] });
  }

  /** Says in the key of a term, if that is there, that its claim has ended. */
  concede(
    election: ElectionName,
    own: GrantedLease & { readonly createRevision: Revision },
    since: string,
    conceded: Concession,
    published: readonly string[] = [],
  ): void {
    const state = this.#state(election);
    const index = state.candidates.findIndex((one) => one.createRevision === own.createRevision);
    const candidate = state.candidates[index];
    if (candidate === undefined) return;
    const said = { ...candidate, since, conceded };
    state.candidates = state.candidates.with(index, said);
    this.#commit(election, { candidates: [said], removedCandidates: [] });
    const life = this.lives.get(candidate.createRevision)!;
    life.concededRevision ??= this.#revision;
    this.#unpublish(published, own.leaseId);
    for (const listener of this.listeners) listener.conceded?.(life);
  }

  /** Says how a term ended, where its record says nothing yet. */
  correct(election: ElectionName, { token, to, cause, reason, actor }: TermRecord): void {
    const record = this.#state(election).terms.find((one) => one.token === token);
    if (record?.to !== null) return;
    this.lives.get(token)!.corrected = true;
    this.#recordTerm(election, { ...record, to, cause, reason, actor });
  }

  history(election: ElectionName): readonly TermRecord[] {
    return this.#state(election).terms.slice(-termsKept).reverse();
  }

  isCurrent(election: ElectionName, token: FencingToken): boolean {
    const [first] = this.#state(election).candidates;
    return first !== undefined && fencingToken(first.createRevision) === token;
  }

  /** Pauses the election, for as long as the lease lasts; null ends the pause. */
  putControl(election: ElectionName, control: Control | null, lease: LeaseId | null = null): void {
    if (lease !== null) this.#mustKnow(lease);
    const state = this.#state(election);
    if (control === null && state.control === null) return;
    state.control = control;
    state.controlLease = lease;
    this.#commit(election, { candidates: [], removedCandidates: [], control });
  }

  /** Asks the leader of a term to hand over; null takes that back. */
  putSwitchover(
    election: ElectionName,
    switchover: SwitchoverRequest | null,
    lease: LeaseId | null = null,
  ): void {
    if (lease !== null) this.#mustKnow(lease);
    const state = this.#state(election);
    state.switchover = switchover;
    state.switchoverLease = lease;
    this.#commit(election, { candidates: [], removedCandidates: [], switchover });
  }

  // Watching.

  /** Calls `follower` with every change of a queue from now on. */
  follow(follower: Follower): () => void {
    this.#followers.add(follower);
    return () => {
      this.#followers.delete(follower);
    };
  }

  /** What changed behind `revision`, in order; throws Compacted where that is forgotten. */
  changesSince(election: ElectionName, revision: Revision): readonly Change[] {
    if (revision < this.#compactedAt) {
      throw new Compacted('required revision has been compacted');
    }
    const { history } = this.#state(election);
    let start = history.length;
    while (start > 0 && history[start - 1]!.revision > revision) start -= 1;
    return history.slice(start);
  }

  /** Forgets the history before the present revision. */
  compact(): Revision {
    this.#compactedAt = this.#revision;
    return this.#compactedAt;
  }

  // What goes wrong, and what people do.

  /** A new leader of etcd: it extends every lease. */
  extendLeases(): void {
    for (const lease of this.#leases.values()) {
      lease.expiresAt = this.#scheduler.now + lease.ttlMs + leaseExtensionMs;
    }
  }

  /** A stalled former leader of etcd revokes a lease that its holder has renewed elsewhere. */
  revokeWrongly(id: LeaseId): void {
    this.#endLease(id, 'wrongly revoked');
  }

  /** Says for a while of a lease that exists that it does not. */
  deny(id: LeaseId, forMs: number): void {
    const lease = this.#leases.get(id);
    if (lease !== undefined) lease.deniedUntil = this.#scheduler.now + forMs;
  }

  deleteByHand(election: ElectionName, key: string): void {
    if (!this.#state(election).candidates.some((candidate) => candidate.key === key)) return;
    const gone = this.#removeCandidates(election, new Map([[key, 'deleted by hand']]), null);
    for (const candidate of gone) this.#bury(candidate, 'deleted by hand');
  }

  /** A candidate of another program: its value is a bare string. */
  putForeign(election: ElectionName, lease: LeaseId, value: MemberId): void {
    this.#mustKnow(lease);
    const nothing = { address: null, url: null, ttlMs: null, pingKey: null, ...saysNothing };
    const bare = { ...nothing, priority: 0, native: false };
    const about = { id: value, ...bare };
    this.#addCandidate(election, { key: lease, leaseId: lease, ...about });
  }

  putByHand(key: string, value: string): void {
    this.#published.set(key, { value, lease: null });
  }

  /** What is under a key that a leader publishes. */
  published(key: string): string | null {
    return this.#published.get(key)?.value ?? null;
  }

  // Inside.

  #publish(published: readonly Publication[], lease: LeaseId, life: KeyLife): void {
    for (const { key, value } of published) {
      this.#published.set(key, { value, lease });
      for (const listener of this.listeners) listener.published?.(key, life);
    }
  }

  #unpublish(keys: readonly string[], lease: LeaseId): void {
    for (const key of keys) {
      if (this.#published.get(key)?.lease === lease) this.#published.delete(key);
    }
  }

  #state(election: ElectionName): ElectionState {
    let state = this.#elections.get(election);
    if (state === undefined) {
      const single = { handover: null, control: null, switchover: null };
      const leases = { controlLease: null, switchoverLease: null };
      const lists = { candidates: [], members: [], terms: [], history: [] };
      const guards = { membersAt: new Map(), left: new Map(), verb: null, witnesses: null };
      state = { ...lists, ...single, ...leases, ...guards };
      this.#elections.set(election, state);
    }
    return state;
  }

  #mustKnow(lease: LeaseId): void {
    if (!this.#leases.has(lease)) throw new LeaseLost('requested lease not found');
  }

  #advance(): Revision {
    this.#revision = asRevision(this.#revision + 1n);
    return this.#revision;
  }

  #commit(election: ElectionName, change: Omit<Change, 'revision'>): void {
    this.#tell(election, { ...change, revision: this.#advance() });
  }

  #tell(election: ElectionName, change: Change): void {
    this.#state(election).history.push(change);
    for (const follower of this.#followers) follower(election, change);
  }

  #recordTerm(election: ElectionName, term: TermRecord): void {
    const state = this.#state(election);
    const others = state.terms.filter(({ token }) => token !== term.token);
    const isNew = others.length === state.terms.length;
    state.terms = isNew
      ? [...others, term]
      : state.terms.map((old) => (old.token === term.token ? term : old));
  }

  #addCandidate(election: ElectionName, about: Omit<Candidate, 'createRevision'>): void {
    const state = this.#state(election);
    const createRevision = asRevision(this.#revision + 1n);
    const candidate = { ...about, createRevision };
    const token = fencingToken(createRevision);
    const life: KeyLife = {
      election,
      token,
      leaseId: about.leaseId,
      id: about.id,
      bornAt: this.#scheduler.now,
      proclaimed: false,
      corrected: false,
      concededRevision: null,
      renewedAt: this.#leases.get(about.leaseId)?.renewedAt ?? [],
      ttlMs: this.#leases.get(about.leaseId)?.ttlMs ?? 0,
      goneAt: null,
      goneRevision: null,
      end: null,
    };
    this.lives.set(token, life);
    state.candidates = [...state.candidates, candidate];
    this.#commit(election, { candidates: [candidate], removedCandidates: [] });
    for (const listener of this.listeners) listener.keyBorn?.(life);
  }

  #removeCandidates(
    election: ElectionName,
    ends: ReadonlyMap<string, EndOfKey>,
    handover: Handover | null,
  ): readonly Candidate[] {
    const state = this.#state(election);
    const gone = state.candidates.filter(({ key }) => ends.has(key));
    state.candidates = state.candidates.filter(({ key }) => !ends.has(key));
    if (handover !== null) state.handover = handover;
    const removed = { candidates: [], removedCandidates: gone.map(({ key }) => key) };
    this.#commit(election, handover === null ? removed : { ...removed, handover });
    return gone;
  }

  #bury({ createRevision }: Candidate, end: EndOfKey): void {
    const life = this.lives.get(createRevision)!;
    life.goneAt = this.#scheduler.now;
    life.goneRevision = this.#revision;
    life.end = end;
    for (const listener of this.listeners) listener.keyGone?.(life);
  }

  /** All keys of a lease go with it, in one revision. */
  #endLease(id: LeaseId, end: EndOfKey): void {
    if (!this.#leases.delete(id)) return;
    const revision = this.#advance();
    this.#unpublish([...this.#published.keys()], id);
    const buried: Candidate[] = [];
    for (const [election, state] of this.#elections) {
      state.left.delete(id);
      if (state.witnesses?.lease === id) state.witnesses = null;
      const gone = state.candidates.filter(({ leaseId }) => leaseId === id);
      const control = state.controlLease === id;
      const switchover = state.switchoverLease === id;
      state.members = state.members.filter(({ leaseId }) => leaseId !== id);
      if (gone.length === 0 && !control && !switchover) continue;
      state.candidates = state.candidates.filter(({ leaseId }) => leaseId !== id);
      buried.push(...gone);
      const change = { revision, candidates: [], removedCandidates: gone.map(({ key }) => key) };
      if (control) state.control = state.controlLease = null;
      if (switchover) state.switchover = state.switchoverLease = null;
      const records = {
        ...(control && { control: null }),
        ...(switchover && { switchover: null }),
      };
      this.#tell(election, { ...change, ...records });
    }
    for (const candidate of buried) this.#bury(candidate, end);
    for (const listener of this.listeners) listener.leaseGone?.(id, end);
  }

  /** Late by up to a check, never early. */
  #endExpired(): void {
    const { now } = this.#scheduler;
    if (this.serving) {
      for (const lease of this.#leases.values()) {
        if (lease.expiresAt <= now) this.#endLease(lease.id, 'expired');
      }
    }
    const nextMs = expiryCheckEveryMs + this.#random.between(-10, 10);
    this.#scheduler.after(nextMs, () => this.#endExpired());
  }
}
