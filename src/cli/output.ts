// Where commands write: answers to the standard output, what went wrong to the standard error; and the end of one that prints.
import { exitCodes } from './exit-codes.ts';
import { inWords } from './plain-words.ts';

/** The sidecar did not do what was asked of it. */
export const failedCode = 1;

/** Lines, each with its end. */
export const say = (text: string): void => void process.stdout.write(`${text}\n`);
export const complain = (text: string): void =>
  void process.stderr.write(`electord: ${inWords(text)}\n`);
export const sayJson = (body: unknown): void => say(JSON.stringify(body, bigintsAsText));

/** Tokens are texts in JSON, as they are on the wire. */
const bigintsAsText = (_: string, value: unknown): unknown =>
  typeof value === 'bigint' ? value.toString() : value;

/** The standard output cannot be written: to a reader that has gone, as in `history | head`, it need not be. */
function endUnwritten(failure: NodeJS.ErrnoException): void {
  if (failure.code === 'EPIPE') process.exit(exitCodes.clean);
  complain(`the standard output cannot be written: ${failure.message}`);
  process.exit(failedCode);
}

/** Runs what prints: its exit code counts once all is written. `onUnwritten` ends the process. */
export async function printed(
  run: () => number | Promise<number>,
  onUnwritten: (failure: NodeJS.ErrnoException) => void = endUnwritten,
): Promise<number> {
  process.stdout.on('error', onUnwritten);
  const exitCode = await run();
  await new Promise<void>((resolve) => {
    process.stdout.write('', (failure) => {
      if (failure instanceof Error) onUnwritten(failure);
      resolve();
    });
  });
  return exitCode;
}
