// One run: sets the scene, lets faults happen one after another in an order that follows from the seed, and hands
// everything that was seen to the judge. What it started is gone at its end, however it ends.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readDuration } from '../../src/contract.ts';
import type { EtcdBinaries } from '../../src/dev/etcd-cache.ts';
import { etcdBinaries, projectFolder } from '../harness/binaries.ts';
import type { EtcdSeries } from '../harness/binaries.ts';
import { monotonicMs } from '../harness/sidecar.ts';
import { Random } from '../sim/random.ts';
import { AppHosts } from './app-hosts.ts';
import type { Answer } from './answer-line.ts';
import { judgeConduct } from './conduct.ts';
import type { Conduct, ConductLaw } from './conduct.ts';
import { diskMebibytes, EtcdHost } from './etcd-host.ts';
import { EtcdHosts } from './etcd-hosts.ts';
import { Firewall, prepareFirewalls } from './firewall.ts';
import { Laboratory } from './hosts.ts';
import { judge } from './judge.ts';
import type { Law, Verdict } from './judge.ts';
import { etcdFaults } from './kinds-of-etcd-faults.ts';
import { diskFaults } from './kinds-of-full-disks.ts';
import { endpointFaults } from './kinds-of-endpoint-faults.ts';
import { lostEtcds } from './kinds-of-lost-etcds.ts';
import { memberFaults } from './kinds-of-member-faults.ts';
import { sidecarFaults } from './kinds-of-sidecar-faults.ts';
import { buildPrograms, type Programs } from './programs.ts';
import { Course, hold } from './scene.ts';
import type { FaultKind, FaultRecord, Scene } from './scene.ts';
import { SidecarHosts } from './sidecar-hosts.ts';
import type { Contestants } from './sidecar-hosts.ts';
import type { Sample } from './traffic.ts';
import { judgeTraffic } from './writes.ts';
import type { Deliveries } from './writes.ts';

/** Every kind of fault. */
export const faultKinds: readonly FaultKind[] = [
  ...sidecarFaults,
  ...memberFaults,
  ...endpointFaults,
  ...etcdFaults,
  ...diskFaults,
  ...lostEtcds,
];

/** What to do. */
export interface RunOptions {
  readonly seed: number;
  /** No fault begins later than this; 0 for each kind once. */
  readonly seconds: number;
  readonly ttlMs: number;
  /** As the flag has it. */
  readonly takeoverDelay: string;
  readonly fastFailover: string;
  readonly make: Contestants['make'];
  /** Another build of ours than the project's, null for that. */
  readonly program: string | null;
  readonly etcd: EtcdSeries;
  /** Only these, in this order where each happens once; all of them where it is empty. */
  readonly only: readonly string[];
  readonly watchLatencyMs: number;
  readonly availabilityBoundMs: number;
  /** Gets a line for each fault. */
  readonly log: (line: string) => void;
}

/** What came of it. */
export interface RunResult {
  readonly options: RunOptions;
  readonly law: Law;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly answers: readonly Answer[];
  readonly samples: readonly Sample[];
  readonly faults: readonly FaultRecord[];
  readonly verdict: Verdict;
  readonly conductLaw: ConductLaw;
  readonly conduct: Conduct;
  /** Null for peers of another make, which have no proxy. */
  readonly deliveries: Deliveries | null;
  /** Why it ended before its time, null where it did not. */
  readonly failure: Error | null;
  /** Which build of ours was judged. */
  readonly electordDigest: string;
  readonly logFolder: string;
}

/** Where runs leave their reports. */
export const reportFolder = join(projectFolder, '.cache', 'faults');

/** How long a sound cluster may take to agree again: generous, because being late is judged apart. */
const settleWithinMs = 30_000;

/** The short lease, beyond which nothing is promised; null where there is none. */
function shortMsOf(fastFailover: string): number | null {
  const read = readDuration(fastFailover);
  return 'ms' in read ? read.ms : null;
}

function lawOf({ ttlMs, takeoverDelay, fastFailover, make, ...rest }: RunOptions): Law {
  const isDuration = takeoverDelay !== 'auto' && takeoverDelay !== 'evidence';
  const delayMs = isDuration ? Number.parseFloat(takeoverDelay) * 1000 : ttlMs;
  // Evidence costs nothing after a crash; and what it costs where something was taken away, a lease costs at a crash.
  const takeoverDelayMs = takeoverDelay === 'evidence' ? 0 : delayMs;
  const waits = make === 'electord' && delayMs >= ttlMs;
  // The program's own default for the margin.
  const marginMs = make === 'electord' ? Math.max(250, ttlMs / 20) : 0;
  const { availabilityBoundMs } = rest;
  const watchLatencyMs = waits ? null : rest.watchLatencyMs;
  return {
    ...{ ttlMs, takeoverDelayMs, availabilityBoundMs, watchLatencyMs },
    mostValidForMs: shortMsOf(fastFailover) ?? ttlMs - marginMs,
  };
}

