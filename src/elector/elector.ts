// The runtime of the core: a mailbox that feeds events to the machines one at a time, one timer, and effects turned
// into calls on the ports, whose answers come back as events. It decides nothing. A failed assertion halts it:
// from then on it claims nothing, and the process is told to exit.
import { AssertionFailure, assert, assertNever } from '../core/assert.ts';
import {
  newElection,
  type Election,
  type ElectionEffect,
  type ElectionEvent,
  type Ending,
  type Ground,
} from '../core/candidacy.ts';
import { heldForMs, stepElection, wakeElectionAt } from '../core/election.ts';
import {
  fencingToken,
  type ElectionName,
  type LeaseId,
  type Millis,
  type TermRecord,
} from '../core/model.ts';
import { reportOf, type Report } from '../core/report.ts';
import {
  heldLease,
  newSession,
  stepSession,
  wakeSessionAt,
  type Session,
  type SessionEffect,
  type SessionEvent,
} from '../core/session.ts';
import { revokeAfterMs, type Timing } from '../core/timing.ts';
import { validate, validateSession, type Validation } from '../core/validate.ts';
import { LeaseLost } from '../errors.ts';
import type { App, Clock, Coordinator, Elections, Notice, WatchNotice } from '../ports.ts';
import { Announcer } from './announcer.ts';

export interface ElectorOptions {
  readonly elections: readonly ElectionName[];
  readonly me: Election['me'];
  readonly timing: Timing;
  readonly clock: Clock;
  readonly coordinator: Coordinator;
  /** The guarded application; null where nothing beside us has to stop before a key is released. */
  readonly app: App | null;
  /** Whether the app counts as healthy before its first check. */
  readonly appHealthy: boolean;
  /** Whether an unhealthy app may lead where the apps of all members are unhealthy. */
  readonly whenAllUnhealthy: 'lead' | 'none';
  /** How closely every settled state is looked at. */
  readonly validation: Validation;
  /** A number in [0, 1), for jitter. */
  readonly random: () => number;
  /** A lease id that nobody else uses: 63 random bits. */
  readonly newLeaseId: () => LeaseId;
  /** An assertion failed: nothing is claimed any more, and the process should end (exit code 70). */
  readonly onFatal: (failure: unknown) => void;
}

type Mail =
  | { readonly to: 'session'; readonly event: SessionEvent }
  | { readonly to: 'election'; readonly name: ElectionName; readonly event: ElectionEvent }
  | { readonly to: 'everybody'; readonly event: ElectionEvent };

interface Seat {
  election: Election;
  wakeAt: Millis;
}

export class Elector implements Elections {
  readonly names: readonly ElectionName[];
  readonly #options: ElectorOptions;
  readonly #seats = new Map<ElectionName, Seat>();
  readonly #mailbox: Mail[] = [];
  readonly #announcer: Announcer;
  #session: Session;
  #contactAt: Millis | null = null;
  #toObserve = new Set<ElectionName>();
  #draining = false;
  #halted = false;
  #stopping = false;
  #cancelTimer: () => void = () => undefined;
  #cancelWatch: () => void = () => undefined;
  #onStopped: (() => void) | null = null;
  /** Not before this is the lease revoked. */
  #revokeAt: Millis = Number.NEGATIVE_INFINITY;
  /** Whether stopping waits for that moment: decided in one place, since the clock moves between two looks at it. */
  #waitsToRevoke = false;

  constructor(options: ElectorOptions) {
    assert(options.elections.length > 0, 'there is an election to stand in');
    this.#options = options;
    this.names = options.elections;
    const now = options.clock.now();
    this.#session = newSession(now);
    const { me, appHealthy, whenAllUnhealthy } = options;
    for (const name of options.elections) {
      const standing = { quiesces: options.app !== null, appHealthy, whenAllUnhealthy };
      this.#seats.set(name, { election: newElection(name, me, standing, now), wakeAt: now });
    }
    this.#announcer = new Announcer((name) => this.#seat(name).election);
  }

  /** Begins to campaign; etcd need not be there yet. `url` is where this sidecar turned out to be reachable. */
  start(url: string | null = this.#options.me.url): void {
    const { coordinator } = this.#options;
    for (const seat of this.#seats.values()) {
      seat.election = { ...seat.election, me: { ...seat.election.me, url } };
    }
    this.#cancelWatch = coordinator.watch(this.names, (notice) => this.#onWatch(notice));
    this.#tick();
  }

