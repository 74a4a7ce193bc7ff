// Takes etcd from Debian's packages without root and without changing the system: the machine's own
// mirror and keyring are read from its apt sources, but lists, cache and settings are temporary and
// our own. It does not resolve dependencies: Debian's etcd needs nothing but the C library.
import { cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { complaint, runCommand } from './etcd-command.ts';
import type { CommandResult } from './etcd-command.ts';

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

/** A series of etcd that a suite may carry. */
export type EtcdSeries = '3.4' | '3.5';

const updateTimeoutMs = 180_000;
const downloadTimeoutMs = 300_000;
const localTimeoutMs = 60_000;

/** The Debian releases whose etcd is of a given series; a mirror of Debian carries them all. */
const debianSuites: Readonly<Record<EtcdSeries, string>> = { '3.4': 'bookworm', '3.5': 'trixie' };

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
    ofDebian === undefined ? [] : [{ ...ofDebian, suites: [known], components: ['main'] }];
  const others = whole.filter((source) => !(source === ofDebian && source.suites.includes(known)));
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

/**
 * The settings of an apt that touches nothing outside `folder`. The machine's own proxies and
 * credentials stay in force; hooks, pins and the sandbox user do not concern a private folder.
 */
function aptConfiguration(folder: string): string {
  const settings = {
    'Dir::State': join(folder, 'state'),
    'Dir::State::lists': join(folder, 'lists'),
    'Dir::State::status': join(folder, 'status'),
    'Dir::Cache': join(folder, 'cache'),
    'Dir::Cache::archives': join(folder, 'cache/archives'),
    'Dir::Log': join(folder, 'log'),
    'Dir::Etc::sourcelist': join(folder, 'etcd.sources'),
    'Dir::Etc::sourceparts': '-',
    'Dir::Etc::preferences': '-',
    'Dir::Etc::preferencesparts': '-',
    'APT::Sandbox::User': '',
    'APT::Get::List-Cleanup': 'false',
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

/** A private apt over one source; every call is bounded. */
class PrivateApt {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  async prepare(source: AptSource): Promise<void> {
    const folders = ['state', 'lists/partial', 'cache/archives/partial', 'log', 'debs'];
    for (const name of folders) await mkdir(join(this.folder, name), { recursive: true });
    await writeFile(join(this.folder, 'status'), '');
    await writeFile(join(this.folder, 'etcd.sources'), renderSource(source));
    await writeFile(join(this.folder, 'apt.conf'), aptConfiguration(this.folder));
  }

  run(tool: string, args: readonly string[], timeoutMs: number): Promise<CommandResult> {
    return runCommand(tool, ['-c', join(this.folder, 'apt.conf'), '-qq', ...args], {
      timeoutMs,
      cwd: join(this.folder, 'debs'),
      env: { ...process.env, LC_ALL: 'C', APT_CONFIG: '' },
    });
  }
}

/** The version of `etcd-server` on offer that is of the series, of `apt-cache madison`'s lines. */
export function versionOnOffer(madison: string, series: EtcdSeries): string | null {
  for (const line of madison.split('\n')) {
    const version = line.split('|')[1]?.trim() ?? '';
    if (new RegExp(`^(\\d+:)?${series.replace('.', '\\.')}\\.`).test(version)) return version;
  }
  return null;
}

async function unpackFrom(source: AptSource, series: EtcdSeries, into: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'electord-apt-'));
  try {
    const apt = new PrivateApt(folder);
    await apt.prepare(source);
    const update = await apt.run(
      'apt-get',
      ['update', '-o', 'APT::Update::Error-Mode=any'],
      updateTimeoutMs,
    );
    if (update.code !== 0) throw new Error(`apt-get update: ${complaint(update)}`);
    const offers = await apt.run('apt-cache', ['madison', 'etcd-server'], localTimeoutMs);
    const version = versionOnOffer(offers.stdout, series);
    if (version === null) throw new Error(`no etcd-server ${series}`);
    const names = [`etcd-server=${version}`, `etcd-client=${version}`];
    const download = await apt.run('apt-get', ['download', ...names], downloadTimeoutMs);
    if (download.code !== 0) throw new Error(`apt-get download: ${complaint(download)}`);
    for (const deb of await readdir(join(folder, 'debs'))) {
      const args = ['-x', join(folder, 'debs', deb), join(folder, 'root')];
      const unpacked = await runCommand('dpkg-deb', args, { timeoutMs: localTimeoutMs });
      if (unpacked.code !== 0) throw new Error(`dpkg-deb -x ${deb}: ${complaint(unpacked)}`);
    }
    for (const name of ['etcd', 'etcdctl']) {
      await cp(join(folder, 'root/usr/bin', name), join(into, 'bin', name));
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Whether this machine has the tools that {@link unpackDebianEtcd} needs. */
export async function hasApt(): Promise<boolean> {
  const tools = await Promise.all(
    ['apt-get', 'dpkg-deb'].map((tool) => runCommand(tool, ['--version'], { timeoutMs: 10_000 })),
  );
  return tools.every((tool) => tool.code === 0);
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
      await unpackFrom(source, series, into);
      return;
    } catch (error) {
      faults.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new Error(faults.length === 0 ? 'no usable entry in the apt sources' : faults.join('; '));
}
