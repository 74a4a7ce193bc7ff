// One stream for many windows. Each window says again and again what it looks at, or that nobody looks at it; the hub
// streams what all of them need together, and hands on to each what comes. It lives in a worker that all windows of a
// browser share, or else in the window itself: a browser opens six connections to a sidecar, and a stream takes one.
import { Stream } from './stream.ts';
import { electionsAtMost, type PeersFrame } from './wire.ts';

/** What a window says: the election that it looks at (null: the list of all), or that it rests. */
export type Wish = { readonly watch: string | null } | 'rest';

/** What a window is told: an event of the stream, or that the stream broke or was refused. */
export type Told =
  | { readonly name: 'tick' | 'peers' | 'leadership'; readonly data: unknown }
  | { readonly name: 'broken'; readonly refused: boolean };

type Tell = (told: Told) => void;

interface Watcher {
  readonly election: string | null;
  readonly heardAt: number;
}

/** A window says what it looks at this often; one that was closed without a word is forgotten after some such times. */
export const saidEveryMs = 5000;
const forgottenAfterMs = 4 * saidEveryMs;
/** A stream that has not ticked for so long is begun anew: its connection may be dead without anybody having said so. */
const reopenAfterMs = 5000;
const lookEveryMs = 1000;

export class Hub {
  readonly #watchers = new Map<Tell, Watcher>();
  readonly #stream: Stream;
  #tickAt = performance.now();
  #timer: ReturnType<typeof setInterval> | null = null;

  /** @param folder the path of the page, with a slash at its end */
  constructor(folder: string) {
    this.#folder = folder;
    const hand = (name: 'tick' | 'peers' | 'leadership') => (data: unknown) =>
      this.#tellAll({ name, data });
    this.#stream = new Stream({
      on: {
        tick: (data) => {
          this.#tickAt = performance.now();
          hand('tick')(data);
        },
        peers: (data) => this.#frame(data as PeersFrame),
        leadership: hand('leadership'),
      },
      broken: (refused) => this.#tellAll({ name: 'broken', refused }),
    });
  }

  readonly #folder: string;

  /** `tell` stands for the window, and is called with what it is to know. */
  hear(tell: Tell, wish: Wish): void {
    if (wish === 'rest') this.#watchers.delete(tell);
    else this.#watchers.set(tell, { election: wish.watch, heardAt: performance.now() });
    this.#follow();
  }

  #follow(): void {
    if (this.#watchers.size === 0) {
      if (this.#timer !== null) clearInterval(this.#timer);
      this.#timer = null;
      this.#stream.from(null);
      return;
    }
    if (this.#timer === null) {
      this.#tickAt = performance.now();
      this.#timer = setInterval(() => this.#look(), lookEveryMs);
    }
    const wanted = [...this.#watchers.values()].flatMap(({ election }) => election ?? []);
    const query = [...new Set(wanted)]
      .sort()
      .slice(0, electionsAtMost)
      .map((election) => `election=${encodeURIComponent(election)}`)
      .join('&');
    this.#stream.from(`${this.#folder}peers${query === '' ? '' : `?${query}`}`);
  }

  #look(): void {
    const now = performance.now();
    for (const [tell, { heardAt }] of this.#watchers) {
      if (now - heardAt > forgottenAfterMs) this.#watchers.delete(tell);
    }
    this.#follow();
    if (this.#watchers.size === 0 || now - this.#tickAt <= reopenAfterMs) return;
    this.#tickAt = now;
    this.#stream.again();
  }

  #frame(frame: PeersFrame): void {
    for (const [tell, { election }] of this.#watchers) {
      if (election === frame.election) tell({ name: 'peers', data: frame });
    }
  }

  #tellAll(told: Told): void {
    for (const tell of this.#watchers.keys()) tell(told);
  }
}
