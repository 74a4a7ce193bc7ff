// Lines of a table out of rows of text: columns as wide as their longest cell. Pure; what is shown holds no control
// characters, whatever a member calls itself.
import { withMoments } from './operator-times.ts';

/** What may stand out on a terminal. */
export type Emphasis = 'strong' | 'good' | 'bad' | 'dim';

/** Text with an emphasis, for a screen that may show it or not. */
export interface Span {
  readonly text: string;
  readonly emphasis?: Emphasis;
}

export type Cell = string | Span;
/** A line is a list of spans, so that it can be cut to a width before anything is coloured. */
export type Line = readonly Span[];

const codes: Readonly<Record<Emphasis, string>> = {
  strong: '\x1b[1m',
  good: '\x1b[32m',
  bad: '\x1b[31m',
  dim: '\x1b[2m',
};

/** Text from outside, with moments as everywhere: a control character in it could do anything to a terminal. */
export const printable = (text: string): string => withMoments(text).replace(/\p{C}/gu, '�');

const spanOf = (cell: Cell): Span => {
  const span = typeof cell === 'string' ? { text: cell } : cell;
  return { ...span, text: printable(span.text) };
};

/** Columns two spaces apart; nothing stands behind the last cell of a line. */
export function table(rows: readonly (readonly Cell[])[]): readonly Line[] {
  const spans = rows.map((row) => row.map(spanOf));
  const widths: number[] = [];
  for (const row of spans) {
    row.forEach(({ text }, column) => {
      widths[column] = Math.max(widths[column] ?? 0, text.length);
    });
  }
  return spans.map((row) =>
    row.map((span, column) =>
      column === row.length - 1
        ? span
        : { ...span, text: `${span.text.padEnd(widths[column] ?? 0)}  ` },
    ),
  );
}

export const line = (...cells: readonly Cell[]): Line => cells.map(spanOf);

/** The line as text, cut to `columns`; coloured only where `colours` says so. */
export function rendered(
  spans: Line,
  colours: boolean,
  columns = Number.POSITIVE_INFINITY,
): string {
  let left = columns;
  let text = '';
  for (const { text: whole, emphasis } of spans) {
    const cut = whole.slice(0, left);
    left -= cut.length;
    text += colours && emphasis !== undefined ? `${codes[emphasis]}${cut}\x1b[0m` : cut;
  }
  return colours ? text : text.trimEnd();
}
