// The Coordinator port on etcd: what an election needs, in etcd's terms, over the typed stubs of etcd3. It promises
// that every call ends within a bound, carries a `sentAt` taken before it was sent, and fails with a class of
// errors.ts. It decides nothing about leadership.
import type { ITxnRequest, ITxnResponse } from 'etcd3';
import {
  fencingToken,
  type Control,
  type ElectionName,
  type FencingToken,
  type LeaseId,
  type Member,
  type Revision,
  type Self,
  type Snapshot,
  type SwitchoverRequest,
  type TermRecord,
} from '../core/model.ts';
import type { RecordChange, WitnessRecord } from '../core/short-lease.ts';
import { FencedOut, LeaseLost, Refused } from '../errors.ts';
import type {
  Answer,
  AuditLog,
  Coordinator,
  Deposed,
  Deposition,
  GrantedLease,
  Joined,
  LeaseTime,
  Release,
  Released,
  TermBeginning,
  WatchNotice,
} from '../ports.ts';
import type { FencedStore } from '../store-port.ts';
import { EtcdAuditLog } from './audit.ts';
import {
  Cluster,
  type ClusterOptions,
  type EtcdAccess,
  type EtcdCondition,
  type Lane,
} from './cluster.ts';
import { correctTerm } from './correction.ts';
import { classify, isLeaseAlreadyGranted, isRefusal } from './faults.ts';
import { candidateKey, keyring, leaseToDecimal, type ElectionKeys } from './keys.ts';
import { askTimeOnce, renewOnce } from './renewal.ts';
import { newLeaseId } from './lease-id.ts';
import { encodeControl, encodeSwitchover } from './records.ts';
import { concedeTerm, proclaimTerm } from './own-term.ts';
import { publishedBy, publishedIn, type Publication } from './publication.ts';
import { deposeLeader, releaseKey } from './release.ts';
import { put, remove } from './requests.ts';
import { EtcdFencedStore } from './store.ts';
import {
  enrollTransaction,
  historyTransaction,
  joinTransaction,
  leaderTransaction,
  readEnrolled,
  readHistory,
  readJoined,
  readLeaderToken,
  readRecordedWitnesses,
  readSnapshot,
  recordWitnessesTransaction,
  snapshotOperations,
  snapshotWidth,
} from './transactions.ts';
import { tryAsMember } from './trial.ts';
import { carryOut, type Transact, type Verb } from './verbs.ts';
import { QueueWatch } from './watch.ts';

export type { EtcdCondition } from './cluster.ts';

export interface EtcdOptions extends ClusterOptions {
  /** The root of every key, such as `/electord`. */
  readonly prefix: string;
  /** What the leader of each election keeps there for others; nothing by default. */
  readonly publish?: readonly Publication[];
}

/** etcd's default limit is 128 operations in a transaction. */
const electionsPerRead = Math.floor(128 / snapshotWidth);
/** Races over our own keys are lost to copies of our own requests: so many in a row are no accident. */
const attemptsAtMost = 8;

export class EtcdCoordinator implements Coordinator {
  readonly #cluster: Cluster;
  readonly #options: EtcdOptions;
  readonly #keysOf: (election: ElectionName) => ElectionKeys;
  readonly #watches = new Set<QueueWatch>();
  /** The elections whose newest term of ours etcd did not let publish anything. */
  readonly #unpublished = new Set<ElectionName>();

  constructor(options: EtcdOptions) {
    this.#options = options;
    this.#cluster = new Cluster(options);
    this.#keysOf = keyring(options.prefix);
  }

