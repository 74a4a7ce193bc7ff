// Tries again for a while what other processes may still be in the way of, such as an address that a predecessor holds
// for its last two seconds. It promises to give up in bounded time, and to say that it is only for now.
import { ElectordError } from '../errors.ts';

/**
 * Longer than a planned end of a predecessor takes by default (`--grace` is 10 s, and most take a second), and well below
 * the time in which a service manager wants to see a start (30 s in the unit).
 */
const patientForMs = 12_000;

/** Soon enough not to be felt. */
const retryAfterMs = 200;

/** It did not work out in that time, and may yet: whoever watches over us should start us again. */
export class NotYet extends ElectordError {
  override readonly name = 'NotYet';
  readonly code = 'not_yet';
}

export interface Patience {
  /** Whether time may heal it. */
  readonly passes: (failure: unknown) => boolean;
  /** Told of the first failure that time may heal. */
  readonly onWait: (failure: unknown, patientForMs: number) => void;
}

/** Resolves with what an attempt gives. @throws NotYet when time is up, or what time does not heal. */
export async function patiently<Result>(
  attempt: () => Promise<Result>,
  { passes, onWait }: Patience,
): Promise<Result> {
  const giveUpAtMs = performance.now() + patientForMs;
  for (let failures = 0; ; failures += 1) {
    try {
      return await attempt();
    } catch (failure) {
      if (!passes(failure)) throw failure;
      if (performance.now() >= giveUpAtMs) {
        const why = failure instanceof Error ? failure.message : String(failure);
        throw new NotYet(`${why}; gave up after ${patientForMs / 1000} s`, { cause: failure });
      }
      if (failures === 0) onWait(failure, patientForMs);
      await new Promise((resolve) => setTimeout(resolve, retryAfterMs));
    }
  }
}
