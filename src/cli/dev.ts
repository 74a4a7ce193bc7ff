// The command `electord dev`. What it shows is no part of the product: it is a file of its own, electord-dev.js, which the
// npm package and a built checkout have beside electord.js. Where it is missing, that is said in a sentence.
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { runInThisContext } from 'node:vm';
import { exitCodes } from './exit-codes.ts';

/**
 * Goes on as electord-dev.js in this very process: its signals, exit code and terminal are then its own. Resolves, with the
 * exit code, only where that file is missing.
 */
export async function becomeDev(args: readonly string[]): Promise<number> {
  // An installed command is a link to the file that has the other one beside it.
  const own = realpathSync(process.argv[1] ?? '.');
  const file = join(dirname(own), 'electord-dev.js');
  if (!existsSync(file)) {
    process.stderr.write(
      `electord dev: electord-dev.js is not beside ${own}; the npm package has both, and in a checkout "npm start" does the same.\n`,
    );
    return exitCodes.usage;
  }
  process.argv = [process.execPath, file, ...args];
  // What is built is a script that asks no loader for anything.
  runInThisContext(readFileSync(file, 'utf8'), { filename: file });
  // Its end is the end of the process.
  return new Promise(() => undefined);
}
