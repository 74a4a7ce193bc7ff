// Secrets: used, rotated at SIGHUP without losing the leadership, and in no output at the most talkative level.
import { readFileSync } from 'node:fs';
import { X509Certificate } from 'node:crypto';
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { KeyPair } from '../harness/certificates.ts';
import type { EtcdClusterOptions } from '../harness/etcd.ts';
import type { Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { Probe } from './claims.ts';
import { agreement, openStage, type Stage } from './stage.ts';

const username = 'sidecar';
const password = 'pw-correct-horse-battery';
const bearer = 'bearer-tr0ub4dor-and-3';

let folder: string;
let stage: Stage | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'electord-secrets-'));
});
afterEach(async () => {
  await stage?.end();
  stage = undefined;
  await rm(folder, { recursive: true, force: true });
});

async function start(options: Partial<EtcdClusterOptions>): Promise<Stage> {
  stage = await openStage({ size: 1, ...options });
  return stage;
}

async function fileWith(name: string, content: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content, { mode: 0o600 });
  return path;
}

/** Everything that anybody can get to see of a sidecar. */
async function visible(sidecar: Sidecar): Promise<string> {
  const paths = [
    '/status',
    '/metrics',
    '/leader',
    '/members',
    '/elections',
    '/health',
    '/readyz',
    '/',
  ];
  const answers = await Promise.all(
    paths.flatMap((path) => [sidecar.get(path), sidecar.get(path, { local: true })]),
  );
  const commandLine =
    process.platform === 'linux' ? readFileSync(`/proc/${sidecar.pid}/cmdline`, 'utf8') : '';
  return [
    sidecar.output(),
    commandLine,
    ...answers.map(({ text, headers }) => text + JSON.stringify(headers)),
  ].join('\n');
}

/** As etcd makes its tokens: sixteen letters and the index of the login. */
const etcdToken = /\b[A-Za-z]{16}\.\d+\b/;

describe('no secret is in any output at log level trace', () => {
  const talkative = ['--log-level=trace', `--etcd-username=${username}`];

  test.each(['a file', 'the environment'])('given by %s', async (how) => {
    await start({ auth: { username, password } });
    const tokenFile = await fileWith('token', `${bearer}\n`);
    const given =
      how === 'a file'
        ? {
            args: [
              ...[...talkative, `--token-file=${tokenFile}`],
              `--etcd-password-file=${await fileWith('password', `${password}\n`)}`,
            ],
          }
        : {
            args: talkative,
            env: { ELECTORD_ETCD_PASSWORD: password, ELECTORD_TOKEN: bearer },
          };
    const sidecar = await stage!.sidecar({ election: 'quiet', id: 'a', ...given });
    await agreement([sidecar]);
    await stage!.cluster.nodes[0]!.restart();
    await sidecar.waitForLog((line) => line['level'] === 'warn', 20_000);
    await agreement([sidecar]);
    await sidecar.waitForLog((line) => line['level'] === 'trace', 20_000);
    const seen = await visible(sidecar);
    sidecar.signal('SIGHUP');
    await sidecar.waitForLog((line) => /read anew/.test(String(line['msg'])), 20_000);
    expect((await sidecar.stop()).code).toBe(0);
    // The run was talkative, and about this user: else there would be nothing to leak.
    expect(seen).toContain(username);
    expect(seen).toMatch(/"level":"trace"/);
    for (const output of [seen, sidecar.output()]) {
      expect(output).not.toContain(password);
      expect(output).not.toContain(bearer);
      expect(output).not.toMatch(etcdToken);
    }
  });

  test('a wrong password is told as refused, and not shown', async () => {
    await start({ auth: { username, password } });
    const wrong = 'pw-wrong-horse-battery';
    const args = [...talkative, `--etcd-password-file=${await fileWith('password', wrong)}`];
    const sidecar = await stage!.sidecar({ election: 'wrong', id: 'a', args });
    await sidecar.waitForLog((line) => line['code'] === 'etcd_denied', 20_000);
    const { status, body } = await sidecar.waitFor(() => true, 20_000);
    expect(status).toBe(503);
    expect(body.role).toBe('unknown');
    const seen = await visible(sidecar);
    expect((await sidecar.stop()).code).toBe(0);
    for (const output of [seen, sidecar.output()]) expect(output).not.toContain(wrong);
  });

  test('nor in the faults of a configuration that is refused', async () => {
    await start({});
    const sidecar = await stage!.sidecar({
      election: 'refused',
      id: 'a',
      etcd: [`http://user:${password}@127.0.0.1:1`],
      args: ['--log-level=trace'],
      env: { ELECTORD_TOKEN: `${bearer} with spaces`, ELECTORD_ETCD_PASSWORD: password },
    });
    expect(await sidecar.exited).toEqual({ code: 78, signal: null });
    expect(sidecar.output()).toContain('--etcd');
    expect(sidecar.output()).not.toContain(password);
    expect(sidecar.output()).not.toContain(bearer);
  });
});

