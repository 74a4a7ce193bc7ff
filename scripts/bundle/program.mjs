// Bundles an entry and everything it needs into one file that is a program, then runs it once.
// Promises: the file needs no node_modules, no package.json and no other file beside it, and works both as
// CommonJS (copied alone to an empty folder) and as an ES module (inside this package). Fails when a package
// changed in a way that would break that. Does not check types.
import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { build } from 'esbuild';
import { root, version } from '../prepare.mjs';
import { embedEtcdDefinitions } from './embed-etcd-definitions.mjs';
import { launch, mark, thisFile } from './launch.mjs';
import { pageParts } from './page.mjs';

// What is built has neither `import` nor `export`, so Node takes it at once whichever of the two kinds of module it takes the
// file for; what each kind lacks is made here. `require` knows Node's own modules only: a program that quietly found a
// package lying about near it would be no single file.
const opening = `(function (__builtin, __electordUrl) {
'use strict';
const module = { exports: {} };
function require(id) {
  const found = __builtin(id);
  if (found !== undefined) return found;
  throw Object.assign(new Error("Cannot find module '" + id + "'"), { code: 'MODULE_NOT_FOUND' });
}`.replaceAll('\n', ' ');

/** Where esbuild puts the licences of what it bundled: behind everything else. */
const licences = /(?=^\/\*! Bundled license information:)/m;

/**
 * The built file, of what esbuild made. The program becomes one line, whose line breaks are all in templates; and ASCII: for one
 * other letter V8 would keep two bytes of each. esbuild leaves such in regular expressions, where they can be written otherwise,
 * and in the names of people in licences.
 */
function built(text) {
  const [code, licensed = ''] = text.split(licences);
  const [foreign] = /[^\0-\x7f]|String\.raw`[^`]*\n|\\\n/.exec(code) ?? [];
  if (foreign !== undefined) throw new Error(`the program has ${JSON.stringify(foreign)} in it`);
  const program = `${opening}${code.trimEnd().replaceAll('\n', '\\n')}})`;
  const escaped = (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return `#!/usr/bin/env node
// electord ${version}. Built by scripts/build.mjs; do not edit.
(function () {
'use strict';
${thisFile}
${launch}
const builtin = process.getBuiltinModule;
launch(builtin, thisFile(builtin), ${JSON.stringify(mark)});
})();${mark}${program}
${licensed.replace(/[^\0-\x7f]/g, escaped)}`;
}

/**
 * Builds `entry` into `outfile`, which appears in one step, only after it was seen to run.
 *
 * @returns esbuild's record of what went into it
 */
export async function bundleProgram(entry, outfile) {
  const target = resolve(outfile);
  const unproven = `${target}.${process.pid}.tmp.cjs`;
  try {
    const { metafile, outputFiles } = await build({
      absWorkingDir: root,
      entryPoints: [resolve(entry)],
      outfile: unproven,
      bundle: true,
      platform: 'node',
      target: 'node20.19',
      format: 'cjs',
      // Names stay: a stack trace in an operator's log should still say something.
      minifySyntax: true,
      minifyWhitespace: true,
      legalComments: 'eof',
      charset: 'ascii',
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
      write: false,
    });
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(unproven, built(outputFiles[0].text), { mode: 0o755 });
    const answer = execFileSync(process.execPath, [unproven, '--version'], {
      encoding: 'utf8',
      timeout: 20_000,
    });
    if (!answer.includes(version)) {
      throw new Error(`the built file answers --version with ${JSON.stringify(answer)}`);
    }
    renameSync(unproven, target);
    return metafile;
  } finally {
    rmSync(unproven, { force: true });
  }
}

/** The bytes that each package brought into the bundle, largest first. */
export function contributors(metafile) {
  const bytesByName = new Map();
  for (const output of Object.values(metafile.outputs)) {
    for (const [path, { bytesInOutput }] of Object.entries(output.inputs)) {
      const name = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? 'electord itself';
      bytesByName.set(name, (bytesByName.get(name) ?? 0) + bytesInOutput);
    }
  }
  return [...bytesByName].sort(([, one], [, other]) => other - one);
}
