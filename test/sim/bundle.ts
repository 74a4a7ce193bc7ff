// Builds the simulation, production core included, into one file that a worker can run; where a mutation is asked for,
// the text of the sources is changed on the way. A change that does not fit its source exactly fails loudly.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { existsSync } from 'node:fs';
import { build, type Plugin } from 'esbuild';

/** One change to the text of one source. `find` must occur; every occurrence is replaced. */
export interface Patch {
  /** From the project's root. */
  readonly file: string;
  readonly find: string;
  readonly put: string;
}

/** The project's root, whether this file runs as it is or from a bundle. */
export const projectFolder = ((): string => {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
})();

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** Line breaks and indentation do not matter: a reformatted source still fits. */
const patternOf = (find: string): RegExp =>
  new RegExp(find.trim().split(/\s+/).map(escaped).join('\\s+'), 'g');

/** Changes `source`, or throws where the change does not fit. */
export function patched(source: string, patch: Patch): string {
  const pattern = patternOf(patch.find);
  if (!pattern.test(source)) {
    throw new Error(`a mutation does not fit: ${patch.file} does not contain\n${patch.find}`);
  }
  return source.replace(patternOf(patch.find), () => patch.put);
}

function patching(patches: readonly Patch[]): Plugin {
  const files = new Map<string, Patch[]>();
  for (const patch of patches) {
    const path = join(projectFolder, patch.file);
    files.set(path, [...(files.get(path) ?? []), patch]);
  }
  return {
    name: 'patching',
    setup(plugin) {
      const seen = new Set<string>();
      plugin.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
        const here = files.get(path);
        if (here === undefined) return undefined;
        seen.add(path);
        let contents = await readFile(path, 'utf8');
        for (const patch of here) contents = patched(contents, patch);
        return { contents, loader: 'ts' };
      });
      plugin.onEnd(() => {
        for (const path of files.keys()) {
          if (!seen.has(path)) throw new Error(`a mutation changes ${path}, which is not used`);
        }
      });
    },
  };
}

/** What esbuild puts in front of a bundle for `{ ...a, b }` where an engine does not know that. */
const spreadHelpers = [
  /^var __spreadValues = \(a, b\) => \{\n.*?^\};$/ms,
  /^var __spreadProps = \(a, b\) => __defProps\(a, __getOwnPropDescs\(b\)\);$/m,
] as const;

/**
 * The same bundle with each `{ ...a, b }` as an `Object.assign`. V8 gives what a spread has made a hidden class of its own,
 * and so the machines, which make each state from the one before by a spread, ever new ones: no cache hits any more, and
 * all takes nearly twice as long. What `Object.assign` makes shares its class with whatever has the same fields.
 */
export function withSharedClasses(bundle: string): string {
  return spreadHelpers.reduce((text, helper) => {
    if (!helper.test(text)) throw new Error(`esbuild has no helper like ${helper} any more`);
    return text.replace(helper, (found) => `${found.split(' = ')[0]} = Object.assign;`);
  }, bundle);
}

/** Builds the worker under the git-ignored cache; returns its path. */
export async function buildSimulation(
  name: string,
  patches: readonly Patch[] = [],
): Promise<string> {
  const outfile = join(projectFolder, '.cache', 'sim', `${name}-${process.pid}.mjs`);
  const { outputFiles } = await build({
    absWorkingDir: projectFolder,
    entryPoints: [join(projectFolder, 'test', 'sim', 'worker.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    packages: 'external',
    supported: { 'object-rest-spread': false },
    write: false,
    logLevel: 'silent',
    plugins: patches.length === 0 ? [] : [patching(patches)],
  });
  await mkdir(dirname(outfile), { recursive: true });
  await writeFile(outfile, withSharedClasses(outputFiles[0]!.text));
  return outfile;
}