describe('SIGHUP', () => {
  /** Waits for renewals that succeeded after this. */
  async function renewedAgain(sidecar: Sidecar): Promise<void> {
    const count = async (): Promise<number> => {
      const { text } = await sidecar.get('/metrics');
      return Number(/^electord_renewals_total\{.*result="ok".*\} (\d+)/m.exec(text)?.[1] ?? 0);
    };
    const before = await count();
    await eventually(async () => (await count()) >= before + 3, {
      withinMs: 20_000,
      what: 'three more renewals',
    });
  }

  test('takes up a rotated password; the leader keeps its term', async () => {
    const { cluster } = await start({ auth: { username, password } });
    const file = await fileWith('password', password);
    const sidecar = await stage!.sidecar({
      election: 'rotated',
      id: 'a',
      args: ['--ttl=10s', `--etcd-username=${username}`, `--etcd-password-file=${file}`],
    });
    const { token } = await agreement([sidecar]);
    const probe = new Probe([sidecar]);
    const next = 'pw-staple-battery-horse';
    await cluster.etcdctl(['user', 'delete', username]);
    await cluster.etcdctl(['user', 'add', `${username}:${next}`]);
    await cluster.etcdctl(['user', 'grant-role', username, 'everything']);
    await sidecar.waitForLog((line) => line['code'] === 'etcd_denied', 20_000);
    await fileWith('password', next);
    sidecar.signal('SIGHUP');
    await renewedAgain(sidecar);
    const observations = await probe.end();
    expect(observations.length).toBeGreaterThan(10);
    expect(observations.filter(({ claims }) => claims !== BigInt(token))).toEqual([]);
    expect(sidecar.output()).not.toContain(next);
    expect((await sidecar.stop()).code).toBe(0);
  });

  test('takes up a rotated client certificate; the leader keeps its term', async () => {
    const { cluster } = await start({ tls: 'mutual' });
    const { authority, client, foreignAuthority, foreignClient } = cluster.certificates!;
    const ca = await fileWith('ca.crt', authority.cert);
    const cert = await fileWith('client.crt', client.cert);
    const key = await fileWith('client.key', client.key);
    const args = ['--ttl=10s', `--etcd-ca=${ca}`, `--etcd-cert=${cert}`, `--etcd-key=${key}`];
    const sidecar = await stage!.sidecar({ election: 'certified', id: 'a', args });
    const { token } = await agreement([sidecar]);
    const probe = new Probe([sidecar]);
    // From now on etcd trusts clients of another authority only.
    await writeFile(authority.certFile, foreignAuthority.cert);
    await cluster.nodes[0]!.start();
    await sidecar.waitForLog((line) => line['code'] === 'etcd_unreachable', 20_000);
    await fileWith('client.crt', foreignClient.cert);
    await fileWith('client.key', foreignClient.key);
    sidecar.signal('SIGHUP');
    await renewedAgain(sidecar);
    const observations = await probe.end();
    expect(observations.length).toBeGreaterThan(10);
    expect(observations.filter(({ claims }) => claims !== BigInt(token))).toEqual([]);
    expect((await sidecar.stop()).code).toBe(0);
  });

  test('with a file that has become unusable changes nothing, and says so', async () => {
    const { cluster } = await start({ tls: 'mutual' });
    const { authority, client } = cluster.certificates!;
    const cert = await fileWith('client.crt', client.cert);
    const sidecar = await stage!.sidecar({
      election: 'unusable',
      id: 'a',
      args: [
        `--etcd-ca=${authority.certFile}`,
        `--etcd-cert=${cert}`,
        `--etcd-key=${client.keyFile}`,
      ],
    });
    const { token } = await agreement([sidecar]);
    await fileWith('client.crt', 'half a certificate');
    sidecar.signal('SIGHUP');
    const said = await sidecar.waitForLog((line) => line['level'] === 'error', 20_000);
    expect(said['msg']).toContain('--etcd-cert');
    await renewedAgain(sidecar);
    expect((await agreement([sidecar])).token).toBe(token);
  });

  test('takes up the log level', async () => {
    await start({});
    const config = await fileWith('config.yaml', 'logLevel: info\n');
    const sidecar = await stage!.sidecar({
      election: 'louder',
      id: 'a',
      args: [`--config=${config}`],
    });
    await agreement([sidecar]);
    await fileWith('config.yaml', 'logLevel: trace\n');
    sidecar.signal('SIGHUP');
    const line = await sidecar.waitForLog(({ level }) => level === 'trace', 20_000);
    expect(line['msg']).toBe('renewed the lease');
  });
});

