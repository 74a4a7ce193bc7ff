// A Docker engine for one test: dockerd and docker-compose from Debian's packages, unpacked and not
// installed, with data, socket and process ids in a temporary folder and stopped by its own process
// id. It never uses an engine that runs already, because images of ours under other people's tags
// must not get there. It changes no firewall rule and no bridge of the machine's own.
import { mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { complaint, runCommand } from '../../../src/dev/etcd-command.ts';
import { spawnGuarded } from '../../../src/dev/etcd-child.ts';
import type { GuardedChild } from '../../../src/dev/etcd-child.ts';
import { debianPackages } from '../../harness/debian-package.ts';
import type { DebianPackages } from '../../harness/debian-package.ts';
import { eventually } from '../../harness/wait.ts';

/** A running engine. */
export interface Engine {
  /** Where the packages are, the test's own among them. */
  readonly packages: DebianPackages;
  /** For files of the test; removed with the engine. */
  readonly folder: string;
  /**
   * Runs the Docker client and resolves to its standard output.
   *
   * @throws Error with the end of what it wrote when it fails.
   */
  docker(args: readonly string[], timeoutMs?: number): Promise<string>;
  /** Likewise docker-compose, with more variables in its environment. */
  compose(
    args: readonly string[],
    timeoutMs: number,
    env?: Readonly<Record<string, string>>,
  ): Promise<string>;
  /** Stops it and removes all that it has stored. */
  stop(): Promise<void>;
}

const readyWithinMs = 60_000;
const stopGraceMs = 30_000;
const commandTimeoutMs = 60_000;

/** Why no engine can run here, in a sentence; null when nothing is known to be in its way. */
function obstacle(): string | null {
  if (process.platform !== 'linux') return 'a Docker engine of our own runs on Linux only';
  if (process.getuid?.() !== 0) return 'dockerd needs root, and this is another user';
  return null;
}

/** Puts iptables into `bin`, of the kind that this kernel serves: containers resolve names by it. */
async function linkIptables(packages: DebianPackages, bin: string, env: NodeJS.ProcessEnv) {
  const faults: string[] = [];
  for (const kind of ['nft', 'legacy']) {
    const program = join(packages.root, `usr/sbin/xtables-${kind}-multi`);
    const folder = join(bin, kind);
    await mkdir(folder, { recursive: true });
    for (const name of ['iptables', 'ip6tables']) await symlink(program, join(folder, name));
    const tried = await runCommand(join(folder, 'iptables'), ['-t', 'nat', '-L', '-n'], {
      timeoutMs: commandTimeoutMs,
      env,
    });
    if (tried.code === 0) return folder;
    faults.push(complaint(tried));
  }
  throw new Error(`no iptables that works with this kernel: ${faults.join('; ')}`);
}

async function environment(packages: DebianPackages, folder: string): Promise<NodeJS.ProcessEnv> {
  const own = Object.entries(packages.env).filter(([name]) => !/^(DOCKER|COMPOSE)_/.test(name));
  const libraries = packages.env['LD_LIBRARY_PATH']?.split(delimiter)[0] ?? '';
  const env = {
    ...Object.fromEntries(own),
    XTABLES_LIBDIR: join(libraries, 'xtables'),
    PYTHONPATH: join(packages.root, 'usr/lib/python3/dist-packages'),
    DOCKER_HOST: `unix://${join(folder, 'docker.sock')}`,
    DOCKER_CONFIG: join(folder, 'client'),
    DOCKER_BUILDKIT: '0',
    COMPOSE_DOCKER_CLI_BUILD: '0',
  };
  const iptables = await linkIptables(packages, join(folder, 'bin'), env);
  return { ...env, PATH: [iptables, env['PATH' as keyof typeof env]].join(delimiter) };
}

function daemonArguments(folder: string): string[] {
  return [
    `--host=unix://${join(folder, 'docker.sock')}`,
    `--data-root=${join(folder, 'data')}`,
    `--exec-root=${join(folder, 'exec')}`,
    `--pidfile=${join(folder, 'dockerd.pid')}`,
    '--config-file=',
    '--bridge=none',
    '--iptables=false',
    '--ip6tables=false',
    '--ip-forward=false',
    '--log-level=warn',
  ];
}

/** Everything still mounted below the folder, the deepest first. */
async function mountsBelow(folder: string): Promise<string[]> {
  const mounts = (await readFile('/proc/mounts', 'utf8')).split('\n');
  const points = mounts.map((line) => line.split(' ')[1] ?? '');
  return points.filter((point) => point.startsWith(`${folder}/`)).reverse();
}

async function removeFolder(folder: string): Promise<void> {
  for (const point of await mountsBelow(folder)) {
    await runCommand('umount', [point], { timeoutMs: commandTimeoutMs });
  }
  const left = await mountsBelow(folder);
  if (left.length > 0) throw new Error(`still mounted: ${left.join(' ')}`);
  await rm(folder, { recursive: true, force: true });
}

/** The system's Python, for which Debian's modules are made; whatever the PATH would find is not. */
async function findPython(packages: DebianPackages): Promise<string> {
  const candidates = ['/usr/bin/python3', join(packages.root, 'usr/bin/python3')];
  for (const file of candidates) {
    const { code } = await runCommand(file, ['--version'], { timeoutMs: commandTimeoutMs });
    if (code === 0) return file;
  }
  throw new Error(`no Python for docker-compose at ${candidates.join(' or ')}`);
}

async function startDaemon(env: NodeJS.ProcessEnv, packages: DebianPackages, folder: string) {
  const file = join(packages.root, 'usr/sbin/dockerd');
  const daemon = await spawnGuarded({ file, args: daemonArguments(folder), env });
  const answers = async (): Promise<boolean> => {
    if (daemon.exit() !== null) throw new Error('dockerd ended');
    const client = join(packages.root, 'usr/bin/docker');
    const { code } = await runCommand(client, ['version'], { timeoutMs: commandTimeoutMs, env });
    return code === 0;
  };
  try {
    await eventually(answers, { withinMs: readyWithinMs, what: 'an answer of dockerd' });
  } catch (error) {
    await daemon.stop(stopGraceMs);
    throw new Error(`dockerd does not work here:\n${daemon.recentOutput()}`, { cause: error });
  }
  return daemon;
}

/**
 * Starts an engine; `also` names more of Debian's packages to have at hand.
 *
 * @throws Error that says why there can be none on this machine.
 */
export async function startEngine(also: readonly string[]): Promise<Engine> {
  const reason = obstacle();
  if (reason !== null) throw new Error(reason);
  const wanted = ['docker.io', 'docker-compose', ...also];
  const packages = await debianPackages(wanted, ['usr/sbin/dockerd', '--version']);
  const folder = await mkdtemp(join(tmpdir(), 'electord-docker-'));
  let daemon: GuardedChild;
  let env: NodeJS.ProcessEnv;
  let python: string;
  try {
    env = await environment(packages, folder);
    python = await findPython(packages);
    daemon = await startDaemon(env, packages, folder);
  } catch (error) {
    await removeFolder(folder);
    throw error;
  }
  const run = async (file: string, args: readonly string[], timeoutMs: number, more = {}) => {
    const result = await runCommand(file, args, { timeoutMs, env: { ...env, ...more } });
    if (result.code === 0) return result.stdout;
    const said = `${result.stdout}\n${result.stderr}`.trim().split('\n').slice(-40).join('\n');
    throw new Error(`${file} ${args.join(' ')}: code ${String(result.code)}\n${said}`);
  };
  const client = join(packages.root, 'usr/bin/docker');
  const composer = join(packages.root, 'usr/bin/docker-compose');
  return {
    packages,
    folder,
    docker: (args, timeoutMs = commandTimeoutMs) => run(client, args, timeoutMs),
    compose: (args, timeoutMs, more) => run(python, [composer, ...args], timeoutMs, more),
    stop: async () => {
      await daemon.stop(stopGraceMs);
      await removeFolder(folder);
    },
  };
}
