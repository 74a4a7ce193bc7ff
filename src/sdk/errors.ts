// What can go wrong between an app and its sidecar. One class per family, each with a stable `code`; none of them
// ever holds the token.
import type { Problem } from '../contract.ts';
import { ElectordError } from '../errors.ts';

/** An option that cannot work, such as an address that is none; thrown at once and for good. */
export class UnusableOption extends ElectordError {
  override readonly name = 'UnusableOption';
  readonly code = 'unusable_option';
}

/** The sidecar did not answer in time, or could not be reached: whether a verb was carried out is unknown. */
export class SidecarUnreachable extends ElectordError {
  override readonly name = 'SidecarUnreachable';
  readonly code = 'sidecar_unreachable';
}

/** Something answered, but not as a sidecar does: most likely the address is another program's. */
export class UnusableAnswer extends ElectordError {
  override readonly name = 'UnusableAnswer';
  readonly code = 'unusable_answer';
}

/** The sidecar refused. `code` and the message are its own, as is everything in `problem`. */
export class SidecarRefused extends ElectordError {
  override readonly name = 'SidecarRefused';
  readonly code: string;
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail);
    this.code = problem.code;
    this.problem = problem;
  }
}

/** A hold was asked for where this instance does not lead. */
export class NotLeader extends ElectordError {
  override readonly name = 'NotLeader';
  readonly code = 'not_leader';
}

/** Why the signal of `whileLeader` aborts: the term is over, or may be. */
export class LeadershipLost extends ElectordError {
  override readonly name = 'LeadershipLost';
  readonly code = 'leadership_lost';
}

/** `close` was called. */
export class ClientClosed extends ElectordError {
  override readonly name = 'ClientClosed';
  readonly code = 'client_closed';
}
