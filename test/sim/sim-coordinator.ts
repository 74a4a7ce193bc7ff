// The Coordinator port of one sidecar, on the model of etcd behind the simulated network. It sends, hedges, gives up and
// watches as src/etcd does, within the same bounds, and so brings about the same doubts: a request that was given up
// may still be carried out, and two attempts at one may both be, in either order.
import { fencingToken, leaseId as asLeaseId } from '../../src/core/model.ts';
import { publishedBy, publishedIn } from '../../src/etcd/publication.ts';
import type {
  Concession,
  Control,
  ElectionName,
  FencingToken,
  LeaseId,
  Member,
  Millis,
  Revision,
  Self,
  Snapshot,
  SwitchoverRequest,
  TermRecord,
} from '../../src/core/model.ts';
import type { RecordChange, WitnessRecord } from '../../src/core/short-lease.ts';
import { FencedOut, LeaseLost, Unreachable, type ElectordError } from '../../src/errors.ts';
import { requestBounds, watchProbe, type RequestBounds } from '../../src/policies.ts';
import type {
  Answer,
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
} from '../../src/ports.ts';
import type { ModelEtcd } from './model-etcd.ts';
import type { Network, Outcome, Side } from './network.ts';
import type { Process } from './process.ts';
import { SimWatch } from './sim-watch.ts';
import type { Scheduler } from './scheduler.ts';

/** What has been told to a process: what it must act upon from then on. */
export interface Told {
  /** The newest revision of each election that it has been told of. */
  readonly revisions: Map<ElectionName, bigint>;
  /** When the newest answered linearizable read of each election was sent, by the process's clock. */
  readonly confirmedAt: Map<ElectionName, Millis>;
  /** When the newest answered renewal or grant of each lease was sent, and the TTL that it granted. */
  readonly renewedAt: Map<LeaseId, { readonly sentAt: Millis; readonly ttlMs: number }>;
}

export const toldNothing = (): Told => ({
  revisions: new Map(),
  confirmedAt: new Map(),
  renewedAt: new Map(),
});

export interface SimCoordinatorOptions {
  readonly scheduler: Scheduler;
  readonly etcd: ModelEtcd;
  readonly network: Network;
  readonly side: Side;
  readonly process: Process;
  readonly ttlMs: number;
  readonly told: Told;
  /** The process is told that a lease is no more. */
  readonly leaseLost: (leaseId: LeaseId) => void;
  /** What was asked and how it ended, for the transcript. */
  readonly trace: ((what: string) => void) | null;
}

/** What a leader publishes. */
export const publications = [{ key: '/published/{election}', value: '{token} of {election}' }];

type Ended<Value> = (outcome: Outcome<Answer<Value>>) => void;

export class SimCoordinator implements Coordinator {
  readonly options: SimCoordinatorOptions;
  readonly bounds: RequestBounds;
  readonly probe: ReturnType<typeof watchProbe>;
  readonly #failing = new Map<string, string>();
  /** The member that answered last. */
  preferred = 0;

  constructor(options: SimCoordinatorOptions) {
    this.options = options;
    this.bounds = requestBounds(options.ttlMs);
    this.probe = watchProbe(options.ttlMs);
  }

