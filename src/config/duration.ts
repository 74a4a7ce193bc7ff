// The contract's durations, for checks of settings.
import { readDuration } from '../contract.ts';
import { Refusal } from './refusal.ts';

/** Whole milliseconds of a text such as `500ms`, `5s`, `2m` or `1h`, or a Refusal that says what is wrong. */
export function parseDuration(text: string): number | Refusal {
  const read = readDuration(text);
  return 'ms' in read ? read.ms : new Refusal(read.problem);
}
