// The project-local copies of etcd: checks that a binary runs, and puts a new copy in place so that
// two processes doing it at once never see half of one. It does not know where copies come from.
import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { arch, platform } from 'node:process';
import { join } from 'node:path';
import { runCommand } from './etcd-command.ts';

/** A usable etcd: absolute or PATH-relative file names, and the version that it says it has. */
export interface EtcdBinaries {
  readonly etcd: string;
  /** The client of the same origin; null where the origin has none. */
  readonly etcdctl: string | null;
  /** Such as `3.5.16`. */
  readonly version: string;
}

/** Starting a program that only prints its version takes milliseconds; a machine may be busy. */
const versionTimeoutMs = 20_000;

/** A temporary folder older than this was left by a process that was killed. */
const abandonedAfterMs = 60 * 60 * 1000;

/**
 * The environment for an etcd or etcdctl of ours: nothing of the user's own ETCD settings may leak
 * in, and 3.4 starts on arm64 only when told so.
 */
export function etcdEnvironment(extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !/^ETCD(CTL)?_/.test(name));
  const unsupported = arch === 'x64' ? {} : { ETCD_UNSUPPORTED_ARCH: arch };
  return { ...Object.fromEntries(own), ...unsupported, ...extra };
}

/** The version of the etcd at `file`, or null when it does not run or is not an etcd. */
export async function etcdVersion(file: string): Promise<string | null> {
  const result = await runCommand(file, ['--version'], {
    timeoutMs: versionTimeoutMs,
    env: etcdEnvironment(),
  });
  // Some builds print to standard output, some through a logger to standard error.
  const match = /etcd Version:\s*v?(\d+\.\d+\.\d+)/i.exec(`${result.stdout}\n${result.stderr}`);
  return result.code === 0 ? (match?.[1] ?? null) : null;
}

/** Whether the etcdctl at `file` runs. */
async function etcdctlRuns(file: string): Promise<boolean> {
  const result = await runCommand(file, ['version'], {
    timeoutMs: versionTimeoutMs,
    env: etcdEnvironment({ ETCDCTL_API: '3' }),
  });
  return result.code === 0;
}

/** The etcd in folder `bin`, checked by running it; null when there is none that runs. */
export async function usableEtcd(bin: string): Promise<EtcdBinaries | null> {
  const etcd = join(bin, 'etcd');
  const version = await etcdVersion(etcd);
  if (version === null) return null;
  const etcdctl = join(bin, 'etcdctl');
  return { etcd, etcdctl: (await etcdctlRuns(etcdctl)) ? etcdctl : null, version };
}

/**
 * The series that we look for, each with its own ways: `3.5` is 3.5 before 3.5.22, from which on a watch does not tell
 * its progress while etcd is behind the watch's first revision; `3.5.30` is what came after.
 */
export type EtcdSeries = '3.4' | '3.5' | '3.5.30';

/** Every {@link EtcdSeries}, the newest first. */
export const etcdSeries: readonly EtcdSeries[] = ['3.5.30', '3.5', '3.4'];

/** The first version with the ways of the series `3.5.30`. */
const newWaysFromPatch = 22;

/** The {@link EtcdSeries} of a version, or for others their first two numbers, such as `3.6`. */
export function seriesOf(version: string): string {
  const [major = '', minor = '', patch = ''] = version.split('.');
  const isNew = major === '3' && minor === '5' && Number(patch) >= newWaysFromPatch;
  return isNew ? '3.5.30' : `${major}.${minor}`;
}

/** Where the copy of one series lives; folders of one checkout may be shared between machines. */
export function cachedFolder(cacheDir: string, series: string): string {
  return join(cacheDir, `${series}-${platform}-${arch}`);
}

async function removeAbandoned(cacheDir: string): Promise<void> {
  for (const name of await readdir(cacheDir)) {
    if (!name.startsWith('.new-')) continue;
    const folder = join(cacheDir, name);
    const age = Date.now() - (await stat(folder).catch(() => ({ mtimeMs: Date.now() }))).mtimeMs;
    if (age > abandonedAfterMs) await rm(folder, { recursive: true, force: true });
  }
}

/** Renames a folder; false when the new place is occupied, or the old one gone, by another process. */
async function move(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (['ENOTEMPTY', 'EEXIST', 'EPERM', 'ENOENT'].includes(code)) return false;
    throw error;
  }
}

/** Each attempt lost means that another process has moved a copy; more cannot be at it for long. */
const placeAttempts = 20;

/** Puts `fresh` at `final`, unless a copy that runs is there; one that does not goes to `work`. */
async function place(fresh: string, final: string, work: string): Promise<EtcdBinaries> {
  for (let attempt = 1; attempt <= placeAttempts; attempt += 1) {
    await move(fresh, final);
    const installed = await usableEtcd(join(final, 'bin'));
    if (installed !== null) return installed;
    await move(final, join(work, `broken-${attempt}`));
  }
  throw new Error(`no etcd that runs could be put at ${final}`);
}

/**
 * Fills a fresh folder by `fill(folder)`, which leaves `bin/etcd` (and `bin/etcdctl`) in it, checks
 * that the etcd runs, and renames the folder into the cache under its series. When another process
 * was quicker, its copy is used and ours thrown away; a copy there that does not run is replaced.
 *
 * @throws whatever `fill` throws, or an Error when the etcd that came does not run here.
 */
export async function installIntoCache(
  cacheDir: string,
  fill: (folder: string) => Promise<void>,
): Promise<EtcdBinaries> {
  await mkdir(cacheDir, { recursive: true });
  await removeAbandoned(cacheDir);
  const work = await mkdtemp(join(cacheDir, '.new-'));
  try {
    const fresh = join(work, 'fresh');
    await mkdir(join(fresh, 'bin'), { recursive: true });
    await fill(fresh);
    const made = await usableEtcd(join(fresh, 'bin'));
    if (made === null) throw new Error('the etcd that was unpacked does not run on this machine');
    const final = cachedFolder(cacheDir, seriesOf(made.version));
    return await place(fresh, final, work);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
