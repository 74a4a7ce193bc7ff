// A bundle of a version that does not exist yet: today's sources with small changes, so that every record in etcd has a
// later format with fields that today's program has never heard of, and a term may end by a cause that it does not know.
// A change that does not fit its source fails the build.
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { projectFolder } from '../harness/binaries.ts';
import { patched, type Patch } from '../sim/bundle.ts';

const run = promisify(execFile);

/** The format of every record that the next version writes; today's is 1. */
export const nextFormat = 2;
/** Why a term ends that an operator ended with `step-down`, as the next version calls it. */
export const nextCause = 'relieved';

/** Ahead of what is known, with a name of each kind of JSON, and one that elsewhere has another type. */
const moreFields = `v: formatVersion, zone: 'north', weight: 0.5, tags: ['a', { b: null }], v1: { v: 1 }, ...fields`;

const changes: readonly Patch[] = [
  {
    file: 'src/etcd/fields.ts',
    find: 'const formatVersion = 1;',
    put: `const formatVersion = ${nextFormat};`,
  },
  { file: 'src/etcd/fields.ts', find: 'v: formatVersion, ...fields', put: moreFields },
  { file: 'src/core/model.ts', find: "'resigned',", put: `'resigned', '${nextCause}',` },
  { file: 'src/http/verbs.ts', find: "cause: 'resigned'", put: `cause: '${nextCause}'` },
  {
    file: 'src/process/version.ts',
    find: "=== 'string' ? __ELECTORD_VERSION__",
    put: "=== 'string' ? `${__ELECTORD_VERSION__}-next`",
  },
];

export interface NextVersion {
  /** The built program. */
  readonly program: string;
  remove(): Promise<void>;
}

/** Builds it under the git-ignored cache, as the project's own program is built. */
export async function buildNextVersion(): Promise<NextVersion> {
  const cache = join(projectFolder, '.cache', 'next-version');
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
