// Every test runs on real parts: etcd is found (or fetched) once before the first one. Most files run two at a time,
// because each may start an etcd of its own; those that need the whole machine for a while run alone, after the others,
// so that they starve nobody. The simulations, which only calculate, come last, two at a time. A test that waits has a
// bound of its own, shorter than the one here.
import { defineConfig } from 'vitest/config';

const alone = ['test/faults/faults.test.ts', 'test/e2e/{compose,examples,page,start}.test.ts'];
const simulations = ['test/sim/{exhaustive,mutations,sim}.test.ts'];

export default defineConfig({
  test: {
    globalSetup: ['test/harness/binaries.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    pool: 'forks',
    expect: { requireAssertions: true },
    projects: [
      {
        extends: true,
        test: {
          name: 'together',
          include: ['test/**/*.test.ts'],
          exclude: [...alone, ...simulations],
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: { name: 'alone', include: alone, maxWorkers: 1, sequence: { groupOrder: 1 } },
      },
      {
        extends: true,
        test: {
          name: 'simulations',
          include: simulations,
          maxWorkers: 2,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
