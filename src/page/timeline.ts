// The geometry of the timeline: which term lies where, in which lane, and where nobody led. Pure; a drawing of it is in
// timeline-view.ts.
import type { TermOnWire } from '../contract.ts';
import { isPlanned } from './words.ts';

/** From `left` to `right` in shares of the width, 0 to 1. */
export interface Block {
  readonly left: number;
  readonly right: number;
  readonly lane: number;
  readonly term: TermOnWire;
  /** True for the term that is not over. */
  readonly current: boolean;
}

export interface Gap {
  readonly left: number;
  readonly right: number;
  /** At most: it may have begun later, where the end before it is not recorded. */
  readonly durationMs: number;
  readonly exact: boolean;
}

/** The end of a term, where it lies in view. */
export interface Mark {
  readonly at: number;
  readonly lane: number;
  readonly planned: boolean;
}

export interface Timeline {
  /** The ids of the leaders, the one that led last on top. */
  readonly lanes: readonly string[];
  readonly blocks: readonly Block[];
  readonly gaps: readonly Gap[];
  readonly marks: readonly Mark[];
  readonly ticks: readonly { readonly at: number; readonly wallMs: number }[];
  readonly fromMs: number;
  readonly toMs: number;
}

/** More leaders than this share the last lane. */
export const lanesAtMost = 6;
/** A gap shorter than this is how every hand-over goes, and is not drawn. */
const gapFromMs = 50;

interface Span {
  readonly term: TermOnWire;
  readonly fromMs: number;
  readonly toMs: number;
  readonly current: boolean;
}

/** Terms with a known beginning, oldest first; each ends at the latest where the next begins. */
function spansOf(terms: readonly TermOnWire[], nowMs: number): readonly Span[] {
  const known = terms
    .filter(({ from }) => from !== null && !Number.isNaN(Date.parse(from)))
    .toSorted((a, b) => (BigInt(a.fencingToken) < BigInt(b.fencingToken) ? -1 : 1));
  return known.map((term, index) => {
    const next = known[index + 1]?.from;
    const fromMs = Date.parse(term.from ?? '');
    const bound = next === undefined || next === null ? nowMs : Date.parse(next);
    // Of an end that lies between two moments the earlier one: what comes after may be dead time.
    const end = term.toEarliest ?? term.to;
    const ended = end === null ? bound : Math.min(Date.parse(end), bound);
    const current = term.to === null && next === undefined;
    return { term, fromMs, toMs: Math.max(fromMs, ended), current };
  });
}

/** When nobody led before a term: as its leader measured it, at most; else what lies between the records. */
function gapBefore(
  { term, fromMs: toMs }: Span,
  before: Span | undefined,
): (Pick<Gap, 'exact'> & { readonly fromMs: number; readonly toMs: number }) | null {
  if (before === undefined) return null;
  const measured = term.leaderlessAtMostMs;
  const fromMs = measured === null ? before.toMs : toMs - measured;
  const exact = measured === null || term.leaderlessMs !== null;
  return toMs - fromMs < gapFromMs ? null : { fromMs, toMs, exact };
}

/** The part of a span that lies in the window, in shares of it; null where none does. */
function clipped(
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
  window: { readonly fromMs: number; readonly toMs: number },
): { readonly left: number; readonly right: number } | null {
  if (toMs < window.fromMs || fromMs > window.toMs) return null;
  const width = window.toMs - window.fromMs;
  const share = (ms: number): number => Math.min(1, Math.max(0, (ms - window.fromMs) / width));
  return { left: share(fromMs), right: share(toMs) };
}

const stepsMs = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400]
  .map((seconds) => seconds * 1000)
  .concat([2, 7, 14, 30, 90, 365].map((days) => days * 86_400_000));
