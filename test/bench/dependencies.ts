// What each dependency costs that is in the built program: it is bundled alone, as the program is, and loaded by a fresh
// Node. What several have in common (etcd3 brings @grpc/grpc-js) counts in each of them; "all of them" has it once.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { complaint, runCommand } from '../../src/dev/etcd-command.ts';
import { aligned } from './figures.ts';
import { root } from './peers.ts';
import { median } from './rivals.ts';

/** Medians. */
interface Cost {
  readonly name: string;
  /** Of the bundle that has it and what it needs, in kB. */
  readonly kilobytes: number;
  readonly loadMs: number;
  readonly residentMib: number;
  /** Used after a collection. */
  readonly heapMib: number;
}

async function run(args: readonly string[]): Promise<string> {
  const result = await runCommand(process.execPath, args, { timeoutMs: 60_000, cwd: root });
  if (result.code !== 0) throw new Error(complaint(result));
  return result.stdout;
}

/** Bundles a program as the build does; resolves to the bytes of each package in it. */
async function bundle(entry: string, outfile: string): Promise<ReadonlyMap<string, number>> {
  const program = join(root, 'scripts', 'bundle', 'program.mjs');
  const code = `
    const { bundleProgram, contributors } = await import(${JSON.stringify(program)});
    const made = await bundleProgram(${JSON.stringify(entry)}, ${JSON.stringify(outfile)});
    console.log(JSON.stringify(contributors(made)));`;
  const listed = await run(['--input-type=module', '--eval', code]);
  return new Map(JSON.parse(listed) as [string, number][]);
}

const loader = `
const { performance } = require('node:perf_hooks');
gc();
const [before, at] = [process.memoryUsage(), performance.now()];
require(process.argv[2]);
const loadMs = performance.now() - at;
const residentMib = (process.memoryUsage.rss() - before.rss) / 2 ** 20;
gc();
const heapMib = (process.memoryUsage().heapUsed - before.heapUsed) / 2 ** 20;
console.log(JSON.stringify({ loadMs, residentMib, heapMib }));
// Some keep the process alive.
process.exit(0);
`;

/** Of those that package.json names, the ones that the program has something of. */
async function bundledDependencies(folder: string): Promise<readonly string[]> {
  const inIt = await bundle(join(root, 'src', 'main.ts'), join(folder, 'electord.cjs'));
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    devDependencies: Record<string, string>;
  };
  return Object.keys(manifest.devDependencies).filter((name) => inIt.has(name));
}

async function costOf(
  folder: string,
  name: string,
  packages: readonly string[],
  rounds: number,
): Promise<Cost> {
  const [entry, outfile] = [join(folder, 'entry.ts'), join(folder, 'bundle.cjs')];
  const loads = packages.map((each) => `require(${JSON.stringify(each)})`).join(', ');
  // The build wants to see that what it has built runs.
  writeFileSync(
    entry,
    `if (process.argv.includes('--version')) console.log(__ELECTORD_VERSION__);
     else globalThis.kept = [${loads}];`,
  );
  const sizes = await bundle(entry, outfile);
  const seen: Omit<Cost, 'name' | 'kilobytes'>[] = [];
  const file = join(folder, 'loader.cjs');
  writeFileSync(file, loader);
  while (seen.length < rounds)
    seen.push(JSON.parse(await run(['--expose-gc', file, outfile])) as (typeof seen)[number]);
  const of = (key: keyof (typeof seen)[number]): number => median(seen.map((each) => each[key]));
  return {
    name,
    kilobytes: [...sizes.values()].reduce((one, other) => one + other, 0) / 1000,
    loadMs: of('loadMs'),
    residentMib: of('residentMib'),
    heapMib: of('heapMib'),
  };
}

export async function dependencies(
  rounds: number,
): Promise<{ readonly rows: readonly Cost[]; readonly table: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'electord-dependencies-'));
  try {
    const packages = await bundledDependencies(folder);
    const rows: Cost[] = [];
    for (const name of packages) rows.push(await costOf(folder, name, [name], rounds));
    rows.sort((one, other) => other.residentMib - one.residentMib);
    rows.push(await costOf(folder, 'all of them', packages, rounds));
    const lines = rows.map((row) => [
      ...[row.name, row.kilobytes.toFixed(0), row.loadMs.toFixed(1)],
      ...[row.residentMib.toFixed(1), row.heapMib.toFixed(1)],
    ]);
    const heading = ['dependency', 'bundled kB', 'load ms', 'resident MiB', 'heap MiB'];
    return { rows, table: aligned([heading, ...lines], 1).join('\n') };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
