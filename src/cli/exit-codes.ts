// The exit codes of the public contract.

export const exitCodes = {
  clean: 0,
  /** Unusable arguments. */
  usage: 64,
  /** An address is not to be had, and may be soon: to start again is of use. */
  unavailable: 69,
  /** An internal assertion failed. */
  internal: 70,
  /** Leadership was lost (`run`), or `wait` ran out of time. */
  lost: 75,
  /** Unusable configuration. */
  configuration: 78,
} as const;
