// What the proxy costs and keeps, beside HAProxy on the same machine in the same run: requests a second, bytes a second,
// memory of silent connections, and what writers see of a planned switchover and of a leader that is killed.
//
// node scripts/run-ts.mjs test/bench/proxy.ts [ROUNDS]     needs haproxy and wrk; prints a table, and JSON as the last line
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { runCommand } from '../../src/dev/etcd-command.ts';
import { agreement, openStage, type Stage } from '../e2e/stage.ts';
import { reservePorts } from '../harness/ports.ts';
import { misled, ProxiedApp, startLoad } from '../harness/proxied-app.ts';
import { monotonicMs, type Sidecar } from '../harness/sidecar.ts';
import { eventually, within } from '../harness/wait.ts';

const rounds = Number(process.argv[2] ?? 3);
const seconds = 5;
const soonMs = 30_000;
const median = (values: readonly number[]): number =>
  [...values].sort((one, other) => one - other)[Math.floor(values.length / 2)] ?? NaN;

/** Says which step begins; one that hangs is an error, which tells it. */
function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  console.error(what);
  return within(work(), { withinMs: 120_000, what });
}

const folder = mkdtempSync(join(tmpdir(), 'electord-bench-'));
const running: ChildProcess[] = [];

/** Both listeners of it pass on to `port`; the app for HTTP is HAProxy as well, which costs least. */
async function haproxy(ports: Readonly<Record<'app' | 'http' | 'tcp', number>>, sink: number) {
  const file = join(folder, 'haproxy.cfg');
  const times = 'timeout client 30s\n  timeout server 30s\n  timeout connect 2s';
  writeFileSync(
    file,
    `global
  nbthread 1
defaults http
  mode http
  ${times}
frontend app
  bind 127.0.0.1:${ports.app}
  http-request return status 200 content-type text/plain string "hello, this is an answer"
frontend proxy
  bind 127.0.0.1:${ports.http}
  default_backend app
backend app
  http-reuse safe
  option forwardfor
  server app 127.0.0.1:${ports.app}
defaults tcp
  mode tcp
  ${times}
listen bytes
  bind 127.0.0.1:${ports.tcp}
  server sink 127.0.0.1:${sink}
`,
  );
  running.push(spawn('haproxy', ['-f', file], { stdio: 'ignore' }));
  await eventually(
    () =>
      new Promise<boolean>((resolve) => {
        const socket = connect(ports.app, '127.0.0.1', () => {
          socket.destroy();
          resolve(true);
        });
        socket.on('error', () => resolve(false));
      }),
    { withinMs: soonMs, what: 'HAProxy' },
  );
}

async function requestsASecond(port: number): Promise<number> {
  const args = ['-t1', '-c64', `-d${seconds}`, `http://127.0.0.1:${port}/`];
  const { stdout } = await runCommand('wrk', args, { timeoutMs: 60_000 });
  if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(stdout);
  return Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]);
}

/** Sends for a while on a few connections what the other end throws away; megabytes a second. */
async function megabytesASecond(port: number): Promise<number> {
  const chunk = Buffer.alloc(65_536);
  let sent = 0;
  const until = monotonicMs() + seconds * 1000;
  const one = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const socket: Socket = connect(port, '127.0.0.1');
      socket.on('error', reject);
      // What was broken off by a proper end drains no more.
      socket.on('close', () => reject(new Error(`the proxy at ${port} ended the connection`)));
      const push = (): void => {
        while (monotonicMs() < until) {
          sent += chunk.length;
          if (!socket.write(chunk)) return void socket.once('drain', push);
        }
        resolve();
        socket.destroy();
      };
      socket.once('connect', push);
    });
  await Promise.all([one(), one(), one(), one()]);
  return sent / 1e6 / seconds;
}

const residentMb = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

