// Every test runs on real parts: etcd is found (or fetched) once before the first one that needs it. Most files run two at
// a time, because each may start an etcd of its own; those that need the whole machine for a while run alone, after the
// others, so that they starve nobody. The simulations, which only calculate, come last, two at a time. A test that waits
// has a bound of its own, shorter than the one here. `npm run test:quick` fetches nothing: it runs `quick`, and `etcd` where
// every etcd is in the cache.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { cachedFolder, etcdSeries } from './src/dev/etcd-cache.ts';

/** They need no etcd and fetch nothing. */
const quick = [
  'test/core/*.test.ts',
  'test/contract/model.test.ts',
  'test/faults/{conduct,judge,writes}.test.ts',
  'test/harness/{ports,relay,wait}.test.ts',
  'test/sim/stories.test.ts',
  'test/adapters/{announcer,app,clock,command,config,dev,grpc,http,operations,page,proxy,sdk,service}*.test.ts',
  'test/adapters/telemetry-{log,metrics}.test.ts',
];
/** They need etcd and nothing else. */
const etcd = [
  'test/contract/etcd.test.ts',
  'test/adapters/{etcd-{classification,faults,login,tls},store}.test.ts',
];
const alone = [
  'test/adapters/stall.test.ts',
  'test/faults/faults.test.ts',
  'test/e2e/{compose,examples,page,page-windows,start}.test.ts',
];
const simulations = ['test/sim/{exhaustive,mutations,sim}.test.ts'];

const isQuick = process.env['TEST_QUICK'] === '1';
const cache = join(import.meta.dirname, '.cache/etcd');
const hasEtcd = etcdSeries.every((series) => existsSync(cachedFolder(cache, series)));
if (isQuick && !hasEtcd) console.error('not every etcd is in .cache/etcd: no test on etcd is run');

interface Group {
  readonly include: string[];
  readonly exclude?: string[];
  readonly groupOrder: number;
  readonly maxWorkers?: number;
  readonly fetchesEtcd: boolean;
}

function group(name: string, options: Group) {
  const { include, exclude = [], groupOrder, maxWorkers = 2, fetchesEtcd } = options;
  const globalSetup = fetchesEtcd ? ['test/harness/binaries.ts'] : [];
  return {
    extends: true as const,
    test: { name, include, exclude, maxWorkers, sequence: { groupOrder }, globalSetup },
  };
}

const groups = [
  group('quick', { include: quick, groupOrder: 0, fetchesEtcd: false }),
  group('etcd', { include: etcd, groupOrder: 0, fetchesEtcd: true }),
  group('together', {
    include: ['test/**/*.test.ts'],
    exclude: [...quick, ...etcd, ...alone, ...simulations],
    groupOrder: 0,
    fetchesEtcd: true,
  }),
  group('alone', { include: alone, maxWorkers: 1, groupOrder: 1, fetchesEtcd: true }),
  group('simulations', { include: simulations, groupOrder: 2, fetchesEtcd: false }),
];

export default defineConfig({
  test: {
    reporters: ['default', './test/harness/progress.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    pool: 'forks',
    expect: { requireAssertions: true },
    // The first two are for a quick run.
    projects: isQuick ? groups.slice(0, hasEtcd ? 2 : 1) : groups,
  },
});
