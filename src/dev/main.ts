// The entry of electord-dev.js, the place to try electord in: arguments in, exit code out. `npm start` runs it, and `electord dev`
// becomes it. It runs the electord.js that stands beside it.
import { existsSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { version } from '../process/version.ts';
import { dev, devPart } from './dev.ts';

const usage = `Usage: electord dev [--once]

An etcd, three sidecars and three sample apps on this machine, to try it out.

  --once     elect, fail over, hand over, end; needs no terminal
  --version  show the version
  --help     show this
`;

/** As everywhere in electord: unusable arguments. */
const unusable = 64;

function refuse(sentence: string): number {
  process.stderr.write(`electord dev: ${sentence}\n${usage}`);
  return unusable;
}

function parse(args: string[]) {
  const options = {
    once: { type: 'boolean', default: false },
    version: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  } as const;
  try {
    return parseArgs({ args, options, allowPositionals: true });
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

async function main(args: string[]): Promise<number> {
  const parsed = parse(args);
  if (typeof parsed === 'string') return refuse(parsed);
  const { values, positionals } = parsed;
  if (values.help || values.version) {
    process.stdout.write(values.help ? usage : `${version}\n`);
    return 0;
  }
  const [word, ...part] = positionals;
  if (word === 'part') return (await devPart(part)) ?? refuse(`there is no part ${part.join(' ')}`);
  if (word !== undefined) return refuse(`"${word}" means nothing here`);
  const entry = realpathSync(process.argv[1] ?? '.');
  const product = join(dirname(entry), 'electord.js');
  if (!existsSync(product)) {
    process.stderr.write(`electord dev: electord.js is not beside ${entry}\n`);
    return 1;
  }
  return dev({ once: values.once, product, entry, stdout: process.stdout, stderr: process.stderr });
}

// A show that is never done is not done well: only its own exit code ends this.
process.exitCode = 70;
void main(process.argv.slice(2)).then((exitCode) => {
  process.exit(exitCode);
});
