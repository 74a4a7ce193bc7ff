// The line from a window to the hub that streams for it: in the worker that all windows share where the browser has one,
// and the worker can be loaded; else in this window, which then takes a connection of its own.
import { beside } from './address.ts';
import { policies, SharedWorker, type MessageLine } from './browser.ts';
import { Hub, saidEveryMs, type Told, type Wish } from './hub.ts';
import { workerPolicy } from './wire.ts';

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
    let line: MessageLine;
    try {
      const worker = new SharedWorker(workerAddress(version), 'electord');
      line = worker.port;
      worker.onerror = () => {
        line.onmessage = null;
        this.#say = this.#own();
        this.#say(this.#wish);
      };
    } catch {
      return null;
    }
    line.onmessage = ({ data }) => this.#told(data as Told);
    return (wish) => line.postMessage(wish);
  }

  #own(): (wish: Wish) => void {
    const hub = new Hub(beside(''));
    return (wish) => hub.hear(this.#told, wish);
  }
}
