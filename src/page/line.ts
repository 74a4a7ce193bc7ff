// The line from a window to the hub that streams for it: in the worker that all windows share where the browser has one
// that can be loaded and answers; else in this window, which then takes a connection of its own.
import { beside } from './address.ts';
import { policies, SharedWorker } from './browser.ts';
import { Hub, saidEveryMs, type Told, type Wish } from './hub.ts';
import { heard, workerPolicy } from './wire.ts';

/** A browser does not always say that a worker could not be loaded, or has ended. */
const muteAfterMs = 8000;

/** Another program may be served there tomorrow, while this one still runs: another address is another worker. */
function workerAddress(version: string): unknown {
  const address = beside(`worker.js?${encodeURIComponent(version)}`);
  return policies === undefined
    ? address
    : policies
        .createPolicy(workerPolicy, { createScriptURL: (url) => url })
        .createScriptURL(address);
}

export class Line {
  readonly #told: (told: Told) => void;
  #say: (wish: Wish) => void;
  #wish: Wish = 'rest';
  #timer: ReturnType<typeof setInterval> | undefined;

  /** @param version of the page: windows of one version share a worker */
  constructor(version: string, told: (told: Told) => void) {
    this.#told = told;
    this.#say = this.#shared(version) ?? this.#own();
  }

  /** Says what is looked at, now and until something else is said. */
  say(wish: Wish): void {
    this.#wish = wish;
    this.#say(wish);
    clearInterval(this.#timer);
    if (wish !== 'rest') this.#timer = setInterval(() => this.#say(wish), saidEveryMs);
  }

  #shared(version: string): ((wish: Wish) => void) | null {
    if (SharedWorker === undefined) return null;
    let worker;
    try {
      worker = new SharedWorker(workerAddress(version), 'electord');
    } catch {
      return null;
    }
    const line = worker.port;
    let silence: ReturnType<typeof setTimeout> | undefined;
    const shared = (wish: Wish): void => {
      line.postMessage(wish);
      silence ??= setTimeout(instead, muteAfterMs);
    };
    const instead = (): void => {
      if (this.#say !== shared) return;
      line.onmessage = null;
      // It may only be slow, and would stream for nobody.
      line.postMessage('rest' satisfies Wish);
      this.#say = this.#own();
      this.#say(this.#wish);
    };
    worker.onerror = instead;
    line.onmessage = ({ data }) => {
      clearTimeout(silence);
      silence = undefined;
      if (data !== heard) this.#told(data as Told);
    };
    return shared;
  }

  #own(): (wish: Wish) => void {
    const hub = new Hub(beside(''));
    return (wish) => hub.hear(this.#told, wish);
  }
}
