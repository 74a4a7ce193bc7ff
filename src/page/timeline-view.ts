// Draws the timeline, and the same terms as a table for those who read or hear rather than see.
import type { TermOnWire } from '../contract.ts';
import type { PageElement, PageField } from './browser.ts';
import { draw, make, part, setData, setHidden, setText } from './dom.ts';
import type { Details, Knowledge } from './knowledge.ts';
import {
  fittingWindowMs,
  lanesAtMost,
  lastFailovers,
  timelineOf,
  type Timeline,
} from './timeline.ts';
import {
  atMostWords,
  count,
  durationWords,
  endOf,
  endSentence,
  endWords,
  gapWords,
  isPlanned,
  timeWords,
} from './words.ts';

const laneHeight = 26;
const axisHeight = 22;
const labelWidth = 96;
/** A time below the axis needs so much room. */
const tickWidth = 84;
/** A term or a gap that is shorter than this on the screen is still to be seen. */
const leastWidth = 2;
/** Rows of the table before somebody asks for all. */
const rowsAtFirst = 8;

const shortened = (text: string): string => (text.length > 13 ? `${text.slice(0, 12)}…` : text);

function axis({ ticks, toMs, fromMs }: Timeline, x: (share: number) => number, height: number) {
  const long = toMs - fromMs > 2 * 86_400_000;
  return ticks.map(({ at, wallMs }) => {
    const words = timeWords(wallMs, toMs);
    // Among days the time of day is noise, within a day the date is.
    const text = long ? words.slice(5, 10) : words.slice(-8).replace(/:00$/, '');
    const place = x(at).toFixed(1);
    const fits = x(1) - x(at) > tickWidth / 3;
    return draw(
      'g',
      { class: 'tick' },
      draw('line', { x1: place, x2: place, y1: '0', y2: String(height - axisHeight) }),
      fits
        ? draw('text', { x: place, y: String(height - 6), 'text-anchor': 'middle' }, text)
        : null,
    );
  });
}

const titled = (element: PageElement, text: string): PageElement => {
  element.append(draw('title', {}, text));
  return element;
};

function picture(timeline: Timeline, width: number): PageElement {
  const { lanes, blocks, gaps, marks } = timeline;
  const height = Math.max(1, lanes.length) * laneHeight + axisHeight;
  const inner = width - labelWidth - 12;
  const x = (share: number): number => labelWidth + share * inner;
  const span = (left: number, right: number) => ({
    x: x(left).toFixed(1),
    width: Math.max(leastWidth, (right - left) * inner).toFixed(1),
  });
  const middle = (lane: number): number => lane * laneHeight + laneHeight / 2;
  const labels = lanes.map((id, lane) => {
    const more =
      lane === lanesAtMost - 1 && blocks.some(({ term }) => !lanes.includes(term.leader));
    const text = more ? 'and others' : shortened(id);
    return draw('text', { class: 'lane', x: '0', y: String(middle(lane) + 4) }, text);
  });
  const gapRects = gaps.map(({ left, right, durationMs, exact }) =>
    titled(
      draw('rect', {
        class: 'gap',
        y: '0',
        height: String(height - axisHeight),
        ...span(left, right),
      }),
      `nobody led for ${exact ? durationWords(durationMs) : atMostWords(durationMs)}`,
    ),
  );
  const terms = blocks.map(({ left, right, lane, term, current }) =>
    titled(
      draw('rect', {
        class: current ? 'term current' : 'term',
        y: String(middle(lane) - 8),
        height: '16',
        rx: '3',
        ...span(left, right),
      }),
      `${term.leader}, term ${term.fencingToken}${current ? ', leads now' : `: ${endOf(term.cause)}`}`,
    ),
  );
  const ends = marks.map(({ at, lane, planned }) => {
    const [cx, cy] = [x(at), middle(lane)];
    // Not by colour alone: a ring for what was meant, a cross for what was not.
    if (planned)
      return draw('circle', { class: 'planned', cx: cx.toFixed(1), cy: String(cy), r: '4' });
    const d = `M${cx - 5} ${cy - 5}l10 10m0 -10l-10 10`;
    return draw('path', { class: 'unplanned', d });
  });
  const said = `Timeline of ${count(blocks.length, 'term')}, ${count(gaps.length, 'gap')}; the table below has the same`;
  const attributes = { role: 'img', 'aria-label': said, viewBox: `0 0 ${width} ${height}` };
  const size = { width: String(width), height: String(height) };
  const children = [...axis(timeline, x, height), ...gapRects, ...terms, ...ends, ...labels];
  return draw('svg', { ...attributes, ...size }, ...children);
}

