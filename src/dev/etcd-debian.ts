// Takes etcd from Debian's packages without root and without changing the system: the machine's own
// mirror and keyring are read from its apt sources, and asked for the release that has the series. It
// does not resolve dependencies: Debian's etcd needs nothing but the C library.
import { cp, readFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { seriesOf } from './etcd-cache.ts';
import type { EtcdSeries } from './etcd-cache.ts';
import { withPrivateApt } from './private-apt.ts';
import type { PrivateApt } from './private-apt.ts';

/** One enabled entry of the machine's apt sources, whichever of the two formats it was written in. */
export interface AptSource {
  readonly uris: readonly string[];
  readonly suites: readonly string[];
  readonly components: readonly string[];
  /** Keyring file names, or a whole key block; null where the entry names none. */
  readonly signedBy: string | null;
  /** The administrator's own `trusted=yes`. */
  readonly trusted: boolean;
}

/** The Debian releases whose etcd is of a given series; a mirror of Debian carries them all. */
const debianSuites: Readonly<Record<EtcdSeries, readonly string[]>> = {
  '3.4': ['bookworm'],
  '3.5': ['trixie'],
  '3.5.30': ['forky', 'sid'],
};

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

/** Reads one-line entries: `deb [signed-by=… arch=…] URI SUITE COMPONENT…`. */
export function parseOneLineSources(text: string): AptSource[] {
  const sources: AptSource[] = [];
  for (const raw of text.split('\n')) {
    const match = /^deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*(.*)$/.exec(
      raw.replace(/#.*/, '').trim(),
    );
    if (match === null) continue;
    const [, options = '', uri = '', suite = '', components = ''] = match;
    const option = (name: string): string | undefined =>
      new RegExp(`(?:^|\\s)${name}\\+?=(\\S+)`, 'i').exec(options)?.[1];
    sources.push({
      uris: [uri],
      suites: [suite],
      components: words(components),
      signedBy: option('signed-by')?.replaceAll(',', ' ') ?? null,
      trusted: option('trusted') === 'yes',
    });
  }
  return sources;
}

function deb822Fields(stanza: string): Map<string, string> {
  const fields = new Map<string, string>();
  let current: string | null = null;
  for (const line of stanza.split('\n')) {
    if (line.startsWith('#')) continue;
    const field = /^([A-Za-z0-9-]+):[ \t]*(.*)$/.exec(line);
    if (field !== null) {
      current = (field[1] ?? '').toLowerCase();
      fields.set(current, (field[2] ?? '').trim());
    } else if (current !== null && /^[ \t]/.test(line)) {
      fields.set(current, `${fields.get(current) ?? ''}\n${line.trimEnd()}`);
    }
  }
  return fields;
}

/** Reads deb822 entries, the `.sources` format: stanzas of `Types`, `URIs`, `Suites`, …. */
export function parseDeb822Sources(text: string): AptSource[] {
  const sources: AptSource[] = [];
  for (const stanza of text.split(/\n[ \t]*\n/)) {
    const fields = deb822Fields(stanza);
    const enabled = !/^(no|false|0|off)$/i.test(fields.get('enabled') ?? 'yes');
    if (!enabled || !words(fields.get('types') ?? '').includes('deb')) continue;
    sources.push({
      uris: words(fields.get('uris') ?? ''),
      suites: words(fields.get('suites') ?? ''),
      components: words(fields.get('components') ?? ''),
      signedBy: fields.get('signed-by') ?? null,
      trusted: /^yes$/i.test(fields.get('trusted') ?? ''),
    });
  }
  return sources;
}

/** Every enabled source of this machine, from `sources.list` and `sources.list.d` under `aptDir`. */
export async function readAptSources(aptDir = '/etc/apt'): Promise<AptSource[]> {
  const parts = join(aptDir, 'sources.list.d');
  const names = (await readdir(parts).catch((): string[] => [])).sort();
  const files = [join(aptDir, 'sources.list'), ...names.map((name) => join(parts, name))];
  const sources: AptSource[] = [];
  for (const file of files) {
    const text = await readFile(file, 'utf8').catch(() => '');
    if (file.endsWith('.list')) sources.push(...parseOneLineSources(text));
    else if (file.endsWith('.sources')) sources.push(...parseDeb822Sources(text));
  }
  return sources;
}

/** What `/etc/os-release` says of this machine. */
export interface Distribution {
  /** `debian`, `ubuntu`, … */
  readonly id: string;
  /** `bookworm`, …; empty on rolling releases. */
  readonly codename: string;
}

/** Reads the distribution's name out of the text of `/etc/os-release`. */
export function parseDistribution(text: string): Distribution {
  const field = (name: string): string =>
    new RegExp(`^${name}="?([^"\\n]*)"?$`, 'm').exec(text)?.[1] ?? '';
  return { id: field('ID'), codename: field('VERSION_CODENAME') };
}

/**
 * The sources worth asking for a series, best first: a suite of Debian's that is known to carry it
 * (on any mirror of Debian), and the machine's own release.
 */
export function candidateSources(
  sources: readonly AptSource[],
  distribution: Distribution,
  series: EtcdSeries,
): AptSource[] {
  const releases = [distribution.codename, 'stable', 'oldstable', 'testing', 'unstable', 'sid'];
  const whole = sources.flatMap((source) => {
    const uris = source.uris.filter((uri) => !uri.startsWith('cdrom:'));
    // Not the likes of bookworm-security, which hold only a part of a release.
    const own = source.suites.filter((suite) => suite !== '' && releases.includes(suite));
    return own.length > 0 && uris.length > 0 ? [{ ...source, uris, suites: own }] : [];
  });
  const known = debianSuites[series];
  const ofDebian =
    distribution.id === 'debian' ? whole.find((s) => s.components.includes('main')) : undefined;
  const fixed =
    ofDebian === undefined
      ? []
      : known.map((suite) => ({ ...ofDebian, suites: [suite], components: ['main'] }));
  const isAsked = (source: AptSource): boolean =>
    source === ofDebian && source.suites.every((suite) => known.includes(suite));
  const others = whole.filter((source) => !isAsked(source));
  return [...fixed, ...others];
}

/** One source in deb822 form, for an apt of our own. */
export function renderSource(source: AptSource): string {
  const lines = [
    'Types: deb',
    `URIs: ${source.uris.join(' ')}`,
    `Suites: ${source.suites.join(' ')}`,
    `Components: ${source.components.join(' ')}`,
  ];
  if (source.signedBy !== null) lines.push(`Signed-By: ${source.signedBy}`);
  if (source.trusted) lines.push('Trusted: yes');
  return `${lines.join('\n')}\n`;
}

/** The version of `etcd-server` on offer that is of the series, of `apt-cache madison`'s lines. */
export function versionOnOffer(madison: string, series: EtcdSeries): string | null {
  for (const line of madison.split('\n')) {
    const version = line.split('|')[1]?.trim() ?? '';
    const [upstream = ''] = /\d+\.\d+\.\d+/.exec(version) ?? [];
    if (seriesOf(upstream) === series) return version;
  }
  return null;
}

async function unpackWith(apt: PrivateApt, series: EtcdSeries, into: string): Promise<void> {
  await apt.update();
  const version = versionOnOffer(await apt.madison('etcd-server'), series);
  if (version === null) throw new Error(`no etcd-server ${series}`);
  await apt.download([`etcd-server=${version}`, `etcd-client=${version}`]);
  await apt.unpack(join(into, 'unpacked'));
  for (const name of ['etcd', 'etcdctl']) {
    await cp(join(into, 'unpacked/usr/bin', name), join(into, 'bin', name));
  }
  await rm(join(into, 'unpacked'), { recursive: true });
}

/**
 * Unpacks `etcd` and `etcdctl` of a series from Debian's packages into `into/bin`. Needs no root and
 * no package lists on the machine.
 *
 * @throws Error that says of every source asked why it could not serve.
 */
export async function unpackDebianEtcd(
  series: EtcdSeries,
  into: string,
  log: (line: string) => void,
): Promise<void> {
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const sources = candidateSources(await readAptSources(), parseDistribution(release), series);
  const faults: string[] = [];
  for (const source of sources) {
    const name = source.suites.join(' ');
    log(`unpacking etcd ${series} from the packages of ${name}`);
    try {
      const own = { sources: renderSource(source) };
      await withPrivateApt(own, (apt) => unpackWith(apt, series, into));
      return;
    } catch (error) {
      faults.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new Error(faults.length === 0 ? 'no usable entry in the apt sources' : faults.join('; '));
}
