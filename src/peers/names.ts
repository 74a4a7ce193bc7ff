// Resolves the names in the urls of members, few at once. Node does that in the four threads that also resolve etcd's name
// and that of the app check, and a name server that is silent holds a thread for many seconds: pages must not take them all.
import { lookup as lookupByNode } from 'node:dns';
import type { LookupFunction } from 'node:net';

/** Half of the threads that there are. */
const lookupsAtOnce = 2;
/** Different names in line, and questions that wait for the same one; more are told to come again. */
const inLineAtMost = 256;

type Callback = Parameters<LookupFunction>[2];

export class Names {
  readonly #resolve: LookupFunction;
  /** Who waits for each name that is being resolved or in line. */
  readonly #waiting = new Map<string, Callback[]>();
  readonly #inLine: (() => void)[] = [];
  #underWay = 0;

  constructor(resolve: LookupFunction = lookupByNode) {
    this.#resolve = resolve;
  }

  /** For `http.Agent`, always with the same options. */
  readonly lookup: LookupFunction = (name, options, callback) => {
    const others = this.#waiting.get(name);
    if ((others ?? this.#inLine).length >= inLineAtMost) {
      const busy = Object.assign(new Error('too many names wait'), { code: 'EAI_AGAIN' });
      callback(busy, '', 0);
      return;
    }
    if (others !== undefined) {
      others.push(callback);
      return;
    }
    this.#waiting.set(name, [callback]);
    this.#inLine.push(() => {
      this.#resolve(name, options, (...answer) => {
        const waiting = this.#waiting.get(name) ?? [];
        this.#waiting.delete(name);
        this.#underWay -= 1;
        this.#next();
        for (const waiter of waiting) waiter(...answer);
      });
    });
    this.#next();
  };

  /** Whether an answer for the name is still waited for. */
  isWaiting(name: string): boolean {
    return this.#waiting.has(name);
  }

  #next(): void {
    if (this.#underWay >= lookupsAtOnce) return;
    const resolve = this.#inLine.shift();
    if (resolve === undefined) return;
    this.#underWay += 1;
    resolve();
  }
}
