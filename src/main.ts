// The entry of the bundle: arguments in, exit code out.
import { runProgram } from './cli/program.ts';

void runProgram(process.argv.slice(2)).then((exitCode) => {
  process.exit(exitCode);
});
