// deploy/haproxy/haproxy.cfg as it stands, on a stock HAProxy before three apps with real sidecars on a
// real etcd: writes reach the leader's app only, reads the others, through a hand-over and a failover.
// The apps here take whatever comes, so that nothing but the routing is seen.
import { createServer, request } from 'node:http';
import type { Server } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCommand } from '../../src/dev/etcd-command.ts';
import { spawnGuarded } from '../../src/dev/etcd-child.ts';
import type { GuardedChild } from '../../src/dev/etcd-child.ts';
import { projectFolder } from '../harness/binaries.ts';
import { startEtcdCluster } from '../harness/etcd.ts';
import type { EtcdCluster } from '../harness/etcd.ts';
import { reservePorts } from '../harness/ports.ts';
import { findPrograms, haproxyWanted } from '../harness/programs.ts';
import { monotonicMs, startSidecar } from '../harness/sidecar.ts';
import type { Sidecar } from '../harness/sidecar.ts';
import { eventually, within } from '../harness/wait.ts';

const configuration = join(projectFolder, 'deploy/haproxy/haproxy.cfg');
const ttlMs = 5_000;
/** One check of the old leader (500 ms) and one of the new (250 ms), and a very busy machine's delays. */
const followsWithinMs = 20_000;
const electedWithinMs = 20_000;

/** A sidecar and the app beside it, under the name that HAProxy knows both by. */
interface Pair {
  readonly name: string;
  readonly app: Server;
  readonly sidecar: Sidecar;
}

let etcd: EtcdCluster | undefined;
let haproxy: GuardedChild | undefined;
/** Without addresses, and with. */
let plainEnv: NodeJS.ProcessEnv = {};
let haproxyEnv: NodeJS.ProcessEnv = {};
let writesUrl = '';
let readsUrl = '';
const pairs: Pair[] = [];

/** Answers with its own name; holds `/hang` open for ever. */
function startApp(name: string, port: number): Promise<Server> {
  const server = createServer((asked, answer) => {
    asked.resume();
    if (asked.url !== '/hang') answer.end(name);
    else answer.writeHead(200).flushHeaders();
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

/** One request over a connection of its own; resolves to the answer's code and text. */
function ask(url: string, method: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { method, agent: false, timeout: 2_000 }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part: string) => (text += part));
      answer.on('error', reject);
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }));
    });
    asked.on('timeout', () => asked.destroy(new Error('no answer within 2 s')));
    asked.on('error', reject);
    asked.end();
  });
}

/** Begins a write that the app never finishes; resolves, once the app is at it, to how it ends. */
function beginEndlessWrite(): Promise<{ readonly end: Promise<string> }> {
  return new Promise((resolve, reject) => {
    const asked = request(`${writesUrl}hang`, { method: 'POST', agent: false }, (answer) => {
      const end = new Promise<string>((ended) => {
        answer.resume().on('end', () => ended('answered'));
        answer.on('error', () => ended('cut'));
      });
      resolve({ end });
    });
    asked.on('error', reject);
    asked.end();
  });
}

/** Who answers so many requests in a row: names, or codes where HAProxy itself answered. */
async function answerers(url: string, method: string, count: number): Promise<Set<string>> {
  const names = new Set<string>();
  for (let sent = 0; sent < count; sent += 1) {
    const { status, text } = await ask(url, method);
    names.add(status === 200 ? text : String(status));
  }
  return names;
}

/** The one pair of those given whose sidecar leads. */
function leaderOf(among: readonly Pair[]): Promise<Pair> {
  const one = async (): Promise<Pair | null> => {
    const codes = await Promise.all(
      among.map(async ({ sidecar }) => (await sidecar.get('/leader')).status),
    );
    const leading = among.filter((_, index) => codes[index] === 200);
    return leading.length === 1 ? (leading[0] ?? null) : null;
  };
  return eventually(one, { withinMs: electedWithinMs, what: 'one leader' });
}

const without = (...gone: Pair[]): Pair[] => pairs.filter((pair) => !gone.includes(pair));
const names = (of: readonly Pair[]): Set<string> => new Set(of.map(({ name }) => name));

