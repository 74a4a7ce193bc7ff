// The runtime of the core: a mailbox that feeds events to the machines one at a time, one timer, and effects handed to
// the app beside us and to etcd (requests.ts), whose answers come back as mail. It decides nothing. A failed assertion
// halts it: from then on it claims nothing, and the process is told to exit.
import { assert, assertNever } from '../core/assert.ts';
import {
  newCandidacy,
  type Candidacy,
  type CandidacyEffect,
  type CandidacyEvent,
  type Ground,
} from '../core/candidacy.ts';
import { heldForMs, lastsUntil, stepCandidacy, wakeCandidacyAt } from '../core/election.ts';
import { hasAcknowledged } from '../core/failover.ts';
import type { Cause, ElectionName, ElectionPing, LeaseId, Millis } from '../core/model.ts';
import { reportOf, type Report } from '../core/report.ts';
import {
  heldLease,
  newSession,
  stepSession,
  wakeSessionAt,
  type Session,
  type SessionEvent,
} from '../core/session.ts';
import { revokeAfterMs, type Timing } from '../core/timing.ts';
import { validate, validateSession, type Validation } from '../core/validate.ts';
import type { App, Clock, Coordinator, Elections, Notice, Pings, WatchNotice } from '../ports.ts';
import { Announcer } from './announcer.ts';
import { giveBack, hastyEndOf, noticesOf, type HastyEnd } from './hasty-end.ts';
import { Requests, type Mail } from './requests.ts';