/** An end that nobody recorded lies between two moments: no more is said than that. */
function ledFor({ from, to, toEarliest }: TermOnWire, wallNow: number): string {
  if (from === null) return '';
  const ledMs = (end: number): number => end - Date.parse(from);
  if (to === null) return durationWords(ledMs(wallNow));
  const [least, most] = [ledMs(Date.parse(toEarliest ?? from)), ledMs(Date.parse(to))];
  if (least === most) return durationWords(most);
  return least > 0 ? `≥ ${durationWords(least)}` : atMostWords(most);
}

/** `Last planned change: orders-1 handed over, 12 ms without a leader.` and the same of the last that nobody had meant. */
function failoverSentences(terms: readonly TermOnWire[], wallNow: number): string {
  return Object.entries(lastFailovers(terms))
    .flatMap(([kind, change]) => {
      if (change === null) return [];
      const { term, before } = change;
      const at = term.from === null ? '' : ` at ${timeWords(Date.parse(term.from), wallNow)}`;
      const gap = gapWords(term) ?? 'for a time not known';
      return [`Last ${kind} change${at}: ${endSentence(before)}; nobody led ${gap}.`];
    })
    .join(' ');
}

function termRow(term: TermOnWire, newest: boolean, wallNow: number): PageElement {
  const { leader, fencingToken, from, to, cause } = term;
  const leads = newest && to === null;
  const cell = (label: string, ...content: (PageElement | string)[]): PageElement =>
    make('span', { role: 'cell', 'data-label': label }, ...content);
  const ended = leads ? 'leads now' : endWords(term);
  const end = make('span', {}, ended);
  setData(end, 'tone', leads ? 'ok' : isPlanned(cause ?? 'unknown') ? null : 'bad');
  return make(
    'div',
    { class: 'row', role: 'row' },
    cell('Leader, term', make('strong', {}, leader), make('small', {}, fencingToken)),
    cell('From', from === null ? 'not known' : timeWords(Date.parse(from), wallNow)),
    cell('Led for', ledFor(term, wallNow)),
    cell('Nobody before', gapWords(term) ?? 'not known'),
    cell('How it ended', end),
  );
}

let allRows = false;

/** Draws anew whenever it is called; once in a second, or where the history is another, is enough. */
export function drawTerms({ history }: Details, knowledge: Knowledge): void {
  const terms = history?.value.terms ?? [];
  const wallNow = knowledge.wallNow();
  const chosen = Number((part('window') as PageField).value);
  const windowMs = chosen === 0 ? fittingWindowMs(terms, wallNow) : chosen;
  const place = part('timeline');
  const width = Math.max(240, place.clientWidth);
  const ticks = Math.max(1, Math.floor((width - labelWidth) / tickWidth));
  const timeline = timelineOf(terms, wallNow, windowMs, ticks);
  setHidden(place, terms.length === 0);
  setHidden(part('terms-nothing'), terms.length > 0);
  place.replaceChildren(picture(timeline, width));
  setText(part('terms-last'), failoverSentences(terms, wallNow));
  const shown = allRows ? terms : terms.slice(0, rowsAtFirst);
  part('terms-rows').replaceChildren(
    ...shown.map((term, index) => termRow(term, index === 0, wallNow)),
  );
  setHidden(part('terms-more'), allRows || terms.length <= rowsAtFirst);
  setText(part('terms-more'), `Show all ${terms.length} terms`);
}

/** Calls `changed` when somebody wants to see more, or another stretch of time. */
export function listenToTerms(changed: () => void): void {
  part('window').addEventListener('change', changed);
  part('terms-more').addEventListener('click', () => {
    allRows = true;
    changed();
  });
}

/** Another election is looked at. */
export function forgetTerms(): void {
  allRows = false;
}
