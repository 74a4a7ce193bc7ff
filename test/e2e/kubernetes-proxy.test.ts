// deploy/kubernetes/leader-proxy/haproxy.cfg on a stock HAProxy before real sidecars: it finds the pods by the name of
// their Service and reaches the leader only, through a hand-over and a pod that comes back with another address. The
// cluster's DNS is stood in for by a server that knows that one name; each pod is an address of the loopback network.
import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { spawnGuarded } from '../../src/dev/etcd-child.ts';
import type { GuardedChild } from '../../src/dev/etcd-child.ts';
import { runCommand } from '../../src/dev/etcd-command.ts';
import { projectFolder } from '../harness/binaries.ts';
import { startEtcdCluster } from '../harness/etcd.ts';
import type { EtcdCluster } from '../harness/etcd.ts';
import { findPrograms, haproxyWanted } from '../harness/programs.ts';
import { reservePort, reservePorts } from '../harness/ports.ts';
import { startSidecar } from '../harness/sidecar.ts';
import type { Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';

const configuration = join(projectFolder, 'deploy/kubernetes/leader-proxy/haproxy.cfg');
const podsName = 'orders-pods.shop.svc.cluster.local';
const followsWithinMs = 20_000;

interface Pod {
  readonly address: string;
  readonly app: Server;
  readonly sidecar: Sidecar;
}

let etcd: EtcdCluster | undefined;
let names: Socket | undefined;
let haproxy: GuardedChild | undefined;
let folder = '';
let env: NodeJS.ProcessEnv = {};
let leaderUrl = '';
let healthUrl = '';
let appPort = 0;
let sidecarPort = 0;
const pods = new Map<string, Pod>();

/** One answer of the domain name system: the addresses of all pods, to whatever is asked for by their name. */
function answerTo(question: Buffer): Buffer {
  const isHeader = 12;
  const end = question.indexOf(0, isHeader) + 5;
  const asked = question
    .subarray(isHeader, end - 5)
    .toString('latin1')
    .split(/[^a-z0-9-]+/);
  const isIpv4 = question.readUInt16BE(end - 4) === 1;
  const known = asked.filter((label) => label !== '').join('.') === podsName;
  const addresses = known && isIpv4 ? [...pods.keys()] : [];
  const header = Buffer.from(question.subarray(0, isHeader));
  // An authoritative answer; code 3 says that there is no such name.
  header.writeUInt16BE(known ? 0x8580 : 0x8583, 2);
  header.writeUInt16BE(addresses.length, 6);
  header.writeUInt32BE(0, 8);
  const records = addresses.map((address) =>
    Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, ...address.split('.').map(Number)]),
  );
  return Buffer.concat([header, question.subarray(isHeader, end), ...records]);
}

/** Resolves to the port of a server that answers for as long as the test runs. */
function serveNames(): Promise<number> {
  const server = createSocket('udp4');
  names = server;
  server.on('message', (question, { port, address }) => {
    server.send(answerTo(question), port, address);
  });
  return new Promise((resolve) => {
    server.bind(0, '127.0.0.1', () => resolve(server.address().port));
  });
}

async function startPod(id: string, address: string): Promise<Pod> {
  const app = createServer((asked, answer) => {
    asked.resume();
    answer.end(id);
  });
  await new Promise<void>((resolve) => void app.listen(appPort, address, resolve));
  const sidecar = await startSidecar({
    election: 'orders',
    id,
    etcd: etcd?.endpoints ?? [],
    args: [`--listen=${address}:${sidecarPort}`, '--ttl=10s'],
  });
  const pod = { address, app, sidecar };
  pods.set(address, pod);
  const knows = async (): Promise<boolean> =>
    (await sidecar.get('/readyz', { local: true })).status === 200;
  await eventually(knows, { withinMs: followsWithinMs, what: `${id} is ready` });
  return pod;
}

async function endPod({ address, app, sidecar }: Pod): Promise<void> {
  await sidecar.stop();
  app.close().closeAllConnections();
  pods.delete(address);
}

const check = (file: string): ReturnType<typeof runCommand> =>
  runCommand('haproxy', ['-c', '-f', file], { timeoutMs: 20_000, env });

