// `electord serve`: one sidecar in the foreground. Signals become stop and reload, failures become exit codes.
import { startSidecar, type Sidecar } from '../app.ts';
import { formatFaults } from '../config/faults.ts';
import { exitCodes } from './exit-codes.ts';
import { endAtOnce, fall, onFailure, stopSignals } from './hasty-end.ts';
import { load, type Flags } from './load.ts';
import { notStarted, settingsOf, warningsOf } from './start.ts';

/**
 * Node would open its inspector for the first, to whoever may connect, and end without a hand-over for the second. What
 * rotates logs or asks for a dump by them means another program.
 */
const ignored = ['SIGUSR1', 'SIGUSR2'] as const;

/** Runs until it is told to stop. Resolves with the exit code; the caller ends the process with it. */
export async function serve(flags: Flags): Promise<number> {
  const settings = settingsOf(flags);
  if (settings === null) return exitCodes.configuration;
  return new Promise((resolve) => {
    let sidecar: Sidecar | null = null;
    let ending = false;
    const fail = (failure: unknown): void => {
      if (ending) return;
      ending = true;
      void fall(sidecar, failure).then(resolve);
    };
    onFailure(fail);

    let stopping = false;
    const stop = (signal: NodeJS.Signals): void => {
      if (sidecar === null) {
        resolve(exitCodes.clean);
      } else if (stopping) {
        void endAtOnce(sidecar, signal).then(resolve);
      } else {
        stopping = true;
        // The claim ends before a line is written: nothing comes before the hand-over.
        const stopped = sidecar.stop();
        sidecar.log.info({ signal }, 'asked to stop: stepping down');
        void stopped.then(() => resolve(exitCodes.clean), fail);
      }
    };
    for (const signal of stopSignals) process.on(signal, stop);
    for (const signal of ignored) {
      process.on(signal, () => sidecar?.log.warn({ signal }, `${signal} is ignored`));
    }
    process.on('SIGHUP', () => {
      if (sidecar !== null) reload(sidecar, flags);
    });

    startSidecar({ ...settings, onFatal: fail }).then(
      (started) => {
        sidecar = started;
      },
      (failure: unknown) => resolve(notStarted(failure)),
    );
  });
}

/** A configuration that has become unusable changes nothing: the sidecar goes on with what it has. */
export function reload(sidecar: Sidecar, flags: Flags): void {
  const loaded = load(flags);
  if (loaded.ok) {
    sidecar.reload(loaded.configuration, loaded.credentials);
    for (const warning of warningsOf(loaded.unknown)) sidecar.log.warn(warning);
  } else sidecar.log.error(`nothing was reloaded:\n${formatFaults(loaded.faults)}`);
}
