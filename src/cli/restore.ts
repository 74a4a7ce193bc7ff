// `electord restore`: writes a backup back, into the etcd it came from or into another. Nobody may campaign meanwhile, and
// every term afterwards has a greater fencing token than any in the backup. What would refuse it is looked at before
// anything is removed; one that breaks off in the middle leaves a part, and is repeated with --replace.
import { electionName, type ElectionName } from '../core/model.ts';
import { checkBackup, recordsOf, UnusableBackup, type BackupHeader } from './backup-file.ts';
import { exitCodes } from './exit-codes.ts';
import { complain, UnusableArgument } from './operator.ts';
import { withArchive } from './with-archive.ts';
import type { Archive } from '../etcd/access.ts';
import type { Flags } from './load.ts';

export interface RestoreFlags {
  readonly input?: string;
  readonly replace?: true;
}

/** Resolves with the exit code. */
export function restore(flags: Flags & RestoreFlags): Promise<number> {
  const { input, replace, ...settings } = flags;
  return withArchive(settings, async (archive, { elections }) => {
    const path = input ?? '';
    const about = await readable(path);
    const missing = elections.filter((name) => !about.elections.includes(name));
    if (missing.length > 0) {
      const has = `it has ${about.elections.join(', ')}`;
      throw new UnusableBackup(`${path} has nothing of ${missing.join(', ')}; ${has}`);
    }
    const names = elections.map((name) => electionName(name));
    for (const name of names) await expectRoom(archive, name, replace === true);
    const raised = await archive.raiseRevision(about.revision, names[0] ?? electionName(''));
    if (raised > 0n) {
      complain(`etcd's revision was raised by ${raised}: tokens stay greater than before`);
    }
    for (const name of names) {
      if (replace === true) await archive.clear(name);
      const keys = await archive.write(name, recordsOf(path, name)).catch((failure: unknown) => {
        complain(`${name} may be back in part only: start no sidecar of it, repeat with --replace`);
        throw failure;
      });
      complain(`${name}: ${String(keys)} keys of ${about.takenAt} are back`);
    }
    return exitCodes.clean;
  });
}

async function readable(path: string): Promise<BackupHeader> {
  try {
    return await checkBackup(path);
  } catch (failure) {
    if (!(failure instanceof Error) || !('syscall' in failure)) throw failure;
    throw new UnusableArgument(`${path} cannot be read: ${failure.message}`);
  }
}

async function expectRoom(archive: Archive, name: ElectionName, replace: boolean): Promise<void> {
  await archive.expectNobody(name);
  if (replace || (await archive.isEmpty(name))) return;
  throw new UnusableArgument(
    `${name} has state, journal or history already: --replace removes it first`,
  );
}
