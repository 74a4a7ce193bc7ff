// Keeps the page's knowledge fresh: two event streams, and bounded polling for what they do not carry. Says how old the
// newest word of the sidecar is, and comes back by itself after any silence.
import type { HistoryAnswer, LeadershipEvent, MembersAnswer, StatusAnswer } from '../contract.ts';
import { freshnessOf, type Freshness } from './freshness.ts';
import type { Details, Knowledge } from './knowledge.ts';
import { Poll } from './poll.ts';
import { Stream } from './stream.ts';
import type { OverviewAnswer, PeersFrame } from './wire.ts';

export interface Hearing {
  /** Something is known that was not; the page should show it. */
  readonly learnt: () => void;
  /** Another leads, as an event has just told. */
  readonly elected: (event: LeadershipEvent) => void;
  /** A frame, before it is taken up. */
  readonly framed: (frame: PeersFrame) => void;
}

/** A stream that has not ticked for so long is begun anew: its connection may be dead without anybody having said so. */
const reopenAfterMs = 5000;
/** The leader writes the record of its term a moment after it was elected. */
const recordedAfterMs = 250;

/** A row has some 200 bytes: a thousand are asked for less often than a few. */
const overviewEveryMs = (elections: number): number => (elections > 50 ? 5000 : 2000);
const detailsEveryMs = 2000;
const historyEveryMs = 15_000;

export class Connection {
  readonly #knowledge: Knowledge;
  readonly #hearing: Hearing;
  readonly #events: Stream;
  readonly #peers: Stream;
  readonly #overview: Poll;
  readonly #details: readonly Poll[];
  readonly #history: Poll;
  readonly #words: {
    lastWordAt: number | null;
    since: number;
    streams: boolean;
    broken: boolean;
  };
  #tickAt = performance.now();
  #failing = false;

  constructor(knowledge: Knowledge, hearing: Hearing) {
    this.#knowledge = knowledge;
    this.#hearing = hearing;
    this.#words = { lastWordAt: null, since: performance.now(), streams: false, broken: false };
    this.#events = new Stream({
      on: { leadership: (data) => this.#event(data as LeadershipEvent) },
      broken: () => this.#overview.soon(),
    });
    this.#peers = new Stream({
      on: { tick: () => this.#tick(), peers: (data) => this.#frame(data as PeersFrame) },
      broken: (refused) => {
        this.#words.streams = !refused && this.#words.streams;
        this.#words.broken = !refused;
        this.#failing = true;
        this.#overview.soon();
      },
    });
    this.#overview = new Poll({
      everyMs: () => overviewEveryMs(knowledge.standings.size),
      path: () => '/overview',
      take: (body) => this.#learn(() => knowledge.takeOverview(body as OverviewAnswer)),
      failed: () => (this.#failing = true),
    });
    const detail = (name: string, everyMs: number, put: (to: Details, body: unknown) => void) =>
      new Poll({
        everyMs: () => everyMs,
        path: () => this.#path(name),
        take: (body, path) => this.#learn(() => this.#put(path, name, body, put)),
        failed: () => (this.#failing = true),
      });
    const at = (): number => performance.now();
    this.#details = [
      detail('status', detailsEveryMs, (to, body) => {
        to.status = { value: body as StatusAnswer, at: at() };
      }),
      detail('members', detailsEveryMs, (to, body) => {
        to.members = { value: body as MembersAnswer, at: at() };
      }),
    ];
    this.#history = detail('history', historyEveryMs, (to, body) => {
      to.history = { value: body as HistoryAnswer, at: at() };
    });
  }

  /** Follows the election that is looked at, and all others for the list. */
  follow(): void {
    const election = this.#knowledge.details?.election;
    this.#events.from('/events');
    this.#peers.from(
      election === undefined ? '/peers' : `/peers?election=${encodeURIComponent(election)}`,
    );
    this.refresh();
  }

  /** Asks for everything again, now. */
  refresh(afterMs = 0): void {
    for (const poll of [this.#overview, ...this.#details, this.#history]) poll.soon(afterMs);
  }

  /** Nobody looks: nothing is asked, and the sidecar asks nobody for us. */
  sleep(): void {
    this.#events.from(null);
    this.#peers.from(null);
    for (const poll of [this.#overview, ...this.#details, this.#history]) poll.sleep();
  }

  /** Somebody looks again. What is shown is old until a word has come. */
  wake(): void {
    this.#tickAt = performance.now();
    this.follow();
  }

  freshness(): Freshness {
    const now = performance.now();
    if (now - this.#tickAt > reopenAfterMs) {
      this.#tickAt = now;
      this.#events.again();
      this.#peers.again();
    }
    const { streams } = this.#words;
    return freshnessOf({ ...this.#words, streams: streams || this.#failing }, now);
  }

  /** How old the newest word of the sidecar is; null before the first. */
  ageMs(): number | null {
    const { lastWordAt } = this.#words;
    return lastWordAt === null ? null : performance.now() - lastWordAt;
  }

  #path(name: string): string | null {
    const election = this.#knowledge.details?.election;
    return election === undefined ? null : `/elections/${encodeURIComponent(election)}/${name}`;
  }

  /** The answer may be to what nobody looks at any more. */
  #put(path: string, name: string, body: unknown, put: (to: Details, body: unknown) => void): void {
    const { details } = this.#knowledge;
    if (details !== null && path === this.#path(name)) put(details, body);
  }

  #word(): void {
    this.#words.lastWordAt = performance.now();
    this.#failing = false;
  }

  #learn(take: () => void): void {
    this.#word();
    take();
    this.#hearing.learnt();
  }

  #tick(): void {
    this.#word();
    this.#tickAt = performance.now();
    this.#words.streams = true;
    this.#words.broken = false;
  }

  #frame(frame: PeersFrame): void {
    const before = this.#knowledge.details?.frame?.value.peers.length;
    this.#hearing.framed(frame);
    this.#learn(() => this.#knowledge.takeFrame(frame));
    if (before !== frame.peers.length) for (const poll of this.#details) poll.soon();
  }

  #event(event: LeadershipEvent): void {
    this.#word();
    const another = this.#knowledge.takeEvent(event);
    this.#hearing.learnt();
    if (another) this.#hearing.elected(event);
    if (event.election !== this.#knowledge.details?.election) return;
    for (const poll of this.#details) poll.soon();
    this.#history.soon(recordedAfterMs);
  }
}
