// Judges what the probes have seen. All times are of the one monotonic clock, and an answer tells of a moment between
// its question's sending and its own receipt; so only what must have been wrong is called a violation:
//
// stale claim       a claim to a term was asked for after a claim to a newer term had been received
// stale to others   likewise, after somebody had named the leader of a newer term
// promise broken    a newer term was claimed before an older one's `validForMs`, from its question on, was over
// valid too long    `validForMs` was longer than a lease can be relied upon
// backwards         a sidecar named an older term after a newer one
// named too long    somebody was claimed or named more than a TTL after the last etcd that may be believed was gone
// late              nobody led for longer than a TTL, the takeover delay and a bound
import type { Answer } from './answer-line.ts';
import type { FaultRecord } from './scene.ts';

/** What is forbidden. */
export type Rule =
  | 'stale claim'
  | 'stale to others'
  | 'promise broken'
  | 'valid too long'
  | 'backwards'
  | 'named too long'
  | 'late';

/** What the judge must know of the run. */
export interface Law {
  readonly ttlMs: number;
  /** The most that `validForMs` may be: the TTL, less the margin. */
  readonly mostValidForMs: number;
  /** What a successor waits after a crash; whether it also waits for what was taken away is another matter. */
  readonly takeoverDelayMs: number;
  /** How much later than the TTL (and the takeover delay) a leader may come. */
  readonly availabilityBoundMs: number;
  /**
   * For how long a leader may go on claiming whose key an administrator or etcd itself has taken away: one watch latency,
   * where the successor does not wait; null where it does, and nothing is excused.
   */
  readonly watchLatencyMs: number | null;
}

/** All breaches of one rule by one sidecar in one term. */
export interface Violation {
  readonly rule: Rule;
  /** The fault that was the last to begin before it; empty where there was none. */
  readonly during: string;
  readonly count: number;
  /** By how much at worst, in ms. */
  readonly worstMs: number;
  /** The worst of them; null where no answer is at fault. */
  readonly answer: Answer | null;
  /** What shows that it is wrong. */
  readonly against: Answer | null;
}

/** Two successive terms of which it cannot be excluded that both were claimed at one instant. */
export interface Overlap {
  readonly older: bigint;
  readonly newer: bigint;
  /** From the sending of the newer term's first question to the receipt of the older one's last answer. */
  readonly atMostMs: number;
}

/** A stretch in which no claim was received. */
export interface Gap {
  readonly from: number;
  readonly to: number;
}

/** The judgement. */
export interface Verdict {
  readonly violations: readonly Violation[];
  /**
   * Where the successor does not wait: what was told of terms that an administrator or etcd itself ended early. And names
   * of leaders, not claims, that a restored snapshot had brought back.
   */
  readonly excused: readonly Violation[];
  readonly overlaps: readonly Overlap[];
  readonly answers: number;
  readonly claims: number;
  readonly terms: number;
  /** For each fault, in order: the longest time without a leader around it. */
  readonly leaderlessMs: readonly number[];
}

/** Judges answers (in the order of their receipt) and faults (in the order of their beginning). */
export function judge(
  answers: readonly Answer[],
  faults: readonly FaultRecord[],
  law: Law,
): Verdict {
  const claims = answers.filter(({ claims }) => claims !== null);
  const gaps = gapsBetween(claims);
  const docket = new Docket(faults);
  const excused = new Docket(faults);
  judgeStaleness(claims, answers, { law, docket, excused, faults });
  judgePromises(claims, { law, docket, excused, faults });
  judgeBackwards(answers, { law, docket, excused, faults });
  for (const fault of faults) judgeNames(answers, fault, law, docket);
  const leaderlessMs = faults.map((fault) => {
    const longest = longestAround(gaps, fault);
    judgeLateness(fault, gaps, longest, law, docket);
    return longest.to - longest.from;
  });
  return {
    violations: docket.violations(),
    excused: excused.violations(),
    overlaps: overlapsOf(claims),
    answers: answers.length,
    claims: claims.length,
    terms: new Set(claims.map((claim) => claim.claims)).size,
    leaderlessMs,
  };
}

