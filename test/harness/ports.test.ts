// Ports given to several processes at once are all different, though all begin at the same one.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { expect, test } from 'vitest';
import { reservePorts } from './ports.ts';

const count = 100;
const from = 20_000;

test('two processes and this one never get the same port', { timeout: 30_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'electord-ports-test-'));
  const program = join(folder, 'ports.mjs');
  // Each keeps its ports until its standard input ends.
  const contents = `import { reservePorts } from './ports.ts';
    process.stdin.resume();
    console.log(JSON.stringify(await reservePorts(${count}, ${from})));`;
  const entry = { contents, resolveDir: import.meta.dirname, loader: 'ts' } as const;
  await build({ stdin: entry, bundle: true, platform: 'node', format: 'esm', outfile: program });
  const stdio = ['pipe', 'pipe', 'inherit'] as const;
  const others = [1, 2].map(() => spawn(process.execPath, [program], { stdio: [...stdio] }));
  try {
    const answers = others.map(async (other) => {
      const [line] = (await once(other.stdout, 'data')) as [Buffer];
      return JSON.parse(line.toString()) as number[];
    });
    const all = (await Promise.all([reservePorts(count, from), ...answers])).flat();
    expect(all).toHaveLength(3 * count);
    expect(new Set(all).size).toBe(3 * count);
  } finally {
    for (const other of others) other.stdin.end();
    await Promise.all(others.map((other) => once(other, 'exit')));
    await rm(folder, { recursive: true, force: true });
  }
});
