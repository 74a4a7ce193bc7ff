// The body of an answer on its way to the client, no faster than the client reads. A short one leaves in one write together
// with its header: that is a good part of what it costs.
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';

interface Source {
  pause(): void;
  resume(): void;
}

/** More is not worth being copied. */
const shortBytes = 16_384;

export class Answer {
  readonly #response: ServerResponse;
  readonly #source: Source;
  /** The first part, until it is known whether it is all: that is told in the same turn, or not. */
  #first: Buffer | null = null;
  #hasBegun = false;

  constructor(response: ServerResponse, source: Source) {
    this.#response = response;
    this.#source = source;
    // A header without a body follows at once as well.
    process.nextTick(() => this.#begin());
  }

  take(part: Buffer): void {
    if (!this.#hasBegun && this.#first === null && part.length <= shortBytes) this.#first = part;
    else {
      this.#begin();
      this.#write(part);
    }
  }

  end(trailers: IncomingHttpHeaders): void {
    const first = this.#hasBegun ? null : this.#first;
    this.#hasBegun = true;
    if (Object.keys(trailers).length > 0) this.#response.addTrailers(trailers);
    // A text joins the header; each of its characters stands for one byte.
    if (first === null) this.#response.end();
    else this.#response.end(first.toString('latin1'), 'latin1');
  }

  #begin(): void {
    if (this.#hasBegun || this.#response.destroyed) return;
    this.#hasBegun = true;
    if (this.#first === null) this.#response.flushHeaders();
    else this.#write(this.#first);
    this.#first = null;
  }

  #write(part: Buffer): void {
    if (this.#response.write(part)) return;
    this.#source.pause();
    this.#response.once('drain', () => this.#source.resume());
  }
}
