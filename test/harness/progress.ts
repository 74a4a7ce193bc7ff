// A reporter beside vitest's own: a line a minute of where the run is, and at the end every test that was left out, with
// its reason. It writes whole lines only, so that they are right in a terminal and in the log of a build.
import type { Reporter, TestModule, TestSpecification, Vitest } from 'vitest/node';
import type {} from './left-out.ts';

const everyMs = 60_000;

/** See the head of this file. */
export default class Progress implements Reporter {
  #vitest: Vitest | undefined;
  #timer: NodeJS.Timeout | undefined;
  #files = 0;
  #filesDone = 0;
  #testsDone = 0;
  readonly #running = new Set<string>();

  onInit(vitest: Vitest): void {
    this.#vitest = vitest;
  }

  onTestRunStart(specifications: readonly TestSpecification[]): void {
    this.#files = specifications.length;
    const startedAt = performance.now();
    this.#timer = setInterval(() => {
      const minutes = Math.round((performance.now() - startedAt) / everyMs);
      this.#say(
        `${minutes} min: ${this.#filesDone} of ${this.#files} files, ${this.#testsDone} tests, ` +
          `running: ${[...this.#running].join(', ')}`,
      );
    }, everyMs);
    this.#timer.unref();
  }

  onTestModuleStart({ relativeModuleId }: TestModule): void {
    this.#running.add(relativeModuleId);
  }

  onTestModuleEnd({ relativeModuleId }: TestModule): void {
    this.#running.delete(relativeModuleId);
    this.#filesDone += 1;
  }

  onTestCaseResult(): void {
    this.#testsDone += 1;
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    clearInterval(this.#timer);
    const lines = leftOutIn(modules);
    if (lines.length === 0) return;
    this.#say([`${lines.length} tests did not run:`, ...lines].join('\n'));
  }

  #say(text: string): void {
    this.#vitest?.logger.log(text);
  }
}

/** A line for each test that has a reason not to run. */
export function leftOutIn(modules: readonly TestModule[]): string[] {
  return modules.flatMap((module) =>
    [...module.children.allTests()].flatMap((test) => {
      const { leftOut } = test.meta();
      return leftOut === undefined
        ? []
        : [`  ${module.relativeModuleId}: ${test.fullName}: ${leftOut}`];
    }),
  );
}
