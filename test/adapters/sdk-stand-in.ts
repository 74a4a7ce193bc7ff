// What the tests of the client run against where no real sidecar is wanted: a clock that the test moves, a transport
// whose answers the test gives by hand, and a small HTTP server that answers as the contract says.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import type { LeaderAnswer, LeadershipEvent, Problem } from '../../src/contract.ts';
import type { Clock } from '../../src/ports.ts';
import type { Follower, Heard, Question, Transport } from '../../src/sdk/transport.ts';

const since = '2026-11-20T21:00:00.000Z';

/** This instance, `a`, leads with this token. */
export const leading = (token: number, validForMs: number): LeaderAnswer => ({
  election: 'orders',
  id: 'a',
  role: 'leader',
  isLeader: true,
  leader: { id: 'a', address: 'http://a:8080', fencingToken: String(token), since },
  fencingToken: String(token),
  validForMs,
  observedAgeMs: 1,
});

/** `a` follows `leader`; null: nobody leads. */
export const following = (leader: string | null, token = 1): LeaderAnswer => ({
  election: 'orders',
  id: 'a',
  role: 'follower',
  isLeader: false,
  leader:
    leader === null ? null : { id: leader, address: null, fencingToken: String(token), since },
  fencingToken: null,
  validForMs: 0,
  observedAgeMs: 1,
});

export const eventOf = (
  answer: LeaderAnswer,
  cause: LeadershipEvent['cause'] = 'unknown',
): LeadershipEvent => ({ ...answer, cause, reason: cause });

/** Lets everything run that waits for nothing but its turn. */
export const settled = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });

/** A monotonic clock that stands until it is moved. */
export class FakeClock implements Clock {
  #now = 0;
  #timers: { readonly at: number; readonly run: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  at(at: number, run: () => void): () => void {
    const timer = { at, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  wallTimeOf(at: number): string {
    return new Date(at).toISOString();
  }

  /** Moves on, stopping at each timer on the way. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settled();
    for (;;) {
      const due = this.#timers.filter(({ at }) => at <= end).toSorted((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#now = Math.max(this.#now, due.at);
      this.#timers = this.#timers.filter((other) => other !== due);
      due.run();
      await settled();
    }
    this.#now = end;
  }

  /** The process sleeps: time passes, and no timer fires. */
  sleep(ms: number): void {
    this.#now += ms;
  }
}

interface Pending {
  readonly path: string;
  readonly sentAt: number;
  readonly resolve: (heard: Heard) => void;
  readonly reject: (failure: Error) => void;
}

/** Questions wait until the test answers them. */
export class ManualTransport implements Transport {
  readonly pending: Pending[] = [];
  followers: { readonly path: string; readonly follower: Follower }[] = [];
  asked = 0;
  closed = false;
  readonly #clock: { now(): number };

  constructor(clock: { now(): number }) {
    this.#clock = clock;
  }

  ask({ path }: Question): Promise<Heard> {
    this.asked += 1;
    return new Promise((resolve, reject) => {
      this.pending.push({ path, sentAt: this.#clock.now(), resolve, reject });
    });
  }

  follow(path: string, follower: Follower): () => void {
    const followed = { path, follower };
    this.followers.push(followed);
    return () => {
      this.followers = this.followers.filter((other) => other !== followed);
    };
  }

  close(): void {
    this.closed = true;
  }

  /** Answers the oldest question. */
  async answer(body: unknown): Promise<void> {
    const { sentAt, resolve } = this.#oldest();
    resolve({ status: 200, body, sentAt });
    await settled();
  }

  async fail(failure: Error): Promise<void> {
    this.#oldest().reject(failure);
    await settled();
  }

  async push(event: LeadershipEvent): Promise<void> {
    for (const { follower } of this.followers) {
      follower.event({ name: 'leadership', id: '1', data: JSON.stringify(event) });
    }
    await settled();
  }

  #oldest(): Pending {
    const oldest = this.pending.shift();
    if (oldest === undefined) throw new Error('nothing was asked');
    return oldest;
  }
}

/** A request that reached the server. */
export interface Received {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
  readonly body: string;
}

/** Answers as a sidecar: `/leader` and `/events` what `say` said last, the rest what `replies` has. */
export class StandInSidecar {
  readonly received: Received[] = [];
  readonly replies = new Map<string, { readonly status: number; readonly body: object }>();
  /** Answers nothing while true. */
  mute = false;
  #answer: LeaderAnswer = following(null);
  readonly #streams = new Set<ServerResponse>();
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** `where`: a port of 127.0.0.1, or the path of a unix socket. */
  static async start(where: number | string = 0): Promise<StandInSidecar> {
    const server = createServer();
    const standIn = new StandInSidecar(server);
    server.on('request', (request: IncomingMessage, response) => {
      void standIn.#handle(request, response);
    });
    if (typeof where === 'string') server.listen({ path: where });
    else server.listen({ port: where, host: '127.0.0.1' });
    await once(server, 'listening');
    return standIn;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get streams(): number {
    return this.#streams.size;
  }

  /** From now on this is the state; `pushed: false` tells no stream. */
  say(answer: LeaderAnswer, { pushed = true } = {}): void {
    this.#answer = answer;
    if (pushed) for (const stream of this.#streams) this.#tell(stream);
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  #tell(stream: ServerResponse): void {
    const data = JSON.stringify(eventOf(this.#answer));
    stream.write(`: still here\n\nevent: leadership\nid: 7\ndata: ${data}\n\n`);
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = '';
    for await (const piece of request) body += String(piece);
    const { method = '', url: path = '', headers } = request;
    this.received.push({ method, path, authorization: headers.authorization, body });
    if (this.mute) return;
    if (path.startsWith('/events')) {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      this.#streams.add(response);
      response.once('close', () => this.#streams.delete(response));
      this.#tell(response);
      return;
    }
    const reply = this.replies.get(path);
    if (reply !== undefined) send(response, reply.status, reply.body);
    else if (/^(\/elections\/orders)?\/leader/.test(path)) {
      send(response, this.#answer.isLeader ? 200 : 503, this.#answer);
    } else send(response, 404, refusal(404, 'not_found', `there is nothing under "${path}"`));
  }
}

export const refusal = (status: number, code: string, detail: string): Problem => ({
  type: `urn:electord:problem:${code}`,
  title: 'Refused',
  status,
  code,
  detail,
});

function send(response: ServerResponse, status: number, body: object): void {
  const kind = 'title' in body ? 'application/problem+json' : 'application/json; charset=utf-8';
  response.writeHead(status, { 'Content-Type': kind });
  response.end(JSON.stringify(body));
}
