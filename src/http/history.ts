// `GET /history`: the terms remembered, newest first. A leader that vanished could not record its end: it lies between its
// last sign of life and the beginning of the next term, and is marked as such.
import type { AuditEntry, HistoryAnswer, TermOnWire, VerbTrace } from '../contract.ts';
import type { ElectionName, FencingToken, Millis, TermRecord } from '../core/model.ts';
import { expiryLagMs } from '../core/queue.ts';
import type { Report } from '../core/report.ts';
import { momentOf, type Clocks } from './answers.ts';
import type { Inputs } from './inputs.ts';

interface Bounds {
  readonly leastMs: number | null;
  readonly mostMs: number | null;
}

/** What lies between an end that is recorded and the beginning after it; null where one of them is not, or a clock is wrong. */
function between(before: TermRecord | undefined, { from }: TermRecord): number | null {
  if (before === undefined || before.to === null || from === null) return null;
  const ms = Date.parse(from) - Date.parse(before.to);
  return ms >= 0 ? ms : null;
}

/**
 * How long nobody led before a term: as its leader measured it where the end before was recorded; as the records say where
 * that came back later and said so; else from its last sign of life.
 */
function leaderlessBefore(term: TermRecord, before: TermRecord | undefined): Bounds {
  const { leaderlessMs, leaderlessAtMostMs, endBefore } = term;
  const exactly = (ms: number | null): Bounds => ({ leastMs: ms, mostMs: ms });
  const recordedMs = between(before, term);
  if (leaderlessMs === null) return exactly(recordedMs);
  if (leaderlessMs === leaderlessAtMostMs) return exactly(leaderlessMs);
  const ttlMs = before?.ttlMs ?? null;
  // An etcd that stands still keeps leases longer, and what is seen of them is no sign of life then.
  const seenMs = (leaderlessAtMostMs ?? Infinity) + (ttlMs ?? 0);
  const isWithin = recordedMs !== null && recordedMs <= seenMs;
  if (isWithin) return exactly(leaderlessAtMostMs === null ? leaderlessMs : recordedMs);
  // Of a version that did not say when it last heard.
  const unheardMs = ttlMs === null ? null : leaderlessMs + ttlMs + expiryLagMs;
  // Whoever's key was taken away may have led on until it knew.
  const leastMs = endBefore === 'taken_away' ? 0 : leaderlessMs;
  const mostMs = leaderlessAtMostMs ?? unheardMs;
  // Longer still: etcd stood still for long, or a term between the two was never recorded.
  return { leastMs, mostMs: mostMs === null ? null : Math.max(mostMs, recordedMs ?? 0) };
}

/** The earliest moment at which a term can have ended that did not say when: not before it began. */
function earliestEnd(
  { from }: TermRecord,
  successor: TermRecord,
  { mostMs }: Bounds,
): string | null {
  if (successor.from === null || mostMs === null) return from;
  const earliest = Date.parse(successor.from) - mostMs;
  if (Number.isNaN(earliest)) return from;
  const isBefore = from !== null && earliest <= Date.parse(from);
  return isBefore ? from : new Date(earliest).toISOString();
}

type End = Pick<TermOnWire, 'to' | 'toEarliest' | 'cause' | 'endDerived'>;

/** The end of the last term, as this instance saw it, where nobody leads. */
type SeenEnd = End & { readonly token: FencingToken };

/** As recorded; else as it follows from the next term, or was seen. */
function endOf(term: TermRecord, successor: TermRecord | undefined, seen: SeenEnd | null): End {
  const { to, cause } = term;
  if (to === null && successor !== undefined) {
    return {
      to: successor.from,
      toEarliest: earliestEnd(term, successor, leaderlessBefore(successor, term)),
      // Whoever is asked to leave says so; nobody was left to say anything here, and the successor judged.
      cause: cause ?? successor.endBefore ?? 'lease_expired',
      endDerived: true,
    };
  }
  if (to === null && seen?.token === term.token) return seen;
  return { to, toEarliest: to, cause, endDerived: false };
}

