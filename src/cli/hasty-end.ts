// The ends that cannot wait, for `serve` and `run` alike: something failed that nobody expected, or a second signal came.
// The claims end first, then all is given back within a bound, and only then a line is written: nothing that may block
// comes before, and nothing that fails keeps the process from ending.
import type { Sidecar } from '../app.ts';
import type { Cause } from '../core/model.ts';
import { exitCodes } from './exit-codes.ts';

/**
 * How long it may take to kill what acts for a term and to give back key and lease; they end by themselves else. The longest
 * hold is over within a second unless --max-hold says otherwise, and a slow etcd has as much again.
 */
const givenBackWithinMs = 2000;

/** They ask for a planned end. Each ends a program that does not care, as process 1 of a container only one that does. */
export const stopSignals = ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const;

/** As a shell reports a death by signal. */
const signalCodes: Partial<Record<NodeJS.Signals, number>> = {
  SIGINT: 130,
  SIGQUIT: 131,
  SIGTERM: 143,
};

let onFailureNow: ((failure: unknown) => void) | null = null;

/**
 * What becomes of a failure that nobody expected, from here on. Left to itself Node would print the line of the program where it
 * was thrown, and the built program is one line.
 */
export function onFailure(fail: (failure: unknown) => void): void {
  for (const event of ['uncaughtException', 'unhandledRejection']) {
    if (onFailureNow !== null) process.off(event, onFailureNow);
    process.on(event, fail);
  }
  onFailureNow = fail;
}

/** A failure that nobody expected, in a sidecar or (null) before there is one. Resolves with the exit code; never rejects. */
export async function fall(sidecar: Sidecar | null, failure: unknown): Promise<number> {
  if (sidecar === null) {
    const report = failure instanceof Error ? (failure.stack ?? failure.message) : String(failure);
    process.stderr.write(`electord: ${report}\n`);
    return exitCodes.internal;
  }
  await haltWithin(givenBackWithinMs, sidecar, 'crashed');
  await say(sidecar, () =>
    sidecar.log.fatal({ err: failure }, 'gave up leadership: something failed that must not'),
  );
  return exitCodes.internal;
}

/** Asked to stop a second time. Resolves with the exit code; never rejects. */
export async function endAtOnce(sidecar: Sidecar, signal: NodeJS.Signals): Promise<number> {
  await haltWithin(givenBackWithinMs, sidecar, 'stopping');
  await say(sidecar, () => sidecar.log.warn({ signal }, 'asked to stop again: ended at once'));
  return signalCodes[signal] ?? 1;
}

/** Waits for the attempt, but not longer, whatever becomes of it. */
async function haltWithin(limitMs: number, sidecar: Sidecar, cause: Cause): Promise<void> {
  const bound = new Promise<void>((resolve) => {
    setTimeout(resolve, limitMs);
  });
  try {
    await Promise.race([sidecar.halt(cause), bound]);
  } catch {
    // What could not be halted ends with the process.
  }
}

/** The log may be what failed. */
async function say(sidecar: Sidecar, write: () => void): Promise<void> {
  try {
    write();
    await sidecar.flushed();
  } catch {
    // Nobody is left to be told.
  }
}
