// Where and on what a benchmark was made: without that its figures say nothing.
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem, type } from 'node:os';
import { join } from 'node:path';
import { runCommand } from '../../src/dev/etcd-command.ts';
import { newestEtcd } from '../harness/binaries.ts';
import { root } from './peers.ts';

export interface Conditions {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  /** Of the last minute, before anything was measured: what else the machine did. */
  readonly load: number;
  readonly kernel: string;
  readonly electord: string;
  readonly commit: string | null;
  readonly node: string;
  readonly etcd: string;
}

export async function conditions(): Promise<Conditions> {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    version: string;
  };
  const git = await runCommand('git', ['describe', '--always', '--dirty'], { timeoutMs: 20_000 });
  return {
    date: new Date().toISOString(),
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    load: loadavg()[0] ?? 0,
    kernel: `${type()} ${release()}`,
    electord: version,
    commit: git.code === 0 ? git.stdout.trim() : null,
    node: process.version,
    etcd: newestEtcd,
  };
}

export function headingOf(where: Conditions): string {
  const commit = where.commit === null ? '' : ` (${where.commit})`;
  return [
    `electord ${where.electord}${commit}, Node ${where.node}, etcd ${where.etcd}, ${where.kernel}`,
    `${where.cores} cores of ${where.cpu}, ${where.memoryGib} GiB, load ${where.load.toFixed(2)}; ${where.date}`,
  ].join('\n');
}
