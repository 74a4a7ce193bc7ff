// The program as a process: what it does with wrong settings and arguments, with signals, and with a port that is
// taken. Exit codes are those of the contract.
import { rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { spawnGuarded } from '../../src/dev/etcd-child.ts';
import { projectFolder } from '../harness/binaries.ts';
import { monotonicMs } from '../harness/sidecar.ts';
import { startRelay } from '../harness/relay.ts';
import { eventually } from '../harness/wait.ts';
import { environment, program, run } from './program.ts';
import { agreement, openStage, type Stage } from './stage.ts';

describe('settings', () => {
  test('ten wrong ones are ten faults, each with its name, value and what is allowed; 78', async () => {
    const ended = await run(
      [
        '--id=two words',
        '--etcd=ftp://etcd:2379',
        '--prefix=no-slash/',
        '--ttl=1s',
        '--takeover-delay=soon',
        '--priority=high',
        '--listen=nowhere',
        '--grace=forever',
        '--log-format=xml',
      ],
      { ELECTORD_LOG_LEVEL: 'loud' },
    );
    expect(ended.code).toBe(78);
    expect(ended.stdout).toEqual([]);
    // The election is missing too: eleven in all, one line each, and where to look.
    const faults = ended.stderr.filter((line) => line.startsWith('--'));
    expect(ended.stderr.slice(0, -1)).toEqual(faults);
    expect(ended.stderr.at(-1)).toContain('electord serve --help');
    expect(faults.map((line) => /^--[a-z-]+/.exec(line)?.[0]).toSorted()).toEqual(
      [
        ...['--election', '--etcd', '--grace', '--id', '--listen', '--log-format', '--log-level'],
        ...['--prefix', '--priority', '--takeover-delay', '--ttl'],
      ].toSorted(),
    );
    for (const value of ['two words', 'ftp://etcd:2379', '1s', 'soon', 'high', 'nowhere', 'loud']) {
      expect(faults.join('\n')).toContain(JSON.stringify(value));
    }
    for (const fault of faults) expect(fault).toMatch(/Allowed: ./);
    expect(faults.find((line) => line.startsWith('--log-level'))).toContain('ELECTORD_LOG_LEVEL');
  });

  test('values that contradict each other are faults too, and unknown variables are told beside them', async () => {
    const ended = await run(['--election=a', '--ttl=2s', '--margin=1s', '--etcd-username=me'], {
      ELECTORD_TLL: '5s',
    });
    expect(ended.code).toBe(78);
    const said = ended.stderr.join('\n');
    for (const part of ['--margin', '--etcd-username', 'ELECTORD_TLL'])
      expect(said).toContain(part);
  });
});

describe('arguments', () => {
  test.each([
    ['an unknown flag', ['--no-such-flag'], /no-such-flag/],
    ['an unknown command', ['sevre'], /sevre|too many|excess/i],
    ['a flag without its value', ['--election'], /--election/],
  ])('%s: exit code 64 and a hint', async (_, args, said) => {
    const ended = await run(args);
    expect(ended.code).toBe(64);
    expect(ended.stderr.join('\n')).toMatch(said);
    expect(ended.stderr.join('\n')).toContain('--help');
  });

  test.each([[['--help']], [['--version']], [['serve', '--help']]])('%j: 0', async (args) => {
    const ended = await run(args);
    expect(ended.code).toBe(0);
    expect(ended.stderr).toEqual([]);
    expect(ended.stdout.join('\n')).toMatch(
      args.includes('--version') ? /^\d+\.\d+\.\d+/ : /Usage/,
    );
  });
});

describe('on an etcd', () => {
  let stage: Stage;
  let server: Server | undefined;
  beforeAll(async () => {
    stage = await openStage({ size: 1 });
  });
  afterEach(async () => {
    await stage.clear();
    server?.close();
    server = undefined;
  });
  afterAll(() => stage.end());

  const wishes = (election: string): string[] => [
    ...[`--election=${election}`, '--id=a', `--etcd=${stage.cluster.endpoints.join(',')}`],
  ];

  async function takenPort(): Promise<number> {
    server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  test.each(['--listen', '--local-listen'])(
    '%s stays taken: said clearly, a code that is tried again, nothing is left',
    async (flag) => {
      const port = await takenPort();
      const other = flag === '--listen' ? '--local-listen' : '--listen';
      const ended = await run([
        ...wishes('taken'),
        ...[`${flag}=127.0.0.1:${port}`, `${other}=127.0.0.1:0`],
      ]);
      expect(ended.code).toBe(69);
      const said = ended.stderr.join('\n');
      expect(said).toContain(`127.0.0.1:${port}`);
      expect(said).toMatch(/EADDRINUSE|in use/);
      expect(said).not.toMatch(/\n\s+at /);
      expect(ended.stdout.filter((line) => line.includes('trying again'))).toHaveLength(1);
      expect(await stage.keys('taken')).toEqual([]);
    },
  );

  test.each(['serve', 'run'])('%s takes an address that is let go while it waits', async (how) => {
    const port = await takenPort();
    const lines: string[] = [];
    const child = await spawnGuarded({
      file: process.execPath,
      args: [
        ...[program, how, ...wishes(`let-go-${how}`)],
        ...[`--listen=127.0.0.1:${port}`, '--local-listen=127.0.0.1:0'],
        ...(how === 'run' ? ['--', 'sleep', '1000'] : []),
      ],
      env: environment(),
      onLine: (line) => lines.push(line),
    });
    const says = (part: string): Promise<unknown> =>
      eventually(() => lines.some((line) => line.includes(part)), {
        withinMs: 20_000,
        what: part,
      });
    await says('trying again');
    server?.close();
    await says('"cause":"elected"');
    expect((await child.stop(15_000)).code).toBe(how === 'run' ? 143 : 0);
  });

  test('an address that stays wrong: 78, at once', async () => {
    const path = join(projectFolder, 'package.json');
    const ended = await run([
      ...wishes('wrong'),
      ...['--listen=127.0.0.1:0', `--local-listen=unix:${path}`],
    ]);
    expect(ended.code).toBe(78);
    expect(ended.stderr.join('\n')).toContain('not a socket');
  });

  test('what only another version knows, in the environment or the file, is warned of', async () => {
    const file = join(tmpdir(), `electord-${process.pid}.yaml`);
    await writeFile(file, 'ttl: 10s\nsettingOfTomorrow: 1\n');
    try {
      const env = { ELECTORD_TOMORROW: 's3cret', ELECTORD_CONFIG: file };
      const sidecar = await stage.sidecar({ election: 'tomorrow', id: 'a', env });
      await sidecar.waitFor(({ isLeader }) => isLeader, 20_000);
      for (const name of ['ELECTORD_TOMORROW', 'settingOfTomorrow']) {
        await sidecar.waitForLog(
          ({ level, msg }) => level === 'warn' && String(msg).startsWith(`ignored: ${name} `),
          20_000,
        );
      }
      expect(sidecar.output()).not.toContain('s3cret');
    } finally {
      await rm(file);
    }
  });

  test('a hook may ask for a backup', async () => {
    const place = `${join(tmpdir(), `electord-${process.pid}`)}.backup`;
    const etcd = stage.cluster.endpoints.join(',');
    const command = `"${process.execPath}" "${program}" backup --etcd=${etcd} --output="${place}"`;
    const sidecar = await stage.sidecar({
      election: 'saved',
      id: 'a',
      args: [`--on-elected=exec:${command}`],
    });
    try {
      const line = await sidecar.waitForLog(({ hook }) => hook === 'elected', 20_000);
      expect(line).toMatchObject({ result: 'ok' });
      expect(line['output']).toMatch(/^electord: \d+ keys of saved are in /);
    } finally {
      await rm(place, { force: true });
    }
  });

  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s ends a follower as cleanly as a leader',
    async (name) => {
      const sidecars = await stage.three({ election: `ends-${name.toLowerCase()}` });
      const { others, leader, token } = await agreement(sidecars);
      others[0]!.signal(name);
      expect(await others[0]!.exited).toEqual({ code: 0, signal: null });
      expect((await agreement([leader, others[1]!])).token).toBe(token);
      leader.signal(name);
      expect(await leader.exited).toEqual({ code: 0, signal: null });
      expect((await agreement([others[1]!])).leader).toBe(others[1]);
    },
  );

  test('a second SIGTERM ends at once, after one attempt to revoke', async () => {
    const relay = await startRelay({ target: stage.cluster.endpoints[0]! });
    try {
      const args = ['--ttl=60s', '--grace=30s'];
      const sidecar = await stage.sidecar({
        election: 'impatient',
        id: 'a',
        etcd: [relay.url],
        args,
      });
      await agreement([sidecar]);
      // With etcd out of reach the first one takes its time: the release is tried again and again.
      relay.cut();
      sidecar.signal('SIGTERM');
      await sidecar.waitForLog((line) => /asked to stop:/.test(String(line['msg'])), 20_000);
      const againAt = monotonicMs();
      sidecar.signal('SIGTERM');
      const { code } = await sidecar.exited;
      expect(monotonicMs() - againAt).toBeLessThan(15_000);
      expect(code).toBe(143);
    } finally {
      relay.stop();
    }
  });
});
