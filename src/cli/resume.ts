// `electord resume`: ends a pause before its time; where there is none, that is said and is no failure.
import { say, sayJson, withOperator, type CommonFlags } from './operator.ts';
import { printable } from './table.ts';
import { exitCodes } from './exit-codes.ts';

/** Resolves with the exit code. */
export function resume(flags: CommonFlags): Promise<number> {
  return withOperator(flags, async (operator) => {
    const answer = await operator.resume();
    if (flags.json === true) sayJson(answer);
    else say(printable(answer.detail));
    return exitCodes.clean;
  });
}
