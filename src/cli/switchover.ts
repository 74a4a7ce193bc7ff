// `electord switchover`: leadership goes to a named member, whichever sidecar is asked.
import { say, sayJson, withOperator, type CommonFlags } from './operator.ts';
import { printable } from './table.ts';
import { exitCodes } from './exit-codes.ts';

export interface SwitchoverFlags extends CommonFlags {
  readonly to: string;
  readonly reason?: string;
}

/** Resolves with the exit code. */
export function switchover(flags: SwitchoverFlags): Promise<number> {
  return withOperator(flags, async (operator) => {
    const { to, reason } = flags;
    const answer = await operator.switchover({ to, ...(reason === undefined ? {} : { reason }) });
    if (flags.json === true) sayJson(answer);
    else say(printable(answer.detail));
    return exitCodes.clean;
  });
}
