// Starts a process, and says so where none could be started: no file or process left to open, no memory, an environment
// that is too large. Node tells some of these by throwing and others later, and may leave out the channels: here both
// are one outcome, and nothing is ever thrown.
import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';

export type StartedProcess =
  | { readonly kind: 'runs'; readonly child: ChildProcess; readonly pid: number }
  /** `why` is an error code of the system, such as EMFILE. */
  | { readonly kind: 'failed'; readonly why: Promise<string> };

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : String(error);

/** Starts `file`; a failure is an outcome like any other. */
export function startProcess(
  file: string,
  args: readonly string[],
  options: SpawnOptions,
): StartedProcess {
  let child: ChildProcess;
  try {
    child = spawn(file, args, options);
  } catch (error) {
    return { kind: 'failed', why: Promise.resolve(codeOf(error)) };
  }
  const { pid } = child;
  if (pid !== undefined) {
    // A signal that could not be sent is no reason to fall: whether it has ended is told by its end.
    child.on('error', () => undefined);
    return { kind: 'runs', child, pid };
  }
  const why = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(codeOf(error)));
  });
  return { kind: 'failed', why };
}
