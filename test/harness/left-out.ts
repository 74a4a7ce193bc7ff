// What a test needs that this machine or this user may not give. Such a test is left out with a reason, which the
// progress reporter prints at the end of the run, so that none is skipped silently.

declare module 'vitest' {
  interface TaskMeta {
    /** Why the test is left out, where it is. */
    leftOut?: string;
  }
}

/** For the options of a test or a group that needs root, for that reason: leaves it out for any other user. */
export function needsRoot(reason: string): LeftOut {
  return leftOut(process.getuid?.() === 0 ? null : `needs root: ${reason}`);
}

/** Options of a test or a group. */
export interface LeftOut {
  readonly skip: boolean;
  readonly meta: { readonly leftOut?: string };
}

/** For the options of a test or a group: leaves it out where there is a reason. */
export function leftOut(reason: string | null): LeftOut {
  return reason === null ? { skip: false, meta: {} } : { skip: true, meta: { leftOut: reason } };
}