beforeAll(async () => {
  ({ env } = await findPrograms(haproxyWanted));
  folder = await mkdtemp(join(tmpdir(), 'electord-proxy-'));
  etcd = await startEtcdCluster({ size: 1 });
  const [leader = 0, health = 0, app = 0] = await reservePorts(3);
  [appPort, sidecarPort] = [app, await reservePort()];
  for (const number of [0, 1, 2]) await startPod(`orders-${number}`, `127.0.0.${number + 2}`);
  leaderUrl = `http://127.0.0.1:${leader}/`;
  healthUrl = `http://127.0.0.1:${health}/healthz`;
  env = {
    ...env,
    LISTEN: `127.0.0.1:${leader}`,
    HEALTH: `127.0.0.1:${health}`,
    PODS: podsName,
    APP_PORT: String(appPort),
    SIDECAR_PORT: String(sidecarPort),
  };
  const text = await readFile(configuration, 'utf8');
  const ours = `nameserver test 127.0.0.1:${await serveNames()}`;
  expect(text).toContain('parse-resolv-conf');
  const file = join(folder, 'haproxy.cfg');
  await writeFile(file, text.replace('parse-resolv-conf', ours));
  haproxy = await spawnGuarded({ file: 'haproxy', args: ['-W', '-db', '-f', file], env });
}, 300_000);

afterAll(async () => {
  await haproxy?.stop(2_000);
  for (const pod of [...pods.values()]) await endPod(pod);
  names?.close();
  await etcd?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** Who answers by way of the proxy: a name, or the code of an answer that is the proxy's own. */
async function answerer(): Promise<string> {
  const signal = AbortSignal.timeout(3_000);
  const answer = await fetch(leaderUrl, { signal, headers: { connection: 'close' } });
  return answer.ok ? answer.text() : String(answer.status);
}

/** The pod that leads by its own word. */
function leader(): Promise<Pod> {
  const find = async (): Promise<Pod | null> => {
    for (const pod of pods.values()) {
      if ((await pod.sidecar.get('/leader', { local: true })).status === 200) return pod;
    }
    return null;
  };
  return eventually(find, { withinMs: followsWithinMs, what: 'a leader' });
}

async function expectAnswersOf({ sidecar: { id } }: Pod): Promise<void> {
  // For up to one check after a hand-over the former leader still counts as one, too.
  const reached = async (): Promise<boolean> => {
    for (let asked = 0; asked < 6; asked += 1) if ((await answerer()) !== id) return false;
    return true;
  };
  await eventually(reached, { withinMs: followsWithinMs, what: `the proxy reaches ${id}` });
  for (let asked = 0; asked < 20; asked += 1) expect(await answerer()).toBe(id);
}

test('haproxy finds no fault in the file', async () => {
  const checked = await check(configuration);
  expect(checked.code, checked.stderr).toBe(0);
  expect(checked.stdout + checked.stderr).not.toContain('[ALERT]');
  // It was started a moment ago.
  const healthy = async (): Promise<boolean> => (await fetch(healthUrl)).status === 200;
  await eventually(healthy, { withinMs: 20_000, what: 'the health of the proxy' });
});

test('reaches the leader, its successor, and a pod that came back with another address', async () => {
  const first = await leader();
  await expectAnswersOf(first);
  await endPod(first);
  const second = await leader();
  await expectAnswersOf(second);
  // As a pod of a StatefulSet comes back: by name the same, elsewhere by address.
  const again = await startPod(first.sidecar.id, '127.0.0.9');
  const body = JSON.stringify({ to: first.sidecar.id, reason: 'test' });
  const headers = { 'Content-Type': 'application/json' };
  const asked = { local: true, method: 'POST', headers, body, timeoutMs: 20_000 } as const;
  const switched = async (): Promise<boolean> =>
    (await second.sidecar.get('/switchover', asked)).status === 200;
  await eventually(switched, { withinMs: followsWithinMs, what: 'the switchover' });
  await expectAnswersOf(again);
  expect((await fetch(healthUrl)).status).toBe(200);
});
