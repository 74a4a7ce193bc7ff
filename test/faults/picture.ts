// Draws a run as SVG: time from left to right, a minute to a row; a lane for each sidecar with its claims as bars, one
// colour for each term; faults shaded and labelled; violations marked in red.
import type { Answer } from './answer-line.ts';
import type { RunResult } from './run.ts';

/** A stretch in which a sidecar went on saying the same. */
interface Stretch {
  readonly from: string;
  readonly claims: bigint | null;
  readonly startAt: number;
  endAt: number;
}

const rowMs = 60_000;
const pixelsPerMs = 1440 / rowMs;
const laneHeight = 18;
const left = 70;
const labelHeight = 30;

/** Answers further apart than this belong to two stretches: there was silence in between. */
const silenceMs = 250;

/** What each sidecar said, in stretches; an answer that came late counts when it came. */
export function stretchesOf(answers: readonly Answer[]): readonly Stretch[] {
  const all: Stretch[] = [];
  const last = new Map<string, Stretch>();
  for (const { from, claims, receivedAt } of answers) {
    const open = last.get(from);
    if (open !== undefined && open.claims === claims && receivedAt - open.endAt < silenceMs) {
      open.endAt = receivedAt;
      continue;
    }
    const stretch = { from, claims, startAt: receivedAt, endAt: receivedAt };
    last.set(from, stretch);
    all.push(stretch);
  }
  return all;
}

const escaped = (text: string): string =>
  text.replace(/[<>&"]/g, (character) => `&#${character.charCodeAt(0)};`);

/** Neighbouring terms are far apart on the colour wheel. */
const colourOf = (index: number): string => `hsl(${(index * 137) % 360} 65% 50%)`;

/** Places things on rows. */
class Canvas {
  readonly #startedAt: number;
  readonly #lanes: readonly string[];
  readonly #rowHeight: number;
  readonly parts: string[] = [];

  constructor(startedAt: number, lanes: readonly string[]) {
    this.#startedAt = startedAt;
    this.#lanes = lanes;
    this.#rowHeight = labelHeight + lanes.length * laneHeight + 24;
  }

  get rowHeight(): number {
    return this.#rowHeight;
  }

  /** The pieces of an interval on the rows that it touches, each as x, width and the top of its row. */
  pieces(from: number, to: number): readonly { x: number; width: number; top: number }[] {
    const begin = Math.max(0, from - this.#startedAt);
    const end = Math.max(begin, to - this.#startedAt);
    const pieces: { x: number; width: number; top: number }[] = [];
    for (let row = Math.floor(begin / rowMs); row * rowMs <= end; row += 1) {
      const x = Math.max(begin - row * rowMs, 0) * pixelsPerMs + left;
      const right = Math.min(end - row * rowMs, rowMs) * pixelsPerMs + left;
      pieces.push({ x, width: Math.max(right - x, 0.4), top: 50 + row * this.#rowHeight });
    }
    return pieces;
  }

  laneTop(name: string): number {
    return labelHeight + this.#lanes.indexOf(name) * laneHeight;
  }

  rectangle(from: number, to: number, offset: number, height: number, attributes: string): void {
    for (const { x, width, top } of this.pieces(from, to)) {
      const place = `x="${x.toFixed(1)}" y="${top + offset}" width="${width.toFixed(1)}"`;
      this.parts.push(`<rect ${place} height="${height}" ${attributes}/>`);
    }
  }

  text(at: number, offset: number, text: string, attributes = ''): void {
    const { x, top } = this.pieces(at, at)[0]!;
    const place = `x="${x.toFixed(1)}" y="${top + offset}"`;
    this.parts.push(`<text ${place} ${attributes}>${escaped(text)}</text>`);
  }
}

function drawRows(canvas: Canvas, rows: number, names: readonly string[]): void {
  for (let row = 0; row < rows; row += 1) {
    const top = 50 + row * canvas.rowHeight;
    for (const name of names) {
      const y = top + canvas.laneTop(name) + laneHeight - 5;
      canvas.parts.push(`<text x="8" y="${y}">${escaped(name)}</text>`);
    }
    const y = top + labelHeight + names.length * laneHeight + 12;
    for (let second = 0; second <= 60; second += 10) {
      const x = left + second * 1000 * pixelsPerMs;
      const label = `${row * 60 + second} s`;
      canvas.parts.push(`<text x="${x}" y="${y}" fill="#888" font-size="9">${label}</text>`);
    }
  }
}

/** The whole picture. */
export function pictureOf({
  answers,
  faults,
  verdict,
  startedAt,
  endedAt,
  options,
}: RunResult): string {
  const names = [...new Set(answers.map(({ from }) => from))].sort();
  const rows = Math.max(1, Math.ceil((endedAt - startedAt) / rowMs));
  const canvas = new Canvas(startedAt, names);
  const lanesHeight = names.length * laneHeight;
  faults.forEach((fault, index) => {
    const { kind, healedAt } = fault;
    const shade = 'fill="#d62728" fill-opacity="0.13"';
    canvas.rectangle(
      fault.startedAt,
      Math.max(healedAt, fault.startedAt + 150),
      labelHeight - 4,
      lanesHeight + 6,
      shade,
    );
    canvas.text(fault.startedAt, index % 2 === 0 ? 10 : 21, kind, 'font-size="10"');
  });
  const terms = [...new Set(answers.flatMap(({ claims }) => (claims === null ? [] : [claims])))];
  const colours = new Map(terms.map((term, index) => [term, colourOf(index)]));
  for (const { from, claims, startAt, endAt } of stretchesOf(answers)) {
    const offset = canvas.laneTop(from);
    if (claims === null) canvas.rectangle(startAt, endAt, offset + 7, 3, 'fill="#bbb"');
    else canvas.rectangle(startAt, endAt, offset + 2, 13, `fill="${colours.get(claims)!}"`);
  }
  for (const { answer, rule } of verdict.violations) {
    if (answer === null) continue;
    canvas.rectangle(
      answer.sentAt,
      answer.receivedAt,
      labelHeight - 8,
      lanesHeight + 12,
      'fill="red"',
    );
    canvas.text(answer.sentAt, labelHeight - 1, rule, 'fill="red" font-size="9"');
  }
  drawRows(canvas, rows, names);
  const width = left + rowMs * pixelsPerMs + 40;
  const height = 60 + rows * canvas.rowHeight;
  const title = `${options.make}: seed ${options.seed}, TTL ${options.ttlMs} ms, takeover delay ${options.takeoverDelay}, ${faults.length} faults, ${verdict.terms} terms, ${verdict.violations.length} violations`;
  const legend =
    'Coloured: claims to lead, one colour for each term. Grey: answers that claim nothing. Nothing: no answer. Shaded: a fault, until it is mended.';
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    `<text x="8" y="18" font-size="14">${escaped(title)}</text>`,
    `<text x="8" y="36" fill="#555">${escaped(legend)}</text>`,
    ...canvas.parts,
    '</svg>',
    '',
  ].join('\n');
}
