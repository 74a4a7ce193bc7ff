// The metrics of the contract, read back from the text that Prometheus would read: names, types, labels and help
// against a list written by hand, values against a fake elector, and the rules of the text format.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { electionName, leaseId, memberId, type Cause } from '../../src/core/model.ts';
import type { ProxyFigures } from '../../src/ports.ts';
import { createMetrics, type Metrics } from '../../src/telemetry/metrics.ts';
import { projectFolder } from '../harness/binaries.ts';
import { candidate, FakeElections, member, token } from './http-fake-elections.ts';

// name, type, labels
const contract: readonly (readonly [string, string, readonly string[]])[] = [
  ['electord_is_leader', 'gauge', ['election', 'id']],
  ['electord_role', 'gauge', ['election', 'id', 'role']],
  ['electord_fencing_token', 'gauge', ['election', 'id']],
  ['electord_lease_remaining_seconds', 'gauge', ['id']],
  ['electord_lease_ttl_seconds', 'gauge', ['id']],
  ['electord_transitions_total', 'counter', ['cause', 'election', 'id']],
  ['electord_terms_taken_away_total', 'counter', ['election', 'id']],
  ['electord_witnesses', 'gauge', ['election', 'id']],
  ['electord_witnesses_dismissed_total', 'counter', ['election', 'id']],
  ['electord_terms_deposed_total', 'counter', ['election', 'id']],
  ['electord_pings_total', 'counter', ['id', 'result']],
  ['electord_ping_duration_seconds', 'histogram', ['id']],
  ['electord_leaderless_seconds_total', 'counter', ['election', 'id']],
  ['electord_failover_duration_seconds', 'histogram', ['cause', 'election', 'id']],
  ['electord_renewals_total', 'counter', ['id', 'result']],
  ['electord_renewal_duration_seconds', 'histogram', ['id']],
  ['electord_etcd_requests_total', 'counter', ['id', 'op', 'result']],
  ['electord_etcd_up', 'gauge', ['id']],
  ['electord_etcd_trouble', 'gauge', ['id', 'reason']],
  ['electord_app_up', 'gauge', ['id']],
  ['electord_hook_duration_seconds', 'histogram', ['hook', 'id', 'result']],
  ['electord_leaderless_duration_seconds', 'gauge', ['election', 'id']],
  ['electord_renewal_remaining_ratio', 'histogram', ['id']],
  ['electord_certificate_expiry_timestamp_seconds', 'gauge', ['file', 'id']],
  ['electord_members', 'gauge', ['election', 'id']],
  ['electord_event_clients', 'gauge', ['id']],
  ['electord_proxy_connections', 'gauge', ['id', 'proxy']],
  ['electord_proxy_waiting', 'gauge', ['id', 'proxy']],
  ['electord_proxy_waited_total', 'counter', ['id', 'outcome', 'proxy']],
  ['electord_paused', 'gauge', ['election', 'id']],
  ['electord_build_info', 'gauge', ['version']],
  ['leader_election_master_status', 'gauge', ['name']],
  ['process_cpu_seconds_total', 'counter', []],
  ['nodejs_eventloop_lag_seconds', 'gauge', []],
  ['nodejs_eventloop_lag_max_seconds', 'gauge', []],
];

// As the contract lists them.
const causes =
  'elected resigned switchover failback app_unhealthy app_exited lease_expired taken_away key_deleted etcd_unreachable paused stopping crashed unknown';

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

interface Family {
  readonly type: string;
  readonly help: string;
  readonly samples: Sample[];
}

function labelsOf(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  let rest = text;
  while (rest !== '') {
    const match = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/.exec(rest);
    if (match === null) throw new Error(`not labels: ${rest}`);
    const [all, name = '', value = ''] = match;
    if (name in labels) throw new Error(`label ${name} twice`);
    labels[name] = value;
    rest = rest.slice(all.length);
  }
  return labels;
}

