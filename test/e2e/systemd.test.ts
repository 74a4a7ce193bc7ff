// deploy/systemd as it stands: systemd's own tools find no fault in it, and the built program says to a real socket
// what the unit waits for. What systemd itself does with that is systemd's.
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { runCommand } from '../../src/dev/etcd-command.ts';
import type { CommandResult } from '../../src/dev/etcd-command.ts';
import { projectFolder } from '../harness/binaries.ts';
import { startEtcdCluster } from '../harness/etcd.ts';
import type { EtcdCluster } from '../harness/etcd.ts';
import { startSidecar } from '../harness/sidecar.ts';
import type { Sidecar } from '../harness/sidecar.ts';
import { openNotifySocket, systemdTools } from '../harness/systemd.ts';
import type { NotifySocket } from '../harness/systemd.ts';
import { eventually } from '../harness/wait.ts';

const files = join(projectFolder, 'deploy/systemd');
const unit = 'electord@orders.service';
/** In tenths of systemd's exposure level, 0 (best) to 10: what docs/deploy.md says. */
const exposureAtMost = '15';
const heardWithinMs = 20_000;

let env: NodeJS.ProcessEnv;
let root = '';
let etcd: EtcdCluster | undefined;
let socket: NotifySocket;
let sidecar: Sidecar | undefined;

/** A file of the kit where an administrator would put it below `root`. */
async function install(name: string, place: string): Promise<string> {
  const target = join(root, place);
  await mkdir(join(target, '..'), { recursive: true });
  await copyFile(join(files, name), target);
  return target;
}

beforeAll(async () => {
  env = await systemdTools();
  root = await mkdtemp(join(tmpdir(), 'electord-systemd-'));
  await install('electord@.service', 'etc/systemd/system/electord@.service');
  await install('etcd-secrets.conf', 'etc/systemd/system/electord@.service.d/etcd-secrets.conf');
  await install('electord.sysusers.conf', 'usr/lib/sysusers.d/electord.conf');
  for (const program of ['usr/local/bin/electord', 'bin/kill']) {
    await mkdir(join(root, program, '..'), { recursive: true });
    await writeFile(join(root, program), '#!/bin/sh\n', { mode: 0o755 });
  }
  etcd = await startEtcdCluster({ size: 1 });
}, 300_000);

afterAll(async () => {
  await etcd?.stop();
  await rm(root, { recursive: true, force: true });
});

beforeEach(async () => {
  socket = await openNotifySocket();
});

afterEach(async () => {
  await sidecar?.stop();
  sidecar = undefined;
  await socket.close();
});

const run = (tool: string, ...args: string[]): Promise<CommandResult> =>
  runCommand(tool, args, { timeoutMs: 60_000, env });

const verify = (): Promise<CommandResult> =>
  // The units of systemd itself, which every unit needs, are not below our root.
  run('systemd-analyze', 'verify', `--root=${root}`, '--man=no', '--recursive-errors=no', unit);

test('systemd finds no fault in the unit and its drop-in, and would find one', async () => {
  expect(await verify()).toEqual({ code: 0, stdout: '', stderr: '' });
  const file = await install('electord@.service', 'etc/systemd/system/electord@.service');
  const text = await readFile(file, 'utf8');
  await writeFile(file, text.replace('WatchdogSec=30s', 'WatchdogSec=often'));
  expect((await verify()).stderr).toContain('Failed to parse sec value');
  await writeFile(file, text);
});

test('the sandbox is as tight as the documents say', async () => {
  const security = ['security', '--offline=true', `--root=${root}`, '--no-pager'];
  const judged = await run('systemd-analyze', ...security, `--threshold=${exposureAtMost}`, unit);
  expect(judged.code, judged.stdout + judged.stderr).toBe(0);
  expect(judged.stdout).toMatch(/Overall exposure level for electord@orders\.service: [01]\.\d OK/);
});

test('systemd would make the user and the group', async () => {
  const dry = await run('systemd-sysusers', '--dry-run', `--root=${root}`);
  expect(dry.code, dry.stderr).toBe(0);
  expect(dry.stdout + dry.stderr).toMatch(/Would create user electord|Creating user 'electord'/i);
});

