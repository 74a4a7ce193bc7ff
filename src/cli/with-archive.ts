// What `backup` and `restore` have in common: the settings of `serve` say where etcd is and which elections are meant;
// failures become a sentence and an exit code.
import type { Configuration } from '../config/configuration.ts';
import { formatFaults } from '../config/faults.ts';
import { openArchive, type Archive } from '../etcd/access.ts';
import { SystemClock } from '../process/clock.ts';
import { exitCodes } from './exit-codes.ts';
import { load, type Flags } from './load.ts';
import { guarded } from './operator.ts';

/** Runs a command on the archive; the exit code is 78 where the settings cannot be used. */
export async function withArchive(
  flags: Flags,
  run: (archive: Archive, configuration: Configuration) => Promise<number>,
): Promise<number> {
  const loaded = load(flags);
  if (!loaded.ok) {
    process.stderr.write(formatFaults(loaded.faults));
    return exitCodes.configuration;
  }
  const { configuration, credentials } = loaded;
  return guarded({}, async () => {
    const archive = openArchive(configuration, credentials, new SystemClock());
    try {
      return await run(archive, configuration);
    } finally {
      archive.close();
    }
  });
}
