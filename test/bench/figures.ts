// The figures of a benchmark, and the one table that shows them: electord beside its peers, with the ratio that the
// target is about.
import { median } from './rivals.ts';

/** What is measured. */
export const kinds = ['electord', 'bare', 'express', 'etcd3', 'etcdctl', 'go'] as const;
export type Kind = (typeof kinds)[number];

/** What a reader is told they are. */
export const kindNames: Readonly<Record<Kind, string>> = {
  electord: 'electord',
  bare: 'bare Node',
  express: 'Express',
  etcd3: 'etcd3',
  etcdctl: 'etcdctl',
  go: 'Go',
};

/** How it should be: electord's median, or its ratio to the first of `of` that was measured. */
export interface Target {
  readonly of?: readonly Kind[];
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** One row. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  /** After the point. */
  readonly digits: number;
  /** One value for each round. */
  readonly values: Partial<Record<Kind, readonly number[]>>;
  /** Without a bound nothing is wanted of the ratio. */
  readonly target: Target;
  /** Why there are no values. */
  readonly notMeasured?: string;
}

/** Rounds in which every kind has its turn; the values that `measure` gives by figure, kind and round. */
export async function alternating<Name extends string>(
  rounds: number,
  who: readonly Kind[],
  measure: (kind: Kind, round: number) => Promise<Partial<Record<Name, number>>>,
): Promise<(name: Name) => Partial<Record<Kind, readonly number[]>>> {
  const seen: (readonly [Kind, Partial<Record<Name, number>>])[] = [];
  for (let round = 0; round < rounds; round += 1) {
    // Who begins changes, so that nobody always comes after the same other.
    const first = round % who.length;
    for (const kind of [...who.slice(first), ...who.slice(0, first)])
      seen.push([kind, await measure(kind, round)]);
  }
  return (name) => valuesOf(who, seen, name);
}

function valuesOf<Name extends string>(
  who: readonly Kind[],
  seen: readonly (readonly [Kind, Partial<Record<Name, number>>])[],
  name: Name,
): Partial<Record<Kind, readonly number[]>> {
  const entries = who.map((kind) => {
    const own = seen.filter(([each]) => each === kind).map(([, values]) => values[name]);
    return [kind, own.filter((value) => value !== undefined)] as const;
  });
  return Object.fromEntries(entries.filter(([, values]) => values.length > 0));
}

/** A figure with what follows from it. */
export interface Judged extends Figure {
  readonly medians: Partial<Record<Kind, number>>;
  readonly ratio: number | null;
  readonly ratioTo: Kind | null;
  /** Null where nothing is wanted, or nothing was measured to judge it by. */
  readonly met: boolean | null;
}

export function judge(figure: Figure): Judged {
  const { values, target } = figure;
  const medians = Object.fromEntries(
    Object.entries(values).map(([kind, all]) => [kind, median(all)]),
  ) as Partial<Record<Kind, number>>;
  const ratioTo = target.of?.find((kind) => medians[kind] !== undefined) ?? null;
  const own = medians.electord;
  const ratio = own === undefined || ratioTo === null ? null : own / (medians[ratioTo] ?? NaN);
  const judged = target.of === undefined ? own : (ratio ?? undefined);
  const { atLeast = -Infinity, atMost = Infinity } = target;
  const isWanted = target.atLeast !== undefined || target.atMost !== undefined;
  const met = isWanted && judged !== undefined ? judged >= atLeast && judged <= atMost : null;
  return { ...figure, medians, ratio, ratioTo, met };
}

function targetText({ target: { of, atLeast, atMost }, ratioTo }: Judged): string {
  const bound = atLeast === undefined ? atMost : atLeast;
  if (bound === undefined) return '-';
  const sign = atLeast === undefined ? '<=' : '>=';
  const to = of === undefined ? '' : ` of ${kindNames[ratioTo ?? of[0]!]}`;
  return `${sign} ${bound}${to}`;
}

const headings = ['figure', 'unit', 'electord', 'min..max', ...kinds.slice(1)] as const;

function cellsOf(row: Judged): readonly string[] {
  const shown = (value: number | undefined): string => value?.toFixed(row.digits) ?? '-';
  const own = row.values.electord ?? [];
  const spread = own.length === 0 ? '-' : `${shown(Math.min(...own))}..${shown(Math.max(...own))}`;
  const peers = kinds.slice(1).map((kind) => shown(row.medians[kind]));
  const met = { true: 'yes', false: 'no', null: '-' }[`${row.met}`];
  const ratio = row.ratio?.toFixed(2) ?? '-';
  const rounds = own.length === 0 ? '-' : String(own.length);
  const figures = [shown(row.medians.electord), spread, ...peers];
  return [row.name, row.unit, ...figures, ratio, targetText(row), met, rounds];
}

/** Columns as wide as what stands in them; the first two begin at the left. */
export function aligned(lines: readonly (readonly string[])[], left = 2): readonly string[] {
  const widths = lines[0]!.map((_, column) =>
    Math.max(...lines.map((cells) => cells[column]?.length ?? 0)),
  );
  return lines.map((cells) =>
    cells
      .map((text, column) =>
        column < left ? text.padEnd(widths[column]!) : text.padStart(widths[column]!),
      )
      .join('  '),
  );
}

/** The table, and under it why a row has no values. */
export function tableOf(rows: readonly Judged[]): string {
  const names = headings.map((name) => (name in kindNames ? kindNames[name as Kind] : name));
  const lines = aligned([[...names, 'ratio', 'target', 'met', 'rounds'], ...rows.map(cellsOf)]);
  const reasons = rows.flatMap(({ name, notMeasured }) =>
    notMeasured === undefined ? [] : [`${name}: not measured: ${notMeasured}`],
  );
  return [...lines, ...reasons].join('\n');
}
