// `/events`: every change of leadership, pushed. Each client has a bound on what it may leave unread and is dropped past
// it, so that one that reads too slowly costs the others nothing; and changes are sent in slices between turns of the
// loop, so that a thousand clients delay no hand-over. What is sent is true when it is sent, as with any answer.
import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { LeadershipEvent } from '../contract.ts';
import type { Cause, ElectionName, Millis } from '../core/model.ts';
import type { Report } from '../core/report.ts';
import { leaderAnswer } from './answers.ts';
import type { Events, Inputs, Side } from './inputs.ts';

export interface EventLimits {
  /** A comment this often shows clients, and what is between, that the stream lives. */
  readonly keepAliveMs: number;
  /** A client that has left more than this unread, besides the state that it began with, when something new is to be sent is dropped. */
  readonly unsentBytes: number;
  /** A client that has taken nothing for so long, although there was something to take, is dropped. */
  readonly stuckMs: number;
  /** Of each listener by itself: those of the public one leave no less room to the app beside us. */
  readonly clients: Readonly<Record<Side, number>>;
}

const standardEventLimits: EventLimits = {
  keepAliveMs: 15_000,
  unsentBytes: 65_536,
  stuckMs: 10_000,
  clients: { public: 4096, local: 4096 },
};

/** What a client is told to wait before it comes back: soon, since what it knows grows old. */
const retryMs = 1000;
/** So much of the state is one write: what has been taken of it shows that a client reads, however long the whole is. */
const statePieceBytes = 32_768;
/** So many clients get their events within one turn of the loop: some two milliseconds. */
const clientsPerTurn = 100;
/** A flood beyond this loses its oldest changes; newer ones of the same elections follow them. */
const pendingAtMost = 16_384;

type Sources = Pick<Inputs, 'elections' | 'clock' | 'wallNow'>;

/** To be told; null stands for a comment, of which there is no more to say. */
interface Change {
  readonly election: ElectionName;
  readonly report: Report;
  readonly at: Millis;
  readonly cause: Cause;
}

interface Client {
  readonly side: Side;
  readonly response: ServerResponse;
  readonly elections: ReadonlySet<ElectionName> | null;
  /** How many writes have not reached the network yet, and since when nothing has moved. */
  unsent: number;
  since: Millis;
  /** How much of the state that it began with has not reached the network yet: as much as there are elections. */
  unsentState: number;
}

const comment = ': \n\n';

class EventStreams implements Events {
  readonly #sources: Sources;
  readonly #limits: EventLimits;
  readonly #clients = new Set<Client>();
  readonly #causes = new Map<ElectionName, Cause>();
  readonly #unsubscribe: () => void;
  readonly #keepAlive: NodeJS.Timeout;
  /** With the number of an event its id, which no other has: of no election, no sidecar, and not after a restart. */
  readonly #run = randomUUID();
  #made = 0;
  #pending: (Change | null)[] = [];
  #sending = false;
  #closed = false;

