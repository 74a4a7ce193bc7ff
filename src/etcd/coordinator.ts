// The Coordinator port on etcd: what an election needs, in etcd's terms, over the typed stubs of etcd3. It promises
// that every call ends within a bound, carries a `sentAt` taken before it was sent, and fails with a class of
// errors.ts. It decides nothing about leadership.
import type { ITxnRequest, ITxnResponse } from 'etcd3';
import type {
  Control,
  ElectionName,
  FencingToken,
  LeaseId,
  Member,
  Snapshot,
  SwitchoverRequest,
  TermRecord,
} from '../core/model.ts';
import { FencedOut, LeaseLost, Refused } from '../errors.ts';
import type {
  Answer,
  Coordinator,
  FencedStore,
  Joined,
  Release,
  TermBeginning,
  WatchNotice,
} from '../ports.ts';
import { Cluster, type ClusterOptions, type Request, type Urgency } from './cluster.ts';
import { classify, isLeaseAlreadyGranted, isOutOfSpace } from './faults.ts';
import { keysOf, leaseToDecimal, memberKey, type ElectionKeys } from './keys.ts';
import { renewOnce } from './renewal.ts';
import { newLeaseId } from './lease-id.ts';
import { encodeControl, encodeMember, encodeSwitchover } from './records.ts';
import { put } from './requests.ts';
import { EtcdFencedStore } from './store.ts';
import {
  controlTransaction,
  forgetTransaction,
  historyTransaction,
  joinTransaction,
  leaderTransaction,
  proclaimTransaction,
  readHistory,
  readJoined,
  readLeaderToken,
  readReleased,
  readSnapshot,
  readSurplusTerms,
  releaseTransaction,
  snapshotOperations,
  snapshotWidth,
} from './transactions.ts';
import { QueueWatch } from './watch.ts';

export interface EtcdOptions extends ClusterOptions {
  /** The root of every key, such as `/electord`. */
  readonly prefix: string;
}

/** etcd's default limit is 128 operations in a transaction. */
const electionsPerRead = Math.floor(128 / snapshotWidth);

export class EtcdCoordinator implements Coordinator {
  readonly #cluster: Cluster;
  readonly #options: EtcdOptions;
  readonly #keys = new Map<ElectionName, ElectionKeys>();
  readonly #watches = new Set<QueueWatch>();

  constructor(options: EtcdOptions) {
    this.#options = options;
    this.#cluster = new Cluster(options);
  }

