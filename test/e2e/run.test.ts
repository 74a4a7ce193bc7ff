// `electord run`: the child runs only while its electord leads. Child and electord are killed, stopped and cut off in
// every order; after each, nothing of the old child is left when the next one starts. Children are groups: most have a
// fork, and the worst of them obey to nothing but SIGKILL.
import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { spawnGuarded, type ChildExit, type GuardedChild } from '../../src/dev/etcd-child.ts';
import { projectFolder } from '../harness/binaries.ts';
import { childrenOf, membersOf, untilGone } from '../harness/process-groups.ts';
import { monotonicMs } from '../harness/sidecar.ts';
import { eventually, within } from '../harness/wait.ts';
import { throwsAtSignal } from './misfortune.ts';
import { failoverWithinMs, openStage, type Stage } from './stage.ts';

/** With a wide margin, so that a busy machine that is late with a kill is not late for the lease. */
const ttlMs = 6000;
const margin = '--margin=2s';

let stage: Stage;
const running: Run[] = [];

beforeAll(async () => {
  stage = await openStage({ size: 1 });
});
afterEach(async () => {
  for (const node of stage.cluster.nodes) node.thaw();
  await Promise.all(
    running.splice(0).map(async ({ child, groups }) => {
      child.signal('SIGKILL');
      await within(child.exited, { withinMs: 20_000, what: 'the end of electord and its child' });
      for (const group of groups()) await untilGone(group, 5000);
    }),
  );
});
afterAll(() => stage.end());

interface Run {
  readonly child: GuardedChild;
  /** What the child wrote, line by line. */
  readonly stdout: readonly string[];
  readonly stderr: readonly string[];
  /** The child has said `up`: its process group, and when that was seen. */
  readonly up: (withinMs?: number) => Promise<{ readonly group: number; readonly at: number }>;
  readonly groups: () => readonly number[];
  readonly says: (line: string, withinMs?: number) => Promise<unknown>;
}

const program = join(projectFolder, 'dist', 'electord.js');

interface Wish {
  readonly election: string;
  readonly id?: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

const flags = ({ election, id = 'a', args = [] }: Wish): readonly string[] => [
  ...[`--election=${election}`, `--id=${id}`, `--etcd=${stage.cluster.endpoints.join(',')}`],
  ...[`--ttl=${ttlMs}ms`, margin, '--listen=127.0.0.1:0', '--local-listen=127.0.0.1:0', ...args],
];

/** Starts `electord run` with a command for the shell. */
async function run(wish: Wish, script: string): Promise<Run> {
  return start(wish, ['sh', '-c', script]);
}

async function start(wish: Wish, command: readonly string[]): Promise<Run> {
  const lines = { stdout: [] as string[], stderr: [] as string[] };
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('ELECTORD_'));
  const child = await spawnGuarded({
    file: process.execPath,
    args: [program, 'run', ...flags(wish), '--', ...command],
    env: { ...Object.fromEntries(own), ...wish.env },
    onLine: (line, stream) => lines[stream].push(line),
  });
  const groups = (): readonly number[] =>
    lines.stdout.flatMap((line) => /^up (\d+)$/.exec(line)?.[1] ?? []).map(Number);
  const says = (line: string, withinMs = 30_000): Promise<unknown> =>
    eventually(() => lines.stdout.includes(line), { withinMs, what: `the child's ${line}` });
  const up = async (withinMs = 30_000): ReturnType<Run['up']> => {
    const bound = { withinMs, what: `a child of ${wish.id ?? 'a'}` };
    const group = await eventually(() => groups()[0], bound);
    return { group, at: monotonicMs() };
  };
  const started = { child, ...lines, up, groups, says };
  running.push(started);
  return started;
}

const up = 'echo token $ELECTORD_FENCING_TOKEN; echo up $$;';
const sleeper = `${up} sleep 1000`;
/** A child and its fork that nothing but SIGKILL ends. */
const stubborn = `trap "" TERM INT HUP; (sleep 1000; sleep 1000) & ${up} while :; do sleep 1000; done`;

const tokenOf = ({ stdout: [line = ''] }: Run): bigint => BigInt(line.replace(/^token /, ''));

const ended = (one: Run, withinMs = 30_000): Promise<ChildExit> =>
  within(one.child.exited, { withinMs, what: 'the end of electord' });

