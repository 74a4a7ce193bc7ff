// The client on real sidecars and a real etcd: two never work at once while sidecars die, hang and come back; the signal of
// whileLeader comes in time; and the package is what an app can import, under every line of Node.
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { connect, operate, type Client, type ConnectOptions } from '../../src/sdk/client.ts';
import { spawnGuarded } from '../../src/dev/etcd-child.ts';
import { projectFolder } from '../harness/binaries.ts';
import { nodeInstallWithinMs, nodeOfLine } from '../harness/node-line.ts';
import { reservePort } from '../harness/ports.ts';
import { monotonicMs, type Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { appWithClient, type AppFolder } from './sdk-package.ts';
import {
  agreement,
  failoverWithinMs,
  lapsing,
  openStage,
  steadyTtlMs,
  type Stage,
} from './stage.ts';

let stage: Stage;
const clients: Client[] = [];

beforeAll(async () => {
  stage = await openStage({ size: 1 });
});
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await stage.clear();
});
afterAll(() => stage.end());

function follow(url: string, more: ConnectOptions = {}): Client {
  const client = connect({ url, ...more });
  clients.push(client);
  return client;
}

/** A time during which the work of one client ran, on the machine's monotonic clock. */
interface Shift {
  readonly id: string;
  readonly token: bigint;
  readonly from: number;
  to: number | null;
  /** What was left of the validity when the signal came. */
  leftMs: number | null;
}

/** Works through every term of these, and writes down when. */
function recordShifts(
  workers: readonly { readonly id: string; readonly client: Client }[],
  stopWithinMs: number,
) {
  const shifts: Shift[] = [];
  for (const { id, client } of workers) {
    const work = client.whileLeader(
      (term, signal) =>
        new Promise<void>((resolve) => {
          const shift: Shift = {
            id,
            token: term.fencingToken,
            from: monotonicMs(),
            to: null,
            leftMs: null,
          };
          shifts.push(shift);
          signal.addEventListener('abort', () => {
            shift.leftMs = term.remainingMs();
            shift.to = monotonicMs();
            resolve();
          });
        }),
      { stopWithinMs },
    );
    work.catch((failure: unknown) => {
      throw failure;
    });
  }
  return shifts;
}

const workersOf = (sidecars: readonly Sidecar[]) =>
  sidecars.map(({ id, localUrl }) => ({ id, client: follow(localUrl) }));

/** Leaves whoever works seconds to stop in, however busy the machine is. */
const workTtlMs = 6000;

test.each(['SIGKILL', 'SIGSTOP'] as const)(
  'a leading sidecar that gets %s: the work ends in time, before another begins',
  { timeout: 60_000 },
  async (signal) => {
    const sidecars = await stage.three({
      election: `sdk-${signal.toLowerCase()}`,
      args: [`--ttl=${workTtlMs}ms`],
    });
    const { leader, token } = await agreement(sidecars);
    const shifts = recordShifts(workersOf(sidecars), 300);
    await eventually(() => shifts.length === 1, { withinMs: 20_000, what: 'the first shift' });
    expect(shifts[0]).toMatchObject({ id: leader.id, token: BigInt(token), to: null });
    leader.signal(signal);
    await eventually(() => shifts.length === 2, {
      withinMs: failoverWithinMs(workTtlMs),
      what: 'the second shift',
    });
    const [first, second] = shifts as [Shift, Shift];
    expect(second.id).not.toBe(leader.id);
    expect(second.token).toBeGreaterThan(first.token);
    expect(first.to).not.toBeNull();
    expect(first.to!).toBeLessThanOrEqual(second.from);
    // The signal left time to stop in.
    expect(first.leftMs).toBeGreaterThan(0);
    leader.signal('SIGCONT');
  },
);

test('a switchover is pushed: the old work stops at once, the new begins, each with its own token', async () => {
  const sidecars = await stage.three({ election: 'sdk-switchover' });
  const { leader, others } = await agreement(sidecars);
  const shifts = recordShifts(workersOf(sidecars), 100);
  await eventually(() => shifts.length === 1, { withinMs: 20_000, what: 'the first shift' });
  const operator = operate({ url: others[1]!.localUrl });
  try {
    const askedAt = monotonicMs();
    const answer = await operator.switchover({ to: others[0]!.id, reason: 'a test' });
    expect(answer).toMatchObject({ done: true, leader: { id: others[0]!.id } });
    await eventually(() => shifts.length === 2 && shifts[0]!.to !== null, {
      withinMs: 20_000,
      what: 'the second shift',
    });
    expect(shifts.map(({ id }) => id)).toEqual([leader.id, others[0]!.id]);
    // Well below the validity that was left: it was told, it did not run out.
    expect(shifts[0]!.to! - askedAt).toBeLessThan(steadyTtlMs / 2);
    // A new leader records its term some milliseconds after its first answers.
    const terms = await eventually(
      async () => {
        const { terms: all } = await operator.history();
        return all[0]?.leader === others[0]!.id && all;
      },
      { withinMs: 20_000, what: 'the new term in the history' },
    );
    expect(terms[0]).toMatchObject({ leader: others[0]!.id, to: null });
    expect(terms[1]).toMatchObject({ leader: leader.id, cause: 'switchover', reason: 'a test' });
  } finally {
    operator.close();
  }
});

