// An apt of our own: it reads the machine's package sources, keyrings and proxies, but its lists, cache and settings
// are in a temporary folder, so that it needs no root and changes nothing. It only fetches and unpacks; no script of a
// package is run.
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { complaint, runCommand } from './etcd-command.ts';

/** Lists of a whole release are 10 MB, packages up to 100 MB; slower than this a person should look. */
const updateTimeoutMs = 180_000;
const downloadTimeoutMs = 300_000;
const localTimeoutMs = 60_000;

/** What an apt of our own goes by. */
export interface PrivateAptOptions {
  /** Sources in deb822 form, which are then the only ones; those of the machine by default. */
  readonly sources?: string;
  /** What counts as installed, as in `/var/lib/dpkg/status`; nothing by default. */
  readonly status?: string;
}

function configuration(folder: string, ownSources: boolean): string {
  const settings = {
    'Dir::State': join(folder, 'state'),
    'Dir::State::lists': join(folder, 'lists'),
    'Dir::State::status': join(folder, 'status'),
    'Dir::Cache': join(folder, 'cache'),
    'Dir::Cache::archives': join(folder, 'debs'),
    'Dir::Log': join(folder, 'log'),
    ...(ownSources && {
      'Dir::Etc::sourcelist': join(folder, 'own.sources'),
      'Dir::Etc::sourceparts': '-',
      'Dir::Etc::preferences': '-',
      'Dir::Etc::preferencesparts': '-',
      // Of the machine's many sources one may be out of order without harm; of these none.
      'APT::Update::Error-Mode': 'any',
    }),
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

/** See the head of this file; made by {@link withPrivateApt}. */
export class PrivateApt {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Fetches the lists. @throws Error with apt's complaint. */
  async update(): Promise<void> {
    await this.#run('apt-get', ['update'], updateTimeoutMs);
  }

  /** The versions on offer, as `apt-cache madison` prints them: empty where there is none. */
  madison(name: string): Promise<string> {
    return this.#run('apt-cache', ['madison', name], localTimeoutMs);
  }

  /** Fetches just these, each a name or `name=version`. @throws Error with apt's complaint. */
  async download(names: readonly string[]): Promise<void> {
    await this.#run('apt-get', ['download', ...names], downloadTimeoutMs);
  }

  /** Fetches these and all that they depend on and the status lacks. @throws Error with apt's complaint. */
  async downloadClosure(names: readonly string[]): Promise<void> {
    // Reinstalled: what counts as installed has to come, too, where it is asked for.
    const how = ['install', '--yes', '--download-only', '--reinstall', '--no-remove'];
    await this.#run('apt-get', [...how, ...names], downloadTimeoutMs);
  }

  /** Unpacks everything that was fetched into `root`. @throws Error with dpkg's complaint. */
  async unpack(root: string): Promise<void> {
    await mkdir(root, { recursive: true });
    const debs = join(this.#folder, 'debs');
    for (const name of (await readdir(debs)).filter((each) => each.endsWith('.deb'))) {
      const result = await runCommand('dpkg-deb', ['-x', join(debs, name), root], {
        timeoutMs: localTimeoutMs,
      });
      if (result.code !== 0) throw new Error(`dpkg-deb -x ${name}: ${complaint(result)}`);
    }
  }

  async #run(tool: string, args: readonly string[], timeoutMs: number): Promise<string> {
    const result = await runCommand(tool, ['-c', join(this.#folder, 'apt.conf'), '-qq', ...args], {
      timeoutMs,
      cwd: join(this.#folder, 'debs'),
      env: { ...process.env, LC_ALL: 'C', APT_CONFIG: '' },
    });
    if (result.code !== 0) throw new Error(`${tool} ${args.join(' ')}: ${complaint(result)}`);
    return result.stdout;
  }
}

/** Gives `work` an apt with empty lists and removes all that it has fetched afterwards. */
export async function withPrivateApt(
  options: PrivateAptOptions,
  work: (apt: PrivateApt) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'electord-apt-'));
  const { sources, status = '' } = options;
  try {
    for (const name of ['state', 'lists/partial', 'cache', 'debs/partial', 'log']) {
      await mkdir(join(folder, name), { recursive: true });
    }
    await writeFile(join(folder, 'status'), status);
    if (sources !== undefined) await writeFile(join(folder, 'own.sources'), sources);
    await writeFile(join(folder, 'apt.conf'), configuration(folder, sources !== undefined));
    await work(new PrivateApt(folder));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Whether this machine has what {@link withPrivateApt} needs. */
export async function hasApt(): Promise<boolean> {
  const tools = await Promise.all(
    ['apt-get', 'dpkg-deb'].map((tool) => runCommand(tool, ['--version'], { timeoutMs: 10_000 })),
  );
  return tools.every((tool) => tool.code === 0);
}
