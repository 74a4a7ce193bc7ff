// `electord history`: the terms remembered, newest first, as a table.
import type { TermOnWire, VerbTrace } from '../sdk/client.ts';
import { mayColour, UnusableArgument, withOperator, type CommonFlags } from './operator.ts';
import { say, sayJson } from './output.ts';
import { atMost, elapsed, momentOf } from './operator-times.ts';
import { rendered, table, type Cell } from './table.ts';
import { exitCodes } from './exit-codes.ts';

export interface HistoryFlags extends CommonFlags {
  readonly limit?: string;
}

const heading = ['TOKEN', 'LEADER', 'FROM', 'LED FOR', 'GAP BEFORE', 'ENDED BY', 'WHY'];

/** Resolves with the exit code. */
export function history(flags: HistoryFlags): Promise<number> {
  return withOperator(flags, async (operator) => {
    const limit = limitOf(flags.limit);
    const answer = await operator.history();
    const terms = answer.terms.slice(0, limit);
    if (flags.json === true) sayJson({ ...answer, terms });
    else if (terms.length === 0) say(`Nobody has led ${answer.election} yet.`);
    else {
      const colours = mayColour(process.stdout);
      const rows = [
        heading.map((text): Cell => ({ text, emphasis: 'dim' })),
        ...rowsOf(terms, answer.verbs),
      ];
      for (const line of table(rows)) say(rendered(line, colours));
    }
    return exitCodes.clean;
  });
}

function limitOf(text: string | undefined): number {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new UnusableArgument(`--limit ${JSON.stringify(text)} is not a whole number above 0`);
}

/** An end that nobody recorded lies between two moments: no more is said than that. */
function ledFor({
  from,
  to,
  toEarliest = to,
}: Pick<TermOnWire, 'from' | 'to'> & Partial<TermOnWire>): string {
  if (from === null || to === null) return '-';
  const ledMs = (end: string): number => Date.parse(end) - Date.parse(from);
  const [least, most] = [ledMs(toEarliest ?? from), ledMs(to)];
  if (least === most) return elapsed(most);
  return least > 0 ? `≥ ${elapsed(least)}` : atMost(most);
}

/** A sidecar of an older version does not tell bounds. */
function gapBefore({ leaderlessMs, leaderlessAtMostMs = null }: Partial<TermOnWire>): string {
  if (typeof leaderlessMs === 'number') return elapsed(leaderlessMs);
  return leaderlessAtMostMs === null ? '-' : atMost(leaderlessAtMostMs);
}

/** Of these verbs no term tells. */
const untold: ReadonlySet<string> = new Set<VerbTrace['verb']>(['bench', 'pause', 'resume']);

/** Each term, and above it what was asked for since it began. A sidecar of an older version knows of no verbs. */
function rowsOf(
  terms: readonly TermOnWire[],
  verbs: readonly VerbTrace[] = [],
): readonly (readonly Cell[])[] {
  let left = verbs.filter(({ verb }) => untold.has(verb));
  return terms.flatMap((term) => {
    const { from } = term;
    const since = left.filter(({ at }) => from !== null && at >= from);
    left = left.slice(since.length);
    return [...since.map(rowOfVerb), rowOf(term)];
  });
}

function rowOfVerb({ at, verb, reason, by, via }: VerbTrace): readonly Cell[] {
  const who = `(${by ?? 'operator'} via ${via})`;
  const why = reason === null ? who : `${reason} ${who}`;
  return ['-', '-', momentOf(at), '-', '-', { text: verb, emphasis: 'strong' }, why];
}

/** A sidecar of an older version does not say who leads now. */
const isLed = ({ to, leads = to === null }: Partial<TermOnWire>): boolean => leads === true;

function rowOf(term: TermOnWire): readonly Cell[] {
  const { fencingToken, leader, from, cause, reason, actor, endDerived } = term;
  const why = [reason, actor === null ? null : `(${actor})`].filter((part) => part !== null);
  return [
    { text: fencingToken, emphasis: 'strong' },
    leader,
    from === null ? '-' : momentOf(from),
    isLed(term) ? { text: 'leads', emphasis: 'good' } : ledFor(term),
    gapBefore(term),
    cause === null ? '-' : endDerived ? `${cause}?` : cause,
    why.length === 0 ? '-' : why.join(' '),
  ];
}