/** The program's own default, without an app beside it. */
const graceMs = 10_000;

/**
 * In a TTL: ten by a round and a renewal each fifth, twenty of whoever stands third and asks for two leases, which are
 * eighty while a leader misses its renewals. The rest is for joining, and the watch.
 */
const mostRequestsPerTtl = 100;
/**
 * While etcd has no quorum, or is none, each request goes to every endpoint. An attempt is ten packets at most: a connection
 * that is opened and closed, the request, windows and pings.
 */
const mostPacketsPerRequest = 3 * 10;

function conductLawOf({ ttlMs }: RunOptions): ConductLaw {
  const mostRequestsPerSecond = (mostRequestsPerTtl * 1000) / ttlMs;
  return {
    mostRequestsPerSecond,
    mostPacketsPerSecond: mostRequestsPerSecond * mostPacketsPerRequest,
    endsWithinMs: graceMs,
  };
}

/** @throws Error when a name is none of a kind of fault. */
function kindsFor({ only, make, fastFailover }: RunOptions): readonly FaultKind[] {
  const unknown = only.filter((name) => !faultKinds.some((kind) => kind.name === name));
  if (unknown.length > 0) throw new Error(`no such kind of fault: ${unknown.join(', ')}`);
  const wanted =
    only.length === 0
      ? faultKinds
      : only.map((name) => faultKinds.find((kind) => kind.name === name)!);
  return wanted
    .filter(({ onlyElectord }) => make === 'electord' || onlyElectord !== true)
    .filter(({ needs }) => needs === undefined || fastFailover !== 'off');
}

/** Every kind in each round, as often as it weighs, in an order of chance; once in the given order where no time is given. */
function* order(options: RunOptions, random: Random): Generator<FaultKind> {
  const kinds = kindsFor(options);
  if (options.seconds === 0) yield* kinds;
  const round = kinds.flatMap((kind) => Array.from({ length: kind.weight ?? 1 }, () => kind));
  while (options.seconds > 0) yield* random.shuffle(round);
}

async function oneFault(kind: FaultKind, scene: Scene, random: Random): Promise<FaultRecord> {
  const { sidecars } = scene;
  await sidecars.agreement(settleWithinMs);
  // Not always at the same moment between two renewals.
  await hold(random.between(50, 1000));
  const course = new Course();
  await kind.run(scene, random, course);
  const { target, startedAt, healedAt, effects, plannedEnds, administered } = course;
  const { withoutEtcd, revived } = course;
  await settle(scene, healedAt);
  const revokedByEtcd = revokedAfter(course.exLeaderBackAt, sidecars);
  return {
    ...{ kind: kind.name, leaderDue: kind.leaderDue, target, startedAt, healedAt },
    ...{ settledAt: monotonicMs(), effect: effects.join('; ') },
    ...{ plannedEnds, administered, revokedByEtcd, withoutEtcd, revived },
  };
}

/** A deposed leader of etcd looks for expired leases every 500 ms; the rest is for a busy machine. */
const revokesWithinMs = 2000;

/** The terms whose keys went just after a stopped leader of etcd had come back. */
function revokedAfter(backAt: number | null, { members }: SidecarHosts): readonly bigint[] {
  if (backAt === null) return [];
  return members
    .flatMap(({ keysLost }) => keysLost)
    .filter(({ at }) => at >= backAt && at <= backAt + revokesWithinMs)
    .map(({ token }) => token);
}

/** Waits until all agree; peers of another make that do not manage it are started anew. */
async function settle({ sidecars, contestants }: Scene, since: number): Promise<void> {
  try {
    await sidecars.agreement(settleWithinMs, since);
  } catch (error) {
    if (contestants.make === 'electord') throw error;
    for (const sidecar of sidecars.members) await sidecar.end('SIGKILL');
    await sidecars.restore();
    await sidecars.agreement(settleWithinMs);
  }
}

/** What a run leaves behind. */
interface Happened {
  readonly faults: readonly FaultRecord[];
  readonly failure: Error | null;
}

