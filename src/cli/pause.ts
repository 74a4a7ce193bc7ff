// `electord pause`: nobody campaigns any more and the leader stays; it ends by itself.
import { durationText, say, sayJson, withOperator, type CommonFlags } from './operator.ts';
import { printable } from './table.ts';
import { exitCodes } from './exit-codes.ts';

export interface PauseFlags extends CommonFlags {
  readonly for?: string;
  readonly reason?: string;
}

/** Resolves with the exit code. */
export function pause(flags: PauseFlags): Promise<number> {
  return withOperator(flags, async (operator) => {
    const { reason } = flags;
    const period = durationText('--for', flags.for);
    const answer = await operator.pause({
      ...(reason === undefined ? {} : { reason }),
      ...(period === undefined ? {} : { for: period }),
    });
    if (flags.json === true) sayJson(answer);
    else say(printable(answer.detail));
    return exitCodes.clean;
  });
}
