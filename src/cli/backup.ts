// `electord backup`: state, journal and history of elections, as of one moment, into a file. Asks etcd itself, so that it
// works without any sidecar.
import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { electionName } from '../core/model.ts';
import type { Archive } from '../etcd-access.ts';
import { BackupWriter } from './backup-file.ts';
import { exitCodes } from './exit-codes.ts';
import { complain } from './operator.ts';
import { withArchive } from './with-archive.ts';
import type { Flags } from './load.ts';

export interface BackupFlags {
  readonly output?: string;
}

/** Resolves with the exit code. */
export function backup(flags: Flags & BackupFlags): Promise<number> {
  const { output, ...settings } = flags;
  return withArchive(settings, async (archive, { elections, prefix }) => {
    const write = (to: Writable): Promise<number> => writeBackup(archive, elections, prefix, to);
    const keys = output === undefined ? await write(process.stdout) : await toFile(output, write);
    const names = elections.join(', ');
    complain(`${String(keys)} keys of ${names} are in ${output ?? 'the standard output'}`);
    return exitCodes.clean;
  });
}

/** Under another name until it is whole: what stood there before is not lost to half a backup. */
async function toFile(path: string, write: (to: Writable) => Promise<number>): Promise<number> {
  const unfinished = `${path}.unfinished`;
  const file = createWriteStream(unfinished, { mode: 0o600 });
  try {
    const keys = await write(file);
    file.end();
    await finished(file);
    await rename(unfinished, path);
    return keys;
  } catch (failure) {
    file.destroy();
    await rm(unfinished, { force: true });
    throw failure;
  }
}

async function writeBackup(
  archive: Archive,
  elections: readonly string[],
  prefix: string,
  to: Writable,
): Promise<number> {
  const writer = new BackupWriter(to);
  const revision = await archive.revision();
  await writer.begin({ takenAt: new Date().toISOString(), prefix, elections, revision });
  for (const election of elections) {
    for await (const each of archive.read(electionName(election), revision)) {
      await writer.add({ election, ...each });
    }
  }
  return writer.end();
}