test(
  'the client survives its sidecar, and works in the term after the restart',
  { timeout: 60_000 },
  async () => {
    const port = await reservePort();
    const wish = {
      election: 'sdk-restart',
      id: 'a',
      args: [lapsing, `--local-listen=127.0.0.1:${port}`],
    };
    const first = await stage.sidecar(wish);
    const client = follow(`http://127.0.0.1:${port}`);
    const shifts = recordShifts([{ id: 'a', client }], 100);
    await eventually(() => shifts.length === 1, { withinMs: 20_000, what: 'the first shift' });
    first.signal('SIGKILL');
    await first.exited;
    await eventually(() => !client.isLeader(), { withinMs: 20_000, what: 'the end of the claim' });
    await stage.sidecar(wish);
    await eventually(() => shifts.length === 2, { withinMs: 20_000, what: 'the second shift' });
    expect(shifts[1]!.token).toBeGreaterThan(shifts[0]!.token);
    expect(client.isLeader()).toBe(true);
  },
);

test('a hold keeps an asked-for step-down waiting', async () => {
  const [leader] = [(await agreement(await stage.three({ election: 'sdk-hold' }))).leader];
  const client = follow(leader.localUrl);
  await client.ready(5000);
  const operator = operate({ url: leader.localUrl });
  try {
    const askedAt = monotonicMs();
    const hold = await client.hold(700);
    expect(hold.heldForMs).toBeGreaterThan(600);
    expect(hold.heldForMs).toBeLessThanOrEqual(700);
    await operator.stepDown({ reason: 'a test' });
    expect(monotonicMs() - askedAt).toBeGreaterThanOrEqual(hold.heldForMs);
  } finally {
    operator.close();
  }
});

test('a sidecar with a token: who has it leads, and who has not is told at once', async () => {
  const env = { ELECTORD_TOKEN: 'sesame' };
  const { localUrl } = await stage.sidecar({ election: 'sdk-token', id: 'a', env });
  const client = follow(localUrl, { token: 'sesame' });
  await eventually(() => client.isLeader(), { withinMs: 20_000, what: 'the claim' });
  const without = follow(localUrl);
  await expect(without.ready(20_000)).rejects.toMatchObject({ code: 'unauthorized' });
  expect(without.isLeader()).toBe(false);
});

test('a sidecar that grants no holds: the claim is believed for as long as the lease lasts', async () => {
  const wish = { election: 'sdk-no-holds', id: 'a', args: ['--max-hold=0s'] };
  const client = follow((await stage.sidecar(wish)).localUrl);
  await eventually(() => client.isLeader(), { withinMs: 20_000, what: 'the claim' });
  await expect(client.hold(500)).resolves.toMatchObject({ heldForMs: 0 });
  expect(client.isLeader()).toBe(true);
});

describe('the package', () => {
  let app: AppFolder;
  beforeAll(async () => {
    app = await appWithClient();
    await copyFile(join(projectFolder, 'deploy/examples/node.mjs'), join(app.path, 'node.mjs'));
  });
  afterAll(() => app.remove());

  test.each([0, 22, 24, 26])(
    'is imported and leads under Node %i (0: the one that runs this)',
    { timeout: nodeInstallWithinMs + 60_000 },
    async (line) => {
      const node = line === 0 ? process.execPath : await nodeOfLine(line);
      const sidecar = await stage.sidecar({ election: `sdk-node-${line}`, id: 'a' });
      const lines: string[] = [];
      const child = await spawnGuarded({
        file: node,
        args: [join(app.path, 'node.mjs')],
        env: { PATH: process.env['PATH'], ELECTORD_LOCAL_URL: sidecar.localUrl },
        onLine: (text) => lines.push(text),
      });
      try {
        await eventually(() => lines.some((text) => /^work done, fencing token \d+$/.test(text)), {
          withinMs: 20_000,
          what: `work under ${node}: ${lines.join('\n')}`,
        });
      } finally {
        child.signal('SIGTERM');
      }
      expect(await child.exited, lines.join('\n')).toEqual({ code: 0, signal: null });
      // A deprecation or an experiment of a newer Node would be printed.
      expect(lines.filter((text) => !text.startsWith('work done'))).toEqual([]);
    },
  );
});
