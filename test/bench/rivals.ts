// Three candidates of one kind on one etcd, for benchmarks: electord, the etcd3 package's Election behind a small HTTP
// server, and Go's library, behind such a server and as `etcdctl elect`. Each can be started, told to go, and watched for
// the moment it leads. Times are of this process's monotonic clock, in ms.
import { Agent, request, type RequestOptions } from 'node:http';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  spawnGuarded,
  type GuardedChild,
  type GuardedChildOptions,
} from '../../src/dev/etcd-child.ts';
import { etcdEnvironment } from '../../src/dev/etcd-cache.ts';
import { startOn, type Host } from '../faults/hosts.ts';
import { sidecarPort } from '../faults/ports.ts';
import type { EtcdCluster } from '../harness/etcd.ts';
import { etcdBinaries } from '../harness/binaries.ts';
import { reservePorts } from '../harness/ports.ts';
import { eventually } from '../harness/wait.ts';
import { bundled, root } from './peers.ts';

/** One candidate in a process of its own. */
export interface Candidate {
  readonly id: string;
  readonly child: GuardedChild;
  /** Whether it says that it leads. */
  leads(): Promise<boolean>;
  /** Resolves to the time of the first sign that it leads; never rejects. `ended` stops looking. */
  firstClaim(ended: AbortSignal): Promise<number>;
}

/** A kind of candidate. */
export interface Rival {
  readonly name: string;
  /** How it is told to leave. */
  readonly leave: NodeJS.Signals;
  /** Where its places in the queue are kept. */
  readonly queuePrefix: string;
  start(id: string): Promise<Candidate>;
}

/** An etcd, wherever it runs. */
interface Etcd {
  readonly endpoints: readonly string[];
  readonly etcdctl: (args: readonly string[]) => Promise<string>;
}

/** A host for a candidate, and a socket in the file system: it is asked there, whatever becomes of the host's network. */
export interface Place {
  readonly host: Host;
  readonly socket: string;
}

/** The candidates' places by their ids; without, all are on this machine. */
type Places = ReadonlyMap<string, Place>;

function spawnAt(
  place: Place | undefined,
  { file, args, ...options }: GuardedChildOptions,
): Promise<GuardedChild> {
  if (place === undefined) return spawnGuarded({ file, args, ...options });
  // What the one before has left there would be in its way.
  rmSync(place.socket, { force: true });
  return startOn(place.host, file, args, options);
}

/** A question follows the answer before it this soon: the resolution of what is measured. */
const pollEveryMs = 1;

/** Whether `GET /leader` answers 200. */
function asks(where: RequestOptions): Promise<boolean> {
  return new Promise((resolve, reject) => {
    request({ ...where, path: '/leader' }, (answer) => {
      answer.resume().on('end', () => resolve(answer.statusCode === 200));
    })
      .on('error', reject)
      .end();
  });
}

/** A candidate that answers `/leader` over HTTP, asked over one kept connection. */
function overHttp(id: string, child: GuardedChild, at: RequestOptions): Candidate {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  void child.exited.then(() => agent.destroy());
  const where = { ...at, agent };
  return {
    id,
    child,
    leads: () => asks(where),
    async firstClaim(ended) {
      while (!ended.aborted) {
        if (await asks(where).catch(() => false)) return performance.now();
        await delay(pollEveryMs);
      }
      return Number.POSITIVE_INFINITY;
    },
  };
}

/** What more an electord is told, and what it runs while it leads. */
interface Beside {
  readonly name?: string;
  readonly args?: readonly string[];
  readonly command?: readonly string[];
  readonly places?: Places;
}

export function electord(
  cluster: Etcd,
  ttlSeconds: number,
  { name = 'electord', args = [], command, places }: Beside = {},
): Rival {
  return {
    name,
    leave: 'SIGTERM',
    queuePrefix: '/electord/bench/candidates/',
    async start(id) {
      const place = places?.get(id);
      const [port = 0, localPort = 0] = await reservePorts(2);
      const listeners =
        place === undefined
          ? [`--listen=127.0.0.1:${port}`, `--local-listen=127.0.0.1:${localPort}`]
          : [
              `--listen=${place.host.address}:${sidecarPort}`,
              `--local-listen=unix:${place.socket}`,
            ];
      const child = await spawnAt(place, {
        file: process.execPath,
        args: [
          ...[join(root, 'dist', 'electord.js'), command === undefined ? 'serve' : 'run'],
          ...['--election=bench', `--id=${id}`, ...args],
          ...[`--etcd=${cluster.endpoints.join(',')}`, `--ttl=${ttlSeconds}s`],
          ...listeners,
          ...(command === undefined ? [] : ['--', ...command]),
        ],
        env: { PATH: process.env['PATH'] },
      });
      return overHttp(id, child, whereOf(place, port));
    },
  };
}

const whereOf = (place: Place | undefined, port: number): RequestOptions =>
  place === undefined ? { host: '127.0.0.1', port } : { socketPath: place.socket };

export async function etcd3Election(
  cluster: Etcd,
  ttlSeconds: number,
  places?: Places,
): Promise<Rival> {
  const program = await bundled('peer-etcd3');
  return {
    name: 'etcd3 Election',
    leave: 'SIGTERM',
    queuePrefix: 'election/bench/',
    async start(id) {
      const place = places?.get(id);
      const [port = 0] = await reservePorts(1);
      const where = place?.socket ?? String(port);
      const args = [cluster.endpoints.join(','), 'bench', id, String(ttlSeconds), where];
      const child = await spawnAt(place, {
        file: process.execPath,
        args: [program, ...args],
        env: { PATH: process.env['PATH'] },
      });
      return overHttp(id, child, whereOf(place, port));
    },
  };
}

