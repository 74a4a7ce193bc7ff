// Asks the other members of the elections that somebody looks at on the status page, and streams to all pages what they
// answer. A member that was killed stays in etcd until its lease runs out; here it is seen within half a second. Asks
// only while a page is open, a bounded number of members, each once for all pages. It decides nothing.
import type { ServerResponse } from 'node:http';
import type { ElectionName, Millis } from '../core/model.ts';
import type { Report } from '../core/report.ts';
import type { PeerOnWire, PeersFrame } from '../page/wire.ts';
import type { Elections } from '../ports.ts';
import { plainTls, type AskTls } from '../process/ask-tls.ts';
import { leaderAddress } from './address.ts';
import { extended, overlap, type ClaimSpan } from './claims.ts';
import { Names } from './names.ts';
import { ask, Connections, type Outcome, type PeerAnswer } from './question.ts';

export interface PeerLimits {
  /** Each member is asked this often; with the timeout it makes the time in which a silence is seen. */
  readonly askEveryMs: number;
  readonly timeoutMs: number;
  /** One that cannot be asked is tried again this often. */
  readonly retryEveryMs: number;
  /** A page hears everything this often, however little happens. */
  readonly repeatEveryMs: number;
  /** So many members are asked at once, of all elections that are looked at. */
  readonly members: number;
  readonly pages: number;
  /** A page that has left more than this unread is dropped; it comes back when it can. */
  readonly unsentBytes: number;
}

const standardLimits: PeerLimits = {
  askEveryMs: 150,
  timeoutMs: 250,
  retryEveryMs: 3000,
  repeatEveryMs: 1000,
  members: 50,
  pages: 64,
  unsentBytes: 262_144,
};

/** A question that hangs does not keep the next one waiting. */
const questionsAtOnce = 2;
/** Two claims are told for so long after they were last seen: long enough to be read. */
const claimsToldMs = 3000;

export interface PeerSources {
  readonly elections: Elections;
  readonly clock: { now(): Millis };
  readonly wallNow: () => number;
  /** How members are asked by https. */
  readonly tls?: () => AskTls;
}

/** A member as etcd has it. */
interface Target {
  readonly key: string;
  readonly id: string;
  readonly leaseId: string;
  readonly url: string | null;
  readonly native: boolean;
  readonly self: boolean;
}

/** What is known of one that is asked. */
interface Watched {
  readonly since: Millis;
  underWay: number;
  lastSentAt: Millis;
  outcome: Outcome | null;
  answer: PeerAnswer | null;
  span: ClaimSpan | null;
}

interface Page {
  readonly response: ServerResponse;
  /** What its windows look at: each of a browser's may look at another. */
  readonly elections: readonly ElectionName[];
}

/** What is kept for an election while somebody looks at it. */
interface LookedAt {
  /** As last known: who still answers matters most when etcd does not. */
  targets: readonly Target[];
  notAsked: number;
  twoClaims: { readonly ids: readonly [string, string]; readonly until: Millis } | null;
  told: string;
  toldAt: Millis;
}

