// Programs that a test needs and the machine may lack (haproxy, Go, a Docker engine): the machine's own where they do
// what the test asks, else Debian's, unpacked without root and without being installed, with all that they depend on.
// Never half of each: what dpkg counts as installed is not relied on, but for the essential system that every Debian
// has. It does not run maintainer scripts.
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, readdir, rename, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { runCommand } from '../../src/dev/etcd-command.ts';
import { parseDistribution } from '../../src/dev/etcd-debian.ts';
import { hasApt, withPrivateApt } from '../../src/dev/private-apt.ts';
import { projectFolder } from './binaries.ts';

/** Programs with all that they need. */
export interface Programs {
  /** The folder that they were unpacked into, as if it were the root of a system; `/` for the machine's own. */
  readonly root: string;
  /** Finds them by their names on its PATH, and their libraries; all else from this process. */
  readonly env: NodeJS.ProcessEnv;
}

/** What is wanted. */
export interface ProgramsWanted {
  /** Debian's packages that have them. */
  readonly packages: readonly string[];
  /** Commands that all have to succeed where the programs work: one for each program that a test runs. */
  readonly proof: readonly (readonly [string, ...string[]])[];
}

/** A stock HAProxy. */
export const haproxyWanted: ProgramsWanted = { packages: ['haproxy'], proof: [['haproxy', '-v']] };

/** A stock nginx. */
export const nginxWanted: ProgramsWanted = { packages: ['nginx'], proof: [['nginx', '-v']] };

/** A stock keepalived, and the curl that it asks with. */
export const keepalivedWanted: ProgramsWanted = {
  packages: ['keepalived', 'curl'],
  proof: [
    ['keepalived', '--version'],
    ['curl', '--version'],
  ],
};

const proofTimeoutMs = 20_000;

/** Where Debian's packages put libraries that only their own programs find. */
const hiddenLibraries = ['.', 'systemd', 'pulseaudio'];

/** Where an unpacked tree has programs; `chromium` of usr/bin is a script that knows no other root than the machine's. */
const programFolders = ['usr/lib/chromium', 'usr/sbin', 'usr/bin', 'sbin', 'bin'];

/** Programs of an administrator are on no other user's PATH. */
const administratorsFolders = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

