// What a listener serves: probes at once, and everything else by the application, which is loaded when it is first asked for.
import { createProbes } from './probes.ts';
import type { Inputs, LocalInputs } from './inputs.ts';
import { roleOrUnknown, type Application } from './sending.ts';

/** For a public listener where `local` is null. Several may share `inputs`. */
export function createFront(inputs: Inputs, local: LocalInputs | null = null): Application {
  const probes = createProbes(inputs);
  let loading: Promise<Application['handle']> | null = null;
  const load = async (): Promise<Application['handle']> =>
    (await import('./application.ts')).createApplication(inputs, local);
  return {
    handle: (request, response) => {
      if (probes(request, response)) return;
      loading ??= load();
      loading.then(
        (handle) => handle(request, response),
        (error: unknown) => {
          inputs.reportError(error);
          response.destroy();
        },
      );
    },
    role: () => roleOrUnknown(inputs),
    reportError: inputs.reportError,
    drain: () => inputs.events.close(),
  };
}
