// Time-outs that judge ("no answer, so nobody is there"). After a stall (a stopped process, a long collection of
// garbage, no processor) Node runs the timers that are due before it reads what has long arrived. So a time-out looks
// once more: it judges only when one pass of IO after it was due has not cancelled it.
import type { Millis } from '../core/model.ts';
import type { Clock } from '../ports.ts';

const oncePassed = (start: (due: () => void) => () => void, judge: () => void): (() => void) => {
  let immediate: NodeJS.Immediate | undefined;
  const cancelTimer = start(() => {
    immediate = setImmediate(judge);
  });
  return () => {
    cancelTimer();
    clearImmediate(immediate);
  };
};

/** Calls `judge` once at `at`, after one more pass of IO; the returned function cancels it. */
export const judgeAt = (clock: Pick<Clock, 'at'>, at: Millis, judge: () => void): (() => void) =>
  oncePassed((due) => clock.at(at, due), judge);

/** The same, `afterMs` milliseconds from now on. */
export const judgeAfter = (afterMs: number, judge: () => void): (() => void) =>
  oncePassed((due) => {
    const timer = setTimeout(due, afterMs);
    return () => clearTimeout(timer);
  }, judge);
