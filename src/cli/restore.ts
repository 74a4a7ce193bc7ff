// `electord restore`: writes a backup back, into the etcd it came from or into another. Nobody may campaign meanwhile, and
// every term afterwards has a greater fencing token than any in the backup. What would refuse it is looked at before
// anything is removed; one that breaks off in the middle leaves a part, and is repeated with --replace.
import { parseElections } from '../config/elections.ts';
import { Refusal } from '../config/refusal.ts';
import { electionName, type ElectionName } from '../core/model.ts';
import { checkBackup, recordsOf, UnusableBackup, type BackupHeader } from './backup-file.ts';
import { exitCodes } from './exit-codes.ts';
import { UnusableArgument } from './operator.ts';
import { complain } from './output.ts';
import { momentOf } from './operator-times.ts';
import { withArchive } from './with-archive.ts';
import type { Archive } from '../etcd/access.ts';
import type { Flags } from './load.ts';

export interface RestoreFlags {
  readonly input?: string;
  readonly replace?: true;
  readonly all?: true;
  readonly as?: string;
}

/** One election of the backup, and the name that it gets. */
interface Move {
  readonly from: string;
  readonly to: ElectionName;
}

/** Resolves with the exit code. */
export function restore(flags: Flags & RestoreFlags): Promise<number> {
  const { input, replace = false, all = false, as, ...settings } = flags;
  return withArchive(settings, all, async (archive, wanted) => {
    const path = input ?? '';
    const about = await readable(path);
    const moves = movesOf(about, wanted, path, as);
    for (const { to } of moves) await expectRoom(archive, to, replace);
    const raised = await archive.raiseRevision(about.revision, moves[0]?.to ?? electionName(''));
    if (raised > 0n) {
      complain(`etcd's revision was raised by ${raised}: tokens stay greater than before`);
    }
    for (const { from, to } of moves) {
      if (replace) await archive.clear(to);
      const keys = await archive.write(to, recordsOf(path, from)).catch((failure: unknown) => {
        complain(`${to} may be back in part only: start no sidecar of it, repeat with --replace`);
        throw failure;
      });
      const of = from === to ? '' : ` of ${from}`;
      complain(`${to}: ${String(keys)} keys${of} of ${momentOf(about.takenAt)} are back`);
    }
    return exitCodes.clean;
  });
}

/** What goes where. Throws where the backup lacks one, or one name is to be that of several. */
function movesOf(
  { elections }: BackupHeader,
  wanted: readonly string[] | null,
  path: string,
  as: string | undefined,
): readonly Move[] {
  const names = wanted ?? elections;
  const missing = names.filter((name) => !elections.includes(name));
  if (missing.length > 0) {
    const has = `it has ${elections.join(', ')}`;
    throw new UnusableBackup(`${path} has nothing of ${missing.join(', ')}; ${has}`);
  }
  if (as === undefined) return names.map((name) => ({ from: name, to: electionName(name) }));
  const [from = '', ...others] = names;
  if (others.length > 0) {
    throw new UnusableArgument(
      `--as ${as} is one name, and these are several: ${names.join(', ')}`,
    );
  }
  return [{ from, to: nameOf(as) }];
}

/** Checked as --election is. */
function nameOf(text: string): ElectionName {
  const parsed = parseElections(text);
  const [name, ...others] = parsed instanceof Refusal ? [] : parsed;
  if (name !== undefined && others.length === 0) return electionName(name);
  throw new UnusableArgument(`--as ${JSON.stringify(text)} is not the name of one election`);
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
