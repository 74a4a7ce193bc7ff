// What `serve` and `run` have in common before a sidecar runs: settings that can be used, or every fault at once; and what
// is said where it could not be started, with an exit code that tells whether to try again is of use.
import type { Configuration } from '../config/configuration.ts';
import { formatFaults, type Fault } from '../config/faults.ts';
import type { Credentials } from '../config/files.ts';
import { NotYet } from '../process/patience.ts';
import { exitCodes } from './exit-codes.ts';
import { helpHint } from './help.ts';
import { load, type Flags } from './load.ts';
import { inWords } from './plain-words.ts';

export interface Settings {
  readonly configuration: Configuration;
  readonly credentials: Credentials;
  readonly warnings: readonly string[];
}

/** Names that another version may know: one that is ignored must not keep this one from leading. */
export const warningsOf = (unknown: readonly Fault[]): readonly string[] =>
  unknown.map((one) => `ignored: ${formatFaults([one])}`);

/** The settings; null where they cannot be used, which was said on the standard error. */
export function settingsOf(flags: Flags): Settings | null {
  const loaded = load(flags);
  if (!loaded.ok) {
    process.stderr.write(`${formatFaults(loaded.faults)}\n${helpHint}\n`);
    return null;
  }
  const { configuration, credentials, unknown } = loaded;
  return { configuration, credentials, warnings: warningsOf(unknown) };
}

/** Says why there is no sidecar, and gives the exit code. */
export function notStarted(failure: unknown): number {
  const why = failure instanceof Error ? failure.message : String(failure);
  process.stderr.write(`electord: ${inWords(why)}\n`);
  return failure instanceof NotYet ? exitCodes.unavailable : exitCodes.configuration;
}
