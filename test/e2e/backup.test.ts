// `backup` and `restore` on real etcds: what an election has comes back whole, into the same etcd or into another that is
// behind, and no fencing token is ever given twice.
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { spawnGuarded } from '../../src/dev/etcd-child.ts';
import { projectFolder } from '../harness/binaries.ts';
import type { LeaderAnswer, Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { agreement, openStage, type Stage } from './stage.ts';

let source: Stage;
let target: Stage;
let folder: string;
let file: string;

beforeAll(async () => {
  [source, target] = await Promise.all([
    openStage({ size: 1 }),
    openStage({ size: 1, version: '3.4' }),
  ]);
  folder = await mkdtemp(join(tmpdir(), 'electord-backup-'));
  file = join(folder, 'orders.backup');
});
afterEach(() => Promise.all([source.clear(), target.clear()]));
afterAll(async () => {
  await Promise.all([source.end(), target.end()]);
  await rm(folder, { recursive: true, force: true });
});

interface Ran {
  readonly code: number | null;
  readonly said: string;
}

async function run(stage: Stage, command: string, ...args: readonly string[]): Promise<Ran> {
  return runInShell('exec "$@"', stage, command, ...args);
}

/** `script` has the command as its arguments. */
async function runInShell(
  script: string,
  stage: Stage,
  command: string,
  ...args: readonly string[]
): Promise<Ran> {
  const said: string[] = [];
  const words = [command, `--etcd=${stage.cluster.endpoints.join(',')}`, ...args];
  const program = [process.execPath, join(projectFolder, 'dist/electord.js')];
  const child = await spawnGuarded({
    file: '/bin/sh',
    args: ['-c', script, 'sh', ...program, ...words],
    env: process.env,
    onLine: (line) => said.push(line),
  });
  const { code } = await child.exited;
  return { code, said: said.join('\n') };
}

const leading = (sidecar: Sidecar): Promise<string> =>
  eventually(
    async () => {
      const { status, body } = await sidecar.get<LeaderAnswer>('/elections/orders/leader');
      return status === 200 && body.fencingToken;
    },
    { withinMs: 20_000, what: 'its election' },
  );

const put = (sidecar: Sidecar, key: string, body: string, type: string) =>
  sidecar.get(`/elections/orders/state/${key}`, {
    local: true,
    method: 'PUT',
    headers: { 'content-type': type },
    body,
    timeoutMs: 10_000,
  });
const append = (sidecar: Sidecar, n: number) =>
  sidecar.get<{ seq: number }>('/elections/orders/journal', {
    local: true,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ n }),
    timeoutMs: 10_000,
  });
const contents = async (sidecar: Sidecar) => {
  const at = (path: string) => sidecar.get(`/elections/orders${path}`, { local: true });
  const [text, binary, journal] = await Promise.all([
    at('/state/config/colour'),
    at('/state/large'),
    at('/journal?after=0&limit=1000'),
  ]);
  return {
    text: [
      text.status,
      text.text,
      text.headers['content-type'],
      text.headers['x-electord-fencing-token'],
    ],
    large: [binary.status, binary.text.length],
    journal: journal.body,
  };
};
const termsOf = async (sidecar: Sidecar) =>
  (
    await sidecar.get<{ terms: { fencingToken: string; leader: string }[] }>(
      '/elections/orders/history',
    )
  ).body.terms;

test(
  'what an election has comes back whole in another etcd, and tokens go on rising',
  { timeout: 120_000 },
  async () => {
    const first = await source.sidecar({ election: 'orders,other', id: 'a' });
    const token = await leading(first);
    expect((await put(first, 'config/colour', 'grün', 'text/plain;charset=utf-8')).status).toBe(
      200,
    );
    expect((await put(first, 'large', 'x'.repeat(900_000), 'text/plain')).status).toBe(200);
    for (let n = 1; n <= 70; n += 1) expect((await append(first, n)).body.seq).toBe(n);
    const before = await contents(first);
    const terms = await termsOf(first);
    expect(terms.map(({ fencingToken }) => fencingToken)).toContain(token);

    // While somebody leads: a backup disturbs nobody.
    const saved = await run(source, 'backup', '--election=orders,other', `--output=${file}`);
    expect(saved).toMatchObject({ code: 0 });
    expect((await contents(first)).journal).toEqual(before.journal);

    // Into a cluster that has seen far fewer revisions.
    const restored = await run(target, 'restore', '--election=orders', `--input=${file}`);
    expect(restored, restored.said).toMatchObject({ code: 0 });
    expect(restored.said).toMatch(/revision was raised by \d+/);
    const second = await target.sidecar({ election: 'orders', id: 'b' });
    const after = await agreement([second]);
    expect(BigInt(after.token)).toBeGreaterThan(BigInt(token));
    expect(await contents(second)).toEqual(before);
    expect((await append(second, 71)).body.seq).toBe(71);
    expect((await termsOf(second)).slice(-terms.length)).toMatchObject(
      terms.map(({ fencingToken, leader }) => ({ fencingToken, leader })),
    );

    // Somebody campaigns: nothing is written. Nobody does, but something is there: only if asked.
    const busy = await run(target, 'restore', '--election=orders', `--input=${file}`, '--replace');
    expect(busy).toMatchObject({ code: 1 });
    expect(busy.said).toContain('somebody campaigns in orders');
    expect((await append(second, 72)).body.seq).toBe(72);
    expect((await second.stop()).code).toBe(0);
    const refused = await run(target, 'restore', '--election=orders', `--input=${file}`);
    expect(refused).toMatchObject({ code: 64 });
    expect(refused.said).toContain('--replace');
    const replaced = await run(
      target,
      'restore',
      '--election=orders',
      `--input=${file}`,
      '--replace',
    );
    expect(replaced, replaced.said).toMatchObject({ code: 0 });
    const third = await target.sidecar({ election: 'orders', id: 'c' });
    expect(BigInt((await agreement([third])).token)).toBeGreaterThan(BigInt(after.token));
    expect(await contents(third)).toEqual(before);
  },
);

