// What an operator does about an etcd that was lost, as docs/operations.md says it: keep a backup, end the sidecars, write
// the backup back, start them. From the host that no fault cuts off.
import { join } from 'node:path';
import { complaint } from '../../src/dev/etcd-command.ts';
import { eventually } from '../harness/wait.ts';
import { runOn } from './hosts.ts';
import type { Scene } from './scene.ts';
import { electionName } from './sidecar-hosts.ts';

const commandTimeoutMs = 60_000;

/** What is in the way of a backup is the queue, and that empties within a TTL. */
const writesBackWithinMs = 30_000;

/** Runs `electord COMMAND`; resolves to what it said. */
async function electord(scene: Scene, command: string, args: readonly string[]): Promise<string> {
  const { etcd, contestants } = scene;
  const where = [`--election=${electionName}`, `--etcd=${etcd.endpoints.join(',')}`];
  const result = await runOn(
    etcd.operator,
    process.execPath,
    [contestants.programs.electord, command, ...where, ...args],
    { timeoutMs: commandTimeoutMs },
  );
  if (result.code !== 0) throw new Error(`electord ${command}: ${complaint(result)}`);
  return result.stderr;
}

/** Saves the election; resolves to the file. */
export async function backUp(scene: Scene): Promise<string> {
  const file = join(scene.laboratory.folder, 'election.backup');
  await electord(scene, 'backup', [`--output=${file}`]);
  return file;
}

/** Writes it back as soon as nobody stands in the queue; resolves to what was said about it. */
export function writeBack(scene: Scene, file: string): Promise<string> {
  return eventually(() => electord(scene, 'restore', [`--input=${file}`, '--replace']), {
    withinMs: writesBackWithinMs,
    what: 'the backup is back',
  });
}