  constructor(sources: Sources, limits: EventLimits) {
    this.#sources = sources;
    this.#limits = limits;
    this.#unsubscribe = sources.elections.subscribe((notice) => {
      if (notice.kind !== 'changed') return;
      const { election, report, cause } = notice;
      this.#causes.set(election, cause);
      this.#tell({ election, report, cause, at: sources.clock.now() });
    });
    this.#keepAlive = setInterval(() => this.#tell(null), limits.keepAliveMs);
    this.#keepAlive.unref();
  }

  open(side: Side, response: ServerResponse, elections: Client['elections']): void {
    const client = this.follow(side, response, elections);
    this.#writeState(client, `retry: ${retryMs}\n`);
    if (this.#closed) this.#end(client);
  }

  follow(side: Side, response: ServerResponse, elections: Client['elections'] = null): Client {
    const since = this.#sources.clock.now();
    const client = { side, response, elections, unsent: 0, since, unsentState: 0 };
    response.on('close', () => this.#clients.delete(client));
    // A broken connection is closed as well; nobody is left to be told.
    response.on('error', () => undefined);
    this.#clients.add(client);
    return client;
  }

  isFull(side: Side): boolean {
    // Counted anew, since nothing that is counted along can then go wrong: some thousands at most, once for each stream.
    const there = [...this.#clients].filter((client) => client.side === side);
    return there.length >= this.#limits.clients[side];
  }

  count(): number {
    return this.#clients.size;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unsubscribe();
    clearInterval(this.#keepAlive);
    this.#pending = [];
    for (const client of this.#clients) {
      this.#writeState(client);
      this.#end(client);
    }
  }

  #writeState(client: Client, before = ''): void {
    const state = Buffer.from(before + this.#state(client.elections));
    for (let from = 0; from < state.length && this.#clients.has(client); from += statePieceBytes) {
      const piece = state.subarray(from, from + statePieceBytes);
      client.unsentState += piece.length;
      this.#write(client, piece, () => {
        client.unsentState -= piece.length;
      });
    }
  }

  #end(client: Client): void {
    this.#clients.delete(client);
    client.response.end();
  }

  /** What is so now, with the cause of the last change. */
  #state(elections: ReadonlySet<ElectionName> | null): string {
    const names = [...(elections ?? this.#sources.elections.names)];
    return names
      .map((name) => {
        const report = this.#sources.elections.report(name);
        return this.#frame(report, this.#causes.get(name) ?? 'unknown');
      })
      .join('');
  }

  #frame(report: Report, cause: Cause): string {
    const answer = leaderAnswer(report, this.#sources);
    const data: LeadershipEvent = { ...answer, cause, reason: cause };
    this.#made += 1;
    const id = `${this.#run}-${this.#made}`;
    return `event: leadership\nid: ${id}\ndata: ${JSON.stringify(data)}\n\n`;
  }

  /** Not at once: the notice comes from the middle of an election's step. */
  #tell(change: Change | null): void {
    if (this.#closed || this.#clients.size === 0) return;
    this.#pending.push(change);
    if (this.#pending.length > pendingAtMost) this.#pending.shift();
    if (this.#sending) return;
    this.#sending = true;
    setImmediate(() => this.#send());
  }

  #send(): void {
    const changes = this.#pending;
    this.#pending = [];
    const clients = [...this.#clients];
    let next = 0;
    const slice = (): void => {
      if (this.#closed) return;
      // Made anew for every slice: what was true for the last one may not be so any more.
      const frames = changes.map((change) => this.#present(change));
      for (const client of clients.slice(next, next + clientsPerTurn)) {
        const own = framesFor(client.elections, frames);
        if (own !== '' && this.#clients.has(client)) this.#write(client, own);
      }
      next += clientsPerTurn;
      if (next < clients.length) setImmediate(slice);
      else if (this.#pending.length > 0) setImmediate(() => this.#send());
      else this.#sending = false;
    };
    slice();
  }

  #present(change: Change | null): Frame {
    if (change === null) return { election: null, text: () => comment };
    const { election, cause } = change;
    let text: string | null = null;
    return {
      election,
      text: () => (text ??= this.#frame(this.#stillTrue(change), cause)),
    };
  }

  /** The report of the change; the present one where a claim in it has ended or its knowledge is too old. */
  #stillTrue({ election, report, at }: Change): Report {
    const { elections, clock } = this.#sources;
    const ageMs = (report.observedAgeMs ?? 0) + clock.now() - at;
    const present = elections.report(election);
    const claims = report.token !== null && report.token !== present.token;
    if (claims || ageMs >= elections.ttlMs()) return present;
    return { ...report, observedAgeMs: report.observedAgeMs === null ? null : ageMs };
  }

  #write(client: Client, text: string | Buffer, written: () => void = () => undefined): void {
    const { response } = client;
    const now = this.#sources.clock.now();
    const stuck = client.unsent > 0 && now - client.since > this.#limits.stuckMs;
    if (stuck || response.writableLength - client.unsentState > this.#limits.unsentBytes) {
      this.#clients.delete(client);
      response.destroy();
      return;
    }
    if (client.unsent === 0) client.since = now;
    client.unsent += 1;
    response.write(text, () => {
      client.unsent -= 1;
      client.since = this.#sources.clock.now();
      written();
    });
  }
}

interface Frame {
  /** Null: for everybody. */
  readonly election: ElectionName | null;
  /** Made for the first client that gets it. */
  readonly text: () => string;
}

const framesFor = (elections: ReadonlySet<ElectionName> | null, frames: readonly Frame[]): string =>
  frames
    .filter(({ election }) => elections === null || election === null || elections.has(election))
    .map(({ text }) => text())
    .join('');

/** One for all listeners; follows the elections from now on, until it is closed. */
export const createEvents = (sources: Sources, limits: Partial<EventLimits> = {}): Events =>
  new EventStreams(sources, { ...standardEventLimits, ...limits });
