// The operator's commands as processes, on three real sidecars: what they print, in words and in JSON, where it goes, and
// how they end. Completion is tried in a real bash.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { spawnGuarded, type ChildExit, type GuardedChild } from '../../src/dev/etcd-child.ts';
import { projectFolder } from '../harness/binaries.ts';
import type { LeaderAnswer, Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { agreement, knowsRecords, lapsing, openStage, type Stage } from './stage.ts';

const program = join(projectFolder, 'dist', 'electord.js');
let stage: Stage;
const children: GuardedChild[] = [];

beforeAll(async () => {
  stage = await openStage({ size: 1 });
});
afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.stop(3000)));
  await stage.clear();
});
afterAll(() => stage.end());

interface Started {
  readonly child: GuardedChild;
  readonly stdout: readonly string[];
  readonly stderr: readonly string[];
}

async function start(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Started> {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('ELECTORD_'));
  const output = { stdout: [] as string[], stderr: [] as string[] };
  const child = await spawnGuarded({
    file: process.execPath,
    args: [program, ...args],
    env: { ...Object.fromEntries(own), ...env },
    onLine: (line, stream) => output[stream].push(line),
  });
  children.push(child);
  return { child, ...output };
}

interface Ended extends ChildExit {
  readonly said: string;
  readonly complained: string;
}

async function run(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  const { child, stdout, stderr } = await start(args, env);
  const exit = await child.exited;
  return { ...exit, said: stdout.join('\n'), complained: stderr.join('\n') };
}

const at = ({ localUrl }: Sidecar): string => `--url=${localUrl}`;

async function three(election: string, args: readonly string[] = []) {
  return agreement(await stage.three({ election, args: ['--advertise=10.0.0.7:80', ...args] }));
}

test('status, history and the verbs, asked of any sidecar', { timeout: 90_000 }, async () => {
  const { leader, others, token } = await three('verbs');
  const [second, third] = others as [Sidecar, Sidecar];
  await knowsRecords(second, [leader, ...others]);

  const status = await run(['status', at(second)]);
  expect(status).toMatchObject({ code: 0, complained: '' });
  expect(status.said).toMatch(/^election +verbs$/m);
  expect(status.said).toMatch(
    new RegExp(`^leader +${leader.id} since \\d{4}-.*10\\.0\\.0\\.7:80$`, 'm'),
  );
  expect(status.said).toMatch(new RegExp(`^token +${token}$`, 'm'));
  expect(status.said).toMatch(new RegExp(`^sidecar +${second.id} is follower$`, 'm'));
  expect(status.said).toMatch(/^lease +[\d.]+ m?s left of 10\.0 s$/m);
  expect(status.said).toMatch(new RegExp(`^1 +${leader.id} +leader +0 +not checked`, 'm'));
  expect(status.said).toMatch(
    new RegExp(`^[23] +${second.id} \\* +candidate +0 +not checked`, 'm'),
  );
  expect(status.said).toMatch(/^app +not checked: no --app-check is configured$/m);
  // Not a terminal: no colours, whatever the environment says.
  expect(status.said).not.toContain('\x1b');
  const json = JSON.parse((await run(['status', '--json', at(second)])).said) as LeaderAnswer & {
    members: unknown[];
  };
  expect(json).toMatchObject({ election: 'verbs', id: second.id, leader: { fencingToken: token } });
  expect(json.members).toHaveLength(3);

  // By the environment's address, of a sidecar that is not concerned.
  const switched = await run(['switchover', `--to=${second.id}`, '--reason=a test'], {
    ELECTORD_LOCAL_URL: third.localUrl,
  });
  expect(switched).toMatchObject({ code: 0, complained: '' });
  expect(switched.said).toMatch(new RegExp(`${leader.id} .*${second.id}`));
  expect((await agreement([leader, second, third])).leader).toBe(second);

  const refused = await run(['step-down', at(leader)]);
  expect(refused).toMatchObject({ code: 1, said: '' });
  expect(refused.complained).toContain(`${leader.id} does not lead`);
  const stepped = await run(['step-down', '--reason=disk', '--not-for=1m', '--json', at(second)]);
  expect(stepped.code).toBe(0);
  expect(JSON.parse(stepped.said)).toMatchObject({ election: 'verbs', done: true });

  const history = await run(['history', at(third)]);
  expect(history.code).toBe(0);
  // The verbs that ended a term are told by the term that they ended.
  const lines = history.said.split('\n');
  expect(lines).toHaveLength(4);
  expect(lines[0]).toMatch(/^TOKEN +LEADER/);
  expect(lines[1]).toMatch(/leads/);
  expect(lines[2]).toMatch(new RegExp(`${second.id}.*resigned.*disk`));
  expect(lines[3]).toMatch(new RegExp(`^${token} +${leader.id}.*switchover.*a test`));
  const newest = JSON.parse((await run(['history', '--json', '--limit=1', at(third)])).said) as {
    terms: unknown[];
  };
  expect(newest.terms).toHaveLength(1);
});

