// Hosts of their own for the run of faults: network namespaces on one bridge, which is in a namespace too, so that
// nothing of this machine's own network is touched. Everything bears our process id and is gone when this process
// ends; what a killed run has left is swept away at the next start. Linux, as root.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawnGuarded } from '../../src/dev/etcd-child.ts';
import type { GuardedChild } from '../../src/dev/etcd-child.ts';
import { complaint, runCommand } from '../../src/dev/etcd-command.ts';
import type { CommandResult } from '../../src/dev/etcd-command.ts';

/** One host: a network namespace with one interface. */
export interface Host {
  readonly name: string;
  readonly address: string;
  /** For programs that must not be mistaken for the host's own; never chosen by itself as a source. */
  readonly secondAddress: string;
  /** As `ip netns` knows it. */
  readonly namespace: string;
}

/** Thrown where this machine does not let us make hosts: the run fails, it is never skipped. */
export class NoNamespacesError extends Error {
  override readonly name = 'NoNamespacesError';
}

const marker = 'electord-faults-';

/** The end of a host's cable that is at the bridge. */
const portOf = ({ name }: Pick<Host, 'name'>): string => `to-${name}`;

/** Setting up an interface takes milliseconds; a machine may be busy. */
const commandTimeoutMs = 20_000;

/** A folder for everything that a run keeps while it lasts, and the namespaces and mounts made for it. */
export class Laboratory {
  /** Temporary; removed at the end. */
  readonly folder: string;
  readonly #prefix: string;
  readonly #namespaces: string[] = [];
  readonly #mounts: string[] = [];
  readonly #onExit = (): void => this.remove();

  private constructor() {
    this.#prefix = `${marker}${process.pid}-`;
    this.folder = join(tmpdir(), `${marker}${process.pid}`);
  }

  /**
   * Makes the bridge.
   *
   * @throws NoNamespacesError where that is not allowed.
   */
  static async open(): Promise<Laboratory> {
    sweep();
    const laboratory = new Laboratory();
    process.on('exit', laboratory.#onExit);
    mkdirSync(laboratory.folder, { recursive: true });
    const bridge = laboratory.#bridge;
    try {
      await laboratory.#addNamespace(bridge);
      await ip(['-n', bridge, 'link', 'add', 'bridge0', 'type', 'bridge']);
      await ip(['-n', bridge, 'link', 'set', 'bridge0', 'up']);
    } catch (error) {
      laboratory.remove();
      const reason = error instanceof Error ? error.message : String(error);
      throw new NoNamespacesError(
        `the faults need network namespaces (Linux, root, iproute2, CAP_SYS_ADMIN and CAP_NET_ADMIN): ${reason}`,
        { cause: error },
      );
    }
    return laboratory;
  }

  get #bridge(): string {
    return `${this.#prefix}bridge`;
  }