/** The file that a program's name stands for on that PATH. */
export function programFile(name: string, env: NodeJS.ProcessEnv): string {
  const folders = (env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  const file = folders.map((folder) => join(folder, name)).find((each) => existsSync(each));
  if (file === undefined) throw new Error(`no ${name} in ${folders.join(delimiter)}`);
  return file;
}

/** For XTABLES_LIBDIR: where an unpacked iptables has its matches and targets. */
export function extensionsOfIptables(env: NodeJS.ProcessEnv): string {
  const folders = (env['LD_LIBRARY_PATH'] ?? '').split(delimiter);
  return folders.map((folder) => join(folder, 'xtables')).join(delimiter);
}

async function doTheJob({ env }: Programs, proof: ProgramsWanted['proof']): Promise<boolean> {
  const run = proof.map(([file, ...args]) =>
    runCommand(file, args, { timeoutMs: proofTimeoutMs, env }),
  );
  return (await Promise.all(run)).every(({ code }) => code === 0);
}

function ofThisMachine(): Programs {
  const path = [process.env['PATH'] ?? '', ...administratorsFolders].join(delimiter);
  return { root: '/', env: { ...process.env, PATH: path } };
}

/** Where the libraries of an unpacked tree are, with and without a folder for the architecture. */
async function libraryFolders(root: string): Promise<string[]> {
  const found: string[] = [];
  for (const base of [join(root, 'usr/lib'), join(root, 'lib')]) {
    const names = await readdir(base).catch((): string[] => []);
    const architectures = names.filter((name) => /-linux-gnu/.test(name));
    found.push(...architectures.map((name) => join(base, name)), base);
  }
  const all = hiddenLibraries.flatMap((name) => found.map((folder) => join(folder, name)));
  return all.filter((folder) => existsSync(folder));
}

async function unpackedIn(root: string): Promise<Programs> {
  const own = ofThisMachine().env;
  const folders = programFolders.map((name) => join(root, name));
  const path = [...folders, own['PATH']].join(delimiter);
  const libraries = (await libraryFolders(root)).join(delimiter);
  return { root, env: { ...own, PATH: path, LD_LIBRARY_PATH: libraries } };
}

/** Of dpkg's status, the packages that Debian calls essential, and what they depend on. */
export function essentialStatus(status: string): string {
  const stanzas = new Map<string, { readonly text: string; readonly names: readonly string[] }>();
  const queue: string[] = [];
  for (const text of status.split('\n\n')) {
    const field = (name: string): string =>
      new RegExp(`^${name}: (.*)$`, 'm').exec(text)?.[1] ?? '';
    const names = `${field('Pre-Depends')},${field('Depends')}`
      .split(/[,|]/)
      .map((each) => each.trim().replace(/[ (:].*/, ''));
    const stanza = { text, names };
    stanzas.set(field('Package'), stanza);
    for (const each of field('Provides').split(',')) {
      const name = each.trim().replace(/ .*/, '');
      if (!stanzas.has(name)) stanzas.set(name, stanza);
    }
    if (field('Essential') === 'yes') queue.push(field('Package'));
  }
  const kept = new Set<string>();
  const visited = new Set<string>();
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    const stanza = stanzas.get(name);
    if (stanza === undefined || visited.has(name)) continue;
    visited.add(name);
    kept.add(stanza.text);
    queue.push(...stanza.names);
  }
  return [...kept, ''].join('\n\n');
}

/** Downloads the packages and all that they depend on, and unpacks it into `root`. */
async function unpack(names: readonly string[], root: string): Promise<void> {
  if (!(await hasApt())) throw new Error('this machine has no apt-get and dpkg-deb');
  const status = essentialStatus(await readFile('/var/lib/dpkg/status', 'utf8'));
  await withPrivateApt({ status }, async (apt) => {
    await apt.update();
    await apt.downloadClosure(names);
    await apt.unpack(root);
  });
}

/** The folder for these packages on this release of the distribution and this kind of processor. */
async function cachedFolder(names: readonly string[]): Promise<string> {
  const release = parseDistribution(await readFile('/etc/os-release', 'utf8').catch(() => ''));
  const machine = [release.id, release.codename, process.arch].filter((part) => part !== '');
  return join(projectFolder, '.cache/programs', [...names, ...machine].join('-'));
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
 * Debian's, from the cache or fetched now, also where the machine has them. A cached copy that no longer runs, because
 * the machine has changed under it, is fetched anew.
 *
 * @throws Error that says what is missing and why it could not be had.
 */
export async function unpackedPrograms({ packages, proof }: ProgramsWanted): Promise<Programs> {
  const final = await cachedFolder(packages);
  const proven = async (): Promise<Programs | null> => {
    if (!existsSync(final)) return null;
    const programs = await unpackedIn(final);
    const isIn = ([name]: readonly [string, ...string[]]): boolean =>
      programFile(name, programs.env).startsWith(final);
    return (await doTheJob(programs, proof)) && proof.every(isIn) ? programs : null;
  };
  const cached = await proven();
  if (cached !== null) return cached;
  console.error(`unpacking ${packages.join(' and ')} from Debian's packages`);
  await mkdir(join(final, '..'), { recursive: true });
  const work = await mkdtemp(join(final, '../.new-'));
  try {
    await unpack(packages, join(work, 'root'));
    let fresh = await place(join(work, 'root'), final).then(proven);
    if (fresh === null) {
      // What lies there does not run, be it ours or an older one: ours gets its chance.
      await rename(final, join(work, 'old'));
      fresh = await place(join(work, 'root'), final).then(proven);
    }
    if (fresh === null)
      throw new Error(
        `what was unpacked does not run: ${proof.map((words) => words.join(' ')).join(', ')}`,
      );
    return fresh;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`${packages.join(', ')}: not to be had from Debian's packages: ${reason}`, {
      cause: error,
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/**
 * The machine's own where all of `proof` succeeds, else Debian's.
 *
 * @throws Error that says what is missing and why it could not be had.
 */
export async function findPrograms(wanted: ProgramsWanted): Promise<Programs> {
  const own = ofThisMachine();
  return (await doTheJob(own, wanted.proof)) ? own : unpackedPrograms(wanted);
}