test('pause and resume', { timeout: 60_000 }, async () => {
  const { leader, others } = await three('paused');
  const paused = await run(['pause', '--for=5m', '--reason=night work', at(others[0]!)]);
  expect(paused).toMatchObject({ code: 0, complained: '' });
  expect(paused.said).toMatch(/until \d{4}-/);
  const status = await run(['status', at(others[1]!)]);
  expect(status.said).toMatch(/^paused +until .*night work$/m);
  expect(status.said).toContain('does not campaign: paused');
  const refused = await run(['switchover', `--to=${others[0]!.id}`, '--json', at(leader)]);
  expect(refused.code).toBe(1);
  expect(JSON.parse(refused.complained)).toMatchObject({ code: 'paused', status: 409 });
  const resumed = await run(['resume', at(leader)]);
  expect(resumed).toMatchObject({ code: 0, complained: '' });
  expect((await run(['status', at(others[1]!)])).said).not.toMatch(/^paused/m);
});

describe('wait', () => {
  test('leader and follower: at once where it is so, 75 where it is not in time', async () => {
    const { leader, others, token } = await three('awaited');
    const led = await run(['wait', '--for=leader', at(leader)]);
    expect(led).toMatchObject({ code: 0, complained: '' });
    expect(led.said).toBe(`${leader.id} leads awaited (fencing token ${token}).`);
    expect((await run(['wait', '--for=follower', at(others[0]!)])).code).toBe(0);
    const any = await run(['wait', '--for=any', at(others[0]!)]);
    expect(any).toMatchObject({ code: 0, complained: '' });
    expect(any.said).toContain(`${leader.id} leads`);
    const late = await run(['wait', '--for=leader', '--timeout=300ms', at(others[0]!)]);
    expect(late).toMatchObject({ code: 75, said: '' });
    expect(late.complained).toContain(`${leader.id} leads`);
  });

  test('change: ends with the next term, and tells it', { timeout: 60_000 }, async () => {
    const { leader, others, token } = await three('changes', [lapsing]);
    const waiting = await start([
      'wait',
      '--for=change',
      '--json',
      '--timeout=30s',
      at(others[0]!),
    ]);
    await others[0]!.get('/livez');
    // It follows once the sidecar counts it among those that receive events.
    await eventually(
      async () => {
        const { text } = await others[0]!.get('/metrics');
        return /^electord_event_clients(\{.*\})? [1-9]/m.test(text);
      },
      { withinMs: 20_000, what: 'one who receives events' },
    );
    leader.signal('SIGKILL');
    expect(await waiting.child.exited).toEqual({ code: 0, signal: null });
    const now = JSON.parse(waiting.stdout.join('')) as LeaderAnswer;
    expect(now.leader === null || BigInt(now.leader.fencingToken) > BigInt(token)).toBe(true);
  });

  test('a sidecar that is not there yet is waited for', { timeout: 60_000 }, async () => {
    const sidecar = await stage.sidecar({ election: 'first', id: 'a' });
    const { port } = new URL(sidecar.localUrl);
    await sidecar.stop();
    const early = await start(['wait', '--for=leader', '--timeout=30s', at(sidecar)]);
    await stage.sidecar({ election: 'first', id: 'a', args: [`--local-listen=127.0.0.1:${port}`] });
    expect(await early.child.exited).toEqual({ code: 0, signal: null });
    expect(early.stdout.join('')).toContain('a leads first');
  });
});

