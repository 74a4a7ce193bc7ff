// The three members of etcd, each on a host of its own with a disk of its own, and an operator's host that no fault
// ever cuts off, from which etcdctl is run.
import { rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { etcdEnvironment } from '../../src/dev/etcd-cache.ts';
import type { EtcdBinaries } from '../../src/dev/etcd-cache.ts';
import type { GuardedChild } from '../../src/dev/etcd-child.ts';
import { complaint } from '../../src/dev/etcd-command.ts';
import { eventually } from '../harness/wait.ts';
import { Firewall } from './firewall.ts';
import { runOn, startOn } from './hosts.ts';
import type { Host, Laboratory } from './hosts.ts';
import { etcdClientPort, etcdPeerPort } from './ports.ts';
import { isStopped } from './process-state.ts';

/** Three segments of the log, which etcd makes in full at once (64 MiB each), the database, and some more. */
const diskMebibytes = 320;

/** Small enough to be filled in a second; the elections need a thousandth of it. */
export const etcdQuotaMebibytes = 24;

const etcdctlTimeoutMs = 20_000;

/** From the start of a member to its service, on a busy machine, an election of etcd's leader included. */
const servingWithinMs = 30_000;

/** One member. */
export class EtcdHost {
  readonly host: Host;
  readonly firewall: Firewall;
  /** Where its disk is mounted. */
  readonly disk: string;
  readonly #binary: string;
  readonly #cluster: readonly Host[];
  readonly #extraArgs: readonly string[];
  #child: GuardedChild | undefined;
  #isNew = true;

  constructor(
    host: Host,
    disk: string,
    options: {
      readonly firewall: Firewall;
      readonly binaries: EtcdBinaries;
      readonly cluster: readonly Host[];
    },
  ) {
    this.host = host;
    this.disk = disk;
    this.firewall = options.firewall;
    this.#binary = options.binaries.etcd;
    this.#cluster = options.cluster;
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

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Starts it on its old data; resolves before it serves. */
  async start(): Promise<void> {
    const cluster = this.#cluster.map((one) => `${one.name}=${urlOf(one, etcdPeerPort)}`);
    const own = { client: this.clientUrl, peer: urlOf(this.host, etcdPeerPort) };
    this.#child = await startOn(
      this.host,
      this.#binary,
      [
        `--name=${this.name}`,
        `--data-dir=${join(this.disk, 'data')}`,
        `--listen-client-urls=${own.client}`,
        `--advertise-client-urls=${own.client}`,
        `--listen-peer-urls=${own.peer}`,
        `--initial-advertise-peer-urls=${own.peer}`,
        `--initial-cluster=${cluster.join(',')}`,
        `--initial-cluster-state=${this.#isNew ? 'new' : 'existing'}`,
        `--quota-backend-bytes=${etcdQuotaMebibytes * 1024 * 1024}`,
        // A long run writes its log many times over, and the disks are small: what is behind a snapshot goes.
        ...['--snapshot-count=1000', '--max-wals=1', '--max-snapshots=1'],
        '--logger=zap',
        '--log-level=warn',
        ...this.#extraArgs,
      ],
      { env: etcdEnvironment() },
    );
    this.#isNew = false;
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

  /** What is left of its disk, in bytes. */
  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.disk);
    return bavail * bsize;
  }

  /** Forgets everything; only for one that does not run. */
  async wipe(): Promise<void> {
    await rm(join(this.disk, 'data'), { recursive: true, force: true });
  }

  recentOutput(): string {
    return this.#child?.recentOutput() ?? '';
  }
}

const urlOf = (host: Host, port: number): string => `http://${host.address}:${port}`;

interface EndpointStatus {
  readonly Endpoint: string;
  readonly Status: {
    readonly header: { readonly member_id: number; readonly revision: number };
    readonly leader: number;
  };
}

/** The cluster. */
export class EtcdHosts {
  readonly members: readonly EtcdHost[];
  /** Never cut off. */
  readonly operator: Host;
  readonly #etcdctl: string;

