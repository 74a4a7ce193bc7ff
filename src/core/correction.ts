// Whether we have to correct the record of a term of ours that ended. It decides nothing about leadership.
import type { Candidacy, CandidacyEffect, Ending, OwnKey } from './candidacy.ts';

/** What was not recorded with the key's deletion, since that was none of ours: its lease ran out, or a witness deposed us. */
export function correctionOf(
  { queue }: Candidacy,
  own: OwnKey,
  ending: Ending | null,
  isHeld = false,
): readonly CandidacyEffect[] {
  // Whoever reads of the end waits for nobody; and a hold that was promised is to be waited out, whoever deleted the key.
  if (ending === null || ending.stoodStill || isHeld) return [];
  const record = queue?.handover ?? null;
  const isOurs = record?.token === ending.term.token && record.cause !== 'crashed';
  return isOurs ? [] : [{ kind: 'correct', own, ending }];
}
