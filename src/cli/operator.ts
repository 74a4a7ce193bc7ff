// What all commands of the operator have in common: the flags that say which sidecar, where answers and failures go, and
// the exit codes. They ask through sdk/ only, as any app does.
import { readFileSync } from 'node:fs';
import { formatDuration, readDuration } from '../contract.ts';
import { ElectordError } from '../errors.ts';
import {
  connect,
  operate,
  type Client,
  type ConnectOptions,
  type Operator,
} from '../sdk/client.ts';
import { SidecarRefused, SidecarUnreachable } from '../sdk/errors.ts';
import { tlsFromFiles, type TlsFiles } from '../sdk/tls-files.ts';
import { exitCodes } from './exit-codes.ts';
import { complain, failedCode } from './output.ts';
import { printable } from './table.ts';

/** So many names of elections stand in a sentence. */
const namedAtMost = 10;

/** The flags of every such command. */
export interface CommonFlags extends TlsFiles {
  readonly url?: string;
  readonly election?: string;
  readonly tokenFile?: string;
  readonly json?: true;
}

/** An argument that cannot be used. */
export class UnusableArgument extends ElectordError {
  override readonly name = 'UnusableArgument';
  readonly code = 'unusable_argument';
}

/** Milliseconds of a flag such as `30s`. */
export function durationOf(flag: string, text: string): number {
  const read = readDuration(text);
  if ('ms' in read) return read.ms;
  throw new UnusableArgument(`${flag} ${JSON.stringify(text)} ${read.problem}`);
}

/** The duration of a flag as the sidecar reads it, or nothing. */
export const durationText = (flag: string, text: string | undefined): string | undefined =>
  text === undefined ? undefined : formatDuration(durationOf(flag, text));

function tokenOf({ tokenFile }: CommonFlags): string | undefined {
  const path = tokenFile ?? process.env['ELECTORD_TOKEN_FILE'];
  if (path === undefined || path === '') {
    const { ELECTORD_TOKEN: token } = process.env;
    return token === '' ? undefined : token;
  }
  try {
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (failure) {
    const { code = 'unreadable' } = failure as NodeJS.ErrnoException;
    throw new UnusableArgument(`the token cannot be read from ${path}: ${code}`);
  }
}

function optionsOf(flags: CommonFlags): ConnectOptions {
  const { url, election, ca, cert, key, serverName } = flags;
  const token = tokenOf(flags);
  return {
    ...(url === undefined ? {} : { url }),
    ...(election === undefined ? {} : { election }),
    ...(token === undefined ? {} : { token }),
    // What is left out is taken from the environment, where the sidecar is asked by https at all.
    ...((ca ?? cert ?? key ?? serverName) === undefined ? {} : { tls: tlsFromFiles(flags) }),
  };
}

/** What a refusal says of paths, in words of the command line. */
function messageOf(failure: ElectordError, { election = '' }: CommonFlags): string {
  if (!(failure instanceof SidecarRefused)) return failure.message;
  const { code, elections } = failure.problem as { code: string; elections?: unknown };
  if (code === 'unknown_election') {
    return `the sidecar does not stand in ${election}; "electord status" lists what it stands in`;
  }
  if (code !== 'election_required' || !Array.isArray(elections)) return failure.message;
  const some = elections.slice(0, namedAtMost).join(', ');
  const rest = elections.length > namedAtMost ? ', …' : '';
  return `the sidecar stands in ${elections.length} elections: name one by --election NAME (${some}${rest})`;
}

/** What went wrong, as a sentence; `--json` gives the sidecar's own problem where there is one. */
export function tell(failure: ElectordError, flags: CommonFlags, about = ''): void {
  if (flags.json !== true) {
    complain(printable(`${about}${messageOf(failure, flags)}`));
    return;
  }
  const { code, message } = failure;
  const problem = failure instanceof SidecarRefused ? failure.problem : { code, detail: message };
  process.stderr.write(`${JSON.stringify(problem)}\n`);
}

/** The last two: what only the sidecar knows not to be allowed, such as a pause of two days. */
const usageCodes = ['unusable_argument', 'unusable_option', 'invalid_body', 'invalid_parameter'];

/** Of a command that failed so. */
export const exitCodeOf = ({ code }: ElectordError): number =>
  usageCodes.includes(code) ? exitCodes.usage : failedCode;

/** Runs a command; a failure that is no bug becomes a sentence and an exit code. */
export async function guarded(flags: CommonFlags, run: () => Promise<number>): Promise<number> {
  try {
    return await run();
  } catch (failure) {
    if (!(failure instanceof ElectordError)) throw failure;
    tell(failure, flags);
    return exitCodeOf(failure);
  }
}

/** Runs a command that asks the operator's side of the sidecar. */
export function withOperator(
  flags: CommonFlags,
  run: (operator: Operator) => Promise<number>,
): Promise<number> {
  return guarded(flags, async () => {
    const operator = operate(optionsOf(flags));
    try {
      return await run(operator);
    } finally {
      operator.close();
    }
  });
}

/** Runs a command that follows who leads. */
export function withClient(
  flags: CommonFlags,
  run: (client: Client, operator: Operator) => Promise<number>,
): Promise<number> {
  return withOperator(flags, async (operator) => {
    const client = connect(optionsOf(flags));
    try {
      return await run(client, operator);
    } finally {
      await client.close();
    }
  });
}

/** Whether to colour: on a terminal, unless NO_COLOR is set to anything. */
export const mayColour = ({ isTTY }: { readonly isTTY?: boolean }): boolean =>
  isTTY === true && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb';

/** A refusal that time will not heal, such as for an election that is not there. */
export const isFinal = (failure: unknown): boolean =>
  failure instanceof ElectordError &&
  !(failure instanceof SidecarUnreachable) &&
  !(failure instanceof SidecarRefused && failure.problem.status >= 500);