export class PeerWatch {
  readonly #sources: PeerSources;
  readonly #limits: PeerLimits;
  readonly #pages = new Set<Page>();
  readonly #lookedAt = new Map<ElectionName, LookedAt>();
  readonly #watched = new Map<string, Watched>();
  readonly #names = new Names();
  #connections: Connections | null = null;
  #roundAt: Millis = -Infinity;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(sources: PeerSources, limits: Partial<PeerLimits> = {}) {
    this.#sources = sources;
    this.#limits = { ...standardLimits, ...limits };
  }

  isFull(): boolean {
    return this.#pages.size >= this.#limits.pages;
  }

  /** Streams to a page whose header was sent: a tick at every round, and what is known of some elections, if any. */
  open(response: ServerResponse, elections: readonly ElectionName[]): void {
    // Behind another answer on the same connection it would wait for its turn, and nobody would say when that is gone.
    if (this.#closed || response.socket === null) {
      response.end();
      return;
    }
    const page = { response, elections };
    response.on('close', () => this.#leave(page));
    response.on('error', () => undefined);
    this.#pages.add(page);
    this.#timer ??= setInterval(() => this.#round(), this.#limits.askEveryMs);
    this.#write(page, 'retry: 1000\n\n');
    // Pages that come and go quickly do not make more questions of it.
    const sinceMs = this.#sources.clock.now() - this.#roundAt;
    if (sinceMs < this.#limits.askEveryMs / 2) this.#look();
    else this.#round();
    for (const election of elections) this.#write(page, this.#text(election));
  }

  close(): void {
    this.#closed = true;
    for (const page of this.#pages) {
      page.response.end();
      this.#leave(page);
    }
  }

  #leave(page: Page): void {
    this.#pages.delete(page);
    if (this.#pages.size > 0) return;
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#connections?.close();
    this.#connections = null;
    this.#lookedAt.clear();
    this.#watched.clear();
  }

  #write(page: Page, text: string): void {
    const { response } = page;
    if (response.writableLength > this.#limits.unsentBytes) response.destroy();
    else if (!response.writableEnded) response.write(text);
  }

  /** Who is there, whom to ask now, and what to tell. */
  #round(): void {
    this.#look();
    const now = this.#sources.clock.now();
    this.#roundAt = now;
    for (const [election, { targets }] of this.#lookedAt) {
      for (const target of targets) this.#askOf(election, target, now);
    }
    for (const page of this.#pages) this.#write(page, 'event: tick\ndata: 1\n\n');
    for (const election of this.#lookedAt.keys()) this.#tell(election);
  }

  /** Takes up the members of what is looked at now, up to the bound, and forgets the others. */
  #look(): void {
    const wanted = new Set<ElectionName>();
    for (const { elections } of this.#pages) for (const each of elections) wanted.add(each);
    for (const known of this.#lookedAt.keys()) if (!wanted.has(known)) this.#lookedAt.delete(known);
    let left = this.#limits.members;
    const keep = new Set<string>();
    for (const election of wanted) {
      const before = this.#lookedAt.get(election);
      const present = this.#present(this.#sources.elections.report(election));
      const all = present.length === 0 ? (before?.targets ?? []) : present;
      const targets = all.slice(0, left);
      left -= targets.length;
      for (const { key } of targets) keep.add(key);
      const fresh: LookedAt = { targets, notAsked: 0, twoClaims: null, told: '', toldAt: 0 };
      const lookedAt = before ?? fresh;
      Object.assign(lookedAt, { targets, notAsked: all.length - targets.length });
      this.#lookedAt.set(election, lookedAt);
    }
    for (const key of this.#watched.keys()) if (!keep.has(key)) this.#watched.delete(key);
  }

  #present({ election, id, candidates, members }: Report): readonly Target[] {
    const own = this.#sources.elections.lease()?.leaseId ?? null;
    const found = new Map<string, Target>();
    const enrolled = members.map((member) => ({ ...member, native: true }));
    for (const one of [...candidates, ...enrolled]) {
      const key = `${election}/${one.leaseId}/${one.id}`;
      if (found.has(key)) continue;
      const { leaseId, url, native } = one;
      const self = native && one.id === id && (own === null || own === leaseId);
      found.set(key, { key, id: one.id, leaseId, url, native, self });
    }
    return [...found.values()];
  }

  #askOf(election: ElectionName, target: Target, now: Millis): void {
    const { key, id, self } = target;
    let watched = this.#watched.get(key);
    if (watched === undefined) {
      const nothing = { underWay: 0, lastSentAt: -Infinity, outcome: null, answer: null };
      watched = { since: now, ...nothing, span: null };
      this.#watched.set(key, watched);
    }
    if (self) {
      const { token } = this.#sources.elections.report(election);
      const moment = { sentAt: now, receivedAt: now };
      watched.span = extended(watched.span, id, token?.toString() ?? null, moment);
      return;
    }
    const everyMs = watched.outcome?.kind === 'unaskable' ? this.#limits.retryEveryMs : 0;
    if (watched.underWay >= questionsAtOnce || now - watched.lastSentAt < everyMs) return;
    watched.lastSentAt = now;
    const address: ReturnType<typeof leaderAddress> = target.native
      ? leaderAddress(target.url, election)
      : { kind: 'unaskable', why: 'it is a candidate of another program' };
    if (address.kind === 'unaskable') {
      watched.outcome = { kind: 'unaskable', why: address.why };
      return;
    }
    this.#connections ??= new Connections(this.#names);
    const { clock, tls = () => plainTls } = this.#sources;
    const question = { url: address.url, election, id, timeoutMs: this.#limits.timeoutMs };
    const asked = {
      ...question,
      now: () => clock.now(),
      connections: this.#connections,
      tls: tls(),
    };
    watched.underWay += 1;
    const current = watched;
    void ask(asked).then((outcome) => {
      current.underWay -= 1;
      this.#learn(election, target, current, now, outcome);
    });
  }

  #learn(
    election: ElectionName,
    { key, id }: Target,
    watched: Watched,
    sentAt: Millis,
    outcome: Outcome,
  ): void {
    if (this.#watched.get(key) !== watched) return;
    if (outcome.kind === 'answered') {
      // An answer that a later question has overtaken says nothing new.
      if (watched.answer !== null && outcome.answer.sentAt <= watched.answer.sentAt) return;
      watched.answer = outcome.answer;
      watched.span = extended(watched.span, id, outcome.answer.fencingToken, outcome.answer);
    } else if (watched.answer !== null && watched.answer.sentAt > sentAt) return;
    watched.outcome = outcome;
    this.#compareClaims(election);
    this.#tell(election);
  }

  #compareClaims(election: ElectionName): void {
    const lookedAt = this.#lookedAt.get(election);
    if (lookedAt === undefined) return;
    const spans = lookedAt.targets
      .map(({ key }) => this.#watched.get(key)?.span)
      .filter((span) => span !== null && span !== undefined);
    lookedAt.twoClaims = overlap(spans);
  }

  /** Tells the pages of an election where something that matters has changed, or it is time. */
  #tell(election: ElectionName): void {
    const lookedAt = this.#lookedAt.get(election);
    if (lookedAt === undefined) return;
    const now = this.#sources.clock.now();
    const frame = this.#frame(election);
    const gist = gistOf(frame);
    if (gist === lookedAt.told && now - lookedAt.toldAt < this.#limits.repeatEveryMs) return;
    lookedAt.told = gist;
    lookedAt.toldAt = now;
    const text = `event: peers\ndata: ${JSON.stringify(frame)}\n\n`;
    for (const page of this.#pages) if (page.elections.includes(election)) this.#write(page, text);
  }

  #text(election: ElectionName): string {
    return `event: peers\ndata: ${JSON.stringify(this.#frame(election))}\n\n`;
  }

  #frame(election: ElectionName): PeersFrame {
    const lookedAt = this.#lookedAt.get(election);
    const now = this.#sources.clock.now();
    const { twoClaims = null } = lookedAt ?? {};
    return {
      election,
      at: new Date(this.#sources.wallNow()).toISOString(),
      peers: (lookedAt?.targets ?? []).map((target) => this.#onWire(election, target, now)),
      twoClaims: twoClaims !== null && now - twoClaims.until < claimsToldMs ? twoClaims.ids : null,
      notAsked: lookedAt?.notAsked ?? 0,
    };
  }

  #onWire(election: ElectionName, target: Target, now: Millis): PeerOnWire {
    const { id, leaseId, url } = target;
    if (target.self) {
      const { role, token, validUntil, observedAgeMs } = this.#sources.elections.report(election);
      const claim =
        token === null
          ? null
          : { fencingToken: token.toString(), remainingMs: Math.round(validUntil - now) };
      const own = { state: 'self', silentForMs: 0, detail: null, roundTripMs: null } as const;
      return { id, leaseId, url, ...own, role, claim, observedAgeMs: rounded(observedAgeMs) };
    }
    const watched = this.#watched.get(target.key);
    const { outcome = null, answer = null } = watched ?? {};
    const last = answer?.receivedAt ?? watched?.since ?? now;
    const silent = outcome?.kind === 'silent';
    return {
      id,
      leaseId,
      url,
      state: outcome === null ? 'asking' : stateOf(outcome),
      silentForMs: silent ? Math.round(now - last) : 0,
      detail: outcome === null || outcome.kind === 'answered' ? null : outcome.why,
      role: answer?.role ?? null,
      claim: answer === null ? null : claimOf(answer, now),
      observedAgeMs:
        answer === null || answer.observedAgeMs === null
          ? null
          : Math.round(answer.observedAgeMs + now - answer.sentAt),
      roundTripMs: answer === null ? null : Math.round(answer.receivedAt - answer.sentAt),
    };
  }
}

const rounded = (ms: number | null): number | null => (ms === null ? null : Math.round(ms));

const stateOf = ({ kind }: Outcome): PeerOnWire['state'] =>
  kind === 'answered' ? 'answers' : kind === 'silent' ? 'silent' : 'cannot_be_asked';

/** What is left of the claim in an answer: its time runs from when the question was sent. */
function claimOf(answer: PeerAnswer, now: Millis): PeerOnWire['claim'] {
  const remainingMs = Math.floor(answer.sentAt + answer.validForMs - now);
  if (answer.fencingToken === null || remainingMs <= 0) return null;
  return { fencingToken: answer.fencingToken, remainingMs };
}

/** A claim that is renewed is told as it happens; that it shrinks, a page knows by itself. */
const renewedByMs = 50;

/** What makes a frame worth telling at once: everything in it that does not change by mere passing of time. */
function gistOf({ at, peers, twoClaims, notAsked }: PeersFrame): string {
  const wallMs = Date.parse(at);
  const ends = (remainingMs: number): number => Math.round((wallMs + remainingMs) / renewedByMs);
  const gists = peers.map(({ id, leaseId, url, state, detail, role, claim }) => {
    const claimed = claim === null ? null : [claim.fencingToken, ends(claim.remainingMs)];
    return [id, leaseId, url, state, detail, role, claimed];
  });
  return JSON.stringify([gists, twoClaims, notAsked]);
}
