// One member of etcd on a host of its own with a disk of its own: started on its data, or without any in some cluster,
// killed, stopped, wiped. What it is a member of is not its business.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { etcdEnvironment } from '../../src/dev/etcd-cache.ts';
import type { EtcdBinaries } from '../../src/dev/etcd-cache.ts';
import type { GuardedChild } from '../../src/dev/etcd-child.ts';
import { eventually } from '../harness/wait.ts';
import type { Firewall } from './firewall.ts';
import { startOn } from './hosts.ts';
import type { Host } from './hosts.ts';
import { etcdClientPort, etcdPeerPort } from './ports.ts';
import { isStopped } from './process-state.ts';

/** Three segments of the log, which etcd makes in full at once (64 MiB each), the database, and some more. */
export const diskMebibytes = 320;

/** Small enough to be filled in a second; the elections need a thousandth of it. */
export const etcdQuotaMebibytes = 24;

/** The cluster that a member without data begins in; its id follows from the hosts and the token. */
export interface Origin {
  readonly hosts: readonly Host[];
  readonly state: 'new' | 'existing';
  readonly token: string;
}

const initialFlags = ({ hosts, token }: Origin): readonly string[] => [
  `--initial-cluster=${hosts.map((one) => `${one.name}=${urlOf(one, etcdPeerPort)}`).join(',')}`,
  `--initial-cluster-token=${token}`,
];

/** One member. */
export class EtcdHost {
  readonly host: Host;
  readonly firewall: Firewall;
  /** Where its disk is mounted. */
  readonly disk: string;
  readonly #binary: string;
  readonly #extraArgs: readonly string[];
  #child: GuardedChild | undefined;

  constructor(
    host: Host,
    disk: string,
    options: { readonly firewall: Firewall; readonly binaries: EtcdBinaries },
  ) {
    this.host = host;
    this.disk = disk;
    this.firewall = options.firewall;
    this.#binary = options.binaries.etcd;
    // Data in memory need not be synced; 3.4 has no flag for that.
    this.#extraArgs = options.binaries.version.startsWith('3.4') ? [] : ['--unsafe-no-fsync'];
  }

  get name(): string {
    return this.host.name;
  }

  get address(): string {
    return this.host.address;
  }

  get clientUrl(): string {
    return urlOf(this.host, etcdClientPort);
  }

  get peerUrl(): string {
    return urlOf(this.host, etcdPeerPort);
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Starts it on its old data, or without any in the cluster that it begins in; resolves before it serves. */
  async start(origin: Origin | null = null): Promise<void> {
    const own = { client: this.clientUrl, peer: this.peerUrl };
    this.#child = await startOn(
      this.host,
      this.#binary,
      [
        `--name=${this.name}`,
        `--data-dir=${this.#data}`,
        `--listen-client-urls=${own.client}`,
        `--advertise-client-urls=${own.client}`,
        `--listen-peer-urls=${own.peer}`,
        `--initial-advertise-peer-urls=${own.peer}`,
        ...(origin === null ? [] : initialFlags(origin)),
        `--initial-cluster-state=${origin?.state ?? 'existing'}`,
        `--quota-backend-bytes=${etcdQuotaMebibytes * 1024 * 1024}`,
        // A long run writes its log many times over, and the disks are small: what is behind a snapshot goes.
        ...['--snapshot-count=1000', '--max-wals=1', '--max-snapshots=1'],
        '--logger=zap',
        '--log-level=warn',
        ...this.#extraArgs,
      ],
      { env: etcdEnvironment() },
    );
  }

  /** Whether its process runs, stopped or not. */
  isRunning(): boolean {
    return this.#child !== undefined && this.#child.exit() === null;
  }

  /** SIGKILL; resolves when it is gone. */
  async kill(): Promise<void> {
    this.#child?.signal('SIGKILL');
    await this.#child?.exited;
  }

  /** SIGSTOP; resolves once every thread has stopped. */
  async freeze(): Promise<void> {
    this.#child?.signal('SIGSTOP');
    await eventually(() => isStopped(this.pid), { withinMs: 5000, what: `${this.name} stopped` });
  }

  thaw(): void {
    this.#child?.signal('SIGCONT');
  }

  /** Forgets everything; only for one that does not run. */
  async wipe(): Promise<void> {
    await rm(this.#data, { recursive: true, force: true });
  }

  /** The arguments of `etcdctl snapshot` that make its data from a file; only for one that was wiped. */
  restoring(file: string, origin: Origin): readonly string[] {
    const self = [`--name=${this.name}`, `--initial-advertise-peer-urls=${this.peerUrl}`];
    const flags = [`--data-dir=${this.#data}`, ...self, ...initialFlags(origin)];
    return ['restore', file, ...flags];
  }

  get #data(): string {
    return join(this.disk, 'data');
  }

  recentOutput(): string {
    return this.#child?.recentOutput() ?? '';
  }
}

const urlOf = (host: Host, port: number): string => `http://${host.address}:${port}`;