/** The fingerprint of the certificate that the listener at `url` shows to a new connection. */
function shownAt(url: string): Promise<string | undefined> {
  const { hostname: host, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), rejectUnauthorized: false }, () => {
      resolve(socket.getPeerX509Certificate()?.fingerprint256);
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

test('certificates that are renewed on disk outlive the first ones, without a signal', async () => {
  const { cluster } = await start({ tls: 'mutual' });
  const certificates = cluster.certificates!;
  const { authority } = certificates;
  // As Kubernetes keeps a Secret: a link to a folder, replaced as a whole.
  const keep = async (version: string, { cert, key }: KeyPair): Promise<void> => {
    await mkdir(join(folder, version));
    await fileWith(`${version}/tls.crt`, cert);
    await fileWith(`${version}/tls.key`, key);
    await symlink(version, join(folder, 'data-next'));
    await rename(join(folder, 'data-next'), join(folder, 'data'));
  };
  const endsAt = Date.now() + 25_000;
  await keep(
    'first',
    await certificates.issue('first', { commonName: 'a', notAfter: new Date(endsAt) }),
  );
  const [certFile, keyFile] = [join(folder, 'data/tls.crt'), join(folder, 'data/tls.key')];
  const sidecar = await stage!.sidecar({
    election: 'renewed',
    id: 'a',
    args: [
      ...['--log-level=trace', `--etcd-ca=${authority.certFile}`],
      ...[`--etcd-cert=${certFile}`, `--etcd-key=${keyFile}`],
      ...[`--tls-cert=${certFile}`, `--tls-key=${keyFile}`],
    ],
  });
  const renewals = (): number =>
    sidecar.logs.filter(({ msg }) => msg === 'renewed the lease').length;
  await eventually(() => renewals() > 0, { withinMs: 20_000, what: 'a renewal' });
  const second = await certificates.issue('second', { commonName: 'a' });
  await keep('second', second);
  await sidecar.waitForLog(({ msg }) => /read anew/.test(String(msg)), 30_000);
  const { fingerprint256 } = new X509Certificate(second.cert);
  expect(await shownAt(sidecar.url)).toBe(fingerprint256);
  expect(await shownAt(sidecar.localUrl)).toBe(fingerprint256);
  await eventually(() => Date.now() > endsAt, { withinMs: 40_000, what: 'the first ran out' });
  await cluster.nodes[0]!.restart();
  const before = renewals();
  await eventually(() => renewals() > before + 1, { withinMs: 30_000, what: 'renewals again' });
  expect((await sidecar.stop()).code).toBe(0);
}, 120_000);