  private constructor(members: readonly EtcdHost[], operator: Host, etcdctl: string) {
    this.members = members;
    this.operator = operator;
    this.#etcdctl = etcdctl;
  }

  /** Starts three members; resolves once all of them serve. */
  static async open(laboratory: Laboratory, binaries: EtcdBinaries): Promise<EtcdHosts> {
    const operator = await laboratory.addHost('operator', 0, 1);
    const hosts: Host[] = [];
    for (const index of [1, 2, 3]) {
      hosts.push(await laboratory.addHost(`etcd-${index}`, 1, index));
    }
    const members: EtcdHost[] = [];
    for (const host of hosts) {
      const disk = await laboratory.addDisk(host.name, diskMebibytes);
      const firewall = new Firewall(host, laboratory.folder);
      members.push(new EtcdHost(host, disk, { firewall, binaries, cluster: hosts }));
    }
    const { etcdctl } = binaries;
    if (etcdctl === null) throw new Error(`${binaries.etcd} has no etcdctl beside it`);
    const cluster = new EtcdHosts(members, operator, etcdctl);
    try {
      await Promise.all(members.map((member) => member.start()));
      for (const member of members) await cluster.untilServing(member);
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  get endpoints(): readonly string[] {
    return this.members.map(({ clientUrl }) => clientUrl);
  }

  get addresses(): readonly string[] {
    return this.members.map(({ address }) => address);
  }

  /**
   * Runs etcdctl at these members (all by default), with `input` (a file) if given; resolves to its output.
   *
   * @throws Error with its complaint when it fails.
   */
  async etcdctl(
    args: readonly string[],
    {
      at = this.members,
      input = '/dev/null',
    }: { readonly at?: readonly EtcdHost[]; readonly input?: string } = {},
  ): Promise<string> {
    const endpoints = at.map(({ clientUrl }) => clientUrl).join(',');
    const limits = ['--dial-timeout=5s', '--command-timeout=15s'];
    const result = await runOn(
      this.operator,
      'sh',
      // Only a shell gives a program a file to read.
      [
        '-c',
        'exec "$@" < "$0"',
        input,
        this.#etcdctl,
        `--endpoints=${endpoints}`,
        ...limits,
        ...args,
      ],
      { timeoutMs: etcdctlTimeoutMs, env: etcdEnvironment({ ETCDCTL_API: '3' }) },
    );
    if (result.code !== 0) throw new Error(`etcdctl ${args[0] ?? ''}: ${complaint(result)}`);
    return result.stdout;
  }

  /** Waits until a linearizable read through this member succeeds. */
  async untilServing(member: EtcdHost): Promise<void> {
    await eventually(() => this.etcdctl(['get', 'nothing'], { at: [member] }).then(() => true), {
      withinMs: servingWithinMs,
      what: `${member.name} serves\n${member.recentOutput()}`,
    });
  }

  /** The member that says itself that it leads etcd; waits until there is one. */
  leader(): Promise<EtcdHost> {
    return eventually(
      async () => {
        for (const member of this.members) {
          const text = await this.etcdctl(['endpoint', 'status', '-w', 'json'], { at: [member] });
          const status = (JSON.parse(text) as EndpointStatus[])[0]?.Status;
          if (status !== undefined && status.leader === status.header.member_id) return member;
        }
        return null;
      },
      { withinMs: servingWithinMs, what: 'a leader of etcd' },
    );
  }

  /** etcd's revision. */
  async revision(): Promise<number> {
    const text = await this.etcdctl(['get', 'nothing', '-w', 'json']);
    return (JSON.parse(text) as { header: { revision: number } }).header.revision;
  }

  /** Everything runs and nothing is cut. */
  async restore(): Promise<void> {
    for (const member of this.members) {
      member.thaw();
      await member.firewall.clear();
      if (!member.isRunning()) await member.start();
    }
    for (const member of this.members) await this.untilServing(member);
  }

  async close(): Promise<void> {
    await Promise.all(this.members.map((member) => member.kill()));
  }
}
