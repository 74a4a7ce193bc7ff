// Hooks beside terms, as the elector drives them: real commands and a real web server that succeed, fail, hang, fork
// and do not obey. Times are generous; what must not remain is looked for in the process table.
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { GuardedApp } from '../../src/app-side/guarded-app.ts';
import { Guardian } from '../../src/app-side/guardian.ts';
import type { Hook } from '../../src/app-side/hooks.ts';
import { SystemClock } from '../../src/process/clock.ts';
import {
  electionName,
  fencingToken,
  memberId,
  revision,
  type Cause,
} from '../../src/core/model.ts';
import { membersOf, untilGone } from '../harness/process-groups.ts';
import { eventually, within } from '../harness/wait.ts';

const clock = new SystemClock();
const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined };
const orders = electionName('orders');
const term = (number: number) => fencingToken(revision(BigInt(number)));

let folder: string;
let guardian: Guardian;
const open: (() => void)[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'electord-hooks-'));
  guardian = new Guardian(clock, quiet);
});
afterEach(() => {
  for (const close of open.splice(0)) close();
  guardian.close();
  rmSync(folder, { recursive: true, force: true });
});

const file = (name: string): string => join(folder, name);
const read = (name: string): string =>
  existsSync(file(name)) ? readFileSync(file(name), 'utf8') : '';
const exec = (command: string): Hook => ({ kind: 'exec', command });
/** Neither it nor its fork obeys; its group is noted. */
const stubborn = (name: string): Hook =>
  exec(
    `echo $$ > ${file(name)}; trap "" TERM; (trap "" TERM; sleep 1000) & sleep 1000; sleep 1000`,
  );
const groupIn = (name: string): Promise<number> =>
  eventually(() => Number(read(name)) || null, { withinMs: 20_000, what: `a group in ${name}` });

interface Beside {
  readonly app: GuardedApp;
  /** Every run as it was counted: event and result. */
  readonly runs: readonly string[];
  /** Ends the term, with so much time left; resolves when all is quiet. */
  readonly stop: (number: number, inMs: number, cause?: Cause) => Promise<void>;
}

function beside(
  hooks: { elected?: Hook; stepDown?: Hook; timeoutMs?: number },
  ownEnvironment: NodeJS.ProcessEnv = process.env,
): Beside {
  const runs: string[] = [];
  const app = new GuardedApp({
    plan: {
      onElected: hooks.elected ?? null,
      onStepDown: hooks.stepDown ?? null,
      hookTimeoutMs: hooks.timeoutMs ?? 5000,
      child: null,
    },
    tools: {
      clock,
      log: quiet,
      guardian,
      surroundings: {
        id: memberId('a'),
        ownEnvironment,
        secretVariables: ['ELECTORD_TOKEN'],
        localUrl: () => 'http://127.0.0.1:4041',
      },
      observeHook: (event, result) => runs.push(`${event} ${result}`),
    },
    onEnded: () => undefined,
    onChildStarted: () => undefined,
  });
  const stop: Beside['stop'] = (number, inMs, cause = 'resigned') =>
    new Promise((resolve) => {
      app.stop(orders, term(number), cause, clock.now() + inMs, resolve);
    });
  open.push(() => void app.kill());
  return { app, runs, stop };
}

test('a command is told all about its term in its environment, without our secrets', async () => {
  const show = (name: string): Hook =>
    exec(`env | grep ELECTORD_ | sort > ${file('tmp')}; mv ${file('tmp')} ${file(name)}`);
  const { app, runs, stop } = beside(
    { elected: show('elected'), stepDown: show('step-down') },
    { ...process.env, ELECTORD_TOKEN: 's3cret', ELECTORD_ID: 'overwritten' },
  );
  app.elected(orders, term(47));
  await eventually(() => runs.length === 1, { withinMs: 20_000, what: 'the first hook' });
  const common = {
    ELECTORD_ELECTION: 'orders',
    ELECTORD_FENCING_TOKEN: '47',
    ELECTORD_ID: 'a',
    ELECTORD_LOCAL_URL: 'http://127.0.0.1:4041',
  };
  const lines = (name: string): Readonly<Record<string, string>> => {
    const pairs = read(name)
      .trim()
      .split('\n')
      .map((line) => line.split('='));
    return Object.fromEntries(pairs.map(([variable = '', value = '']) => [variable, value]));
  };
  expect(lines('elected')).toEqual({
    ...common,
    ELECTORD_CAUSE: 'elected',
    ELECTORD_EVENT: 'elected',
  });
  await stop(47, 8000, 'switchover');
  const { ELECTORD_MUST_STOP_BY: by, ELECTORD_MUST_STOP_IN_MS: inMs, ...rest } = lines('step-down');
  expect(rest).toEqual({ ...common, ELECTORD_CAUSE: 'switchover', ELECTORD_EVENT: 'step-down' });
  // The hook timeout is the tighter bound here.
  expect(Number(inMs)).toBe(5000);
  const leftMs = Date.parse(by!) - Date.now();
  expect(leftMs).toBeGreaterThan(2000);
  expect(leftMs).toBeLessThanOrEqual(5000);
  expect(runs).toEqual(['elected ok', 'step-down ok']);
});

