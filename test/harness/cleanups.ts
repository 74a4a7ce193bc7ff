// What a test has started, and is ended after it: the last first, whether it passed or not.
import { afterEach } from 'vitest';

/** A list for one file; what is pushed is called, and waited for, after the test. */
export function endedAfterEach(): (() => unknown)[] {
  const cleanups: (() => unknown)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  return cleanups;
}
