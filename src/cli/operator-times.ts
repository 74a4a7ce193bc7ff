// Spans and moments of time as an operator reads them at night. Pure.

/** `850 ms`, `4.2 s`, `3 min 12 s`, `2 h 5 min`, `6 d 3 h`. */
export function elapsed(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const pairs = [
    [86_400, 'd', 3600, 'h'],
    [3600, 'h', 60, 'min'],
    [60, 'min', 1, 's'],
  ] as const;
  const pair = pairs.find(([size]) => seconds >= size) ?? pairs[2];
  const [size, unit, smaller, smallerUnit] = pair;
  const whole = Math.floor(seconds / size);
  const rest = Math.floor((seconds - whole * size) / smaller);
  return rest === 0 ? `${whole} ${unit}` : `${whole} ${unit} ${rest} ${smallerUnit}`;
}

/** `≤ 4.3 s`: what it may be at most is never rounded down. */
export const atMost = (ms: number): string =>
  `≤ ${elapsed(ms < 1000 ? Math.ceil(ms) : Math.ceil(ms / 100) * 100)}`;

/** `2026-11-20 21:00:03+01:00`, in the time zone of whoever reads it; the text itself where it is no moment. */
export function momentOf(iso: string): string {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return iso;
  const two = (number: number): string => String(number).padStart(2, '0');
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const aheadMin = -at.getTimezoneOffset();
  const [hours, minutes] = [Math.floor(Math.abs(aheadMin) / 60), Math.abs(aheadMin) % 60];
  return `${day} ${time}${aheadMin < 0 ? '-' : '+'}${two(hours)}:${two(minutes)}`;
}

/** A sentence of a sidecar, which has its moments in UTC, with those of `momentOf`. */
export const withMoments = (text: string): string =>
  text.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, momentOf);
