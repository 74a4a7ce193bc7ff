// What the end-to-end tests have in common: one etcd for a file, sidecars of the built program that are gone after each
// test, and the question who leads, asked of all of them. It never reads the program's source.
import { join } from 'node:path';
import type { MembersAnswer } from '../../src/contract.ts';
import { spawnGuarded, type GuardedChild } from '../../src/dev/etcd-child.ts';
import { etcdEnvironment } from '../../src/dev/etcd-cache.ts';
import { complaint, runCommand } from '../../src/dev/etcd-command.ts';
import { etcdBinaries, projectFolder } from '../harness/binaries.ts';
import { startEtcdCluster, type EtcdCluster, type EtcdClusterOptions } from '../harness/etcd.ts';
import {
  startSidecar,
  type LeaderAnswer,
  type Sidecar,
  type SidecarOptions,
} from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';

/** TTL of every sidecar unless its test says otherwise: no machine is so busy that it loses a term by being slow. */
export const steadyTtlMs = 10_000;

/** TTL where a lease has to lapse: the shortest that etcd grants. A term may then be lost to a busy machine as well. */
export const ttlMs = 2000;

/** For sidecars of tests in which a lease has to lapse. */
export const lapsing = `--ttl=${ttlMs}ms`;

/**
 * A bound on waiting for a successor of a leader that died: the TTL, etcd's search for expired leases (every 500 ms),
 * and a very busy machine. How long it takes is measured by the benchmark.
 */
export const failoverWithinMs = (ttl: number): number => ttl + 20_000;

/** Starting three processes and electing one, on a busy machine. */
const agreeWithinMs = 20_000;

/** One leader that every one of the sidecars asked names, with one token. */
export interface Agreement {
  readonly leader: Sidecar;
  readonly others: readonly Sidecar[];
  readonly token: string;
}

/** A follower tells who leads a moment before its own key is in the queue. */
async function standsInQueue(one: Sidecar): Promise<boolean> {
  const { members } = (await one.get<MembersAnswer>('/members')).body;
  return members.some(({ id, place }) => id === one.id && place !== null);
}

/** Waits until exactly one of these leads, all of them name it and its term, and its followers stand in the queue. */
export async function agreement(
  sidecars: readonly Sidecar[],
  withinMs = agreeWithinMs,
): Promise<Agreement> {
  return eventually(
    async () => {
      const answers = await Promise.all(sidecars.map((one) => one.get<LeaderAnswer>('/leader')));
      const leaders = answers.filter(({ status }) => status === 200);
      const token = leaders[0]?.body.fencingToken;
      const leader = sidecars.find((_, index) => answers[index] === leaders[0]);
      if (leaders.length !== 1 || leader === undefined || typeof token !== 'string') return null;
      const agreed = answers.every(
        ({ body }) => body.leader?.id === leader.id && body.leader.fencingToken === token,
      );
      const followers = sidecars.filter((_, index) => answers[index]!.body.role === 'follower');
      const stand = agreed && (await Promise.all(followers.map(standsInQueue))).every(Boolean);
      return stand && { leader, token, others: sidecars.filter((one) => one !== leader) };
    },
    { withinMs, what: `one leader among ${sidecars.map(({ id }) => id).join(', ')}` },
  );
}

/**
 * Waits until `one` has read what all of these say of themselves: the queue shows who has just joined it before its record is
 * there, and records are read once a round.
 */
export async function knowsRecords(one: Sidecar, all: readonly Sidecar[]): Promise<void> {
  const known = async (): Promise<boolean> => {
    const { members } = (await one.get<MembersAnswer>('/members')).body;
    const ids = members.filter(({ version }) => version !== null).map(({ id }) => id);
    return all.every(({ id }) => ids.includes(id));
  };
  await eventually(known, { withinMs: agreeWithinMs, what: `the records of all at ${one.id}` });
}

type Wish = Partial<SidecarOptions> & { readonly election: string };

/** An etcd and the processes of one test. */
export class Stage {
  readonly cluster: EtcdCluster;
  readonly #sidecars: Sidecar[] = [];
  readonly #children: GuardedChild[] = [];

  constructor(cluster: EtcdCluster) {
    this.cluster = cluster;
  }

  /** Starts one sidecar with {@link steadyTtlMs}; gone at the end of the test. */
  async sidecar(wish: Wish & { readonly id: string }): Promise<Sidecar> {
    const sidecar = await startSidecar({
      etcd: this.cluster.endpoints,
      ...wish,
      args: [`--ttl=${steadyTtlMs}ms`, ...(wish.args ?? [])],
    });
    this.#sidecars.push(sidecar);
    return sidecar;
  }

  /** Starts three sidecars, `a`, `b` and `c`, at once. */
  async three(wish: Wish): Promise<readonly Sidecar[]> {
    return Promise.all(['a', 'b', 'c'].map((id) => this.sidecar({ ...wish, id })));
  }

  /** Starts `etcdctl` with these arguments; what it prints is in `lines`. SIGINT ends it with a resignation. */
  async etcdctl(
    args: readonly string[],
  ): Promise<{ readonly child: GuardedChild; readonly lines: readonly string[] }> {
    const { etcdctl } = (await etcdBinaries())[this.cluster.version];
    const lines: string[] = [];
    const child = await spawnGuarded({
      file: etcdctl!,
      args: [`--endpoints=${this.cluster.endpoints.join(',')}`, ...args],
      env: etcdEnvironment({ ETCDCTL_API: '3' }),
      onLine: (line) => lines.push(line),
    });
    this.#children.push(child);
    return { child, lines };
  }

  /** The keys under the election, without their values. */
  async keys(election: string): Promise<readonly string[]> {
    const text = await this.cluster.etcdctl([
      ...['get', '--prefix', '--keys-only', `/electord/${election}/`],
    ]);
    return text.split('\n').filter((line) => line !== '');
  }

  /** The ids of all leases, in hexadecimal. */
  async leases(): Promise<readonly string[]> {
    const text = await this.cluster.etcdctl(['lease', 'list']);
    // etcdctl pads with zeros, keys do not.
    const ids = text.split('\n').filter((line) => /^[0-9a-f]+$/.test(line));
    return ids.map((id) => id.replace(/^0+/, ''));
  }

  /** Ends every process of the test, the followers first so that nobody is elected on the way. */
  async clear(): Promise<void> {
    for (const node of this.cluster.nodes) node.thaw();
    const ended = this.#sidecars.splice(0).map((sidecar) => {
      sidecar.signal('SIGKILL');
      return sidecar.exited;
    });
    await Promise.all([...ended, ...this.#children.splice(0).map((child) => child.stop(2000))]);
  }

  async end(): Promise<void> {
    await this.clear();
    await this.cluster.stop();
  }
}

/** Starts an etcd for the tests of one file. */
export async function openStage(options: EtcdClusterOptions): Promise<Stage> {
  return new Stage(await startEtcdCluster(options));
}

/** What a command of the built program prints when it asks this sidecar. @throws Error with what it complained of. */
export async function printedBy({ localUrl }: Sidecar, ...command: string[]): Promise<string> {
  const program = join(projectFolder, 'dist', 'electord.js');
  const args = [program, ...command, '--url', localUrl];
  const ran = await runCommand(process.execPath, args, { timeoutMs: 30_000 });
  if (ran.code !== 0) throw new Error(`electord ${command.join(' ')}: ${complaint(ran)}`);
  return ran.stdout;
}
