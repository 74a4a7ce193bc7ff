// `electord step-down`: ends the term of the sidecar asked; with --not-for it does not lead for a while, whether it led or not.
import { durationText } from './operator.ts';
import { carryOut, said, type VerbFlags } from './operator-verb.ts';

export interface StepDownFlags extends VerbFlags {
  readonly notFor?: string;
  readonly force?: true;
}

/** Resolves with the exit code. With --all, elections that the sidecar does not lead are passed over. */
export function stepDown(flags: StepDownFlags): Promise<number> {
  const { force } = flags;
  return carryOut(
    flags,
    () => {
      const notFor = durationText('--not-for', flags.notFor);
      const request = {
        ...said(flags),
        ...(notFor === undefined ? {} : { notFor }),
        ...(force === undefined ? {} : { force }),
      };
      return (operator) => operator.stepDown(request);
    },
    ({ code }) => code === 'not_leader',
  );
}
