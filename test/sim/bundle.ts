// Builds the simulation, production core included, into one file that a worker can run; where a mutation is asked for,
// the text of the sources is changed on the way. A change that does not fit its source exactly fails loudly.
import { readFile } from 'node:fs/promises';
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

/** Builds the worker under the git-ignored cache; returns its path. */
export async function buildSimulation(
  name: string,
  patches: readonly Patch[] = [],
): Promise<string> {
  const outfile = join(projectFolder, '.cache', 'sim', `${name}-${process.pid}.mjs`);
  await build({
    absWorkingDir: projectFolder,
    entryPoints: [join(projectFolder, 'test', 'sim', 'worker.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    packages: 'external',
    logLevel: 'silent',
    plugins: patches.length === 0 ? [] : [patching(patches)],
  });
  return outfile;
}