/** The settings that the unit and the sample of its environment give together. */
async function settings(): Promise<Record<string, string>> {
  const text = await readFile(join(files, 'electord@.service'), 'utf8');
  const fixed = [...text.matchAll(/^Environment=(\S+?)=(\S+)$/gm)];
  const sample = parseEnv(await readFile(join(files, 'orders.env'), 'utf8'));
  const own = fixed.map(([, name = '', value = '']) => [name, value.replaceAll('%i', 'orders')]);
  return { ...Object.fromEntries(own), ...sample } as Record<string, string>;
}

/** Started as the unit does it: by the environment alone, save for addresses of this test. */
async function startService(more: Record<string, string> = {}): Promise<Sidecar> {
  const { ELECTORD_LISTEN, ELECTORD_LOCAL_LISTEN, ELECTORD_ETCD, ...rest } = await settings();
  expect([ELECTORD_LISTEN, ELECTORD_LOCAL_LISTEN, ELECTORD_ETCD]).not.toContain(undefined);
  const path = env['PATH'] ?? '';
  const libraries = env['LD_LIBRARY_PATH'];
  return startSidecar({
    election: 'orders',
    id: 'orders-0',
    etcd: etcd?.endpoints ?? [],
    env: {
      ...rest,
      PATH: path,
      ...(libraries === undefined ? {} : { LD_LIBRARY_PATH: libraries }),
      NOTIFY_SOCKET: socket.path,
      ...more,
    },
  });
}

test('ready once it serves, who leads in words, alive, reloaded, stopping', async () => {
  sidecar = await startService({ WATCHDOG_USEC: '1000000' });
  await socket.message('READY=1', heardWithinMs);
  // It serves by then, so one question is enough.
  expect((await sidecar.get('/livez')).status).toBe(200);
  await socket.message(/^STATUS=orders-0 leads orders, term \d+$/, heardWithinMs);
  await socket.message('WATCHDOG=1', heardWithinMs);
  sidecar.signal('SIGHUP');
  await socket.message('RELOADING=1', heardWithinMs);
  const readies = (): number => socket.messages.filter((lines) => lines[0] === 'READY=1').length;
  await eventually(() => readies() === 2, { withinMs: heardWithinMs, what: 'the reload is done' });
  sidecar.signal('SIGTERM');
  await socket.message('STOPPING=1', heardWithinMs);
  expect((await sidecar.exited).code).toBe(0);
});

test('a frozen process feeds no watchdog', async () => {
  sidecar = await startService({ WATCHDOG_USEC: '1000000' });
  const signs = (): number => socket.messages.filter(([line]) => line === 'WATCHDOG=1').length;
  await eventually(() => signs() > 1, { withinMs: heardWithinMs, what: 'signs of life' });
  sidecar.signal('SIGSTOP');
  // Another one, on a socket of its own, measures the silence: it speaks six times in it.
  const elsewhere = await openNotifySocket();
  const other = await startService({
    WATCHDOG_USEC: '1000000',
    ELECTORD_ID: 'other',
    NOTIFY_SOCKET: elsewhere.path,
  });
  try {
    await elsewhere.message('WATCHDOG=1', heardWithinMs);
    const silent = signs();
    const spoken = (): number =>
      elsewhere.messages.filter(([line]) => line === 'WATCHDOG=1').length;
    await eventually(() => spoken() > 6, { withinMs: heardWithinMs, what: 'the other' });
    expect(signs()).toBe(silent);
    sidecar.signal('SIGCONT');
    await eventually(() => signs() > silent, { withinMs: heardWithinMs, what: 'life again' });
  } finally {
    await other.stop();
    await elsewhere.close();
  }
  expect(sidecar.output()).not.toContain('cannot be told');
});

test('a command beside it cannot speak in its name', async () => {
  const seen = join(root, 'seen');
  sidecar = await startService({
    ELECTORD_ON_ELECTED: `exec:env > ${seen}.new && mv ${seen}.new ${seen}`,
  });
  const text = await eventually(() => readFile(seen, 'utf8').catch(() => null), {
    withinMs: heardWithinMs,
    what: 'the environment of a hook',
  });
  expect(text).toContain('ELECTORD_FENCING_TOKEN=');
  expect(text).not.toMatch(/NOTIFY_SOCKET|WATCHDOG_/);
});
