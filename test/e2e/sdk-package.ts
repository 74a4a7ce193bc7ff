// The package as an app has it that installed electord: a folder whose node_modules holds package.json as it is and the
// client as it is built, and nothing else. What `npm pack` itself makes of them, its declarations too, is tried by
// pack.test.ts.
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { projectFolder } from '../harness/binaries.ts';

export interface AppFolder {
  readonly path: string;
  remove(): Promise<void>;
}

/** Needs a built dist/, as `npm test` provides it. */
export async function appWithClient(): Promise<AppFolder> {
  const path = await mkdtemp(join(tmpdir(), 'electord-app-'));
  const installed = join(path, 'node_modules', 'electord');
  await mkdir(join(installed, 'dist'), { recursive: true });
  for (const file of ['package.json', 'dist/client.js', 'dist/client.cjs']) {
    await copyFile(join(projectFolder, file), join(installed, file));
  }
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}
