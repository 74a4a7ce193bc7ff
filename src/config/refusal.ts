// How a check says no: with a phrase that follows the value in a sentence ("has no unit"). A refusal
// never repeats the value, which may be a secret.

/** The answer of a check that did not accept a value. */
export class Refusal {
  readonly problem: string;

  constructor(problem: string) {
    this.problem = problem;
  }
}
