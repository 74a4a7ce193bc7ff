// One event stream that comes back by itself, however it ended: the browser repeats what broke, but neither what was
// refused nor what fell silent without breaking.
import { EventSource, type MessageStream } from './browser.ts';

export interface StreamHandlers {
  /** By the name of the event; the data is JSON. */
  readonly on: Readonly<Record<string, (data: unknown) => void>>;
  /** It broke, or was refused. */
  readonly broken: (refused: boolean) => void;
}

/** Refused: as many clients as are served are there. */
const retryAfterMs = 3000;
const closed = 2;

export class Stream {
  readonly #handlers: StreamHandlers;
  #source: MessageStream | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #path: string | null = null;

  constructor(handlers: StreamHandlers) {
    this.#handlers = handlers;
  }

  /** Streams from this path, and from no other any more; null ends it. */
  from(path: string | null): void {
    if (path === this.#path) return;
    this.#path = path;
    this.again();
  }

  /** Begins anew, where it is open at all. */
  again(): void {
    clearTimeout(this.#retry);
    this.#source?.close();
    this.#source = null;
    if (this.#path === null) return;
    const source = new EventSource(this.#path);
    this.#source = source;
    for (const [name, take] of Object.entries(this.#handlers.on)) {
      source.addEventListener(name, ({ data }) => {
        if (this.#source === source) take(JSON.parse(data));
      });
    }
    source.onerror = () => {
      if (this.#source !== source) return;
      const refused = source.readyState === closed;
      if (refused) this.#retry = setTimeout(() => this.again(), retryAfterMs);
      this.#handlers.broken(refused);
    };
  }
}
