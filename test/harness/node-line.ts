// Other lines of Node than the one that runs the tests, from npm, once, into the project's cache. Where one cannot be had,
// the test that asked for it fails.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { projectFolder } from './binaries.ts';

/** How long a test that calls `nodeOfLine` should allow for it. */
export const nodeInstallWithinMs = 180_000;

const run = promisify(execFile);

/** The path of a `node` of that line, such as 22. */
export async function nodeOfLine(line: number): Promise<string> {
  const kept = join(projectFolder, '.cache', `node-${line}`);
  const binary = join(kept, 'node_modules', 'node', 'bin', 'node');
  if (existsSync(binary)) return binary;
  await mkdir(join(projectFolder, '.cache'), { recursive: true });
  // In one piece or not at all: an install that was broken off must not be found the next time.
  const fresh = await mkdtemp(`${kept}-`);
  try {
    const args = ['install', `--prefix=${fresh}`, '--no-save', '--no-audit', '--no-fund'];
    await run('npm', [...args, `node@${line}`], { timeout: nodeInstallWithinMs, cwd: fresh });
    // Another test file may have been faster: then its copy is as good, and may be running already.
    await rename(fresh, kept).catch((error: unknown) => {
      if (!existsSync(binary)) throw error;
    });
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
  return binary;
}
