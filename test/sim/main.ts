// npm run sim: many schedules on two threads; each one that breaks a promise is made small and told as a story.
//
//   npm run sim -- --schedules 2000 --seed 1     seeds 1 to 2000
//   npm run sim -- --replay 17                   one schedule, told from its beginning to its end
//   npm run sim -- --only pause,cut              nothing else befalls anybody
import { Command, InvalidArgumentError } from 'commander';
import { buildSimulation } from './bundle.ts';
import { discard, simulate, type Tally } from './runner.ts';
import { scheduleMs, scheduleOf, type Focus, type Happening, type Schedule } from './schedule.ts';
import { shrink } from './shrink.ts';
import { runSchedule } from './world.ts';

/** So many failing schedules are told; of the others, the seeds must do. */
const mostTold = 3;

interface Arguments {
  readonly schedules: number;
  readonly seed: number;
  readonly threads: number;
  readonly replay?: number;
  readonly only?: readonly Happening['kind'][];
  readonly takeoverDelayMs?: number;
  readonly fastFailoverMs?: number;
}

function count(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('a whole number, please.');
  return Number(text);
}

const values = new Command('sim')
  .option('--schedules <n>', 'how many, one for each seed', count, 2000)
  .option('--seed <n>', 'the first one', count, 1)
  .option('--threads <n>', 'to run them on', count, 2)
  .option('--replay <seed>', 'tell this one from its beginning to its end, and run no other', count)
  .option('--only <kinds>', 'a comma list: nothing else befalls anybody', (text) => text.split(','))
  .option('--takeover-delay-ms <n>', 'of every sidecar, whatever the seed says', count)
  .option('--fast-failover-ms <n>', 'of every sidecar that has it, whatever the seed says', count)
  .parse(process.argv)
  .opts<Arguments>();

const focusOf = (): Focus => {
  const { only, takeoverDelayMs, fastFailoverMs } = values;
  return {
    ...(only === undefined ? {} : { kinds: only }),
    setup: {
      ...(takeoverDelayMs === undefined ? {} : { takeoverDelayMs }),
      ...(fastFailoverMs === undefined ? {} : { fastFailoverMs }),
    },
  };
};

function tellSetup({ seed, setup }: Schedule): void {
  const { ttlMs, marginMs, takeoverDelayMs, graceMs, etcdMembers, elections } = setup;
  const rates = setup.sidecars.map(({ rate }) => rate.toFixed(4)).join(' ');
  console.log(
    `seed ${seed}: TTL ${ttlMs} ms, fast failover ${setup.fastFailoverMs ?? 'off'}, margin ${marginMs}, takeover delay ${takeoverDelayMs}, grace ${graceMs}, ` +
      `${etcdMembers} etcd, ${elections} election(s), clocks ${rates}` +
      (setup.app === null ? '' : ', with an app'),
  );
}

async function tell(schedule: Schedule): Promise<void> {
  tellSetup(schedule);
  const { transcript } = await runSchedule(schedule, { transcript: true });
  console.log(transcript.join('\n'));
}

function summarise(tally: Tally): void {
  const { schedules, answers, claims, terms, broken, tookMs } = tally;
  const perMinute = Math.round((schedules * 60_000) / tookMs);
  console.log(
    `${schedules} schedules of ${scheduleMs / 1000} simulated seconds in ${(tookMs / 1000).toFixed(1)} s ` +
      `(${perMinute} a minute): ${terms} terms, ${claims} claims among ${answers} answers, ` +
      `${broken.length} broken promises`,
  );
}

async function runMany(): Promise<void> {
  const file = await buildSimulation('main');
  try {
    const wanted = {
      file,
      firstSeed: values.seed,
      count: values.schedules,
      threads: values.threads,
      focus: focusOf(),
    };
    const tally = await simulate(wanted);
    summarise(tally);
    for (const { seed, violation } of tally.broken) {
      console.log(`seed ${seed}: ${violation.promise}: ${violation.what}`);
    }
    for (const { seed, violation } of tally.broken.slice(0, mostTold)) {
      console.log(`\nseed ${seed}, made small:`);
      await tell((await shrink(scheduleOf(seed, focusOf()), violation)).schedule);
    }
    if (tally.broken.length > 0) process.exitCode = 1;
  } finally {
    await discard(file);
  }
}

if (values.replay === undefined) await runMany();
else await tell(scheduleOf(values.replay, focusOf()));