/** Waits until writes reach `leader` only and reads `followers` only, all of them. */
async function expectRouting(leader: Pair, followers: readonly Pair[]): Promise<void> {
  const settled = async (): Promise<boolean> => {
    const written = await answerers(writesUrl, 'POST', 3);
    const read = await answerers(readsUrl, 'GET', 2 * pairs.length);
    return (
      written.size === 1 &&
      written.has(leader.name) &&
      read.size === followers.length &&
      followers.every(({ name }) => read.has(name))
    );
  };
  await eventually(settled, { withinMs: followsWithinMs, what: `HAProxy follows ${leader.name}` });
  expect(await answerers(writesUrl, 'POST', 30)).toEqual(names([leader]));
  expect(await answerers(readsUrl, 'GET', 30)).toEqual(names(followers));
}

/** Asks until a write reaches that app; resolves to how long it took since `sinceMs`. */
async function untilWritesReach({ name }: Pair, sinceMs: number, withinMs: number) {
  const reached = async () => (await ask(writesUrl, 'POST')).text === name;
  await eventually(reached, { withinMs, what: `a write reaches ${name}` });
  return monotonicMs() - sinceMs;
}

async function startPairs(appPorts: readonly number[], endpoints: string[]): Promise<void> {
  for (const [index, port] of appPorts.entries()) {
    const name = `app-${index + 1}`;
    const app = await startApp(name, port);
    const sidecar = await startSidecar({
      election: 'orders',
      id: name,
      etcd: endpoints,
      args: [`--ttl=${ttlMs / 1000}s`, `--advertise=http://127.0.0.1:${port}`],
    });
    pairs.push({ name, app, sidecar });
  }
}

beforeAll(async () => {
  ({ env: plainEnv } = await findPrograms(haproxyWanted));
  etcd = await startEtcdCluster({ size: 1 });
  const [writes = 0, reads = 0, ...appPorts] = await reservePorts(5);
  await startPairs(appPorts, etcd.endpoints);
  writesUrl = `http://127.0.0.1:${writes}/`;
  readsUrl = `http://127.0.0.1:${reads}/`;
  haproxyEnv = {
    ...plainEnv,
    HAPROXY_WRITES: `127.0.0.1:${writes}`,
    HAPROXY_READS: `127.0.0.1:${reads}`,
  };
  for (const [index, { sidecar }] of pairs.entries()) {
    haproxyEnv[`APP_${index + 1}`] = `127.0.0.1:${appPorts[index] ?? 0}`;
    haproxyEnv[`SIDECAR_${index + 1}_PORT`] = new URL(sidecar.url).port;
  }
  const args = ['-db', '-f', configuration];
  haproxy = await spawnGuarded({ file: 'haproxy', args, env: haproxyEnv });
}, 300_000);

afterAll(async () => {
  await haproxy?.stop(2_000);
  await Promise.all(pairs.map(({ sidecar }) => sidecar.stop()));
  for (const { app } of pairs) app.close().closeAllConnections();
  await etcd?.stop();
});

test('haproxy finds no fault in the file, with and without addresses in the environment', async () => {
  for (const env of [haproxyEnv, plainEnv]) {
    const checked = await runCommand('haproxy', ['-c', '-f', configuration], {
      timeoutMs: 20_000,
      env,
    });
    expect(checked.code, checked.stderr).toBe(0);
    expect(`${checked.stdout}${checked.stderr}`).not.toContain('[ALERT]');
  }
});

test('writes reach the leader only, reads the followers only', async () => {
  const leader = await leaderOf(pairs);
  await expectRouting(leader, without(leader));
});

test('follows a hand-over, then a failover, and the last one standing serves both', async () => {
  const first = await leaderOf(pairs);
  await expectRouting(first, without(first));
  const hanging = await beginEndlessWrite();

  const terminatedAt = monotonicMs();
  first.sidecar.signal('SIGTERM');
  const others = without(first);
  const second = await leaderOf(others);
  const handOverMs = await untilWritesReach(second, terminatedAt, followsWithinMs);
  await expectRouting(second, without(first, second));
  // What was still being written by way of the former leader is cut off, not left to end some day.
  const cut = within(hanging.end, { withinMs: followsWithinMs, what: 'the end of that write' });
  expect(await cut).toBe('cut');
  expect((await first.sidecar.exited).code).toBe(0);

  const killedAt = monotonicMs();
  second.sidecar.signal('SIGKILL');
  const last = without(first, second);
  const third = await leaderOf(last);
  const failoverMs = await untilWritesReach(third, killedAt, followsWithinMs);
  await expectRouting(third, last);
  console.error(
    `writes reached the successor after a hand-over in ${Math.round(handOverMs)} ms, ` +
      `after a failover in ${Math.round(failoverMs)} ms (TTL ${ttlMs} ms)`,
  );
});
