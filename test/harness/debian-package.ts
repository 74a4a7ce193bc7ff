// Programs that a test needs and the machine may lack (haproxy, a Docker engine), taken from Debian's
// packages without root and without installing them: unpacked into the project's cache together with
// whatever of their dependencies this machine has not installed. The machine's own package sources are
// used, with lists and settings that are private. It does not run maintainer scripts.
import { existsSync } from 'node:fs';
import {
  copyFile,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rename,
  rm,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { complaint, runCommand } from '../../src/dev/etcd-command.ts';
import { parseDistribution } from '../../src/dev/etcd-debian.ts';
import { projectFolder } from './binaries.ts';

/** Packages unpacked into a folder as if it were the root of a system. */
export interface DebianPackages {
  readonly root: string;
  /** PATH and LD_LIBRARY_PATH with the folder's own first; all else from this process. */
  readonly env: NodeJS.ProcessEnv;
}

const updateTimeoutMs = 180_000;
const downloadTimeoutMs = 300_000;
const unpackTimeoutMs = 60_000;

/** Of an apt that reads the machine's sources and status and writes to `folder` only. */
function aptConfiguration(folder: string): string {
  const settings = {
    'Dir::State': join(folder, 'state'),
    'Dir::State::lists': join(folder, 'lists'),
    // A copy: apt puts its lock beside it, which needs root beside the original.
    'Dir::State::status': join(folder, 'status'),
    'Dir::Cache': join(folder, 'cache'),
    'Dir::Cache::archives': join(folder, 'debs'),
    'Dir::Log': join(folder, 'log'),
    'APT::Sandbox::User': '',
    'APT::Install-Recommends': 'false',
    'APT::Keep-Downloaded-Packages': 'true',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '2',
  };
  const cleared = [
    'APT::Update::Pre-Invoke',
    'APT::Update::Post-Invoke',
    'APT::Update::Post-Invoke-Success',
    'Acquire::IndexTargets::deb::Contents-deb',
    'Acquire::IndexTargets::deb::DEP-11',
  ];
  return [
    ...cleared.map((name) => `#clear ${name};`),
    ...Object.entries(settings).map(([name, value]) => `${name} "${value}";`),
    '',
  ].join('\n');
}

async function run(
  tool: string,
  args: readonly string[],
  timeoutMs: number,
  env?: NodeJS.ProcessEnv,
) {
  const result = await runCommand(tool, args, { timeoutMs, ...(env && { env }) });
  if (result.code !== 0) throw new Error(`${tool} ${args.join(' ')}: ${complaint(result)}`);
  return result;
}

/** Downloads the packages and what they lack, and unpacks all of it into `root`. */
async function unpack(names: readonly string[], root: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'electord-apt-'));
  try {
    for (const name of ['state', 'lists/partial', 'cache', 'debs/partial', 'log']) {
      await mkdir(join(folder, name), { recursive: true });
    }
    await copyFile('/var/lib/dpkg/status', join(folder, 'status'));
    await writeFile(join(folder, 'apt.conf'), aptConfiguration(folder));
    const env = { ...process.env, LC_ALL: 'C', APT_CONFIG: '' };
    const conf = ['-c', join(folder, 'apt.conf'), '-qq'];
    await run('apt-get', [...conf, 'update'], updateTimeoutMs, env);
    // Reinstalled: a package that is installed without being on the PATH has to come, too.
    const how = ['install', '--yes', '--download-only', '--reinstall', '--no-remove'];
    await run('apt-get', [...conf, ...how, ...names], downloadTimeoutMs, env);
    const debs = (await readdir(join(folder, 'debs'))).filter((name) => name.endsWith('.deb'));
    await mkdir(root, { recursive: true });
    for (const deb of debs) {
      await run('dpkg-deb', ['-x', join(folder, 'debs', deb), root], unpackTimeoutMs);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Where the libraries of an unpacked tree are, with and without a folder for the architecture. */
async function libraryFolders(root: string): Promise<string[]> {
  const found: string[] = [];
  for (const base of [join(root, 'usr/lib'), join(root, 'lib')]) {
    const names = await readdir(base).catch((): string[] => []);
    const architectures = names.filter((name) => /-linux-gnu/.test(name));
    found.push(...architectures.map((name) => join(base, name)), base);
  }
  return found.filter((folder) => existsSync(folder));
}

async function described(root: string): Promise<DebianPackages> {
  const programs = ['usr/sbin', 'usr/bin', 'sbin', 'bin'].map((name) => join(root, name));
  const path = [...programs, process.env['PATH'] ?? ''].join(delimiter);
  const libraries = (await libraryFolders(root)).join(delimiter);
  return { root, env: { ...process.env, PATH: path, LD_LIBRARY_PATH: libraries } };
}

/** The folder for these packages on this release of the distribution and this kind of processor. */
async function cachedFolder(names: readonly string[]): Promise<string> {
  const release = parseDistribution(await readFile('/etc/os-release', 'utf8').catch(() => ''));
  const machine = [release.id, release.codename, process.arch].filter((part) => part !== '');
  return join(projectFolder, '.cache/debian', [...names, ...machine].join('-'));
}

/** Renames a folder, unless another process has put its own at the new place. */
async function place(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (!['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(code)) throw error;
  }
}

/**
 * The packages, from the cache or fetched now. `proof` is a command of theirs that must succeed: a
 * cached copy that no longer runs, because the machine has changed under it, is fetched anew.
 *
 * @throws Error that says what is missing and why it could not be had.
 */
export async function debianPackages(
  names: readonly string[],
  proof: readonly [string, ...string[]],
): Promise<DebianPackages> {
  const final = await cachedFolder(names);
  const proven = async (): Promise<DebianPackages | null> => {
    if (!existsSync(final)) return null;
    const packages = await described(final);
    const [program, ...args] = proof;
    const { env } = packages;
    const file = join(final, program);
    return (await runCommand(file, args, { timeoutMs: 20_000, env })).code === 0 ? packages : null;
  };
  const cached = await proven();
  if (cached !== null) return cached;
  console.error(`unpacking ${names.join(' and ')} from Debian's packages`);
  await mkdir(join(final, '..'), { recursive: true });
  const work = await mkdtemp(join(final, '../.new-'));
  try {
    await unpack(names, join(work, 'root'));
    let fresh = await place(join(work, 'root'), final).then(proven);
    if (fresh === null) {
      // What lies there does not run, be it ours or an older one: ours gets its chance.
      await rename(final, join(work, 'old'));
      fresh = await place(join(work, 'root'), final).then(proven);
    }
    if (fresh === null) throw new Error(`what was unpacked does not run: ${proof.join(' ')}`);
    return fresh;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(
      `${names.join(', ')}: not on this machine, and not to be had from Debian's packages: ${reason}`,
      { cause: error },
    );
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