/** Reads the Prometheus text format, version 0.0.4, and throws at whatever a strict reader would not accept. */
function parse(text: string): Map<string, Family> {
  if (!text.endsWith('\n')) throw new Error('the last line does not end');
  const families = new Map<string, Family>();
  const seen = new Set<string>();
  let help: readonly [string, string] | null = null;
  let current = '';
  for (const line of text.split('\n')) {
    const comment = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line);
    if (line === '') continue;
    if (comment?.[1] === 'HELP') {
      help = [comment[2]!, comment[3]!];
    } else if (comment?.[1] === 'TYPE') {
      current = comment[2]!;
      if (help?.[0] !== current) throw new Error(`${current} has no HELP before its TYPE`);
      if (families.has(current)) throw new Error(`${current} twice`);
      families.set(current, { type: comment[3]!, help: help[1], samples: [] });
    } else {
      const match = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
      if (match === null) throw new Error(`not a line: ${line}`);
      const family = families.get(current)!;
      const [, name = '', labelText = '', number = ''] = match;
      const suffixes = family.type === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
      if (!suffixes.some((suffix) => name === current + suffix)) {
        throw new Error(`${name} under ${current}`);
      }
      const value = Number(number.replace('Inf', 'Infinity'));
      // prom-client writes Nan; Prometheus reads it in any case.
      if (Number.isNaN(value) && !/^nan$/i.test(number)) throw new Error(`not a number: ${line}`);
      const series = `${name}{${labelText.split(',').toSorted().join()}}`;
      if (seen.has(series)) throw new Error(`${series} twice`);
      seen.add(series);
      family.samples.push({ name, labels: labelsOf(labelText), value });
    }
  }
  return families;
}

const me = 'orders-0';
const loopDelayMs = (): number => 7;
let fake: FakeElections;
let metrics: Metrics;
let app: { configured: boolean; healthy: boolean };
let eventClients: number;
let certificates: { setting: string; notAfterMs: number }[];
let end: () => void;

beforeEach(() => {
  fake = new FakeElections(['orders', 'bills'], me);
  const proxies = (): ProxyFigures[] => [
    {
      ...{ name: 'http://127.0.0.1:1=leader', open: 3, waiting: 2 },
      ended: { passed: 5, full: 1, timed_out: 0, closing: 0 },
    },
  ];
  metrics = createMetrics({
    ...{ id: memberId(me), version: '9.9.9', clock: fake.clock, loopDelayMs, proxies },
  });
  app = { configured: false, healthy: false };
  eventClients = 0;
  certificates = [];
  end = metrics.observe({
    elections: fake,
    app: () => app,
    eventClients: () => eventClients,
    certificates: () => certificates,
  });
});

async function scrape(): Promise<Map<string, Family>> {
  const { body, contentType } = await metrics.render();
  expect(contentType).toBe('text/plain; version=0.0.4; charset=utf-8');
  return parse(body);
}

/** The values of one metric under short keys: the labels other than `id`, in alphabetical order. */
async function values(name: string): Promise<Record<string, number>> {
  const { samples = [] } = (await scrape()).get(name) ?? {};
  return Object.fromEntries(
    samples.map(({ labels, value }) => {
      if ('id' in labels) expect(labels['id']).toBe(me);
      const names = Object.keys(labels).filter((label) => label !== 'id');
      const key = names.toSorted().map((label) => labels[label]);
      return [key.join(' '), value];
    }),
  );
}

const lead = (at: bigint): void =>
  fake.know({ candidates: [candidate(me, at)], claimUntil: Number.POSITIVE_INFINITY });

const elected = (
  at: bigint,
  endBefore: Cause | null = null,
  leaderlessAtMostMs: number | null = null,
): void => {
  lead(at);
  const election = electionName('orders');
  fake.emit({
    kind: 'elected',
    election,
    token: token(at),
    leaderlessMs: null,
    leaderlessAtMostMs,
    endBefore,
  });
};

const ended = (cause: Cause): void => {
  fake.know({ candidates: [] });
  const election = electionName('orders');
  fake.emit({ kind: 'ended', election, token: token(1n), cause, reason: null, ledMs: 1 });
};

