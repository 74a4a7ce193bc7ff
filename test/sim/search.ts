// Breadth-first search of a small world: every order in which things can happen, up to a number of steps. Worlds in
// which the same can happen are one.
import type { Rules, SmallWorld } from './small-world.ts';

export interface Searched {
  /** How many different worlds were looked at. */
  readonly states: number;
  readonly depth: number;
  /** What is wrong with one of them, and the shortest way there; null where all are right. */
  readonly wrong: { readonly what: string; readonly path: readonly string[] } | null;
}

interface Place {
  readonly world: SmallWorld;
  readonly what: string;
  readonly from: Place | null;
}

export function search(rules: Rules, start: SmallWorld, depth: number): Searched {
  const seen = new Set<number>([keyOf(start)]);
  let frontier: Place[] = [{ world: start, what: 'the beginning', from: null }];
  for (let step = 0; step <= depth; step += 1) {
    const next: Place[] = [];
    for (const place of frontier) {
      const what = rules.wrongWith(place.world);
      if (what !== null) {
        return { states: seen.size, depth: step, wrong: { what, path: pathTo(place) } };
      }
      if (step === depth) continue;
      for (const { what: happens, next: happen } of rules.steps(place.world)) {
        const reached = attempt(happen);
        if (typeof reached === 'string') {
          const path = [...pathTo(place), happens];
          return { states: seen.size, depth: step, wrong: { what: reached, path } };
        }
        const key = keyOf(reached);
        if (seen.has(key)) continue;
        seen.add(key);
        next.push({ world: reached, what: happens, from: place });
      }
    }
    frontier = next;
  }
  return { states: seen.size, depth, wrong: null };
}

/** An assertion that fails is as wrong as a broken invariant. */
function attempt(happen: () => SmallWorld): SmallWorld | string {
  try {
    return happen();
  } catch (failure) {
    return String(failure);
  }
}

function pathTo(place: Place): string[] {
  const path: string[] = [];
  for (let at: Place | null = place; at !== null; at = at.from) path.unshift(at.what);
  return path;
}

/** For people only, or the same in every world, or (etcd's past) looked at apart. */
const leftOut = new Set([
  ...['leaderSeenAt', 'since', 'leaderlessMs', 'leaderlessAtMostMs', 'endedAgoMs', 'aliveAt'],
  ...['lastHeardAt', 'etcdTerm', 'doubtedUntil', 'me', 'history', 'name', 'told'],
]);

/** The same for two worlds in which the same can happen, told by one number of 53 bits. */
function keyOf({ now, etcd, nodes, newest, interferences }: SmallWorld): number {
  const hash = new Hash();
  hash.number(now);
  hash.value(newest);
  hash.number(interferences);
  hash.value(etcd);
  for (const node of nodes) {
    hash.value(node);
    // Of the past, only what this one has not been told yet matters.
    for (const change of etcd.history.slice(node.told)) hash.value(change);
    hash.number(-1);
  }
  return hash.result();
}

const hashes = new WeakMap<object, number>();
const texts = new Map<string, number>();

/** Two lanes of 32 bits. Nothing here ever changes, so that every object is looked into only once. */
class Hash {
  #a = 0x41c6ce57;
  #b = 0x9e3779b1 | 0;

  result(): number {
    return (this.#a >>> 0) * 0x200000 + (this.#b >>> 11);
  }

  number(value: number): void {
    const high = Math.floor(value / 0x100000000);
    this.#mix(value | 0);
    this.#mix(high | 0);
  }

  value(value: unknown): void {
    if (typeof value === 'number') this.number(Number.isFinite(value) ? value : 1e15);
    else if (typeof value === 'bigint') this.number(Number(value));
    else if (typeof value === 'string') this.number(hashOfText(value));
    else if (typeof value === 'object' && value !== null) this.number(hashOfObject(value));
    else this.#mix(value === null ? 3 : value === true ? 5 : value === false ? 7 : 11);
  }

  #mix(value: number): void {
    this.#a = Math.imul(this.#a ^ value, 0x85ebca6b);
    this.#a ^= this.#a >>> 15;
    this.#b = Math.imul(this.#b ^ value, 0xc2b2ae35);
    this.#b ^= this.#b >>> 13;
  }
}

function hashOfObject(value: object): number {
  let known = hashes.get(value);
  if (known !== undefined) return known;
  const hash = new Hash();
  for (const name in value) {
    if (leftOut.has(name)) continue;
    hash.number(hashOfText(name));
    hash.value((value as Readonly<Record<string, unknown>>)[name]);
  }
  known = hash.result();
  hashes.set(value, known);
  return known;
}

function hashOfText(text: string): number {
  let known = texts.get(text);
  if (known !== undefined) return known;
  const hash = new Hash();
  for (let index = 0; index < text.length; index += 1) hash.number(text.charCodeAt(index));
  known = hash.result();
  texts.set(text, known);
  return known;
}