  grant(leaseId: LeaseId, ttlMs: number): Promise<Answer<number>> {
    const { etcd } = this.options;
    return this.#promise<number>((ended) => {
      const granted: Ended<number> = (outcome) => {
        if (outcome.ok) this.#toldOfRenewal(leaseId, outcome.value);
        ended(outcome);
      };
      const attempt = (): number | null => etcd.grant(leaseId, ttlMs);
      this.request<number | null>('grant', attempt, (outcome) => {
        if (!outcome.ok) return granted(outcome);
        const { value, sentAt } = outcome.value;
        if (value !== null) return granted({ ok: true, value: { value, sentAt } });
        // An earlier attempt arrived, but its answer did not: what was granted is learnt by renewing it.
        this.request('renew', () => etcd.renew(leaseId), granted);
      });
    });
  }

  renew(leaseId: LeaseId): Promise<Answer<number>> {
    const { etcd } = this.options;
    return this.#promise<number>((ended) => {
      this.request<number>(
        'renew',
        () => etcd.renew(leaseId),
        (outcome) => {
          if (outcome.ok) this.#toldOfRenewal(leaseId, outcome.value);
          else this.#toldOfFailure(leaseId, outcome.error);
          ended(outcome);
        },
      );
    });
  }

  timeToLive(leaseId: LeaseId): Promise<Answer<LeaseTime | null>> {
    const { etcd, network } = this.options;
    return this.#promise<LeaseTime | null>((ended) => {
      const attempt = (node: number): LeaseTime | null => {
        const past = network.isInThePast(node);
        const answer = past ? etcd.timeToLiveInThePast(leaseId) : etcd.timeToLive(leaseId);
        // The linearizable read that confirms an answer is of another term of etcd's.
        return past ? null : answer;
      };
      this.request('timeToLive', attempt, ended);
    });
  }

  async revoke(leaseId: LeaseId): Promise<void> {
    const { etcd } = this.options;
    await this.#command('revoke', () => etcd.revoke(leaseId));
  }

  join(election: ElectionName, lease: GrantedLease, me: Self): Promise<Answer<Joined>> {
    const { etcd } = this.options;
    return this.#promise<Joined>((ended) => {
      const ask = (left: Revision | null): void => {
        const attempt = (): ReturnType<ModelEtcd['join']> => etcd.join(election, lease, me, left);
        this.request<ReturnType<ModelEtcd['join']>>('join', attempt, (outcome) => {
          if (!outcome.ok) {
            this.#toldOfFailure(lease.leaseId, outcome.error);
            return ended(outcome);
          }
          const { value, sentAt } = outcome.value;
          if (value.joined === null) return ask(value.left);
          this.toldOfSnapshot(election, value.joined.snapshot, sentAt);
          ended({ ok: true, value: { value: value.joined, sentAt } });
        });
      };
      ask(null);
    });
  }

  observe(elections: readonly ElectionName[]): readonly Promise<Answer<Snapshot>>[] {
    const all = this.#promise<readonly Snapshot[]>((ended) => this.read(elections, ended));
    return elections.map(async (_, index) => {
      const { value, sentAt } = await all;
      return { value: value[index]!, sentAt };
    });
  }

  release(request: Release): Promise<Answer<Released>> {
    const { etcd } = this.options;
    return this.#promise<Released>((ended) => {
      this.request<Released>(
        'release',
        () => etcd.release(request, this.#publishedIn(request.election)),
        (outcome) => {
          if (outcome.ok) {
            const { value, sentAt } = outcome.value;
            this.toldOfSnapshot(request.election, value.snapshot, sentAt);
          }
          ended(outcome);
        },
      );
    });
  }

  recordWitnesses(
    election: ElectionName,
    own: Parameters<Coordinator['recordWitnesses']>[1],
    change: RecordChange,
  ): Promise<Answer<WitnessRecord>> {
    const { etcd } = this.options;
    return this.#promise<WitnessRecord>((ended) => {
      const attempt = (): WitnessRecord => {
        const record = etcd.recordWitnesses(election, own, change);
        if (record === null) throw new FencedOut(`term ${own.createRevision} is over`);
        return record;
      };
      this.request<WitnessRecord>('recordWitnesses', attempt, ended);
    });
  }

  depose(request: Deposition): Promise<Answer<Deposed>> {
    const { etcd } = this.options;
    return this.#promise<Deposed>((ended) => {
      this.request<Deposed>(
        'depose',
        () => etcd.depose(request, this.#publishedIn(request.election)),
        (outcome) => {
          if (outcome.ok) {
            const { value, sentAt } = outcome.value;
            this.toldOfSnapshot(request.election, value.snapshot, sentAt);
          }
          ended(outcome);
        },
      );
    });
  }

  async enroll(election: ElectionName, member: Member): Promise<void> {
    const { etcd } = this.options;
    await this.#promise<null>((ended) => {
      const ask = (was: Revision | null): void => {
        const attempt = (): ReturnType<ModelEtcd['enroll']> => etcd.enroll(election, member, was);
        this.request<ReturnType<ModelEtcd['enroll']>>('enroll', attempt, (outcome) => {
          if (!outcome.ok) {
            this.#toldOfFailure(member.leaseId, outcome.error);
            return ended(outcome);
          }
          const { value, sentAt } = outcome.value;
          if (!value.written && value.there !== member) return ask(value.at);
          ended({ ok: true, value: { value: null, sentAt } });
        });
      };
      ask(null);
    });
  }

  async proclaim(
    election: ElectionName,
    own: Parameters<Coordinator['proclaim']>[1],
    me: Self,
    began: TermBeginning,
  ): Promise<void> {
    const { etcd } = this.options;
    const published = publishedBy(publications, election, fencingToken(own.createRevision));
    await this.#command('proclaim', () => etcd.proclaim(election, own, me, began, published));
  }

  async concede(
    election: ElectionName,
    own: Parameters<Coordinator['concede']>[1],
    { since }: Parameters<Coordinator['concede']>[2],
    concession: Concession,
  ): Promise<void> {
    const { etcd } = this.options;
    const published = this.#publishedIn(election);
    const attempt = (): void => etcd.concede(election, own, since, concession, published);
    await this.#command('concede', attempt);
  }

  async correct(election: ElectionName, ended: TermRecord): Promise<void> {
    const { etcd } = this.options;
    await this.#command('correct', () => etcd.correct(election, ended));
  }

  async pause(election: ElectionName, control: Control, forMs: number): Promise<void> {
    const { etcd } = this.options;
    const put = (lease: LeaseId): void => etcd.putControl(election, control, lease);
    await this.#putForAWhile(election, forMs, put);
  }

  async resume(election: ElectionName): Promise<void> {
    const { etcd } = this.options;
    await this.#carryOut(election, () => etcd.putControl(election, null));
  }

  async requestSwitchover(
    election: ElectionName,
    request: SwitchoverRequest,
    forMs: number,
  ): Promise<void> {
    const { etcd } = this.options;
    const put = (lease: LeaseId): void => etcd.putSwitchover(election, request, lease);
    await this.#putForAWhile(election, forMs, put);
  }

  async history(election: ElectionName): Promise<readonly TermRecord[]> {
    const { etcd } = this.options;
    const { value } = await this.#promise<readonly TermRecord[]>((ended) => {
      this.request('history', () => etcd.history(election), ended);
    });
    return value;
  }

  async isCurrent(election: ElectionName, token: FencingToken): Promise<boolean> {
    const { etcd } = this.options;
    const { value } = await this.#promise<boolean>((ended) => {
      this.request('fence', () => etcd.isCurrent(election, token), ended);
    });
    return value;
  }

  async #putForAWhile(
    election: ElectionName,
    forMs: number,
    put: (lease: LeaseId) => void,
  ): Promise<void> {
    const lease = asLeaseId(`e${this.options.side.random.below(0xffffffff).toString(16)}`);
    await this.grant(lease, forMs);
    await this.#carryOut(election, () => put(lease));
  }

  /** As src/etcd/verbs.ts: guarded by the verb before it, and so carried out at most once. */
  async #carryOut(election: ElectionName, act: () => void): Promise<void> {
    const { etcd, side } = this.options;
    const id = side.random.below(0xffffffff).toString(16);
    await this.#promise<null>((ended) => {
      const done = (sentAt: Millis): void => ended({ ok: true, value: { value: null, sentAt } });
      const ask = (was: Revision | null): void => {
        const attempt = (): ReturnType<ModelEtcd['verb']> =>
          etcd.carryOut(election, { id, was, act });
        const request = this.request<ReturnType<ModelEtcd['verb']>>(
          'control',
          attempt,
          (outcome) => {
            if (!outcome.ok) return ended(outcome);
            const { value: last, sentAt } = outcome.value;
            if (last?.id === id) return done(sentAt);
            const error = new Unreachable('whether it was done is not known');
            if (request.sent > 1) return ended({ ok: false, error });
            ask(last?.at ?? null);
          },
        );
      };
      this.request<ReturnType<ModelEtcd['verb']>>(
        'control',
        () => etcd.verb(election),
        (outcome) => {
          if (outcome.ok) ask(outcome.value.value?.at ?? null);
          else ended(outcome);
        },
      );
    });
  }

  watch(elections: readonly ElectionName[], listener: (notice: WatchNotice) => void): () => void {
    const watch = new SimWatch(this, elections, listener);
    this.watches.add(watch);
    watch.open();
    return () => {
      this.watches.delete(watch);
      watch.stop();
    };
  }

  /** The watches that are open, for faults that befall them. */
  readonly watches = new Set<SimWatch>();

  close(): void {
    for (const watch of this.watches) watch.stop();
  }

  /** One linearizable read of some elections. */
  read(elections: readonly ElectionName[], ended: Ended<readonly Snapshot[]>): void {
    const { etcd } = this.options;
    const attempt = (): readonly Snapshot[] => elections.map((name) => etcd.snapshot(name));
    this.request<readonly Snapshot[]>('observe', attempt, (outcome) => {
      if (outcome.ok) {
        const { value, sentAt } = outcome.value;
        elections.forEach((name, index) => this.toldOfSnapshot(name, value[index]!, sentAt));
      }
      ended(outcome);
    });
  }

  toldOfSnapshot(election: ElectionName, snapshot: Snapshot, sentAt: Millis): void {
    const { confirmedAt } = this.options.told;
    confirmedAt.set(election, Math.max(confirmedAt.get(election) ?? sentAt, sentAt));
    this.toldOfRevision(election, snapshot.revision);
  }

  toldOfRevision(election: ElectionName, revision: bigint): void {
    const { revisions } = this.options.told;
    const before = revisions.get(election);
    if (before === undefined || before < revision) revisions.set(election, revision);
  }

  /** Runs one request against the members of etcd, hedged, until one answers or all have failed. */
  request<Value>(
    operation: string,
    execute: (node: number) => Value,
    ended: Ended<Value>,
  ): { readonly sent: number } {
    const { process } = this.options;
    const request = new HedgedRequest<Value>(this, operation, execute, (outcome) => {
      this.#trace(operation, outcome.ok ? null : outcome.error.message);
      if (process.alive) ended(outcome);
    });
    request.startNext();
    return request;
  }

  #publishedIn(election: ElectionName): readonly string[] {
    return publishedIn(publications, election);
  }

  /** A request whose answer is only that it was carried out; `leaseId` is what it hangs on. */
  async #command(operation: string, execute: () => void, leaseId?: LeaseId): Promise<void> {
    const attempt = (): null => {
      execute();
      return null;
    };
    await this.#promise<null>((ended) => {
      this.request<null>(operation, attempt, (outcome) => {
        if (!outcome.ok && leaseId !== undefined) this.#toldOfFailure(leaseId, outcome.error);
        ended(outcome);
      });
    });
  }

  /** A failure is told once, until it is another one or over. */
  #trace(operation: string, failure: string | null): void {
    const { trace } = this.options;
    if (trace === null) return;
    if (failure !== null && this.#failing.get(operation) !== failure) {
      trace(`${operation}: ${failure}`);
    }
    if (failure === null) this.#failing.delete(operation);
    else this.#failing.set(operation, failure);
  }

  #promise<Value>(run: (ended: Ended<Value>) => void): Promise<Answer<Value>> {
    return new Promise((resolve, reject) => {
      run((outcome) => {
        this.options.scheduler.settled();
        if (outcome.ok) resolve(outcome.value);
        else reject(outcome.error);
      });
    });
  }

  #toldOfRenewal(leaseId: LeaseId, { value: ttlMs, sentAt }: Answer<number>): void {
    const { renewedAt } = this.options.told;
    const before = renewedAt.get(leaseId);
    if (before === undefined || before.sentAt < sentAt) renewedAt.set(leaseId, { sentAt, ttlMs });
  }

  #toldOfFailure(leaseId: LeaseId, error: ElectordError): void {
    if (error instanceof LeaseLost) this.options.leaseLost(leaseId);
  }
}

