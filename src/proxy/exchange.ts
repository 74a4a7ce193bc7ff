// One request on its way to an app, and the answer on its way back. It waits where there is nobody to send it to; where it
// never reached an app, or is safe to repeat and unanswered, it waits again for the next.
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Dispatcher } from 'undici';
import type { Buffering } from './buffering.ts';
import { Answer } from './answer.ts';
import { answerHeaders, hopsOf, requestHeaders } from './headers.ts';
import { answerProblem, type Problem } from './refusals.ts';
import type { Target } from './target.ts';

export interface ExchangeOptions {
  readonly buffering: Buffering;
  readonly pools: { of(target: Target): Dispatcher };
  /** It listens no more once it closes: then each answer is the last one of its connection. */
  readonly server: Pick<Server, 'listening' | 'closeIdleConnections'>;
}

/** A request that came through so many proxies of ours goes round in circles. */
export const hopsAtMost = 4;
/** A body of at most this many bytes is read before the request is sent: it is sent at one moment, and can be sent anew. */
const keptBytes = 16_384;
/** RFC 9110, section 9.2.2. */
const idempotent: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'OPTIONS',
  'TRACE',
  'PUT',
  'DELETE',
]);

/** Nothing was sent: whoever could be reached may have ceased to lead. */
export const moved = new Error('another may lead by now');

type Controller = Dispatcher.DispatchController;

export class Exchange {
  readonly #options: ExchangeOptions;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  /** What is sent as its body: nothing, all of it, or what is still to be read. */
  #body: Buffer | IncomingMessage | null = null;
  #target: Target | null = null;
  #controller: Controller | null = null;
  /** When it has waited for long enough; null where it need not wait yet. */
  #waitsUntil: number | null = null;
  #sent = false;
  /** Who broke off what had been sent. */
  #sentTo: Target | null = null;
  #leave: () => void = () => undefined;

  constructor(options: ExchangeOptions, request: IncomingMessage, response: ServerResponse) {
    this.#options = options;
    this.#request = request;
    this.#response = response;
  }

  begin(): void {
    const { headers } = this.#request;
    this.#response.sendDate = false;
    this.#response.on('close', () => this.#gone());
    if (hopsOf(this.#request) >= hopsAtMost) return this.#refuse('loop');
    const length = headers['content-length'];
    const isChunked = headers['transfer-encoding'] !== undefined;
    if (!isChunked && (length === undefined || length === '0')) return this.#next();
    if (isChunked || Number(length) > keptBytes || headers.expect !== undefined) {
      this.#body = this.#request;
      return this.#next();
    }
    const parts: Buffer[] = [];
    this.#request.on('data', (part: Buffer) => parts.push(part));
    this.#request.on('end', () => {
      this.#body = parts.length === 1 ? (parts[0] ?? null) : Buffer.concat(parts);
      this.#next();
    });
  }

  #next(): void {
    const target = this.#options.buffering.ready();
    if (target !== null) this.#send(target);
    else this.#wait();
  }

  #wait(): void {
    const { buffering } = this.#options;
    this.#waitsUntil ??= Date.now() + buffering.windowMs;
    const withinMs = Math.max(0, this.#waitsUntil - Date.now());
    this.#leave = buffering.wait(withinMs, (result) => {
      if (typeof result === 'string') this.#refuse(result);
      else this.#send(result);
    });
  }

  #send(target: Target): void {
    const { method = 'GET', url = '/', headers } = this.#request;
    this.#target = target;
    this.#sent = false;
    target.load += 1;
    if (headers.expect !== undefined) this.#response.writeContinue();
    const request = { path: url, method, headers: requestHeaders(this.#request, target) };
    // Undici takes a header as Node gives it; its types know no undefined value.
    const options = { ...request, body: this.#body } as Dispatcher.DispatchOptions;
    try {
      this.#options.pools.of(target).dispatch(options, this.#handler(target));
    } catch (error) {
      // The target's part was over that moment, or the request is one that is not passed on.
      this.#failed(target, error as Error);
    }
  }

  #handler(target: Target): Dispatcher.DispatchHandler {
    let answer: Answer | null = null;
    return {
      onRequestStart: (controller) => {
        this.#controller = controller;
        if (this.#response.destroyed || !target.mayReceive()) controller.abort(moved);
        else this.#sent = true;
      },
      onResponseStart: (controller, status, headers, statusMessage) => {
        if (status < 200) return this.#inform(status, headers);
        if (!this.#options.server.listening) this.#response.shouldKeepAlive = false;
        answer = new Answer(this.#response, controller);
        this.#response.writeHead(status, statusMessage ?? '', answerHeaders(headers));
      },
      onResponseData: (_, chunk) => answer?.take(chunk),
      onResponseEnd: (_, trailers) => {
        this.#settle();
        answer?.end(trailers);
      },
      onResponseError: (_, error) => this.#failed(target, error),
    };
  }

  /** 103; 100 has been said. */
  #inform(status: number, { link }: IncomingHttpHeaders): void {
    if (status === 103 && link !== undefined) this.#response.writeEarlyHints({ link });
  }

  #failed(target: Target, error: NodeJS.ErrnoException): void {
    this.#settle();
    if (this.#response.destroyed) return;
    if (!this.#sent && error !== moved && isOfConnection(error)) target.unreachable();
    const problem = problems.get(error.code ?? '') ?? null;
    if (problem === null && this.#mayRepeat(target)) this.#wait();
    else this.#refuse(problem ?? 'app_broke_off');
  }

  /**
   * Not what has been begun to be read, and gone with it; nor what was answered in part. What was sent goes to the same app
   * once more at most, which may have closed a connection just as it was used.
   */
  #mayRepeat(target: Target): boolean {
    const { method = '', readableDidRead } = this.#request;
    if (this.#response.headersSent) return false;
    const isWhole = this.#body !== this.#request || !readableDidRead;
    if (!isWhole || !this.#sent) return isWhole;
    const isFirst = this.#sentTo !== target;
    this.#sentTo = target;
    return isFirst && idempotent.has(method);
  }

  #settle(): void {
    if (this.#target !== null) this.#target.load -= 1;
    this.#target = null;
    this.#controller = null;
  }

  #refuse(problem: Problem): void {
    answerProblem(this.#response, problem);
  }

  /** The client has its answer, or has gone. */
  #gone(): void {
    this.#leave();
    // One whose answer had begun before that does not say so.
    const { server } = this.#options;
    if (!server.listening) server.closeIdleConnections();
    if (!this.#response.writableFinished) this.#controller?.abort(new Error('the client has gone'));
  }
}

/** What would be no better the next time. */
const problems: ReadonlyMap<string, Problem> = new Map<string, Problem>([
  ['UND_ERR_HEADERS_TIMEOUT', 'app_silent'],
  ['UND_ERR_INVALID_ARG', 'not_passed_on'],
  ['UND_ERR_NOT_SUPPORTED', 'not_passed_on'],
  ['UND_ERR_REQ_CONTENT_LENGTH_MISMATCH', 'not_passed_on'],
]);

const connectionCodes: ReadonlySet<string> = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT', 'EHOSTDOWN'],
  ...['ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_SOCKET'],
]);

const isOfConnection = ({ code = '' }: NodeJS.ErrnoException): boolean => connectionCodes.has(code);