  /**
   * Makes a host with the address 10.77.NETWORK.NUMBER and plugs it in; `name` has at most nine letters.
   */
  async addHost(name: string, network: number, number: number): Promise<Host> {
    const address = `10.77.${network}.${number}`;
    const secondAddress = `10.77.${network + 100}.${number}`;
    const namespace = this.#prefix + name;
    const port = portOf({ name });
    await this.#addNamespace(namespace);
    const peer = ['peer', 'name', 'eth0', 'netns', namespace];
    await ip(['-n', this.#bridge, 'link', 'add', port, 'type', 'veth', ...peer]);
    await ip(['-n', this.#bridge, 'link', 'set', port, 'up']);
    await this.plug({ name });
    for (const one of [address, secondAddress]) {
      await ip(['-n', namespace, 'address', 'add', `${one}/16`, 'dev', 'eth0']);
    }
    await ip(['-n', namespace, 'link', 'set', 'eth0', 'up']);
    return { name, address, secondAddress, namespace };
  }

  /** Puts the host's cable into the bridge. */
  plug(host: Pick<Host, 'name'>): Promise<void> {
    return ip(['-n', this.#bridge, 'link', 'set', portOf(host), 'master', 'bridge0']);
  }

  /** Pulls it out: nothing comes, nothing goes, and nobody is told. */
  unplug(host: Host): Promise<void> {
    return ip(['-n', this.#bridge, 'link', 'set', portOf(host), 'nomaster']);
  }

  /** Mounts a file system in memory, no larger than `mebibytes`; resolves to its folder. */
  async addDisk(name: string, mebibytes: number): Promise<string> {
    const folder = join(this.folder, name);
    mkdirSync(folder, { recursive: true });
    const result = await runCommand(
      'mount',
      ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, `${this.#prefix}${name}`, folder],
      { timeoutMs: commandTimeoutMs },
    );
    if (result.code !== 0) throw new NoNamespacesError(`mount: ${complaint(result)}`);
    this.#mounts.push(folder);
    return folder;
  }

  /** Removes namespaces, mounts and files; processes must be dead or dying. May be called again. */
  remove(): void {
    process.off('exit', this.#onExit);
    for (const namespace of this.#namespaces.splice(0)) removeNamespace(namespace);
    for (const folder of this.#mounts.splice(0)) unmount(folder);
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #addNamespace(name: string): Promise<void> {
    await ip(['netns', 'add', name]);
    this.#namespaces.push(name);
    await ip(['-n', name, 'link', 'set', 'lo', 'up']);
  }
}

/** Starts a program on a host; it keeps the process id that we know, and dies with us. */
export function startOn(
  host: Host,
  file: string,
  args: readonly string[],
  options: {
    readonly env: NodeJS.ProcessEnv;
    readonly onLine?: (line: string, stream: 'stdout' | 'stderr') => void;
  },
): Promise<GuardedChild> {
  // `ip netns exec` replaces itself by the program.
  return spawnGuarded({
    file: 'ip',
    args: ['netns', 'exec', host.namespace, file, ...args],
    ...options,
  });
}

/** Runs a program on a host to its end. */
export function runOn(
  host: Host,
  file: string,
  args: readonly string[],
  options: { readonly timeoutMs: number; readonly env?: NodeJS.ProcessEnv },
): Promise<CommandResult> {
  return runCommand('ip', ['netns', 'exec', host.namespace, file, ...args], options);
}

/** What became of an attempt to connect. */
export type Connection = 'connected' | 'refused' | 'silent';

/** Tries to open a TCP connection from a host; `silent` when nothing comes back within `withinMs`. */
export async function tryConnect(
  from: Host,
  address: string,
  port: number,
  withinMs: number,
): Promise<Connection> {
  const script = `exec 3<>/dev/tcp/${address}/${port}`;
  const seconds = String(withinMs / 1000);
  const { code } = await runOn(from, 'timeout', [seconds, 'bash', '-c', script], {
    timeoutMs: withinMs + commandTimeoutMs,
  });
  if (code === 0) return 'connected';
  return code === 124 ? 'silent' : 'refused';
}

async function ip(args: readonly string[]): Promise<void> {
  const result = await runCommand('ip', args, { timeoutMs: commandTimeoutMs });
  if (result.code !== 0) throw new Error(`ip ${args.join(' ')}: ${complaint(result)}`);
}

// Synchronous from here on: this has to work while the process exits.

function removeNamespace(name: string): void {
  spawnSync('ip', ['netns', 'delete', name], { stdio: 'ignore', timeout: commandTimeoutMs });
}

/** Lazily: a process that was killed a moment ago may still have a file open. */
function unmount(folder: string): void {
  spawnSync('umount', ['--lazy', folder], { stdio: 'ignore', timeout: commandTimeoutMs });
}

/** Whether a process with this id runs. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The process id in a name of ours, when that process is dead; null else. */
function deadOwner(name: string): number | null {
  const match = new RegExp(`^${marker}(\\d+)(-|$)`).exec(name);
  const pid = Number(match?.[1] ?? 0);
  return pid > 0 && !isAlive(pid) ? pid : null;
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Removes what runs that were killed have left: processes on their hosts, namespaces, mounts and files. */
function sweep(): void {
  for (const namespace of namesIn('/run/netns')) {
    if (deadOwner(namespace) === null) continue;
    const listed = spawnSync('ip', ['netns', 'pids', namespace], {
      encoding: 'utf8',
      timeout: commandTimeoutMs,
    });
    for (const pid of listed.stdout.split('\n').filter((line) => /^\d+$/.test(line))) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    }
    removeNamespace(namespace);
  }
  const mounts = process.platform === 'linux' ? readFileSync('/proc/mounts', 'utf8') : '';
  for (const line of mounts.split('\n')) {
    const [source = '', folder = ''] = line.split(' ');
    if (deadOwner(source) !== null) unmount(folder);
  }
  for (const name of namesIn(tmpdir())) {
    if (deadOwner(name) !== null) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}
