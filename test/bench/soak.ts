// Whether sidecars stay as they are: three of them on an etcd of three members, under a steady load on /leader, with an
// election each second and a member of etcd killed and started again each minute. Fails on any error, and where the memory
// of a sidecar has grown by more than a tenth between the first quarter and the end.
//
// npm run soak -- [--minutes 30] [--rate 10000]
import { fork } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Command, InvalidArgumentError } from 'commander';
import { startEtcdCluster, type EtcdCluster } from '../harness/etcd.ts';
import { startSidecar, type Sidecar } from '../harness/sidecar.ts';
import { residentMib } from './kernel.ts';
import { conditions, headingOf } from './machine.ts';
import { benchFolder, bundled } from './peers.ts';
import { growthOf, memoryTable, type Sample } from './soak-memory.ts';
import type { LoadOrder, LoadSeen } from './soak-load.ts';

const positive = (text: string): number => {
  if (!(Number(text) > 0)) throw new InvalidArgumentError('a number above 0, please.');
  return Number(text);
};
const { minutes, rate } = new Command('soak')
  .option('--minutes <n>', 'how long the load is on', positive, 30)
  .option('--rate <n>', 'requests a second, of all three together', positive, 10_000)
  .parse()
  .opts<{ minutes: number; rate: number }>();

const ids = ['a', 'b', 'c'] as const;
const electionEveryMs = 1000;
const restartEveryMs = 60_000;
/** A short trial has some samples in a tenth of its time as well. */
const sampleEveryMs = Math.min(10_000, minutes * 1500);
const connections = 24;
/** Of what it was at the first quarter, at the end. */
const mostGrowth = 1.1;
const leaderWithinMs = 30_000;

/** Does it again and again, each time as long after the last time as it was begun, until it is over. */
async function every(ms: number, over: AbortSignal, act: () => Promise<void>): Promise<void> {
  for (let next = performance.now() + ms; ; next = Math.max(next + ms, performance.now())) {
    await delay(next - performance.now(), undefined, { signal: over }).catch(() => undefined);
    if (over.aborted) return;
    await act();
  }
}

/** Asks whoever leads to step down; counts what came of it, by its status. */
async function elect(sidecars: readonly Sidecar[], outcomes: Record<string, number>) {
  const count = (words: string): void => void (outcomes[words] = (outcomes[words] ?? 0) + 1);
  try {
    const answers = await Promise.all(sidecars.map((one) => one.get('/leader')));
    const leader = sidecars[answers.findIndex(({ status }) => status === 200)];
    if (leader === undefined) {
      count('nobody led');
      return;
    }
    const headers = { 'Content-Type': 'application/json' };
    const asked = { method: 'POST', local: true, body: '{}', headers, timeoutMs: 15_000 };
    count(String((await leader.get('/step-down', asked)).status));
  } catch (error) {
    count(error instanceof Error ? error.message.replace(/127.*:\d+/, '') : 'error');
  }
}

/** The load, in a process of its own; `stop` resolves to all that it saw. */
async function startLoad(order: LoadOrder) {
  const child = fork(await bundled('soak-load'), { serialization: 'json' });
  process.on('exit', () => child.kill('SIGKILL'));
  let seen: LoadSeen | null = null;
  child.on('message', (message) => (seen = message as LoadSeen));
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.send(order);
  return {
    seen: () => seen,
    async stop(): Promise<LoadSeen> {
      if (child.connected) child.send('stop');
      await gone;
      if (seen === null) throw new Error('the load has seen nothing');
      return seen;
    },
  };
}

