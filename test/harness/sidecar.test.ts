// The sidecar harness itself, on a stand-in program that speaks just enough of the contract.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { monotonicMs, startSidecar } from './sidecar.ts';
import type { Sidecar } from './sidecar.ts';

/** Follows until it gets SIGHUP, then leads; logs its arguments; ends cleanly on SIGTERM. */
const standIn = `
import { createServer } from 'node:http';
const flags = Object.fromEntries(process.argv.slice(3).map((flag) => flag.slice(2).split(/=(.*)/s)));
let isLeader = false;
const say = (line) => console.log(JSON.stringify(line));
for (const place of [flags.listen, flags['local-listen']]) {
  const [host, port] = place.split(':');
  createServer((asked, answer) => {
    if (asked.url === '/silence') return;
    answer.writeHead(isLeader ? 200 : 503, { 'content-type': 'application/json' });
    const { method, url, headers } = asked;
    answer.end(JSON.stringify({ isLeader, place, method, url, test: headers['x-test'] }));
  }).listen(Number(port), host, () => say({ msg: 'listening', place }));
}
process.on('SIGHUP', () => { isLeader = true; say({ msg: 'leading' }); });
process.on('SIGTERM', () => process.exit(process.env.ELECTORD_TEST_END === 'bad' ? 3 : 0));
console.error('not json');
say({ msg: 'started', command: process.argv[2], flags, secret: process.env.ELECTORD_LEAK ?? null });
`;

let folder: string;
let program: string;
let sidecar: Sidecar;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'electord-stand-in-'));
  program = join(folder, 'program.mjs');
  await writeFile(program, standIn);
  process.env['ELECTORD_LEAK'] = 'from the test';
});

afterEach(async () => {
  delete process.env['ELECTORD_LEAK'];
  await sidecar.stop();
  await rm(folder, { recursive: true, force: true });
});

const basics = { election: 'orders', id: 'orders-0', etcd: ['http://127.0.0.1:1', 'http://b:2'] };

test('gives flags, its own environment, answers, logs and a clean end', async () => {
  sidecar = await startSidecar({ ...basics, program, args: ['--ttl=2s'] });
  const started = await sidecar.waitForLog((line) => line['msg'] === 'started', 10_000);
  expect(started).toMatchObject({
    command: 'serve',
    secret: null,
    flags: { election: 'orders', id: 'orders-0', etcd: 'http://127.0.0.1:1,http://b:2', ttl: '2s' },
  });
  const before = monotonicMs();
  const first = await sidecar.waitFor((leader) => !leader.isLeader, 10_000);
  expect(first.status).toBe(503);
  expect(first.sentAt).toBeGreaterThanOrEqual(before);
  expect(first.receivedAt).toBeGreaterThanOrEqual(first.sentAt);
  sidecar.signal('SIGHUP');
  const leading = await sidecar.waitFor((leader) => leader.isLeader, 10_000);
  expect(leading.status).toBe(200);
  await sidecar.waitForLog((line) => line['msg'] === 'leading', 10_000);
  const local = await sidecar.get('/x', { local: true, method: 'PUT', headers: { 'x-test': '1' } });
  expect(local.body).toMatchObject({ method: 'PUT', url: '/x', test: '1' });
  expect((local.body as { place: string }).place).toBe(sidecar.localUrl.slice('http://'.length));
  expect(sidecar.output()).toContain('not json');
  expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
});

test('a frozen sidecar does not answer, and answers again when it goes on', async () => {
  sidecar = await startSidecar({ ...basics, program });
  await sidecar.waitFor(() => true, 10_000);
  sidecar.signal('SIGSTOP');
  await expect(sidecar.get('/leader', { timeoutMs: 200 })).rejects.toThrow('no answer within 200');
  sidecar.signal('SIGCONT');
  await sidecar.waitFor(() => true, 10_000);
  sidecar.signal('SIGSTOP');
  expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
});

test('waiting is bounded and says what was seen', async () => {
  sidecar = await startSidecar({ ...basics, program, env: { ELECTORD_TEST_END: 'bad' } });
  await sidecar.waitFor(() => true, 10_000);
  await expect(sidecar.waitFor((leader) => leader.isLeader, 100)).rejects.toThrow(
    '"isLeader":false',
  );
  await expect(sidecar.get('/silence', { timeoutMs: 100 })).rejects.toThrow('/silence: no answer');
  const never = sidecar.waitForLog((line) => line['msg'] === 'never', 10_000);
  const verdict = expect(never).rejects.toThrow('ended without that line');
  expect(await sidecar.stop()).toEqual({ code: 3, signal: null });
  await verdict;
});

test('killed from outside, it says so', async () => {
  sidecar = await startSidecar({ ...basics, program });
  await sidecar.waitForLog((line) => line['msg'] === 'started', 10_000);
  process.kill(sidecar.pid, 'SIGKILL');
  expect(await sidecar.exited).toEqual({ code: null, signal: 'SIGKILL' });
});

test('a missing program is said to be missing', async () => {
  await expect(startSidecar({ ...basics, program: join(folder, 'none.js') })).rejects.toThrow(
    'is missing',
  );
});
