// The client of an app: asks its sidecar again well before the last answer runs out, listens to what it pushes, and
// answers from what it knows. What may be believed is decided in knowledge.ts; this file only asks and tells.
import type { LeadershipEvent } from '../contract.ts';
import type { Millis } from '../core/model.ts';
import type { Clock } from '../ports.ts';
import { backoffMs, Loop } from '../process/loop.ts';
import { judgeAt } from '../process/time-out.ts';
import { ClientClosed, NotLeader, SidecarRefused, SidecarUnreachable } from './errors.ts';
import type { ServerSentEvent } from './event-reader.ts';
import {
  Knowledge,
  leaderAnswerIn,
  type Claim,
  type Leader,
  type Leadership,
} from './knowledge.ts';
import { runTerms, type Claims, type WhileLeaderOptions, type Work } from './terms.ts';
import type { Transport } from './transport.ts';

/** A promise of the sidecar that nobody else leads for a while, whatever is planned. */
export interface Hold {
  readonly fencingToken: bigint;
  /** How long it was promised for, counted from when it was asked for. */
  readonly heldForMs: number;
  /** What is left of it, in milliseconds; 0 once the term is over, which a lost lease may bring about sooner. */
  remainingMs(): number;
}

/** Follows who leads an election. All methods but `hold`, `ready` and `whileLeader` answer at once, from memory. */
export interface Client {
  /** True only while it is certain that this instance leads. Ask each time anew; an answer kept is worth nothing. */
  isLeader(): boolean;
  /** Who leads, this instance or another; null while nobody does or that is not known. */
  leader(): Leader | null;
  /** The token of the own term, to be passed on with everything that is written; null where this instance does not lead. */
  fencingToken(): bigint | null;
  /** All that is known at this moment. */
  leadership(): Leadership;
  /** Calls `listener` after each change of role, leader or term; the returned function ends that. */
  onChange(listener: (leadership: Leadership) => void): () => void;
  /**
   * Asks that nobody else leads for `ms` milliseconds, whatever is planned; the sidecar may grant less (its --max-hold, 0
   * where it grants none). For work that must not be cut in two and takes longer than the claim at hand is valid.
   *
   * @throws NotLeader where this instance does not lead; SidecarUnreachable, SidecarRefused or UnusableAnswer.
   */
  hold(ms: number): Promise<Hold>;
  /**
   * Runs `work` for each term of this instance. Its signal aborts as soon as the term is known to be over, and in any case
   * before its validity ends; then `work` is waited for before it may run again. Work that ends by itself is not run again
   * for the same term. Resolves after `close()`, or when `options.signal` aborts.
   *
   * @throws whatever `work` throws, other than the abort itself.
   */
  whileLeader(work: Work, options?: WhileLeaderOptions): Promise<void>;
  /**
   * Resolves when the sidecar has answered.
   *
   * @param withinMs for how long to wait, for ever by default
   * @throws SidecarUnreachable or UnusableAnswer when it has not in time; SidecarRefused at once when it refuses, as for an
   * election that it does not stand in; ClientClosed.
   */
  ready(withinMs?: number): Promise<Leadership>;
  /** Ends everything; resolves when the functions run by `whileLeader` have ended. */
  close(): Promise<void>;
}

export interface ClientParts {
  readonly transport: Transport;
  /** Null: the only one that the sidecar stands in. */
  readonly election: string | null;
  readonly clock: Clock;
  /** 0 to 1, as Math.random. */
  readonly random: () => number;
}

/**
 * The hold that every question asks for, and so the longest that a claim is believed without another answer: a planned
 * hand-over waits for it, and a stall of the app that is longer costs it the claim.
 */
const holdMs = 1000;
/** So often a claim is asked for anew within its time, so that two lost answers do not cost it. */
const askTimesInClaim = 3;
/** Asks at least this often: half of what nameValidForMs (knowledge.ts) allows is left for the answer. */
const askEveryMs = 500;
/** And never more often than this. */
const askAtMostEveryMs = 50;
/** The sidecar is on this machine: a longer silence means that it is not there. */
const answerWithinMs = 1000;
/** After failures: a sidecar that restarts is back within a second or two, and nothing else is waited for. */
const backoff = { firstMs: 100, longestMs: 2000 };

