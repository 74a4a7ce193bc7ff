// The three members of etcd, each on a host of its own with a disk of its own, one host more for whoever takes the place
// of a member, and an operator's host that no fault ever cuts off, from which etcdctl is run.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { etcdEnvironment } from '../../src/dev/etcd-cache.ts';
import type { EtcdBinaries } from '../../src/dev/etcd-cache.ts';
import { complaint } from '../../src/dev/etcd-command.ts';
import { eventually } from '../harness/wait.ts';
import { diskMebibytes, EtcdHost, type Origin } from './etcd-host.ts';
import { Firewall } from './firewall.ts';
import { runOn } from './hosts.ts';
import type { Host, Laboratory } from './hosts.ts';

/** Of the cluster at the beginning. */
export const firstToken = 'the-first';

const etcdctlTimeoutMs = 20_000;

/** From the start of a member to its service, on a busy machine, an election of etcd's leader included. */
const servingWithinMs = 30_000;

interface EndpointStatus {
  readonly Endpoint: string;
  readonly Status: {
    readonly header: { readonly member_id: number; readonly revision: number };
    readonly leader: number;
  };
}

/** The cluster. */
export class EtcdHosts {
  /** Never cut off. */
  readonly operator: Host;
  readonly #etcdctl: string;
  /** Where the sidecars are told that etcd is: the first three hosts. */
  readonly endpoints: readonly string[];
  /** Of the cluster that the present one began as. */
  token = firstToken;
  #members: readonly EtcdHost[];
  /** Runs nothing. */
  #spare: EtcdHost;

  private constructor(hosts: readonly EtcdHost[], operator: Host, etcdctl: string) {
    this.#members = hosts.slice(0, -1);
    this.#spare = hosts.at(-1)!;
    this.endpoints = this.#members.map(({ clientUrl }) => clientUrl);
    this.operator = operator;
    this.#etcdctl = etcdctl;
  }

  /** Starts three members; resolves once all of them serve. */
  static async open(laboratory: Laboratory, binaries: EtcdBinaries): Promise<EtcdHosts> {
    const operator = await laboratory.addHost('operator', 0, 1);
    const hosts: EtcdHost[] = [];
    for (const index of [1, 2, 3, 4]) {
      const host = await laboratory.addHost(`etcd-${index}`, 1, index);
      const disk = await laboratory.addDisk(host.name, diskMebibytes);
      const firewall = new Firewall(host, laboratory.folder);
      hosts.push(new EtcdHost(host, disk, { firewall, binaries }));
    }
    const { etcdctl } = binaries;
    if (etcdctl === null) throw new Error(`${binaries.etcd} has no etcdctl beside it`);
    const cluster = new EtcdHosts(hosts, operator, etcdctl);
    try {
      await cluster.start(cluster.origin(cluster.token));
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  get members(): readonly EtcdHost[] {
    return this.#members;
  }

  /** A new cluster of the present members. */
  origin(token: string): Origin {
    return { hosts: this.members.map(({ host }) => host), state: 'new', token };
  }

  /** Starts all members, without data in a new cluster; resolves once all of them serve. */
  async start(origin: Origin | null = null): Promise<void> {
    this.token = origin?.token ?? this.token;
    await Promise.all(this.members.map((member) => member.start(origin)));
    for (const member of this.members) await this.untilServing(member);
  }

  /** SIGKILL to all members. */
  async kill(): Promise<void> {
    await Promise.all(this.members.map((member) => member.kill()));
  }

  /** Puts another one, on another host and without data, in the place of a member; resolves to that once it serves. */
  async replace(member: EtcdHost): Promise<EtcdHost> {
    const others = this.members.filter((one) => one !== member);
    const list = await this.etcdctl(['member', 'list']);
    const [id = ''] = new RegExp(`^\\w+(?=, \\w+, ${member.name},)`, 'm').exec(list) ?? [];
    const successor = this.#spare;
    // It changes its members only after they have been connected with each other for five seconds.
    const change = (...args: readonly string[]): Promise<true> =>
      eventually(
        () => this.etcdctl(['member', ...args], { at: others }).then(() => true as const),
        {
          withinMs: servingWithinMs,
          what: `member ${args.join(' ')}`,
        },
      );
    await change('remove', id);
    await member.kill();
    await successor.wipe();
    await change('add', successor.name, `--peer-urls=${successor.peerUrl}`);
    this.#members = this.members.map((one) => (one === member ? successor : one));
    this.#spare = member;
    await successor.start({ ...this.origin(this.token), state: 'existing' });
    await this.untilServing(successor);
    return successor;
  }

  get addresses(): readonly string[] {
    return this.members.map(({ address }) => address);
  }

  /** Of those members that the sidecars were told of. */
  get configured(): readonly string[] {
    const told = this.members.filter(({ clientUrl }) => this.endpoints.includes(clientUrl));
    return told.map(({ address }) => address);
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

  /** Its revision, by the word of these. */
  async revision(at: readonly EtcdHost[] = this.members): Promise<number> {
    const text = await this.etcdctl(['get', 'nothing', '-w', 'json'], { at });
    return (JSON.parse(text) as { header: { revision: number } }).header.revision;
  }

  /** Saves all that it knows; resolves to the file. */
  async saveSnapshot(folder: string): Promise<string> {
    const file = join(folder, 'snapshot.db');
    await rm(file, { force: true });
    await this.etcdctl(['snapshot', 'save', file], { at: this.members.slice(0, 1) });
    return file;
  }

  /** Whether this etcd can count on from a greater revision than a snapshot has. */
  async canBump(): Promise<boolean> {
    const help = await this.etcdctl(['snapshot', 'restore', '--help']);
    return help.includes('--bump-revision');
  }

  /** Puts a snapshot in the place of all data, `bumpBy` revisions further; only while no member runs. */
  async restoreSnapshot(file: string, bumpBy: number): Promise<void> {
    const bump = bumpBy === 0 ? [] : [`--bump-revision=${bumpBy}`, '--mark-compacted'];
    for (const member of this.members) {
      await member.wipe();
      const restore = member.restoring(file, this.origin(this.token));
      await this.etcdctl(['snapshot', ...restore, ...bump]);
    }
  }

  /** The id of the cluster, which is too large for a number. */
  async id(): Promise<string> {
    const text = await this.etcdctl(['endpoint', 'status', '-w', 'json']);
    return /"cluster_id":(\d+)/.exec(text)![1]!;
  }

  close(): Promise<void> {
    return this.kill();
  }
}