  async grant(lease: LeaseId, ttlMs: number, urgency: Urgency = 'lease'): Promise<Answer<number>> {
    const asked = { ID: leaseToDecimal(lease), TTL: Math.round(ttlMs / 1000) };
    try {
      const { value, sentAt } = await this.#cluster.request(
        'grant',
        (endpoint, limitMs) =>
          endpoint.client().leaseClient.leaseGrant(asked, endpoint.within(limitMs)),
        urgency,
      );
      return { value: Number(value.TTL) * 1000, sentAt };
    } catch (failure) {
      // An earlier attempt arrived, but its answer did not: what was granted is learnt by renewing it.
      if (isLeaseAlreadyGranted(classify(failure))) return this.renew(lease);
      throw failure;
    }
  }

  async renew(lease: LeaseId): Promise<Answer<number>> {
    const { value, sentAt } = await this.#cluster.request('renew', (endpoint, limitMs) =>
      renewOnce(endpoint, lease, limitMs),
    );
    if (value <= 0) throw new LeaseLost(`lease ${lease} has expired or was revoked`);
    return { value: value * 1000, sentAt };
  }

  async revoke(lease: LeaseId): Promise<void> {
    try {
      await this.#cluster.request('revoke', (endpoint, limitMs) =>
        endpoint
          .client()
          .leaseClient.leaseRevoke({ ID: leaseToDecimal(lease) }, endpoint.within(limitMs)),
      );
    } catch (failure) {
      if (!(failure instanceof LeaseLost)) throw failure;
    }
  }

  async join(
    election: ElectionName,
    lease: LeaseId,
    me: Omit<Member, 'leaseId' | 'healthy'>,
  ): Promise<Answer<Joined>> {
    const keys = this.#keysOf(election);
    const { value, sentAt } = await this.#transact('join', joinTransaction(keys, lease, me));
    return { value: readJoined(keys, lease, value), sentAt };
  }

  async observe(elections: readonly ElectionName[]): Promise<Answer<readonly Snapshot[]>> {
    const groups: ElectionName[][] = [];
    for (let start = 0; start < elections.length; start += electionsPerRead) {
      groups.push(elections.slice(start, start + electionsPerRead));
    }
    const answers = await Promise.all(groups.map((group) => this.#observeGroup(group)));
    return {
      value: answers.flatMap((answer) => answer.value),
      sentAt: Math.min(...answers.map((answer) => answer.sentAt)),
    };
  }

  async release(request: Release): Promise<void> {
    const keys = this.#keysOf(request.election);
    const send = (what: Release) => this.#transact('release', releaseTransaction(keys, what));
    const { value } = await send(request).catch((failure: unknown) => {
      if (!isOutOfSpace(failure)) throw failure;
      // A full etcd has room for no record, but lets a key go: better an end that nobody explains than no successor.
      return send({ ...request, handover: null, term: null });
    });
    if (!readReleased(value, request.createRevision)) {
      throw new Refused('the queue changed while a successor was being named');
    }
  }

  async enroll(election: ElectionName, member: Member): Promise<void> {
    const key = memberKey(this.#keysOf(election), member.id);
    await this.#transact('enroll', { success: [put(key, encodeMember(member), member.leaseId)] });
  }

  async proclaim(
    election: ElectionName,
    own: Parameters<Coordinator['proclaim']>[1],
    me: Omit<Member, 'leaseId' | 'healthy'>,
    began: TermBeginning,
  ): Promise<void> {
    const keys = this.#keysOf(election);
    const { value } = await this.#transact('proclaim', proclaimTransaction(keys, own, me, began));
    if (!value.succeeded) throw new FencedOut(`term ${own.createRevision.toString()} is over`);
    const surplus = readSurplusTerms(keys, value);
    if (surplus.length > 0) await this.#transact('proclaim', forgetTransaction(keys, surplus));
  }

  async pause(election: ElectionName, control: Control, forMs: number): Promise<void> {
    await this.#putForAWhile(this.#keysOf(election).control, encodeControl(control), forMs);
  }

  async resume(election: ElectionName): Promise<void> {
    await this.#transact(
      'control',
      controlTransaction(this.#keysOf(election).control, null),
      'patient',
    );
  }

  async requestSwitchover(
    election: ElectionName,
    request: SwitchoverRequest,
    forMs: number,
  ): Promise<void> {
    const { switchover } = this.#keysOf(election);
    await this.#putForAWhile(switchover, encodeSwitchover(request), forMs);
  }

  async history(election: ElectionName): Promise<readonly TermRecord[]> {
    const keys = this.#keysOf(election);
    const { value } = await this.#transact('history', historyTransaction(keys), 'patient');
    return readHistory(keys, value);
  }

  async isCurrent(election: ElectionName, token: FencingToken): Promise<boolean> {
    const { value } = await this.#transact(
      'fence',
      leaderTransaction(this.#keysOf(election)),
      'patient',
    );
    return readLeaderToken(value) === token;
  }

  watch(elections: readonly ElectionName[], listener: (notice: WatchNotice) => void): () => void {
    const watched = elections.map((election) => ({ election, keys: this.#keysOf(election) }));
    const { ttlMs, observer, clock } = this.#options;
    const watch = new QueueWatch({
      cluster: this.#cluster,
      watched,
      observe: () => this.observe(elections),
      listener,
      ttlMs,
      observer,
      clock,
      random: Math.random,
    });
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
      transact: async (operation, request) => {
        let sent = 0;
        const attempt: Request<ITxnResponse> = (endpoint, limitMs) => {
          sent += 1;
          return endpoint.client().kv.txn(request, endpoint.within(limitMs));
        };
        const { value } = await this.#cluster.request(operation, attempt, 'patient');
        return { value, sent };
      },
      grant: (lease, ttlMs) => this.grant(lease, ttlMs, 'patient'),
      keysOf: (election) => this.#keysOf(election),
      now: () => this.#options.clock.now(),
    });
  }

  /** Certificates or the password were rotated: connections are made anew, the lease and the watch survive. */
  reset(): void {
    this.#cluster.reset();
  }

  close(): void {
    for (const watch of this.#watches) watch.stop();
    this.#watches.clear();
    this.#cluster.close();
  }

  async #observeGroup(group: readonly ElectionName[]): Promise<Answer<readonly Snapshot[]>> {
    const keys = group.map((election) => this.#keysOf(election));
    const request = { success: keys.flatMap((each) => snapshotOperations(each)) };
    const { value, sentAt } = await this.#transact('observe', request);
    const snapshots = keys.map((each, index) => {
      const reads = value.responses.slice(index * snapshotWidth, (index + 1) * snapshotWidth);
      return readSnapshot(each, value.header.revision, reads);
    });
    return { value: snapshots, sentAt };
  }

  #transact(
    operation: string,
    request: ITxnRequest,
    urgency: Urgency = 'lease',
  ): Promise<Answer<ITxnResponse>> {
    const attempt: Request<ITxnResponse> = (endpoint, limitMs) =>
      endpoint.client().kv.txn(request, endpoint.within(limitMs));
    return this.#cluster.request(operation, attempt, urgency);
  }

  /** On a lease of its own, so that the record ends by itself whatever becomes of those who wrote it. */
  async #putForAWhile(key: string, value: Buffer, forMs: number): Promise<void> {
    const lease = newLeaseId();
    await this.grant(lease, forMs, 'patient');
    await this.#transact('control', controlTransaction(key, value, lease), 'patient');
  }

  #keysOf(election: ElectionName): ElectionKeys {
    let keys = this.#keys.get(election);
    if (keys === undefined) {
      keys = keysOf(this.#options.prefix, election);
      this.#keys.set(election, keys);
    }
    return keys;
  }
}