export interface ElectorOptions {
  readonly elections: readonly ElectionName[];
  readonly me: Candidacy['me'];
  readonly timing: Timing;
  readonly clock: Clock;
  readonly coordinator: Coordinator;
  /** Null without fast failover. */
  readonly pings: Pings | null;
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

interface Seat {
  candidacy: Candidacy;
  wakeAt: Millis;
}

export class Elector implements Elections {
  readonly names: readonly ElectionName[];
  readonly #options: ElectorOptions;
  readonly #seats = new Map<ElectionName, Seat>();
  readonly #mailbox: Mail[] = [];
  readonly #announcer: Announcer;
  readonly #requests: Requests;
  #session: Session;
  #draining = false;
  #halting: Promise<void> | null = null;
  #stopping = false;
  /** When an election was stepped last: what may be told of it is counted from then. */
  #steppedAt: Millis = Number.NEGATIVE_INFINITY;
  #appLastsUntil: Millis = Number.NEGATIVE_INFINITY;
  #cancelTimer: () => void = () => undefined;
  #cancelWatch: () => void = () => undefined;
  #onStopped: (() => void) | null = null;
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
      this.#seats.set(name, { candidacy: newCandidacy(name, me, standing, now), wakeAt: now });
    }
    this.#announcer = new Announcer((name) => this.#seat(name).candidacy);
    this.#requests = new Requests({
      ...options,
      generation: () => this.#ground().held?.generation ?? 0,
      post: (...mail) => this.#post(...mail),
      announce: (notice) => this.#announcer.announce(notice),
      onFatal: (failure) => this.#fail(failure),
    });
  }

  /** Begins to campaign; etcd need not be there yet. `url` is where this sidecar turned out to be reachable. */
  start(url: string | null = this.#options.me.url): void {
    const { coordinator } = this.#options;
    for (const seat of this.#seats.values()) {
      seat.candidacy = { ...seat.candidacy, me: { ...seat.candidacy.me, url } };
    }
    this.#cancelWatch = coordinator.watch(this.names, (notice) => this.#onWatch(notice));
    this.#tick();
  }

  /** Steps down everywhere, releases every key and revokes the lease; resolves when all that is done or given up. */
  stop(): Promise<void> {
    this.#stopping = true;
    if (this.#halting !== null) return this.#halting;
    return new Promise((resolve) => {
      this.#onStopped = resolve;
      this.#post({ to: 'everybody', event: { kind: 'stop' } });
    });
  }

  /**
   * The one hasty end, whatever the reason: every claim ends before this returns. Then whatever acts for a term is killed,
   * each term's key goes with the record of its end, and the lease with the rest; resolves when that is done, or has
   * failed. The caller bounds it.
   */
  halt(cause: Cause): Promise<void> {
    if (this.#halting !== null) return this.#halting;
    const held = heldLease(this.#session);
    const now = this.#options.clock.now();
    const ends = [...this.#seats.values()].flatMap(
      ({ candidacy }) => hastyEndOf(candidacy, cause, now) ?? [],
    );
    this.#halting = giveBack({ ...this.#options, requests: this.#requests }, held, ends);
    this.#mailbox.length = 0;
    this.#cancelTimer();
    this.#cancelWatch();
    this.#tellOfHaste(ends);
    return this.#halting;
  }

  report(name: ElectionName): Report {
    return reportOf(this.#seat(name).candidacy, this.#ground(), this.#options.clock.now());
  }

  lease(): ReturnType<Elections['lease']> {
    const held = this.#ground().held;
    if (held === null) return null;
    const remainingMs = Math.max(0, held.leadUntil - this.#options.clock.now());
    return { leaseId: held.leaseId, ttlMs: held.ttlMs, remainingMs };
  }

  ttlMs(): number {
    return heldLease(this.#session)?.ttlMs ?? this.#options.timing.ttlMs;
  }

  contact(): ReturnType<Elections['contact']> {
    const { newestContact: newest } = this.#requests;
    if (newest === null) return null;
    return { ageMs: this.#options.clock.now() - newest.sentAt, tookMs: newest.tookMs };
  }

  isStopping(): boolean {
    return this.#stopping || this.#halting !== null;
  }

  subscribe(listener: (notice: Notice) => void): () => void {
    return this.#announcer.subscribe(listener);
  }

  stepDown(name: ElectionName, { notForMs, ...why }: Parameters<Elections['stepDown']>[1]): void {
    const standBackUntil = this.#options.clock.now() + notForMs;
    this.#postTo(name, { kind: 'stepDown', ...why, standBackUntil });
  }

  standAgain(name: ElectionName): void {
    this.#postTo(name, { kind: 'standAgain' });
  }

  hold(name: ElectionName, holdMs: number): number {
    const { clock } = this.#options;
    this.#postTo(name, { kind: 'hold', until: clock.now() + holdMs });
    return Math.min(holdMs, heldForMs(this.#seat(name).candidacy, this.#ground(), clock.now()));
  }

  appHealth(healthy: boolean): void {
    this.#post({ to: 'everybody', event: { kind: 'appHealth', healthy } });
  }

  ping({ election, ping }: ElectionPing): boolean {
    const seat = this.#seats.get(election);
    if (seat === undefined || hasAcknowledged(seat.candidacy, ping)) return false;
    this.#postTo(election, { kind: 'pinged', ping });
    return hasAcknowledged(seat.candidacy, ping);
  }

  #post(...mail: readonly Mail[]): void {
    if (this.#halting !== null) return;
    this.#mailbox.push(...mail);
    if (!this.#draining) this.#drain();
  }

  #postTo(name: ElectionName, event: CandidacyEvent): void {
    this.#post({ to: 'election', name, event });
  }

  #drain(): void {
    this.#draining = true;
    try {
      for (let mail = this.#mailbox.shift(); mail !== undefined; mail = this.#mailbox.shift()) {
        this.#deliver(mail);
      }
      this.#finishStopping();
      this.#requests.observe();
      this.#requests.askTimeToLive();
      this.#requests.ping();
      this.#tellApp();
      this.#setTimer();
    } catch (failure) {
      this.#fail(failure);
    } finally {
      this.#draining = false;
    }
  }

  #deliver(mail: Mail): void {
    switch (mail.to) {
      case 'session':
        return this.#stepSession(mail.event);
      case 'election':
        return this.#stepCandidacy(mail.name, mail.event);
      case 'everybody':
        for (const name of this.names) this.#stepCandidacy(name, mail.event);
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
      for (const name of this.names) this.#stepCandidacy(name, { kind: 'tick' });
    }
    for (const effect of effects) this.#requests.performForSession(effect);
  }

  #stepCandidacy(name: ElectionName, event: CandidacyEvent): void {
    const seat = this.#seat(name);
    const now = this.#options.clock.now();
    const { candidacy, effects } = stepCandidacy(seat.candidacy, event, this.#ground(), now);
    validate(candidacy, this.#ground(), now, this.#options.validation);
    seat.candidacy = candidacy;
    this.#steppedAt = now;
    seat.wakeAt = wakeCandidacyAt(candidacy, this.#ground(), now);
    for (const effect of effects) this.#perform(name, effect, now);
    this.#announcer.compare(reportOf(candidacy, this.#ground(), now));
  }

  #ground(): Ground {
    const held = this.#halting === null ? heldLease(this.#session) : null;
    return { held, timing: this.#options.timing };
  }

  /** Whatever acts for a term of ours is told until when it may, in case that we do not live to see it. */
  #tellApp(): void {
    const { app } = this.#options;
    if (app === null) return;
    const candidacies = [...this.#seats.values()].map(({ candidacy }) => candidacy);
    const until = lastsUntil(candidacies, this.#ground(), this.#steppedAt);
    if (until === this.#appLastsUntil) return;
    this.#appLastsUntil = until;
    app.lasts(until);
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
      if (seat.wakeAt <= now) this.#stepCandidacy(name, { kind: 'tick' });
    }
  }

  #setTimer(): void {
    this.#cancelTimer();
    let wakeAt = wakeSessionAt(this.#session) ?? Number.POSITIVE_INFINITY;
    for (const seat of this.#seats.values()) wakeAt = Math.min(wakeAt, seat.wakeAt);
    if (this.#waitsToRevoke) wakeAt = Math.min(wakeAt, this.#revokeAt());
    this.#cancelTimer =
      wakeAt === Number.POSITIVE_INFINITY
        ? () => undefined
        : this.#options.clock.at(wakeAt, () => this.#tick());
  }

  /** Once nobody stands in any election any more, the lease goes; once that has gone, we have stopped. */
  #finishStopping(): void {
    this.#waitsToRevoke = false;
    if (this.#onStopped === null) return;
    const standing = (seat: Seat): boolean => seat.candidacy.phase.kind !== 'stopped';
    if ([...this.#seats.values()].some(standing)) return;
    this.#waitsToRevoke = this.#options.clock.now() < this.#revokeAt();
    if (this.#waitsToRevoke) return;
    this.#cancelWatch();
    this.#stepSession({ kind: 'close' });
    if (this.#session.kind === 'closed') {
      this.#onStopped();
      this.#onStopped = null;
    }
  }

  /** Not before this is the lease revoked. */
  #revokeAt(): Millis {
    return this.#requests.releasedAt + revokeAfterMs;
  }

  #fail(failure: unknown): void {
    void this.halt('crashed');
    this.#options.onFatal(failure);
  }

  #tellOfHaste(ends: readonly HastyEnd[]): void {
    try {
      for (const end of ends) for (const notice of noticesOf(end)) this.#announcer.announce(notice);
      for (const name of this.names) this.#announcer.compare(this.report(name));
    } catch {
      // Whoever listens may be what failed: nothing keeps the end from going on.
    }
  }

  #perform(name: ElectionName, effect: CandidacyEffect, now: Millis): void {
    const { app } = this.#options;
    switch (effect.kind) {
      case 'elected':
        this.#announcer.announce({ kind: 'elected', election: name, ...effect.term });
        return app?.elected(name, effect.term.token);
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
      case 'giveUpLease': {
        const { generation } = effect;
        return this.#post({ to: 'session', event: { kind: 'leaseLost', generation } });
      }
      case 'observe':
      case 'askTimeToLive':
      case 'join':
      case 'release':
      case 'enroll':
      case 'correct':
      case 'proclaim':
      case 'concede':
      case 'ping':
      case 'record':
      case 'depose':
        return this.#requests.perform(name, effect);
      default:
        return assertNever(effect);
    }
  }

  #onWatch(notice: WatchNotice): void {
    switch (notice.kind) {
      case 'snapshot': {
        const { election, snapshot, sentAt } = notice;
        this.#requests.contact(sentAt);
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
}
