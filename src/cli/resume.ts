// `electord resume`: ends a pause before its time; where there is none, that is said and is no failure.
import { carryOut, said, type VerbFlags } from './operator-verb.ts';

/** Resolves with the exit code. */
export const resume = (flags: VerbFlags): Promise<number> =>
  carryOut(flags, () => (operator) => operator.resume(said(flags)));
