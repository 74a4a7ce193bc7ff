// What a sidecar costs, beside what costs least: one table, and the same with every value in a JSON file. Fails only where
// our hand-over takes more than half of the etcd3 package's; a target that is missed is said and no failure.
//
// npm run bench -- [--rounds N] [--only start,rps,memory,idle,hand-over] [--brief]
// npm run bench -- --only dependencies        what loading each dependency costs: a table of its own
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { dependencies } from './dependencies.ts';
import { judge, tableOf, type Figure } from './figures.ts';
import { openLab } from './lab.ts';
import { conditions, headingOf } from './machine.ts';
import { handOver, tooSlow } from './measure-hand-over.ts';
import { benchFolder } from './peers.ts';
import { idle, memory, absentText, rps, start, type Bench } from './sections.ts';

const sections: Readonly<Record<string, (bench: Bench) => Promise<readonly Figure[]>>> = {
  rps,
  start,
  memory,
  idle,
  'hand-over': handOver,
};

const whole = (text: string): number => {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError('a whole number above 0, please.');
  return Number(text);
};

const names = (text: string): readonly string[] => {
  const all = text.split(',');
  const known = [...Object.keys(sections), 'dependencies'];
  if (!all.every((name) => known.includes(name)))
    throw new InvalidArgumentError(`a comma list of ${known.join(', ')}.`);
  return all;
};

const { rounds, only, brief } = new Command('bench')
  .option('--rounds <n>', 'of each; a third of them where one takes half a minute', whole, 9)
  .option('--only <sections>', 'a comma list', names, Object.keys(sections))
  .option('--brief', 'stretches too short to mean anything: to see that it runs', false)
  .parse()
  .opts<{ rounds: number; only: readonly string[]; brief: boolean }>();

const lengths = brief
  ? { settleMs: 100, loadSeconds: 1, idleMs: 500 }
  : { settleMs: 10_000, loadSeconds: 4, idleMs: 20_000 };

// What is started here is gone when this process is.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => process.exit(1));
}

const where = await conditions();

/** Writes the file and tells its path. */
function keep(report: object): void {
  mkdirSync(benchFolder, { recursive: true });
  const file = join(benchFolder, `bench-${where.date.replace(/[-:]|\.\d+/g, '')}.json`);
  writeFileSync(file, `${JSON.stringify({ ...where, rounds, ...report }, null, 2)}\n`);
  console.log(file);
}

async function beside(): Promise<void> {
  const lab = await openLab();
  const figures: Figure[] = [];
  try {
    for (const [name, measure] of Object.entries(sections)) {
      if (!only.includes(name)) continue;
      console.error(`measuring ${name}`);
      figures.push(...(await measure({ lab, rounds, lengths })));
    }
  } finally {
    await lab.close();
  }
  const rows = figures.map(judge);
  console.log(headingOf(where));
  console.log(`medians of ${rounds} rounds, a third of them for memory and idle`);
  if (lab.absent.size > 0) console.log(absentText(lab));
  console.log(tableOf(rows));
  const missed = rows.filter(({ met }) => met === false);
  const judged = rows.filter(({ met }) => met !== null);
  console.log(`${judged.length - missed.length} of ${judged.length} targets are met`);
  keep({ absent: Object.fromEntries(lab.absent), figures: rows });
  const failure = tooSlow(rows);
  if (failure === null) return;
  console.log(failure);
  process.exitCode = 1;
}

if (only.includes('dependencies')) {
  const { rows, table } = await dependencies(rounds);
  console.log(headingOf(where));
  console.log(table);
  keep({ dependencies: rows });
}
if (only.some((name) => name !== 'dependencies')) await beside();
