// Makes dist/ from the sources: the program, the place to try it in, and the client with its declarations. Installs what is
// missing first, so it works on a fresh clone (`npm run build`, `npm pack`). What it says goes to stderr: stdout belongs to
// the npm that may have asked for it.
//
// node scripts/build.mjs [--no-types] [--analyze]
// node scripts/build.mjs --entry FILE --outfile FILE     another program, built in the same way
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { dist, prepareToBuild, root } from './prepare.mjs';

const { values: options } = parseArgs({
  options: {
    analyze: { type: 'boolean', default: false },
    entry: { type: 'string' },
    outfile: { type: 'string' },
    'no-types': { type: 'boolean', default: false },
  },
});

prepareToBuild();
// They need packages, which are there from here on.
const { bundleProgram, contributors } = await import('./bundle/program.mjs');
const { bundleClient } = await import('./bundle/client.mjs');
const { declareClient } = await import('./bundle/declarations.mjs');

/** Runs one step, which resolves with its size in words, and says what came of it. */
async function make(file, step) {
  const startedAt = performance.now();
  const size = await step();
  const elapsedMs = Math.round(performance.now() - startedAt);
  process.stderr.write(`built ${file} (${size}, ${elapsedMs} ms)\n`);
}

async function program(entry, outfile) {
  await make(outfile, async () => {
    const metafile = await bundleProgram(entry, outfile);
    if (options.analyze) {
      for (const [name, size] of contributors(metafile).slice(0, 20)) {
        console.log(`${(size / 1000).toFixed(1).padStart(9)} kB  ${name}`);
      }
    }
    return kilobytes(metafile);
  });
}

const kilobytes = ({ outputs }) => `${Math.round(Object.values(outputs)[0].bytes / 1000)} kB`;

const { entry, outfile: target } = options;
if (entry !== undefined || target !== undefined) {
  // One of them alone is refused there.
  await program(entry, target);
} else {
  const electord = join(dist, 'electord.js');
  await program(join(root, 'src/main.ts'), electord);
  await make(`${electord}.cache`, () => {
    const script = join(root, 'scripts/bundle/code-cache.mjs');
    // No settings of ours or of Node's: it is for who has none.
    execFileSync(process.execPath, [script, electord], { env: {} });
    return `for Node ${process.versions.node}`;
  });
  await program(join(root, 'src/dev/main.ts'), join(dist, 'electord-dev.js'));
  for (const [format, name] of [
    ['esm', 'client.js'],
    ['cjs', 'client.cjs'],
  ]) {
    const outfile = join(dist, name);
    await make(outfile, async () => kilobytes(await bundleClient(format, outfile)));
  }
  if (!options['no-types']) {
    const folder = join(dist, 'types');
    await make(folder, () => `${declareClient(folder)} declarations`);
  }
}