export class AppClient implements Client, Claims {
  readonly clock: Clock;
  readonly #parts: ClientParts;
  readonly #knowledge = new Knowledge();
  readonly #changeListeners = new Set<(leadership: Leadership) => void>();
  readonly #watchers = new Set<() => void>();
  readonly #running = new Set<Promise<void>>();
  #told: Leadership;
  readonly #loop: Loop;
  #answers = 0;
  #failures = 0;
  #failure: Error | null = null;
  #cancelExpiry = (): void => undefined;
  #stopFollowing: (() => void) | null = null;
  #streamFailures = 0;
  #mayFollowAt: Millis = 0;
  /** What the slowest work of `whileLeader` takes to stop, which the claim has to leave beside the time to work in. */
  #longestStopMs = 0;

  constructor(parts: ClientParts) {
    this.#parts = parts;
    this.clock = parts.clock;
    this.#loop = new Loop(parts.clock);
    this.#told = this.leadership();
    void this.#loop.run(() => this.#ask());
  }

  get closed(): boolean {
    return !this.#loop.isRunning();
  }

  isLeader(): boolean {
    return this.claim() !== null;
  }

  leader(): Leader | null {
    return this.leadership().leader;
  }

  fencingToken(): bigint | null {
    return this.claim()?.fencingToken ?? null;
  }

  leadership(): Leadership {
    return this.#knowledge.at(this.clock.now());
  }

  claim(): Claim | null {
    return this.closed ? null : this.#knowledge.claim(this.clock.now());
  }

  identity(): { readonly election: string; readonly id: string } {
    const { election, id } = this.leadership();
    return { election: election ?? '', id: id ?? '' };
  }

  onChange(listener: (leadership: Leadership) => void): () => void {
    this.#changeListeners.add(listener);
    return () => void this.#changeListeners.delete(listener);
  }

  watch(listener: () => void): () => void {
    this.#watchers.add(listener);
    return () => void this.#watchers.delete(listener);
  }

  async hold(ms: number): Promise<Hold> {
    if (this.closed) throw new ClientClosed('the client was closed');
    const heard = await this.#askLeader(ms);
    const { isLeader, fencingToken, heldForMs = 0 } = heard.answer;
    if (!isLeader || fencingToken === null) {
      throw new NotLeader(`${heard.answer.id} does not lead ${heard.answer.election}`);
    }
    const token = BigInt(fencingToken);
    const until = heard.sentAt + heldForMs;
    return {
      fencingToken: token,
      heldForMs,
      remainingMs: () =>
        this.claim()?.fencingToken === token ? Math.max(0, until - this.clock.now()) : 0,
    };
  }

  async whileLeader(work: Work, options: WhileLeaderOptions = {}): Promise<void> {
    this.#longestStopMs = Math.max(this.#longestStopMs, options.stopWithinMs ?? 0);
    const run = runTerms(this, work, options);
    this.#running.add(run);
    try {
      await run;
    } finally {
      this.#running.delete(run);
    }
  }