/** `program` as `goPeer` builds it, asked in the same way as electord. */
export function goLibrary(cluster: Etcd, ttlSeconds: number, program: string): Rival {
  return {
    name: 'Go (concurrency)',
    leave: 'SIGTERM',
    queuePrefix: 'go-library-bench/',
    async start(id) {
      const [port = 0] = await reservePorts(1);
      const args = [cluster.endpoints.join(','), 'go-library-bench', id, String(ttlSeconds)];
      const env = { PATH: process.env['PATH'] };
      const child = await spawnGuarded({ file: program, args: [...args, String(port)], env });
      return overHttp(id, child, { host: '127.0.0.1', port });
    },
  };
}

/**
 * It prints its key and its name once it leads, and asks nobody: no HTTP is in its times. It takes no TTL: its session has
 * the library's own, a minute.
 */
export async function goElection(cluster: EtcdCluster): Promise<Rival> {
  const { etcdctl } = (await etcdBinaries())[cluster.version];
  if (etcdctl === null) throw new Error('there is no etcdctl');
  return {
    name: 'Go (etcdctl elect)',
    leave: 'SIGINT',
    queuePrefix: 'go-bench/',
    async start(id) {
      let claimedAt: number | null = null;
      const child = await spawnGuarded({
        file: etcdctl,
        args: [`--endpoints=${cluster.endpoints.join(',')}`, 'elect', 'go-bench', id],
        env: etcdEnvironment({ ETCDCTL_API: '3' }),
        onLine: () => {
          claimedAt ??= performance.now();
        },
      });
      return {
        id,
        child,
        leads: () => Promise.resolve(claimedAt !== null && child.exit() === null),
        async firstClaim(ended) {
          while (!ended.aborted && claimedAt === null) await delay(pollEveryMs);
          return claimedAt ?? Number.POSITIVE_INFINITY;
        },
      };
    },
  };
}

/** A peer that was cut off takes twice its TTL, and its connections', to come back. */
const settledWithinMs = 60_000;

/**
 * Between two rounds: a newcomer's start is over by then, and the others have renewed and been asked as in a life of
 * some length. What is measured is the hand-over, not the start beside it.
 */
const calmMs = 1500;

/** Waits until exactly one of these leads and all stand in the queue; resolves to that one. */
async function settled(
  { queuePrefix }: Rival,
  standing: readonly Candidate[],
  cluster: Etcd,
): Promise<Candidate> {
  return eventually(
    async () => {
      const leading = await Promise.all(standing.map((candidate) => candidate.leads()));
      const found = standing.filter((_, index) => leading[index]);
      if (found.length !== 1) return null;
      const keys = await cluster.etcdctl(['get', '--prefix', '--keys-only', queuePrefix]);
      return keys.split('\n').filter((key) => key !== '').length === standing.length && found[0];
    },
    { withinMs: settledWithinMs, what: 'one leader of three' },
  );
}

/** How a leader is lost. */
export interface Loss {
  readonly signal: NodeJS.Signals;
  /** Ends it instead of the signal; resolves to the time from which is measured. */
  readonly end?: (leader: Candidate) => Promise<number>;
  /** Brings it back, once another leads; else it has ended, and a newcomer replaces it. */
  readonly heal?: (leader: Candidate) => void | Promise<void>;
}

/**
 * Loses the leader again and again; resolves to the times from the signal to the first sign that another leads, one for
 * each round, in ms.
 */
export async function successions(
  rival: Rival,
  cluster: Etcd,
  { rounds, signal, end, heal }: Loss & { readonly rounds: number },
): Promise<readonly number[]> {
  let standing: Candidate[] = [];
  const times: number[] = [];
  try {
    for (const id of ['a', 'b', 'c']) standing.push(await rival.start(id));
    while (times.length < rounds) {
      const leader = await settled(rival, standing, cluster);
      const others = standing.filter((candidate) => candidate !== leader);
      const ended = new AbortController();
      const claims = others.map((candidate) => candidate.firstClaim(ended.signal));
      await delay(calmMs);
      if (!(await leader.leads())) {
        // On a busy machine another may lead by now: there is nothing to measure.
        ended.abort();
        continue;
      }
      const signalledAt = performance.now();
      const began = end?.(leader) ?? Promise.resolve(signalledAt);
      if (end === undefined) leader.child.signal(signal);
      times.push((await Promise.race(claims)) - (await began));
      ended.abort();
      await heal?.(leader);
      if (heal !== undefined) continue;
      await leader.child.exited;
      standing = [...others, await rival.start(`next-${times.length}`)];
    }
    return times;
  } finally {
    for (const { child } of standing) child.signal('SIGKILL');
    await Promise.all(standing.map(({ child }) => child.exited));
    await cluster.etcdctl(['del', '--prefix', rival.queuePrefix]);
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** One line of the table that a benchmark prints. */
export function row(name: string, times: readonly number[]): string {
  const [low, mid, high] = [Math.min(...times), median(times), Math.max(...times)];
  const cells = [mid, low, high].map((value) => value.toFixed(1).padStart(9));
  return `${name.padEnd(20)}${cells.join('')}${String(times.length).padStart(8)}`;
}

export const heading = `${'ms'.padEnd(20)}${'median'.padStart(9)}${'min'.padStart(9)}${'max'.padStart(9)}${'rounds'.padStart(8)}`;
