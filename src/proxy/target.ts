// Whom a connection made here may reach, and what bounds that. A target is one app for as long as its instance has the
// part that was asked for: of a leader, one term.
import { connect } from 'node:net';
import type { FencingToken, MemberId } from '../core/model.ts';
import { readAdvertised } from '../process/advertised.ts';
import { judgeAfter } from '../process/time-out.ts';

/** Where an app listens, as its instance advertises it. */
export interface Address {
  readonly host: string;
  readonly port: number;
  /** Whether it speaks TLS: `https://…`. */
  readonly secure: boolean;
}

export interface Target {
  readonly id: MemberId;
  /** Null for a follower. */
  readonly token: FencingToken | null;
  readonly address: Address;
  /** Whether a byte may be sent there at this moment. */
  mayReceive(): boolean;
  /** Asks for that where it is not so; resolves with whether it is now. Never rejects. */
  permit(): Promise<boolean>;
  /** Calls `listener` once when its part is over, at once where it is; the returned function ends that. */
  onOver(listener: () => void): () => void;
  /** A connection to its app could not be made: nobody is sent there before one could be. */
  unreachable(): void;
  /** Connections or requests that it has of us now. */
  load: number;
}

/** The apps that connections of one proxy may reach. */
export interface Destination {
  /** Whom to send to at this moment; null where there is nobody. */
  ready(): Target | null;
  /** Does what helps that there is somebody; called again and again while somebody waits. */
  seek(): void;
  /** Calls `listener` whenever there may be somebody at once. */
  onChange(listener: () => void): void;
}

/** Null where nobody can be sent there. */
export function addressOf(advertised: string | null): Address | null {
  const said = readAdvertised(advertised);
  return said === null || said.port === null ? null : { ...said, port: said.port };
}

/** A connection that is not made in this time is not made: an answer within a network takes a fraction of it. */
export const connectWithinMs = 1000;

/** Whether an app that could not be reached can be again: one connection at a time, for all that wait. */
export class Reachable {
  readonly #address: Address;
  readonly #changed: () => void;
  #down = false;
  #probing = false;

  /** `changed` is called when it can be reached again. */
  constructor(address: Address, changed: () => void) {
    this.#address = address;
    this.#changed = changed;
  }

  isDown(): boolean {
    return this.#down;
  }

  failed(): void {
    this.#down = true;
  }

  /** Tries, where it is down and no try is under way. */
  probe(): void {
    if (!this.#down || this.#probing) return;
    this.#probing = true;
    const { host, port } = this.#address;
    const socket = connect({ host, port });
    const done = (reached: boolean): void => {
      cancel();
      socket.destroy();
      this.#probing = false;
      if (!reached) return;
      this.#down = false;
      this.#changed();
    };
    const cancel = judgeAfter(connectWithinMs, () => done(false));
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
  }
}
