// Virtual time: events in a heap, one after the other, in the order of their time and, at one time, of their making.
// After an event that settled a promise the microtasks are drained, so that no two events ever overlap.

/** Something that will happen; `cancel` makes sure that it does not. */
export interface Planned {
  cancel(): void;
}

class Event implements Planned {
  readonly at: number;
  readonly order: number;
  run: (() => void) | null;

  constructor(at: number, order: number, run: () => void) {
    this.at = at;
    this.order = order;
    this.run = run;
  }

  cancel(): void {
    this.run = null;
  }
}

const isBefore = (a: Event, b: Event): boolean =>
  a.at < b.at || (a.at === b.at && a.order < b.order);

/**
 * How many turns of the microtask queue an answer needs at most: its handler, the handler of what that throws, whoever
 * awaits the end of a stop that the handler brought about, and a hasty end, which waits for several answers at once.
 */
const turnsPerAnswer = 12;

/** Awaited, it lets whoever waits go first. */
const nextTurn = Promise.resolve();

/** The true time of a simulated world, in milliseconds from its beginning. */
export class Scheduler {
  now = 0;
  /** Called after every event, once whoever waited for it has run. */
  afterEach: () => void = () => undefined;
  readonly #heap: Event[] = [];
  #order = 0;
  #settled = false;
  #stopped = false;

  at(at: number, run: () => void): Planned {
    const event = new Event(Math.max(at, this.now), this.#order, run);
    this.#order += 1;
    this.#push(event);
    return event;
  }

  after(delayMs: number, run: () => void): Planned {
    return this.at(this.now + delayMs, run);
  }

  /** Says that the present event settled a promise: whoever waits for it runs before the next event. */
  settled(): void {
    this.#settled = true;
  }

  /** No further event runs. */
  stop(): void {
    this.#stopped = true;
  }

  /** Lets everything happen up to and including `end`, or until `done` says so. */
  async run(end: number, done: () => boolean = () => false): Promise<void> {
    for (;;) {
      const next = this.#heap[0];
      if (this.#stopped || done() || next === undefined || next.at > end) break;
      this.#pop();
      const { run } = next;
      if (run === null) continue;
      this.now = next.at;
      next.run = null;
      run();
      if (this.#settled) {
        this.#settled = false;
        for (let turn = 0; turn < turnsPerAnswer; turn += 1) await nextTurn;
      }
      this.afterEach();
    }
    if (!this.#stopped && !done()) this.now = Math.max(this.now, end);
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(event);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent]!;
      if (!isBefore(event, above)) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1;
      const below = heap[child]!;
      if (!isBefore(below, last)) break;
      heap[index] = below;
      index = child;
    }
    heap[index] = last;
  }
}
