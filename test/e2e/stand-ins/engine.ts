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
import { extensionsOfIptables, unpackedPrograms } from '../../harness/programs.ts';
import type { Programs } from '../../harness/programs.ts';
import { eventually } from '../../harness/wait.ts';

/** A running engine. */
export interface Engine {
  /** Where the packages are, the test's own among them. */
  readonly programs: Programs;
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

/** Puts iptables into `bin`, of the kind that this kernel serves: containers resolve names by it. */
async function linkIptables(programs: Programs, bin: string, env: NodeJS.ProcessEnv) {
  const faults: string[] = [];
  for (const kind of ['nft', 'legacy']) {
    const program = join(programs.root, `usr/sbin/xtables-${kind}-multi`);
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

async function environment(programs: Programs, folder: string): Promise<NodeJS.ProcessEnv> {
  const own = Object.entries(programs.env).filter(([name]) => !/^(DOCKER|COMPOSE)_/.test(name));
  const env = {
    ...Object.fromEntries(own),
    XTABLES_LIBDIR: extensionsOfIptables(programs.env),
    PYTHONPATH: join(programs.root, 'usr/lib/python3/dist-packages'),
    DOCKER_HOST: `unix://${join(folder, 'docker.sock')}`,
    DOCKER_CONFIG: join(folder, 'client'),
    DOCKER_BUILDKIT: '0',
    COMPOSE_DOCKER_CLI_BUILD: '0',
  };
  const iptables = await linkIptables(programs, join(folder, 'bin'), env);
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

async function startDaemon(env: NodeJS.ProcessEnv, folder: string) {
  const daemon = await spawnGuarded({ file: 'dockerd', args: daemonArguments(folder), env });
  const answers = async (): Promise<boolean> => {
    if (daemon.exit() !== null) throw new Error('dockerd ended');
    const { code } = await runCommand('docker', ['version'], { timeoutMs: commandTimeoutMs, env });
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
  if (process.platform !== 'linux')
    throw new Error('a Docker engine of our own runs on Linux only');
  const wanted = ['docker.io', 'docker-compose', ...also];
  // Unpacked also where the machine has some of them: the images are made of what is in the folder.
  const programs = await unpackedPrograms({
    packages: wanted,
    proof: [
      ['dockerd', '--version'],
      ['docker', '--version'],
      ['python3', '--version'],
    ],
  });
  const folder = await mkdtemp(join(tmpdir(), 'electord-docker-'));
  let daemon: GuardedChild;
  let env: NodeJS.ProcessEnv;
  try {
    env = await environment(programs, folder);
    daemon = await startDaemon(env, folder);
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
  const composer = join(programs.root, 'usr/bin/docker-compose');
  return {
    programs,
    folder,
    docker: (args, timeoutMs = commandTimeoutMs) => run('docker', args, timeoutMs),
    compose: (args, timeoutMs, more) => run('python3', [composer, ...args], timeoutMs, more),
    stop: async () => {
      await daemon.stop(stopGraceMs);
      await removeFolder(folder);
    },
  };
}
