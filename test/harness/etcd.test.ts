// Clusters of real etcd start as asked for, and their faults are real ones.
import { request } from 'node:https';
import { afterEach, expect, test } from 'vitest';
import { seriesOf } from '../../src/dev/etcd-cache.ts';
import { etcdSeries } from './binaries.ts';
import { startEtcdCluster } from './etcd.ts';
import type { EtcdCluster, EtcdClusterOptions } from './etcd.ts';
import { eventually } from './wait.ts';

const timeoutMs = 60_000;
let cluster: EtcdCluster | undefined;

async function start(options: EtcdClusterOptions): Promise<EtcdCluster> {
  cluster = await startEtcdCluster(options);
  return cluster;
}

afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});

/** Whether the member takes a write now. */
function takesWrite(at: EtcdCluster, endpoint: string, value: string): Promise<boolean> {
  return at.etcdctl(['put', 'key', value, '--command-timeout=1s'], { endpoints: [endpoint] }).then(
    () => true,
    () => false,
  );
}

test.each(etcdSeries)(
  'one member of %s keeps its data when it is killed and started again',
  { timeout: timeoutMs },
  async (version) => {
    const { nodes, etcdctl, endpoints, leader } = await start({ size: 1, version });
    for (const command of [['version'], ['endpoint', 'status']]) {
      const [found = ''] = /\b3\.\d+\.\d+\b/.exec(await etcdctl(command)) ?? [];
      expect(seriesOf(found)).toBe(version);
    }
    await etcdctl(['put', 'colour', 'blue']);
    const node = nodes[0]!;
    expect(await node.isLeader()).toBe(true);
    const { pid } = node;
    await node.kill();
    await expect(etcdctl(['get', 'colour', '--command-timeout=500ms'])).rejects.toThrow();
    await node.restart();
    expect(node.pid).not.toBe(pid);
    expect(await etcdctl(['get', 'colour'])).toBe('colour\nblue\n');
    expect(endpoints).toEqual([node.clientUrl]);
    expect(await leader()).toBe(node);
  },
);

test(
  'three members elect another leader when theirs is frozen',
  { timeout: timeoutMs },
  async () => {
    const three = await start({ size: 3 });
    const old = await three.leader();
    old.freeze();
    const next = await eventually(
      async () => {
        const found = await three.leader();
        return found === old ? null : found;
      },
      { withinMs: 20_000, what: 'a leader other than the frozen one' },
    );
    expect(await next.isLeader()).toBe(true);
    expect(await old.isLeader()).toBe(false);
    expect(await takesWrite(three, next.clientUrl, 'one')).toBe(true);
    expect(await takesWrite(three, old.clientUrl, 'two')).toBe(false);
    old.thaw();
    await eventually(() => takesWrite(three, old.clientUrl, 'three'), {
      withinMs: 20_000,
      what: 'a write by the thawed member',
    });
  },
);

test('without a quorum nothing is written', { timeout: timeoutMs }, async () => {
  const three = await start({ size: 3 });
  const [first, second, third] = three.nodes;
  await Promise.all([first!.kill(), second!.kill()]);
  expect(await takesWrite(three, third!.clientUrl, 'lost')).toBe(false);
  await Promise.all([first!.start(), second!.start()]);
  await eventually(() => takesWrite(three, third!.clientUrl, 'kept'), {
    withinMs: 20_000,
    what: 'a write after the quorum came back',
  });
});

test('users need their password, and TLS', { timeout: timeoutMs }, async () => {
  const auth = { username: 'sidecar', password: 'correct horse' };
  const secure = await start({ size: 1, tls: true, auth });
  await secure.etcdctl(['put', 'a', 'b']);
  const good = '--user=sidecar:correct horse';
  expect(await secure.etcdctl(['get', 'a', good])).toBe('a\nb\n');
  await expect(secure.etcdctl(['get', 'a', '--user=sidecar:wrong'])).rejects.toThrow(
    'authentication failed',
  );
  const plain = secure.endpoints[0]!.replace('https', 'http');
  await expect(
    secure.etcdctl(['get', 'a', '--command-timeout=1s'], { endpoints: [plain] }),
  ).rejects.toThrow();
  expect(await secure.nodes[0]!.isLeader()).toBe(true);
});

/** The status that `/version` answers a client with this key pair, or the fault. */
function versionStatus(
  cluster: EtcdCluster,
  pair: { readonly key: string; readonly cert: string } | null,
): Promise<number | string> {
  return new Promise((resolve) => {
    const { authority } = cluster.certificates!;
    const own = pair === null ? {} : { key: pair.key, cert: pair.cert };
    const asked = request(`${cluster.endpoints[0]!}/version`, {
      agent: false,
      ca: authority.cert,
      ...own,
    });
    asked.on('response', (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    });
    asked.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    asked.end();
  });
}

test('mutual TLS takes our client certificate and no other', { timeout: timeoutMs }, async () => {
  const secure = await start({ size: 1, version: '3.4', tls: 'mutual' });
  const { client, foreignClient } = secure.certificates!;
  expect(await versionStatus(secure, client)).toBe(200);
  expect(await versionStatus(secure, foreignClient)).not.toBe(200);
  expect(await versionStatus(secure, null)).not.toBe(200);
  await secure.etcdctl(['put', 'a', 'b']);
  expect(await secure.nodes[0]!.isLeader()).toBe(true);
});