function seenEndOf({ lastEnd }: Report, clocks: Clocks): SeenEnd | null {
  if (lastEnd === null) return null;
  const { token, goneAt, aliveAt, cause } = lastEnd;
  const [to, toEarliest] = [momentOf(goneAt, clocks), momentOf(aliveAt, clocks)];
  return { token, to, toEarliest, cause, endDerived: true };
}

function onWire(
  term: TermRecord,
  { to, toEarliest, cause, endDerived }: End,
  { leastMs, mostMs }: Bounds,
  leads: boolean | null,
): TermOnWire {
  const { token, leader, address, from, reason, actor } = term;
  const rounded = (ms: number | null): number | null => (ms === null ? null : Math.round(ms));
  return {
    fencingToken: token.toString(),
    leader,
    address,
    from,
    to,
    toEarliest,
    cause,
    reason,
    actor,
    leaderlessMs: leastMs === mostMs ? rounded(leastMs) : null,
    leaderlessAtLeastMs: rounded(leastMs),
    leaderlessAtMostMs: rounded(mostMs),
    endDerived,
    leads,
  };
}

/**
 * An answer of etcd is given again for so long, counted from when it was asked for: anybody may ask on the public listener,
 * and a flood of questions costs etcd one read a second for each election.
 */
const sharedForMs = 1000;

interface Read<Value> {
  readonly askedAt: Millis;
  /** Who led then. The history grows where that changes, and an answer from before is not given again. */
  readonly leader: FencingToken | null;
  readonly value: Promise<Value>;
  pending: boolean;
}

/** `read` for many: who asks while an answer is on its way gets that one, and who asks a moment later as well. */
export function sharedRead<Value>(
  read: (election: ElectionName) => Promise<Value>,
  { elections, clock }: Pick<Inputs, 'elections' | 'clock'>,
): (election: ElectionName) => Promise<Value> {
  const reads = new Map<ElectionName, Read<Value>>();
  return (election) => {
    const leader = elections.report(election).leader?.token ?? null;
    const last = reads.get(election);
    const isNew =
      last?.leader === leader && (last.pending || clock.now() - last.askedAt < sharedForMs);
    if (last !== undefined && isNew) return last.value;
    const next: Read<Value> = {
      askedAt: clock.now(),
      leader,
      value: read(election),
      pending: true,
    };
    reads.set(election, next);
    // A failure is shared like an answer: etcd is not asked more often when it is unwell.
    const settled = (): void => void (next.pending = false);
    next.value.then(settled, settled);
    return next.value;
  };
}

/** What everybody may know of the verbs that were carried out. */
const tracesOf = (entries: readonly AuditEntry[]): readonly VerbTrace[] =>
  entries
    .filter(({ outcome }) => outcome === 'done' || outcome === 'accepted')
    .map(({ at, verb, by, via, reason, detail }) => ({ at, verb, by, via, reason, detail }));

/** Rejects with a class of errors.ts where etcd cannot say. */
export async function historyAnswer(
  election: ElectionName,
  inputs: Inputs,
): Promise<HistoryAnswer> {
  const { elections, history, verbs } = inputs;
  const [terms, entries] = await Promise.all([history(election), verbs(election)]);
  const report = elections.report(election);
  const seen = seenEndOf(report, inputs);
  const leads = (token: FencingToken, index: number): boolean | null =>
    index === 0 && report.role === 'unknown' ? null : token === report.leader?.token;
  return {
    election,
    terms: terms.map((term, index) => {
      const [successor, before] = [terms[index - 1], terms[index + 1]];
      const end = endOf(term, successor, seen);
      return onWire(term, end, leaderlessBefore(term, before), leads(term.token, index));
    }),
    verbs: tracesOf(entries),
  };
}
