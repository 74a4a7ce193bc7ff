// What the machines ask of etcd: effects become calls on the coordinator, and their answers come back as mail. It decides
// nothing and waits for nobody. A lost lease ends the session; a handler of an answer that throws is a bug, and fatal.
import { assert, AssertionFailure, assertNever } from '../core/assert.ts';
import type {
  Candidacy,
  CandidacyEffect,
  CandidacyEvent,
  Ending,
  OwnKey,
} from '../core/candidacy.ts';
import {
  fencingToken,
  type Candidate,
  type ElectionName,
  type LeaseId,
  type Millis,
} from '../core/model.ts';
import type { TermRecord } from '../core/model.ts';
import type { SessionEffect, SessionEvent } from '../core/session.ts';
import { LeaseLost } from '../errors.ts';
import type { ElectionPing } from '../core/model.ts';
import type { Clock, Coordinator, Notice, Pings, Release } from '../ports.ts';

/** What the machines are told, one at a time. */
export type Mail =
  | { readonly to: 'session'; readonly event: SessionEvent }
  | { readonly to: 'election'; readonly name: ElectionName; readonly event: CandidacyEvent }
  | { readonly to: 'everybody'; readonly event: CandidacyEvent };

/** The effects of an election that ask something of etcd, or of another member. */
export type Asking = Exclude<
  CandidacyEffect,
  { readonly kind: 'elected' | 'ended' | 'cutOff' | 'giveUpLease' }
>;

type ReleaseEffect = Extract<CandidacyEffect, { kind: 'release' }>;

export interface RequestsOptions {
  readonly clock: Clock;
  readonly coordinator: Coordinator;
  readonly pings: Pings | null;
  readonly me: Candidacy['me'];
  /** A number in [0, 1), for jitter. */
  readonly random: () => number;
  /** A lease id that nobody else uses: 63 random bits. */
  readonly newLeaseId: () => LeaseId;
  /** The generation of the lease that is held now, 0 where there is none. */
  readonly generation: () => number;
  /** Takes all of it in one turn. */
  readonly post: (...mail: readonly Mail[]) => void;
  readonly announce: (notice: Notice) => void;
  readonly onFatal: (failure: unknown) => void;
}

export class Requests {
  readonly #options: RequestsOptions;
  #toObserve = new Set<ElectionName>();
  #toAsk = new Map<LeaseId, readonly ElectionName[]>();
  /** By the url and key of a process: the pings that are due. */
  #toPing = new Map<string, { readonly to: Candidate; readonly pings: ElectionPing[] }>();
  #contact: { readonly sentAt: Millis; readonly tookMs: number } | null = null;
  #releasedAt: Millis = Number.NEGATIVE_INFINITY;

  constructor(options: RequestsOptions) {
    this.#options = options;
  }

  /** The newest request that etcd answered; null before the first answer. */
  get newestContact(): { readonly sentAt: Millis; readonly tookMs: number } | null {
    return this.#contact;
  }

  /** When etcd last said that a key of ours is released. */
  get releasedAt(): Millis {
    return this.#releasedAt;
  }

  performForSession(effect: SessionEffect): void {
    const { generation } = effect;
    switch (effect.kind) {
      case 'grant':
        return this.#grant(generation, effect.ttlMs);
      case 'renew':
        return this.#renew(generation, effect.leaseId);
      case 'revoke': {
        const revoked = (): void => this.#tellSession({ kind: 'revoked', generation });
        const call = this.#options.coordinator.revoke(effect.leaseId);
        return this.#call('revoke', null, call, revoked, revoked);
      }
      default:
        return assertNever(effect);
    }
  }

  perform(name: ElectionName, effect: Asking): void {
    const { coordinator, clock } = this.#options;
    switch (effect.kind) {
      case 'observe':
        this.#toObserve.add(name);
        return;
      case 'askTimeToLive':
        for (const lease of effect.leases) {
          this.#toAsk.set(lease, [...(this.#toAsk.get(lease) ?? []), name]);
        }
        return;
      case 'join':
        return this.#join(name, effect);
      case 'release':
        return this.#release(name, effect);
      case 'enroll':
        return this.#call('enroll', name, coordinator.enroll(name, effect.member));
      case 'proclaim': {
        const { since, leaderlessMs, leaderlessAtMostMs, endBefore } = effect.term;
        const before = { leaderlessMs, leaderlessAtMostMs, endBefore };
        const began = { since: clock.wallTimeOf(since), ...before };
        const call = coordinator.proclaim(name, effect.own, effect.me, began);
        return this.#call('proclaim', name, call);
      }
      case 'concede': {
        const { own, me, term, concession } = effect;
        const since = clock.wallTimeOf(term.since);
        const call = coordinator.concede(name, own, { ...me, since }, concession);
        return this.#call('concede', name, call);
      }
      case 'correct': {
        const record = this.#recordOf(effect.ending, effect.own);
        return this.#call('correct', name, coordinator.correct(name, record));
      }
      case 'ping':
        return this.#toPingLater(name, effect);
      case 'record':
        return this.#record(name, effect);
      case 'depose':
        return this.#depose(name, effect);
      default:
        return assertNever(effect);
    }
  }

