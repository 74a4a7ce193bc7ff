// Bundles src/main.ts and everything it needs into the one file dist/electord.js, then runs it once.
// Promises: the file needs no node_modules and no package.json beside it, reads no other file when it
// starts, and works both as CommonJS (copied alone to an empty folder) and as an ES module (inside this
// package). Fails when a package changed in a way that would break that. Does not check types.
//
// node scripts/build.mjs [--analyze] [--entry FILE] [--outfile FILE]
import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { analyzeMetafile, build } from 'esbuild';
import { embedEtcdDefinitions } from './bundle/embed-etcd-definitions.mjs';
import { pageParts } from './bundle/page.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values: options } = parseArgs({
  options: {
    analyze: { type: 'boolean', default: false },
    entry: { type: 'string', default: join(root, 'src/main.ts') },
    outfile: { type: 'string', default: join(root, 'dist/electord.js') },
  },
});

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

// The bundle has neither `import` nor `export`, so Node parses it at once whichever of the two kinds
// of module it takes the file for; what each kind lacks is handed in here. `require` knows Node's own
// modules only: a bundle that quietly found a package lying about near it would be no single file.
const opening = `#!/usr/bin/env node
// electord ${version}: the whole program in one file. Built by scripts/build.mjs; do not edit.
(function (require, module, exports, __electordUrl) {
'use strict';`;
const closing = `})(
  function require(id) {
    const found = process.getBuiltinModule(id);
    if (found !== undefined) return found;
    throw Object.assign(new Error("Cannot find module '" + id + "'"), { code: 'MODULE_NOT_FOUND' });
  },
  { exports: {} },
  {},
  process.getBuiltinModule('node:url').pathToFileURL(process.argv[1] ?? 'electord.js').href,
);`;

/** Builds `entry` into `outfile`; the file appears in one step, only after it was seen to run. */
async function bundle() {
  const outfile = resolve(options.outfile);
  const unproven = `${outfile}.${process.pid}.tmp.cjs`;
  try {
    const result = await build({
      absWorkingDir: root,
      entryPoints: [resolve(options.entry)],
      outfile: unproven,
      bundle: true,
      platform: 'node',
      target: 'node20.19',
      format: 'cjs',
      // Names stay: a stack trace in an operator's log should still say something.
      minifySyntax: true,
      minifyWhitespace: true,
      legalComments: 'eof',
      charset: 'utf8',
      metafile: true,
      logLevel: 'warning',
      logOverride: { 'require-resolve-not-external': 'silent' },
      nodePaths: [join(root, 'node_modules')],
      define: {
        __ELECTORD_VERSION__: JSON.stringify(version),
        __ELECTORD_PAGE__: JSON.stringify(pageParts()),
        'import.meta.url': '__electordUrl',
      },
      alias: { 'iconv-lite': join(root, 'scripts/bundle/text-decoding.mjs') },
      plugins: [embedEtcdDefinitions(root)],
      banner: { js: opening },
      footer: { js: closing },
    });
    chmodSync(unproven, 0o755);
    const answer = run(unproven, ['--version']);
    if (!answer.includes(version)) {
      throw new Error(`the built file answers --version with ${JSON.stringify(answer)}`);
    }
    renameSync(unproven, outfile);
    return result.metafile;
  } finally {
    rmSync(unproven, { force: true });
  }
}

function run(file, args) {
  return execFileSync(process.execPath, [file, ...args], { encoding: 'utf8', timeout: 20_000 });
}

/** The bytes that each package brought into the bundle, largest first. */
function contributors(metafile) {
  const bytesByName = new Map();
  for (const output of Object.values(metafile.outputs)) {
    for (const [path, { bytesInOutput }] of Object.entries(output.inputs)) {
      const name = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? 'electord itself';
      bytesByName.set(name, (bytesByName.get(name) ?? 0) + bytesInOutput);
    }
  }
  return [...bytesByName].sort(([, one], [, other]) => other - one);
}

const startedAt = performance.now();
const metafile = await bundle();
const [{ bytes }] = Object.values(metafile.outputs);
const elapsedMs = Math.round(performance.now() - startedAt);
console.log(`built ${options.outfile} (${Math.round(bytes / 1000)} kB, ${elapsedMs} ms)`);
if (options.analyze) {
  for (const [name, size] of contributors(metafile).slice(0, 20)) {
    console.log(`${(size / 1000).toFixed(1).padStart(9)} kB  ${name}`);
  }
  console.log(await analyzeMetafile(metafile));
}
