// The package as an app has it that installed electord: a folder whose node_modules holds package.json as it is and the
// client as it is built, and nothing else.
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { projectFolder } from '../harness/binaries.ts';

const run = promisify(execFile);

export interface AppFolder {
  readonly path: string;
  remove(): Promise<void>;
}

/** `types`: with the declarations, which take some seconds more. */
export async function appWithClient({ types = false } = {}): Promise<AppFolder> {
  const path = await mkdtemp(join(tmpdir(), 'electord-app-'));
  const installed = join(path, 'node_modules', 'electord');
  await mkdir(installed, { recursive: true });
  await copyFile(join(projectFolder, 'package.json'), join(installed, 'package.json'));
  const script = join(projectFolder, 'scripts', 'build-client.mjs');
  const args = [script, '--outdir', join(installed, 'dist'), ...(types ? [] : ['--no-types'])];
  await run(process.execPath, args, { timeout: 120_000 });
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}
