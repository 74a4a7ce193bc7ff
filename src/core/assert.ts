// Assertions that stay on in production: an impossible event means that our picture of the world is wrong,
// and a sidecar whose picture is wrong must not go on claiming leadership.

/** An internal assertion failed. The process gives up leadership and exits with code 70. */
export class AssertionFailure extends Error {
  override readonly name = 'AssertionFailure';
  readonly code = 'assertion_failed';
}

/** Throws {@link AssertionFailure} unless `condition` holds; `what` says what should have held. */
export function assert(condition: boolean, what: string): asserts condition {
  if (!condition) throw new AssertionFailure(`assertion failed: ${what}`);
}

/** Ends every switch over a union: the compiler proves it unreachable, production asserts it. */
export function assertNever(value: never): never {
  throw new AssertionFailure(`unexpected case: ${JSON.stringify(value)}`);
}
