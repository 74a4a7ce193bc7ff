// What the machines ask of etcd: effects become calls on the coordinator, and their answers come back as mail. It decides
// nothing and waits for nobody. A lost lease ends the session; a handler of an answer that throws is a bug, and fatal.
import { assert, AssertionFailure, assertNever } from '../core/assert.ts';
import type { Election, ElectionEffect, ElectionEvent, Ending } from '../core/candidacy.ts';
import { fencingToken, type ElectionName, type LeaseId, type Millis } from '../core/model.ts';
import type { TermRecord } from '../core/model.ts';
import type { SessionEffect, SessionEvent } from '../core/session.ts';
import { LeaseLost } from '../errors.ts';
import type { Clock, Coordinator, Notice } from '../ports.ts';

/** What the machines are told, one at a time. */
export type Mail =
  | { readonly to: 'session'; readonly event: SessionEvent }
  | { readonly to: 'election'; readonly name: ElectionName; readonly event: ElectionEvent }
  | { readonly to: 'everybody'; readonly event: ElectionEvent };

/** The effects of an election that ask something of etcd. */
export type Asking = Extract<
  ElectionEffect,
  { kind: 'observe' | 'join' | 'release' | 'enroll' | 'proclaim' }
>;

export interface RequestsOptions {
  readonly clock: Clock;
  readonly coordinator: Coordinator;
  readonly me: Election['me'];
  /** A number in [0, 1), for jitter. */
  readonly random: () => number;
  /** A lease id that nobody else uses: 63 random bits. */
  readonly newLeaseId: () => LeaseId;
  /** The generation of the lease that is held now, 0 where there is none. */
  readonly generation: () => number;
  readonly post: (mail: Mail) => void;
  readonly announce: (notice: Notice) => void;
  readonly onFatal: (failure: unknown) => void;
}

export class Requests {
  readonly #options: RequestsOptions;
  #toObserve = new Set<ElectionName>();
  #contactAt: Millis | null = null;
  #releasedAt: Millis = Number.NEGATIVE_INFINITY;

  constructor(options: RequestsOptions) {
    this.#options = options;
  }

  /** When the newest request that etcd answered was sent; null before the first answer. */
  get contactAt(): Millis | null {
    return this.#contactAt;
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
      case 'join':
        return this.#join(name, effect);
      case 'release':
        return this.#release(name, effect);
      case 'enroll':
        return this.#call('enroll', name, coordinator.enroll(name, effect.member));
      case 'proclaim': {
        const { since, leaderlessMs } = effect.term;
        const began = { since: clock.wallTimeOf(since), leaderlessMs };
        const call = coordinator.proclaim(name, effect.own, effect.me, began);
        return this.#call('proclaim', name, call);
      }
      default:
        return assertNever(effect);
    }
  }

  /** All elections that are due in one turn are read in one request. */
  observe(): void {
    if (this.#toObserve.size === 0) return;
    const names = [...this.#toObserve];
    this.#toObserve = new Set();
    this.#call('observe', null, this.#options.coordinator.observe(names), ({ value, sentAt }) => {
      this.contact(sentAt);
      names.forEach((name, index) => {
        const snapshot = value[index];
        assert(snapshot !== undefined, 'every election asked for is answered');
        this.#tell(name, { kind: 'observed', snapshot, sentAt });
      });
    });
  }

  /** etcd has answered something that was sent at `sentAt`. */
  contact(sentAt: Millis): void {
    this.#contactAt = Math.max(this.#contactAt ?? sentAt, sentAt);
  }

  #tellSession(event: SessionEvent): void {
    this.#options.post({ to: 'session', event });
  }

  #tell(name: ElectionName, event: ElectionEvent): void {
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

  #join(name: ElectionName, effect: Extract<ElectionEffect, { kind: 'join' }>): void {
    const { coordinator, random } = this.#options;
    const { generation } = effect;
    this.#call(
      'join',
      name,
      coordinator.join(name, effect.leaseId, effect.me),
      ({ value, sentAt }) => {
        this.contact(sentAt);
        this.#tell(name, { kind: 'joined', generation, ...value, sentAt });
      },
      () => this.#tell(name, { kind: 'joinFailed', generation, jitter: random() }),
    );
  }

  #release(name: ElectionName, effect: Extract<ElectionEffect, { kind: 'release' }>): void {
    const { coordinator, random, clock, announce } = this.#options;
    const { own, handover, bypassed } = effect;
    const { createRevision, leaseId } = own;
    const term = effect.ending && this.#recordOf(effect.ending);
    const request = { election: name, leaseId, createRevision, handover, term, bypassed };
    this.#call(
      'release',
      name,
      coordinator.release(request),
      () => {
        this.#releasedAt = clock.now();
        this.#tell(name, { kind: 'released', createRevision });
        const token = fencingToken(createRevision);
        if (handover !== null) announce({ kind: 'released', election: name, token });
      },
      () => this.#tell(name, { kind: 'releaseFailed', createRevision, jitter: random() }),
    );
  }

  #recordOf({ term, endedAt, cause, reason, actor }: Ending): TermRecord {
    const { clock, me } = this.#options;
    const { token, since, leaderlessMs } = term;
    const [from, to] = [clock.wallTimeOf(since), clock.wallTimeOf(endedAt)];
    const { id: leader, address } = me;
    return { token, leader, address, from, to, cause, reason, actor, leaderlessMs };
  }

  /** One call on the coordinator: its answer or failure comes back as mail; a lost lease ends the session. */
  #call<Value>(
    operation: string,
    election: ElectionName | null,
    call: Promise<Value>,
    answered: (value: Value) => void = () => undefined,
    failed: (error: Error) => void = () => undefined,
  ): void {
    const { announce, onFatal } = this.#options;
    const generation = this.#options.generation();
    call
      .then(answered, (failure: unknown) => {
        const error = failure instanceof Error ? failure : new Error(String(failure));
        announce({ kind: 'trouble', operation, election, error });
        if (error instanceof LeaseLost) this.#tellSession({ kind: 'leaseLost', generation });
        failed(error);
      })
      .catch((failure: unknown) => {
        onFatal(failure instanceof Error ? failure : new AssertionFailure(String(failure)));
      });
  }
}
