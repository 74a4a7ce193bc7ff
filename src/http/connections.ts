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

interface Turn {
  readonly response: ServerResponse;
  readonly answer: () => void;
}

export class Connections {
  /** In the order of the requests; the first is being answered. */
  readonly #turns = new Map<Socket, Turn[]>();
  readonly #leaving = new WeakSet<Socket>();
  /** Beneath TLS: ended only when time is up. */
  readonly #beneath = new Set<Socket>();
  #closing = false;

  opened(socket: Socket): void {
    this.#turns.set(socket, []);
    socket.once('close', () => this.#turns.delete(socket));
  }

  shakesHands(socket: Socket): void {
    this.#beneath.add(socket);
    socket.once('close', () => this.#beneath.delete(socket));
  }

  /** Calls `answer` once everything that was asked before on the same connection is answered; never if that is gone. */
  asked(response: ServerResponse, answer: () => void): void {
    const { socket } = response.req;
    const turns = this.#turns.get(socket);
    // A part of what was read at once from a connection that was dropped meanwhile.
    if (turns === undefined || socket.destroyed) return;
    if (turns.length > waitingAtMost) {
      socket.destroy();
      return;
    }
    if (this.#closing) response.shouldKeepAlive = false;
    turns.push({ response, answer });
    response.once('close', () => this.#answered(socket, turns));
    if (turns.length === 1) answer();
  }

  isBusy(socket: Duplex): boolean {
    return socket instanceof Socket && (this.#turns.get(socket)?.length ?? 0) > 0;
  }

  /** Whether the next word is ours: the request is there, and nothing of its answer is. */
  isAwaited(socket: Socket): boolean {
    const response = this.#turns.get(socket)?.[0]?.response;
    return response !== undefined && response.req.complete && !response.headersSent;
  }

  /** Ends every connection as soon as nothing is to be answered on it. */
  close(): void {
    this.#closing = true;
    for (const { response } of [...this.#turns.values()].flat()) response.shouldKeepAlive = false;
    // One turn of the loop, for requests that have arrived already and were not read yet.
    setImmediate(() => {
      for (const [socket, turns] of this.#turns) if (turns.length === 0) this.#end(socket);
    });
  }

  cutOff(): void {
    for (const socket of [...this.#turns.keys(), ...this.#beneath]) socket.destroy();
  }

  #answered(socket: Socket, turns: Turn[]): void {
    turns.shift();
    const [next] = turns;
    if (next === undefined) {
      if (this.#closing) this.#end(socket);
    } else if (next.response.socket !== null) {
      // Only what has the socket hears of its end: behind an answer that was the last one nothing gets it.
      next.answer();
    }
  }

  /** Once: each call would leave another listener behind. */
  #end(socket: Socket): void {
    if (this.#leaving.has(socket)) return;
    this.#leaving.add(socket);
    socket.destroySoon();
  }
}
