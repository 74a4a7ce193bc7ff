// What `backup` and `restore` have in common: the settings of `serve` say where etcd is and which elections are meant, unless
// all are; failures become a sentence and an exit code.
import type { Configuration } from '../config/configuration.ts';
import { openArchive, type Archive } from '../etcd/access.ts';
import { SystemClock } from '../process/clock.ts';
import { exitCodes } from './exit-codes.ts';
import type { Flags } from './load.ts';
import { guarded } from './operator.ts';
import { complain } from './output.ts';
import { settingsOf } from './start.ts';

/** Where all are meant; a setting that is required has to have some value. */
const anyElection = 'all';

/**
 * Runs a command on the archive. `wanted` are the elections that the settings name, null where `all` was given instead.
 * The exit code is 78 where the settings cannot be used.
 */
export async function withArchive(
  flags: Flags,
  all: boolean,
  run: (
    archive: Archive,
    wanted: readonly string[] | null,
    configuration: Configuration,
  ) => Promise<number>,
): Promise<number> {
  if (all && 'election' in flags) {
    complain('--all and --election cannot be given together');
    return exitCodes.usage;
  }
  const settings = settingsOf(all ? { ...flags, election: [anyElection] } : flags);
  if (settings === null) return exitCodes.configuration;
  const { configuration, credentials, warnings } = settings;
  for (const warning of warnings) complain(warning);
  return guarded({}, async () => {
    const archive = openArchive(configuration, credentials, new SystemClock());
    try {
      return await run(archive, all ? null : configuration.elections, configuration);
    } finally {
      archive.close();
    }
  });
}
