// The least role: the commands that `electord etcd-role` prints, run on a real etcd with authentication; with it sidecars
// lead, hand over and write all that they write, and nothing outside.
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { projectFolder } from '../harness/binaries.ts';
import type { LeaderAnswer } from '../harness/sidecar.ts';
import { agreement, openStage, type Stage } from './stage.ts';

const program = join(projectFolder, 'dist', 'electord.js');
const password = 'pw-least-of-all';
let stage: Stage;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'electord-role-'));
  stage = await openStage({ size: 1, auth: { username: 'other', password: 'pw-other' } });
});
afterAll(async () => {
  await stage.end();
  await rm(folder, { recursive: true, force: true });
});

test('a sidecar with the role that is printed does all its work, and is refused a key outside', async () => {
  const { cluster } = stage;
  const run = promisify(execFile);
  const publish = '--publish=/service/{election}/leader={id}';
  const args = ['etcd-role', '--election=least', '--user=least-user', publish];
  const { stdout } = await run(process.execPath, [program, ...args]);
  for (const line of stdout.trim().split('\n')) {
    const [etcdctl, ...words] = line.split(' ');
    expect(etcdctl).toBe('etcdctl');
    // The password is asked for on a terminal.
    const isUser = words[0] === 'user' && words[1] === 'add';
    await cluster.etcdctl(isUser ? [...words.slice(0, -1), `${words.at(-1)}:${password}`] : words);
  }
  const file = join(folder, 'password');
  await writeFile(file, password);
  const own = [
    '--etcd-username=least-user',
    `--etcd-password-file=${file}`,
    '--fast-failover=2s',
    publish,
  ];
  const wish = (id: string) => ({ election: 'least', id, args: own });
  const sidecars = await Promise.all([stage.sidecar(wish('a')), stage.sidecar(wish('b'))]);
  const { leader, others } = await agreement(sidecars);

  const put = { method: 'PUT', headers: { 'If-None-Match': '*' }, body: 'green', local: true };
  expect((await leader.get('/state/colour', put)).status).toBe(200);
  const headers = { 'Content-Type': 'application/json' };
  const post = { method: 'POST', headers, body: '{"n":1}', local: true };
  expect((await leader.get('/journal', post)).status).toBe(201);
  const body = JSON.stringify({ to: others[0]!.id, reason: 'to see it' });
  const switched = await leader.get('/switchover', {
    ...{ method: 'POST', headers, body, local: true, timeoutMs: 20_000 },
  });
  expect(switched.status).toBe(200);
  const after = await agreement(sidecars);
  expect(after.leader.id).toBe(others[0]!.id);
  const history = (await after.leader.get('/history')).text;
  expect(history).toContain('"switchover"');
  expect((await after.leader.get('/audit', { local: true })).text).toContain('to see it');
  const leads = (await leader.get<LeaderAnswer>('/leader')).body.leader?.id;
  const value = ['get', '--print-value-only', '/service/least/leader'];
  expect((await cluster.etcdctl(value)).trim()).toBe(leads);
  for (const sidecar of sidecars) expect(sidecar.output()).not.toMatch(/denied/);

  const login = `--user=least-user:${password}`;
  const refused = async (words: readonly string[]): Promise<void> => {
    const { child, lines } = await stage.etcdctl([login, ...words]);
    await child.exited;
    expect(lines.join('\n')).toContain('permission denied');
  };
  await refused(['put', '/electord/other/control', 'x']);
  await refused(['get', '--prefix', '/electord/']);
  await refused(['put', '/electord/', 'x']);
  for (const sidecar of sidecars) expect((await sidecar.stop()).code).toBe(0);

  // Where it may not publish it leads all the same, says so, and leaves its record.
  const more = [...own, '--publish=/elsewhere={id}'];
  const third = await stage.sidecar({ election: 'least', id: 'c', args: more });
  await third.waitFor(({ isLeader }) => isLeader, 20_000);
  const text = 'the term is, but what it publishes is not';
  const line = await third.waitForLog(({ msg }) => String(msg).includes(text), 20_000);
  expect(String(line['msg'])).toContain('permission denied');
  expect((await third.get('/history')).text).toContain('"leader":"c"');
  expect((await third.stop()).code).toBe(0);
  expect((await cluster.etcdctl(['get', '/electord/least/handover'])).trim()).toContain(
    '"from":"c"',
  );
  expect((await cluster.etcdctl(['get', '/elsewhere'])).trim()).toBe('');
}, 60_000);