  ready(withinMs?: number): Promise<Leadership> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void): void => {
        unwatch();
        cancel();
        settle();
      };
      const look = (): void => {
        if (this.closed) end(() => reject(new ClientClosed('the client was closed')));
        else if (this.#answers > 0) end(() => resolve(this.leadership()));
        else if (this.#failure instanceof SidecarRefused && this.#failure.problem.status < 500) {
          const failure = this.#failure;
          end(() => reject(failure));
        }
      };
      const late = (): void => {
        const failure = this.#failure ?? new SidecarUnreachable(`no answer within ${withinMs} ms`);
        end(() => reject(failure));
      };
      const unwatch = this.watch(look);
      const cancel =
        withinMs === undefined
          ? () => undefined
          : judgeAt(this.clock, this.clock.now() + withinMs, late);
      look();
    });
  }

  async close(): Promise<void> {
    if (!this.closed) {
      this.#loop.stop();
      this.#cancelExpiry();
      this.#stopFollowing?.();
      this.#parts.transport.close();
      for (const watcher of [...this.#watchers]) watcher();
      this.#changeListeners.clear();
    }
    await Promise.allSettled([...this.#running]);
  }

  /** One question; says how long to wait before the next. */
  async #ask(): Promise<number> {
    try {
      await this.#askLeader(holdMs + this.#longestStopMs);
      this.#follow();
    } catch (failure) {
      this.#failures += 1;
      this.#failure = failure instanceof Error ? failure : new Error(String(failure));
      this.#settle();
    }
    return this.#waitMs();
  }

  /** Asks with a hold: nothing that the sidecar plans ends the term before what this brings is over. */
  async #askLeader(wantedHoldMs: number) {
    const { transport, election } = this.#parts;
    const base = election === null ? '' : `/elections/${encodeURIComponent(election)}`;
    const path = `${base}/leader?hold=${Math.max(0, Math.ceil(wantedHoldMs))}ms`;
    const { body, sentAt } = await transport.ask({ path, withinMs: answerWithinMs });
    const answer = leaderAnswerIn(body);
    this.#answers += 1;
    this.#failures = 0;
    this.#failure = null;
    if (!this.#knowledge.answered(answer, sentAt, this.clock.now())) this.#loop.wake();
    this.#settle();
    return { answer, sentAt };
  }

  /** Where nothing is claimed, seldom enough to cost nothing. */
  #waitMs(): number {
    const { random } = this.#parts;
    const claim = this.claim();
    const leftMs = claim === null ? Number.POSITIVE_INFINITY : claim.validUntil - this.clock.now();
    const usualMs =
      this.#failures === 0
        ? askEveryMs * (0.8 + 0.2 * random())
        : backoffMs(backoff, this.#failures, random);
    return Math.max(askAtMostEveryMs, Math.min(usualMs, leftMs / askTimesInClaim));
  }

  /** Opens the stream of events, unless it is open or was closed a moment ago. */
  #follow(): void {
    const { transport, election, random } = this.#parts;
    if (this.closed || this.#stopFollowing !== null || this.clock.now() < this.#mayFollowAt) return;
    const query = election === null ? '' : `?election=${encodeURIComponent(election)}`;
    this.#stopFollowing = transport.follow(`/events${query}`, {
      event: (event) => this.#pushed(event),
      ended: () => {
        this.#stopFollowing = null;
        this.#streamFailures += 1;
        this.#mayFollowAt = this.clock.now() + backoffMs(backoff, this.#streamFailures, random);
        // It may have ended because the sidecar did.
        this.#loop.wake();
      },
    });
  }

  #pushed({ name, data }: ServerSentEvent): void {
    if (this.closed || name !== 'leadership') return;
    this.#streamFailures = 0;
    try {
      const event = leaderAnswerIn(JSON.parse(data)) as LeadershipEvent;
      this.#knowledge.pushed(event, this.clock.now());
    } catch {
      // What cannot be read changes nothing; the question below tells how things are.
    }
    this.#settle();
    this.#loop.wake();
  }

  /** After anything was heard, or ran out: tells whoever wants to know. */
  #settle(): void {
    if (this.closed) return;
    const now = this.clock.now();
    this.#cancelExpiry();
    const changesAt = this.#knowledge.changesAt(now);
    this.#cancelExpiry =
      changesAt === null ? () => undefined : this.clock.at(changesAt, () => this.#settle());
    for (const watcher of [...this.#watchers]) watcher();
    const leadership = this.#knowledge.at(now);
    if (isSame(leadership, this.#told)) return;
    this.#told = leadership;
    for (const listener of [...this.#changeListeners]) callSafely(() => listener(leadership));
  }
}

const isSame = (one: Leadership, other: Leadership): boolean =>
  one.role === other.role &&
  one.election === other.election &&
  one.fencingToken === other.fencingToken &&
  one.leader?.id === other.leader?.id &&
  one.leader?.address === other.leader?.address &&
  one.leader?.fencingToken === other.leader?.fencingToken;

/** A listener that throws is a fault of the app, which is told as any uncaught error is; it must not cost the next one. */
function callSafely(call: () => void): void {
  try {
    call();
  } catch (failure) {
    process.nextTick(() => {
      throw failure;
    });
  }
}
