// `electord step-down`: ends the term of the sidecar asked.
import { durationText, say, sayJson, withOperator, type CommonFlags } from './operator.ts';
import { printable } from './table.ts';
import { exitCodes } from './exit-codes.ts';

export interface StepDownFlags extends CommonFlags {
  readonly reason?: string;
  readonly notFor?: string;
}

/** Resolves with the exit code. */
export function stepDown(flags: StepDownFlags): Promise<number> {
  return withOperator(flags, async (operator) => {
    const { reason } = flags;
    const notFor = durationText('--not-for', flags.notFor);
    const answer = await operator.stepDown({
      ...(reason === undefined ? {} : { reason }),
      ...(notFor === undefined ? {} : { notFor }),
    });
    if (flags.json === true) sayJson(answer);
    else say(printable(answer.detail));
    return exitCodes.clean;
  });
}
