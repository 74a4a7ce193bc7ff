// HAProxy's file as it stands before a sidecar that speaks TLS: whoever leads is reached where its certificate is of the
// authority and for the name that are set, and nobody is where it is not.
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCommand } from '../../src/dev/etcd-command.ts';
import { spawnGuarded, type GuardedChild } from '../../src/dev/etcd-child.ts';
import { projectFolder } from '../harness/binaries.ts';
import { makeCertificates, type Certificates } from '../harness/certificates.ts';
import { startEtcdCluster, type EtcdCluster } from '../harness/etcd.ts';
import { reservePorts } from '../harness/ports.ts';
import { findPrograms, haproxyWanted } from '../harness/programs.ts';
import { startSidecar, type Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';

const files = ['deploy/haproxy/haproxy.cfg', 'deploy/kubernetes/leader-proxy/haproxy.cfg'] as const;
const withinMs = 20_000;

let etcd: EtcdCluster;
let certificates: Certificates;
let sidecar: Sidecar;
let app: Server;
let env: NodeJS.ProcessEnv = {};
let appPort = 0;
const proxies: GuardedChild[] = [];

beforeAll(async () => {
  [etcd, certificates, { env }] = await Promise.all([
    startEtcdCluster({ size: 1 }),
    makeCertificates(),
    findPrograms(haproxyWanted),
  ]);
  [appPort = 0] = await reservePorts(1);
  app = createServer((_, answer) => answer.end('the app'));
  await new Promise<void>((resolve) => app.listen(appPort, '127.0.0.1', resolve));
  const { server, authority } = certificates;
  const tls = [`--tls-cert=${server.certFile}`, `--tls-key=${server.keyFile}`];
  const asks = [`--tls-client-ca=${authority.certFile}`, '--tls-client-auth=request'];
  const wish = { election: 'orders', id: 'orders-0', etcd: etcd.endpoints };
  sidecar = await startSidecar({ ...wish, args: [...tls, ...asks] });
  await sidecar.waitForLog(({ msg }) => msg === 'leads orders', withinMs);
}, 300_000);

afterAll(async () => {
  await Promise.all(proxies.map((proxy) => proxy.stop(2000)));
  app.close().closeAllConnections();
  await sidecar.stop();
  await Promise.all([etcd.stop(), certificates.remove()]);
});

interface Proxy {
  /** The status that a write gets. */
  readonly write: () => Promise<number>;
  readonly isDown: () => boolean;
}

/** HAProxy with the file, these certificates and this name. */
async function through(sidecarCa: string, sidecarName: string): Promise<Proxy> {
  const [writes = 0, reads = 0] = await reservePorts(2);
  const variables = {
    HAPROXY_WRITES: `127.0.0.1:${writes}`,
    HAPROXY_READS: `127.0.0.1:${reads}`,
    APP_1: `127.0.0.1:${appPort}`,
    SIDECAR_1_PORT: new URL(sidecar.url).port,
    SIDECAR_CA: sidecarCa,
    SIDECAR_NAME: sidecarName,
  };
  const log: string[] = [];
  const onLine = (line: string) => log.push(line);
  const args = ['-db', '-f', join(projectFolder, files[0])];
  const full = { ...env, ...variables };
  proxies.push(await spawnGuarded({ file: 'haproxy', args, env: full, onLine }));
  return {
    write: async () => (await fetch(`http://127.0.0.1:${writes}/`, { method: 'POST' })).status,
    isDown: () => log.some((line) => line.includes('leader/app-1 is DOWN')),
  };
}

test('both files are without a fault where they check by TLS', async () => {
  const variables = { SIDECAR_CA: certificates.authority.certFile, SIDECAR_NAME: 'localhost' };
  for (const file of files) {
    const args = ['-c', '-f', join(projectFolder, file)];
    const checked = await runCommand('haproxy', args, {
      timeoutMs: withinMs,
      env: { ...env, ...variables },
    });
    expect(checked.code, checked.stderr).toBe(0);
  }
});

test('the leader is reached by the right CA and name, and nobody by others', async () => {
  const { authority, foreignAuthority } = certificates;
  const right = await through(authority.certFile, 'localhost');
  // HAProxy takes a server for up until its first check says otherwise, and says so then.
  for (const [ca, name] of [
    [authority.certFile, 'orders.example'],
    [foreignAuthority.certFile, 'localhost'],
  ] as const) {
    const wrong = await through(ca, name);
    await eventually(wrong.isDown, { withinMs, what: `a sidecar that is down, as ${name}` });
    expect(await wrong.write()).toBe(503);
  }
  expect(right.isDown()).toBe(false);
  expect(await right.write()).toBe(200);
});
