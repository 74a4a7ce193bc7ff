// SIGHUP on the built program: what is announced has happened, what cannot happen changes nothing and is named, and no
// credential is used beside values that it did not come with. The leader keeps its term through all of it.
import { request as requestHttps } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeCertificates, type Certificates, type KeyPair } from '../harness/certificates.ts';
import type { LogLine, Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { Probe } from './claims.ts';
import { agreement, openStage, type Stage } from './stage.ts';

const saidWithinMs = 30_000;

let stage: Stage;
let folder: string;
let certificates: Certificates;
const cleanups: (() => unknown)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'electord-reload-'));
  certificates = await makeCertificates();
});
afterEach(async () => {
  await stage.clear();
  for (const cleanup of cleanups.splice(0)) await cleanup();
  await stage.end();
  await certificates.remove();
  await rm(folder, { recursive: true, force: true });
});

type Settings = Readonly<Record<string, unknown>>;

async function configure(settings: Settings): Promise<string> {
  const path = join(folder, 'config.json');
  await writeFile(path, JSON.stringify(settings));
  return path;
}

async function fileWith(name: string, content: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content, { mode: 0o600 });
  return path;
}

/** A sidecar whose settings are in a file; etcd too, where that is among them. */
async function sidecarWith(election: string, settings: Settings): Promise<Sidecar> {
  const args = [`--config=${await configure(settings)}`];
  const etcd = 'etcd' in settings ? null : stage.cluster.endpoints;
  return stage.sidecar({ election, id: 'a', args, etcd });
}

const outcome = ({ msg }: LogLine): boolean => /read anew$|^nothing was reloaded/.test(String(msg));

/** Writes other settings, sends SIGHUP, and resolves to what is logged of it. */
async function hangUp(sidecar: Sidecar, settings: Settings): Promise<readonly LogLine[]> {
  await configure(settings);
  const before = sidecar.logs.length;
  const since = (): readonly LogLine[] => sidecar.logs.slice(before);
  sidecar.signal('SIGHUP');
  await eventually(() => since().some(outcome), { withinMs: saidWithinMs, what: 'the outcome' });
  // Said in one go.
  await statusOf(sidecar);
  return since();
}

const takenUp = (lines: readonly LogLine[]): unknown => lines.find(outcome)?.['changed'];
const refusal = (lines: readonly LogLine[]): string =>
  String(lines.find(({ msg }) => /^nothing was reloaded/.test(String(msg)))?.['msg']);

interface Status {
  readonly settings: Readonly<Record<string, { readonly value: string | null }>>;
  readonly etcd: { readonly trouble: string | null };
}

const statusOf = async (sidecar: Sidecar): Promise<Status> =>
  (await sidecar.get<Status>('/status')).body;

/** Waits for renewals that succeeded after this; the term is the same. */
async function leadsOn(sidecar: Sidecar, token: string): Promise<void> {
  const count = async (): Promise<number> => {
    const { text } = await sidecar.get('/metrics');
    return Number(/^electord_renewals_total\{.*result="ok".*\} (\d+)/m.exec(text)?.[1] ?? 0);
  };
  const before = await count();
  await eventually(async () => (await count()) >= before + 2, {
    withinMs: saidWithinMs,
    what: 'two more renewals',
  });
  expect((await agreement([sidecar])).token).toBe(token);
}

/** Nobody who asked was told otherwise at any time. */
async function ledThroughout(probe: Probe, token: string): Promise<void> {
  const observations = await probe.end();
  expect(observations.length).toBeGreaterThan(10);
  expect(observations.filter(({ claims }) => claims !== BigInt(token))).toEqual([]);
}

