// What `backup` and `restore` have in common: the settings of `serve` say where etcd is and which elections are meant;
// failures become a sentence and an exit code.
import type { Configuration } from '../config/configuration.ts';
import { openArchive, type Archive } from '../etcd/access.ts';
import { SystemClock } from '../process/clock.ts';
import { exitCodes } from './exit-codes.ts';
import type { Flags } from './load.ts';
import { complain, guarded } from './operator.ts';
import { settingsOf } from './start.ts';

/** Runs a command on the archive; the exit code is 78 where the settings cannot be used. */
export async function withArchive(
  flags: Flags,
  run: (archive: Archive, configuration: Configuration) => Promise<number>,
): Promise<number> {
  const settings = settingsOf(flags);
  if (settings === null) return exitCodes.configuration;
  const { configuration, credentials, warnings } = settings;
  for (const warning of warnings) complain(warning);
  return guarded({}, async () => {
    const archive = openArchive(configuration, credentials, new SystemClock());
    try {
      return await run(archive, configuration);
    } finally {
      archive.close();
    }
  });
}
