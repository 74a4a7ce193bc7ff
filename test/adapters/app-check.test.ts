// The app check against real servers and commands that pass, fail, refuse, hang, trickle and fork.
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { AppChecker } from '../../src/app-side/check.ts';
import { Guardian } from '../../src/app-side/guardian.ts';
import type { AppCheck } from '../../src/app-side/probe.ts';
import { SystemClock } from '../../src/process/clock.ts';
import { untilGone } from '../harness/process-groups.ts';
import { eventually } from '../harness/wait.ts';

const clock = new SystemClock();
const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined };

let folder: string;
let guardian: Guardian;
const open: (() => void)[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'electord-check-'));
  guardian = new Guardian(clock, quiet);
});
afterEach(() => {
  for (const close of open.splice(0)) close();
  guardian.close();
  rmSync(folder, { recursive: true, force: true });
});

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  open.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function web(answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  open.push(() => server.closeAllConnections());
  return `http://127.0.0.1:${await listening(server)}/health?key=s3cret`;
}

interface Checked {
  readonly checker: AppChecker;
  readonly told: readonly boolean[];
}

function check(what: AppCheck, more: { timeoutMs?: number; beside?: 'run' } = {}): Checked {
  const told: boolean[] = [];
  const healthy = more.beside === 'run';
  const checker = new AppChecker(
    {
      check: what,
      intervalMs: 100,
      timeoutMs: more.timeoutMs ?? 100,
      thresholds: { fall: 2, rise: 2 },
      clock,
      log: quiet,
      guardian,
      environment: process.env,
      onHealth: (health) => told.push(health),
    },
    healthy,
  );
  open.push(() => checker.stop());
  if (more.beside === 'run') checker.startPatiently();
  else checker.start();
  return { checker, told };
}

const untilDetail = (checker: AppChecker, detail: RegExp): Promise<unknown> =>
  eventually(() => detail.test(checker.health().detail), {
    withinMs: 20_000,
    what: `the detail ${String(detail)}`,
  });

test.each([
  [200, true],
  [204, true],
  [302, true],
  [399, true],
  [400, false],
  [503, false],
])('HTTP %i: passes %s', async (status, passes) => {
  const url = await web((_request, response) => {
    response.writeHead(status, { Location: 'http://127.0.0.1:1/' }).end('body');
  });
  const { checker } = check({ kind: 'http', url });
  expect(checker.health()).toEqual({
    configured: true,
    healthy: false,
    detail: 'not checked yet',
  });
  await untilDetail(checker, /^answered/);
  expect(checker.health()).toMatchObject({ healthy: passes, detail: `answered ${status}` });
});

test('an app that fails and comes back falls and rises, and that is told once each', async () => {
  let status = 200;
  const url = await web((_request, response) => response.writeHead(status).end());
  const { checker, told } = check({ kind: 'http', url });
  await eventually(() => told.length === 1, { withinMs: 20_000, what: 'healthy' });
  status = 500;
  await eventually(() => told.length === 2, { withinMs: 20_000, what: 'unhealthy' });
  expect(checker.health()).toMatchObject({ healthy: false, detail: 'answered 500' });
  status = 200;
  await eventually(() => told.length === 3, { withinMs: 20_000, what: 'healthy again' });
  expect(told).toEqual([true, false, true]);
});

test('an app that does not answer fails in time, is asked one at a time, and no secret is told', async () => {
  let asked = 0;
  let atOnce = 0;
  let most = 0;
  const url = await web((_request, response) => {
    asked += 1;
    atOnce += 1;
    most = Math.max(most, atOnce);
    response.once('close', () => (atOnce -= 1));
  });
  const { checker } = check({ kind: 'http', url });
  await eventually(() => asked >= 4, { withinMs: 20_000, what: 'four questions' });
  expect(most).toBe(1);
  expect(checker.health()).toMatchObject({ healthy: false, detail: 'no answer within 100 ms' });
});

