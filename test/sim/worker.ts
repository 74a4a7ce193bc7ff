// A worker thread of the simulation: runs the schedules of every so many-th seed and tells how they went.
import { parentPort, workerData } from 'node:worker_threads';
import type { Violation } from './checkers.ts';
import { scheduleOf, type Focus } from './schedule.ts';
import { runSchedule } from './world.ts';

/** What a worker is asked to do. */
export interface Task {
  readonly firstSeed: number;
  readonly count: number;
  /** Takes every `stride`-th seed, beginning with number `offset`. */
  readonly stride: number;
  readonly offset: number;
  readonly focus: Focus;
  readonly stopAtFirst: boolean;
  /** Begins no further schedule after so long; null for no limit. */
  readonly budgetMs: number | null;
}

/** What it found. */
export interface Found {
  readonly schedules: number;
  readonly answers: number;
  readonly claims: number;
  readonly terms: number;
  readonly broken: readonly { readonly seed: number; readonly violation: Violation }[];
}

async function work(task: Task): Promise<Found> {
  const startedAt = performance.now();
  const broken: { seed: number; violation: Violation }[] = [];
  let [schedules, answers, claims, terms] = [0, 0, 0, 0];
  for (let index = task.offset; index < task.count; index += task.stride) {
    if (task.budgetMs !== null && performance.now() - startedAt > task.budgetMs) break;
    const seed = task.firstSeed + index;
    const outcome = await runSchedule(scheduleOf(seed, task.focus));
    schedules += 1;
    answers += outcome.answers;
    claims += outcome.claims;
    terms += outcome.terms;
    if (outcome.violation === null) continue;
    broken.push({ seed, violation: outcome.violation });
    if (task.stopAtFirst) break;
  }
  return { schedules, answers, claims, terms, broken };
}

if (parentPort !== null) parentPort.postMessage(await work(workerData as Task));
