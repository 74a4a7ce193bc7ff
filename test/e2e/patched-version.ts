// A bundle of today's sources with small changes, built as the project's own program is. A change that does not fit its
// source fails the build.
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { projectFolder } from '../harness/binaries.ts';
import { patched, type Patch } from '../sim/bundle.ts';

const run = promisify(execFile);

export interface PatchedVersion {
  /** The built program. */
  readonly program: string;
  remove(): Promise<void>;
}

/** Builds it under the git-ignored cache. */
export async function buildPatched(changes: readonly Patch[]): Promise<PatchedVersion> {
  const cache = join(projectFolder, '.cache', 'patched-versions');
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(join(cache, 'build-'));
  await cp(join(projectFolder, 'src'), join(folder, 'src'), { recursive: true });
  for (const patch of changes) {
    const path = join(folder, patch.file);
    await writeFile(path, patched(await readFile(path, 'utf8'), patch));
  }
  const program = join(folder, 'electord.js');
  const script = join(projectFolder, 'scripts', 'build.mjs');
  const args = [script, '--entry', join(folder, 'src', 'main.ts'), '--outfile', program];
  await run(process.execPath, args, { timeout: 120_000 });
  return { program, remove: () => rm(folder, { recursive: true, force: true }) };
}