test('half a file, a changed one, one of something else: refused before anything is written', async () => {
  const text = await readFile(file, 'utf8');
  const damaged = join(folder, 'damaged');
  const cases = {
    'is damaged': text.replace('"value":"', '"value":"AAAA'),
    'is not what it should be': text.split('\n').slice(0, 20).join('\n'),
    'is empty or cut short': '',
    'is not JSON': 'state: 1\n',
    'has format 2': text.replace('"v":1', '"v":2'),
  };
  for (const [what, content] of Object.entries(cases)) {
    await writeFile(damaged, content);
    const tried = await run(
      target,
      'restore',
      '--election=orders',
      '--replace',
      `--input=${damaged}`,
    );
    expect(tried, what).toMatchObject({ code: 1 });
    expect(tried.said).toContain(what);
  }
  await writeFile(damaged, text.replace('"key":"journal/head"', '"key":"candidates/1"'));
  const strange = await run(target, 'restore', '--election=orders', `--input=${damaged}`);
  expect(strange.said).toContain('is not what it should be');
  const absent = await run(target, 'restore', '--election=orders', `--input=${damaged}-not`);
  expect(absent).toMatchObject({ code: 64 });
  const another = await run(target, 'restore', '--election=payments', `--input=${file}`);
  expect(another).toMatchObject({ code: 1 });
  expect(another.said).toContain('has nothing of payments');
  expect(await target.keys('orders')).toContain('/electord/orders/state/config/colour');
});

/** By etcd's JSON gateway, which takes larger values than a command line. */
async function putAsOther({ cluster }: Stage, key: string, value: string): Promise<void> {
  const [url = ''] = cluster.endpoints;
  const inBase64 = (text: string): string => Buffer.from(text).toString('base64');
  const body = JSON.stringify({ key: inBase64(key), value: inBase64(value) });
  const answer = await fetch(`${url}/v3/kv/put`, { method: 'POST', body });
  expect(answer.status).toBe(200);
}

test('a backup that could not be written is no success', async () => {
  const full = await runInShell('exec "$@" > /dev/full', target, 'backup', '--election=orders');
  expect(full).toMatchObject({ code: 1 });
  expect(full.said).toContain('there is no backup: the standard output cannot be written');
  const unread = await runInShell('"$@" | : ; exit 0', target, 'backup', '--election=orders');
  expect(unread.said).toContain('there is no backup');
  const device = join(folder, 'device');
  await symlink('/dev/null', device);
  for (const output of [join(folder, 'not', 'there'), folder, device]) {
    const tried = await run(target, 'backup', '--election=orders', `--output=${output}`);
    expect(tried).toMatchObject({ code: 1 });
    expect(tried.said).toContain(`there is no backup: ${output} cannot be written`);
  }
  expect((await stat(device)).isFile()).toBe(false);
});

test('a name that etcd knows nothing of: 64, and the good file stays', async () => {
  const kept = join(folder, 'kept.backup');
  await writeFile(kept, 'as it was');
  await putAsOther(target, '/electord/there/state/a', 'b');
  for (const elections of ['odrers', 'there,odrers']) {
    const tried = await run(target, 'backup', `--election=${elections}`, `--output=${kept}`);
    expect(tried).toMatchObject({ code: 64 });
    expect(tried.said).toContain('etcd has nothing of odrers under /electord');
  }
  const nowhere = await run(target, 'backup', '--all', '--prefix=/else', `--output=${kept}`);
  expect(nowhere).toMatchObject({ code: 64 });
  expect(await readFile(kept, 'utf8')).toBe('as it was');
  const piped = await run(target, 'backup', '--election=odrers');
  expect(piped.said).not.toContain('electord-backup');
});

