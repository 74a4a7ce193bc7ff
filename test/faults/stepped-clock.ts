// A wall clock for one process that can be stepped while it runs, by Debian's libfaketime. The monotonic clock is left
// alone, as it is when an administrator or NTP sets the time.
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { unpackedPrograms } from '../harness/programs.ts';

/** The clock of one process. */
export class SteppedClock {
  /** What makes a process use it. */
  readonly environment: NodeJS.ProcessEnv;
  readonly #file: string;

  private constructor(file: string, library: string) {
    this.#file = file;
    this.environment = {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      // The older name of the same, for older libraries.
      DONT_FAKE_MONOTONIC: '1',
    };
    this.step(0);
  }

  /** Fetches the library where it is not in the cache; `file` is where the time is kept. */
  static async open(file: string): Promise<SteppedClock> {
    const { root, env } = await unpackedPrograms({
      packages: ['libfaketime', 'faketime'],
      proof: [['faketime', '--version']],
    });
    const folders = (env['LD_LIBRARY_PATH'] ?? '').split(':');
    const libraries = folders.map((folder) => join(folder, 'faketime', 'libfaketimeMT.so.1'));
    const library = libraries.find((one) => existsSync(one));
    if (library === undefined) throw new Error(`no libfaketimeMT.so.1 in ${root}`);
    return new SteppedClock(file, library);
  }

  /** Removes what the library of a process that was killed has left in the machine's shared memory. */
  static sweep(pid: number): void {
    for (const name of [`faketime_shm_${pid}`, `sem.faketime_sem_${pid}`]) {
      rmSync(join('/dev/shm', name), { force: true });
    }
  }

  /** Sets it to this many seconds ahead of the machine's own; negative: behind. */
  step(seconds: number): void {
    writeFileSync(this.#file, `${seconds < 0 ? '' : '+'}${seconds}\n`);
  }
}
