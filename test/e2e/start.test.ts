// What a newcomer meets: `npm start`, with and without a terminal's Ctrl-C, on the built program and a
// real etcd. Promises that a failover is really shown, and that nothing is left behind: no process, no
// folder, not even when `electord dev` is killed outright.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { askLeader, forgetConnections } from '../../src/dev/leader-answer.ts';
import { eventually } from '../harness/wait.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** On a machine without etcd, the first run fetches one. */
const WITH_FETCH_MS = 240_000;
/** The sweeper and what it ends are gone long before; a busy machine gets this much. */
const GONE_WITHIN_MS = 15_000;

/** A run of `electord dev` and all that it has printed so far. */
class Run {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';
  readonly #closed: Promise<unknown>;

  constructor(script: string, ...args: string[]) {
    this.child = spawn(process.execPath, [script, ...args], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.#closed = once(this.child, 'close');
  }

  /** Resolves with the exit code, or null when a signal ended it. */
  async ended(): Promise<number | null> {
    await this.#closed;
    return this.child.exitCode;
  }

  /** Waits until what it printed matches; fails at once when it ends without. */
  async printed(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.stdout);
      if (match !== null) return match;
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        throw new Error(`ended without ${String(pattern)}:\n${this.stdout}\n${this.stderr}`);
      }
      await Promise.race([once(this.child.stdout!, 'data'), this.#closed]);
    }
  }

  /** Its temporary folder, whose name also marks each process that belongs to this run. */
  get folder(): string {
    return /^data in (.+electord-dev-[^,]+), /m.exec(this.stdout)?.[1] ?? '';
  }

  /** The seven processes that it says it has started. */
  get pids(): number[] {
    return [...this.stdout.matchAll(/\(pid (\d+)\)/g)].map((match) => Number(match[1]));
  }