test('a body without end is not waited for', async () => {
  const url = await web((_request, response) => {
    response.writeHead(200);
    const timer = setInterval(() => response.write('more'), 5);
    response.once('close', () => clearInterval(timer));
  });
  const { told } = check({ kind: 'http', url });
  await eventually(() => told.length === 1, { withinMs: 20_000, what: 'healthy' });
  expect(told).toEqual([true]);
});

test('nobody there: no connection, and the address stays untold', async () => {
  const server = createTcpServer();
  const port = await listening(server);
  server.close();
  const web = check({ kind: 'http', url: `http://127.0.0.1:${port}/?key=s3cret` });
  await untilDetail(web.checker, /^no answer: ECONNREFUSED$/);
  const tcp = check({ kind: 'tcp', host: '127.0.0.1', port });
  await untilDetail(tcp.checker, /^no connection: ECONNREFUSED$/);
  expect([web.checker.health().healthy, tcp.checker.health().healthy]).toEqual([false, false]);
});

test('TCP: a connection is enough', async () => {
  const port = await listening(createTcpServer((socket) => socket.resume()));
  const { checker, told } = check({ kind: 'tcp', host: '127.0.0.1', port });
  await eventually(() => told.length === 1, { withinMs: 20_000, what: 'healthy' });
  expect(checker.health()).toMatchObject({ healthy: true, detail: 'accepts connections' });
});

test('exec: the exit code says it, and signals do', async () => {
  const file = join(folder, 'verdict');
  writeFileSync(file, 'exit 0');
  const { checker, told } = check({ kind: 'exec', command: `. ${file}` }, { timeoutMs: 2000 });
  await eventually(() => told.length === 1, { withinMs: 20_000, what: 'healthy' });
  writeFileSync(file, 'exit 7');
  await untilDetail(checker, /^the command ended with exit code 7$/);
  writeFileSync(file, 'kill -9 $$');
  await untilDetail(checker, /^the command died of SIGKILL$/);
  expect(checker.health().healthy).toBe(false);
});

test('exec: a command that hangs, forks and does not obey is killed as a group, every time', async () => {
  const file = join(folder, 'groups');
  const stubborn = 'trap "" TERM INT; (trap "" TERM; sleep 1000) & sleep 1000';
  const { checker } = check({ kind: 'exec', command: `echo $$ >> ${file}; ${stubborn}` });
  const groups = (): readonly number[] => readFileSync(file, 'utf8').trim().split('\n').map(Number);
  await eventually(() => groups().length >= 3, { withinMs: 10_000, what: 'three checks' });
  expect(checker.health()).toMatchObject({ healthy: false, detail: 'no answer within 100 ms' });
  checker.stop();
  for (const group of groups()) await untilGone(group, 2000);
});

test('exec: what a check leaves running is killed with its end', async () => {
  const file = join(folder, 'group');
  const { told } = check(
    { kind: 'exec', command: `echo $$ > ${file}; sleep 1000 & exit 0` },
    { timeoutMs: 2000 },
  );
  await eventually(() => told.length === 1, { withinMs: 20_000, what: 'healthy' });
  await untilGone(Number(readFileSync(file, 'utf8')), 2000);
  expect(told).toEqual([true]);
});

test('beside run: healthy while it starts, and judged from its first pass on', async () => {
  let status = 503;
  const url = await web((_request, response) => response.writeHead(status).end());
  const { checker, told } = check({ kind: 'http', url }, { beside: 'run' });
  await untilDetail(checker, /^starting: answered 503$/);
  expect(checker.health().healthy).toBe(true);
  status = 200;
  await untilDetail(checker, /^answered 200$/);
  expect(told).toEqual([]);
  status = 503;
  await eventually(() => told.length === 1, { withinMs: 20_000, what: 'unhealthy' });
  expect(told).toEqual([false]);
});
