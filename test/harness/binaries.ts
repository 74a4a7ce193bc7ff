// The etcd programs that the tests run on, 3.4 and 3.5, found or fetched once for a run and kept in
// the project's cache. A machine where they cannot be had fails the run; nothing is ever skipped.
import { join } from 'node:path';
import { findEtcd } from '../../src/dev/etcd-binary.ts';
import type { EtcdBinaries } from '../../src/dev/etcd-binary.ts';

/** The series that every contract with etcd is tested on. */
export type EtcdSeries = '3.4' | '3.5';

/** The project's root, for tests that start its programs. */
export const projectFolder = join(import.meta.dirname, '..', '..');

let found: Promise<Readonly<Record<EtcdSeries, EtcdBinaries>>> | undefined;

async function find(): Promise<Readonly<Record<EtcdSeries, EtcdBinaries>>> {
  const cacheDir = join(projectFolder, '.cache', 'etcd');
  const log = (line: string): void => console.error(line);
  const [older, newer] = await Promise.all([
    findEtcd({ want: '3.4', cacheDir, log }),
    findEtcd({ want: '3.5', cacheDir, log }),
  ]);
  for (const binaries of [older, newer]) {
    if (binaries.etcdctl === null) throw new Error(`${binaries.etcd} has no etcdctl beside it`);
  }
  return { '3.4': older, '3.5': newer };
}

/**
 * Both etcds; looked for once in a process.
 *
 * @throws EtcdNotFoundError when one of them cannot be had.
 */
export function etcdBinaries(): Promise<Readonly<Record<EtcdSeries, EtcdBinaries>>> {
  found ??= find();
  return found;
}

/** For vitest's `globalSetup`: fetches before the first test, so that no test's time pays for it. */
export default async function setup(): Promise<void> {
  await etcdBinaries();
}
