// Durations as people write them (`500ms`, `5s`, `2m`, `1h`) to whole milliseconds and back. One number
// and one unit; a number without its unit is refused, since guessing it would be wrong by a thousand.

import { Refusal } from './refusal.ts';

const millisecondsOf = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;
type Unit = keyof typeof millisecondsOf;

/**
 * Reads a duration.
 * @param text such as `500ms`, `5s`, `2m` or `1h`
 * @returns whole milliseconds, or a Refusal that says what is wrong
 */
export function parseDuration(text: string): number | Refusal {
  const match = /^(\d{1,9})(ms|s|m|h)$/.exec(text);
  if (match) return Number(match[1]) * millisecondsOf[match[2] as Unit];
  if (/^\d{1,9}$/.test(text)) {
    return new Refusal(`has no unit; write for example ${text}s or ${text}ms`);
  }
  if (/^\d+\.\d+(ms|s|m|h)$/.test(text)) {
    return new Refusal('is not a whole number; write it in a smaller unit, as 1500ms for 1.5s');
  }
  if (/^-/.test(text)) return new Refusal('is negative');
  return new Refusal('is not a duration; write for example 500ms, 5s, 2m or 1h');
}

/**
 * Writes a duration in the largest unit that divides it.
 * @param durationMs whole milliseconds, not negative
 */
export function formatDuration(durationMs: number): string {
  if (durationMs === 0) return '0s';
  for (const unit of ['h', 'm', 's'] as const) {
    if (durationMs % millisecondsOf[unit] === 0)
      return `${durationMs / millisecondsOf[unit]}${unit}`;
  }
  return `${durationMs}ms`;
}
