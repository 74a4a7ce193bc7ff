// Runs a TypeScript program of test/ on any supported Node: bundles it into .cache/ and hands over arguments, signals
// and exit code. Packages stay outside the bundle.
//
// node scripts/run-ts.mjs FILE [ARGS…]
import { spawn } from 'node:child_process';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [entry = '', ...args] = process.argv.slice(2);
const outfile = join(root, '.cache', 'run', `${basename(entry, '.ts')}-${process.pid}.mjs`);
await build({
  absWorkingDir: root,
  entryPoints: [join(root, entry)],
  outfile,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  packages: 'external',
  sourcemap: 'inline',
  logLevel: 'warning',
});
const child = spawn(process.execPath, ['--enable-source-maps', outfile, ...args], {
  stdio: 'inherit',
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => {
  import('node:fs').then(({ rmSync }) => {
    rmSync(outfile, { force: true });
    process.exit(signal === null ? (code ?? 1) : 1);
  });
});
