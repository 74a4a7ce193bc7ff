// A request that becomes another protocol, such as WebSocket: sent to the app as any other, and relayed once it has agreed.
import { request as requestHttp, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { Socket } from 'node:net';
import { tlsTowards, type AskTls } from '../process/ask-tls.ts';
import type { Buffering } from './buffering.ts';
import type { Closing } from './closing.ts';
import { answerHeaders, hopsOf, requestHeaders } from './headers.ts';
import { hopsAtMost, moved } from './exchange.ts';
import { refuse } from './refuse.ts';
import { relay } from './relay.ts';
import { connectWithinMs, type Target } from './target.ts';

/** What a proxy for HTTP goes by. */
export interface HttpOptions {
  readonly buffering: Buffering;
  readonly drainMs: number;
  /** 0: no bound. */
  readonly responseTimeoutMs: number;
  /** Towards apps that advertise `https://…`. */
  readonly tls: () => AskTls;
  /** Called when the proxy closes: what was upgraded and owes no answer ends. */
  readonly closing: Closing;
}

const headOf = (answer: IncomingMessage, headers: Record<string, unknown>): string => {
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((one) => `${name}: ${String(one)}\r\n`),
  );
  const { statusCode = 502, statusMessage = '' } = answer;
  return `HTTP/1.1 ${statusCode} ${statusMessage}\r\n${lines.join('')}\r\n`;
};

const problem = (status: string): string =>
  `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`;

export function upgrade(
  options: HttpOptions,
  request: IncomingMessage,
  client: Socket,
  head: Buffer,
): void {
  client.on('error', () => client.destroy());
  if (hopsOf(request) >= hopsAtMost) {
    client.end(problem('508 Loop Detected'));
    return;
  }
  const { buffering } = options;
  const until = Date.now() + buffering.windowMs;
  let leave = (): void => undefined;
  client.once('close', () => leave());
  const send = (target: Target): void =>
    sendUpgrade(options, target, { request, client, head, wait });
  const wait = (): void => {
    if (client.destroyed) return;
    leave = buffering.wait(Math.max(0, until - Date.now()), (result) => {
      if (typeof result === 'string') client.end(problem('503 Service Unavailable'));
      else send(result);
    });
  };
  const ready = buffering.ready();
  if (ready === null) wait();
  else send(ready);
}

interface Asked {
  readonly request: IncomingMessage;
  readonly client: Socket;
  readonly head: Buffer;
  /** For the next target, nothing having been sent. */
  readonly wait: () => void;
}

function sendUpgrade(
  { responseTimeoutMs, drainMs, tls, buffering, closing }: HttpOptions,
  target: Target,
  { request, client, head, wait }: Asked,
): void {
  const { host, port, secure } = target.address;
  const { method = 'GET', url = '/', headers } = request;
  const options = {
    ...{ host, port, method, path: url, agent: false },
    headers: {
      ...requestHeaders(request, target),
      Connection: 'Upgrade',
      Upgrade: headers.upgrade,
    },
    ...(secure ? tlsTowards(host, tls()) : {}),
  };
  const sent = (secure ? requestHttps : requestHttp)(options);
  // The moment before the first byte: what Node keeps for a socket that connects is written after this.
  let isMoved = false;
  sent.once('socket', (socket) =>
    socket.prependOnceListener(secure ? 'secureConnect' : 'connect', () => {
      isMoved = !target.mayReceive();
      if (isMoved) socket.destroy(moved);
    }),
  );
  const failed = (status: string): void => {
    sent.destroy();
    if (!client.destroyed) client.end(problem(status));
  };
  sent.setTimeout(responseTimeoutMs === 0 ? connectWithinMs : responseTimeoutMs, () =>
    failed('504 Gateway Timeout'),
  );
  sent.on('error', () => (isMoved ? wait() : failed('502 Bad Gateway')));
  client.once('close', () => sent.destroy());
  sent.on('upgrade', (answer, app: Socket, first) => {
    app.setTimeout(0);
    const { connection, upgrade: protocol } = answer.headers;
    client.write(
      headOf(answer, { ...answerHeaders(answer.headers), connection, upgrade: protocol }),
    );
    client.write(first);
    if (head.length > 0) client.unshift(head);
    relay({ client, app, target, drainMs, windowMs: buffering.windowMs, closing });
  });
  sent.on('response', (answer) => {
    // It has declined: this is the answer, and the last one of the connection.
    const passed = { ...answerHeaders(answer.headers), connection: 'close' };
    client.write(headOf(answer, passed));
    answer.pipe(client);
    answer.on('error', () => refuse(client));
  });
  sent.end();
}