/** TLS before a plain etcd: the same cluster by https. */
async function behindTls(target: string, { cert, key }: KeyPair): Promise<string> {
  const { hostname, port } = new URL(target);
  const server = createTlsServer({ cert, key, ALPNProtocols: ['h2'] }, (client) => {
    const etcd = connectTcp(Number(port), hostname);
    for (const end of [client, etcd])
      end.on('error', () => [client, etcd].map((one) => one.destroy()));
    client.pipe(etcd).pipe(client);
    cleanups.push(() => [client, etcd].map((one) => one.destroy()));
  });
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.unshift(() => server.close());
  const address = server.address();
  return `https://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
}

describe('the way to etcd', () => {
  test('from http to https: with the right authority taken up, with another one refused whole', async () => {
    stage = await openStage({ size: 1 });
    const plain = stage.cluster.endpoints;
    const secure = [await behindTls(plain[0]!, certificates.server)];
    const sidecar = await sidecarWith('to-https', { etcd: plain });
    const { token } = await agreement([sidecar]);

    const probe = new Probe([sidecar]);
    const wrong = { etcd: secure, etcdCa: certificates.foreignAuthority.certFile };
    const refused = await hangUp(sidecar, { ...wrong, logLevel: 'debug' });
    expect(refusal(refused)).toMatch(/^nothing was reloaded: --etcd, --etcd-ca cannot be used: /);
    await leadsOn(sidecar, token);
    const { settings, etcd } = await statusOf(sidecar);
    expect(settings).toMatchObject({
      etcd: { value: plain.join(',') },
      etcdCa: { value: null },
      logLevel: { value: 'info' },
    });
    expect(etcd.trouble).toBe(refusal(refused));

    const right = { etcd: secure, etcdCa: certificates.authority.certFile };
    expect(takenUp(await hangUp(sidecar, right))).toEqual(['--etcd', '--etcd-ca']);
    await leadsOn(sidecar, token);
    const after = await statusOf(sidecar);
    expect(after.settings['etcd']?.value).toBe(secure.join(','));
    expect(after.etcd.trouble).toBeNull();
    await ledThroughout(probe, token);
  });

  test('another user with its password is taken up; with the password of another it is refused whole', async () => {
    const one = { username: 'one', password: 'pw-one-battery' };
    stage = await openStage({ size: 1, auth: one });
    const { cluster } = stage;
    await cluster.etcdctl(['user', 'add', 'two:pw-two-staple']);
    await cluster.etcdctl(['user', 'grant-role', 'two', 'everything']);
    await cluster.etcdctl(['user', 'add', 'reader:pw-reader']);
    await cluster.etcdctl(['role', 'add', 'reading']);
    await cluster.etcdctl(['role', 'grant-permission', 'reading', 'read', '--prefix=true', '/']);
    await cluster.etcdctl(['user', 'grant-role', 'reader', 'reading']);
    const first = await fileWith('first', one.password);
    const second = await fileWith('second', 'pw-two-staple');
    const reader = await fileWith('reader', 'pw-reader');
    const sidecar = await sidecarWith('users', { etcdUsername: 'one', etcdPasswordFile: first });
    const { token } = await agreement([sidecar]);
    const probe = new Probe([sidecar]);

    const mixed = await hangUp(sidecar, { etcdUsername: 'one', etcdPasswordFile: second });
    expect(refusal(mixed)).toMatch(
      /^nothing was reloaded: --etcd-password-file cannot be used: .*authentication failed/,
    );
    await leadsOn(sidecar, token);
    // Who may read only would lead no longer than the lease.
    const reads = await hangUp(sidecar, { etcdUsername: 'reader', etcdPasswordFile: reader });
    expect(refusal(reads)).toMatch(
      /^nothing was reloaded: --etcd-username, --etcd-password-file cannot be used: .*denied/,
    );
    await leadsOn(sidecar, token);

    const taken = await hangUp(sidecar, { etcdUsername: 'two', etcdPasswordFile: second });
    expect(takenUp(taken)).toEqual(['--etcd-username', '--etcd-password-file']);
    await cluster.etcdctl(['user', 'delete', 'one']);
    await leadsOn(sidecar, token);
    await ledThroughout(probe, token);
    for (const secret of [one.password, 'pw-two-staple', 'pw-reader']) {
      expect(sidecar.output()).not.toContain(secret);
    }
  });

  test('a password that is renewed before etcd knows it is used once etcd does', async () => {
    const username = 'early';
    stage = await openStage({ size: 1, auth: { username, password: 'pw-old-battery' } });
    const { cluster } = stage;
    const file = await fileWith('password', 'pw-old-battery');
    const settings = { etcdUsername: username, etcdPasswordFile: file };
    const sidecar = await sidecarWith('early', settings);
    const { token } = await agreement([sidecar]);
    const probe = new Probe([sidecar]);
    await fileWith('password', 'pw-new-staple');
    const unused = ({ msg }: LogLine): boolean =>
      /^renewed, and tried again.*--etcd-password-file cannot be used/.test(String(msg));
    await sidecar.waitForLog(unused, saidWithinMs);
    expect((await statusOf(sidecar)).etcd.trouble).toMatch(/--etcd-password-file cannot be used/);
    await leadsOn(sidecar, token);
    await cluster.etcdctl(['user', 'delete', username]);
    await cluster.etcdctl(['user', 'add', `${username}:pw-new-staple`]);
    await cluster.etcdctl(['user', 'grant-role', username, 'everything']);
    await sidecar.waitForLog(
      ({ changed }) => String(changed) === '--etcd-password-file',
      saidWithinMs,
    );
    await leadsOn(sidecar, token);
    expect(sidecar.logs.filter(unused)).toHaveLength(1);
    await eventually(async () => (await statusOf(sidecar)).etcd.trouble === null, {
      withinMs: saidWithinMs,
      what: 'no trouble any more',
    });
    await ledThroughout(probe, token);
  }, 120_000);
});

/** GET over TLS, with a client certificate or without: the status, or null where there is no answer. */
function asks(url: string, pair: KeyPair | null): Promise<number | null> {
  const shown = pair === null ? {} : { cert: pair.cert, key: pair.key };
  return new Promise((resolve) => {
    const options = { ca: certificates.authority.cert, agent: false as const, ...shown };
    const asked = requestHttps(`${url}/status`, options, (answer) => {
      answer.resume().on('error', () => undefined);
      resolve(answer.statusCode ?? null);
    });
    asked.on('error', () => resolve(null));
    asked.end();
  });
}

const overTls = (url: string): string => url.replace('http:', 'https:');

describe('a client CA of the listeners', () => {
  const named = /^(--tls-cert, --tls-key, )?--tls-client-ca: changed, and not taken up/;

  test('that is added to the file needs a restart, by name; until then nothing else about TLS changes', async () => {
    stage = await openStage({ size: 1 });
    const { server, authority, client } = certificates;
    const plain = { tlsCert: server.certFile, tlsKey: server.keyFile };
    const sidecar = await sidecarWith('ca-added', plain);
    const urls = [overTls(sidecar.url), overTls(sidecar.localUrl)];
    await sidecar.waitForLog(({ msg }) => msg === 'leads ca-added', saidWithinMs);
    await configure({
      tlsCert: client.certFile,
      tlsKey: client.keyFile,
      tlsClientCa: authority.certFile,
    });
    sidecar.signal('SIGHUP');
    const { settings } = await sidecar.waitForLog(
      ({ msg }) => named.test(String(msg)),
      saidWithinMs,
    );
    expect(settings).toEqual(['--tls-cert', '--tls-key', '--tls-client-ca']);
    for (const url of urls) expect(await asks(url, null)).toBe(200);
  });

  test('that is taken out keeps being asked for until the restart; whoever has a certificate is served', async () => {
    stage = await openStage({ size: 1 });
    const { server, authority, client, foreignClient } = certificates;
    const plain = { tlsCert: server.certFile, tlsKey: server.keyFile };
    const sidecar = await sidecarWith('ca-out', { ...plain, tlsClientCa: authority.certFile });
    const urls = [overTls(sidecar.url), overTls(sidecar.localUrl)];
    await sidecar.waitForLog(({ msg }) => msg === 'leads ca-out', saidWithinMs);
    await configure(plain);
    sidecar.signal('SIGHUP');
    await sidecar.waitForLog(({ msg }) => named.test(String(msg)), saidWithinMs);
    for (const url of urls) {
      expect(await asks(url, client)).toBe(200);
      expect(await asks(url, null)).toBeNull();
      expect(await asks(url, foreignClient)).toBeNull();
    }
  });
});

test('what needs a restart is named, hidden arguments too, and /status shows what is in force', async () => {
  stage = await openStage({ size: 1 });
  const before = { priority: 1, logLevel: 'info', onElected: 'exec:true one' };
  const sidecar = await sidecarWith('named', before);
  const { token } = await agreement([sidecar]);
  const read = { priority: 2, grace: '4s', logLevel: 'debug', onElected: 'exec:true other' };
  const said = await hangUp(sidecar, read);
  expect(takenUp(said)).toEqual(['--log-level']);
  await sidecar.waitForLog(({ msg }) => /not taken up/.test(String(msg)), saidWithinMs);
  const named = sidecar.logs.find(({ msg }) => /not taken up/.test(String(msg)));
  expect(named?.['settings']).toEqual(['--priority', '--grace', '--on-elected']);
  expect((await statusOf(sidecar)).settings).toMatchObject({
    priority: { value: '1' },
    grace: { value: '10s' },
    logLevel: { value: 'debug' },
  });
  expect(sidecar.output()).not.toContain('other');
  await leadsOn(sidecar, token);
});
