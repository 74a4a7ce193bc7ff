// A short run of real faults, the most important kinds once each, and the proof that the run bites: a peer that is known
// to claim too long is caught by it. Where namespaces are not allowed to root, all fail.
import { readFile } from 'node:fs/promises';
import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { etcdSeries, newestEtcd, type EtcdSeries } from '../harness/binaries.ts';
import { needsRoot } from '../harness/left-out.ts';
import { describeViolation, writeReport } from './report.ts';
import { runFaults } from './run.ts';
import type { RunOptions, RunResult } from './run.ts';
import { describeMisdelivery } from './writes.ts';

/** The shortest that etcd grants, so that the run is short. */
const ttlMs = 2000;

const options: RunOptions = {
  ...{
    seed: 1,
    seconds: 0,
    ttlMs,
    takeoverDelay: 'evidence',
    fastFailover: 'off',
    make: 'electord',
    only: [],
  },
  ...{ program: null, etcd: newestEtcd },
  // Twice what a run by hand allows: other tests run on the same processors.
  ...{ watchLatencyMs: 100, availabilityBoundMs: 8000 },
  log: (line) => console.error(line),
};

/** The parts are from the run, so that a failure tells what happened. */
function violationsIn({ verdict, startedAt }: RunResult): readonly string[] {
  return verdict.violations.map((violation) => describeViolation(violation, startedAt));
}

/** Writes went through the proxies all the time, and none went astray; and how many arrived. */
function expectDelivered({ deliveries }: RunResult): number {
  expect(deliveries?.misdeliveries.map(describeMisdelivery)).toEqual([]);
  expect(deliveries!.terms).toBeGreaterThan(1);
  return deliveries!.arrivals;
}

/** Namespaces of this process that are still there. */
const leftOver = (): readonly string[] =>
  readdirSync('/run/netns').filter((name) => name.startsWith(`electord-faults-${process.pid}-`));

/** The most important kinds; on an older etcd those of etcd itself, which is what differs. */
const kindsOf = {
  etcd: [
    'etcd-leader-killed',
    'etcd-leader-cut-off',
    'quorum-frozen',
    'key-deleted',
    'etcd-leader-frozen',
    'etcd-wiped',
  ],
  sidecar: [
    'sigkill-leader',
    'sigstop-long',
    'silent-cut',
    'one-way-cut-in',
    'unseen-change',
    'wall-clock',
    'other-cluster',
  ],
};
const kindsOn = (etcd: EtcdSeries): readonly string[] =>
  etcd === newestEtcd ? [...kindsOf.sidecar, ...kindsOf.etcd] : kindsOf.etcd;
const root = needsRoot('hosts of their own, which are network namespaces');

test.for(etcdSeries)(
  'the most important faults on etcd %s, once each: no claim is stale, no promise broken',
  { timeout: 240_000, ...root },
  async (etcd) => {
    const only = kindsOn(etcd);
    const result = await runFaults({ ...options, etcd, only });
    const { faults, verdict, conduct, failure } = result;
    // A fault that takes no effect fails the run.
    expect(failure).toBeNull();
    expect(faults.map(({ kind }) => kind)).toEqual(only);
    expect(faults.every(({ effect }) => effect !== '')).toBe(true);
    // By the seed: a cut from a follower would show little.
    const struck = new Map(faults.map(({ kind, target }) => [kind, target]));
    for (const kind of ['sigstop-long', 'silent-cut', 'one-way-cut-in']) {
      if (only.includes(kind)) expect(struck.get(kind)).toContain('the leader');
    }
    expect(violationsIn(result)).toEqual([]);
    // Every process has ended as it was asked, and none has asked etcd for too much.
    expect(conduct.misconduct).toEqual([]);
    expect(conduct.ends).toBeGreaterThanOrEqual(3);
    expect(conduct.rates.map(({ from }) => from)).toEqual(['a', 'b', 'c']);
    for (const { requests } of conduct.rates) expect(requests.meanPerSecond).toBeGreaterThan(1);
    // Somebody looked, all the time: ten answers a second of each would be few.
    const seconds = (result.endedAt - result.startedAt) / 1000;
    for (const name of ['a', 'b', 'c']) {
      const own = result.answers.filter(({ from }) => from === name);
      expect(own.length).toBeGreaterThan(seconds * 5);
    }
    expect(verdict.claims).toBeGreaterThan(seconds * 5);
    expect(verdict.terms).toBeGreaterThan(2);
    expect(expectDelivered(result)).toBeGreaterThan(seconds * 10);
    const report = await writeReport(result);
    const picture = await readFile(`${report}.svg`, 'utf8');
    for (const kind of only) expect(picture).toContain(`>${kind}</text>`);
    expect(leftOver()).toEqual([]);
  },
);

test(
  'with fast failover: cut off from its members a leader claims on, cut off from everybody it is replaced',
  { timeout: 120_000, ...root },
  async () => {
    const only = ['members-cut-off', 'host-cut-off', 'sigkill-leader'];
    const result = await runFaults({ ...options, fastFailover: '400ms', only });
    expect(result.failure).toBeNull();
    expect(result.faults.map(({ kind }) => kind)).toEqual(only);
    expect(violationsIn(result)).toEqual([]);
    expect(result.conduct.misconduct).toEqual([]);
    const claims = result.answers.filter((answer) => answer.claims !== null);
    expect(claims.length).toBeGreaterThan(100);
    expect(expectDelivered(result)).toBeGreaterThan(100);
    expect(leftOver()).toEqual([]);
  },
);

test(
  "a peer, the etcd3 package's Election, is caught by the same run under a silent cut",
  { timeout: 120_000, ...root },
  async () => {
    const result = await runFaults({ ...options, make: 'etcd3', only: ['silent-cut'] });
    expect(result.failure).toBeNull();
    const stale = result.verdict.violations.filter(({ rule }) => rule === 'stale claim');
    expect(stale).toMatchObject([{ during: 'silent-cut' }]);
    // About one TTL: it counts a lease as lost after two.
    expect(stale[0]!.worstMs).toBeGreaterThan(500);
    expect(leftOver()).toEqual([]);
  },
);
