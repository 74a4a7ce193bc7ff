// Writes that go through the sidecars' proxies, as lines of text from the apps to the run; and the judgement of where they
// arrived. A write tells when it was sent, and nobody sends it on before that; so only what must have been wrong is a breach:
//
// misled            a write reached an app in one term, and was sent after somebody was known to lead in a newer one: by an
//                   answer of a sidecar that claimed it, or by another write that had reached an app in it
// beside            a write reached an app in a term that the sidecar of another one had
// twice             a write that may not be repeated reached an app more than once
import type { Answer } from './answer-line.ts';
import type { Law } from './judge.ts';
import { endedBehindTheirBack } from './judge.ts';
import type { FaultRecord } from './scene.ts';

/** What became of a write, as its client saw it. Times are in ms of CLOCK_MONOTONIC, the same on all hosts of a run. */
export interface Write {
  /** Its name, with the protocol of the proxy and the client's host: `http-a-17`. */
  readonly write: string;
  readonly sentAt: number;
  readonly endedAt: number;
  /** The code of the answer, or of the error. */
  readonly result: string;
}

/** A write that has reached an app. */
export interface Arrival {
  readonly write: string;
  /** By its client. */
  readonly sentAt: number;
  /** POST may not be repeated, PUT may. */
  readonly method: string;
  /** Whose app it reached. */
  readonly app: string;
  readonly at: number;
  /** For which the proxy sent it, by the fencing token; null where it did not say. */
  readonly term: bigint | null;
}

/** All of them, of a run. */
export interface Traffic {
  readonly writes: readonly Write[];
  readonly arrivals: readonly Arrival[];
}

/** All breaches of one rule at one app in one term. */
export interface Misdelivery {
  readonly rule: 'misled' | 'beside' | 'twice';
  /** The fault that was the last to begin before it; empty where there was none. */
  readonly during: string;
  readonly count: number;
  /** The first of them, and what shows that it is wrong. */
  readonly arrival: Dated;
  readonly against: string;
}

/** The judgement. */
export interface Deliveries {
  readonly misdeliveries: readonly Misdelivery[];
  /** Where the successor does not wait: misled to whoever an administrator or etcd itself had robbed of its term. */
  readonly excused: readonly Misdelivery[];
  readonly writes: number;
  /** How many ended how: `200`, `503`, `ECONNREFUSED`. */
  readonly results: ReadonlyMap<string, number>;
  readonly arrivals: number;
  readonly terms: number;
  /** From the sending of a write to its end, at worst. */
  readonly longestMs: number;
}

/** Where a client sends a write, so that the app knows it too. */
export const pathOf = ({ write, sentAt }: Pick<Write, 'write' | 'sentAt'>): string =>
  `/${write}/${sentAt.toFixed(3)}`;

/** A line without its end. */
export const formatWrite = ({ write, sentAt, endedAt, result }: Write): string =>
  `write ${write} ${sentAt.toFixed(3)} ${endedAt.toFixed(3)} ${result}`;

/** A line without its end, for what came with this path and this fencing token. */
export const formatArrival = (
  path: string,
  { method, at, token }: { readonly method: string; readonly at: number; readonly token: string },
): string => `arrival ${path.split('/').slice(1, 3).join(' ')} ${method} ${at.toFixed(3)} ${token}`;

/** Takes up what the app of this name wrote. @throws Error when the line is none of an app. */
export function takeLine(
  app: string,
  line: string,
  traffic: { writes: Write[]; arrivals: Arrival[] },
): void {
  const [kind, write = '', sentAt, ...more] = line.split(' ');
  if (kind === 'write' && more.length === 2) {
    const [endedAt, result = ''] = more;
    traffic.writes.push({ write, sentAt: Number(sentAt), endedAt: Number(endedAt), result });
  } else if (kind === 'arrival' && more.length === 3) {
    const [method = '', at, token = ''] = more;
    const term = token === '-' ? null : BigInt(token);
    traffic.arrivals.push({ write, sentAt: Number(sentAt), method, app, at: Number(at), term });
  } else throw new Error(`the app of ${app} wrote: ${line}`);
}

/** Where an arrival does not say in which term, it has the newest that the sidecar beside the app may have had. */
interface Dated extends Arrival {
  readonly term: bigint;
}

/** The terms of each sidecar, and when it had certainly not begun yet. */
function termsOf(
  answers: readonly Answer[],
  arrivals: readonly Arrival[],
): ReadonlyMap<bigint, { readonly by: string; readonly notBefore: number }> {
  const terms = new Map<bigint, { readonly by: string; readonly notBefore: number }>();
  const otherwise = new Map<string, number>();
  for (const { from, claims, sentAt } of answers) {
    if (claims !== null && !terms.has(claims)) {
      terms.set(claims, { by: from, notBefore: otherwise.get(from) ?? 0 });
    }
    otherwise.set(from, Math.max(sentAt, otherwise.get(from) ?? 0));
  }
  // A term may be over before its sidecar was asked.
  for (const { app, term } of arrivals) {
    if (term !== null && !terms.has(term)) terms.set(term, { by: app, notBefore: 0 });
  }
  return terms;
}