async function throughput(stage: Stage) {
  const [app = 0, haHttp = 0, haTcp = 0, ourHttp = 0, ourTcp = 0] = await reservePorts(5);
  const sink = createServer((socket) => socket.resume().on('error', () => undefined));
  await new Promise<void>((resolve) => sink.listen(0, '127.0.0.1', resolve));
  const { port: sinkPort } = sink.address() as { port: number };
  await haproxy({ app, http: haHttp, tcp: haTcp }, sinkPort);
  const of = async (election: string, id: string, proxy: string, target: number) => {
    const args = [`--advertise=127.0.0.1:${target}`, `--proxy=${proxy}`];
    const sidecar = await stage.sidecar({ election, id, args });
    await agreement([sidecar]);
    return sidecar;
  };
  await of('requests', 'h', `http://127.0.0.1:${ourHttp}=leader`, app);
  const tcp = await of('bytes', 't', `tcp://127.0.0.1:${ourTcp}=leader`, sinkPort);
  const figures = {
    http: [] as number[],
    haHttp: [] as number[],
    tcp: [] as number[],
    haTcp: [] as number[],
  };
  for (let round = 0; round < rounds; round += 1) {
    figures.haHttp.push(await step('requests through HAProxy', () => requestsASecond(haHttp)));
    figures.http.push(await step('requests', () => requestsASecond(ourHttp)));
    figures.haTcp.push(await step('bytes through HAProxy', () => megabytesASecond(haTcp)));
    figures.tcp.push(await step('bytes', () => megabytesASecond(ourTcp)));
  }
  const memory = await step('silent connections', () => idleMemory(tcp, ourTcp));
  sink.close();
  return { ...figures, ...memory };
}

async function idleMemory({ pid }: Sidecar, port: number) {
  const beforeMb = residentMb(pid);
  const sockets = Array.from({ length: 1000 }, () => connect(port, '127.0.0.1'));
  // Rejects where one fails.
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  for (const socket of sockets) socket.on('error', () => undefined).write('x');
  await delay(2000);
  const afterMb = residentMb(pid);
  for (const socket of sockets) socket.destroy();
  return { idleMb: afterMb - beforeMb };
}

async function change(stage: Stage, how: 'switchover' | 'kill', round: number) {
  const election = `${how}-${round}`;
  const apps = await Promise.all(['a', 'b', 'c'].map((id) => ProxiedApp.start(id)));
  const ports = await reservePorts(3);
  const sidecars = await Promise.all(
    apps.map((app, index) =>
      stage.sidecar({
        election,
        id: app.name,
        args: [
          '--ttl=5s',
          `--advertise=${app.address}`,
          `--proxy=http://127.0.0.1:${ports[index]}=leader`,
        ],
      }),
    ),
  );
  const { leader, others } = await agreement(sidecars);
  const app = apps.find(({ name }) => name === leader.id)!;
  // Who is killed takes its own proxy along: clients use those that stay.
  const staying = how === 'kill' ? others : sidecars;
  const urls = staying.map((one) => `http://127.0.0.1:${ports[sidecars.indexOf(one)]}`);
  const load = startLoad({ urls, connections: 200, perSecond: 2000 });
  await delay(3000);
  if (how === 'kill') {
    leader.signal('SIGKILL');
    await app.kill();
  } else {
    await leader.get('/step-down', {
      method: 'POST',
      local: true,
      body: '{}',
      headers: { 'Content-Type': 'application/json' },
    });
  }
  await agreement(
    staying.filter((one) => how === 'switchover' || one !== leader),
    soonMs,
  );
  await delay(3000);
  const written = await load.stop();
  const failed = written.filter(({ ok }) => !ok);
  const longestMs = Math.round(Math.max(...written.map(({ tookMs }) => tookMs)));
  const result = {
    how,
    writes: written.length,
    failed: failed.length,
    longestMs,
    misled: misled(apps, written).length,
    why: [...new Set(failed.map(({ result: why }) => why))],
  };
  await stage.clear();
  await Promise.all(apps.map((one) => one.kill().catch(() => undefined)));
  return result;
}

const stage = await openStage({ size: 1 });
try {
  const { http, haHttp, tcp, haTcp, idleMb } = await throughput(stage);
  await stage.clear();
  const changes = [];
  for (const how of ['switchover', 'kill'] as const) {
    for (let round = 0; round < rounds; round += 1) {
      changes.push(await step(`${how} ${round}`, () => change(stage, how, round)));
    }
  }
  console.log(
    `requests a second  ${median(http).toFixed(0)}  HAProxy ${median(haHttp).toFixed(0)}  ratio ${(median(http) / median(haHttp)).toFixed(2)}`,
  );
  console.log(
    `megabytes a second ${median(tcp).toFixed(0)}  HAProxy ${median(haTcp).toFixed(0)}  ratio ${(median(tcp) / median(haTcp)).toFixed(2)}`,
  );
  console.log(`1,000 silent connections: ${idleMb.toFixed(1)} MB`);
  console.table(changes);
  console.log(JSON.stringify({ http, haHttp, tcp, haTcp, idleMb, changes }));
} finally {
  for (const child of running) child.kill();
  await stage.end();
  rmSync(folder, { recursive: true, force: true });
}
