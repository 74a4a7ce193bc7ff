// docker-compose.yml and the image, for real: built and brought up on a Docker engine of our own, with
// stand-ins for the images that would be pulled. One of three leads through HAProxy, another one after
// a stop and after a kill, and Prometheus sees all three. As root, or it is left out. Where no
// engine can run this fails, unless ELECTORD_TEST_WITHOUT_DOCKER=1 says that it is known.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { projectFolder } from '../harness/binaries.ts';
import { leftOut, needsRoot } from '../harness/left-out.ts';
import { reservePorts } from '../harness/ports.ts';
import { eventually } from '../harness/wait.ts';
import { startEngine } from './stand-ins/engine.ts';
import type { Engine } from './stand-ins/engine.ts';
import { imagesFromElsewhere, makeStandIns, standInPackages } from './stand-ins/images.ts';

const condition =
  process.env['ELECTORD_TEST_WITHOUT_DOCKER'] === '1'
    ? leftOut('ELECTORD_TEST_WITHOUT_DOCKER=1')
    : needsRoot('a Docker engine');

const preparedWithinMs = 600_000;
const buildTimeoutMs = 300_000;
const upTimeoutMs = 120_000;
/** Three etcd nodes find each other, and the sidecars them, on a machine that is busy with it. */
const settledWithinMs = 60_000;
/** The default TTL is 5 s; etcd looks for expired leases every half second, HAProxy asks as often. */
const failedOverWithinMs = 20_000;
const numbers = [1, 2, 3];

/** What the sample app answers. */
interface AppAnswer {
  readonly app?: string;
  readonly role?: string;
  readonly fencingToken?: string;
}

let engine: Engine;
let writesUrl = '';
let readsUrl = '';
let prometheusUrl = '';
let ports: Record<string, string> = {};
let files: string[] = [];
const tookMs: Record<string, number> = {};

async function timed<T>(name: string, work: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  const result = await work();
  tookMs[name] = Math.round(performance.now() - startedAt);
  return result;
}

const compose = (args: readonly string[], timeoutMs = upTimeoutMs): Promise<string> =>
  engine.compose([...files, ...args], timeoutMs, ports);

async function containerOf(service: string): Promise<string> {
  return (await compose(['ps', '-q', service])).trim();
}

/** A program text run by the Node inside a sidecar's container. */
async function insideSidecar(number: number, program: string): Promise<string> {
  const container = await containerOf(`sidecar-${number}`);
  return engine.docker(['exec', container, 'node', '-e', program]);
}

async function ask(url: string, method: string): Promise<{ status: number; body: AppAnswer }> {
  const response = await fetch(url, {
    method,
    headers: { Connection: 'close' },
    signal: AbortSignal.timeout(3_000),
  });
  const text = await response.text();
  return {
    status: response.status,
    body: text.startsWith('{') ? (JSON.parse(text) as AppAnswer) : {},
  };
}

/** The app that takes a write; waits until one other than those named does. */
async function writer(not: readonly string[], withinMs: number) {
  const taken = async () => {
    const { status, body } = await ask(writesUrl, 'POST');
    const { app = '', fencingToken = '' } = body;
    return status === 201 && !not.includes(app) && { app, token: BigInt(fencingToken) };
  };
  try {
    return await eventually(taken, { withinMs, what: `a write that ${not.join()} does not take` });
  } catch (error) {
    const logs = await compose(['logs', '--no-color', '--tail=25']);
    throw new Error(`${String(error)}\n${logs}`, { cause: error });
  }
}

/** Waits until reads come from just these apps. */
async function readers(apps: readonly string[]): Promise<void> {
  const seen = async () => {
    const found = new Set<string>();
    for (let sent = 0; sent < 6; sent += 1) {
      const { status, body } = await ask(readsUrl, 'GET');
      found.add(status === 200 ? (body.app ?? '') : String(status));
    }
    return found.size === apps.length && apps.every((app) => found.has(app));
  };
  await eventually(seen, { withinMs: failedOverWithinMs, what: `reads from ${apps.join()} only` });
}

const sidecarOf = (app: string): string => app.replace('app', 'sidecar');
const appsWithout = (...gone: readonly string[]): string[] =>
  numbers.map((number) => `app-${number}`).filter((app) => !gone.includes(app));

/** No bridge leads out of our engine's networks, so the build gets the machine's own network. */
const buildOnHostNetwork = JSON.stringify({
  services: Object.fromEntries(
    numbers.map((number) => [`sidecar-${number}`, { build: { network: 'host' } }]),
  ),
});