function ticksOf(fromMs: number, toMs: number, atMost: number): Timeline['ticks'] {
  const width = toMs - fromMs;
  const step = stepsMs.find((each) => width / each <= atMost) ?? width;
  const first = Math.ceil(fromMs / step) * step;
  const many = Math.max(0, Math.floor((toMs - first) / step) + 1);
  return Array.from({ length: many }, (_, index) => first + index * step).map((wallMs) => ({
    wallMs,
    at: (wallMs - fromMs) / width,
  }));
}

/** The newest ends of two kinds, each as the term that follows it and the one that ended; null where none is on record. */
export function lastFailovers(
  terms: readonly TermOnWire[],
): Readonly<
  Record<'planned' | 'unplanned', { readonly term: TermOnWire; readonly before: TermOnWire } | null>
> {
  const changes = terms.flatMap((term, index) => {
    const before = terms[index + 1];
    return before === undefined ? [] : [{ term, before }];
  });
  const lastOf = (planned: boolean) =>
    changes.find(({ before }) => isPlanned(before.cause ?? 'unknown') === planned) ?? null;
  return { planned: lastOf(true), unplanned: lastOf(false) };
}

/** The shortest of these that shows the last few changes, so that neither a year nor a second hides them. */
const windowsMs = [20, 60, 180, 600, 1800, 3600, 10_800, 43_200, 86_400, 259_200, 604_800].map(
  (seconds) => seconds * 1000,
);
const changesInView = 5;

/** How far back to look where nobody has chosen, in milliseconds. */
export function fittingWindowMs(terms: readonly TermOnWire[], nowMs: number): number {
  const begun = terms
    .map(({ from }) => (from === null ? NaN : Date.parse(from)))
    .filter((ms) => !Number.isNaN(ms))
    .sort((a, b) => b - a);
  const oldest = begun[Math.min(changesInView, begun.length) - 1] ?? nowMs;
  const wantedMs = (nowMs - oldest) * 1.05;
  return windowsMs.find((each) => each >= wantedMs) ?? wantedMs;
}

/** The last `windowMs` before `nowMs`, with no more than `ticksAtMost` times written below. */
export function timelineOf(
  terms: readonly TermOnWire[],
  nowMs: number,
  windowMs: number,
  ticksAtMost = 6,
): Timeline {
  const window = { fromMs: nowMs - windowMs, toMs: nowMs };
  const spans = spansOf(terms, nowMs);
  const inView = spans.filter((span) => clipped(span, window) !== null);
  const leaders = [...new Set(inView.toReversed().map(({ term }) => term.leader))];
  const lanes = leaders.slice(0, lanesAtMost);
  const laneOf = (leader: string): number =>
    Math.min(Math.max(0, leaders.indexOf(leader)), lanes.length - 1);
  const blocks = inView.flatMap((span): Block[] => {
    const place = clipped(span, window);
    const { term, current } = span;
    return place === null ? [] : [{ ...place, term, current, lane: laneOf(term.leader) }];
  });
  const gaps = spans.flatMap((span, index): Gap[] => {
    const gap = gapBefore(span, spans[index - 1]);
    const place = gap === null ? null : clipped(gap, window);
    if (gap === null || place === null) return [];
    return [{ ...place, durationMs: gap.toMs - gap.fromMs, exact: gap.exact }];
  });
  const last = spans.at(-1);
  const open =
    last !== undefined && !last.current
      ? clipped({ ...last, fromMs: last.toMs, toMs: nowMs }, window)
      : null;
  if (last !== undefined && open !== null && nowMs - last.toMs >= gapFromMs) {
    gaps.push({ ...open, durationMs: nowMs - last.toMs, exact: true });
  }
  const marks = blocks
    .filter(({ current, right }) => !current && right < 1)
    .map(({ right, lane, term }) => ({
      at: right,
      lane,
      planned: isPlanned(term.cause ?? 'unknown'),
    }));
  return {
    lanes,
    blocks,
    gaps,
    marks,
    ticks: ticksOf(window.fromMs, window.toMs, ticksAtMost),
    ...window,
  };
}