/** One idempotent request: the first member gets a head start, then each further one is asked as well. */
class HedgedRequest<Value> {
  readonly #coordinator: SimCoordinator;
  readonly #operation: string;
  readonly #execute: (node: number) => Value;
  readonly #ended: Ended<Value>;
  readonly #first: number;
  #started = 0;
  #open = 0;
  #settled = false;

  constructor(
    coordinator: SimCoordinator,
    operation: string,
    execute: (node: number) => Value,
    ended: Ended<Value>,
  ) {
    this.#coordinator = coordinator;
    this.#operation = operation;
    this.#execute = execute;
    this.#ended = ended;
    this.#first = coordinator.preferred;
  }

  /** To how many members it was sent. */
  get sent(): number {
    return this.#started;
  }

  startNext(): void {
    const { options, bounds } = this.#coordinator;
    const { network, side, process } = options;
    const nodeCount = network.nodes.length;
    if (this.#settled || this.#started >= nodeCount || !process.alive) return;
    const node = (this.#first + this.#started) % nodeCount;
    this.#started += 1;
    this.#open += 1;
    let over = false;
    const more = this.#started < nodeCount;
    const cancelHedge = more
      ? process.timer(bounds.hedgeAfterMs, () => this.startNext())
      : () => undefined;
    const finish = (outcome: Outcome<Answer<Value>>): void => {
      if (over) return;
      over = true;
      this.#open -= 1;
      cancelHedge();
      cancelLimit();
      this.#finished(outcome, node);
    };
    const sentAt = process.now();
    const lateByMs = bounds.hedgeAfterMs * side.random.next();
    const cancelLimit = process.timer(bounds.attemptMs + lateByMs, () => {
      finish({ ok: false, error: new Unreachable('no answer in time') });
    });
    network.request(side, node, this.#operation, this.#execute, (outcome) => {
      // An answer to somebody who no longer waits need not wake him up.
      if (over) return;
      process.deliver(() => {
        finish(outcome.ok ? { ok: true, value: { value: outcome.value, sentAt } } : outcome);
      });
    });
  }

  #finished(outcome: Outcome<Answer<Value>>, node: number): void {
    if (this.#settled) return;
    if (outcome.ok) {
      this.#coordinator.preferred = node;
      return this.#settle(outcome);
    }
    const elsewhere = outcome.error instanceof Unreachable;
    if (elsewhere && this.#started < this.#coordinator.options.network.nodes.length) {
      this.startNext();
    } else if (!elsewhere || this.#open === 0) this.#settle(outcome);
  }

  #settle(outcome: Outcome<Answer<Value>>): void {
    this.#settled = true;
    this.#ended(outcome);
  }
}
