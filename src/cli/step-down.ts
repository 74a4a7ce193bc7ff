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
    (operator) => {
      const notFor = durationText('--not-for', flags.notFor);
      return operator.stepDown({
        ...said(flags),
        ...(notFor === undefined ? {} : { notFor }),
        ...(force === undefined ? {} : { force }),
      });
    },
    ({ code }) => code === 'not_leader',
  );
}
