// What systemd is told: by the real systemd-notify, to a real datagram socket. Elections are stood in for, since only
// their reports matter here.
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { electionName, fencingToken, memberId, revision } from '../../src/core/model.ts';
import type { Report } from '../../src/core/report.ts';
import type { Elections, Notice } from '../../src/ports.ts';
import { notifyServiceManager } from '../../src/process/service-manager.ts';
import type { ServiceManager } from '../../src/process/service-manager.ts';
import { openNotifySocket, systemdTools } from '../harness/systemd.ts';
import type { NotifySocket } from '../harness/systemd.ts';
import { eventually, within } from '../harness/wait.ts';

const heardWithinMs = 20_000;

let tools: NodeJS.ProcessEnv;
let folder = '';
let socket: NotifySocket;
let manager: ServiceManager | null = null;
let warnings: string[] = [];

beforeAll(async () => {
  tools = await systemdTools();
  folder = await mkdtemp(join(tmpdir(), 'electord-service-'));
}, 300_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

beforeEach(async () => {
  socket = await openNotifySocket();
  warnings = [];
});

afterEach(async () => {
  await manager?.close();
  manager = null;
  await socket.close();
});

const unknown: Report = {
  election: electionName('orders'),
  id: memberId('orders-0'),
  role: 'unknown',
  obstacle: null,
  standsBackUntil: null,
  leader: null,
  lastEnd: null,
  token: null,
  validUntil: 0,
  revision: null,
  observedAgeMs: null,
  candidates: [],
  members: [],
  control: null,
  waiting: null,
  steppingDown: false,
  leaving: null,
  failover: null,
};
const leading: Report = { ...unknown, role: 'leader', token: fencingToken(revision(4711n)) };

/** Elections whose reports the test sets; `change` tells the subscribers. */
class StandInElections implements Pick<Elections, 'names' | 'report' | 'subscribe'> {
  readonly names;
  readonly #reports: Report[];
  readonly #listeners = new Set<(notice: Notice) => void>();

  constructor(...reports: Report[]) {
    this.#reports = reports;
    this.names = reports.map(({ election }) => election);
  }

  report(name: string): Report {
    const found = this.#reports.find(({ election }) => election === name);
    if (found === undefined) throw new Error(`no election ${name}`);
    return found;
  }

  subscribe(listener: (notice: Notice) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  change(report: Report): void {
    const index = this.names.indexOf(report.election);
    const [before] = this.#reports.splice(index, 1, report);
    const previousLeader = before?.leader ?? null;
    const { election } = report;
    const notice = { kind: 'changed', election, report, previousLeader, cause: 'unknown' } as const;
    for (const listener of this.#listeners) listener(notice);
  }
}

function begin(elections: StandInElections, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const environment = { ...tools, NOTIFY_SOCKET: socket.path, ...more };
  const warn = (message: string): void => void warnings.push(message);
  manager = notifyServiceManager({ environment, elections, warn });
  return environment;
}

test('says nothing where nobody asked, and leaves its children nothing to speak with', async () => {
  const elections = new StandInElections(unknown);
  const environment: NodeJS.ProcessEnv = { ...tools, WATCHDOG_USEC: '1000' };
  delete environment['NOTIFY_SOCKET'];
  expect(notifyServiceManager({ environment, elections, warn: () => undefined })).toBeNull();
  expect(environment).not.toHaveProperty('WATCHDOG_USEC');
  const asked = begin(elections, { WATCHDOG_USEC: '60000000', WATCHDOG_PID: '1' });
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) {
    expect(asked).not.toHaveProperty(name);
  }
  await socket.message('READY=1', heardWithinMs);
});

test('ready, the role in words, a reload and the end, each once and in order', async () => {
  const elections = new StandInElections(unknown);
  begin(elections);
  const first = await socket.message('READY=1', heardWithinMs);
  expect(first).toContain('STATUS=waiting for etcd: who leads orders is not known');
  elections.change(leading);
  await socket.message('STATUS=orders-0 leads orders, term 4711', heardWithinMs);
  const leader = { id: memberId('orders-1'), token: fencingToken(revision(4712n)) };
  elections.change({ ...unknown, role: 'follower', leader: { ...unknownLeader, ...leader } });
  await socket.message('STATUS=follower of orders; orders-1 leads', heardWithinMs);
  // Nothing that is seen has changed: nothing is said.
  elections.change({ ...unknown, role: 'follower', leader: { ...unknownLeader, ...leader } });
  manager?.reloaded();
  manager?.reloaded();
  const reloading = await socket.message('RELOADING=1', heardWithinMs);
  expect(reloading).toContainEqual(expect.stringMatching(/^MONOTONIC_USEC=\d+$/));
  await eventually(() => socket.messages.at(-1)?.includes('READY=1'), {
    withinMs: heardWithinMs,
    what: 'the end of the reload',
  });
  elections.change({ ...unknown, role: 'observer', obstacle: 'standing_back' });
  manager?.stopping();
  elections.change(leading);
  await manager?.close();
  expect(socket.messages.map((lines) => lines.filter((line) => !/USEC/.test(line)))).toEqual([
    ['READY=1', expect.stringContaining('STATUS=')],
    ['STATUS=orders-0 leads orders, term 4711'],
    ['STATUS=follower of orders; orders-1 leads'],
    ['RELOADING=1'],
    ['READY=1'],
    ['STOPPING=1', 'STATUS=stepping down'],
  ]);
  expect(warnings).toEqual([]);
});

const unknownLeader = { address: null, url: null, since: null, seenAt: 0 };

test('counts where there are many elections, and says why it stands aside', async () => {
  const audit = { ...unknown, election: electionName('audit') };
  const elections = new StandInElections(leading, { ...audit, role: 'follower' });
  begin(elections);
  await socket.message('STATUS=leads 1 of 2 elections', heardWithinMs);
  elections.change(audit);
  await socket.message('STATUS=leads 1 of 2 elections; 1 not known', heardWithinMs);
  await manager?.close();
  begin(new StandInElections({ ...unknown, role: 'observer', obstacle: 'app_unhealthy' }));
  const observing = await socket.message(/^STATUS=observer/, heardWithinMs);
  expect(observing).toContain('STATUS=observer of orders (app unhealthy); nobody leads');
});

test('no id out of etcd can begin an assignment of its own, or end this process', async () => {
  const elections = new StandInElections(unknown);
  begin(elections);
  await socket.message('READY=1', heardWithinMs);
  const led = (id: string) => {
    const leader = { ...unknownLeader, id: memberId(id), token: fencingToken(revision(4712n)) };
    elections.change({ ...unknown, role: 'follower', leader });
  };
  led('x\nWATCHDOG=trigger');
  await socket.message('STATUS=follower of orders; x WATCHDOG=trigger leads', heardWithinMs);
  led('y\0');
  await socket.message('STATUS=follower of orders; y  leads', heardWithinMs);
  expect(socket.messages.flat()).not.toContain('WATCHDOG=trigger');
  expect(warnings).toEqual([]);
});

test('messages keep a distance: a thousand changes at once do not start a thousand processes', async () => {
  const elections = new StandInElections(unknown);
  begin(elections);
  await socket.message('READY=1', heardWithinMs);
  const startedAt = performance.now();
  let changes = 0;
  while (performance.now() - startedAt < 1000) {
    changes += 1;
    elections.change({ ...leading, token: fencingToken(revision(BigInt(changes))) });
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await manager?.close();
  const atMost = (performance.now() - startedAt) / 100 + 4;
  expect(changes).toBeGreaterThan(atMost);
  expect(socket.messages.length).toBeLessThanOrEqual(atMost);
});

const signs = (): number => socket.messages.filter(([line]) => line === 'WATCHDOG=1').length;

test('shows that the event loop turns, three times in the time that systemd allows', async () => {
  begin(new StandInElections(leading), {
    WATCHDOG_USEC: '1500000',
    WATCHDOG_PID: String(process.pid),
  });
  await socket.message('WATCHDOG=1', heardWithinMs);
  const before = signs();
  const startedAt = performance.now();
  await eventually(() => signs() >= before + 3, {
    withinMs: heardWithinMs,
    what: 'three more signs of life',
  });
  // Three intervals of half a second: a timer that is too fast is seen, a busy machine is not.
  expect(performance.now() - startedAt).toBeGreaterThan(900);
});

test('gives no sign where systemd waits for none, or for one of another process', async () => {
  begin(new StandInElections(leading), { WATCHDOG_USEC: '300000', WATCHDOG_PID: '1' });
  await socket.message('READY=1', heardWithinMs);
  // Forty reloads take a second to be heard: signs, at least one every 300 ms, would be among them.
  const reloads = (): number => socket.messages.filter(([line]) => line === 'RELOADING=1').length;
  for (let round = 1; round <= 40; round += 1) {
    manager?.reloaded();
    await eventually(() => reloads() === round, { withinMs: heardWithinMs, what: 'a reload' });
  }
  expect(signs()).toBe(0);
});

test('says once that it cannot be heard, and goes on', async () => {
  const elections = new StandInElections(leading);
  begin(elections, { PATH: folder });
  const warned = (): boolean => warnings.length > 0;
  await eventually(warned, { withinMs: heardWithinMs, what: 'a warning' });
  manager?.reloaded();
  manager?.stopping();
  await manager?.close();
  expect(warnings).toEqual([
    'the service manager cannot be told how we are: there is no systemd-notify on the PATH',
  ]);
});

test('the end is not held up by a service manager that does not read', async () => {
  const file = join(folder, 'systemd-notify');
  await writeFile(file, '#!/bin/sh\nexec /bin/sleep 20\n');
  await chmod(file, 0o755);
  begin(new StandInElections(leading), { PATH: folder });
  manager?.stopping();
  const closed = manager?.close() ?? Promise.reject(new Error('there is no manager'));
  await within(closed, { withinMs: 4_500, what: 'the end' });
  expect(socket.messages).toEqual([]);
});