test(
  'status --watch: a line for each change where there is no terminal; SIGINT ends it',
  { timeout: 60_000 },
  async () => {
    const { leader, others } = await three('watched');
    const [second] = others as [Sidecar];
    const watching = await start(['status', '--watch', at(second)]);
    const line = (id: string) =>
      eventually(() => watching.stdout.some((text) => text.includes(`${id} leads, token `)), {
        withinMs: 20_000,
        what: `a line that ${id} leads in ${JSON.stringify(watching.stdout)}`,
      });
    await line(leader.id);
    expect((await run(['switchover', `--to=${second.id}`, at(leader)])).code).toBe(0);
    await line(second.id);
    watching.child.signal('SIGINT');
    expect(await watching.child.exited).toEqual({ code: 0, signal: null });
    expect(watching.stderr).toEqual([]);
  },
);

test(
  'status --watch on a terminal: redrawn in place, and the terminal given back',
  { timeout: 60_000 },
  async () => {
    const { leader } = await three('drawn');
    const screen = async (env: Record<string, string>): Promise<string> => {
      let text = '';
      const command = `exec '${process.execPath}' '${program}' status --watch '${at(leader)}'`;
      // util-linux's script gives it a terminal of its own.
      const child = execFile('script', ['-qec', command, '/dev/null'], {
        env: { PATH: process.env['PATH'], TERM: 'xterm', ...env },
      });
      child.stdout?.on('data', (piece: string) => (text += piece));
      const closed = once(child, 'close');
      try {
        await eventually(() => text.split('\x1b[H').length > 3, {
          withinMs: 20_000,
          what: `three pictures in ${JSON.stringify(text)}`,
        });
        child.stdin?.write('\x03');
        await eventually(() => text.includes('\x1b[?1049l'), { withinMs: 20_000, what: 'its end' });
      } finally {
        child.kill('SIGTERM');
      }
      await closed;
      return text;
    };
    const coloured = await screen({});
    expect(coloured).toContain('\x1b[32mleader');
    expect(coloured).toContain(`${leader.id} since`);
    const plain = await screen({ NO_COLOR: '1' });
    expect(plain.split('\x1b[').filter((part) => /^\d+m/.test(part))).toEqual([]);
    expect(plain).toContain(`${leader.id} since`);
  },
);

