// One HTTP request to the app or to a hook: the status is all that counts, the body is thrown away. Redirects are not
// followed, certificates are verified, and no connection is kept.
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { tlsTowards, type AskTls } from '../process/ask-tls.ts';
import { dial } from './dial.ts';

export interface Call {
  /** The status. Rejects with an Error whose `code` says why there is none. */
  readonly status: Promise<number>;
  /** Ends it, wherever it stands. */
  readonly abort: () => void;
}

/** A body that goes on for longer than that is not waited for. */
const drainMs = 1000;

/** Sends `body` as JSON by POST, or asks by GET where it is null. There is no time limit but `abort`. */
export function call(url: string, body: string | null, tls: AskTls): Call {
  const { protocol, hostname, port } = new URL(url);
  const secure = protocol === 'https:';
  const host = hostname.replace(/^\[|\]$/g, '');
  const defaultPort = secure ? 443 : 80;
  const send = secure ? requestHttps : requestHttp;
  const headers = {
    'User-Agent': 'electord',
    ...(body === null
      ? {}
      : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }),
  };
  let hangUp: () => void = () => undefined;
  const request = send(url, {
    method: body === null ? 'GET' : 'POST',
    headers,
    defaultPort,
    createConnection: (_options, created) => {
      hangUp = dial(host, Number(port) || defaultPort, (failure, socket) => {
        if (socket !== null) created(null, secure ? secured(socket, host, tls) : socket);
        // Its type wants a socket beside the failure; Node looks at one or the other.
        else (created as (failure: Error | null) => void)(failure);
      });
      return undefined;
    },
  });
  const status = new Promise<number>((resolve, reject) => {
    request.on('error', reject);
    request.on('response', (response) => {
      resolve(response.statusCode ?? 0);
      // Its end, or an error in it, changes nothing any more.
      response.on('error', () => undefined).resume();
      const timer = setTimeout(() => request.destroy(), drainMs);
      request.once('close', () => clearTimeout(timer));
    });
  });
  request.end(body ?? undefined);
  const abort = (): void => {
    hangUp();
    request.destroy(new Error('aborted'));
  };
  return { status, abort };
}

const secured = (socket: Socket, host: string, tls: AskTls): Socket =>
  connectTls({
    socket,
    host,
    ALPNProtocols: ['http/1.1'],
    ...tlsTowards(host, tls),
  });

/** Why a call failed, without the address, which may hold a secret. */
export function failureOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : 'the connection broke';
}
