// `electord backup`: state, journal and history of elections, as of one moment, into a file. Asks etcd itself, so that it
// works without any sidecar.
import { createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { electionName } from '../core/model.ts';
import type { Archive } from '../etcd/access.ts';
import { BackupWriter } from './backup-file.ts';
import { exitCodes } from './exit-codes.ts';
import { ElectordError } from '../errors.ts';
import { UnusableArgument } from './operator.ts';
import { complain, failedCode, printed } from './output.ts';
import { withArchive } from './with-archive.ts';
import type { Flags } from './load.ts';

export interface BackupFlags {
  readonly output?: string;
  readonly all?: true;
}

/** Resolves with the exit code. */
export function backup(flags: Flags & BackupFlags): Promise<number> {
  const { output, all = false, ...settings } = flags;
  // For other commands a reader that has gone has read enough, for a backup it has not.
  const unwritten = (failure: Error): void => {
    complain(notWritten('the standard output', failure).message);
    process.exit(failedCode);
  };
  return printed(
    () =>
      withArchive(settings, all, async (archive, wanted, { prefix }) => {
        const elections = await withContent(archive, wanted, prefix);
        const write = (to: Writable): Promise<number> =>
          writeBackup(archive, elections, prefix, to);
        const file = output ?? 'the standard output';
        const keys =
          output === undefined ? await write(process.stdout) : await toFile(output, write);
        complain(`${String(keys)} keys of ${elections.join(', ')} are in ${file}`);
        return exitCodes.clean;
      }),
    unwritten,
  );
}

/**
 * The elections to save, all where none are named. Throws UnusableArgument where there is nothing to save of one: its name
 * is mistyped, or what it had is gone, and a backup of before is worth more than one of nothing.
 */
async function withContent(
  archive: Archive,
  wanted: readonly string[] | null,
  prefix: string,
): Promise<readonly string[]> {
  const names = wanted ?? (await archive.elections());
  const empty: string[] = [];
  for (const name of names) if (await archive.isEmpty(electionName(name))) empty.push(name);
  const full = names.filter((name) => !empty.includes(name));
  if (full.length > 0 && (empty.length === 0 || wanted === null)) return full;
  const of = wanted === null ? 'any election' : empty.join(', ');
  throw new UnusableArgument(`there is no backup: etcd has nothing of ${of} under ${prefix}`);
}

/** Under another name until it is whole: what stood there before is not lost to half a backup. */
async function toFile(path: string, write: (to: Writable) => Promise<number>): Promise<number> {
  const unfinished = `${path}.unfinished`;
  try {
    // As root, a backup to /dev/null would else take its place.
    const there = await stat(path).catch(() => null);
    if (there?.isFile() === false) throw new Error('it is there, and is no file');
    // One that was left behind may have any mode, or be a link to elsewhere.
    await rm(unfinished, { force: true });
    const file = createWriteStream(unfinished, { mode: 0o600, flags: 'wx', flush: true });
    // It may come before anybody waits for it; `finished` tells it.
    file.on('error', () => undefined);
    const keys = await write(file).finally(() => file.end());
    await finished(file);
    await rename(unfinished, path);
    return keys;
  } catch (failure) {
    await rm(unfinished, { force: true }).catch(() => undefined);
    throw failure instanceof ElectordError ? failure : notWritten(path, failure);
  }
}

/** No space, no such folder, nobody who reads. */
class NotWritten extends ElectordError {
  override readonly name = 'NotWritten';
  readonly code = 'not_written';
}

const notWritten = (where: string, cause: unknown): NotWritten => {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new NotWritten(`there is no backup: ${where} cannot be written: ${why}`, { cause });
};

async function writeBackup(
  archive: Archive,
  elections: readonly string[],
  prefix: string,
  to: Writable,
): Promise<number> {
  const writer = new BackupWriter(to);
  const [first = ''] = elections;
  const revision = await archive.revision(electionName(first));
  await writer.begin({ takenAt: new Date().toISOString(), prefix, elections, revision });
  for (const election of elections) {
    for await (const each of archive.read(electionName(election), revision)) {
      await writer.add({ election, ...each });
    }
  }
  return writer.end();
}