/** Two in one election, the first of them leading. */
async function two(
  election: string,
  script: string,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<{ first: Run; second: Run; group: number }> {
  const first = await run({ election, args, id: 'a', env }, script);
  const { group } = await first.up();
  const second = await run({ election, args, id: 'b' }, sleeper);
  await eventually(() => second.stderr.some((line) => line.includes('a is the leader')), {
    withinMs: 30_000,
    what: 'a candidate behind the leader',
  });
  return { first, second, group };
}

describe('the end of the child', () => {
  test.each([
    ['its exit code', 'exit 3', 3],
    ['success', 'exit 0', 0],
    ['its signal', 'kill -KILL $$', 137],
    ['a command that is not there', 'exec /nonexistent/command', 127],
  ])('%s is the end of electord: %s, %i', async (_what, script, code) => {
    const one = await run({ election: 'ends' }, `${up} ${script}`);
    const startedAt = monotonicMs();
    expect(await ended(one)).toEqual({ code, signal: null });
    expect(monotonicMs() - startedAt).toBeLessThan(30_000);
    const keys = await stage.keys('ends');
    expect(keys.filter((key) => /\/(candidates|members)\//.test(key))).toEqual([]);
  });

  test('a command that does not exist is 127, as in a shell', async () => {
    const one = await start({ election: 'missing' }, ['no-such-command-anywhere']);
    expect(await ended(one)).toEqual({ code: 127, signal: null });
    expect(one.stderr.join('\n')).toContain('no-such-command-anywhere');
  });

  test('a killed child is replaced by the next one at once, with a greater token', async () => {
    const { first, second, group } = await two('child-killed', sleeper);
    const killedAt = monotonicMs();
    process.kill(group, 'SIGKILL');
    const next = await second.up();
    // Not when the lease is over: how many milliseconds it takes is measured by the benchmark.
    expect(next.at - killedAt).toBeLessThan(ttlMs / 2);
    expect(await ended(first)).toEqual({ code: 137, signal: null });
    expect(tokenOf(second)).toBeGreaterThan(tokenOf(first));
  });

  test('forks that outlive it are killed before the next one starts', async () => {
    const script = `trap "exit 4" USR1; (sleep 1000) & ${up} while :; do sleep 0.05; done`;
    const { first, second, group } = await two('forks', script);
    first.child.signal('SIGUSR1');
    await second.up();
    expect(membersOf(group)).toEqual([]);
    expect(await ended(first)).toEqual({ code: 4, signal: null });
  });

  test('a child that ends at once does so once: electord ends with it', async () => {
    const one = await run({ election: 'at-once' }, `${up} exit 1`);
    expect((await ended(one)).code).toBe(1);
    expect(one.groups()).toHaveLength(1);
    const handover = await stage.cluster.etcdctl([
      ...['get', '--print-value-only', '/electord/at-once/handover'],
    ]);
    expect(JSON.parse(handover)).toMatchObject({ from: 'a', cause: 'app_exited' });
  });
});

describe('the end of electord', () => {
  test('SIGTERM: the child is asked, its own code is the end, and only then another leads', async () => {
    const polite = `trap "echo asked; sleep 0.3; exit 9" TERM; ${up} while :; do sleep 0.05; done`;
    const { first, second, group } = await two('asked', polite);
    first.child.signal('SIGTERM');
    await second.up();
    expect(membersOf(group)).toEqual([]);
    expect(first.stdout).toContain('asked');
    expect(await ended(first)).toEqual({ code: 9, signal: null });
  });

  test('SIGINT: a child that does not care dies of SIGTERM, 143', async () => {
    const one = await run({ election: 'interrupted' }, sleeper);
    const { group } = await one.up();
    one.child.signal('SIGINT');
    expect(await ended(one)).toEqual({ code: 143, signal: null });
    expect(membersOf(group)).toEqual([]);
  });

  test('a child that does not obey is killed with its fork within the grace', async () => {
    const args = ['--grace=1s', '--hook-timeout=1s', '--max-hold=1s'];
    const { first, second, group } = await two('stubborn', stubborn, args);
    const askedAt = monotonicMs();
    first.child.signal('SIGTERM');
    const next = await second.up();
    expect(membersOf(group)).toEqual([]);
    // It was given three quarters of the grace.
    expect(next.at - askedAt).toBeGreaterThan(700);
    expect(next.at - askedAt).toBeLessThan(ttlMs - 1000);
    expect(await ended(first)).toEqual({ code: 137, signal: null });
  });

  test('a second SIGTERM kills the child and ends at once', async () => {
    const one = await run({ election: 'impatient' }, stubborn);
    const { group } = await one.up();
    one.child.signal('SIGTERM');
    await eventually(() => one.stderr.some((line) => line.includes('stepping down')), {
      withinMs: 20_000,
      what: 'the first SIGTERM',
    });
    one.child.signal('SIGTERM');
    expect(await ended(one, 5000)).toEqual({ code: 143, signal: null });
    await untilGone(group, 1000);
  });

  test('an error that nobody caught: the child is dead before another leads, which is at once', async () => {
    const { first, second, group } = await two('fallen', stubborn, [], throwsAtSignal);
    const failedAt = monotonicMs();
    first.child.signal('SIGUSR2');
    const next = await second.up();
    expect(membersOf(group)).toEqual([]);
    expect(next.at - failedAt).toBeLessThan(ttlMs - 1000);
    expect(await ended(first)).toEqual({ code: 70, signal: null });
    const handover = await stage.cluster.etcdctl([
      ...['get', '--print-value-only', '/electord/fallen/handover'],
    ]);
    expect(JSON.parse(handover)).toMatchObject({ from: 'a', cause: 'crashed' });
  });

  test('a second SIGTERM: the child that hangs is dead before another leads, which is at once', async () => {
    const { first, second, group } = await two('impatient-two', stubborn);
    first.child.signal('SIGTERM');
    await eventually(() => first.stderr.some((line) => line.includes('stepping down')), {
      withinMs: 20_000,
      what: 'the first SIGTERM',
    });
    const askedAt = monotonicMs();
    first.child.signal('SIGTERM');
    const next = await second.up();
    expect(membersOf(group)).toEqual([]);
    expect(next.at - askedAt).toBeLessThan(ttlMs - 1000);
    expect(await ended(first)).toEqual({ code: 143, signal: null });
  });

  test('SIGKILL: the child and its fork are dead at once, long before another leads', async () => {
    const { first, second, group } = await two('electord-killed', stubborn);
    expect(membersOf(group).length).toBeGreaterThanOrEqual(2);
    first.child.signal('SIGKILL');
    await untilGone(group, 1000);
    await second.up(failoverWithinMs(ttlMs));
    expect(membersOf(group)).toEqual([]);
  });

  test('SIGKILL while the command is only just being started leaves nothing either', async () => {
    const one = await run({ election: 'race' }, stubborn);
    await eventually(() => one.stderr.some((line) => line.includes('"leads race"')), {
      withinMs: 30_000,
      what: 'the election',
    });
    one.child.signal('SIGKILL');
    // Its output ends when nobody has it open any more.
    expect((await ended(one, 5000)).signal).toBe('SIGKILL');
    expect(one.groups().flatMap(membersOf)).toEqual([]);
  });

  test('a guardian that is killed is replaced, and does its duty', async () => {
    const one = await run({ election: 'guardian' }, stubborn);
    const { group } = await one.up();
    const guardians = (): readonly number[] => childrenOf(one.child.pid, /electord-guardian/);
    const [guardian] = await eventually(() => guardians().length === 1 && guardians(), {
      withinMs: 20_000,
      what: 'a guardian',
    });
    process.kill(guardian!, 'SIGKILL');
    await eventually(() => guardians().some((pid) => pid !== guardian), {
      withinMs: 20_000,
      what: 'another guardian',
    });
    expect(membersOf(group).length).toBeGreaterThanOrEqual(2);
    one.child.signal('SIGKILL');
    await untilGone(group, 2000);
  });

  test('waiting for its turn it ends with 0, and never started the command', async () => {
    const { second } = await two('waiting', sleeper);
    second.child.signal('SIGTERM');
    expect(await ended(second)).toEqual({ code: 0, signal: null });
    expect(second.groups()).toEqual([]);
  });
});

describe('the loss of leadership is 75', () => {
  test('a deleted key', async () => {
    const one = await run({ election: 'deleted' }, stubborn);
    const { group } = await one.up();
    await stage.cluster.etcdctl(['del', '--prefix', '/electord/deleted/candidates/']);
    expect(await ended(one)).toEqual({ code: 75, signal: null });
    expect(membersOf(group)).toEqual([]);
    expect(one.groups()).toHaveLength(1);
  });

  test('a silent etcd: the child is asked while there is time, and gone before the lease is', async () => {
    const slow = `trap "echo asked; sleep 1000" TERM; ${up} while :; do sleep 0.05; done`;
    const one = await run({ election: 'silent' }, slow);
    const { group } = await one.up();
    const frozenAt = monotonicMs();
    for (const node of stage.cluster.nodes) node.freeze();
    await one.says('asked');
    await untilGone(group, 2 * ttlMs);
    // The last renewal was sent before the freeze.
    expect(monotonicMs() - frozenAt).toBeLessThan(ttlMs);
    expect((await ended(one, 20_000)).code).toBe(75);
  });

  test('an electord that stands still: the child is dead before the next one starts', async () => {
    const { first, second, group } = await two('frozen', stubborn);
    const frozenAt = monotonicMs();
    first.child.signal('SIGSTOP');
    await untilGone(group, 2 * ttlMs);
    expect(monotonicMs() - frozenAt).toBeLessThan(ttlMs);
    await second.up(failoverWithinMs(ttlMs));
    expect(membersOf(group)).toEqual([]);
    first.child.signal('SIGCONT');
    expect((await ended(first)).code).toBe(75);
    expect(first.groups()).toHaveLength(1);
  });
});

describe('with --restart', () => {
  const urlOf = ({ stdout }: Run): string => stdout.find((line) => line.startsWith('http://'))!;
  const stepDown = async (one: Run): Promise<void> => {
    const answer = await fetch(`${urlOf(one)}/step-down`, {
      method: 'POST',
      body: '{"notFor":"1s"}',
    });
    expect(answer.status, await answer.text()).toBe(200);
  };
  const asks = `echo $ELECTORD_LOCAL_URL; ${up}`;
  const runs = (one: Run, count: number): Promise<unknown> =>
    eventually(() => one.groups().length === count, {
      withinMs: 30_000,
      what: `child number ${count} of ${JSON.stringify(one.stdout)}`,
    });

  test('a loss is no end: the child is started again in the next term, and its own end is the end', async () => {
    const args = ['--restart'];
    const once = `${asks} trap "exit 0" TERM; while ! test -e "$DONE"; do sleep 0.05; done; exit 3`;
    const done = join(projectFolder, '.cache', `done-${process.pid}`);
    const env = { DONE: done };
    const first = await run({ election: 'again', args, env }, once);
    const { group } = await first.up();
    const second = await run({ election: 'again', id: 'b', args, env }, once);
    const bothStand = (): Promise<unknown> =>
      eventually(
        async () => {
          const keys = await stage.keys('again');
          return keys.filter((key) => key.includes('/candidates/')).length === 2;
        },
        { withinMs: 30_000, what: 'two candidates' },
      );
    await bothStand();
    await stepDown(first);
    await second.up();
    expect(membersOf(group)).toEqual([]);
    await bothStand();
    await stepDown(second);
    await runs(first, 2);
    expect(membersOf(second.groups()[0]!)).toEqual([]);
    // Neither has ended: one of them stands in the queue, the other one leads.
    await bothStand();
    try {
      execFileSync('touch', [done]);
      expect(await ended(first)).toEqual({ code: 3, signal: null });
    } finally {
      execFileSync('rm', ['-f', done]);
    }
  });

  test('an app that fails its check is started again, though it was unhealthy when it ended', async () => {
    const good = join(projectFolder, '.cache', `good-${process.pid}`);
    const check = ['--app-check=exec:test -e "$GOOD"', '--app-check-interval=200ms'];
    execFileSync('touch', [good]);
    const args = ['--restart', ...check];
    const one = await run({ election: 'ill', args, env: { GOOD: good } }, `${asks} sleep 1000`);
    try {
      const { group } = await one.up();
      // Before it has passed once, an app that was just started has time to fail.
      const passed = async (): Promise<boolean> => {
        const { checks } = (await (await fetch(`${urlOf(one)}/health`)).json()) as {
          checks: { app: { detail: string } };
        };
        return !/not checked|starting/.test(checks.app.detail);
      };
      await eventually(passed, { withinMs: 30_000, what: 'a first check that passes' });
      execFileSync('rm', ['-f', good]);
      await runs(one, 2);
      expect(membersOf(group)).toEqual([]);
    } finally {
      execFileSync('rm', ['-f', good]);
    }
  });
});

describe('the child', () => {
  test('knows its term and none of our secrets', async () => {
    const env = { ELECTORD_TOKEN: 's3cret', ELECTORD_ID: 'other' };
    const one = await run({ election: 'knows', env }, 'env | grep ELECTORD_ | sort; exit 0');
    expect((await ended(one)).code).toBe(0);
    expect(one.stdout).toEqual([
      'ELECTORD_ELECTION=knows',
      expect.stringMatching(/^ELECTORD_FENCING_TOKEN=\d+$/),
      'ELECTORD_ID=a',
      expect.stringMatching(/^ELECTORD_LOCAL_URL=http:\/\/127\.0\.0\.1:\d+$/),
    ]);
    expect(one.stderr.every((line) => line.startsWith('{'))).toBe(true);
  });

  test('gets the signals that are meant for it', async () => {
    const traps = ['HUP', 'USR1', 'USR2', 'WINCH'].map((name) => `trap "echo ${name}" ${name};`);
    const one = await run(
      { election: 'signals' },
      `${traps.join(' ')} ${up} while :; do sleep 0.05; done`,
    );
    await one.up();
    for (const name of ['HUP', 'USR1', 'USR2', 'WINCH'] as const) {
      one.child.signal(`SIG${name}`);
      await one.says(name);
    }
    expect(one.child.exit()).toBeNull();
  });

  test('has the terminal: it reads from it, is not stopped by it, and Ctrl-C ends it politely', async () => {
    const script = `trap "echo asked; exit 6" TERM; test -t 0 && read word; echo got $word; while :; do sleep 0.05; done`;
    const words = [process.execPath, program, 'run', ...flags({ election: 'terminal' })];
    const quoted = [...words, '--', 'sh', '-c', script].map((word) => `'${word}'`).join(' ');
    // Whatever $SHELL is: one that stayed would die of the Ctrl-C itself, and 130 be its code.
    const command = `exec ${quoted}`;
    const typescript =
      process.platform === 'darwin'
        ? ['-q', '/dev/null', 'sh', '-c', command]
        : ['-qec', command, '/dev/null'];
    const terminal = spawn('script', typescript, { stdio: 'pipe' });
    let seen = '';
    terminal.stdout.setEncoding('utf8').on('data', (text: string) => (seen += text));
    const code = new Promise<number | null>((resolve) => terminal.once('close', resolve));
    try {
      terminal.stdin.write('hello\n');
      await eventually(() => seen.includes('got hello'), { withinMs: 30_000, what: 'the word' });
      terminal.stdin.write('\x03');
      expect(await within(code, { withinMs: 30_000, what: 'the end' }), seen).toBe(6);
      expect(seen).toContain('asked');
    } finally {
      terminal.kill('SIGKILL');
    }
  });
});

test('a check of the child that never passes again ends the term: 75, and another leads', async () => {
  const args = ['--app-check=exec:test ! -e "$BAD"', '--app-check-interval=200ms'];
  const bad = join(projectFolder, '.cache', `bad-${process.pid}`);
  const first = await run({ election: 'checked', args, env: { BAD: bad } }, sleeper);
  const { group } = await first.up();
  const second = await run({ election: 'checked', args, id: 'b', env: { BAD: '' } }, sleeper);
  try {
    execFileSync('touch', [bad]);
    await second.up();
    expect(membersOf(group)).toEqual([]);
    expect((await ended(first)).code).toBe(75);
  } finally {
    execFileSync('rm', ['-f', bad]);
  }
});

test('it stands in exactly one election', async () => {
  const one = await start({ election: 'x,y' }, ['true']);
  expect((await ended(one)).code).toBe(78);
  expect(one.stderr.join('\n')).toContain('--election');
  const none = await start({ election: 'x' }, []);
  expect((await ended(none)).code).toBe(64);
});
