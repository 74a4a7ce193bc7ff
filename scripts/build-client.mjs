// Builds `electord/client`, the SDK: client.js, one ES module that imports Node's own modules only, and its declarations
// under types/. Fails when anything else would be imported, or when a declaration cannot be found by whoever uses it.
//
// node scripts/build-client.mjs [--outdir FOLDER] [--no-types]
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values: options } = parseArgs({
  options: {
    outdir: { type: 'string', default: join(root, 'dist') },
    'no-types': { type: 'boolean', default: false },
  },
});
const outdir = resolve(options.outdir);
const entry = join(root, 'src/sdk/client.ts');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

async function bundle() {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile: join(outdir, 'client.js'),
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    format: 'esm',
    charset: 'utf8',
    metafile: true,
    logLevel: 'warning',
    banner: {
      js: `// electord/client ${version}. Built by scripts/build-client.mjs; do not edit.`,
    },
  });
  const [output] = Object.values(metafile.outputs);
  const inputs = Object.keys(output.inputs).filter((path) => !path.startsWith('src/'));
  const imports = output.imports
    .map(({ path }) => path)
    .filter((path) => !path.startsWith('node:'));
  const foreign = [...inputs, ...imports];
  if (foreign.length > 0) throw new Error(`the client would need ${foreign.join(', ')}`);
  return output.bytes;
}

/** One declaration for each source that the entry reaches, importing each other as `.js`, as TypeScript wants it. */
function declare() {
  const types = join(outdir, 'types');
  const scratch = mkdtempSync(join(tmpdir(), 'electord-types-'));
  try {
    const project = join(scratch, 'tsconfig.json');
    const compilerOptions = {
      noEmit: false,
      declaration: true,
      emitDeclarationOnly: true,
      outDir: types,
      rootDir: join(root, 'src'),
      typeRoots: [join(root, 'node_modules/@types')],
    };
    const extended = join(root, 'tsconfig.json');
    writeFileSync(
      project,
      JSON.stringify({ extends: extended, compilerOptions, include: [], files: [entry] }),
    );
    rmSync(types, { recursive: true, force: true });
    const compiler = join(root, 'node_modules/typescript/bin/tsc');
    execFileSync(process.execPath, [compiler, '-p', project], { stdio: ['ignore', 2, 2] });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  const files = readdirSync(types, { recursive: true }).filter((name) => name.endsWith('.d.ts'));
  for (const name of files) {
    const file = join(types, name);
    const text = readFileSync(file, 'utf8');
    writeFileSync(file, text.replace(/(\bfrom |\bimport\()'(\.[^']*)\.ts'/g, "$1'$2.js'"));
  }
  return files.length;
}

const bytes = await bundle();
const declarations = options['no-types'] ? 0 : declare();
console.log(
  `built ${join(outdir, 'client.js')} (${Math.round(bytes / 1000)} kB, ${declarations} declarations)`,
);
