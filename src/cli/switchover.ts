// `electord switchover`: leadership goes to a named member, whichever sidecar is asked.
import { carryOut, said, type VerbFlags } from './operator-verb.ts';

export interface SwitchoverFlags extends VerbFlags {
  readonly to: string;
  readonly force?: true;
}

/** Resolves with the exit code. */
export function switchover(flags: SwitchoverFlags): Promise<number> {
  const { to, force } = flags;
  const request = { to, ...said(flags), ...(force === undefined ? {} : { force }) };
  return carryOut(flags, () => (operator) => operator.switchover(request));
}