test('--all saves every election and restores it; --as restores one under another name', async () => {
  const prefix = '--prefix=/all';
  const names = ['a', 'a-b', 'a.b', 'z'];
  for (const name of names) await putAsOther(target, `/all/${name}/state/key`, `of ${name}`);
  for (let n = 0; n < 5; n += 1) await putAsOther(target, `/all/a/state/more-${n}`, 'x');
  // No election, and one of which nothing would be saved.
  await putAsOther(target, '/all/loose', 'x');
  await putAsOther(target, '/all/only-verbs/verbs', '{}');
  const whole = join(folder, 'all.backup');
  const saved = await run(target, 'backup', '--all', prefix, `--output=${whole}`);
  expect(saved, saved.said).toMatchObject({ code: 0 });
  expect(saved.said).toContain('9 keys of a-b, a.b, a, z are in ');

  const back = await run(source, 'restore', '--all', prefix, `--input=${whole}`);
  expect(back, back.said).toMatchObject({ code: 0 });
  for (const name of names) expect(back.said).toMatch(new RegExp(`${name}: \\d keys of \\d{4}-`));

  const renamed = ['--election=a-b', '--as=copy', prefix, `--input=${whole}`];
  const copied = await run(source, 'restore', ...renamed);
  expect(copied, copied.said).toMatchObject({ code: 0 });
  expect(copied.said).toContain('copy: 1 keys of a-b of ');
  const value = ['get', '--print-value-only', '/all/copy/state/key'];
  expect(await source.cluster.etcdctl(value)).toBe('of a-b\n');
  // Now there is something under that name.
  expect(await run(source, 'restore', ...renamed)).toMatchObject({ code: 64 });

  const cases = [
    ['backup', '--all', '--election=a'],
    ['restore', '--all', '--as=copy', `--input=${whole}`],
    ['restore', '--election=z', '--as=two words', `--input=${whole}`],
  ] as const;
  for (const [command, ...args] of cases) {
    expect(await run(source, command, prefix, ...args), args.join(' ')).toMatchObject({ code: 64 });
  }
});

test('a restore that cannot make tokens rise has removed nothing', async () => {
  const header = {
    ...{ format: 'electord-backup', v: 1, takenAt: '2026-01-01T00:00:00.000Z' },
    ...{ prefix: '/electord', elections: ['kept'], revision: '99000000' },
  };
  const first = `${JSON.stringify(header)}\n`;
  const sha256 = createHash('sha256').update(first).digest('hex');
  const ahead = join(folder, 'ahead');
  await writeFile(ahead, `${first}${JSON.stringify({ end: true, keys: 0, sha256 })}\n`);
  await putAsOther(target, '/electord/kept/state/a', 'b');
  const tried = await run(target, 'restore', '--election=kept', '--replace', `--input=${ahead}`);
  expect(tried).toMatchObject({ code: 1 });
  expect(tried.said).toContain('--bump-revision');
  expect(await target.keys('kept')).toContain('/electord/kept/state/a');
});

test('whatever other programs wrote under state/ comes back: large values, line separators', async () => {
  const wide = 'x'.repeat(1_400_000);
  for (const n of [1, 2, 3]) await putAsOther(source, `/electord/wide/state/${n}`, wide);
  await putAsOther(source, '/electord/wide/state/a\u2028b', 'c');
  const saved = join(folder, 'wide.backup');
  const made = await run(source, 'backup', '--election=wide', `--output=${saved}`);
  expect(made, made.said).toMatchObject({ code: 0 });
  const back = await run(source, 'restore', '--election=wide', `--input=${saved}`, '--replace');
  expect(back, back.said).toMatchObject({ code: 0 });
  expect(back.said).toContain('4 keys');
  expect(await source.keys('wide')).toContain('/electord/wide/state/a\u2028b');
  const again = join(folder, 'wide-again.backup');
  expect(await run(source, 'backup', '--election=wide', `--output=${again}`)).toMatchObject({
    code: 0,
  });
  const keysIn = async (path: string): Promise<readonly string[]> =>
    (await readFile(path, 'utf8')).split('\n').slice(1, -2);
  const written = await keysIn(saved);
  expect(written.length).toBe(4);
  // Not `toEqual`, which would print megabytes.
  expect((await keysIn(again)).every((line, index) => line === written[index])).toBe(true);
});

test('unusable settings are told as serve tells them', async () => {
  const tried = await run(source, 'backup', '--election=a b', '--prefix=x');
  expect(tried).toMatchObject({ code: 78 });
  expect(tried.said).toContain('--election');
  expect(tried.said).toContain('--prefix');
});
