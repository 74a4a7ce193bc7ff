// A log that cannot be written, on real sidecars: a full device, a full file system, a pipe and a socket whose reader is
// stuck. Lines are lost; leadership, signals and the hand-over are not. What a command could not print it has not answered.
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { spawnGuarded, type ChildExit, type GuardedChild } from '../../src/dev/etcd-child.ts';
import { projectFolder } from '../harness/binaries.ts';
import { reservePorts } from '../harness/ports.ts';
import type { LeaderAnswer } from '../harness/sidecar.ts';
import { eventually, within } from '../harness/wait.ts';
import { throwsAtSignal } from './misfortune.ts';
import { openStage, steadyTtlMs, type Stage } from './stage.ts';

const program = join(projectFolder, 'dist', 'electord.js');
const own = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith('ELECTORD_')),
);

/** A place for mounts of its own; who is not root needs one for users as well. */
const mounting = process.getuid?.() === 0 ? ['--mount'] : ['--mount', '--map-root-user'];

type Started = Pick<GuardedChild, 'signal' | 'exited' | 'recentOutput'>;

let stage: Stage;
let folder = '';
const children: Started[] = [];

beforeAll(async () => {
  stage = await openStage({ size: 1 });
});
afterEach(async () => {
  await Promise.all(
    children.splice(0).map((child) => {
      child.signal('SIGKILL');
      return child.exited;
    }),
  );
  await stage.clear();
  if (folder !== '') await rm(folder, { recursive: true, force: true });
});
afterAll(() => stage.end());

/** For bash: makes the place that takes no line, and becomes the command with its output there; `cat` keeps it full. */
const places = {
  'a full device': 'exec "$@" > /dev/full 2>&1',
  'a file system that fills up':
    'mount -t tmpfs -o size=64k none "$folder" && head -c 61440 /dev/zero > "$folder/fill"; exec "$@" > "$folder/log" 2>&1',
  'a pipe whose reader is stuck':
    'exec > >(exec tail --pid=$$ -f /dev/null > /dev/null 2>&1) 2>&1; cat /dev/zero & exec "$@"',
  /** See startUnread. */
  'a socket whose reader is stuck': null,
} as const;

async function start(
  place: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<GuardedChild> {
  folder = await mkdtemp(join(tmpdir(), 'electord-full-'));
  const child = await spawnGuarded({
    file: 'unshare',
    args: [...mounting, 'bash', '-c', place, 'bash', process.execPath, program, ...args],
    env: { ...own, ...env, folder },
  });
  children.push(child);
  return child;
}

/** The pipes that Node makes for a child are sockets; nobody reads this one, and `cat` keeps it full. */
function startUnread(args: readonly string[], env: Readonly<Record<string, string>>): Started {
  const place = 'cat /dev/zero & exec "$@"';
  const command = ['bash', '-c', place, 'bash', process.execPath, program, ...args];
  const spawned = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...command], {
    env: { ...own, ...env },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const exited = new Promise<ChildExit>((resolve) => {
    spawned.once('exit', (code, signal) => {
      spawned.stdout.destroy();
      resolve({ code, signal });
    });
  });
  const child = {
    signal: (name: NodeJS.Signals) => void spawned.kill(name),
    exited,
    recentOutput: () => '',
  };
  children.push(child);
  return child;
}

/** A leader whose log goes to that place, with as many lines as there can be. */
async function leader(place: string | null, election: string): Promise<Started> {
  const [port = 0] = await reservePorts(1);
  const child = await (place === null ? startUnread : start.bind(null, place))(
    [
      ...['serve', `--election=${election}`, '--id=a', `--etcd=${stage.cluster.endpoints.join()}`],
      ...[`--listen=127.0.0.1:${port}`, '--local-listen=127.0.0.1:0', `--ttl=${steadyTtlMs}ms`],
      '--log-level=trace',
    ],
    throwsAtSignal,
  );
  const leads = async (): Promise<boolean> => {
    const answer = await fetch(`http://127.0.0.1:${port}/leader`).catch(() => null);
    return answer?.status === 200;
  };
  await eventually(leads, { withinMs: 20_000, what: 'a leader' });
  return child;
}

const ended = (child: Started): Promise<ChildExit> =>
  within(child.exited, { withinMs: 15_000, what: 'the end' });

describe.each(Object.entries(places))('the log goes to %s', (name, place) => {
  test.each([
    ['SIGTERM hands over', 'SIGTERM', 0],
    ['a fatal error ends the claim and the process', 'SIGUSR2', 70],
  ] as const)('%s', async (_, signal, code) => {
    const election = `${name.replaceAll(' ', '-')}-${code}`;
    const child = await leader(place, election);
    const other = await stage.sidecar({ election, id: 'b' });
    await other.waitFor(({ role }) => role === 'follower', 20_000);
    const elected = (one: LeaderAnswer): boolean => one.isLeader;
    // Sooner than the lease could have run out: it was given back.
    const successor = other.waitFor(elected, steadyTtlMs - 2000);
    child.signal(signal);
    expect(await ended(child)).toEqual({ code, signal: null });
    expect((await successor).status).toBe(200);
  });
});

describe('a command that cannot print has failed', () => {
  test.each(['--help', '--version', 'completion bash', 'status', 'status --json'])(
    'electord %s',
    async (words) => {
      const args = words.split(' ');
      const election = words.replace(/[ -]+/g, '_');
      const sidecar = await stage.sidecar({ election, id: 'a' });
      await sidecar.waitFor(({ isLeader }) => isLeader, 20_000);
      const env = { ELECTORD_LOCAL_URL: sidecar.localUrl };
      const child = await start('exec "$@" > /dev/full', args, env);
      expect((await ended(child)).code).toBe(1);
      expect(child.recentOutput()).toContain('the standard output cannot be written: ENOSPC');
    },
  );
});
