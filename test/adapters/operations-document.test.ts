// docs/operations.md against the program that it speaks of: figures follow from the code, commands and flags exist,
// metrics are those of the reference, links lead somewhere.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import { reliableUntil, roundEveryMs } from '../../src/core/timing.ts';
import { loadConfiguration } from '../../src/config/configuration.ts';
import { watchProbe } from '../../src/policies.ts';
import { projectFolder } from '../harness/binaries.ts';

const docs = join(projectFolder, 'docs');
let text: string;

beforeAll(async () => {
  text = await readFile(join(docs, 'operations.md'), 'utf8');
});

/** etcd looks for leases that have expired this often. */
const expirySearchMs = 500;
const seconds = (ms: number): string => String(Number((ms / 1000).toFixed(3)));
const rate = (perSecond: number): string => String(Number(perSecond.toFixed(2)));

function columnOf(ttlMs: number, marginMs: number): readonly string[] {
  const round = roundEveryMs(ttlMs);
  const validMs = reliableUntil(0, ttlMs, marginMs);
  const probe = watchProbe(ttlMs);
  const [earliest, latest] = [ttlMs - round, ttlMs + expirySearchMs];
  return [
    seconds(ttlMs),
    seconds(round),
    `${seconds(earliest)} … ${seconds(latest)}`,
    seconds(ttlMs),
    `${seconds(earliest + ttlMs)} … ${seconds(latest + ttlMs)}`,
    rate(2000 / round),
    // A question about a lease is one for its time, and one for a linearizable read after it.
    rate(2000 / round),
    rate(1000 / Math.max(probe.everyMs, probe.answerWithinMs)),
    seconds(validMs - 2 * round),
    seconds(validMs),
    seconds(marginMs),
    `${rate((100 * marginMs) / ttlMs)} %`,
  ];
}

function marginOf(ttlMs: number): number {
  const result = loadConfiguration({
    flags: { election: 'orders', ttl: `${String(ttlMs)}ms` },
    environment: {},
    readFile: () => '',
    hostName: 'host',
    addresses: [],
    hasIpv6: true,
  });
  if (!result.ok) throw new Error(JSON.stringify(result.faults));
  return result.configuration.marginMs;
}

test('what each TTL costs follows from the code', () => {
  const chapter = text.split('## Choosing TTL and margin')[1]!.split('\n## ')[0]!;
  const rows = chapter
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| --'))
    .map((line) => line.split('|').slice(2, -1));
  const columns = [0, 1, 2, 3, 4].map((index) =>
    rows.map((row) => row[index]!.replace('(default)', '').trim()),
  );
  const ttls = [2000, 5000, 10_000, 30_000, 60_000];
  expect(columns).toEqual(ttls.map((ttlMs) => columnOf(ttlMs, marginOf(ttlMs))));
});

test('every command has the flags that it is shown with', { timeout: 60_000 }, async () => {
  const program = join(projectFolder, 'dist', 'electord.js');
  const shown = [...text.matchAll(/(?:^|`)electord ([a-z-]+)((?: +(?!#)[^\s`;|]+)*)/gm)].map(
    ([, command = '', rest = '']) => ({ command, flags: rest.match(/--[a-z-]+/g) ?? [] }),
  );
  const commands = new Map<string, Set<string>>();
  for (const { command, flags } of shown) {
    commands.set(command, new Set([...(commands.get(command) ?? []), ...flags]));
  }
  expect(commands.size).toBeGreaterThan(6);
  for (const [command, flags] of commands) {
    const { stdout } = await promisify(execFile)(process.execPath, [program, command, '--help']);
    expect(stdout, command).toContain(`electord ${command}`);
    for (const flag of flags) expect(stdout, command).toContain(`${flag} `);
  }
});

test('metrics and settings are those of the reference', async () => {
  const reference = await readFile(join(docs, 'reference.md'), 'utf8');
  const metrics = [...text.matchAll(/\belectord_[a-z_]+/g)].map(([name]) =>
    name.replace(/_(?:bucket|count|sum)$/, ''),
  );
  expect(metrics.length).toBeGreaterThan(1);
  for (const name of metrics) expect(reference).toContain(`\`${name}\``);
  const settings = [...text.matchAll(/`--([a-z-]+)(?: [a-z]+)?`/g)].map(([, name]) => `--${name}`);
  const etcds = ['--quota-backend-bytes', '--election-timeout', '--auto-compaction-retention'];
  const own = settings.filter((name) => ![...etcds, '--bump-revision'].includes(name));
  expect(own.length).toBeGreaterThan(5);
  for (const name of own) expect(reference).toContain(name);
});

test('links lead somewhere', async () => {
  const links = [...text.matchAll(/\]\(([^)]+)\)/g)].map(([, link = '']) => link.split('#'));
  expect(links.length).toBeGreaterThan(10);
  for (const [file = '', anchor] of links) {
    const path = file === '' ? join(docs, 'operations.md') : join(docs, file);
    expect(existsSync(path), path).toBe(true);
    if (anchor === undefined) continue;
    const headings = [...(await readFile(path, 'utf8')).matchAll(/^#+ (.+)$/gm)];
    const anchors = headings.map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    );
    expect(anchors, path).toContain(anchor);
  }
});
