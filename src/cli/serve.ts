// `electord serve`: one sidecar in the foreground. Signals become stop and reload, failures become exit codes.
import { startSidecar, type Sidecar } from '../app.ts';
import { formatFaults } from '../config/faults.ts';
import { exitCodes } from './exit-codes.ts';
import { load, type Flags } from './load.ts';

/** How long an end that cannot wait spends on revoking the lease. */
export const abandonWithinMs = 1000;

/** Runs until it is told to stop. Resolves with the exit code; the caller ends the process with it. */
export async function serve(flags: Flags): Promise<number> {
  const loaded = load(flags);
  if (!loaded.ok) {
    process.stderr.write(formatFaults(loaded.faults));
    return exitCodes.configuration;
  }
  return new Promise((resolve) => {
    let sidecar: Sidecar | null = null;
    let ending = false;
    const fail = (failure: unknown): void => {
      if (ending) return;
      ending = true;
      const report =
        failure instanceof Error ? (failure.stack ?? failure.message) : String(failure);
      if (sidecar === null) process.stderr.write(`electord: ${report}\n`);
      else sidecar.log.fatal({ err: failure }, 'giving up: an internal assertion failed');
      void within(abandonWithinMs, sidecar?.abandon()).then(() => resolve(exitCodes.internal));
    };
    process.on('uncaughtException', fail);
    process.on('unhandledRejection', fail);

    let stopping = false;
    const stop = (signal: NodeJS.Signals): void => {
      if (sidecar === null) {
        resolve(exitCodes.clean);
      } else if (stopping) {
        sidecar.log.warn({ signal }, 'asked to stop again: ending at once');
        void within(abandonWithinMs, sidecar.abandon()).then(() =>
          resolve(signalCodes[signal] ?? 1),
        );
      } else {
        stopping = true;
        // The claim ends before a line is written: nothing comes before the hand-over.
        const stopped = sidecar.stop();
        sidecar.log.info({ signal }, 'asked to stop: stepping down');
        void stopped.then(() => resolve(exitCodes.clean), fail);
      }
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
    process.on('SIGHUP', () => {
      if (sidecar !== null) reload(sidecar, flags);
    });

    const { configuration, credentials } = loaded;
    startSidecar({ configuration, credentials, onFatal: fail }).then(
      (started) => {
        sidecar = started;
      },
      (failure: unknown) => {
        process.stderr.write(
          `electord: ${failure instanceof Error ? failure.message : String(failure)}\n`,
        );
        resolve(exitCodes.configuration);
      },
    );
  });
}

/** As a shell reports a death by signal. */
export const signalCodes: Partial<Record<NodeJS.Signals, number>> = { SIGINT: 130, SIGTERM: 143 };

/** A configuration that has become unusable changes nothing: the sidecar goes on with what it has. */
export function reload(sidecar: Sidecar, flags: Flags): void {
  const loaded = load(flags);
  if (loaded.ok) sidecar.reload(loaded.configuration, loaded.credentials);
  else sidecar.log.error(`nothing was reloaded:\n${formatFaults(loaded.faults)}`);
}

/** Waits for the attempt, but not longer. */
export const within = (limitMs: number, attempt: Promise<void> | undefined): Promise<void> =>
  Promise.race([
    attempt ?? Promise.resolve(),
    new Promise<void>((resolve) => {
      setTimeout(resolve, limitMs);
    }),
  ]);
