// The judge of how sidecars behave as processes, on samples and ends made up for it.
import { expect, test } from 'vitest';
import { judgeConduct, stretchMs } from './conduct.ts';
import type { Conduct, ConductLaw, End } from './conduct.ts';
import { formatSample, parseSample, type Sample } from './traffic.ts';

const law: ConductLaw = {
  mostRequestsPerSecond: 30,
  mostPacketsPerSecond: 300,
  endsWithinMs: 10_000,
};

const sample = (seconds: number, requests: number, packets: number): Sample => ({
  ...{ from: 'a', at: seconds * 1000, requests, packets, trouble: [] },
});

/** A sample a second: so many requests, and ten packets for each. */
const requesting = (...eachSecond: readonly number[]): readonly Sample[] => {
  let [requests, packets] = [0, 1000];
  return [0, ...eachSecond].map((count, second) => {
    requests += count;
    packets += 10 * count;
    return sample(second, requests, packets);
  });
};

const samplesOnly = (samples: readonly Sample[]): Conduct => judgeConduct(samples, [], [], law);
const rulesOf = ({ misconduct }: Conduct): readonly string[] => misconduct.map(({ rule }) => rule);

test('a loop of requests lasts; a burst is none', () => {
  expect(stretchMs).toBe(5000);
  expect(rulesOf(samplesOnly(requesting(30, 30, 30, 30, 30, 30)))).toEqual([]);
  expect(rulesOf(samplesOnly(requesting(5, 100, 5, 5, 5, 5)))).toEqual([]);
  const loop = samplesOnly(requesting(5, 5, 31, 31, 31, 31, 31, 5));
  const [rule, who] = ['request loop', 'a'];
  expect(loop.misconduct).toMatchObject([
    { rule, who, what: '31.0 requests a second' },
    { rule, who, what: '310.0 packets a second' },
  ]);
  const { requests, packets } = loop.rates[0]!;
  expect(requests.peak).toEqual({ at: 2000, perSecond: 31 });
  expect(packets.peak).toEqual({ at: 2000, perSecond: 310 });
});

test('what no request of its own count is in shows by the packets', () => {
  const seconds = [0, 1, 2, 3, 4, 5];
  const quiet = seconds.map((second) => sample(second, 0, second * 300));
  expect(rulesOf(samplesOnly(quiet))).toEqual([]);
  const loud = seconds.map((second) => sample(second, 0, second * 301));
  expect(rulesOf(samplesOnly(loud))).toEqual(['request loop']);
  // A make that does not count its requests.
  const silent = loud.map((one) => ({ ...one, requests: Number.NaN }));
  expect(rulesOf(samplesOnly(silent))).toEqual(['request loop']);
});

test('a process that is started anew counts from nothing', () => {
  const before = [0, 1, 2].map((second) => sample(second, 500 + second, second));
  const after = [3, 4, 5, 6].map((second) => sample(second, (second - 2) * 20, second));
  const { rates, misconduct } = samplesOnly([...before, ...after]);
  expect(misconduct).toEqual([]);
  expect(rates[0]!.requests.peak.perSecond).toBe(81 / 5);
});

test('whoever is asked to end does so within the grace, with code 0; nobody else ends', () => {
  const end = (more: Partial<End>): readonly string[] => {
    const exit = { code: 0, signal: null };
    const one: End = { of: 'a', at: 0, asked: 'SIGTERM', tookMs: 10_000, exit, ...more };
    return rulesOf(judgeConduct([], [one], [], law));
  };
  expect(end({})).toEqual([]);
  expect(end({ tookMs: 10_001 })).toEqual(['does not end']);
  expect(end({ exit: { code: 70, signal: null } })).toEqual(['does not end']);
  expect(end({ exit: { code: null, signal: 'SIGKILL' } })).toEqual(['does not end']);
  expect(end({ asked: 'SIGKILL', exit: { code: null, signal: 'SIGKILL' } })).toEqual([]);
  expect(end({ asked: null })).toEqual(['does not end']);
});

test('a sample survives its way from the probe', () => {
  const metrics = [
    '# HELP electord_etcd_requests_total Requests to etcd that ended, by operation and result.',
    'electord_etcd_requests_total{id="a",op="renew",result="ok"} 12',
    'electord_etcd_requests_total{id="a",op="observe",result="failed"} 3',
    'electord_etcd_trouble{id="a",reason="went_back"} 0',
    'electord_etcd_trouble{id="a",reason="other_cluster"} 1',
  ].join('\n');
  const interfaces = [
    'Inter-|   Receive                                                |  Transmit',
    '    lo:  100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0',
    '  eth0: 5000      40    0    0    0     0          0         0     7000      52    0    0    0     0       0          0',
  ].join('\n');
  const line = formatSample(1.5, metrics, interfaces);
  const counts = { requests: 15, packets: 52, trouble: ['other_cluster'] };
  expect(parseSample('a', line)).toEqual({ from: 'a', at: 1.5, ...counts });
  expect(parseSample('a', formatSample(1.5, '', interfaces))).toMatchObject({
    ...{ requests: Number.NaN, packets: 52, trouble: [] },
  });
  expect(parseSample('a', '1 2 200 - - 0 3')).toBeNull();
});
