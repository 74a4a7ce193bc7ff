// Runs many schedules on worker threads of a built simulation, and adds up what they found.
import { rm } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import type { Focus } from './schedule.ts';
import type { Found, Task } from './worker.ts';

export interface Wanted {
  /** The worker's file, from `buildSimulation`. */
  readonly file: string;
  readonly firstSeed: number;
  readonly count: number;
  readonly threads?: number;
  readonly focus?: Focus;
  readonly stopAtFirst?: boolean;
  readonly budgetMs?: number;
}

/** Everything that was found, and how long it took. */
export interface Tally extends Found {
  readonly tookMs: number;
}

export async function simulate(wanted: Wanted): Promise<Tally> {
  const { file, firstSeed, count, threads = 1, focus = {}, stopAtFirst = false } = wanted;
  const startedAt = performance.now();
  const found = await Promise.all(
    Array.from({ length: threads }, (_, offset) => {
      const common = { firstSeed, count, stride: threads, offset, focus, stopAtFirst };
      return runWorker(file, { ...common, budgetMs: wanted.budgetMs ?? null });
    }),
  );
  const sum = (of: (each: Found) => number): number =>
    found.reduce((total, each) => total + of(each), 0);
  return {
    schedules: sum(({ schedules }) => schedules),
    answers: sum(({ answers }) => answers),
    claims: sum(({ claims }) => claims),
    terms: sum(({ terms }) => terms),
    broken: found.flatMap(({ broken }) => broken).sort((a, b) => a.seed - b.seed),
    tookMs: performance.now() - startedAt,
  };
}

/** Removes a built worker. */
export const discard = (file: string): Promise<void> => rm(file, { force: true });

function runWorker(file: string, workerData: Task): Promise<Found> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(file, { workerData });
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => {
      reject(new Error(`a worker of the simulation ended early with code ${code}`));
    });
  });
}
