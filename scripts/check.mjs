// The one static gate (`npm run check`): types, lint, format, floors and dead code, each by the tool that knows, two at a
// time. Prints what failed, with its output; installs first where needed.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { prepare, root } from './prepare.mjs';

prepare();

const bin = (name) => join(root, 'node_modules/.bin', name);
const gates = [
  ['lint', bin('eslint'), '.', '--max-warnings', '0'],
  ['types', bin('tsc'), '--noEmit', '-p', '.'],
  ['format', bin('prettier'), '--check', '--log-level', 'warn', '.'],
  ['floors', process.execPath, join(root, 'scripts/check-floors.mjs')],
  ['dead code', bin('knip')],
  [
    'reference',
    process.execPath,
    join(root, 'scripts/run-ts.mjs'),
    'scripts/reference.ts',
    '--check',
  ],
];

function run([name, command, ...args]) {
  return new Promise((resolve) => {
    const output = [];
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.on('data', (chunk) => output.push(chunk));
    child.stderr.on('data', (chunk) => output.push(chunk));
    child.on('error', (error) => output.push(Buffer.from(error.message)));
    child.on('close', (code) => {
      console.log(`${code === 0 ? 'ok    ' : 'FAILED'} ${name}`);
      if (code !== 0) {
        console.log(Buffer.concat(output).toString('utf8'));
        process.exitCode = 1;
      }
      resolve();
    });
  });
}

const queue = [...gates];
const worker = async () => {
  for (let gate = queue.shift(); gate !== undefined; gate = queue.shift()) await run(gate);
};
await Promise.all([worker(), worker()]);
