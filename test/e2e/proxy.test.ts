// Proxies of real sidecars before real apps, on a real etcd: what clients see when the leader changes, by plan and by
// accident, and that nothing reaches who no longer leads.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from 'vitest';
import { reservePorts } from '../harness/ports.ts';
import { misled, ProxiedApp, startLoad } from '../harness/proxied-app.ts';
import type { Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { agreement, openStage, type Stage } from './stage.ts';

let stage: Stage;
const apps: ProxiedApp[] = [];
const soonMs = 20_000;
/** For so long the sidecar of a leader promises that nobody else leads. */
const promiseMs = 150;

beforeAll(async () => {
  stage = await openStage({ size: 1 });
});
afterEach(async () => {
  await stage.clear();
  await Promise.all(apps.splice(0).map((app) => app.kill()));
});
afterAll(() => stage.end());

interface Place {
  readonly sidecar: Sidecar;
  readonly app: ProxiedApp;
  readonly http: string;
  readonly reads: string;
  readonly tcp: number;
}

/** Three sidecars, each with an app, an http proxy to the leader, one to followers, and a tcp one. */
async function places(election: string, args: readonly string[] = []): Promise<readonly Place[]> {
  return Promise.all(
    ['a', 'b', 'c'].map(async (id) => {
      const app = await ProxiedApp.start(id);
      apps.push(app);
      const [http = 0, reads = 0, tcp = 0] = await reservePorts(3);
      const proxies = [
        `--proxy=http://127.0.0.1:${http}=leader,http://127.0.0.1:${reads}=followers`,
        `--proxy=tcp://127.0.0.1:${tcp}=leader`,
      ];
      const wish = { election, id, args: [`--advertise=${app.address}`, ...proxies, ...args] };
      const sidecar = await stage.sidecar(wish);
      const url = (port: number): string => `http://127.0.0.1:${port}`;
      return { sidecar, app, http: url(http), reads: url(reads), tcp };
    }),
  );
}

async function led(all: readonly Place[]) {
  const { leader, others } = await agreement(all.map(({ sidecar }) => sidecar));
  const of = (one: Sidecar): Place => all.find(({ sidecar }) => sidecar === one)!;
  return { leader: of(leader), others: others.map(of) };
}

const post = (url: string, body = 'x', headers: Record<string, string> = {}) =>
  fetch(url, { method: 'POST', body, headers });

async function switchover(from: Place, to: Place): Promise<void> {
  const body = JSON.stringify({ to: to.sidecar.id });
  const headers = { 'Content-Type': 'application/json' };
  const answer = await from.sidecar.get('/switchover', {
    method: 'POST',
    local: true,
    body,
    headers,
  });
  expect(answer.status).toBeLessThan(300);
}

/** Writers at all proxies; resolves once their writes have reached the leader. */
async function loaded(
  all: readonly Place[],
  { app }: Place,
): Promise<ReturnType<typeof startLoad>> {
  const load = startLoad({ urls: all.map(({ http }) => http), connections: 60, perSecond: 300 });
  await eventually(() => app.arrivals.length > 200, { withinMs: soonMs, what: 'writes' });
  return load;
}

/** Once their writes have reached the next leader: none has failed, and none has reached who had ceased to lead. */
async function expectNoneFailed(
  load: ReturnType<typeof startLoad>,
  all: readonly Place[],
  { app: next }: Place,
): Promise<void> {
  await eventually(() => next.arrivals.length > 200, { withinMs: soonMs, what: 'writes there' });
  const written = await load.stop();
  expect(written.filter(({ ok }) => !ok)).toEqual([]);
  expect(
    misled(
      all.map(({ app }) => app),
      written,
    ),
  ).toEqual([]);
}

test('a planned switchover under load fails no write, and none reaches who has ceased to lead', async () => {
  const all = await places('planned');
  const { leader, others } = await led(all);
  const load = await loaded(all, leader);
  await switchover(leader, others[0]!);
  await expectNoneFailed(load, all, others[0]!);
});

test('a step-down hook that takes seconds fails no write: all wait from the moment when it begins', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'electord-proxy-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const [begun, go] = [join(folder, 'begun'), join(folder, 'go')];
  const hook = `exec:touch ${begun}; until [ -e ${go} ]; do sleep 0.05; done`;
  const all = await places('hooked', [`--on-step-down=${hook}`]);
  const { leader, others } = await led(all);
  const load = await loaded(all, leader);
  const done = switchover(leader, others[0]!);
  await eventually(() => existsSync(begun), { withinMs: soonMs, what: 'the hook' });
  // The promise of another instance lasts for a moment; after that everybody waits.
  await delay(2 * promiseMs);
  const before = leader.app.arrivals.length;
  await delay(500);
  expect(leader.app.arrivals.length).toBe(before);
  writeFileSync(go, '');
  await done;
  await expectNoneFailed(load, all, others[0]!);
});