  async grant(lease: LeaseId, ttlMs: number, lane: Lane = 'lease'): Promise<Answer<number>> {
    const asked = { ID: leaseToDecimal(lease), TTL: Math.round(ttlMs / 1000) };
    try {
      const { value, sentAt } = await this.#cluster.request(
        'grant',
        (endpoint, limitMs) =>
          endpoint.client().leaseClient.leaseGrant(asked, endpoint.within(limitMs)),
        lane,
      );
      return { value: Number(value.TTL) * 1000, sentAt };
    } catch (failure) {
      // An earlier attempt arrived, but its answer did not: what was granted is learnt by renewing it.
      if (isLeaseAlreadyGranted(classify(failure))) return this.renew(lease);
      throw failure;
    }
  }

  async renew(lease: LeaseId): Promise<Answer<number>> {
    const { value, sentAt } = await this.#cluster.request(
      'renew',
      (endpoint, limitMs) => renewOnce(endpoint, lease, limitMs),
      'lease',
    );
    const ttlMs = Number(value.TTL) * 1000;
    if (ttlMs <= 0) throw new LeaseLost(`lease ${lease} has expired or was revoked`);
    return { value: ttlMs, sentAt };
  }

  async timeToLive(lease: LeaseId): Promise<Answer<LeaseTime | null>> {
    const { value, sentAt } = await this.#cluster.request('timeToLive', (endpoint, limitMs) =>
      askTimeOnce(endpoint, lease, this.#options.prefix, limitMs),
    );
    return { value: value.time, sentAt };
  }

  async revoke(lease: LeaseId): Promise<void> {
    try {
      await this.#cluster.request(
        'revoke',
        (endpoint, limitMs) =>
          endpoint
            .client()
            .leaseClient.leaseRevoke({ ID: leaseToDecimal(lease) }, endpoint.within(limitMs)),
        'lease',
      );
    } catch (failure) {
      if (!(failure instanceof LeaseLost)) throw failure;
    }
  }

  async join(election: ElectionName, lease: GrantedLease, me: Self): Promise<Answer<Joined>> {
    const keys = this.#keysOf(election);
    let left: Revision | null = null;
    for (let count = 0; count < attemptsAtMost; count += 1) {
      const request = joinTransaction(keys, lease, me, left);
      const { value, sentAt } = await this.#cluster.transact('join', request, 'queue');
      const joined = readJoined(keys, lease.leaseId, value);
      const { own, snapshot, newestTerm } = joined;
      if (own?.leaseId === lease.leaseId) {
        return { value: { createRevision: own.createRevision, newestTerm, snapshot }, sentAt };
      }
      if (own !== null) break;
      ({ left } = joined);
    }
    throw new Refused(`the key ${candidateKey(keys, lease.leaseId)} is not ours`);
  }

  observe(elections: readonly ElectionName[]): readonly Promise<Answer<Snapshot>>[] {
    const groups: ElectionName[][] = [];
    for (let start = 0; start < elections.length; start += electionsPerRead) {
      groups.push(elections.slice(start, start + electionsPerRead));
    }
    return groups.flatMap((group) => this.#observeGroup(group));
  }

  release(request: Release): Promise<Answer<Released>> {
    const ends = request.term !== null || request.handover !== null;
    const published = ends ? this.#publishedIn(request.election) : [];
    return releaseKey(this.#asking('release'), this.#keysOf(request.election), request, published);
  }

  async recordWitnesses(
    election: ElectionName,
    own: Parameters<Coordinator['recordWitnesses']>[1],
    change: RecordChange,
  ): Promise<Answer<WitnessRecord>> {
    const request = recordWitnessesTransaction(this.#keysOf(election), own, change);
    const { value, sentAt } = await this.#cluster.transact('recordWitnesses', request, 'urgent');
    const record = readRecordedWitnesses(own, value);
    if (record === null) throw new FencedOut(`term ${own.createRevision.toString()} is over`);
    return { value: record, sentAt };
  }

  depose(request: Deposition): Promise<Answer<Deposed>> {
    const published = this.#publishedIn(request.election);
    const ask = this.#asking('depose', 'urgent');
    return deposeLeader(ask, this.#keysOf(request.election), request, published);
  }

  async enroll(election: ElectionName, member: Member): Promise<void> {
    const keys = this.#keysOf(election);
    let was: Revision | null = null;
    for (let count = 0; count < attemptsAtMost; count += 1) {
      const request = enrollTransaction(keys, member, was);
      const { value } = await this.#cluster.transact('enroll', request, 'queue');
      const found = readEnrolled(member, value);
      if (found.enrolled) return;
      ({ was } = found);
    }
    throw new Refused(`others keep writing the member record of ${member.id}`);
  }

  async proclaim(
    election: ElectionName,
    own: Parameters<Coordinator['proclaim']>[1],
    me: Self,
    began: TermBeginning,
  ): Promise<void> {
    const { publish = [] } = this.#options;
    const published = publishedBy(publish, election, fencingToken(own.createRevision));
    const proclamation = { own, me, began, published };
    const ask = this.#asking('proclaim');
    const refusal = await proclaimTerm(ask, this.#keysOf(election), proclamation);
    if (refusal === null) return void this.#unpublished.delete(election);
    this.#unpublished.add(election);
    throw new Refused(`the term is, but what it publishes is not: ${refusal.message}`, {
      cause: refusal,
    });
  }

  concede(...[election, own, me, concession]: Parameters<Coordinator['concede']>): Promise<void> {
    const [keys, published] = [this.#keysOf(election), this.#publishedIn(election)];
    return concedeTerm(this.#asking('concede'), keys, own, me, concession, published);
  }

  async correct(election: ElectionName, ended: TermRecord): Promise<void> {
    const transact: Transact = (request) => this.#cluster.transact('correct', request);
    await correctTerm(transact, this.#keysOf(election), ended);
  }

  async pause(election: ElectionName, control: Control, forMs: number): Promise<void> {
    await this.#putForAWhile(election, 'control', encodeControl(control), forMs);
  }

  async resume(election: ElectionName): Promise<void> {
    const verb = { operations: [remove(this.#keysOf(election).control)] };
    try {
      await this.#carryOut(election, verb);
    } catch (failure) {
      if (!isRefusal(failure)) throw failure;
      // A full etcd takes deletions only; it takes no pause either that could be late.
      await this.#carryOut(election, { ...verb, named: false });
    }
  }

  async requestSwitchover(
    election: ElectionName,
    request: SwitchoverRequest,
    forMs: number,
  ): Promise<void> {
    await this.#putForAWhile(election, 'switchover', encodeSwitchover(request), forMs);
  }

  async history(election: ElectionName): Promise<readonly TermRecord[]> {
    const keys = this.#keysOf(election);
    const { value } = await this.#cluster.transact('history', historyTransaction(keys), 'patient');
    return readHistory(keys, value);
  }

  async isCurrent(election: ElectionName, token: FencingToken): Promise<boolean> {
    const { value } = await this.#cluster.transact(
      'fence',
      leaderTransaction(this.#keysOf(election)),
      'patient',
    );
    return readLeaderToken(value) === token;
  }

  watch(elections: readonly ElectionName[], listener: (notice: WatchNotice) => void): () => void {
    const watched = elections.map((election) => ({ election, keys: this.#keysOf(election) }));
    const { ttlMs, observer, clock } = this.#options;
    const parts = { cluster: this.#cluster, watched, listener, ttlMs, observer, clock };
    const observe: Coordinator['observe'] = (names) => this.observe(names);
    const watch = new QueueWatch({ ...parts, observe, random: Math.random });
    this.#watches.add(watch);
    watch.start();
    return () => {
      this.#watches.delete(watch);
      watch.stop();
    };
  }

  /** State and journal, over the same connections. */
  fencedStore(): FencedStore {
    return new EtcdFencedStore({
      transact: (operation, request) => this.#cluster.transact(operation, request, 'patient'),
      grant: (lease, ttlMs) => this.grant(lease, ttlMs, 'patient'),
      keysOf: this.#keysOf,
      now: () => this.#options.clock.now(),
    });
  }

  /** What was asked for by verbs, likewise. */
  auditLog(): AuditLog {
    const transact: Transact = (request) => this.#cluster.transact('audit', request, 'patient');
    return new EtcdAuditLog(transact, this.#keysOf);
  }

  /** Looks at every endpoint once. Rejects with OtherCluster where they are of two clusters. */
  async meet(): Promise<void> {
    await this.#cluster.meet();
  }

  /** What keeps etcd, or some of its endpoints, from being used, beyond not answering. */
  condition(): EtcdCondition {
    return this.#cluster.condition();
  }

  /** Connections are made anew, the lease and the watch survive. */
  reset(): void {
    this.#cluster.reset();
  }

  /** As Cluster does, tried on an election: lease and watch survive. */
  async configure(access: EtcdAccess, election: ElectionName): Promise<void> {
    await this.#cluster.configure(access, (tried) =>
      tryAsMember(this.#keysOf(election), (request) => tried.transact('observe', request)),
    );
  }

  /** The endpoints that requests go to now. */
  endpoints(): readonly string[] {
    return this.#cluster.inOrder().map(({ url }) => url);
  }

  close(): void {
    for (const watch of this.#watches) watch.stop();
    this.#watches.clear();
    this.#cluster.close();
  }

  #asking(operation: string, lane?: Lane): (request: ITxnRequest) => Promise<Answer<ITxnResponse>> {
    return (request) => this.#cluster.transact(operation, request, lane);
  }

  /** The keys that a term of the election may have published; nothing where etcd refused that to ours. */
  #publishedIn(election: ElectionName): readonly string[] {
    const { publish = [] } = this.#options;
    return this.#unpublished.has(election) ? [] : publishedIn(publish, election);
  }

  /** What etcd refuses for all of them is asked for each: one that cannot be read takes no other with it. */
  #observeGroup(group: readonly ElectionName[]): readonly Promise<Answer<Snapshot>>[] {
    const keys = group.map((election) => this.#keysOf(election));
    const request = { success: keys.flatMap((each) => snapshotOperations(each)) };
    const answer = this.#cluster.transact('observe', request);
    return keys.map(async (each, index) => {
      try {
        const { value, sentAt } = await answer;
        const reads = value.responses.slice(index * snapshotWidth, (index + 1) * snapshotWidth);
        return { value: readSnapshot(each, value.header.revision, reads), sentAt };
      } catch (failure) {
        const [again] =
          group.length > 1 && isRefusal(failure)
            ? this.#observeGroup(group.slice(index, index + 1))
            : [];
        if (again === undefined) throw failure;
        return again;
      }
    });
  }

  /** On a lease of its own, so that the record ends by itself whatever becomes of those who wrote it. */
  async #putForAWhile(
    election: ElectionName,
    name: 'control' | 'switchover',
    value: Buffer,
    forMs: number,
  ): Promise<void> {
    const lease = newLeaseId();
    await this.grant(lease, forMs, 'patient');
    await this.#carryOut(election, {
      operations: [put(this.#keysOf(election)[name], value, lease)],
    });
  }

  async #carryOut(election: ElectionName, verb: Verb): Promise<void> {
    const transact: Transact = (request) => this.#cluster.transact('control', request, 'patient');
    await carryOut(transact, this.#keysOf(election), verb);
  }
}