  /** Steps down everywhere, releases every key and revokes the lease; resolves when all that is done or given up. */
  stop(): Promise<void> {
    this.#stopping = true;
    if (this.#halted) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onStopped = resolve;
      this.#post({ to: 'everybody', event: { kind: 'stop' } });
    });
  }

  report(name: ElectionName): Report {
    return reportOf(this.#seat(name).election, this.#ground(), this.#options.clock.now());
  }

  lease(): ReturnType<Elections['lease']> {
    const held = this.#halted ? null : heldLease(this.#session);
    if (held === null) return null;
    const remainingMs = Math.max(0, held.leadUntil - this.#options.clock.now());
    return { leaseId: held.leaseId, ttlMs: held.ttlMs, remainingMs };
  }

  ttlMs(): number {
    return heldLease(this.#session)?.ttlMs ?? this.#options.timing.ttlMs;
  }

  contactAgeMs(): number | null {
    return this.#contactAt === null ? null : this.#options.clock.now() - this.#contactAt;
  }

  isStopping(): boolean {
    return this.#stopping || this.#halted;
  }

  subscribe(listener: (notice: Notice) => void): () => void {
    return this.#announcer.subscribe(listener);
  }

  stepDown(name: ElectionName, request: Parameters<Elections['stepDown']>[1]): void {
    const { cause, to, reason, actor, notForMs } = request;
    const standBackUntil = this.#options.clock.now() + notForMs;
    this.#postTo(name, { kind: 'stepDown', cause, to, reason, actor, standBackUntil });
  }

  hold(name: ElectionName, holdMs: number): number {
    const { clock } = this.#options;
    this.#postTo(name, { kind: 'hold', until: clock.now() + holdMs });
    return Math.min(holdMs, heldForMs(this.#seat(name).election, this.#ground(), clock.now()));
  }

  appHealth(healthy: boolean): void {
    this.#post({ to: 'everybody', event: { kind: 'appHealth', healthy } });
  }

  // The mailbox.

  #post(mail: Mail): void {
    if (this.#halted) return;
    this.#mailbox.push(mail);
    if (!this.#draining) this.#drain();
  }

  #postTo(name: ElectionName, event: ElectionEvent): void {
    this.#post({ to: 'election', name, event });
  }

  #drain(): void {
    this.#draining = true;
    try {
      for (let mail = this.#mailbox.shift(); mail !== undefined; mail = this.#mailbox.shift()) {
        this.#deliver(mail);
      }
      this.#finishStopping();
      this.#observe();
      this.#setTimer();
    } catch (failure) {
      this.#halt(failure);
    } finally {
      this.#draining = false;
    }
  }

  #deliver(mail: Mail): void {
    switch (mail.to) {
      case 'session':
        return this.#stepSession(mail.event);
      case 'election':
        return this.#stepElection(mail.name, mail.event);
      case 'everybody':
        for (const name of this.names) this.#stepElection(name, mail.event);
        return;
      default:
        assertNever(mail);
    }
  }

  #stepSession(event: SessionEvent): void {
    const { clock, timing } = this.#options;
    // What the clock has ended is ended before an answer can extend the lease: a claim never comes back to life.
    this.#settleDue();
    const before = this.#session;
    const now = clock.now();
    const { session, effects } = stepSession(before, event, now, timing);
    validateSession(session, now, timing);
    this.#session = session;
    this.#announcer.lease(before, session);
    // A lease that came, went or came back changes what every election may do; a mere extension does not.
    if (before.kind !== session.kind) {
      for (const name of this.names) this.#stepElection(name, { kind: 'tick' });
    }
    for (const effect of effects) this.#performForSession(effect);
  }

  #stepElection(name: ElectionName, event: ElectionEvent): void {
    const seat = this.#seat(name);
    const now = this.#options.clock.now();
    const { election, effects } = stepElection(seat.election, event, this.#ground(), now);
    validate(election, this.#ground(), now, this.#options.validation);
    seat.election = election;
    seat.wakeAt = wakeElectionAt(election, this.#ground(), now);
    for (const effect of effects) this.#perform(name, effect, now);
    this.#announcer.compare(reportOf(election, this.#ground(), now));
  }

  #ground(): Ground {
    return { held: this.#halted ? null : heldLease(this.#session), timing: this.#options.timing };
  }

  #seat(name: ElectionName): Seat {
    const seat = this.#seats.get(name);
    assert(seat !== undefined, `this sidecar stands in the election ${name}`);
    return seat;
  }

  #tick(): void {
    this.#post({ to: 'session', event: { kind: 'tick' } });
  }

  /** Steps every election whose time has come; a bound only moves later, so that none is missed. */
  #settleDue(): void {
    const now = this.#options.clock.now();
    for (const [name, seat] of this.#seats) {
      if (seat.wakeAt <= now) this.#stepElection(name, { kind: 'tick' });
    }
  }

  #setTimer(): void {
    this.#cancelTimer();
    let wakeAt = wakeSessionAt(this.#session) ?? Number.POSITIVE_INFINITY;
    for (const seat of this.#seats.values()) wakeAt = Math.min(wakeAt, seat.wakeAt);
    if (this.#waitsToRevoke) wakeAt = Math.min(wakeAt, this.#revokeAt);
    this.#cancelTimer =
      wakeAt === Number.POSITIVE_INFINITY
        ? () => undefined
        : this.#options.clock.at(wakeAt, () => this.#tick());
  }

  /** Once nobody stands in any election any more, the lease goes; once that has gone, we have stopped. */
  #finishStopping(): void {
    this.#waitsToRevoke = false;
    if (this.#onStopped === null) return;
    const standing = (seat: Seat): boolean => seat.election.candidacy.kind !== 'stopped';
    if ([...this.#seats.values()].some(standing)) return;
    this.#waitsToRevoke = this.#options.clock.now() < this.#revokeAt;
    if (this.#waitsToRevoke) return;
    this.#cancelWatch();
    this.#stepSession({ kind: 'close' });
    if (this.#session.kind === 'closed') {
      this.#onStopped();
      this.#onStopped = null;
    }
  }

  #halt(failure: unknown): void {
    this.#halted = true;
    this.#mailbox.length = 0;
    this.#cancelTimer();
    this.#cancelWatch();
    this.#onStopped?.();
    this.#options.onFatal(failure);
  }

  // Effects to calls, answers to events.

  #performForSession(effect: SessionEffect): void {
    const { generation } = effect;
    switch (effect.kind) {
      case 'grant':
        return this.#grant(generation, effect.ttlMs);
      case 'renew':
        return this.#renew(generation, effect.leaseId);
      case 'revoke': {
        const revoked = (): void =>
          this.#post({ to: 'session', event: { kind: 'revoked', generation } });
        return this.#call(
          'revoke',
          null,
          this.#options.coordinator.revoke(effect.leaseId),
          revoked,
          revoked,
        );
      }
      default:
        return assertNever(effect);
    }
  }

  #grant(generation: number, ttlMs: number): void {
    const { coordinator, newLeaseId, random } = this.#options;
    const leaseId = newLeaseId();
    this.#call(
      'grant',
      null,
      coordinator.grant(leaseId, ttlMs),
      ({ value, sentAt }) => {
        this.#contact(sentAt);
        this.#post({
          to: 'session',
          event: { kind: 'granted', generation, leaseId, ttlMs: value, sentAt },
        });
      },
      () =>
        this.#post({ to: 'session', event: { kind: 'grantFailed', generation, jitter: random() } }),
    );
  }

  #renew(generation: number, leaseId: LeaseId): void {
    const { coordinator, clock } = this.#options;
    const startedAt = clock.now();
    const finished = (result: 'ok' | 'failed' | 'lost'): void =>
      this.#announcer.announce({ kind: 'renewal', result, durationMs: clock.now() - startedAt });
    this.#call(
      'renew',
      null,
      coordinator.renew(leaseId),
      ({ value, sentAt }) => {
        this.#contact(sentAt);
        finished('ok');
        this.#post({
          to: 'session',
          event: { kind: 'renewed', generation, leaseId, ttlMs: value, sentAt },
        });
      },
      (error) => finished(error instanceof LeaseLost ? 'lost' : 'failed'),
    );
  }

  #perform(name: ElectionName, effect: ElectionEffect, now: Millis): void {
    const { coordinator, app, clock } = this.#options;
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
      case 'elected': {
        const { token, leaderlessMs } = effect.term;
        this.#announcer.announce({ kind: 'elected', election: name, token, leaderlessMs });
        return app?.elected(name, token);
      }
      case 'ended': {
        const { cause, reason, mustStopBy } = effect;
        const { token, since } = effect.term;
        const ledMs = now - since;
        this.#announcer.announce({ kind: 'ended', election: name, token, cause, reason, ledMs });
        const quiesced = (): void => this.#postTo(name, { kind: 'quiesced', token });
        return app?.stop(name, token, cause, mustStopBy, quiesced);
      }
      case 'cutOff':
        return app?.cutOff(name, effect.term.token);
      default:
        return assertNever(effect);
    }
  }

  #join(name: ElectionName, effect: Extract<ElectionEffect, { kind: 'join' }>): void {
    const { coordinator, random } = this.#options;
    const { generation } = effect;
    this.#call(
      'join',
      name,
      coordinator.join(name, effect.leaseId, effect.me),
      ({ value, sentAt }) => {
        this.#contact(sentAt);
        this.#postTo(name, { kind: 'joined', generation, ...value, sentAt });
      },
      () => this.#postTo(name, { kind: 'joinFailed', generation, jitter: random() }),
    );
  }

  #release(name: ElectionName, effect: Extract<ElectionEffect, { kind: 'release' }>): void {
    const { coordinator, random, clock } = this.#options;
    const { own, handover, bypassed } = effect;
    const { createRevision, leaseId } = own;
    const term = effect.ending && this.#recordOf(name, effect.ending);
    const request = { election: name, leaseId, createRevision, handover, term, bypassed };
    this.#call(
      'release',
      name,
      coordinator.release(request),
      () => {
        this.#revokeAt = clock.now() + revokeAfterMs;
        this.#postTo(name, { kind: 'released', createRevision });
        const token = fencingToken(createRevision);
        if (handover !== null)
          this.#announcer.announce({ kind: 'released', election: name, token });
      },
      () => this.#postTo(name, { kind: 'releaseFailed', createRevision, jitter: random() }),
    );
  }

  #recordOf(name: ElectionName, { term, endedAt, cause, reason, actor }: Ending): TermRecord {
    const { clock } = this.#options;
    const { id, address } = this.#seat(name).election.me;
    const { token, since, leaderlessMs } = term;
    const [from, to] = [clock.wallTimeOf(since), clock.wallTimeOf(endedAt)];
    return { token, leader: id, address, from, to, cause, reason, actor, leaderlessMs };
  }

  /** All elections that are due in one turn are read in one request. */
  #observe(): void {
    if (this.#toObserve.size === 0) return;
    const names = [...this.#toObserve];
    this.#toObserve = new Set();
    this.#call('observe', null, this.#options.coordinator.observe(names), ({ value, sentAt }) => {
      this.#contact(sentAt);
      names.forEach((name, index) => {
        const snapshot = value[index];
        assert(snapshot !== undefined, 'every election asked for is answered');
        this.#postTo(name, { kind: 'observed', snapshot, sentAt });
      });
    });
  }

  #onWatch(notice: WatchNotice): void {
    switch (notice.kind) {
      case 'snapshot': {
        const { election, snapshot, sentAt } = notice;
        this.#contact(sentAt);
        return this.#postTo(election, { kind: 'observed', snapshot, sentAt });
      }
      case 'change':
        return this.#postTo(notice.election, { kind: 'changed', change: notice.change });
      case 'interrupted':
        return this.#announcer.announce({ kind: 'watchInterrupted', why: notice.why });
      default:
        return assertNever(notice);
    }
  }

  #contact(sentAt: Millis): void {
    this.#contactAt = Math.max(this.#contactAt ?? sentAt, sentAt);
  }

  /** One call on the coordinator: its answer or failure comes back as an event; a lost lease ends the session. */
  #call<Value>(
    operation: string,
    election: ElectionName | null,
    call: Promise<Value>,
    answered: (value: Value) => void = () => undefined,
    failed: (error: Error) => void = () => undefined,
  ): void {
    const { generation } = this.#ground().held ?? { generation: 0 };
    call
      .then(answered, (failure: unknown) => {
        const error = failure instanceof Error ? failure : new Error(String(failure));
        this.#announcer.announce({ kind: 'trouble', operation, election, error });
        if (error instanceof LeaseLost) {
          this.#post({ to: 'session', event: { kind: 'leaseLost', generation } });
        }
        failed(error);
      })
      .catch((failure: unknown) => {
        this.#halt(failure instanceof Error ? failure : new AssertionFailure(String(failure)));
      });
  }
}
