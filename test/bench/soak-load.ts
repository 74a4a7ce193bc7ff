// The load of a soak, in a process of its own: asks `/leader` of several sidecars over kept connections, so many times a
// second in total, each request when it is due and not when the answer to another came. It judges every answer: whether it
// is 200 or 503, whether an older term is claimed after a newer one was seen, and whether two claim one term.
//
// Started with an IPC channel: gets a LoadOrder, sends a LoadSeen every second and once more when it is told to `stop`.
import { connect, type Socket } from 'node:net';
import { Claims } from './soak-claims.ts';

/** What to do. */
export interface LoadOrder {
  readonly ports: readonly number[];
  /** In total. */
  readonly perSecond: number;
  /** To each. */
  readonly connections: number;
}

/** What was seen since the start. */
export interface LoadSeen {
  readonly requests: number;
  readonly answers: number;
  /** How often each error came, by its words. */
  readonly errors: Readonly<Record<string, number>>;
  /** Terms that somebody claimed. */
  readonly terms: number;
  readonly longestLeaderlessMs: number;
  /** Half and 99 in a hundred of the answers came within so long, to a tenth of a millisecond; 1000 is "or longer". */
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const tickMs = 5;
/** Requests that could not be sent in time, all connections waiting, are not made up for beyond so long. */
const arrearsMs = 100;
const answerWithinMs = 10_000;
const againAfterMs = 200;
const longestMs = 1000;

const request = (port: number): string =>
  `GET /leader HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: keep-alive\r\n\r\n`;

class Load {
  readonly #claims = new Claims();
  readonly #errors: Record<string, number> = {};
  readonly #latencies = new Uint32Array(longestMs * 10 + 1);
  readonly #idle: Connection[] = [];
  readonly #all: Connection[] = [];
  readonly #timer: NodeJS.Timeout;
  #requests = 0;
  #answers = 0;
  #due = 0;
  #at = performance.now();

  constructor({ ports, perSecond, connections }: LoadOrder) {
    for (let index = 0; index < connections; index += 1)
      for (const port of ports) this.#all.push(new Connection(port, this));
    this.#timer = setInterval(() => this.#tick(perSecond / 1000), tickMs);
  }

  get newest(): number {
    return this.#claims.newest;
  }

  #tick(perMs: number): void {
    const now = performance.now();
    this.#due = Math.min(this.#due + (now - this.#at) * perMs, arrearsMs * perMs);
    this.#at = now;
    for (const each of this.#all) each.hurry(now);
    while (this.#due >= 1) {
      // The one that has waited longest: all of them have their turn.
      const free = this.#idle.shift();
      if (free === undefined) return;
      free.ask();
      this.#requests += 1;
      this.#due -= 1;
    }
  }

  ready(connection: Connection): void {
    this.#idle.push(connection);
  }

  gone(connection: Connection): void {
    const place = this.#idle.indexOf(connection);
    if (place >= 0) this.#idle.splice(place, 1);
  }

  error(words: string): void {
    this.#errors[words] = (this.#errors[words] ?? 0) + 1;
  }

  answered(
    port: number,
    [status, body, sentAfter, tookMs]: readonly [string, string, number, number],
  ) {
    this.#answers += 1;
    this.#latencies[Math.min(longestMs * 10, Math.round(tookMs * 10))]! += 1;
    if (status === '503') return;
    if (status !== '200') {
      this.error(`status ${status}`);
      return;
    }
    const { fencingToken } = JSON.parse(body) as { fencingToken: string };
    const wrong = this.#claims.take(Number(fencingToken), port, sentAfter);
    if (wrong !== null) this.error(wrong);
  }

  #within(part: number): number {
    let left = this.#answers * part;
    const place = this.#latencies.findIndex((count) => (left -= count) <= 0);
    return place / 10;
  }

  seen(): LoadSeen {
    const { terms, longestLeaderlessMs } = this.#claims;
    return {
      ...{ requests: this.#requests, answers: this.#answers, errors: this.#errors },
      ...{ terms, longestLeaderlessMs, p50Ms: this.#within(0.5), p99Ms: this.#within(0.99) },
    };
  }

  stop(): void {
    clearInterval(this.#timer);
    for (const each of this.#all) each.end();
  }
}

/** One kept connection, with one question at a time. */
class Connection {
  readonly #port: number;
  readonly #load: Load;
  readonly #request: string;
  #socket: Socket | null = null;
  #text = '';
  #sentAt: number | null = null;
  #sentAfter = 0;
  #ended = false;

  constructor(port: number, load: Load) {
    this.#port = port;
    this.#load = load;
    this.#request = request(port);
    this.#open();
  }

  #open(): void {
    const socket = connect({ port: this.#port, host: '127.0.0.1', noDelay: true });
    let why = 'a connection was closed';
    socket.setEncoding('latin1');
    socket.on('connect', () => this.#load.ready(this));
    socket.on('data', (text: string) => this.#take(text));
    socket.on('error', (error: NodeJS.ErrnoException) => (why = error.code ?? error.message));
    socket.on('close', () => {
      if (this.#ended) return;
      this.#load.error(why);
      this.#load.gone(this);
      [this.#text, this.#sentAt] = ['', null];
      setTimeout(() => this.#open(), againAfterMs);
    });
    this.#socket = socket;
  }

  ask(): void {
    [this.#sentAt, this.#sentAfter] = [performance.now(), this.#load.newest];
    this.#socket?.write(this.#request);
  }

  #take(text: string): void {
    this.#text += text;
    const head = this.#text.indexOf('\r\n\r\n');
    if (head < 0 || this.#sentAt === null) return;
    const length = Number(/content-length: (\d+)/i.exec(this.#text.slice(0, head))?.[1]);
    const body = this.#text.slice(head + 4);
    if (body.length < length) return;
    const tookMs = performance.now() - this.#sentAt;
    const status = this.#text.slice(9, 12);
    [this.#text, this.#sentAt] = ['', null];
    this.#load.answered(this.#port, [status, body, this.#sentAfter, tookMs]);
    this.#load.ready(this);
  }

  /** Gives up on an answer that does not come. */
  hurry(now: number): void {
    if (this.#sentAt === null || now - this.#sentAt < answerWithinMs) return;
    this.#socket?.destroy(new Error('no answer'));
  }

  end(): void {
    this.#ended = true;
    this.#socket?.destroy();
  }
}

let load: Load | null = null;
const tell = (): void => void process.send?.(load?.seen());
process.on('message', (message: LoadOrder | 'stop') => {
  if (message === 'stop') {
    tell();
    load?.stop();
    process.disconnect();
    return;
  }
  load = new Load(message);
  setInterval(tell, 1000).unref();
});
process.on('disconnect', () => process.exit(0));