/** Collects breaches; those of one rule by one sidecar in one term are one violation. */
class Docket {
  readonly #faults: readonly FaultRecord[];
  readonly #found = new Map<string, Violation>();

  constructor(faults: readonly FaultRecord[]) {
    this.#faults = faults;
  }

  add(
    rule: Rule,
    at: number,
    breach: { answer: Answer | null; against: Answer | null; worstMs: number },
  ): void {
    const { answer } = breach;
    const during = this.#faults.findLast(({ startedAt }) => startedAt <= at)?.kind ?? '';
    const term = answer?.claims ?? answer?.names ?? at;
    const key = `${rule} ${answer?.from ?? ''} ${term}`;
    const known = this.#found.get(key);
    const count = (known?.count ?? 0) + 1;
    const worse = known === undefined || breach.worstMs > known.worstMs;
    this.#found.set(key, worse ? { rule, during, count, ...breach } : { ...known, count });
  }

  violations(): readonly Violation[] {
    return [...this.#found.values()];
  }
}

/** The answers by which the newest term rose, in order: terms and times both increase. */
class News {
  readonly #rises: { readonly term: bigint; readonly answer: Answer }[] = [];

  take(term: bigint | null, answer: Answer): void {
    const newest = this.#rises.at(-1);
    if (term === null || (newest !== undefined && term <= newest.term)) return;
    this.#rises.push({ term, answer });
  }

  /** The first answer received that was about a newer term than this one. */
  firstNewerThan(term: bigint): Answer | null {
    let low = 0;
    let high = this.#rises.length;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.#rises[middle]!.term > term) high = middle;
      else low = middle + 1;
    }
    return this.#rises[low]?.answer ?? null;
  }
}

interface Court {
  readonly law: Law;
  readonly docket: Docket;
  readonly excused: Docket;
  readonly faults: readonly FaultRecord[];
}

/** The terms that were ended behind their leader's back, before their lease had run out. */
export const endedBehindTheirBack = (faults: readonly FaultRecord[]): ReadonlySet<bigint> =>
  new Set(faults.flatMap(({ administered, revokedByEtcd }) => [...administered, ...revokedByEtcd]));

function judgeStaleness(
  claims: readonly Answer[],
  answers: readonly Answer[],
  { law, docket, excused, faults }: Court,
): void {
  const claimed = new News();
  const named = new News();
  for (const claim of claims) claimed.take(claim.claims, claim);
  for (const answer of answers) named.take(answer.names, answer);
  const endedEarly = endedBehindTheirBack(faults);
  const excusedForMs = law.watchLatencyMs ?? 0;
  const check = (rule: Rule, claim: Answer, against: Answer | null): void => {
    if (against === null || against.receivedAt >= claim.sentAt) return;
    const worstMs = claim.sentAt - against.receivedAt;
    const isExcused = endedEarly.has(claim.claims!) && worstMs <= excusedForMs;
    const where = isExcused ? excused : docket;
    where.add(rule, claim.receivedAt, { answer: claim, against, worstMs });
  };
  for (const claim of claims) {
    const term = claim.claims!;
    check('stale claim', claim, claimed.firstNewerThan(term));
    check('stale to others', claim, named.firstNewerThan(term));
  }
}

function judgePromises(claims: readonly Answer[], { law, docket, excused, faults }: Court): void {
  const claimed = new News();
  for (const claim of claims) claimed.take(claim.claims, claim);
  const planned = new Set(faults.flatMap(({ plannedEnds }) => plannedEnds));
  const endedEarly = endedBehindTheirBack(faults);
  for (const claim of claims) {
    const tooLongMs = claim.validForMs - law.mostValidForMs;
    if (tooLongMs > 0) {
      const breach = { answer: claim, against: null, worstMs: tooLongMs };
      docket.add('valid too long', claim.receivedAt, breach);
    }
    if (planned.has(claim.claims!)) continue;
    const against = claimed.firstNewerThan(claim.claims!);
    if (against === null) continue;
    const worstMs = claim.sentAt + claim.validForMs - against.receivedAt;
    // A claim that was stale already is judged as that.
    if (worstMs <= 0 || claim.sentAt > against.receivedAt) continue;
    const isExcused = law.watchLatencyMs !== null && endedEarly.has(claim.claims!);
    const where = isExcused ? excused : docket;
    where.add('promise broken', against.receivedAt, { answer: claim, against, worstMs });
  }
}

