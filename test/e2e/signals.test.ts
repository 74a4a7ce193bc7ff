// Signals that Node or a shell would take for something else, and what goes with a command on its way through a shell, on
// the built program: none of them ends a leader without a hand-over, opens an inspector, or costs a variable.
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { spawnGuarded, type GuardedChild } from '../../src/dev/etcd-child.ts';
import { projectFolder } from '../harness/binaries.ts';
import { eventually, within } from '../harness/wait.ts';
import { agreement, openStage, steadyTtlMs, type Stage } from './stage.ts';

let stage: Stage;
const children: GuardedChild[] = [];

beforeAll(async () => {
  stage = await openStage({ size: 1 });
});
afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.stop(15_000)));
  await stage.clear();
});
afterAll(() => stage.end());

const program = join(projectFolder, 'dist', 'electord.js');

interface Run {
  readonly child: GuardedChild;
  readonly lines: readonly string[];
  readonly says: (part: string) => Promise<unknown>;
}

/** `electord run` of a script in its own election. */
async function run(
  election: string,
  script: string,
  more: {
    readonly args?: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
    readonly before?: readonly string[];
  } = {},
): Promise<Run> {
  const lines: string[] = [];
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('ELECTORD_'));
  const flags = [
    ...[`--election=${election}`, '--id=a', `--etcd=${stage.cluster.endpoints.join(',')}`],
    ...['--listen=127.0.0.1:0', '--local-listen=127.0.0.1:0', `--ttl=${steadyTtlMs}ms`],
  ];
  const [file = process.execPath, ...before] = more.before ?? [];
  const node = more.before === undefined ? [] : [process.execPath];
  const child = await spawnGuarded({
    file,
    args: [
      ...before,
      ...node,
      program,
      'run',
      ...flags,
      ...(more.args ?? []),
      '--',
      'sh',
      '-c',
      script,
    ],
    env: { ...Object.fromEntries(own), ...more.env },
    onLine: (line) => lines.push(line),
  });
  children.push(child);
  const says = (part: string): Promise<unknown> =>
    eventually(() => lines.some((line) => line.includes(part)), { withinMs: 20_000, what: part });
  return { child, lines, says };
}

const ended = ({ child }: Run): Promise<unknown> =>
  within(child.exited, { withinMs: 20_000, what: 'the end of electord' });

describe('serve', () => {
  test.each(['SIGUSR1', 'SIGUSR2'] as const)(
    '%s: the leader leads on, and says so',
    async (name) => {
      const leader = await stage.sidecar({ election: `ignores-${name}`, id: 'a' });
      const { token } = await agreement([leader]);
      leader.signal(name);
      await leader.waitForLog(({ msg }) => msg === `${name} is ignored`, 20_000);
      expect((await agreement([leader])).token).toBe(token);
      expect(leader.output()).not.toContain('Debugger');
      expect(await leader.stop()).toEqual({ code: 0, signal: null });
    },
  );

  test('SIGQUIT hands over', async () => {
    const sidecars = await stage.three({ election: 'quits' });
    const { leader, others, token } = await agreement(sidecars);
    leader.signal('SIGQUIT');
    expect(await leader.exited).toEqual({ code: 0, signal: null });
    // Sooner than the lease could have run out.
    const next = await agreement(others, steadyTtlMs - 2000);
    expect(BigInt(next.token)).toBeGreaterThan(BigInt(token));
  });
});

describe('run', () => {
  test('SIGQUIT: the child is asked, and its code is the end', async () => {
    const one = await run('quits-run', 'trap "exit 9" TERM; echo up; while :; do sleep 0.05; done');
    await one.says('up');
    one.child.signal('SIGQUIT');
    expect(await ended(one)).toEqual({ code: 9, signal: null });
  });

  const fork =
    '(trap "echo fork asked; exit" HUP TERM; echo fork up; while :; do sleep 0.05; done) &';

  test('--stop-signal: the whole group is asked by it', async () => {
    const script = `trap "exit 3" TERM; trap "sleep 0.5; exit 7" HUP; ${fork} while :; do sleep 0.05; done`;
    const one = await run('stop-signal', script, { args: ['--stop-signal=SIGHUP'] });
    await one.says('fork up');
    one.child.signal('SIGTERM');
    expect(await ended(one)).toEqual({ code: 7, signal: null });
    expect(one.lines).toContain('fork asked');
  });

  test('--signal-scope=process: the first process ends its own, the rest is asked after it', async () => {
    const script = `trap "sleep 0.5; echo first ends; exit 7" TERM; ${fork} while :; do sleep 0.05; done`;
    const one = await run('scope', script, { args: ['--signal-scope=process'] });
    await one.says('fork up');
    one.child.signal('SIGTERM');
    expect(await ended(one)).toEqual({ code: 7, signal: null });
    const told = one.lines.filter((line) => line === 'first ends' || line === 'fork asked');
    expect(told).toEqual(['first ends', 'fork asked']);
  });

  test('a variable that the shell does not like reaches the child, a line break in it too', async () => {
    const env = { 'spring.profiles.active': 'prod', 'a-b': "it's\n$HOME", PLAIN: 'one' };
    // As it was started: the shell of the script would drop them again.
    const one = await run('odd-names', 'tr "\\0" "\\n" < /proc/$$/environ', { env });
    expect(await ended(one)).toEqual({ code: 0, signal: null });
    for (const line of ['spring.profiles.active=prod', "a-b=it's", '$HOME', 'PLAIN=one']) {
      expect(one.lines).toContain(line);
    }
    expect(one.lines.join('\n')).not.toContain('ELECTORD_CARRIED');
  });

  test('as process 1 it warns that nobody collects orphans; else it does not', async () => {
    const before = ['unshare', '--pid', '--fork', '--kill-child'];
    const first = await run('process-1', 'echo up; exec sleep 1000', { before });
    await first.says('up');
    await first.says('start the container with an init');
    first.child.signal('SIGKILL');
    const other = await run('process-n', 'echo up; exec sleep 1000');
    await other.says('"cause":"elected"');
    await other.says('up');
    expect(other.lines.join('\n')).not.toContain('with an init');
  });
});
