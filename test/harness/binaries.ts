// The etcd programs that the tests run on, one of every series, found or fetched once for a run and kept in the
// project's cache. A machine where they cannot be had fails the run; nothing is ever skipped. A quick run fetches nothing.
import { join } from 'node:path';
import { findEtcd } from '../../src/dev/etcd-binary.ts';
import type { EtcdBinaries, EtcdSeries } from '../../src/dev/etcd-binary.ts';
import { etcdSeries } from '../../src/dev/etcd-cache.ts';

export { etcdSeries };
export type { EtcdSeries };

/** What a test gets that does not ask for a series. */
export const newestEtcd: EtcdSeries = '3.5.30';

/** The project's root, for tests that start its programs. */
export const projectFolder = join(import.meta.dirname, '..', '..');

type BySeries = Readonly<Record<EtcdSeries, EtcdBinaries>>;

let found: Promise<BySeries> | undefined;

async function find(): Promise<BySeries> {
  const cacheDir = join(projectFolder, '.cache', 'etcd');
  const log = (line: string): void => console.error(line);
  const isQuick = process.env['TEST_QUICK'] === '1';
  const without = isQuick ? (['debian', 'homebrew', 'release'] as const) : [];
  const entries = etcdSeries.map(async (want) => {
    const binaries = await findEtcd({ want, cacheDir, log, without });
    if (binaries.etcdctl === null) throw new Error(`${binaries.etcd} has no etcdctl beside it`);
    return [want, binaries] as const;
  });
  return Object.fromEntries(await Promise.all(entries)) as BySeries;
}

/**
 * All etcds; looked for once in a process.
 *
 * @throws EtcdNotFoundError when one of them cannot be had.
 */
export function etcdBinaries(): Promise<BySeries> {
  found ??= find();
  return found;
}

/** For vitest's `globalSetup`: fetches before the first test, so that no test's time pays for it. */
export default async function setup(): Promise<void> {
  await etcdBinaries();
}
