// What the verbs have in common: who asks and why, one election or all of them, and how each tells what became of it.
import { hostname, userInfo } from 'node:os';
import type { VerbAnswer } from '../contract.ts';
import { ElectordError } from '../errors.ts';
import type { Operator } from '../sdk/client.ts';
import { exitCodes } from './exit-codes.ts';
import { exitCodeOf, tell, UnusableArgument, withOperator, type CommonFlags } from './operator.ts';
import { say, sayJson } from './output.ts';
import { printable } from './table.ts';

/** The flags of every verb. */
export interface VerbFlags extends CommonFlags {
  readonly all?: true;
  readonly reason?: string;
  readonly by?: string;
}

/** So many elections are asked at once by --all: each takes a connection of the sidecar's local listener. */
const askedAtOnce = 8;

/** `ann@orders-host-0`; nothing where the machine does not know who runs this. */
function localUser(): string | undefined {
  try {
    return `${userInfo().username}@${hostname()}`.slice(0, 128);
  } catch {
    return undefined;
  }
}

/** Who asks and why, as the body of a verb says it. */
export function said({ reason, by = localUser() }: VerbFlags): { reason?: string; by?: string } {
  return {
    ...(reason === undefined ? {} : { reason }),
    ...(by === undefined ? {} : { by }),
  };
}

type Verb = (operator: Operator) => Promise<VerbAnswer>;

/**
 * Carries out a verb in the election named, or in all.
 * @param prepare makes the verb, once; throws UnusableArgument before anything is asked
 * @param skips a refusal that is none where all are asked
 */
export function carryOut(
  flags: VerbFlags,
  prepare: () => Verb,
  skips: (failure: ElectordError) => boolean = () => false,
): Promise<number> {
  const tellDone = (answer: VerbAnswer, name = ''): void => {
    if (flags.json === true) sayJson(answer);
    else say(printable(`${name}${answer.detail}`));
  };
  const one = (verb: Verb, election: string): Promise<number> =>
    withOperator({ ...flags, election }, async (operator) => {
      try {
        tellDone(await verb(operator), `${election}: `);
      } catch (failure) {
        if (!(failure instanceof ElectordError)) throw failure;
        if (skips(failure)) return exitCodes.clean;
        tell(failure, flags, `${election}: `);
        return exitCodeOf(failure);
      }
      return exitCodes.clean;
    });
  return withOperator(flags, async (operator) => {
    const verb = prepare();
    if (flags.all === undefined) {
      tellDone(await verb(operator));
      return exitCodes.clean;
    }
    if (flags.election !== undefined) {
      throw new UnusableArgument('--all and --election contradict each other');
    }
    const names = (await operator.elections()).map(({ election }) => election);
    return inTurn(names, (name) => one(verb, name));
  });
}

/** Carries out one after the other, some at once; the worst exit code of all. */
export async function inTurn(
  names: readonly string[],
  one: (name: string) => Promise<number>,
): Promise<number> {
  let worst: number = exitCodes.clean;
  const queue = names.values();
  const worker = async (): Promise<void> => {
    for (const name of queue) worst = Math.max(worst, await one(name));
  };
  await Promise.all(Array.from({ length: askedAtOnce }, worker));
  return worst;
}
