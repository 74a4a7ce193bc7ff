// The connections of one listener and what is to be answered on each, one request at a time: a request that was sent before
// the answer to the last one was read is only looked at when its turn comes. So whatever is kept for an answer ends with
// its connection, no answer grows old behind another one, and a client that asks without listening costs next to nothing.
import type { ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/**
 * A connection on which more requests than this wait for their turn is dropped. Programs send the next one when they have
 * the answer to the last; the few that do not send a handful.
 */
export const waitingAtMost = 32;

/** What is to be answered on one connection, in the order of the requests; the first is being answered. */
interface Turns {
  readonly responses: ServerResponse[];
  /** Goes on with the next one. Made once: a connection is asked many times. */
  readonly answered: () => void;
}

export class Connections {
  readonly #answer: (response: ServerResponse) => void;
  readonly #turns = new Map<Socket, Turns>();
  readonly #leaving = new WeakSet<Socket>();
  /** Beneath TLS: ended only when time is up. */
  readonly #beneath = new Set<Socket>();
  #closing = false;

  constructor(answer: (response: ServerResponse) => void) {
    this.#answer = answer;
  }

  opened(socket: Socket): void {
    const responses: ServerResponse[] = [];
    this.#turns.set(socket, { responses, answered: () => this.#answered(socket, responses) });
    socket.once('close', () => this.#turns.delete(socket));
  }

  shakesHands(socket: Socket): void {
    this.#beneath.add(socket);
    socket.once('close', () => this.#beneath.delete(socket));
  }

  /** Answers once everything that was asked before on the same connection is answered; never if that is gone. */
  asked(response: ServerResponse): void {
    const { socket } = response.req;
    const turns = this.#turns.get(socket);
    // A part of what was read at once from a connection that was dropped meanwhile.
    if (turns === undefined || socket.destroyed) return;
    const { responses, answered } = turns;
    if (responses.length > waitingAtMost) {
      socket.destroy();
      return;
    }
    if (this.#closing) response.shouldKeepAlive = false;
    responses.push(response);
    response.on('close', answered);
    if (responses.length === 1) this.#answer(response);
  }

  isBusy(socket: Duplex): boolean {
    return socket instanceof Socket && (this.#turns.get(socket)?.responses.length ?? 0) > 0;
  }

  /** Whether the next word is ours: the request is there, and nothing of its answer is. */
  isAwaited(socket: Socket): boolean {
    const response = this.#turns.get(socket)?.responses[0];
    return response !== undefined && response.req.complete && !response.headersSent;
  }

  /** Ends every connection as soon as nothing is to be answered on it. */
  close(): void {
    this.#closing = true;
    for (const { responses } of this.#turns.values()) {
      for (const response of responses) response.shouldKeepAlive = false;
    }
    // One turn of the loop, for requests that have arrived already and were not read yet.
    setImmediate(() => {
      for (const [socket, { responses }] of this.#turns) {
        if (responses.length === 0) this.#end(socket);
      }
    });
  }

  cutOff(): void {
    for (const socket of [...this.#turns.keys(), ...this.#beneath]) socket.destroy();
  }

  #answered(socket: Socket, responses: ServerResponse[]): void {
    responses.shift();
    const [next] = responses;
    if (next === undefined) {
      if (this.#closing) this.#end(socket);
    } else if (next.socket !== null) {
      // Only what has the socket hears of its end: behind an answer that was the last one nothing gets it.
      this.#answer(next);
    }
  }

  /** Once: each call would leave another listener behind. */
  #end(socket: Socket): void {
    if (this.#leaving.has(socket)) return;
    this.#leaving.add(socket);
    socket.destroySoon();
  }
}