async function web(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<Hook> {
  const server = createServer(answer);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  open.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { kind: 'http', url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook` };
}

test('an address gets the same as JSON by POST', async () => {
  const bodies: unknown[] = [];
  const hook = await web((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk.toString()));
    request.on('end', () => {
      bodies.push({
        method: request.method,
        type: request.headers['content-type'],
        ...(JSON.parse(text) as object),
      });
      response.writeHead(204).end();
    });
  });
  const { app, runs, stop } = beside({ elected: hook, stepDown: hook });
  app.elected(orders, term(5));
  await eventually(() => runs.length === 1, { withinMs: 20_000, what: 'the first hook' });
  await stop(5, 4000);
  const common = {
    ...{ method: 'POST', type: 'application/json', election: 'orders', id: 'a' },
    ...{ fencingToken: '5', localUrl: 'http://127.0.0.1:4041' },
  };
  expect(bodies).toEqual([
    { ...common, event: 'elected', cause: 'elected', mustStopBy: null, mustStopInMs: null },
    {
      ...{ ...common, event: 'step-down', cause: 'resigned' },
      mustStopInMs: expect.closeTo(3000, -2) as unknown,
      mustStopBy: expect.stringMatching(/^\d{4}-.*Z$/) as unknown,
    },
  ]);
  expect(runs).toEqual(['elected ok', 'step-down ok']);
});

test('failures are counted and hold up nothing', async () => {
  const refusing = await web((_request, response) => response.writeHead(500).end());
  const first = beside({ elected: exec('exit 3'), stepDown: refusing });
  first.app.elected(orders, term(1));
  await eventually(() => first.runs.length === 1, { withinMs: 20_000, what: 'the first hook' });
  await within(first.stop(1, 5000), { withinMs: 8000, what: 'a quiet end' });
  expect(first.runs).toEqual(['elected failed', 'step-down failed']);
  const gone = beside({ stepDown: { kind: 'http', url: 'http://127.0.0.1:1/' } });
  gone.app.elected(orders, term(1));
  await within(gone.stop(1, 20_000), { withinMs: 20_000, what: 'a quiet end' });
  expect(gone.runs).toEqual(['step-down failed']);
});

test('a receiver that is away is asked again until it is back, within the time of the hook', async () => {
  const answers = ['reset', 503, 204] as const;
  let asked = 0;
  const hook = await web((request, response) => {
    const answer = answers[asked] ?? 500;
    asked += 1;
    if (answer === 'reset') request.socket.resetAndDestroy();
    else response.writeHead(answer).end();
  });
  const { app, runs, stop } = beside({ stepDown: hook, timeoutMs: 15_000 });
  app.elected(orders, term(1));
  await within(stop(1, 30_000), { withinMs: 20_000, what: 'a quiet end' });
  expect(runs).toEqual(['step-down ok']);
  expect(asked).toBe(3);
});

test('a term that ends does not wait for a receiver that is away to come back', async () => {
  let asked = 0;
  const hook = await web((_request, response) => {
    asked += 1;
    response.writeHead(503).end();
  });
  const { app, runs, stop } = beside({ elected: hook, timeoutMs: 60_000 });
  app.elected(orders, term(1));
  await eventually(() => asked > 0, { withinMs: 20_000, what: 'the first try' });
  await within(stop(1, 30_000), { withinMs: 20_000, what: 'a quiet end' });
  expect(runs).toEqual(['elected failed']);
});

test('a step-down hook that hangs is killed with its forks at its timeout', async () => {
  const { app, runs, stop } = beside({ stepDown: stubborn('group'), timeoutMs: 300 });
  app.elected(orders, term(1));
  const startedAt = clock.now();
  await within(stop(1, 10_000), { withinMs: 8000, what: 'a quiet end' });
  expect(clock.now() - startedAt).toBeGreaterThanOrEqual(300);
  expect(membersOf(await groupIn('group'))).toEqual([]);
  expect(runs).toEqual(['step-down timeout']);
});

test('and before the term must have stopped, where that is sooner', async () => {
  const { app, runs, stop } = beside({ stepDown: stubborn('group') });
  app.elected(orders, term(1));
  const mustStopBy = clock.now() + 5000;
  await within(stop(1, 5000), { withinMs: 8000, what: 'a quiet end' });
  // Asked at three quarters of the time and killed soon after, it is gone before the end of it.
  expect(clock.now()).toBeLessThan(mustStopBy);
  expect(membersOf(await groupIn('group'))).toEqual([]);
  expect(runs).toEqual(['step-down timeout']);
});

test('an address that does not answer is given up at the timeout', async () => {
  const silent = await web(() => undefined);
  const { app, runs, stop } = beside({ stepDown: silent, timeoutMs: 200 });
  app.elected(orders, term(1));
  await within(stop(1, 10_000), { withinMs: 8000, what: 'a quiet end' });
  expect(runs).toEqual(['step-down timeout']);
});

test('an on-elected hook that is still running is killed before the step-down hook begins', async () => {
  const survivors = `ps -A -o stat=,pgid= | grep -v '^Z' | awk '{print $2}' | grep -cx "$(cat ${file('group')})"`;
  const { app, runs, stop } = beside({
    elected: stubborn('group'),
    stepDown: exec(`${survivors} > ${file('survivors')}; true`),
  });
  app.elected(orders, term(1));
  const group = await groupIn('group');
  expect(membersOf(group).length).toBeGreaterThan(0);
  await within(stop(1, 10_000), { withinMs: 8000, what: 'a quiet end' });
  expect(read('survivors').trim()).toBe('0');
  expect(runs).toEqual(['elected failed', 'step-down ok']);
});

test('what an on-elected hook leaves running lives as long as the term, and no longer', async () => {
  const { app, runs, stop } = beside({ elected: exec(`echo $$ > ${file('group')}; sleep 1000 &`) });
  app.elected(orders, term(1));
  const group = await groupIn('group');
  await eventually(() => runs.length === 1, { withinMs: 20_000, what: 'the hook' });
  expect(membersOf(group)).toHaveLength(1);
  await within(stop(1, 5000), { withinMs: 8000, what: 'a quiet end' });
  expect(membersOf(group)).toEqual([]);
  expect(runs).toEqual(['elected ok']);
});

test('cut off: the hook dies at once, and so does an on-elected hook', async () => {
  const { app, stop } = beside({ elected: stubborn('elected'), stepDown: stubborn('step-down') });
  app.elected(orders, term(1));
  const elected = await groupIn('elected');
  const quiet = stop(1, 10_000);
  const stepDown = await groupIn('step-down');
  expect(membersOf(elected)).toEqual([]);
  app.cutOff(orders, term(1));
  await within(quiet, { withinMs: 8000, what: 'a quiet end' });
  expect(membersOf(stepDown)).toEqual([]);
});

test('a term that is lost without notice still has its step-down hook, and the next one waits for it', async () => {
  const note = (word: string): string => `echo ${word} $ELECTORD_FENCING_TOKEN >> ${file('order')}`;
  const { app, runs, stop } = beside({
    elected: exec(note('elected')),
    stepDown: exec(
      `${note('begins')}; sleep 0.5; ${note('ends')}; echo $ELECTORD_MUST_STOP_IN_MS > ${file('left')}`,
    ),
  });
  app.elected(orders, term(1));
  await eventually(() => runs.length === 1, { withinMs: 20_000, what: 'the first hook' });
  const quiet = stop(1, 0, 'lease_expired');
  app.cutOff(orders, term(1));
  app.elected(orders, term(2));
  await eventually(() => runs.length === 3, { withinMs: 20_000, what: 'all hooks' });
  await quiet;
  expect(read('order')).toBe('elected 1\nbegins 1\nends 1\nelected 2\n');
  expect(read('left').trim()).toBe('0');
  expect(runs).toEqual(['elected ok', 'step-down ok', 'elected ok']);
  await stop(2, 5000);
});

test('another guardian takes over what the one before watched', async () => {
  const { app } = beside({ elected: stubborn('group'), timeoutMs: 60_000 });
  app.elected(orders, term(1));
  const group = await groupIn('group');
  const first = guardian.pid()!;
  process.kill(first, 'SIGKILL');
  await eventually(() => ![first, null].includes(guardian.pid()), {
    withinMs: 20_000,
    what: 'another guardian',
  });
  expect(membersOf(group).length).toBeGreaterThan(0);
  // Its input ends, as it would with us.
  guardian.close();
  await untilGone(group, 5000);
});

test('what a term cannot wait for is killed: when that is done nothing of any hook is left', async () => {
  const { app, runs } = beside({ elected: stubborn('elected') });
  app.elected(orders, term(47));
  const group = await groupIn('elected');
  await app.kill();
  // It is counted when it has ended, and that is what was waited for.
  expect(runs).toEqual(['elected failed']);
  expect(membersOf(group)).toEqual([]);

  const other = beside({ stepDown: stubborn('step-down') });
  other.app.elected(orders, term(48));
  const stopped = other.stop(48, 60_000);
  const second = await groupIn('step-down');
  await other.app.kill();
  expect(other.runs).toEqual(['step-down failed']);
  expect(membersOf(second)).toEqual([]);
  await stopped;
});