test('nothing is sent to a leader whose sidecar does not answer, though etcd still names it', async () => {
  const all = await places('silent', ['--ttl=5s']);
  const { leader, others } = await led(all);
  expect(await (await post(others[0]!.http)).text()).toBe(leader.app.name);
  leader.sidecar.signal('SIGSTOP');
  // What it had promised is over.
  await delay(promiseMs);
  const before = Date.now();
  const answer = await post(others[0]!.http);
  const successor = await answer.text();
  expect(successor).not.toBe(leader.app.name);
  expect(Date.now() - before).toBeLessThan(10_000);
  const late = leader.app.arrivals.length;
  leader.sidecar.signal('SIGCONT');
  // Its own proxy as well: a pause is over, its claim too.
  expect(await (await post(leader.http)).text()).toBe(successor);
  expect(leader.app.arrivals.length).toBe(late);
});

test('a dead app: what is safe to repeat waits for the next leader, what may have been done fails', async () => {
  const all = await places('dead', ['--ttl=2s', '--app-check-interval=200ms']);
  const { leader, others } = await led(all);
  const url = others[0]!.http;
  const hanging = [post(`${url}/hang`), fetch(`${url}/slow`)] as const;
  await eventually(() => leader.app.asked.length >= 2, { withinMs: soonMs, what: 'both there' });
  await leader.app.kill();
  const later = post(url);
  leader.sidecar.signal('SIGKILL');
  const [write, read, waited] = await Promise.all([...hanging, later]);
  expect(write.status).toBe(502);
  expect(await write.json()).toMatchObject({ code: 'app_broke_off' });
  expect(read.status).toBe(200);
  expect(waited.status).toBe(200);
  expect(await read.text()).not.toBe(leader.app.name);
});

test('says to the app who asked, by which way and in which term, and passes on all else', async () => {
  const all = await places('headers');
  const { leader, others } = await led(all);
  const forged = { 'X-Electord-Fencing-Token': '1', 'X-Forwarded-For': '192.0.2.1', Via: 'x' };
  const answer = await post(`${others[0]!.http}/echo?q=1`, 'a body', forged);
  const body = (await answer.json()) as { headers: Record<string, string> };
  expect(body).toMatchObject({
    method: 'POST',
    url: '/echo?q=1',
    body: 'a body',
    by: leader.app.name,
  });
  const { fencingToken } = (await leader.sidecar.get<{ fencingToken: string }>('/leader')).body;
  expect(body.headers).toMatchObject({
    'x-electord-fencing-token': fencingToken,
    'x-forwarded-for': '192.0.2.1, 127.0.0.1',
    'x-forwarded-proto': 'http',
    'x-forwarded-host': others[0]!.http.replace('http://', ''),
    host: others[0]!.http.replace('http://', ''),
    via: 'x',
  });
  // Larger than what is read ahead: streamed.
  const large = 'y'.repeat(300_000);
  const streamed = (await (await post(`${others[0]!.http}/echo`, large)).json()) as {
    body: string;
  };
  expect(streamed.body).toBe(large);
  const circle = await post(others[0]!.http, 'x', { 'X-Electord-Hops': '4' });
  expect(circle.status).toBe(508);
});

test('reads go to followers in turn, and to the leader where there is no other', async () => {
  const all = await places('reads');
  const { leader, others } = await led(all);
  const read = async (): Promise<string> => (await fetch(leader.reads)).text();
  const seen = new Set<string>();
  for (let each = 0; each < 12; each += 1) seen.add(await read());
  expect(seen).toEqual(new Set(others.map(({ app }) => app.name)));
  const hung = others.map(() => fetch(`${leader.reads}/slow`).then((one) => one.text()));
  expect(new Set(await Promise.all(hung))).toEqual(new Set(others.map(({ app }) => app.name)));
  for (const { app } of others) await app.kill();
  expect(await read()).toBe(leader.app.name);
});

test('a tcp connection is ended when its leader ceases to lead; one that owes an answer gives it first', async () => {
  const all = await places('tcp');
  const { leader, others } = await led(all);
  const open = (): {
    socket: ReturnType<typeof connect>;
    text: () => string;
    closed: Promise<unknown>;
  } => {
    const socket = connect({ host: '127.0.0.1', port: others[0]!.tcp });
    let text = '';
    socket.setEncoding('utf8').on('data', (part: string) => (text += part));
    socket.on('error', () => undefined);
    return {
      socket,
      text: () => text,
      closed: new Promise((resolve) => socket.on('close', resolve)),
    };
  };
  const ask = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';
  const idle = open();
  idle.socket.write(ask);
  await eventually(() => idle.text().includes(leader.app.name), {
    withinMs: soonMs,
    what: 'an answer',
  });
  const slow = open();
  slow.socket.write(ask.replace('GET /', 'GET /slow'));
  const isThere = (): boolean => leader.app.asked.includes('/slow');
  await eventually(isThere, { withinMs: soonMs, what: 'the slow one there' });
  await switchover(leader, others[1]!);
  await idle.closed;
  await slow.closed;
  expect(slow.text()).toContain('200 OK');
  const anew = open();
  anew.socket.write(ask);
  const { name } = others[1]!.app;
  await eventually(() => anew.text().includes(name), { withinMs: soonMs, what: 'the next' });
  anew.socket.destroy();
});
