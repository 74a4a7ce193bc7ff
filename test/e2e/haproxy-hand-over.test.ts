// A hand-over as writers behind HAProxy see it: by deploy/haproxy/haproxy.cfg, which asks at an interval, and by
// agent-check.cfg, which is told.
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { runCommand } from '../../src/dev/etcd-command.ts';
import { spawnGuarded, type GuardedChild } from '../../src/dev/etcd-child.ts';
import { projectFolder } from '../harness/binaries.ts';
import { reservePorts } from '../harness/ports.ts';
import { findPrograms, haproxyWanted } from '../harness/programs.ts';
import { eventually } from '../harness/wait.ts';
import { ask, Balanced, spanOf, WriteLoad, type Pair } from './balanced.ts';

const agentCheck = 'deploy/haproxy/agent-check.cfg';
const withinMs = 20_000;
const switchovers = 6;

let stage: Balanced;
let env: NodeJS.ProcessEnv = {};
const proxies: GuardedChild[] = [];

beforeAll(async () => {
  [stage, { env }] = await Promise.all([Balanced.start(), findPrograms(haproxyWanted)]);
  await stage.leader();
}, 300_000);

afterEach(async () => {
  await Promise.all(proxies.splice(0).map((proxy) => proxy.stop(2000)));
});

afterAll(() => stage.end());

interface Proxy {
  readonly writes: string;
  readonly reads: string;
  readonly log: readonly string[];
}

/** HAProxy with that file before all pairs; `agentPorts` where not those of the sidecars. */
async function through(file: string, agentPorts?: readonly number[]): Promise<Proxy> {
  const [writes = 0, reads = 0] = await reservePorts(2);
  const variables: NodeJS.ProcessEnv = {
    HAPROXY_WRITES: `127.0.0.1:${writes}`,
    HAPROXY_READS: `127.0.0.1:${reads}`,
  };
  for (const [index, { appPort, agentPort, sidecar }] of stage.pairs.entries()) {
    variables[`APP_${index + 1}`] = `127.0.0.1:${appPort}`;
    variables[`SIDECAR_${index + 1}_PORT`] = new URL(sidecar.url).port;
    variables[`AGENT_${index + 1}_PORT`] = String(agentPorts?.[index] ?? agentPort);
  }
  const log: string[] = [];
  proxies.push(
    await spawnGuarded({
      file: 'haproxy',
      args: ['-db', '-f', join(projectFolder, file)],
      env: { ...env, ...variables },
      onLine: (line) => log.push(line),
    }),
  );
  return { writes: `http://127.0.0.1:${writes}/`, reads: `http://127.0.0.1:${reads}/`, log };
}

/** Waits until a write is taken by that one. */
function reaches(writes: string, { name }: Pair): Promise<unknown> {
  const taken = async (): Promise<boolean> => {
    const { status, text } = await ask(writes);
    return status === 201 && text === name;
  };
  return eventually(taken, { withinMs, what: `a write reaches ${name}` });
}

/** What fails in a row of switchovers under a load of writes. */
async function failuresIn(file: string): Promise<readonly number[]> {
  const { writes } = await through(file);
  await reaches(writes, await stage.leader());
  const load = new WriteLoad(writes);
  const counts: number[] = [];
  const told: string[] = [];
  await load.settled();
  for (let done = 0; done < switchovers; done += 1) {
    const before = load.failures.length;
    await stage.switchOver();
    await load.settled();
    const failures = load.failures.slice(before);
    const { count, ms } = spanOf(failures);
    counts.push(count);
    told.push(`${count} in ${ms} ms`);
    if (process.env['WHY'])
      console.error(failures.map(({ atMs, why }) => `${Math.round(atMs)} ${why}`));
  }
  await load.end();
  console.error(
    `${file}: of ${load.sent} writes failed per switchover: ${told.join(', ')}; the slowest took ${Math.round(load.slowestMs)} ms`,
  );
  return counts;
}

test('a switchover under a load of writes fails few: those in flight, and those in the gap itself', async () => {
  const asked = await failuresIn('deploy/haproxy/haproxy.cfg');
  const told = await failuresIn(agentCheck);
  const sum = (counts: readonly number[]): number => counts.reduce((all, one) => all + one, 0);
  expect(sum(told)).toBeLessThan(sum(asked) / 2);
}, 120_000);

test('the file for agent-check is without a fault', async () => {
  const args = ['-c', '-f', join(projectFolder, agentCheck)];
  const checked = await runCommand('haproxy', args, { timeoutMs: withinMs, env });
  expect(checked.code, checked.stderr).toBe(0);
  expect(`${checked.stdout}${checked.stderr}`).not.toContain('[ALERT]');
});

test('a sidecar without an agent gets no write', async () => {
  const { writes, log } = await through(agentCheck, await reservePorts(3));
  const isDown = (name: string): boolean => log.some((line) => line.includes(`${name} is DOWN`));
  const names = stage.pairs.map(({ name }) => `leader/${name}`);
  await eventually(() => names.every(isDown), { withinMs, what: 'all are down' });
  expect(await ask(writes)).toMatchObject({ status: 503, text: '' });
});

test('follows a hand-over by SIGTERM and a kill, and cuts off what a former leader was still answering', async () => {
  const { writes, reads } = await through(agentCheck);
  const first = await stage.leader();
  await reaches(writes, first);
  const read = new Set<string>();
  const others = stage.pairs.filter((pair) => pair !== first);
  const spread = async (): Promise<boolean> => {
    read.add((await ask(reads, { method: 'GET' })).text);
    return others.every(({ name }) => read.has(name));
  };
  await eventually(spread, { withinMs, what: 'reads reach both followers' });

  const hanging = ask(`${writes}hang`);
  await eventually(() => stage.hanging > 0, { withinMs, what: 'a write that does not end' });
  first.sidecar.signal('SIGTERM');
  const second = await stage.leader(others);
  await reaches(writes, second);
  expect(await hanging).toEqual({ status: 0, text: 'cut off' });

  second.sidecar.signal('SIGKILL');
  const last = others.filter((pair) => pair !== second);
  await reaches(writes, await stage.leader(last));
}, 120_000);
