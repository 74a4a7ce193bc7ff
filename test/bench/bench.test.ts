// That the benchmark runs and shows every row; never how fast anything is.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { projectFolder } from '../harness/binaries.ts';
import { programFile } from '../harness/programs.ts';
import { judge, tableOf, type Figure } from './figures.ts';
import { parseWrk } from './load.ts';
import { Claims } from './soak-claims.ts';
import { growthOf, slopeOf } from './soak-memory.ts';

const figure: Figure = {
  name: 'answers',
  unit: 'requests/s',
  digits: 0,
  values: { electord: [900, 800, 700], bare: [1000, 1000], express: [200] },
  target: { of: ['bare'], atLeast: 0.9 },
};

test('a row has the median, its spread, the ratio to the peer that the target is about, and whether it is met', () => {
  const row = judge(figure);
  expect(row).toMatchObject({ ratio: 0.8, ratioTo: 'bare', met: false, medians: { express: 200 } });
  const [heading = '', line = ''] = tableOf([row]).split('\n');
  const columns = (text: string): string[] => text.split(/ {2,}/);
  expect(columns(heading).slice(1, 4)).toEqual(['unit', 'electord', 'min..max']);
  expect(columns(line).slice(1, 5)).toEqual(['requests/s', '800', '700..900', '1000']);
  expect(columns(line).slice(-4)).toEqual(['0.80', '>= 0.9 of bare Node', 'no', '3']);
  expect(judge({ ...figure, values: { electord: [900], bare: [1000] } }).met).toBe(true);
});

test('a target is about the next peer where the first is not here, about nothing where nothing was measured', () => {
  const target = { of: ['go', 'etcdctl'], atMost: 1 } as const;
  const both = { ...figure, target, values: { electord: [4], etcdctl: [5], go: [3] } };
  expect(judge(both)).toMatchObject({ ratioTo: 'go', met: false });
  const one = { ...figure, target, values: { electord: [4], etcdctl: [5] } };
  expect(judge(one)).toMatchObject({ ratioTo: 'etcdctl', met: true });
  const none = judge({ ...figure, target, values: {}, notMeasured: 'wrk is not here' });
  expect(none.met).toBeNull();
  expect(tableOf([none])).toContain('answers: not measured: wrk is not here');
});

const wrkOutput = `Running 1s test @ http://127.0.0.1:4040/leader
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.50ms    0.80ms  20.00ms   90.00%
    Req/Sec    21.00k     2.00k   24.00k    80.00%
  Latency Distribution
     50%    1.40ms
     75%    1.60ms
     90%    1.90ms
     99%  750.00us
  21034 requests in 1.01s, 7.00MB read
Requests/sec:  20825.74
Transfer/sec:      6.93MB
`;

test('of wrk is read how many, how many a second, and the 99th percentile in any of its units', () => {
  const seen = { requests: 21034, perSecond: 20825.74, p99Ms: 0.75 };
  expect(parseWrk(wrkOutput)).toEqual(seen);
  expect(parseWrk(wrkOutput.replace('750.00us', '1.20s')).p99Ms).toBe(1200);
  const failed = `${wrkOutput}  Non-2xx or 3xx responses: 3\n`;
  expect(() => parseWrk(failed)).toThrow('Non-2xx');
});

test('memory that rises is told from memory that has risen', () => {
  const samples = (mib: (minute: number) => number) =>
    Array.from({ length: 31 }, (_, minute) => ({ atMs: minute * 60_000, mib: [mib(minute)] }));
  const rising = samples((minute) => 100 + minute);
  expect(slopeOf(rising, 0)).toBeCloseTo((60 * 2 ** 20) / 1e6);
  expect(growthOf(rising, 0)).toBeGreaterThan(1.1);
  const flat = samples((minute) => (minute < 5 ? 50 : 100));
  expect(slopeOf(flat, 0)).toBeCloseTo(0);
  expect(growthOf(flat, 0)).toBe(1);
});

test('a soak sees two leaders: by an older term after a newer one was seen, by one term of two', () => {
  const claims = new Claims();
  expect(claims.take(7, 1, 0)).toBeNull();
  expect(claims.take(9, 2, 7)).toBeNull();
  // It was asked before the newer term was seen: it may have answered before that too.
  expect(claims.take(7, 1, 7)).toBeNull();
  expect(claims.take(7, 1, 9)).toMatch('an older term');
  expect(claims.take(9, 1, 9)).toMatch('two claimed one term');
  expect(claims).toMatchObject({ newest: 9, terms: 2 });
});

/** Runs the benchmark where there is nothing but these programs; resolves to what it printed. */
function bench(path: string, args: readonly string[]): Promise<string> {
  const script = join(projectFolder, 'scripts/run-ts.mjs');
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [script, 'test/bench/main.ts', ...args],
      { cwd: projectFolder, env: { ...process.env, PATH: path } },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(stdout + stderr, { cause: error }));
      },
    );
  });
}

test('every row has a value or says why not, where there is neither wrk nor Go', async () => {
  const path = mkdtempSync(join(tmpdir(), 'electord-bench-path-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  symlinkSync(programFile('setpriv', process.env), join(path, 'setpriv'));
  const printed = await bench(path, ['--brief', '--rounds=1', '--only=rps,start,memory,idle']);
  const file = /^\/.*\.json$/m.exec(printed)?.[0] ?? '';
  onTestFinished(() => rmSync(file, { force: true }));
  const { figures, absent, node } = JSON.parse(readFileSync(file, 'utf8')) as {
    figures: readonly Figure[];
    absent: Record<string, string>;
    node: string;
  };
  expect(printed).toContain(`Node ${node}`);
  expect(Object.keys(absent).sort()).toEqual(['go', 'wrk']);
  expect(printed).toMatch(/^Go: Go is not here/m);
  const load = '/leader at 32 connections';
  const without = [load, `${load}, p99`, `${load}, CPU`, 'resident after that load'];
  const idle = 'idle leader, TTL 5 s';
  const starts = ['first answer from start', 'leading from start'];
  const withValues = [...starts, 'resident, idle leader', `CPU, ${idle}`, `wake-ups, ${idle}`];
  const named = (is: (row: Figure) => boolean) => figures.filter(is).map(({ name }) => name);
  expect(named((row) => row.notMeasured === 'wrk is not here')).toEqual(without);
  expect(named(({ values }) => values.electord?.length === 1)).toEqual(withValues);
  for (const { name } of figures) expect(printed).toContain(`\n${name}`);
  for (const name of without) expect(printed).toContain(`\n${name}: not measured: wrk is not here`);
});
