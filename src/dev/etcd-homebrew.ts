// Takes etcd from Homebrew on a Mac: the installed one where there is one, else the bottle, fetched
// and unpacked beside the project. It never runs `brew install`, which would change the system;
// Homebrew itself checks the bottle against its own SHA-256.
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { complaint, runCommand } from './etcd-command.ts';
import type { CommandResult } from './etcd-command.ts';

const fetchTimeoutMs = 300_000;
const localTimeoutMs = 60_000;

function brew(args: readonly string[], timeoutMs: number): Promise<CommandResult> {
  const env = { ...process.env, HOMEBREW_NO_AUTO_UPDATE: '1', HOMEBREW_NO_ENV_HINTS: '1' };
  return runCommand('brew', args, { timeoutMs, env });
}

/** Whether there is a Homebrew on the PATH. */
export async function hasHomebrew(): Promise<boolean> {
  return (await brew(['--version'], localTimeoutMs)).code === 0;
}

/** The folder of the etcd that Homebrew has installed; the folder need not exist. Null without one. */
export async function homebrewFolder(): Promise<string | null> {
  const prefix = await brew(['--prefix', 'etcd'], localTimeoutMs);
  return prefix.code === 0 ? join(prefix.stdout.trim(), 'bin') : null;
}

/**
 * Fetches Homebrew's bottle of etcd and unpacks its programs into `into/bin`.
 *
 * @throws Error with Homebrew's own complaint.
 */
export async function unpackHomebrewBottle(
  into: string,
  log: (line: string) => void,
): Promise<void> {
  log('fetching the etcd bottle of Homebrew');
  const fetched = await brew(['fetch', '--force-bottle', 'etcd'], fetchTimeoutMs);
  if (fetched.code !== 0) throw new Error(`brew fetch etcd: ${complaint(fetched)}`);
  const bottle = await brew(['--cache', '--force-bottle', 'etcd'], localTimeoutMs);
  if (bottle.code !== 0) throw new Error(`brew --cache etcd: ${complaint(bottle)}`);
  const folder = await mkdtemp(join(tmpdir(), 'electord-bottle-'));
  try {
    const args = ['-xzf', bottle.stdout.trim(), '-C', folder];
    const unpacked = await runCommand('tar', args, { timeoutMs: localTimeoutMs });
    if (unpacked.code !== 0) throw new Error(`tar: ${complaint(unpacked)}`);
    // A bottle holds etcd/VERSION/bin/….
    const [version] = await readdir(join(folder, 'etcd'));
    if (version === undefined) throw new Error('the bottle of etcd is empty');
    await cp(join(folder, 'etcd', version, 'bin'), join(into, 'bin'), { recursive: true });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
