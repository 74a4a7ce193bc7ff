// Makes a failing schedule small: leaves out whatever is not needed for the same promise to be broken, a half at a
// time, then a quarter, then one by one; and then whatever else makes a story longer than it has to be.
import type { Violation } from './checkers.ts';
import type { Happening, Schedule } from './schedule.ts';
import { runSchedule } from './world.ts';

/** No more attempts than this; each is one run of a schedule. */
const mostAttempts = 400;

/** The smallest schedule found that still breaks the same promise, and how it does. */
export async function shrink(
  schedule: Schedule,
  violation: Violation,
): Promise<{ readonly schedule: Schedule; readonly violation: Violation }> {
  let best = { schedule, violation };
  let attempts = 0;
  const attempt = async (smaller: Schedule): Promise<boolean> => {
    if (attempts >= mostAttempts) return false;
    attempts += 1;
    const outcome = await runSchedule(smaller);
    if (outcome.violation?.promise !== violation.promise) return false;
    best = { schedule: smaller, violation: outcome.violation };
    return true;
  };
  const leaveOut = async (): Promise<void> => {
    for (let size = Math.ceil(best.schedule.happenings.length / 2); size >= 1;) {
      let shorter = false;
      for (let start = 0; start < best.schedule.happenings.length;) {
        const happenings = best.schedule.happenings.toSpliced(start, size);
        if (await attempt({ ...best.schedule, happenings })) shorter = true;
        else start += size;
      }
      if (size === 1 && !shorter) break;
      size = size === 1 ? 1 : Math.ceil(size / 2);
    }
  };
  await leaveOut();
  for (const simpler of simplerSetups(best.schedule)) await attempt(simpler(best.schedule));
  for (let index = 0; index < best.schedule.happenings.length; index += 1) {
    await shorten(index, () => best.schedule, attempt);
  }
  await leaveOut();
  return best;
}

/** Fewer things that could have played a part and did not. */
function simplerSetups({ setup }: Schedule): ((schedule: Schedule) => Schedule)[] {
  const { leastMs, mostMs } = setup.weather;
  const still = { lossChance: 0, spikeChance: 0, spikeMs: 0, copyChance: 0, copyMs: 0 };
  const fine = { leastMs, mostMs, ...still };
  const once = { ...setup.weather, copyChance: 0 };
  const changes: Partial<Schedule['setup']>[] = [
    { weather: once },
    { weather: fine },
    { weather: { ...fine, leastMs: 1, mostMs: 1 } },
    { app: null },
    { elections: 1 },
    { etcdMembers: 1 },
    { sidecars: setup.sidecars.map((each) => ({ ...each, rate: 1 })) },
    { sidecars: setup.sidecars.slice(0, 2) },
  ];
  return changes.map((change) => (schedule) => {
    return { ...schedule, setup: { ...schedule.setup, ...change } };
  });
}

async function shorten(
  index: number,
  present: () => Schedule,
  attempt: (smaller: Schedule) => Promise<boolean>,
): Promise<void> {
  for (let round = 0; round < 3; round += 1) {
    const happening = present().happenings[index];
    if (happening === undefined || !('forMs' in happening)) return;
    const shorter: Happening = { ...happening, forMs: Math.ceil(happening.forMs / 2) };
    if (!(await attempt({ ...present(), happenings: present().happenings.with(index, shorter) })))
      return;
  }
}
