// An application on a real socket for the tests of HTTP: what it needs of the program, with stand-ins that a test can
// replace, one question at a time with a body, and an event stream as it arrives.
import { request, type IncomingHttpHeaders } from 'node:http';
import { connect, type Socket } from 'node:net';
import { createFront } from '../../src/http/front.ts';
import { createEvents, type EventLimits } from '../../src/http/events.ts';
import type { Inputs, LocalInputs } from '../../src/http/inputs.ts';
import { listen, type Listening } from '../../src/http/listen.ts';
import type { FakeElections } from './http-fake-elections.ts';

const wallAtStart = Date.parse('2026-11-20T22:00:00.000Z');

/** Stand-ins for all that a test does not speak of; the wall clock runs with the fake's. */
export function inputsOf(
  elections: FakeElections,
  more: Partial<Inputs> & { readonly eventLimits?: Partial<EventLimits> } = {},
): Inputs {
  const wallNow = (): number => wallAtStart + (elections.nowMs - 1_000_000);
  const { eventLimits, ...inputs } = more;
  return {
    elections,
    clock: elections.clock,
    wallNow,
    started: { at: 990_000, wallMs: wallAtStart - 10_000 },
    metrics: () => Promise.reject(new Error('unasked')),
    version: '9.9.9',
    pingKey: null,
    describe: () => ({}),
    health: {
      loopDelayMs: () => 0,
      app: () => ({ configured: false, healthy: true, detail: '' }),
    },
    events: createEvents({ elections, clock: elections.clock, wallNow }, eventLimits),
    history: () => Promise.resolve([]),
    verbs: () => Promise.resolve([]),
    reportError: (error) => {
      throw error;
    },
    ...inputs,
  };
}

const unasked = (): Promise<never> => Promise.reject(new Error('not asked for in this test'));

/** A local listener without a token, on which nothing may be asked of etcd but what a test puts in. */
export function localOf(more: Partial<LocalInputs> = {}): LocalInputs {
  return {
    coordinator: {
      observe: (elections) => elections.map(unasked),
      pause: unasked,
      resume: unasked,
      requestSwitchover: unasked,
      isCurrent: unasked,
    },
    store: { read: unasked, write: unasked, remove: unasked, append: unasked, journal: unasked },
    audit: { record: () => Promise.resolve(), entries: unasked },
    token: () => null,
    checksHost: true,
    graceMs: 300,
    maxHoldMs: 1000,
    ...more,
  };
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** Parsed where it is JSON, else null. */
  readonly body: Readonly<Record<string, unknown>>;
}

export interface Question {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

export type Ask = (path: string, question?: Question) => Promise<HttpAnswer>;

/** Sends JSON, as a verb wants it. */
export const posting = (
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): Question => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', ...headers },
  body: JSON.stringify(body),
});

export interface Served {
  readonly listening: Listening;
  readonly port: number;
  readonly ask: Ask;
}

/** Serves on a free port, publicly where `local` is null; the caller closes it. */
export async function serveOn(inputs: Inputs, local: LocalInputs | null = null): Promise<Served> {
  const application = createFront(inputs, local);
  const listening = await listen(application, { host: '127.0.0.1', port: 0 });
  if (!('port' in listening.address)) throw new Error('not a TCP address');
  const { port } = listening.address;
  return { listening, port, ask: (path, question) => askOnce(port, path, question) };
}

function askOnce(port: number, path: string, question: Question = {}): Promise<HttpAnswer> {
  const { method = 'GET', headers = {}, body } = question;
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path, method, agent: false as const, headers };
    const sent = request(options, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => (text += part));
      response.on('error', reject);
      response.on('end', () => {
        const isJson = /json/.test(response.headers['content-type'] ?? '') && text !== '';
        const parsed = (isJson ? JSON.parse(text) : null) as HttpAnswer['body'];
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text,
          body: parsed,
        });
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

/** One event as it came. */
export interface StreamEvent {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: Readonly<Record<string, unknown>>;
}

/** A raw client of `/events`: everything that came, and whether it has ended. */
export class EventClient {
  readonly socket: Socket;
  received = '';
  ended = false;
  /** Called with every piece that arrives. */
  onData: (part: string) => void = () => undefined;

  constructor(port: number, path: string, header = '') {
    this.socket = connect({ host: '127.0.0.1', port });
    this.socket.setEncoding('utf8');
    this.socket.on('data', (part: string) => {
      this.received += part;
      this.onData(part);
    });
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => (this.ended = true));
    this.socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${header}\r\n`);
  }

  get events(): readonly StreamEvent[] {
    return [...this.received.matchAll(/event: (\w+)\n(?:id: (\d+)\n)?data: (.*)\n\n/g)].map(
      ([, event = '', id, data = '']) => ({
        event,
        id,
        data: JSON.parse(data) as StreamEvent['data'],
      }),
    );
  }
}

/** Listeners that are closed together; `serve` opens a local one. */
export class Servers {
  readonly opened: Listening[] = [];

  readonly serve = async (
    elections: FakeElections,
    local: Partial<LocalInputs> = {},
    more: Partial<Inputs> = {},
  ): Promise<Ask> => {
    const served = await serveOn(inputsOf(elections, more), localOf(local));
    this.opened.push(served.listening);
    return served.ask;
  };

  readonly close = async (): Promise<void> => {
    for (const one of this.opened.splice(0)) await one.close();
  };
}
