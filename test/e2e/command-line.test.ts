// The program as a process: what it does with wrong settings and arguments, with signals, and with a port that is
// taken. Exit codes are those of the contract.
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { spawnGuarded, type ChildExit } from '../../src/dev/etcd-child.ts';
import { projectFolder } from '../harness/binaries.ts';
import { monotonicMs } from '../harness/sidecar.ts';
import { startRelay } from '../harness/relay.ts';
import { agreement, openStage, type Stage } from './stage.ts';

interface Ended extends ChildExit {
  readonly stdout: readonly string[];
  readonly stderr: readonly string[];
}

/** Runs the program to its end. */
async function run(args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('ELECTORD_'));
  const output = { stdout: [] as string[], stderr: [] as string[] };
  const child = await spawnGuarded({
    file: process.execPath,
    args: [join(projectFolder, 'dist', 'electord.js'), ...args],
    env: { ...Object.fromEntries(own), ...env },
    onLine: (line, stream) => output[stream].push(line),
  });
  return { ...(await child.exited), ...output };
}

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
    // The election is missing too: eleven in all, one line each.
    const faults = ended.stderr.filter((line) => line.startsWith('--'));
    expect(faults).toEqual(ended.stderr.filter((line) => line !== ''));
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

  test('values that contradict each other, unknown variables and keys are faults too', async () => {
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

  test.each(['--listen', '--local-listen'])(
    '%s is taken: said clearly, nothing is left',
    async (flag) => {
      server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const other = flag === '--listen' ? '--local-listen' : '--listen';
      const ended = await run([
        ...['--election=taken', '--id=a', `--etcd=${stage.cluster.endpoints.join(',')}`],
        ...[`${flag}=127.0.0.1:${port}`, `${other}=127.0.0.1:0`],
      ]);
      expect(ended.code).toBe(78);
      const said = ended.stderr.join('\n');
      expect(said).toContain(`127.0.0.1:${port}`);
      expect(said).toMatch(/EADDRINUSE|in use/);
      expect(said).not.toMatch(/\n\s+at /);
      expect(await stage.keys('taken')).toEqual([]);
    },
  );

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
