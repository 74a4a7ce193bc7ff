// Writes the declarations of `electord/client`, twice: TypeScript takes a declaration for an ES module or for CommonJS by
// the package.json above it, and refuses a `require` of what it takes for an ES module.
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { root } from '../prepare.mjs';

/**
 * Fills `folder` with `import/` and `require/`: each has one declaration for each source that the client reaches.
 *
 * @returns how many these are, in each of the two
 */
export function declareClient(folder) {
  // Beside its place, so that the folder appears in one step.
  const scratch = `${folder}.${process.pid}.tmp`;
  mkdirSync(scratch, { recursive: true });
  try {
    const forImport = join(scratch, 'import');
    const forRequire = join(scratch, 'require');
    compile(join(scratch, 'tsconfig.json'), forImport);
    const names = readdirSync(forImport, { recursive: true }).filter((name) =>
      name.endsWith('.d.ts'),
    );
    for (const name of names) importAsJavaScript(join(forImport, name));
    cpSync(forImport, forRequire, { recursive: true });
    writeFileSync(join(forRequire, 'package.json'), '{ "type": "commonjs" }\n');
    rmSync(join(scratch, 'tsconfig.json'));
    rmSync(folder, { recursive: true, force: true });
    renameSync(scratch, folder);
    return names.length;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function compile(project, outDir) {
  const compilerOptions = {
    noEmit: false,
    declaration: true,
    emitDeclarationOnly: true,
    outDir,
    rootDir: join(root, 'src'),
    typeRoots: [join(root, 'node_modules/@types')],
  };
  const files = [join(root, 'src/sdk/client.ts')];
  const extended = join(root, 'tsconfig.json');
  writeFileSync(
    project,
    JSON.stringify({ extends: extended, compilerOptions, include: [], files }),
  );
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  execFileSync(process.execPath, [compiler, '-p', project], { stdio: ['ignore', 2, 2] });
}

/** The sources import each other as `.ts`; whoever has only the declarations finds them as `.js`. */
function importAsJavaScript(file) {
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.replace(/(\bfrom |\bimport\()'(\.[^']*)\.ts'/g, "$1'$2.js'"));
}
