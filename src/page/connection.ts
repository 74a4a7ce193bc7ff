// Keeps the page's knowledge fresh: one stream of what happens, which all windows share, one answer of the sidecar about
// everything that the page shows, and the history. Says how old the newest word of the sidecar is, and comes back by itself
// after any silence.
import type { HistoryAnswer, LeadershipEvent } from '../contract.ts';
import { freshnessOf, type Freshness } from './freshness.ts';
import type { Told } from './hub.ts';
import type { Knowledge } from './knowledge.ts';
import { Line } from './line.ts';
import { Poll } from './poll.ts';
import type { OverviewAnswer, PeersFrame } from './wire.ts';

export interface Hearing {
  /** Something is known that was not; the page should show it. */
  readonly learnt: () => void;
  /** Another leads, as an event has just told. */
  readonly elected: (event: LeadershipEvent) => void;
  /** A frame, before it is taken up. */
  readonly framed: (frame: PeersFrame) => void;
}

/** The leader writes the record of its term a moment after it was elected. */
const recordedAfterMs = 250;

/** A row has some 200 bytes: a thousand are asked for less often than a few. */
const overviewEveryMs = (elections: number): number => (elections > 50 ? 5000 : 2000);
const historyEveryMs = 15_000;

export class Connection {
  readonly #knowledge: Knowledge;
  readonly #hearing: Hearing;
  readonly #line: Line;
  readonly #overview: Poll;
  readonly #history: Poll;
  readonly #words: {
    lastWordAt: number | null;
    since: number;
    streams: boolean;
    broken: boolean;
  };
  #failing = false;

  /** @param version of the page */
  constructor(version: string, knowledge: Knowledge, hearing: Hearing) {
    this.#knowledge = knowledge;
    this.#hearing = hearing;
    this.#words = { lastWordAt: null, since: performance.now(), streams: false, broken: false };
    this.#line = new Line(version, (told) => this.#told(told));
    this.#overview = new Poll({
      everyMs: () => overviewEveryMs(knowledge.standings.size),
      path: () => {
        const election = this.#election();
        return election === null ? 'overview' : `overview?election=${encodeURIComponent(election)}`;
      },
      take: (body) => this.#learn(() => knowledge.takeOverview(body as OverviewAnswer)),
      failed: () => (this.#failing = true),
    });
    this.#history = new Poll({
      everyMs: () => historyEveryMs,
      path: () => this.#historyPath(),
      take: (body, path) => this.#learn(() => this.#takeHistory(body as HistoryAnswer, path)),
      // etcd may be away, and says so elsewhere.
      failed: () => undefined,
    });
  }

  /** Follows the election that is looked at, and all others for the list. */
  follow(): void {
    this.#line.say({ watch: this.#election() });
    this.refresh();
  }

  /** Asks for everything again, now. */
  refresh(): void {
    for (const poll of [this.#overview, this.#history]) poll.soon();
  }

  /** Nobody looks: nothing is asked, and the sidecar asks nobody for us. */
  sleep(): void {
    this.#line.say('rest');
    for (const poll of [this.#overview, this.#history]) poll.sleep();
  }

  /** Somebody looks again. What is shown is old until a word has come. */
  wake(): void {
    this.follow();
  }

  freshness(): Freshness {
    const { streams } = this.#words;
    const words = { ...this.#words, streams: streams || this.#failing };
    return freshnessOf(words, performance.now());
  }

  /** How old the newest word of the sidecar is; null before the first. */
  ageMs(): number | null {
    const { lastWordAt } = this.#words;
    return lastWordAt === null ? null : performance.now() - lastWordAt;
  }

  #election(): string | null {
    return this.#knowledge.details?.election ?? null;
  }

  #historyPath(): string | null {
    const election = this.#election();
    return election === null ? null : `elections/${encodeURIComponent(election)}/history`;
  }

  /** The answer may be to what nobody looks at any more. */
  #takeHistory(value: HistoryAnswer, path: string): void {
    const { details } = this.#knowledge;
    if (details === null || path !== this.#historyPath()) return;
    details.history = { value, at: performance.now() };
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

  #told(told: Told): void {
    switch (told.name) {
      case 'tick':
        return this.#tick();
      case 'peers':
        return this.#frame(told.data as PeersFrame);
      case 'leadership':
        return this.#event(told.data as LeadershipEvent);
      case 'broken':
        this.#words.streams = !told.refused && this.#words.streams;
        this.#words.broken = !told.refused;
        this.#failing = true;
        this.#overview.soon();
    }
  }

  #tick(): void {
    // What happened while there was no stream was told to nobody.
    if (this.#words.broken || !this.#words.streams) this.refresh();
    this.#word();
    this.#words.streams = true;
    this.#words.broken = false;
  }

  #frame(frame: PeersFrame): void {
    const before = this.#knowledge.details?.frame?.value.peers.length;
    this.#hearing.framed(frame);
    this.#learn(() => this.#knowledge.takeFrame(frame));
    if (before !== frame.peers.length) this.#overview.soon();
  }

  #event(event: LeadershipEvent): void {
    this.#word();
    const another = this.#knowledge.takeEvent(event);
    this.#hearing.learnt();
    if (another) this.#hearing.elected(event);
    if (event.election !== this.#election()) return;
    this.#overview.soon();
    this.#history.soon(recordedAfterMs);
  }
}