  /** All elections that are due in one turn are asked for at once; each is confirmed by its own answer. */
  observe(): void {
    if (this.#toObserve.size === 0) return;
    const names = [...this.#toObserve];
    this.#toObserve = new Set();
    const answers = this.#options.coordinator.observe(names);
    const failed = new Map<unknown, ElectionName[]>();
    const all = names.map((name, index) => {
      const answer = answers[index];
      assert(answer !== undefined, 'every election asked for is answered');
      return answer.then(
        ({ value: snapshot, sentAt }) => {
          this.contact(sentAt);
          this.#tell(name, { kind: 'observed', snapshot, sentAt });
        },
        (failure: unknown) => void failed.set(failure, [...(failed.get(failure) ?? []), name]),
      );
    });
    this.#orFatal(Promise.all(all).then(() => this.#tellOfFailures(failed)));
  }

  /** What failed together, for one reason, is told once. */
  #tellOfFailures(failed: ReadonlyMap<unknown, readonly ElectionName[]>): void {
    for (const [failure, [name = null, ...more]] of failed) {
      const election = more.length === 0 ? name : null;
      const trouble = { kind: 'trouble', operation: 'observe', election } as const;
      this.#options.announce({ ...trouble, error: errorOf(failure) });
    }
  }

  /** A lease that many elections hang on is asked about once. */
  askTimeToLive(): void {
    const asked = this.#toAsk;
    this.#toAsk = new Map();
    for (const [leaseId, names] of asked) {
      const call = this.#options.coordinator.timeToLive(leaseId);
      this.#call('timeToLive', null, call, ({ value, sentAt: askedAt }) => {
        if (value === null) return;
        for (const name of names)
          this.#tell(name, { kind: 'timeToLive', leaseId, askedAt, ...value });
      });
    }
  }

  /** A process that is pinged for many elections is sent one message; `sentAt` is read before it is made. */
  ping(): void {
    if (this.#toPing.size === 0) return;
    const due = [...this.#toPing.values()];
    this.#toPing = new Map();
    for (const { to, pings } of due) this.#sendPings(to, pings);
  }

  #toPingLater(election: ElectionName, { to, ping }: Extract<Asking, { kind: 'ping' }>): void {
    const process = `${to.pingKey ?? ''} ${to.url ?? ''}`;
    const due = this.#toPing.get(process) ?? { to, pings: [] };
    due.pings.push({ election, ping });
    this.#toPing.set(process, due);
  }

  #sendPings({ url, pingKey: key }: Candidate, sent: readonly ElectionPing[]): void {
    const { pings, clock, announce } = this.#options;
    if (pings === null || url === null || key === null) return;
    const sentAt = clock.now();
    const ended = (result: 'acknowledged' | 'refused' | 'failed'): void =>
      announce({ kind: 'ping', result, durationMs: clock.now() - sentAt });
    this.#orFatal(
      pings.send({ url, key }, sent).then(
        (answered) => {
          ended(answered.length > 0 ? 'acknowledged' : 'refused');
          const mail = answered.map(({ election: name, ping: { term, witness } }): Mail => {
            const event = { kind: 'acknowledged', term, witness, sentAt } as const;
            return { to: 'election', name, event };
          });
          this.#options.post(...mail);
        },
        () => ended('failed'),
      ),
    );
  }

  /** etcd has answered something that was sent at `sentAt`. */
  contact(sentAt: Millis): void {
    if (this.#contact !== null && sentAt <= this.#contact.sentAt) return;
    this.#contact = { sentAt, tookMs: this.#options.clock.now() - sentAt };
  }

  #tellSession(event: SessionEvent): void {
    this.#options.post({ to: 'session', event });
  }

  #tell(name: ElectionName, event: CandidacyEvent): void {
    this.#options.post({ to: 'election', name, event });
  }

  #grant(generation: number, ttlMs: number): void {
    const { coordinator, newLeaseId, random } = this.#options;
    const leaseId = newLeaseId();
    this.#call(
      'grant',
      null,
      coordinator.grant(leaseId, ttlMs),
      ({ value, sentAt }) => {
        this.contact(sentAt);
        this.#tellSession({ kind: 'granted', generation, leaseId, ttlMs: value, sentAt });
      },
      () => this.#tellSession({ kind: 'grantFailed', generation, jitter: random() }),
    );
  }

  #renew(generation: number, leaseId: LeaseId): void {
    const { coordinator, clock, announce } = this.#options;
    const startedAt = clock.now();
    const finished = (result: 'ok' | 'failed' | 'lost'): void =>
      announce({ kind: 'renewal', result, durationMs: clock.now() - startedAt });
    this.#call(
      'renew',
      null,
      coordinator.renew(leaseId),
      ({ value, sentAt }) => {
        this.contact(sentAt);
        finished('ok');
        this.#tellSession({ kind: 'renewed', generation, leaseId, ttlMs: value, sentAt });
      },
      (error) => finished(error instanceof LeaseLost ? 'lost' : 'failed'),
    );
  }

  #join(name: ElectionName, effect: Extract<CandidacyEffect, { kind: 'join' }>): void {
    const { coordinator, random } = this.#options;
    const { lease, me } = effect;
    const { generation, ttlMs } = lease;
    this.#call(
      'join',
      name,
      coordinator.join(name, lease, me),
      ({ value, sentAt }) => {
        this.contact(sentAt);
        this.#tell(name, { kind: 'joined', generation, ttlMs, ...value, sentAt });
      },
      () => this.#tell(name, { kind: 'joinFailed', generation, jitter: random() }),
    );
  }

  #release(name: ElectionName, effect: ReleaseEffect): void {
    const { coordinator, random, clock, announce } = this.#options;
    const { createRevision } = effect.own;
    this.#call(
      'release',
      name,
      coordinator.release(this.#requestOf(name, effect)),
      ({ value, sentAt }) => {
        this.contact(sentAt);
        this.#releasedAt = clock.now();
        this.#tell(name, { kind: 'released', createRevision, ...value, sentAt, jitter: random() });
        const token = fencingToken(createRevision);
        if (value.deleted && effect.ending !== null)
          announce({ kind: 'released', election: name, token });
      },
      () => this.#tell(name, { kind: 'releaseFailed', createRevision, jitter: random() }),
    );
  }

  #record(name: ElectionName, { own, change }: Extract<Asking, { kind: 'record' }>): void {
    const { number } = change;
    const term = fencingToken(own.createRevision);
    this.#call(
      'recordWitnesses',
      name,
      this.#options.coordinator.recordWitnesses(name, own, change),
      ({ value: record }) => this.#tell(name, { kind: 'recorded', term, number, record }),
      () => this.#tell(name, { kind: 'recorded', term, number, record: null }),
    );
  }

  #depose(name: ElectionName, effect: Extract<Asking, { kind: 'depose' }>): void {
    const { coordinator, announce } = this.#options;
    const { leader, at, succession, handover } = effect;
    const { leaseId, createRevision } = leader;
    const ours = { election: name, handover, term: null, succession };
    const request = { ...ours, leaseId, createRevision, witnessesAt: at };
    const term = handover.token;
    this.#call(
      'depose',
      name,
      coordinator.depose(request),
      ({ value, sentAt }) => {
        this.contact(sentAt);
        // Another copy of the request may have done it.
        const { token, actor } = value.snapshot.handover ?? {};
        const isOurs = token === term && actor === handover.actor;
        if (isOurs) announce({ kind: 'deposed', election: name, token: term });
        this.#tell(name, { kind: 'deposed', term, at, outcome: { ...value, sentAt } });
      },
      () => this.#tell(name, { kind: 'deposed', term, at, outcome: null }),
    );
  }

  /** Releases without telling anybody, for the end of a process; rejects as the coordinator does. */
  async releaseHastily(name: ElectionName, effect: ReleaseEffect): Promise<void> {
    await this.#options.coordinator.release(this.#requestOf(name, effect));
  }

  #requestOf(
    election: ElectionName,
    { own, handover, ending, succession }: ReleaseEffect,
  ): Release {
    const { leaseId, createRevision } = own;
    const term = ending === null ? null : this.#recordOf(ending, own);
    return { election, leaseId, createRevision, handover, term, succession };
  }

  #recordOf({ term, endedAt, cause, reason, actor }: Ending, { ttlMs }: OwnKey): TermRecord {
    const { clock, me } = this.#options;
    const { token, since, ...before } = term;
    const [from, to] = [clock.wallTimeOf(since), clock.wallTimeOf(endedAt)];
    const { id: leader, address } = me;
    const record = { token, leader, address, from, to, cause, reason, actor };
    return { ...record, ...before, ttlMs };
  }

  /** One call on the coordinator: its answer or failure comes back as mail; a lost lease ends the session. */
  #call<Value>(
    operation: string,
    election: ElectionName | null,
    call: Promise<Value>,
    answered: (value: Value) => void = () => undefined,
    failed: (error: Error) => void = () => undefined,
  ): void {
    const { announce } = this.#options;
    const generation = this.#options.generation();
    this.#orFatal(
      call.then(answered, (failure: unknown) => {
        const error = errorOf(failure);
        announce({ kind: 'trouble', operation, election, error });
        if (error instanceof LeaseLost) this.#tellSession({ kind: 'leaseLost', generation });
        failed(error);
      }),
    );
  }

  #orFatal(handled: Promise<void>): void {
    handled.catch((failure: unknown) => {
      this.#options.onFatal(
        failure instanceof Error ? failure : new AssertionFailure(String(failure)),
      );
    });
  }
}

const errorOf = (failure: unknown): Error =>
  failure instanceof Error ? failure : new Error(String(failure));
