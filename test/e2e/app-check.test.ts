// The app check of real sidecars: an app that fails, hangs, is slow or dies costs the leadership, keeps out of it, and
// never two lead; and when all are unhealthy nobody leads, unless that was asked for.
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { MembersAnswer } from '../../src/contract.ts';
import { untilGone } from '../harness/process-groups.ts';
import type { Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { Probe, staleClaims } from './claims.ts';
import { agreement, knowsRecords, openStage, type Stage } from './stage.ts';

let stage: Stage;
const apps: App[] = [];

beforeAll(async () => {
  stage = await openStage({ size: 1 });
});
afterEach(async () => {
  for (const app of apps.splice(0)) app.die();
  await stage.clear();
});
afterAll(() => stage.end());

/** An app whose health a test decides. */
interface App {
  readonly url: string;
  behave(how: 'well' | 'failing' | 'hanging'): void;
  die(): void;
}

async function startApp(how: 'well' | 'failing' | 'hanging' = 'well'): Promise<App> {
  let now = how;
  const server: Server = createServer((_request, response) => {
    if (now !== 'hanging') response.writeHead(now === 'well' ? 200 : 500).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const app: App = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/healthz?key=s3cret`,
    behave: (next) => (now = next),
    die: () => {
      server.closeAllConnections();
      server.close();
    },
  };
  apps.push(app);
  return app;
}

const quick = ['--app-check-interval=300ms', '--app-check-fall=2', '--app-check-rise=2'];
const beside = (election: string, id: string, { url }: App, more: readonly string[] = []) =>
  stage.sidecar({ election, id, args: [`--app-check=${url}`, ...quick, ...more] });

const health = async (sidecar: Sidecar) =>
  sidecar.get<{ checks: { app?: { ok: boolean; detail: string } } }>('/health');

test.each(['failing', 'hanging', 'dead'] as const)(
  'a leader whose app is %s steps down, and another leads',
  async (how) => {
    const [one, other] = [await startApp(), await startApp()];
    const first = await beside(`app-${how}`, 'a', one);
    const claim = await first.waitFor(({ isLeader }) => isLeader, 20_000);
    const token = claim.body.fencingToken!;
    const second = await beside(`app-${how}`, 'b', other);
    await agreement([first, second]);
    const probe = new Probe([first, second]);
    if (how === 'dead') one.die();
    else one.behave(how);
    const next = await second.waitFor(({ isLeader }) => isLeader, 20_000);
    expect(BigInt(next.body.fencingToken!)).toBeGreaterThan(BigInt(token));
    await first.waitFor(({ role }) => role === 'observer', 20_000);
    const unhealthy = await health(first);
    expect(unhealthy).toMatchObject({ status: 503, body: { checks: { app: { ok: false } } } });
    expect(unhealthy.text).not.toContain('s3cret');
    expect((await health(second)).body.checks.app).toEqual({ ok: true, detail: 'answered 200' });
    const handover = await stage.cluster.etcdctl([
      ...['get', '--print-value-only', `/electord/app-${how}/handover`],
    ]);
    expect(JSON.parse(handover)).toMatchObject({ from: 'a', token, cause: 'app_unhealthy' });
    expect(staleClaims(await probe.end())).toEqual([]);
  },
);

test('an unhealthy app does not campaign, and leads once it is well', async () => {
  const app = await startApp('failing');
  const only = await beside('late', 'a', app);
  await only.waitFor(({ role }) => role === 'observer', 20_000);
  const detail = async (): Promise<boolean> =>
    (await health(only)).body.checks.app?.detail === 'answered 500';
  await eventually(detail, { withinMs: 20_000, what: 'a failed check' });
  expect((await stage.keys('late')).some((key) => key.includes('/candidates/'))).toBe(false);
  app.behave('well');
  const leader = await only.waitFor(({ isLeader }) => isLeader, 20_000);
  expect(leader.body.leader?.id).toBe('a');
});

test('after a bad term it stands back for a while', async () => {
  const app = await startApp();
  const only = await beside('back-off', 'a', app);
  await only.waitFor(({ isLeader }) => isLeader, 20_000);
  app.behave('failing');
  const lost = await only.waitFor(({ role }) => role === 'observer', 20_000);
  app.behave('well');
  const again = await only.waitFor(({ isLeader }) => isLeader, 20_000);
  // Five seconds after the first bad term; most of a second for checks and their rise.
  expect(again.receivedAt - lost.receivedAt).toBeGreaterThan(4000);
});

test('when all are unhealthy nobody leads, unless that was asked for', async () => {
  const [one, other] = [await startApp('failing'), await startApp('failing')];
  const none = await beside('nobody', 'a', one);
  await none.waitFor(({ role }) => role === 'observer', 20_000);
  const lead = ['--when-all-unhealthy=lead'];
  const sidecars = [
    await beside('somebody', 'a', one, lead),
    await beside('somebody', 'b', other, lead),
  ];
  const { leader, others } = await agreement(sidecars);
  expect(none.output()).not.toContain('"leads nobody"');
  // As soon as one is better off, it leads.
  const better = leader.id === 'a' ? other : one;
  better.behave('well');
  await others[0]!.waitFor(({ isLeader }) => isLeader, 20_000);
  expect((await health(others[0]!)).status).toBe(200);
});

test('a command that hangs makes the app unhealthy, and nothing of it is left with the sidecar', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'electord-check-'));
  const file = join(folder, 'groups');
  const groups = (): readonly number[] => readFileSync(file, 'utf8').trim().split('\n').map(Number);
  try {
    const command = `echo $$ >> ${file}; trap "" TERM; (sleep 1000) & sleep 1000; sleep 1000`;
    const sidecar = await stage.sidecar({
      election: 'exec',
      id: 'a',
      args: [`--app-check=exec:${command}`, '--app-check-interval=500ms'],
    });
    await sidecar.waitFor(({ role }) => role === 'observer', 20_000);
    await eventually(() => groups().length >= 3, { withinMs: 20_000, what: 'three checks' });
    sidecar.signal('SIGKILL');
    await sidecar.exited;
    for (const group of groups()) await untilGone(group, 2000);
    expect(groups().length).toBeGreaterThanOrEqual(3);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('an app that is advertised and not checked is called just that, and warned of at start', async () => {
  const election = 'not-checked';
  const advertised = ['--advertise=http://127.0.0.1:1'];
  const one = await stage.sidecar({ election, id: 'a', args: advertised });
  const other = await beside(election, 'b', await startApp(), advertised);
  await one.waitForLog(
    (line) => line['level'] === 'warn' && String(line['msg']).includes('without --app-check'),
    20_000,
  );
  // It says so before it answers.
  await one.waitFor(() => true, 20_000);
  expect((await health(one)).body.checks.app).toEqual({
    ok: true,
    detail: 'not checked: no --app-check is configured',
  });
  const { body } = await one.get<{ app: unknown }>('/status');
  expect(body.app).toMatchObject({ checked: false });
  await knowsRecords(one, [one, other]);
  const { members } = (await one.get<MembersAnswer>('/members')).body;
  const checked = Object.fromEntries(members.map((each) => [each.id, each.checked]));
  expect(checked).toEqual({ a: false, b: true });
  await agreement([one, other]);
  expect(other.output()).not.toContain('without --app-check');
});