describe('the exposition', () => {
  it('has every metric of the contract with HELP, TYPE and just its labels', async () => {
    metrics.observeHook('elected', 'ok', 0.2);
    certificates = [{ setting: 'tls-cert', notAfterMs: 1 }];
    elected(1n, 'stopping', 3);
    fake.know({ failover: { shortMs: 250, witnesses: [], isWitness: false } });
    fake.emit({ kind: 'ping', result: 'acknowledged', durationMs: 1 });
    const about = { election: electionName('orders'), token: token(1n) };
    fake.emit({ kind: 'deposed', ...about });
    fake.emit({ kind: 'witnesses', ...about, ids: [] });
    const families = await scrape();
    for (const [name, type, labels] of contract) {
      const family = families.get(name);
      expect(family, name).toMatchObject({ type, help: expect.stringMatching(/\w/) as string });
      expect(family!.samples.length, name).toBeGreaterThan(0);
      for (const sample of family!.samples) {
        const names = Object.keys(sample.labels).filter((label) => label !== 'le');
        expect({ name, labels: names.toSorted() }).toEqual({ name, labels });
      }
    }
    const ours = [...families.keys()].filter((name) => /^(electord_|leader_election)/.test(name));
    const known = contract.map(([name]) => name);
    expect(ours.filter((name) => !known.includes(name))).toEqual([]);
  });

  it('follows the rules of names and histograms', async () => {
    for (const ms of [0.5, 3, 40, 9000]) {
      fake.emit({ kind: 'renewal', result: 'ok', durationMs: ms });
    }
    for (const [name, { type, samples }] of await scrape()) {
      if (/^(electord_|leader_election)/.test(name)) {
        expect({ name, counter: type === 'counter' }).toEqual({
          name,
          counter: name.endsWith('_total'),
        });
      }
      if (type !== 'histogram') continue;
      const buckets = samples.filter((sample) => sample.name.endsWith('_bucket'));
      const [count] = samples.filter((sample) => sample.name.endsWith('_count'));
      const perSeries = name === 'electord_renewal_duration_seconds' ? buckets : [];
      const counts = perSeries.map(({ value }) => value);
      expect(counts).toEqual(counts.toSorted((a, b) => a - b));
      if (perSeries.length > 0) {
        expect(perSeries.at(-1)).toMatchObject({ labels: { le: '+Inf' }, value: count!.value });
        expect(perSeries[0]).toMatchObject({ labels: { le: '0.001' }, value: 1 });
        expect(perSeries.at(-2)).toMatchObject({ labels: { le: '5' }, value: 3 });
        expect(count!.value).toBe(4);
      }
    }
  });

  it('shares nothing with another set of metrics in the same process', async () => {
    const other = createMetrics({
      id: memberId('x'),
      version: '1.0.0',
      clock: fake.clock,
      loopDelayMs,
    });
    other.requests.requested('grant', 'ok', 1);
    expect((await values('electord_etcd_requests_total'))['grant ok']).toBe(0);
    expect(parse((await other.render()).body).get('electord_build_info')?.samples).toEqual([
      { name: 'electord_build_info', labels: { version: '1.0.0' }, value: 1 },
    ]);
  });
});