async function happen(scene: Scene, options: RunOptions): Promise<Happened> {
  const faults: FaultRecord[] = [];
  const until = monotonicMs() + options.seconds * 1000;
  let kindNow = '';
  try {
    for (const kind of order(options, new Random(options.seed, 'order'))) {
      if (options.seconds > 0 && monotonicMs() >= until) break;
      kindNow = kind.name;
      // A fault does not depend on what others drew before it: it is the same in a run of its kind alone.
      const before = faults.filter((fault) => fault.kind === kind.name).length;
      const random = new Random(options.seed, `${kind.name} ${before}`);
      const record = await oneFault(kind, scene, random);
      faults.push(record);
      const lasted = Math.round(record.settledAt - record.startedAt);
      options.log(
        `${faults.length} ${kind.name}: ${record.target}; ${lasted} ms; ${record.effect}`,
      );
    }
    await scene.sidecars.agreement(settleWithinMs);
    return { faults, failure: null };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { faults, failure: new Error(`${kindNow}: ${reason}`, { cause: error }) };
  }
}

/** For what a sidecar may write before its disk is full: a run's debug lines in seconds. */
const logMebibytes = 8;

/** Starts everything; `closing` gets what ends it, even where not all of it could be started. */
async function setScene(
  laboratory: Laboratory,
  parts: {
    readonly options: RunOptions;
    readonly binaries: EtcdBinaries;
    readonly programs: Programs;
    readonly logFolder: string;
    readonly closing: (() => Promise<void>)[];
  },
): Promise<Scene> {
  const { options, binaries, programs, logFolder, closing } = parts;
  const etcd = await EtcdHosts.open(laboratory, binaries);
  closing.push(() => etcd.close());
  const elsewhere = await laboratory.addHost('elsewhere', 3, 1);
  const disk = await laboratory.addDisk('elsewhere', diskMebibytes);
  const logDisk = await laboratory.addDisk('logs', logMebibytes);
  const firewall = new Firewall(elsewhere, laboratory.folder);
  const stranger = new EtcdHost(elsewhere, disk, { firewall, binaries });
  closing.push(() => stranger.kill());
  const { make, ttlMs, takeoverDelay, fastFailover } = options;
  const { endpoints } = etcd;
  const how = { make, ttlMs, takeoverDelay, fastFailover };
  const contestants = { ...how, endpoints, programs, logFolder };
  const sidecars = await SidecarHosts.open(laboratory, contestants);
  closing.push(() => sidecars.close());
  return { laboratory, etcd, sidecars, contestants, elsewhere, stranger, binaries, logDisk };
}

/** The apps beside the sidecars, which their proxies reach; null where there are none. */
async function setApps(
  { sidecars, contestants }: Scene,
  programs: Programs,
  closing: (() => Promise<void>)[],
): Promise<AppHosts | null> {
  if (contestants.make !== 'electord') return null;
  const hosts = sidecars.members.map(({ host }) => host);
  const apps = await AppHosts.open(hosts, programs);
  closing.push(() => apps.close());
  return apps;
}

/**
 * Does it.
 *
 * @throws NoNamespacesError where the machine does not allow it; Error when the scene cannot be set.
 */
export async function runFaults(options: RunOptions): Promise<RunResult> {
  kindsFor(options);
  const logFolder = join(reportFolder, `${options.make}-${options.seed}`);
  await rm(logFolder, { recursive: true, force: true });
  await prepareFirewalls();
  const binaries = (await etcdBinaries())[options.etcd];
  const programs = await buildPrograms(options.program);
  const laboratory = await Laboratory.open();
  const closing: (() => Promise<void>)[] = [];
  try {
    const scene = await setScene(laboratory, { options, binaries, programs, logFolder, closing });
    const { sidecars } = scene;
    const apps = await setApps(scene, programs, closing);
    const startedAt = monotonicMs();
    const { faults, failure } = await happen(scene, options);
    const endedAt = monotonicMs();
    const answers = sidecars.answers();
    const traffic = apps?.traffic() ?? null;
    // What they answer from here on, all being asked to end, is not judged; how they end is.
    if (failure === null) await sidecars.end();
    const samples = sidecars.samples();
    const [law, conductLaw] = [lawOf(options), conductLawOf(options)];
    return {
      ...{ options, law, conductLaw, startedAt, endedAt, answers, samples, faults, failure },
      verdict: judge(answers, faults, law),
      deliveries: traffic && judgeTraffic(traffic, answers, faults, law),
      conduct: judgeConduct(samples, sidecars.ends(), faults, conductLaw),
      ...{ electordDigest: programs.electordDigest, logFolder },
    };
  } finally {
    for (const close of closing.reverse()) await close();
    laboratory.remove();
    programs.remove();
  }
}
