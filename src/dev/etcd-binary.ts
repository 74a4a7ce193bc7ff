// Finds an etcd to run beside the project: the one on the PATH, a copy of our own, Debian's package,
// Homebrew's, or etcd's release archive, in this order. Nothing here needs root or changes the
// system; whatever is fetched ends in the cache folder, which git ignores.
import { delimiter, join, resolve } from 'node:path';
import { arch, platform } from 'node:process';
import { cachedFolder, etcdSeries, installIntoCache, seriesOf, usableEtcd } from './etcd-cache.ts';
import type { EtcdBinaries, EtcdSeries } from './etcd-cache.ts';
import { unpackDebianEtcd } from './etcd-debian.ts';
import { hasHomebrew, homebrewFolder, unpackHomebrewBottle } from './etcd-homebrew.ts';
import { unpackRelease } from './etcd-release.ts';
import type { Pins } from './etcd-release.ts';
import { hasApt } from './private-apt.ts';

export type { EtcdBinaries, EtcdSeries } from './etcd-cache.ts';

/** How to look for an etcd. */
export interface FindEtcdOptions {
  /** A series of versions, or any from 3.4 on (the default). */
  readonly want?: EtcdSeries | 'any';
  /** Where copies are kept: `.cache/etcd` of the project. Created when needed. */
  readonly cacheDir: string;
  /** Gets a line for every step that takes long. */
  readonly log?: (line: string) => void;
  /** The search path; the environment's PATH by default. */
  readonly path?: string;
  /** Another server and other pins for the release archive, for tests. */
  readonly release?: { readonly baseUrl: string; readonly pins: Pins };
  /** Ways that are not to be tried, for tests. */
  readonly without?: readonly ('debian' | 'homebrew' | 'release')[];
}

/** No etcd could be had; the message says what was tried and what a person can do. */
export class EtcdNotFoundError extends Error {
  readonly code = 'etcd_not_found';

  constructor(want: string, faults: readonly string[]) {
    const tried = faults.map((fault) => `  - ${fault}`).join('\n');
    const wanted = want === 'any' ? 'etcd (3.4 or newer)' : `etcd ${want}`;
    super(
      `No ${wanted} was found, and none could be fetched:\n${tried}\n` +
        'Install etcd (Debian and Ubuntu: apt install etcd-server etcd-client; macOS: brew install ' +
        'etcd; others: https://etcd.io/docs/latest/install/) so that it is on the PATH, or allow ' +
        'this machine to reach one of the sources above, and try again.',
    );
    this.name = 'EtcdNotFoundError';
  }
}

/** The series we fetch for a wish; for `any` the newest is tried first. */
function seriesFor(want: EtcdSeries | 'any'): readonly EtcdSeries[] {
  return want === 'any' ? etcdSeries : [want];
}

function satisfies(found: EtcdBinaries, want: EtcdSeries | 'any'): boolean {
  if (want !== 'any') return seriesOf(found.version) === want;
  const [major = 0, minor = 0] = found.version.split('.').map(Number);
  return major > 3 || (major === 3 && minor >= 4);
}

async function onPath(options: FindEtcdOptions): Promise<EtcdBinaries | null> {
  const folders = (options.path ?? process.env['PATH'] ?? '').split(delimiter);
  for (const folder of folders.filter((name) => name !== '')) {
    const found = await usableEtcd(folder);
    if (found !== null && satisfies(found, options.want ?? 'any')) return found;
  }
  return null;
}

async function inCache(options: FindEtcdOptions): Promise<EtcdBinaries | null> {
  const want = options.want ?? 'any';
  for (const name of want === 'any' ? ['3.6', ...etcdSeries] : [want]) {
    const found = await usableEtcd(join(cachedFolder(options.cacheDir, name), 'bin'));
    if (found !== null && satisfies(found, want)) return found;
  }
  return null;
}

/** One way to get an etcd of a series that is not here yet. */
interface Way {
  readonly name: string;
  get(): Promise<EtcdBinaries>;
}

async function waysToFetch(options: FindEtcdOptions): Promise<Way[]> {
  const { cacheDir, without = [], want = 'any' } = options;
  const log = options.log ?? (() => undefined);
  const ways: Way[] = [];
  const way = (name: string, fill: (folder: string) => Promise<void>): void => {
    ways.push({ name, get: () => installIntoCache(cacheDir, fill) });
  };
  if (!without.includes('debian') && platform === 'linux' && (await hasApt())) {
    for (const series of seriesFor(want)) {
      way(`Debian's package of ${series}`, (into) => unpackDebianEtcd(series, into, log));
    }
  }
  if (!without.includes('homebrew') && platform === 'darwin' && (await hasHomebrew())) {
    ways.push({ name: 'Homebrew', get: () => fromHomebrew(cacheDir, log) });
  }
  if (!without.includes('release')) {
    for (const series of seriesFor(want)) {
      const release = { series, platform: `${platform}-${arch}`, log, ...options.release };
      way(`release archive of ${series}`, (into) => unpackRelease({ ...release, into }));
    }
  }
  return ways;
}

async function fromHomebrew(cacheDir: string, log: (line: string) => void): Promise<EtcdBinaries> {
  const folder = await homebrewFolder();
  const installed = folder === null ? null : await usableEtcd(folder);
  return installed ?? installIntoCache(cacheDir, (into) => unpackHomebrewBottle(into, log));
}

/**
 * Finds an etcd, fetching one when there is none. For `any` the PATH comes first, since that is the
 * etcd a person chose; for one series our own copy does, since it is surely of that series.
 *
 * @throws EtcdNotFoundError with every way that was tried.
 */
export async function findEtcd(wish: FindEtcdOptions): Promise<EtcdBinaries> {
  const options = { ...wish, cacheDir: resolve(wish.cacheDir) };
  const want = options.want ?? 'any';
  const places = want === 'any' ? [onPath, inCache] : [inCache, onPath];
  for (const place of places) {
    const found = await place(options);
    if (found !== null) return found;
  }
  const faults: string[] = [];
  for (const way of await waysToFetch(options)) {
    try {
      const found = await way.get();
      if (satisfies(found, want)) return found;
      faults.push(`${way.name}: it has ${found.version}`);
    } catch (error) {
      faults.push(`${way.name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new EtcdNotFoundError(want, faults);
}
