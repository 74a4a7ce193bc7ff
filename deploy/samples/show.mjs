// Three replicas of service.mjs with a sidecar each, writers that never pause, a planned switchover and a leader that is
// killed: how many writes failed, and how long the longest one took; through electord's own proxy and, where there is a
// HAProxy, through deploy/haproxy/agent-check.cfg.
//
// node deploy/samples/show.mjs [--etcd URL]      without it an `etcd` of the PATH is started for the time
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { etcd: { type: 'string' } } });
const here = fileURLToPath(new URL('.', import.meta.url));
const built = join(here, '../../dist/electord.js');
const electord = existsSync(built) ? [process.execPath, built] : ['electord'];
const folder = mkdtempSync(join(tmpdir(), 'electord-sample-'));
const running = new Set();

const ports = (count) =>
  Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    }),
  ).then(async (servers) => {
    const found = servers.map((server) => server.address().port);
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    return found;
  });

function start([file, ...args], env = {}) {
  const child = spawn(file, args, { stdio: 'ignore', env: { ...process.env, ...env } });
  running.add(child);
  child.ended = new Promise((resolve) => {
    child.on('exit', () => resolve(true));
    child.on('error', () => resolve(false));
  });
  void child.ended.then(() => running.delete(child));
  return child;
}

async function until(what, check) {
  for (const end = Date.now() + 30_000; Date.now() < end; await delay(20)) {
    const found = await check().catch(() => null);
    if (found) return found;
  }
  throw new Error(`not within 30 s: ${what}`);
}

const asks = (url, method = 'GET', body) =>
  fetch(url, {
    method,
    signal: AbortSignal.timeout(2000),
    ...(body && { body, headers: { 'Content-Type': 'application/json' } }),
  });

async function startEtcd() {
  const [client, peer] = await ports(2);
  const url = `http://127.0.0.1:${client}`;
  const peers = `http://127.0.0.1:${peer}`;
  start([
    ...['etcd', '--data-dir', join(folder, 'etcd'), '--initial-cluster', `default=${peers}`],
    ...['--listen-client-urls', url, '--advertise-client-urls', url],
    ...['--listen-peer-urls', peers, '--initial-advertise-peer-urls', peers],
  ]);
  await until('an etcd; name one with --etcd URL', () => asks(`${url}/health`));
  return url;
}

async function startReplicas(election, etcd) {
  return Promise.all(
    ['a', 'b', 'c'].map(async (id) => {
      const [app, listen, local, proxy, agent] = await ports(5);
      const service = start([process.execPath, join(here, 'service.mjs'), id, String(app)]);
      const sidecar = start([
        ...[...electord, '--election', election, '--id', id, '--etcd', etcd, '--ttl', '2s'],
        ...['--listen', `127.0.0.1:${listen}`, '--local-listen', `127.0.0.1:${local}`],
        ...['--advertise', `127.0.0.1:${app}`, '--app-check', `tcp://127.0.0.1:${app}`],
        ...['--proxy', `http://127.0.0.1:${proxy}=leader`, '--agent-check', `127.0.0.1:${agent}`],
        ...['--fast-failover', '250ms', '--log-level', 'error'],
      ]);
      return { id, app, agent, local, listen, proxy, service, sidecar };
    }),
  );
}

/** The one that leads, once all of these are there and know it. */
const leaderOf = (replicas) =>
  until('a leader', async () => {
    const answers = await Promise.all(
      replicas.map(async ({ listen }) => (await asks(`http://127.0.0.1:${listen}/leader`)).json()),
    );
    const names = new Set(answers.map(({ leader }) => leader?.id));
    return names.size === 1 && replicas.find((_, index) => answers[index].isLeader);
  });

/** Writers on kept connections, until they are stopped. */
function write(urls) {
  const agent = new Agent({ keepAlive: true });
  const seen = { writes: 0, failed: 0, longestMs: 0 };
  let stopped = false;
  const one = (url) =>
    new Promise((resolve) => {
      const done = (status) => resolve(status === 201);
      request(url, { method: 'POST', agent }, (answer) => {
        answer
          .resume()
          .on('end', () => done(answer.statusCode))
          .on('error', () => done(0));
      })
        .on('error', () => done(0))
        .end('{"order":"one"}');
    });
  const writer = async (url) => {
    while (!stopped) {
      const sentAt = performance.now();
      const ok = await one(url);
      seen.writes += 1;
      seen.failed += ok ? 0 : 1;
      seen.longestMs = Math.max(seen.longestMs, Math.round(performance.now() - sentAt));
      await delay(10);
    }
  };
  const writers = Array.from({ length: 8 }, (_, index) => writer(urls[index % urls.length]));
  return async () => {
    stopped = true;
    await Promise.all(writers);
    agent.destroy();
    return seen;
  };
}

async function startHaproxy(election, replicas) {
  const [writes, reads] = await ports(2);
  const env = { ELECTION: election };
  env.HAPROXY_WRITES = `127.0.0.1:${writes}`;
  env.HAPROXY_READS = `127.0.0.1:${reads}`;
  for (const [index, { app, listen, agent }] of replicas.entries()) {
    env[`APP_${index + 1}`] = `127.0.0.1:${app}`;
    env[`SIDECAR_${index + 1}_PORT`] = String(listen);
    env[`AGENT_${index + 1}_PORT`] = String(agent);
  }
  const haproxy = start(['haproxy', '-db', '-f', join(here, '../haproxy/agent-check.cfg')], env);
  const url = `http://127.0.0.1:${writes}/`;
  const up = until('HAProxy', async () => (await asks(url, 'POST', '{}')).status === 201);
  return (await Promise.race([up, haproxy.ended.then(() => null)])) && url;
}

const switchover = async (replicas, leader) => {
  const [next] = replicas.filter((one) => one !== leader);
  const to = JSON.stringify({ to: next.id });
  await asks(`http://127.0.0.1:${leader.local}/switchover`, 'POST', to);
};
const kill = (_, leader) => {
  leader.sidecar.kill('SIGKILL');
  leader.service.kill('SIGKILL');
};

async function show(way, what, change, etcd) {
  const election = `sample-${way}-${what}`;
  const replicas = await startReplicas(election, etcd);
  try {
    const leader = await leaderOf(replicas);
    const staying = change === kill ? replicas.filter((one) => one !== leader) : replicas;
    const proxies = staying.map(({ proxy }) => `http://127.0.0.1:${proxy}/`);
    const urls = way === 'proxy' ? proxies : [await startHaproxy(election, replicas)];
    if (urls[0] === null) return null;
    const stop = write(urls);
    await delay(1500);
    await change(replicas, leader);
    await leaderOf(staying);
    await delay(1500);
    const { writes, failed, longestMs } = await stop();
    const line = `${way.padEnd(8)} ${what.padEnd(11)} ${writes} writes, ${failed} failed, the longest took ${longestMs} ms`;
    console.log(line);
    return line;
  } finally {
    const ended = [...running].filter((child) => child !== etcdChild);
    for (const child of ended) child.kill('SIGKILL');
    await Promise.all(ended.map((child) => child.ended));
  }
}

let etcdChild = null;
try {
  const etcd = values.etcd ?? (await startEtcd());
  [etcdChild = null] = running;
  for (const way of ['proxy', 'haproxy']) {
    for (const [what, change] of Object.entries({ switchover, kill })) {
      if ((await show(way, what, change, etcd)) === null) {
        console.log(`${way}: there is none in the PATH`);
        break;
      }
    }
  }
} finally {
  for (const child of running) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}
