// How single checks add up to "healthy" or not: a pure count, with no time in it.

export interface Thresholds {
  /** So many failures in a row make the app unhealthy. */
  readonly fall: number;
  /** So many passes in a row make it healthy again. */
  readonly rise: number;
}

export interface Tally {
  readonly healthy: boolean;
  /** Whether any check has passed yet. */
  readonly everPassed: boolean;
  /** How many checks in a row have said the opposite of `healthy`. */
  readonly against: number;
}

/** Before the first check. */
export const untested = (healthy: boolean): Tally => ({ healthy, everPassed: false, against: 0 });

/**
 * Counts one check. The very first pass makes the app healthy at once, whatever `rise` is: it says all that is known,
 * and an app that has never failed has nothing to recover from. After that, `rise` and `fall` count in a row.
 */
export function count(tally: Tally, passed: boolean, { fall, rise }: Thresholds): Tally {
  const everPassed = tally.everPassed || passed;
  if (passed && !tally.everPassed) return { healthy: true, everPassed, against: 0 };
  if (passed === tally.healthy) return { ...tally, everPassed, against: 0 };
  const against = tally.against + 1;
  if (against < (passed ? rise : fall)) return { ...tally, everPassed, against };
  return { healthy: passed, everPassed, against: 0 };
}
