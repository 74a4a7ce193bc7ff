// Two connections made one: what the client sends goes to the app while the app may receive it, what the app sends goes to
// the client. Once the app's part is over nothing more is sent to it; an answer that it owes still reaches the client.
import type { Socket } from 'node:net';
import type { Closing } from './closing.ts';
import { refuse } from './refuse.ts';
import type { Target } from './target.ts';

export interface RelayOptions {
  /** Both half-open: an end is handed on as one. */
  readonly client: Socket;
  readonly app: Socket;
  readonly target: Target;
  readonly drainMs: number;
  /** How long bytes for the app may wait for leave to be sent. */
  readonly windowMs: number;
  /** Called when the proxy closes. */
  readonly closing: Closing;
}

/** An answer that pauses for so long is over. */
const quietMs = 100;
const askAgainMs = 25;

/** Relays until both have ended, or either breaks, or the target's part is over. */
export function relay(options: RelayOptions): void {
  new Relay(options).begin();
}

class Relay {
  readonly #options: RelayOptions;
  #owesAnswer = false;
  #draining = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Bytes, or the end (null), that wait for leave to be sent; undefined where nothing does. */
  #kept: Buffer | null | undefined;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  begin(): void {
    const { client, app, target, closing } = this.#options;
    target.load += 1;
    client.on('data', (chunk: Buffer) => this.#send(chunk));
    client.on('end', () => this.#send(null));
    app.on('drain', () => {
      if (!this.#isKeeping() && !this.#draining) client.resume();
    });
    app.on('data', (chunk: Buffer) => this.#answer(chunk));
    app.on('end', () => client.end());
    client.on('drain', () => app.resume());
    for (const one of [client, app]) one.on('error', () => this.#cut());
    let open = 2;
    const end = (): void => this.#drain();
    const forget = target.onOver(end);
    closing.add(end);
    for (const one of [client, app]) {
      one.on('close', () => {
        open -= 1;
        if (open > 0) return;
        target.load -= 1;
        forget();
        closing.delete(end);
        clearTimeout(this.#timer);
      });
    }
  }

  #send(chunk: Buffer | null): void {
    const { app, client, target } = this.#options;
    if (this.#draining) return;
    if (!target.mayReceive()) {
      client.pause();
      this.#kept = chunk;
      void this.#ask(Date.now() + this.#options.windowMs);
    } else if (chunk === null) {
      app.end();
    } else {
      this.#owesAnswer = true;
      if (!app.write(chunk)) client.pause();
    }
  }

  async #ask(until: number): Promise<void> {
    const { client, target } = this.#options;
    while (!(await target.permit())) {
      if (this.#draining || client.destroyed) return;
      if (Date.now() >= until) {
        this.#cut();
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, askAgainMs));
    }
    const kept = this.#kept;
    this.#kept = undefined;
    if (kept !== undefined) this.#send(kept);
    if (!this.#isKeeping()) client.resume();
  }

  #isKeeping(): boolean {
    return this.#kept !== undefined;
  }

  #answer(chunk: Buffer): void {
    const { client, app } = this.#options;
    this.#owesAnswer = false;
    if (!client.write(chunk)) app.pause();
    if (this.#draining) this.#endIn(quietMs);
  }

  #drain(): void {
    this.#draining = true;
    const { client, drainMs } = this.#options;
    client.pause();
    if (!this.#owesAnswer || drainMs === 0) return this.#endIn(0);
    // The whole drain bounds this, however the answer comes.
    setTimeout(() => this.#cut(), drainMs).unref();
  }

  #endIn(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#cut(), ms);
  }

  #cut(): void {
    refuse(this.#options.client);
    refuse(this.#options.app);
  }
}
