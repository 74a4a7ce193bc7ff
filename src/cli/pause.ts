// `electord pause`: nobody campaigns any more and the leader stays; it ends by itself.
import { durationText } from './operator.ts';
import { carryOut, said, type VerbFlags } from './operator-verb.ts';

export interface PauseFlags extends VerbFlags {
  readonly for?: string;
}

/** Resolves with the exit code. */
export function pause(flags: PauseFlags): Promise<number> {
  return carryOut(flags, () => {
    const period = durationText('--for', flags.for);
    const request = { ...said(flags), ...(period === undefined ? {} : { for: period }) };
    return (operator) => operator.pause(request);
  });
}