describe('gauges', () => {
  it('are of the moment of the scrape', async () => {
    lead(4711n);
    expect(await values('electord_is_leader')).toEqual({ orders: 1, bills: 0 });
    expect(await values('leader_election_master_status')).toEqual({ orders: 1, bills: 0 });
    expect(await values('electord_fencing_token')).toEqual({ orders: 4711, bills: 0 });
    expect(await values('electord_role')).toEqual({
      'orders leader': 1,
      'orders follower': 0,
      'orders observer': 0,
      'orders unknown': 0,
      'bills leader': 0,
      'bills follower': 0,
      'bills observer': 0,
      'bills unknown': 1,
    });
    fake.nowMs += 5000;
    expect(await values('electord_is_leader')).toEqual({ orders: 0, bills: 0 });
    expect((await values('electord_role'))['orders unknown']).toBe(1);
    expect(await values('electord_fencing_token')).toEqual({ orders: 0, bills: 0 });
  });

  it('tell of the lease, etcd, the app, members, clients and a pause', async () => {
    expect(await values('electord_lease_remaining_seconds')).toEqual({ '': 0 });
    expect(await values('electord_lease_ttl_seconds')).toEqual({ '': 5 });
    fake.held = { leaseId: leaseId('1'), ttlMs: 5000, remainingMs: 3250 };
    expect(await values('electord_lease_remaining_seconds')).toEqual({ '': 3.25 });
    fake.held = { leaseId: leaseId('1'), ttlMs: 5000, remainingMs: -10 };
    expect(await values('electord_lease_remaining_seconds')).toEqual({ '': 0 });

    fake.nowMs += 4999;
    expect(await values('electord_etcd_up')).toEqual({ '': 1 });
    fake.nowMs += 1;
    expect(await values('electord_etcd_up')).toEqual({ '': 0 });
    fake.contactAt = null;
    expect(await values('electord_etcd_up')).toEqual({ '': 0 });

    expect(await values('electord_app_up')).toEqual({ '': 1 });
    app = { configured: true, healthy: false };
    expect(await values('electord_app_up')).toEqual({ '': 0 });
    app = { configured: true, healthy: true };
    expect(await values('electord_app_up')).toEqual({ '': 1 });

    eventClients = 7;
    expect(await values('electord_event_clients')).toEqual({ '': 7 });
    const proxy = 'http://127.0.0.1:1=leader';
    expect(await values('electord_proxy_connections')).toEqual({ [proxy]: 3 });
    expect(await values('electord_proxy_waiting')).toEqual({ [proxy]: 2 });
    expect(await values('electord_build_info')).toEqual({ '9.9.9': 1 });

    fake.know({
      candidates: [candidate('from-go', 9n, { native: false }), candidate(me, 13n)],
      members: [member(me, 13n), member('orders-2', 99n)],
      control: { paused: true, reason: null, by: null, until: null },
    });
    expect(await values('electord_members')).toEqual({ orders: 3, bills: 0 });
    expect(await values('electord_paused')).toEqual({ orders: 1, bills: 0 });
  });
});

describe('the expiry of certificates', () => {
  const expiry = () => values('electord_certificate_expiry_timestamp_seconds');

  it('is that of the first to expire in each file, and goes with the certificate', async () => {
    expect(await expiry()).toEqual({});
    certificates = [
      { setting: 'etcd-ca', notAfterMs: 1_900_000_000_000 },
      { setting: 'etcd-ca', notAfterMs: 1_800_000_000_500 },
      { setting: 'tls-cert', notAfterMs: 1_950_000_000_000 },
    ];
    expect(await expiry()).toEqual({ 'etcd-ca': 1_800_000_000.5, 'tls-cert': 1_950_000_000 });
    certificates = [{ setting: 'tls-cert', notAfterMs: 2_000_000_000_000 }];
    expect(await expiry()).toEqual({ 'tls-cert': 2_000_000_000 });
  });
});