  /** The processes of this run that are still there, by number and by their environment. */
  remaining(): number[] {
    const marked = existsSync('/proc/self/environ')
      ? readdirSync('/proc').filter((name) => /^\d+$/.test(name) && belongsTo(name, this.folder))
      : [];
    return [...this.pids.filter(isAlive), ...marked.map(Number)];
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function belongsTo(pid: string, folder: string): boolean {
  try {
    const text = readFileSync(`/proc/${pid}/environ`, 'utf8');
    return text.includes(folder) || readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(folder);
  } catch {
    // It ended between the listing and the reading.
    return false;
  }
}

function expectStarted(run: Run): void {
  expect(run.folder).not.toBe('');
  expect(new Set(run.pids).size).toBeGreaterThanOrEqual(7);
}

function expectNothingLeft(run: Run): void {
  expect(run.remaining()).toEqual([]);
  expect(existsSync(run.folder)).toBe(false);
}

const runs: Run[] = [];
function start(script: string, ...args: string[]): Run {
  const run = new Run(script, ...args);
  runs.push(run);
  return run;
}

afterEach(async () => {
  forgetConnections();
  for (const run of runs.splice(0)) {
    run.child.kill('SIGTERM');
    await run.ended();
  }
});

describe('npm start', () => {
  it(
    'with --once shows a failover and a hand-over, and leaves nothing behind',
    async () => {
      const run = start('scripts/start.mjs', '--once');
      const code = await run.ended();
      expect(run.stderr).not.toContain('electord dev:');
      expect(code, `${run.stdout}\n${run.stderr}`).toBe(0);
      expectStarted(run);

      const terms = [...run.stdout.matchAll(/^elected: (\S+) leads, fencing token (\d+)/gm)];
      const leaders = terms.map((term) => term[1]);
      const tokens = terms.map((term) => BigInt(term[2] ?? ''));
      expect(new Set(leaders).size).toBe(3);
      expect(tokens[0]! < tokens[1]! && tokens[1]! < tokens[2]!).toBe(true);

      expect(run.stdout).toContain(`killed: ${leaders[0] ?? ''}`);
      const witnesses = `witnesses: .* would replace ${leaders[0] ?? ''} after 250 ms`;
      expect(run.stdout).toMatch(new RegExp(witnesses));
      expect(run.stdout).toMatch(/nobody led for \d+(\.\d)? (s|ms)/);
      expect(run.stdout).toContain(`asked to stop: ${leaders[1] ?? ''}`);
      // A planned hand-over waits for no lease (3 s).
      const handOverMs = Number(/(\d+) ms after \S+ was asked to stop/.exec(run.stdout)?.[1]);
      expect(handOverMs).toBeLessThan(2000);
      expect(run.stdout).toMatch(/→ 201, taken/);
      expect(run.stdout).toMatch(/→ 307, sent on to/);
      expectNothingLeft(run);
    },
    WITH_FETCH_MS,
  );

  it(
    'is ended by Ctrl-C, which npm passes on once more, with code 0 and nothing left behind',
    async () => {
      const run = start('dist/electord.js', 'dev');
      await run.printed(/leads, fencing token \d+/);
      await run.printed(/Whatever dies comes back/);
      expectStarted(run);
      expect(run.remaining().length).toBeGreaterThanOrEqual(7);
      run.child.kill('SIGINT');
      run.child.kill('SIGINT');
      expect(await run.ended(), run.stderr).toBe(0);
      expect(run.stdout).toContain('nothing is left behind');
      expectNothingLeft(run);
    },
    WITH_FETCH_MS,
  );

  it(
    'shows a killed leader as dead, names its successor, and brings it back',
    async () => {
      const run = start('dist/electord.js', 'dev');
      const [, first = ''] = await run.printed(/(demo-\d) leads, fencing token \d+/);
      const [, pid = ''] = await run.printed(/kill -9 (\d+)/);
      process.kill(Number(pid), 'SIGKILL');
      await run.printed(new RegExp(`${first}'s sidecar \\(pid ${pid}\\) died: SIGKILL`));
      const [, second] = await run.printed(/(demo-\d) leads, .*nobody led for at most/);
      expect(second).not.toBe(first);
      const [, newPid] = await run.printed(new RegExp(`${first}'s sidecar is back \\(pid (\\d+)`));
      expect(isAlive(Number(newPid))).toBe(true);
      run.child.kill('SIGTERM');
      expect(await run.ended(), run.stderr).toBe(0);
      expectNothingLeft(run);
    },
    WITH_FETCH_MS,
  );

  it(
    'brings a killed etcd back with its data, and somebody leads again',
    async () => {
      const run = start('dist/electord.js', 'dev');
      const [, token = ''] = await run.printed(/leads, fencing token (\d+)/);
      const [, pid = '', url = ''] = await run.printed(/^etcd \S+ \(pid (\d+)\) answers on (\S+)/m);
      const sidecars = [...run.stdout.matchAll(/: sidecar (\S+) /g)].map(([, at = '']) => at);
      expect(sidecars).toHaveLength(3);
      const leads = async (): Promise<bigint | null> => {
        const answers = await Promise.all(sidecars.map((at) => askLeader(at, 1000)));
        return answers.find((answer) => answer?.isLeader === true)?.fencingToken ?? null;
      };
      process.kill(Number(pid), 'SIGKILL');
      await run.printed(new RegExp(`etcd \\(pid ${pid}\\) died: SIGKILL`));
      // Longer than a lease.
      await eventually(async () => (await leads()) === null, { withinMs: 20_000, what: 'nobody' });
      const [, newPid] = await run.printed(/etcd is back \(pid (\d+)\)/);
      expect(isAlive(Number(newPid))).toBe(true);
      await eventually(async () => (await leads()) !== null, {
        withinMs: 30_000,
        what: 'a leader',
      });
      // What is greater than before is from the same data: an empty etcd would be refused.
      expect((await leads())! >= BigInt(token)).toBe(true);
      await run.printed(/(demo-\d) leads, .*nobody led for at most \d+\.\d s/);
      expect((await fetch(`${url}/health`)).status).toBe(200);
      run.child.kill('SIGTERM');
      expect(await run.ended(), run.stderr).toBe(0);
      expectNothingLeft(run);
    },
    WITH_FETCH_MS,
  );

  it(
    'leaves nothing behind even when it is killed outright',
    async () => {
      const run = start('dist/electord.js', 'dev');
      await run.printed(/leads, fencing token \d+/);
      expectStarted(run);
      run.child.kill('SIGKILL');
      await run.ended();
      const giveUpAtMs = performance.now() + GONE_WITHIN_MS;
      while (
        (run.remaining().length > 0 || existsSync(run.folder)) &&
        performance.now() < giveUpAtMs
      ) {
        await sleep(20);
      }
      expectNothingLeft(run);
    },
    WITH_FETCH_MS,
  );
});