/** Bytes of a connection do not say for which term they are sent; requests do. */
const isByTcp = ({ write }: Pick<Arrival, 'write'>): boolean => write.startsWith('tcp-');

function dated(arrival: Arrival, terms: ReturnType<typeof termsOf>): Dated {
  const { app, at } = arrival;
  const may = [...terms].filter(([, { by, notBefore }]) => by === app && notBefore <= at);
  const newest = isByTcp(arrival)
    ? may.reduce((most, [term]) => (term > most ? term : most), 0n)
    : 0n;
  return { ...arrival, term: arrival.term ?? newest };
}

/** That a term had begun by then. */
interface Sign {
  readonly term: bigint;
  readonly at: number;
  readonly by: string;
}

/** The first sign of each term, in the order of time. */
function firstSigns(answers: readonly Answer[], arrivals: readonly Arrival[]): readonly Sign[] {
  const claimed = answers.map(({ from, claims, receivedAt }) => {
    return { term: claims, at: receivedAt, by: `${from} claimed` };
  });
  const reached = arrivals.map(({ app, term, at }) => {
    return { term, at, by: `the app of ${app} was reached in` };
  });
  const first = new Map<bigint, Sign>();
  for (const { term, ...sign } of [...claimed, ...reached].sort(
    (one, other) => one.at - other.at,
  )) {
    if (term !== null && !first.has(term)) first.set(term, { term, ...sign });
  }
  return [...first.values()];
}

/** Collects breaches; those of one rule at one app in one term are one. */
class Misdeliveries {
  readonly #faults: readonly FaultRecord[];
  readonly #found = new Map<string, Misdelivery>();

  constructor(faults: readonly FaultRecord[]) {
    this.#faults = faults;
  }

  add(rule: Misdelivery['rule'], arrival: Dated, against: string): void {
    const key = `${rule} ${arrival.app} ${arrival.term}`;
    const during = this.#faults.findLast(({ startedAt }) => startedAt <= arrival.at)?.kind ?? '';
    const known = this.#found.get(key) ?? { rule, during, count: 0, arrival, against };
    this.#found.set(key, { ...known, count: known.count + 1 });
  }

  all(): readonly Misdelivery[] {
    return [...this.#found.values()];
  }
}

/** One breach in words. */
export function describeMisdelivery({
  rule,
  during,
  count,
  arrival,
  against,
}: Misdelivery): string {
  const { write, app, term, method, at, sentAt } = arrival;
  const times = count === 1 ? '' : `, ${count} writes`;
  const tookMs = (at - sentAt).toFixed(1);
  return `${rule}, during ${during || 'no fault'}${times}: ${method} ${write} reached the app of ${app} in ${term}, ${tookMs} ms after it was sent, but ${against}`;
}

/** Judges traffic by what the sidecars answered; faults in the order of their beginning. */
export function judgeTraffic(
  { writes, arrivals }: Traffic,
  answers: readonly Answer[],
  faults: readonly FaultRecord[],
  { watchLatencyMs }: Pick<Law, 'watchLatencyMs'>,
): Deliveries {
  const signs = firstSigns(answers, arrivals);
  const terms = termsOf(answers, arrivals);
  const robbed = watchLatencyMs === null ? new Set<bigint>() : endedBehindTheirBack(faults);
  const [found, excused] = [new Misdeliveries(faults), new Misdeliveries(faults)];
  const seen = new Map<string, Dated>();
  for (const arrival of arrivals.map((one) => dated(one, terms))) {
    const { write, term, sentAt, app, at, method } = arrival;
    const newer = signs.find((sign) => sign.at < sentAt && sign.term > term);
    if (newer !== undefined) {
      const against = `${newer.by} ${newer.term} ${(sentAt - newer.at).toFixed(1)} ms before it was sent`;
      (robbed.has(term) ? excused : found).add('misled', arrival, against);
    }
    const leader = terms.get(term)?.by ?? app;
    if (leader !== app) found.add('beside', arrival, `${leader} had that term`);
    const before = seen.get(write);
    if (before !== undefined && method !== 'PUT') {
      const against = `it had reached the app of ${before.app} in ${before.term} ${(at - before.at).toFixed(1)} ms before`;
      found.add('twice', arrival, against);
    }
    seen.set(write, arrival);
  }
  const results = new Map<string, number>();
  for (const { result } of writes) results.set(result, (results.get(result) ?? 0) + 1);
  return {
    ...{ misdeliveries: found.all(), excused: excused.all(), results },
    ...{ writes: writes.length, arrivals: seen.size },
    terms: new Set([...seen.values()].map(({ term }) => term)).size,
    longestMs: writes.reduce((most, { sentAt, endedAt }) => Math.max(most, endedAt - sentAt), 0),
  };
}