function judgeBackwards(answers: readonly Answer[], { docket, excused, faults }: Court): void {
  const revived = faults.flatMap(({ revived }) => (revived === null ? [] : [revived]));
  const bySidecar = new Map<string, News>();
  for (const answer of answers) {
    const news = bySidecar.get(answer.from) ?? new News();
    bySidecar.set(answer.from, news);
    const term = answer.claims ?? answer.names;
    if (term === null) continue;
    const against = news.firstNewerThan(term);
    if (against !== null && against.receivedAt < answer.sentAt) {
      const worstMs = answer.sentAt - against.receivedAt;
      // Its new process takes the snapshot's queue for what it is, and leads nothing in it.
      const isExcused =
        answer.claims === null &&
        revived.some(({ from, to }) => answer.sentAt >= from && answer.receivedAt <= to);
      const where = isExcused ? excused : docket;
      where.add('backwards', answer.receivedAt, { answer, against, worstMs });
    }
    news.take(term, answer);
  }
}

/** Past one TTL without etcd nobody knows who leads. */
function judgeNames(
  answers: readonly Answer[],
  { withoutEtcd }: FaultRecord,
  { ttlMs }: Law,
  docket: Docket,
): void {
  for (const { from, to } of withoutEtcd) {
    for (const answer of answers) {
      const worstMs = answer.sentAt - from - ttlMs;
      const names = answer.claims ?? answer.names;
      if (worstMs <= 0 || answer.receivedAt >= to || names === null) continue;
      docket.add('named too long', answer.receivedAt, { answer, against: null, worstMs });
    }
  }
}

/** What clients go through: the times between two claims that they receive. */
function gapsBetween(claims: readonly Answer[]): readonly Gap[] {
  return claims
    .slice(1)
    .map(({ receivedAt }, index) => ({ from: claims[index]!.receivedAt, to: receivedAt }));
}

const none: Gap = { from: 0, to: 0 };

function longestAround(gaps: readonly Gap[], { startedAt, settledAt }: FaultRecord): Gap {
  return gaps
    .filter(({ from, to }) => to > startedAt && from < settledAt)
    .reduce(
      (longest, gap) => (gap.to - gap.from > longest.to - longest.from ? gap : longest),
      none,
    );
}

function judgeLateness(
  fault: FaultRecord,
  gaps: readonly Gap[],
  longest: Gap,
  law: Law,
  docket: Docket,
): void {
  const allowedMs = law.ttlMs + law.takeoverDelayMs + law.availabilityBoundMs;
  const late = (lengthMs: number): void => {
    if (lengthMs <= allowedMs) return;
    const breach = { answer: null, against: null, worstMs: lengthMs - allowedMs };
    docket.add('late', fault.startedAt, breach);
  };
  if (fault.leaderDue === 'throughout') late(longest.to - longest.from);
  for (const { from, to } of gaps) {
    const begins = Math.max(from, fault.healedAt);
    if (from < fault.settledAt && to > begins && fault.leaderDue === 'after') late(to - begins);
  }
}

function overlapsOf(claims: readonly Answer[]): readonly Overlap[] {
  const windows = new Map<bigint, { firstSentAt: number; lastReceivedAt: number }>();
  for (const { claims: term, sentAt, receivedAt } of claims) {
    const known = windows.get(term!);
    windows.set(term!, {
      firstSentAt: Math.min(known?.firstSentAt ?? sentAt, sentAt),
      lastReceivedAt: Math.max(known?.lastReceivedAt ?? receivedAt, receivedAt),
    });
  }
  const inOrder = [...windows].sort(([one], [other]) => (one < other ? -1 : 1));
  return inOrder.slice(1).flatMap(([newer, { firstSentAt }], index) => {
    const [older, { lastReceivedAt }] = inOrder[index]!;
    const atMostMs = lastReceivedAt - firstSentAt;
    return atMostMs > 0 ? [{ older, newer, atMostMs }] : [];
  });
}
