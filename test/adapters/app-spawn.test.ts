// Processes that cannot be started, as the system refuses them: a check or a hook has then failed, the child of `run` has
// not started, and the guardian is started later. Node tells it in three ways, and each is a failure like any other.
import { ChildProcess, type spawn } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { AppChecker } from '../../src/app-side/check.ts';
import { exitCodeOf, howItEnded, startChild } from '../../src/app-side/child.ts';
import { Guardian } from '../../src/app-side/guardian.ts';
import { runHook, type HookResult } from '../../src/app-side/hooks.ts';
import { ProcessGroup } from '../../src/app-side/process-group.ts';
import { electionName, fencingToken, memberId, revision } from '../../src/core/model.ts';
import { SystemClock } from '../../src/process/clock.ts';
import { untilGone } from '../harness/process-groups.ts';
import { eventually } from '../harness/wait.ts';

type Spawn = typeof spawn;

const refusal = vi.hoisted((): { spawn: (() => ChildProcess) | null } => ({ spawn: null }));
vi.mock('node:child_process', async (importOriginal) => {
  const real = await importOriginal<{ spawn: Spawn }>();
  const refusing = (...given: Parameters<Spawn>) => refusal.spawn?.() ?? real.spawn(...given);
  return { ...real, spawn: refusing };
});

const failure = (code: string): Error => Object.assign(new Error(`spawn ${code}`), { code });

/** No file left to open: told later, and there are no channels at all. */
function withoutChannels(): ChildProcess {
  // Not exported as a constructor, and one all the same.
  const child = new (ChildProcess as unknown as new () => ChildProcess)();
  process.nextTick(() => child.emit('error', failure('EMFILE')));
  return child;
}

/** No process left: told later, with channels that are closed. */
function withChannels(): ChildProcess {
  const child = withoutChannels();
  return Object.assign(child, { stdin: null, stdout: null, stderr: null, stdio: [null, null] });
}

/** An environment that is too large: thrown. */
function thrown(): ChildProcess {
  throw failure('EMFILE');
}

const clock = new SystemClock();
const warned: object[] = [];
const log = {
  debug: () => undefined,
  info: () => undefined,
  warn: (fields: object) => void warned.push(fields),
};
let guardian: Guardian;

beforeEach(() => {
  warned.length = 0;
  guardian = new Guardian(clock, log);
});
afterEach(() => {
  refusal.spawn = null;
  guardian.close();
});

const groupOptions = () => ({
  command: ['sleep', '1000'],
  environment: process.env,
  guardian,
  clock,
});

describe.each([
  ['told later, without channels', withoutChannels],
  ['told later, with channels', withChannels],
  ['thrown', thrown],
] as const)('a process that cannot be started, %s', (_, refused) => {
  beforeEach(() => {
    refusal.spawn = refused;
  });

  test('is no check that passed, and the next one may pass', async () => {
    const told: boolean[] = [];
    const checker = new AppChecker(
      {
        check: { kind: 'exec', command: 'exit 0' },
        ...{ intervalMs: 20, timeoutMs: 5000, thresholds: { fall: 1, rise: 1 }, environment: {} },
        ...{ clock, log, guardian },
        onHealth: (healthy) => told.push(healthy),
      },
      true,
    );
    checker.start();
    try {
      await eventually(() => /could not be started \(EMFILE\)/.test(checker.health().detail), {
        withinMs: 20_000,
        what: 'a failed check',
      });
      expect(checker.health().healthy).toBe(false);
      refusal.spawn = null;
      await eventually(() => told.at(-1) === true, { withinMs: 20_000, what: 'healthy again' });
    } finally {
      checker.stop();
    }
  });

  test('is a hook that failed, with nothing left of it', async () => {
    const results: HookResult[] = [];
    const run = runHook(
      {
        ...{ clock, log, guardian },
        surroundings: {
          id: memberId('a'),
          ...{ ownEnvironment: {}, secretVariables: [], localUrl: () => '' },
        },
        observeHook: (_event, result) => results.push(result),
      },
      {
        hook: { kind: 'exec', command: 'exit 0' },
        occasion: {
          ...{ event: 'elected', cause: 'elected', mustStop: null },
          ...{ election: electionName('orders'), token: fencingToken(revision(7n)) },
        },
        limits: { endAt: clock.now() + 5000, killAt: clock.now() + 6000 },
        tied: true,
      },
    );
    await run.gone;
    run.kill();
    expect(results).toEqual(['failed']);
  });

  test('is a child that has not started: 126', async () => {
    const child = startChild(groupOptions());
    child.signal('SIGTERM');
    child.end(clock.now() + 100);
    const exit = await child.exited;
    await child.gone;
    expect(exitCodeOf(exit)).toBe(126);
    expect(howItEnded(exit)).toBe('the child could not be started (EMFILE)');
    expect(child.pid).toBeNull();
  });

  test('is a guardian that is started later, and does its duty then', async () => {
    const own = new Guardian(clock, log);
    try {
      await eventually(() => warned.length > 0, { withinMs: 20_000, what: 'a warning' });
      expect(warned[0]).toMatchObject({ why: 'it could not be started (EMFILE)' });
      expect(own.pid()).toBeNull();
      refusal.spawn = null;
      // Let in only by a guardian that knows of it.
      const group = new ProcessGroup({
        ...groupOptions(),
        ...{ command: ['true'], guardian: own, tied: false, stdio: 'ignore' },
      });
      expect(await group.exited).toEqual({ code: 0, signal: null, notStarted: null });
      await untilGone(group.pid!, 5000);
    } finally {
      own.close();
    }
  });
});