describe('docs/reference.md', () => {
  it('lists just the metrics there are, each with its labels', async () => {
    const text = await readFile(join(projectFolder, 'docs/reference.md'), 'utf8');
    const [, section = ''] = text.split('\n## Metrics\n');
    const rows = section
      .split('\n## ')[0]!
      .matchAll(/^\| (`(?:electord|leader_election)_[^|]*)\|([^|]*)\|/gm);
    const words = (cell: string): string[] =>
      [...cell.matchAll(/`([a-z_]+)`/g)].map(([, word]) => word!);
    const listed = [...rows].flatMap(([, names = '', labels = '']) =>
      words(names).map((name) => `${name} ${words(labels).toSorted().join()}`),
    );
    const ours = contract.filter(([name]) => /^(electord|leader_election)_/.test(name));
    expect(listed.toSorted()).toEqual(
      ours.map(([name, , labels]) => `${name} ${labels.join()}`).toSorted(),
    );
  });
});

describe('counters', () => {
  it('exist with 0 for every cause, and count begins and ends', async () => {
    const zero = Object.fromEntries(
      ['orders', 'bills'].flatMap((name) =>
        causes.split(' ').map((cause) => [`${cause} ${name}`, 0]),
      ),
    );
    expect(await values('electord_transitions_total')).toEqual(zero);
    elected(1n);
    ended('switchover');
    elected(2n);
    ended('lease_expired');
    elected(3n);
    expect(await values('electord_transitions_total')).toEqual({
      ...zero,
      'elected orders': 3,
      'switchover orders': 1,
      'lease_expired orders': 1,
    });
    end();
    ended('crashed');
    expect((await values('electord_transitions_total'))['crashed orders']).toBe(0);
  });

  it('tell of terms before one of ours that were taken away, by whoever follows', async () => {
    const none = { orders: 0, bills: 0 };
    expect(await values('electord_terms_taken_away_total')).toEqual(none);
    elected(1n, 'lease_expired');
    elected(2n);
    expect(await values('electord_terms_taken_away_total')).toEqual(none);
    elected(3n, 'taken_away');
    expect(await values('electord_terms_taken_away_total')).toEqual({ ...none, orders: 1 });
  });

  it('tell of witnesses while we lead, and of those who were dismissed', async () => {
    const election = electionName('orders');
    const told = (ids: readonly string[]): void =>
      fake.emit({ kind: 'witnesses', election, token: token(1n), ids: ids.map(memberId) });
    lead(1n);
    const witnesses = ['b', 'c'].map(memberId);
    fake.know({ failover: { shortMs: 250, witnesses, isWitness: false } });
    told(['b', 'c']);
    expect((await values('electord_witnesses'))['orders']).toBe(2);
    expect((await values('electord_witnesses_dismissed_total'))['orders']).toBe(0);
    told(['c']);
    told(['b', 'c']);
    expect((await values('electord_witnesses_dismissed_total'))['orders']).toBe(1);
    fake.know({ claimUntil: 0 });
    expect(await values('electord_witnesses')).toEqual({});
  });

  it('add up the time without a known leader', async () => {
    const orders = async () => (await values('electord_leaderless_seconds_total'))['orders'];
    // From the start on, not from the first scrape on.
    fake.nowMs += 1500;
    expect(await orders()).toBe(1.5);
    fake.nowMs += 500;
    elected(1n);
    fake.nowMs += 3000;
    expect(await orders()).toBe(2);
    ended('resigned');
    fake.nowMs += 250;
    fake.know({ candidates: [candidate('orders-1', 2n)] });
    const election = electionName('orders');
    const report = fake.report(election);
    fake.emit({ kind: 'changed', election, report, previousLeader: null, cause: 'elected' });
    fake.nowMs += 4000;
    expect(await orders()).toBe(2.25);
    // The knowledge runs out after 5 s: the next look notices, and the time after it counts.
    fake.nowMs += 2000;
    expect(await orders()).toBe(2.25);
    fake.nowMs += 1000;
    expect(await orders()).toBe(3.25);
  });

  it('add what a leader that vanished may have been dead for, and no moment twice', async () => {
    const orders = async () => (await values('electord_leaderless_seconds_total'))['orders'];
    fake.nowMs += 1500;
    // Its key was gone 1.5 s ago, and it had been silent for 4 s before.
    elected(1n, 'lease_expired', 5500);
    expect(await orders()).toBe(5.5);
    ended('resigned');
    elected(2n, 'resigned', 0);
    expect(await orders()).toBe(5.5);
    elected(3n, 'crashed', 300);
    expect(await orders()).toBeCloseTo(5.8);
  });

  it('tell how long nobody led before each term, by why', async () => {
    const samples = async (suffix: string) =>
      ((await scrape()).get('electord_failover_duration_seconds')?.samples ?? [])
        .filter(({ name }) => name.endsWith(suffix))
        .map(({ labels, value }) => [labels['cause'], labels['le'], value]);
    // Nobody was seen to leave: there is nothing to tell.
    elected(1n);
    expect(await samples('_count')).toEqual([]);
    elected(2n, 'switchover', 4);
    elected(3n, 'lease_expired', 5100);
    expect(await samples('_count')).toEqual([
      ['switchover', undefined, 1],
      ['lease_expired', undefined, 1],
    ]);
    expect(await samples('_sum')).toEqual([
      ['switchover', undefined, 0.004],
      ['lease_expired', undefined, 5.1],
    ]);
    const buckets = (await samples('_bucket')).filter(([cause]) => cause === 'switchover');
    expect(buckets.at(0)).toEqual(['switchover', '0.005', 1]);
    expect(buckets.at(-2)?.[1]).toBe('60');
  });

  it('tell for how long no leader has been known by now', async () => {
    const orders = async () => (await values('electord_leaderless_duration_seconds'))['orders'];
    fake.nowMs += 1500;
    expect(await orders()).toBe(1.5);
    fake.nowMs += 1000;
    expect(await orders()).toBe(2.5);
    elected(1n);
    expect(await orders()).toBe(0);
    fake.nowMs += 4000;
    expect(await orders()).toBe(0);
    ended('resigned');
    fake.nowMs += 250;
    expect(await orders()).toBe(0.25);
  });

  it('tell how much of the lease was left when renewals came', async () => {
    const buckets = async () => {
      const { samples = [] } = (await scrape()).get('electord_renewal_remaining_ratio') ?? {};
      return samples
        .filter(({ name }) => name.endsWith('_bucket'))
        .map(({ labels, value }) => `${labels['le']!}: ${value}`);
    };
    const renewed = (remainingMs: number, result: 'ok' | 'failed' = 'ok'): void => {
      fake.held = { leaseId: leaseId('1'), ttlMs: 5000, remainingMs };
      fake.emit({ kind: 'renewal', result, durationMs: 2 });
    };
    expect(new Set((await buckets()).map((text) => text.split(': ')[1]))).toEqual(new Set(['0']));
    renewed(3750);
    renewed(900);
    renewed(900, 'failed');
    renewed(0);
    fake.held = null;
    fake.emit({ kind: 'renewal', result: 'ok', durationMs: 2 });
    expect(await buckets()).toEqual([
      ...['0: 1', '0.1: 1', '0.2: 2', '0.3: 2', '0.4: 2', '0.5: 2', '0.6: 2', '0.7: 2'],
      ...['0.8: 3', '+Inf: 3'],
    ]);
  });

  it('count renewals, requests and hooks by result', async () => {
    fake.emit({ kind: 'renewal', result: 'ok', durationMs: 2 });
    fake.emit({ kind: 'renewal', result: 'failed', durationMs: 900 });
    expect(await values('electord_renewals_total')).toEqual({ ok: 1, failed: 1, lost: 0 });
    metrics.requests.requested('renew', 'ok', 2);
    metrics.requests.requested('renew', 'ok', 2);
    metrics.requests.requested('watch', 'failed', 2);
    const operations =
      'grant renew timeToLive revoke join observe release depose recordWitnesses enroll proclaim concede watch authenticate';
    const zero = operations.split(' ').flatMap((op) => [
      [`${op} ok`, 0],
      [`${op} failed`, 0],
    ]);
    expect(await values('electord_etcd_requests_total')).toEqual({
      ...Object.fromEntries(zero),
      'renew ok': 2,
      'watch failed': 1,
    });
    metrics.observeHook('step-down', 'timeout', 10.5);
    const { samples = [] } = (await scrape()).get('electord_hook_duration_seconds') ?? {};
    const sum = samples.find(({ name }) => name.endsWith('_sum'));
    expect(sum).toMatchObject({ labels: { hook: 'step-down', result: 'timeout' }, value: 10.5 });
  });
});