async function soak(cluster: EtcdCluster, sidecars: readonly Sidecar[]) {
  const ports = sidecars.map(({ url }) => Number(new URL(url).port));
  const load = await startLoad({ ports, perSecond: rate, connections });
  const over = new AbortController();
  const startedAt = performance.now();
  const sinceMs = (): number => performance.now() - startedAt;
  const samples: Sample[] = [];
  const stepDowns: Record<string, number> = {};
  let restarts = 0;
  const work = [
    every(electionEveryMs, over.signal, () => elect(sidecars, stepDowns)),
    every(restartEveryMs, over.signal, async () => {
      const member = cluster.nodes[restarts % cluster.nodes.length]!;
      restarts += 1;
      await member.restart();
      const { requests = 0, terms = 0 } = load.seen() ?? {};
      const mib = samples
        .at(-1)
        ?.mib.map((one) => one.toFixed(1))
        .join(' ');
      console.error(`minute ${restarts}: ${requests} requests, ${terms} terms, ${mib} MiB`);
    }),
    every(sampleEveryMs, over.signal, () => {
      samples.push({ atMs: sinceMs(), mib: sidecars.map(({ pid }) => residentMib(pid)) });
      return Promise.resolve();
    }),
  ];
  const lost = Promise.race(
    sidecars.map(async ({ id, exited }) => `${id} ended: ${JSON.stringify(await exited)}`),
  );
  // A member that does not come back ends it too.
  const wholeTime = delay(minutes * 60_000, null, { signal: over.signal }).catch(() => null);
  const cutShort = await Promise.race([wholeTime, lost, Promise.all(work)]);
  over.abort();
  const tookMs = sinceMs();
  const seen = await load.stop();
  await Promise.all(work);
  samples.push({ atMs: tookMs, mib: sidecars.map(({ pid }) => residentMib(pid)) });
  const ended = typeof cutShort === 'string' ? cutShort : null;
  return { samples, stepDowns, restarts, tookMs, seen, ended };
}

// What is started here is gone when this process is.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => process.exit(1));
}

const where = await conditions();
const cluster = await startEtcdCluster({ size: 3, extraArgs: ['--unsafe-no-fsync=false'] });
const sidecars: Sidecar[] = [];
let result: Awaited<ReturnType<typeof soak>>;
try {
  for (const id of ids)
    sidecars.push(await startSidecar({ election: 'soak', id, etcd: cluster.endpoints }));
  await Promise.all(
    sidecars.map((one) => one.waitFor(({ leader }) => leader !== null, leaderWithinMs)),
  );
  result = await soak(cluster, sidecars);
} finally {
  await Promise.all(sidecars.map((one) => one.stop()));
  await cluster.stop();
}

const { samples, seen, tookMs, ended } = result;
const perSecond = seen.answers / (tookMs / 1000);
const counts = (of: Readonly<Record<string, number>>): string =>
  Object.entries(of)
    .map(([words, times]) => `${words}: ${times}`)
    .join(', ') || 'none';
console.log(headingOf(where));
console.log(memoryTable(ids, samples));
console.log(
  [
    `minutes                ${(tookMs / 60_000).toFixed(1)}`,
    `requests               ${seen.requests}, ${perSecond.toFixed(0)} a second answered of ${rate} wanted`,
    `answers                half within ${seen.p50Ms} ms, 99 % within ${seen.p99Ms} ms`,
    `errors                 ${counts(seen.errors)}`,
    `elections              ${seen.terms} terms claimed; asked to step down: ${counts(result.stepDowns)}`,
    `longest leaderless     ${seen.longestLeaderlessMs.toFixed(0)} ms`,
    `etcd members restarted ${result.restarts}`,
  ].join('\n'),
);
const grown = ids.map((id, index) => ({ id, growth: growthOf(samples, index) }));
const faults = [
  ...(ended === null ? [] : [ended]),
  ...(Object.keys(seen.errors).length === 0 ? [] : [`errors: ${counts(seen.errors)}`]),
  ...(seen.terms > 1 ? [] : ['there was no election']),
  ...grown
    .filter(({ growth }) => !(growth <= mostGrowth))
    .map(
      ({ id, growth }) => `${id} ends at ${growth.toFixed(2)} of what it was at the first quarter`,
    ),
];
mkdirSync(benchFolder, { recursive: true });
const file = join(benchFolder, `soak-${where.date.replace(/[-:]|\.\d+/g, '')}.json`);
const report = { ...where, minutes, rate, perSecond, ...result, grown, faults };
writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
console.log(file);
for (const fault of faults) console.log(`FAILED ${fault}`);
if (faults.length > 0) process.exitCode = 1;
