// deploy/nginx/electord.conf on a stock nginx before three apps with real sidecars: writes reach the leader's app only,
// reads all of them, through switchovers under a load, a frozen sidecar and a kill.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { spawnGuarded, type GuardedChild } from '../../src/dev/etcd-child.ts';
import { projectFolder } from '../harness/binaries.ts';
import { reservePorts } from '../harness/ports.ts';
import { findPrograms, nginxWanted } from '../harness/programs.ts';
import { eventually } from '../harness/wait.ts';
import { ask, Balanced, spanOf, WriteLoad, type Pair } from './balanced.ts';

const withinMs = 20_000;
const switchovers = 6;

let stage: Balanced;
let nginx: GuardedChild;
let folder = '';
let writes = '';
let reads = '';

/** The file with the addresses of this test in place of those in it. */
async function configuration(writesPort: number, readsPort: number): Promise<string> {
  let text = await readFile(join(projectFolder, 'deploy/nginx/electord.conf'), 'utf8');
  for (const [index, { appPort, sidecar }] of stage.pairs.entries()) {
    const host = `10.0.0.${7 + index}`;
    const { port } = new URL(sidecar.url);
    text = text
      .replaceAll(`${host}:4040`, `127.0.0.1:${port}`)
      .replaceAll(`${host.replaceAll('.', '\\.')}:4040`, `127\\.0\\.0\\.1:${port}`)
      .replaceAll(`${host}:8080`, `127.0.0.1:${appPort}`);
  }
  expect(text.replaceAll(/^#.*$/gm, '')).not.toContain('10.0.0');
  return text
    .replace('listen 8080', `listen 127.0.0.1:${writesPort}`)
    .replace('listen 8081', `listen 127.0.0.1:${readsPort}`)
    .replace(/^ *8081/m, `    ${readsPort}`);
}

beforeAll(async () => {
  const [started, { env }, [writesPort = 0, readsPort = 0]] = await Promise.all([
    Balanced.start(),
    findPrograms(nginxWanted),
    reservePorts(2),
  ]);
  stage = started;
  folder = await mkdtemp(join(tmpdir(), 'electord-nginx-'));
  await writeFile(join(folder, 'electord.conf'), await configuration(writesPort, readsPort));
  // What a distribution's nginx.conf says around it, as far as it must.
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${join(folder, name)};`,
  );
  await writeFile(
    join(folder, 'nginx.conf'),
    `daemon off; pid ${join(folder, 'nginx.pid')}; error_log stderr warn; worker_processes 2;
    events {} http { access_log off; ${temporary.join(' ')} include electord.conf; }`,
  );
  nginx = await spawnGuarded({
    file: 'nginx',
    args: ['-e', 'stderr', '-p', folder, '-c', join(folder, 'nginx.conf')],
    env,
  });
  writes = `http://127.0.0.1:${writesPort}/`;
  reads = `http://127.0.0.1:${readsPort}/`;
  await reaches(await stage.leader());
}, 300_000);

afterAll(async () => {
  await nginx.stop(2000);
  await stage.end();
  await rm(folder, { recursive: true, force: true });
});

/** Waits until a write is taken by that one. */
async function reaches({ name }: Pair): Promise<void> {
  const taken = async (): Promise<boolean> => {
    const { status, text } = await ask(writes);
    return status === 201 && text === name;
  };
  await eventually(taken, { withinMs, what: `a write reaches ${name}` });
}

/** Who answers so many reads in a row. */
async function readers(count: number): Promise<readonly string[]> {
  const seen = new Set<string>();
  for (let sent = 0; sent < count; sent += 1) {
    const { status, text } = await ask(reads, { method: 'GET' });
    seen.add(status === 200 ? text : String(status));
  }
  return [...seen].toSorted();
}

test('reads reach all, writes the leader, whatever the others say', async () => {
  expect(await readers(12)).toEqual(['app-1', 'app-2', 'app-3']);
  const { name } = await stage.leader();
  for (let sent = 0; sent < 12; sent += 1) {
    expect(await ask(writes)).toEqual({ status: 201, text: name });
  }
});

test('a switchover under a load of writes fails those of the gap itself', async () => {
  const load = new WriteLoad(writes);
  const told: string[] = [];
  await load.settled();
  for (let done = 0; done < switchovers; done += 1) {
    const before = load.failures.length;
    const to = await stage.switchOver();
    // No interval passes: the next one that is sent is asked for anew.
    await load.settled();
    const { count, ms } = spanOf(load.failures.slice(before));
    told.push(`${count} in ${ms} ms`);
    expect((await ask(writes)).text).toBe(to.name);
  }
  await load.end();
  console.error(
    `nginx: of ${load.sent} writes failed per switchover: ${told.join(', ')}; the slowest took ${Math.round(load.slowestMs)} ms`,
  );
  // Neither is a former leader asked, nor does anything but a refusal come of it.
  const causes = new Set(load.failures.map(({ why }) => why.replace(/app-\d/, 'an app')));
  expect([...causes].filter((why) => !['503 nobody leads', '503 an app'].includes(why))).toEqual(
    [],
  );
}, 120_000);

test('goes on beside a sidecar that is frozen, and one that is killed', async () => {
  const leader = await stage.leader();
  const [frozen, other] = stage.pairs.filter((pair) => pair !== leader);
  frozen!.sidecar.signal('SIGSTOP');
  for (let sent = 0; sent < 6; sent += 1) {
    expect(await ask(writes)).toEqual({ status: 201, text: leader.name });
  }
  frozen!.sidecar.signal('SIGCONT');
  leader.sidecar.signal('SIGKILL');
  await reaches(await stage.leader([frozen!, other!]));
  expect(await readers(8)).toEqual([frozen!.name, other!.name].toSorted());
}, 120_000);
