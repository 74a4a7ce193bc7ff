// The entry of the bundle: arguments in, exit code out.
import { fall, onFailure } from './cli/hasty-end.ts';
import { runProgram } from './cli/program.ts';

// Warnings about what packages do are for us, not for those who run this: TLS to an IP address gives one.
process.noDeprecation = true;

// What cannot be complained of is not complained of: a full disk behind the standard error ends nobody.
process.stderr.on('error', () => undefined);

const end = (exitCode: number): void => process.exit(exitCode);
onFailure((failure) => void fall(null, failure).then(end));

// A command that is never done is not done well: only its own exit code ends this.
process.exitCode = 70;
void runProgram(process.argv.slice(2)).then(end);