describe('what cannot be', () => {
  const faults: readonly [string, readonly string[], number, RegExp][] = [
    ['no election of that name', ['status', '--election=zzz'], 1, /zzz/],
    ['a member that is not there', ['switchover', '--to=nobody'], 1, /nobody/],
    ['a duration without its unit', ['step-down', '--not-for=30'], 64, /--not-for.*30s/],
    ['a limit that is none', ['history', '--limit=0'], 64, /--limit/],
    ['a pause of two days', ['pause', '--for=48h'], 64, /for/],
    ['nothing to wait for', ['wait'], 64, /--for/],
    ['something else to wait for', ['wait', '--for=godot'], 64, /leader, follower, any, change/],
    ['a switchover to nobody', ['switchover'], 64, /--to/],
    ['one argument too many', ['status', 'orders'], 64, /too many/],
    ['a token file that is not there', ['resume', '--token-file=/nonexistent/token'], 64, /ENOENT/],
  ];

  test('is said in words, with the exit code that fits', { timeout: 120_000 }, async () => {
    const sidecar = await stage.sidecar({ election: 'real', id: 'a' });
    await agreement([sidecar]);
    for (const [what, [command = '', ...args], code, said] of faults) {
      const ended = await run([command, at(sidecar), ...args]);
      expect(ended, what).toMatchObject({ code, said: '' });
      expect(ended.complained, what).toMatch(said);
      expect(ended.complained, what).not.toMatch(/\n\s+at /);
    }
  });

  test('nobody there: 1, with the address; an address that is none: 64', async () => {
    const gone = await run(['status', '--url=unix:/nonexistent/electord.sock']);
    expect(gone).toMatchObject({ code: 1, said: '' });
    expect(gone.complained).toContain('unix:/nonexistent/electord.sock');
    expect((await run(['status', '--url=somewhere'])).code).toBe(64);
  });

  test(
    'a token: required where the sidecar has one, and never shown',
    { timeout: 60_000 },
    async () => {
      const folder = await mkdtemp(join(tmpdir(), 'electord-token-'));
      try {
        const file = join(folder, 'token');
        await writeFile(file, 'sesame-open\n', { mode: 0o600 });
        const sidecar = await stage.sidecar({
          election: 'guarded',
          id: 'a',
          args: [`--token-file=${file}`],
        });
        await agreement([sidecar]);
        const without = await run(['pause', at(sidecar)]);
        expect(without).toMatchObject({ code: 1, said: '' });
        const withIt = await run(['pause', `--token-file=${file}`, at(sidecar)]);
        expect(withIt.code, withIt.complained).toBe(0);
        const byEnvironment = await run(['resume', at(sidecar)], { ELECTORD_TOKEN_FILE: file });
        expect(byEnvironment.code).toBe(0);
        await writeFile(file, 'another');
        const wrong = await run(['pause', `--token-file=${file}`, at(sidecar)]);
        expect(wrong.code).toBe(1);
        expect(wrong.complained + without.complained).not.toMatch(/sesame|another/);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  );

  test('several elections: all are listed, and one can be named', { timeout: 60_000 }, async () => {
    const sidecar = await stage.sidecar({ election: 'one,two', id: 'a' });
    await eventually(
      async () => {
        const { said } = await run(['status', at(sidecar)]);
        return /^one +leader +a +\d+/m.test(said) && /^two +leader +a +\d+/m.test(said);
      },
      { withinMs: 20_000, what: 'a list of both elections' },
    );
    expect((await run(['status', '--election=two', at(sidecar)])).said).toMatch(/^election +two$/m);
    expect((await run(['wait', '--for=leader', '--election=one', at(sidecar)])).code).toBe(0);
    const unnamed = await run(['wait', '--for=leader', at(sidecar)]);
    expect(unnamed.code).toBe(1);
    expect(unnamed.complained).toContain('2 elections: name one by --election NAME (one, two)');
    const wrong = await run(['step-down', '--election=three', at(sidecar)]);
    expect(wrong).toMatchObject({ code: 1, said: '' });
    expect(wrong.complained).toContain('does not stand in three; "electord status" lists');
    for (const { complained } of [unnamed, wrong]) expect(complained).not.toContain('/elections');
  });

  test('several elections: --all asks in each', { timeout: 60_000 }, async () => {
    const both = 'first,second';
    const a = await stage.sidecar({ election: both, id: 'a' });
    const leads = async (one: Sidecar): Promise<string[]> => {
      const { elections } = (await one.get<{ elections: LeaderAnswer[] }>('/elections')).body;
      return elections.filter(({ isLeader }) => isLeader).map(({ election }) => election);
    };
    await eventually(async () => (await leads(a)).length === 2, { withinMs: 20_000, what: 'a' });
    const refused = await run(['step-down', '--all', at(a)]);
    expect(refused).toMatchObject({ code: 1, said: '' });
    expect(refused.complained).toMatch(/first: nobody would lead/);
    expect(refused.complained).toMatch(/second: nobody would lead/);
    const b = await stage.sidecar({ election: both, id: 'b' });
    expect((await run(['wait', '--for=any', '--election=first', at(b)])).code).toBe(0);
    const moved = await run(['switchover', '--to=b', '--election=first', at(b)]);
    expect(moved, moved.complained).toMatchObject({ code: 0 });
    // What it does not lead is none of its business.
    const stepped = await run(['step-down', '--all', '--json', at(a)]);
    expect(stepped, stepped.complained).toMatchObject({ code: 0, complained: '' });
    expect(JSON.parse(stepped.said)).toMatchObject({ election: 'second', leader: { id: 'b' } });
    expect(await leads(b)).toEqual(['first', 'second']);
    const paused = await run(['pause', '--all', '--by=ann', '--reason=both', at(b)]);
    expect(paused.code).toBe(0);
    expect(
      paused.said
        .split('\n')
        .map((line) => line.split(':')[0])
        .toSorted(),
    ).toEqual(['first', 'second']);
    expect((await run(['resume', '--all', '--election=first', at(b)])).code).toBe(64);
    // Said once where it is seen before anything is asked, and by each where the sidecar alone knows.
    const unread = await run(['pause', '--all', '--for=soon', at(b)]);
    expect(unread.code).toBe(64);
    expect(unread.complained.trimEnd()).toMatch(/^electord: --for "soon" .*$/);
    const tooLong = await run(['pause', '--all', '--for=48h', at(b)]);
    expect(tooLong.code).toBe(64);
    expect(tooLong.complained).toMatch(/first: .*/);
    expect(tooLong.complained).toMatch(/second: .*/);
    const audit = await run(['audit', '--election=second', at(a)]);
    expect(audit.said).toMatch(/^AT +VERB +OUTCOME +BY/);
    expect(audit.said).toMatch(/^\S+ \S+ +pause +done +ann +b +127\.0\.0\.1 +both/m);
    expect(audit.said).toMatch(/step-down +nobody_else +\S+@\S+ +a/);
    const history = await run(['history', '--election=second', at(a)]);
    expect(history.said).toMatch(/pause.*both \(ann via b\)/);
  });
});

describe('completion', () => {
  let said = '';
  beforeAll(async () => {
    ({ said } = await run(['completion', 'bash']));
  });

  async function completed(words: readonly string[]): Promise<string[]> {
    const script = `${said}
COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')})
COMP_CWORD=${words.length - 1}
_electord
printf '%s\\n' "\${COMPREPLY[@]}"`;
    const text = await new Promise<string>((resolve, reject) => {
      execFile('bash', ['--norc', '-c', script], (error, stdout, stderr) => {
        if (error === null && stderr === '') resolve(stdout);
        else reject(error ?? new Error(stderr));
      });
    });
    return text.split('\n').filter((word) => word !== '');
  }

  test('bash: commands, flags, and what a flag may be', async () => {
    expect(await completed(['electord', 's'])).toEqual(
      expect.arrayContaining(['serve', 'status', 'step-down', 'switchover']),
    );
    expect(await completed(['electord', 'switchover', '--r'])).toEqual(['--reason']);
    expect(await completed(['electord', 'wait', '--for', 'l'])).toEqual(['leader']);
    expect(await completed(['electord', 'wait', '--for', '=', ''])).toHaveLength(4);
    expect(await completed(['electord', 'pause', '--for', ''])).toEqual([]);
    expect(await completed(['electord', 'serve', '--log-format', ''])).toContain('json');
    expect(await completed(['electord', 'completion', ''])).toEqual(['bash', 'zsh', 'fish']);
  });

  test('zsh and fish get every command and flag too; another shell is refused', async () => {
    for (const shell of ['zsh', 'fish']) {
      const { said, code } = await run(['completion', shell]);
      expect(code).toBe(0);
      for (const part of ['switchover', 'not-for', 'leader follower any change', 'token-file']) {
        expect(said, shell).toContain(part);
      }
    }
    expect((await run(['completion', 'tcsh'])).code).toBe(64);
  });
});
