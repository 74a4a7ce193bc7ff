// Every test runs on real parts: etcd is found (or fetched) once before the first one. Files run two at a time, because
// each may start an etcd of its own; a test that waits has a bound of its own, shorter than the one here.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/harness/binaries.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    pool: 'forks',
    maxWorkers: 2,
    expect: { requireAssertions: true },
  },
});
