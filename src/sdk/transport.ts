// Questions to one sidecar over HTTP, and its stream of events: TCP, TLS or a unix socket, with nothing but Node's own
// modules. Every question has a bound. It knows nothing of leadership.
import { Agent, request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { Agent as SecureAgent, request as httpsRequest } from 'node:https';
import type { Problem } from '../contract.ts';
import type { Millis } from '../core/model.ts';
import type { Clock } from '../ports.ts';
import { judgeAfter, judgeAt } from '../process/time-out.ts';
import { hangUpOf, tlsFailureOf } from '../process/tls-words.ts';
import type { SidecarAddress } from './address.ts';
import { SidecarRefused, SidecarUnreachable, UnusableAnswer } from './errors.ts';
import { EventReader, type ServerSentEvent } from './event-reader.ts';

/** One question. */
export interface Question {
  readonly method?: 'GET' | 'POST';
  readonly path: string;
  readonly body?: object;
  /** How long the whole answer may take, in milliseconds. */
  readonly withinMs: number;
}

/** A JSON answer, and the monotonic time just before its question was sent. */
export interface Heard {
  readonly status: number;
  readonly body: unknown;
  readonly sentAt: Millis;
}

/** What becomes of a stream of events. `ended` is called once, with the reason, unless it was stopped. */
export interface Follower {
  event(event: ServerSentEvent): void;
  ended(failure: Error): void;
}

/** The way to one sidecar. */
export interface Transport {
  /** @throws SidecarUnreachable, SidecarRefused or UnusableAnswer, and nothing else. */
  ask(question: Question): Promise<Heard>;
  /** Opens a stream of events; the returned function stops it. */
  follow(path: string, follower: Follower): () => void;
  close(): void;
}

/** Certificates in PEM, for a sidecar that serves HTTPS. */
export interface TlsOptions {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** The name in the sidecar's certificate, where it is another than in the address. */
  readonly serverName?: string;
}

export interface TransportOptions {
  readonly address: SidecarAddress;
  /** How the address is called in messages. */
  readonly shownAs: string;
  readonly token: string | null;
  readonly tls: TlsOptions;
  readonly clock: Clock;
}

/** A thousand elections make some 400 kB; more than this is no answer of ours. */
const longestAnswer = 16 * 1024 * 1024;
/** The sidecar says something every 15 s: two of these missed mean that nobody is there. */
const silentAfterMs = 40_000;

const isText = (value: unknown): value is string => typeof value === 'string';

function isProblem(body: unknown): body is Problem {
  const { code, detail } = (body ?? {}) as Partial<Record<keyof Problem, unknown>>;
  return isText(code) && isText(detail);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

export class HttpTransport implements Transport {
  readonly #options: TransportOptions;
  readonly #agent: Agent;
  /** As Node has it. */
  readonly #tls: object;

  constructor(options: TransportOptions) {
    const { address, tls } = options;
    const secure = address.kind === 'tcp' && address.secure;
    const keep = { keepAlive: true, maxSockets: 8 };
    this.#options = options;
    const { serverName, ...pem } = tls;
    this.#tls = serverName === undefined ? pem : { ...pem, servername: serverName };
    this.#agent = secure ? new SecureAgent({ ...keep, ...this.#tls }) : new Agent(keep);
  }

  async ask(question: Question): Promise<Heard> {
    try {
      return await this.#askOnce(question);
    } catch (failure) {
      // A kept connection may be closed by the sidecar just as we use it, which says nothing about the sidecar.
      if (failure instanceof StaleConnection) return this.#askOnce({ ...question, fresh: true });
      throw failure;
    }
  }

  follow(path: string, follower: Follower): () => void {
    let open = true;
    const end = (failure: Error): void => {
      if (!open) return;
      stop();
      follower.ended(failure);
    };
    let cancelSilence: () => void = () => undefined;
    const heard = (): void => {
      cancelSilence();
      if (!open) return;
      cancelSilence = judgeAfter(silentAfterMs, () => end(this.#unreachable(`silent on ${path}`)));
    };
    const stop = (): void => {
      open = false;
      cancelSilence();
      request.destroy();
    };
    const headers = { Accept: 'text/event-stream' };
    const request = this.#request('GET', path, headers, false);
    request.on('error', (error) => end(this.#unreachable(error.message, error)));
    request.on('response', (response) => {
      if (response.statusCode !== 200 || !isStream(response)) {
        end(new UnusableAnswer(`${this.#options.shownAs} serves no events on ${path}`));
        return;
      }
      const reader = new EventReader();
      response.setEncoding('utf8');
      response.on('data', (piece: string) => {
        heard();
        try {
          for (const event of reader.take(piece)) if (open) follower.event(event);
        } catch (failure) {
          end(failure instanceof Error ? failure : this.#unreachable(String(failure)));
        }
      });
      response.on('error', (error) => end(this.#unreachable(error.message, error)));
      response.on('close', () => end(this.#unreachable('the stream of events ended')));
    });
    heard();
    request.end();
    return stop;
  }

  close(): void {
    this.#agent.destroy();
  }

  #askOnce({
    method = 'GET',
    path,
    body,
    withinMs,
    fresh = method !== 'GET',
  }: Question & { readonly fresh?: boolean }): Promise<Heard> {
    const { clock } = this.#options;
    const text = body === undefined ? '' : JSON.stringify(body);
    const headers: Record<string, string> = { Accept: 'application/json' };
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    if (method === 'POST') headers['Content-Length'] = String(Buffer.byteLength(text));
    return new Promise((resolve, reject) => {
      const sentAt = clock.now();
      const request = this.#request(method, path, headers, !fresh);
      const cancel = judgeAt(clock, sentAt + withinMs, () =>
        request.destroy(new Error(`no answer within ${Math.round(withinMs)} ms`)),
      );
      const fail = (failure: Error): void => {
        cancel();
        request.destroy();
        reject(failure);
      };
      request.on('error', (error: NodeJS.ErrnoException) => {
        const stale = request.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(error.code ?? '');
        fail(stale ? new StaleConnection() : this.#unreachable(error.message || error.code, error));
      });
      request.on('response', (response) => {
        this.#read(response).then((read) => {
          cancel();
          resolve({ status: response.statusCode ?? 0, body: read, sentAt });
        }, fail);
      });
      request.end(text);
    });
  }

  /** The body of a JSON answer that is no problem. */
  async #read(response: IncomingMessage): Promise<unknown> {
    const pieces: Buffer[] = [];
    let length = 0;
    try {
      for await (const piece of response as AsyncIterable<Buffer>) {
        length += piece.length;
        if (length > longestAnswer) break;
        pieces.push(piece);
      }
    } catch (error) {
      throw this.#unreachable(error instanceof Error ? error.message : String(error), error);
    }
    const type = response.headers['content-type'] ?? '';
    const body = parsed(Buffer.concat(pieces).toString('utf8'));
    if (type.startsWith('application/problem+json') && isProblem(body)) {
      throw new SidecarRefused(body);
    }
    if (length <= longestAnswer && type.startsWith('application/json') && body !== undefined) {
      return body;
    }
    const status = response.statusCode ?? 0;
    throw new UnusableAnswer(
      `${this.#options.shownAs} does not answer as a sidecar does (${status} ${type || 'without a type'})`,
    );
  }

  #request(
    method: string,
    path: string,
    headers: Record<string, string>,
    kept: boolean,
  ): ClientRequest {
    const { address, token } = this.#options;
    const all = { ...headers, ...(token === null ? {} : { Authorization: `Bearer ${token}` }) };
    // A verb, and a stream, has a connection of its own: neither may meet one that is just being closed.
    const agent = kept ? this.#agent : false;
    if (address.kind === 'unix') {
      return httpRequest({ socketPath: address.path, method, path, headers: all, agent });
    }
    const { host, port, base, secure } = address;
    const options = { host, port, method, path: base + path, headers: all, agent };
    return secure ? httpsRequest({ ...options, ...this.#tls }) : httpRequest(options);
  }

  #inWords(failure: Error): string | null {
    const { address, tls } = this.#options;
    if (address.kind === 'unix') return null;
    const { host, secure } = address;
    const certified = tls.cert !== undefined;
    return (
      tlsFailureOf(failure, tls.serverName ?? host) ?? hangUpOf(failure, { secure, certified })
    );
  }

  #unreachable(why: string | undefined, cause?: unknown): SidecarUnreachable {
    const { shownAs } = this.#options;
    const said = (cause instanceof Error ? this.#inWords(cause) : null) ?? why ?? 'gone';
    return new SidecarUnreachable(`the sidecar at ${shownAs} cannot be asked: ${said}`, {
      cause,
    });
  }
}

const isStream = ({ headers }: IncomingMessage): boolean =>
  (headers['content-type'] ?? '').startsWith('text/event-stream');

/** Only between the two attempts of `ask`. */
class StaleConnection extends Error {}