describe('docker-compose.yml', condition, () => {
  beforeAll(async () => {
    try {
      engine = await timed('engine', () => startEngine(standInPackages));
    } catch (error) {
      const hint = 'set ELECTORD_TEST_WITHOUT_DOCKER=1 to leave this test out';
      throw new Error(`no Docker engine (${hint}): ${String(error)}`, { cause: error });
    }
    const [writes = 0, reads = 0, prometheus = 0] = await reservePorts(3);
    writesUrl = `http://127.0.0.1:${writes}/`;
    readsUrl = `http://127.0.0.1:${reads}/`;
    prometheusUrl = `http://127.0.0.1:${prometheus}`;
    ports = { WRITES_PORT: `${writes}`, READS_PORT: `${reads}`, PROMETHEUS_PORT: `${prometheus}` };
    const override = join(engine.folder, 'build.yml');
    await writeFile(override, buildOnHostNetwork);
    files = ['-f', join(projectFolder, 'docker-compose.yml'), '-f', override, '-p', 'electord'];
    const images = await imagesFromElsewhere();
    await timed('stand-ins', () => makeStandIns(images, engine));
    await timed('build', () => compose(['build'], buildTimeoutMs));
    await timed('up', () => compose(['up', '-d']));
  }, preparedWithinMs);

  afterAll(async () => {
    // Undefined when none could be started.
    if ((engine as Engine | undefined) === undefined) return;
    await timed('down', () => compose(['down', '-v', '-t', '2']).catch(() => ''));
    await timed('stop', () => engine.stop());
    console.error(`took, in ms: ${JSON.stringify(tookMs)}`);
  }, 120_000);

  test(
    'elects one of three, and HAProxy follows a hand-over and a failover',
    async () => {
      const first = await timed('elected', () => writer([], settledWithinMs));
      await readers(appsWithout(first.app));

      await compose(['stop', sidecarOf(first.app)]);
      const second = await timed('after stop', () => writer([first.app], failedOverWithinMs));
      expect(second.token).toBeGreaterThan(first.token);
      await readers(appsWithout(first.app, second.app));

      await compose(['kill', sidecarOf(second.app)]);
      const third = await timed('after kill', () =>
        writer([first.app, second.app], failedOverWithinMs),
      );
      expect(third.token).toBeGreaterThan(second.token);

      await compose(['start', sidecarOf(first.app), sidecarOf(second.app)]);
      await readers([first.app, second.app]);
      expect((await writer([], failedOverWithinMs)).app).toBe(third.app);

      await compose(['restart', third.app]);
      const again = await writer([], failedOverWithinMs);
      // Its sidecar was left alone, and its term went on.
      expect(again).toEqual(third);
    },
    settledWithinMs + 6 * failedOverWithinMs,
  );

  test('Prometheus scrapes all three sidecars', async () => {
    const up = async () => {
      const response = await fetch(`${prometheusUrl}/api/v1/targets`);
      const { data } = (await response.json()) as {
        data: { activeTargets: { health: string; labels: { instance: string } }[] };
      };
      const healthy = data.activeTargets.filter(({ health }) => health === 'up');
      return healthy.length === 3 && healthy.map(({ labels }) => labels.instance).sort();
    };
    const instances = await eventually(up, { withinMs: 30_000, what: 'three targets up' });
    expect(instances).toEqual(['app-1:4040', 'app-2:4040', 'app-3:4040']);
  });

  test('the image holds Node, one file and its code cache, and is small', async () => {
    const size = Number(
      await engine.docker(['image', 'inspect', '-f', '{{.Size}}', 'electord:local']),
    );
    console.error(`the image has ${Math.round(size / 1e6)} MB`);
    // Node itself is all but a few megabytes of it.
    expect(size).toBeLessThan(150e6);
    const list = `
      const { readdirSync } = require('node:fs');
      const below = (folder) => readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
        const path = (folder === '/' ? '' : folder) + '/' + entry.name;
        if (['/proc', '/sys', '/dev', '/etc'].includes(path)) return [];
        return entry.isDirectory() ? below(path) : [path];
      });
      console.log(JSON.stringify(below('/')));`;
    const inside = JSON.parse(await insideSidecar(1, list)) as string[];
    const notLibraries = inside.filter(
      (path) => !/\.so(\.|$)/.test(path) && path !== '/.dockerenv',
    );
    expect(notLibraries.sort()).toEqual([
      '/usr/local/bin/electord',
      '/usr/local/bin/electord.cache',
      '/usr/local/bin/node',
    ]);
  });

  test('a sidecar is no root, cannot write to its root, and has no capabilities', async () => {
    const attempt = `
      const { readFileSync, writeFileSync } = require('node:fs');
      let code = 'written';
      try { writeFileSync('/x', ''); } catch (error) { code = error.code; }
      const status = readFileSync('/proc/1/status', 'utf8');
      const field = (name) => new RegExp('^' + name + ':\\\\s*(\\\\S+)', 'm').exec(status)[1];
      console.log(JSON.stringify([process.getuid(), code, field('CapBnd'), field('NoNewPrivs')]));`;
    expect(JSON.parse(await insideSidecar(1, attempt))).toEqual([
      65_532,
      'EROFS',
      '0000000000000000',
      '1',
    ]);
    const user = await engine.docker([
      'image',
      'inspect',
      '-f',
      '{{.Config.User}}',
      'electord:local',
    ]);
    expect(user.trim()).toBe('65532:65532');
  });

  test('every container has a read-only root, and ports on 127.0.0.1 only', async () => {
    const containers = (await compose(['ps', '-q'])).trim().split('\n');
    expect(containers).toHaveLength(14);
    const format = '{{.HostConfig.ReadonlyRootfs}} {{json .HostConfig.PortBindings}}';
    const inspected = await engine.docker(['inspect', '-f', format, ...containers]);
    for (const line of inspected.trim().split('\n')) {
      expect(line).toMatch(/^true /);
      for (const [, address] of line.matchAll(/"HostIp":"([^"]*)"/g))
        expect(address).toBe('127.0.0.1');
    }
  });

  test('the health check of the image passes, and electord runs by its name', async () => {
    const container = await containerOf('sidecar-2');
    const health = async () =>
      (await engine.docker(['inspect', '-f', '{{.State.Health.Status}}', container])).trim() ===
      'healthy';
    await eventually(health, { withinMs: 30_000, what: 'a healthy sidecar-2' });
    expect(await engine.docker(['exec', container, 'electord', '--version'])).toMatch(
      /\d+\.\d+\.\d+/,
    );
  });
});
