// `electord audit`: the verbs asked for, newest first, as a table.
import type { AuditEntry } from '../contract.ts';
import { exitCodes } from './exit-codes.ts';
import { mayColour, withOperator, type CommonFlags } from './operator.ts';
import { say, sayJson } from './output.ts';
import { momentOf } from './operator-times.ts';
import { rendered, table, type Cell } from './table.ts';

const heading = ['AT', 'VERB', 'OUTCOME', 'BY', 'VIA', 'FROM', 'REASON', 'WHAT'];

/** Resolves with the exit code. */
export function audit(flags: CommonFlags): Promise<number> {
  return withOperator(flags, async (operator) => {
    const answer = await operator.audit();
    if (flags.json === true) sayJson(answer);
    else if (answer.entries.length === 0) say(`Nothing was asked of ${answer.election} yet.`);
    else {
      const rows = [
        heading.map((text): Cell => ({ text, emphasis: 'dim' })),
        ...answer.entries.map(rowOf),
      ];
      for (const line of table(rows)) say(rendered(line, mayColour(process.stdout)));
    }
    return exitCodes.clean;
  });
}

function rowOf(entry: AuditEntry): readonly Cell[] {
  const { at, verb, outcome, by, certificate, via, from, reason, detail } = entry;
  const done = outcome === 'done' || outcome === 'accepted';
  const who = [by, certificate === null ? null : `(certificate of ${certificate})`];
  return [
    momentOf(at),
    { text: verb, emphasis: 'strong' },
    { text: outcome, emphasis: done ? 'good' : 'bad' },
    who.filter((part) => part !== null).join(' ') || '-',
    via,
    from,
    reason ?? '-',
    detail,
  ];
}
