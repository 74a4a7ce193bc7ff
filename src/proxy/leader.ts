// The leader of an election as a destination: nothing is sent to an instance but while it is certain that no other one
// leads. Of our own instance that is its claim. Of another it is a promise of its sidecar, asked for again and again while
// there is traffic: what etcd said a moment ago may be over.
import type { ElectionName, FencingToken, MemberId, Millis } from '../core/model.ts';
import type { Clock, Elections, Promised } from '../ports.ts';
import { addressOf, Reachable, type Address, type Destination, type Target } from './target.ts';

/** Another instance that leads, as etcd names it. */
export interface Other {
  readonly id: MemberId;
  readonly url: string | null;
  readonly token: FencingToken;
}

export interface LeaderOptions {
  readonly election: ElectionName;
  readonly elections: Elections;
  readonly clock: Pick<Clock, 'now'>;
  /** Asks the sidecar of another instance; never rejects. */
  readonly ask: (election: ElectionName, other: Other) => Promise<Promised>;
  readonly warn: (message: string) => void;
}

/** What is left of a promise, of 150 ms, when the next one is asked for: two answers may get lost. */
const renewBelowMs = 100;
/** Of an answer that promises less than that, as with fast failover, the next one is not asked for at once. */
const askEveryMs = 20;
/** For how long an answer about our own claim, or of etcd, is taken up unasked. */
const lookEveryMs = 10;

export class LeaderDestination implements Destination {
  readonly #options: LeaderOptions;
  readonly #listeners = new Set<() => void>();
  #term: Term | null = null;
  #warned = '';

  constructor(options: LeaderOptions) {
    this.#options = options;
    options.elections.subscribe((notice) => {
      if (!('election' in notice) || notice.election !== options.election) return;
      if (notice.kind === 'ended' || notice.kind === 'changed') this.#look();
    });
    this.#look();
  }

  ready(): Target | null {
    const term = this.#term;
    return term !== null && !term.reachable.isDown() && term.mayReceive() ? term : null;
  }

  seek(): void {
    this.#look();
    this.#term?.reachable.probe();
    void this.#term?.permit();
  }

  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  readonly #changed = (): void => {
    for (const listener of this.#listeners) listener();
  };

  /** Who leads, as far as is known: what etcd does not say any more, the leader itself may. */
  #look(): void {
    const { elections, election } = this.#options;
    const { id, role, token, leader } = elections.report(election);
    const known =
      token === null ? leader : { id, token, url: null, address: leader?.address ?? null };
    if (known?.token === this.#term?.token) return;
    if (role === 'unknown' && this.#term?.isOurs === false) return;
    this.#term?.end();
    this.#term = null;
    if (known !== null) {
      const address = addressOf(known.address);
      if (address === null)
        this.#warn(`${known.id} leads, but has no --advertise to be reached at`);
      else this.#term = new Term(this.#options, known, address, token !== null, this.#changed);
    }
    this.#changed();
  }

  #warn(message: string): void {
    if (message !== this.#warned) this.#options.warn(message);
    this.#warned = message;
  }
}

class Term implements Target {
  readonly id: MemberId;
  readonly token: FencingToken;
  readonly address: Address;
  readonly isOurs: boolean;
  readonly reachable: Reachable;
  load = 0;
  readonly #options: LeaderOptions;
  readonly #other: Other;
  readonly #changed: () => void;
  readonly #listeners = new Set<() => void>();
  #until: Millis = Number.NEGATIVE_INFINITY;
  #asking: Promise<boolean> | null = null;
  #askedAt: Millis = Number.NEGATIVE_INFINITY;
  #isOver = false;
  #warned = false;

  constructor(
    options: LeaderOptions,
    other: Other,
    address: Address,
    isOurs: boolean,
    changed: () => void,
  ) {
    this.id = other.id;
    this.token = other.token;
    this.address = address;
    this.isOurs = isOurs;
    this.reachable = new Reachable(address, changed);
    this.#options = options;
    this.#other = other;
    this.#changed = changed;
  }

  mayReceive(): boolean {
    if (this.#isOver) return false;
    const now = this.#options.clock.now();
    if (this.isOurs && now >= this.#until) this.#look(now);
    const isDue = now > this.#until - renewBelowMs && now > this.#askedAt + askEveryMs;
    if (!this.isOurs && isDue) void this.permit();
    return now < this.#until;
  }

  permit(): Promise<boolean> {
    if (this.#isOver || this.isOurs) return Promise.resolve(this.mayReceive());
    this.#asking ??= this.#ask().finally(() => (this.#asking = null));
    return this.#asking;
  }

  onOver(listener: () => void): () => void {
    if (this.#isOver) listener();
    else this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  unreachable(): void {
    this.reachable.failed();
  }

  end(): void {
    this.#isOver = true;
    for (const listener of this.#listeners) listener();
    this.#listeners.clear();
  }

  /** Our own claim; where it ends before its time, `end` was called. */
  #look(now: Millis): void {
    const { token, validUntil } = this.#options.elections.report(this.#options.election);
    if (token === this.token) this.#until = Math.min(validUntil, now + lookEveryMs);
  }

  async #ask(): Promise<boolean> {
    const { clock, ask, election } = this.#options;
    this.#askedAt = clock.now();
    const before = this.#askedAt < this.#until;
    const promised = await ask(election, this.#other);
    if (promised.kind === 'held') {
      this.#until = Math.max(this.#until, promised.sentAt + promised.forMs);
    }
    if (promised.kind === 'none') this.#trustEtcd(promised.why);
    const may = !this.#isOver && clock.now() < this.#until;
    if (may && !before) this.#changed();
    return may;
  }

  /** Better than no traffic at all: the others know who leads a moment after it has changed. */
  #trustEtcd(why: string): void {
    const { elections, election, warn, clock } = this.#options;
    const { role, leader } = elections.report(election);
    if (role === 'unknown' || leader?.token !== this.token) return;
    this.#until = clock.now() + lookEveryMs;
    if (this.#warned) return;
    this.#warned = true;
    warn(
      `${this.id} leads ${election} and cannot be asked to promise that (${why}): traffic follows what etcd says, some milliseconds late`,
    );
  }
}
