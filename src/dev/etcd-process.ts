// Starts one etcd on free ports of 127.0.0.1 and says when it really serves. Its data is temporary
// unless a folder is given, and goes when it is stopped. It is for development and tests: no TLS, no
// authentication, no cluster of several members unless asked for by arguments.
import { mkdtemp, rm } from 'node:fs/promises';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { etcdEnvironment } from './etcd-cache.ts';
import { spawnGuarded } from './etcd-child.ts';
import type { ChildExit, GuardedChild } from './etcd-child.ts';

/** How to start an etcd. */
export interface StartEtcdOptions {
  /** The etcd program, as {@link findEtcd} answers it. */
  readonly binary: string;
  /** The member's name; `dev` by default. */
  readonly name?: string;
  /** Where it keeps its data; kept at stop. By default a temporary folder that goes at stop. */
  readonly dataDir?: string;
  /** Where an earlier one with the same data was, which its clients and its data know; else free ports. */
  readonly urls?: EtcdUrls;
  /** More flags, after ours and so stronger. */
  readonly extraArgs?: readonly string[];
  /** Gets every line that etcd writes. */
  readonly log?: (line: string) => void;
}

/** Where it listens, `http://127.0.0.1:PORT`. */
export interface EtcdUrls {
  readonly clientUrl: string;
  readonly peerUrl: string;
}

/** An etcd that serves. */
export interface RunningEtcd extends GuardedChild, EtcdUrls {
  /** Ends it (by SIGKILL after 2 s, unless said otherwise) and removes its temporary data; calling it again does nothing more. */
  stop(graceMs?: number): Promise<ChildExit>;
}

/** Certificates for asking an etcd over TLS, in PEM. */
export interface ProbeTls {
  readonly ca: string;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

/** An etcd alone serves in a fraction of a second; slow disks and busy machines need more. */
const servingWithinMs = 30_000;

/** Between two questions whether it serves: small against a start, dear enough not to burn a core. */
const pollEveryMs = 10;

/** One question whether it serves must not hang on a member that accepts and stays silent. */
const probeTimeoutMs = 2_000;

/** A free port can be taken by somebody else before etcd binds it; then we try others. */
const startAttempts = 5;

/** SIGTERM lets etcd close its files; its data is temporary, so it is not given long. */
const stopGraceMs = 2_000;

/** A port of 127.0.0.1 that nobody listened on a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port: 0, host: '127.0.0.1', exclusive: true }, resolve);
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no TCP port was given');
  return address.port;
}

/** Whether the member at `clientUrl` answers `/health` with 200: it has a leader and can read. */
export function isServing(clientUrl: string, tls?: ProbeTls): Promise<boolean> {
  return new Promise((resolve) => {
    const request = clientUrl.startsWith('https:') ? requestHttps : requestHttp;
    const probe = request(
      `${clientUrl}/health`,
      { agent: false, timeout: probeTimeoutMs, ...tls },
      (answer) => {
        answer.resume();
        resolve(answer.statusCode === 200);
      },
    );
    probe.on('timeout', () => probe.destroy());
    probe.on('error', () => resolve(false));
    probe.on('close', () => resolve(false));
    probe.end();
  });
}

/**
 * Waits until a just started member serves.
 *
 * @throws Error with its last output when it ended instead, or did not serve within 30 s.
 */
export async function untilServing(
  child: GuardedChild,
  clientUrl: string,
  tls?: ProbeTls,
): Promise<void> {
  const deadline = performance.now() + servingWithinMs;
  for (;;) {
    const end = child.exit();
    if (end !== null) {
      throw new Error(`etcd ended (${end.code ?? end.signal}) at start:\n${child.recentOutput()}`);
    }
    if (await isServing(clientUrl, tls)) return;
    if (performance.now() > deadline) {
      throw new Error(
        `etcd at ${clientUrl} did not serve within ${servingWithinMs} ms:\n${child.recentOutput()}`,
      );
    }
    await delay(pollEveryMs);
  }
}

/** Starts the program with the flags; its output is quiet (warnings) and in the ring. */
export function spawnEtcd(
  binary: string,
  args: readonly string[],
  log?: (line: string) => void,
): Promise<GuardedChild> {
  return spawnGuarded({
    file: binary,
    args: ['--logger=zap', '--log-level=warn', '--log-outputs=stderr', ...args],
    env: etcdEnvironment(),
    ...(log === undefined ? {} : { onLine: log }),
  });
}

/** Whether etcd's last words say that its port was taken. */
export function saysPortTaken(output: string): boolean {
  return /address already in use/i.test(output);
}

async function freeUrls(): Promise<EtcdUrls> {
  const [client, peer] = [await freePort(), await freePort()];
  return { clientUrl: `http://127.0.0.1:${client}`, peerUrl: `http://127.0.0.1:${peer}` };
}

async function startOnce(options: StartEtcdOptions, dataDir: string): Promise<RunningEtcd> {
  const name = options.name ?? 'dev';
  const { clientUrl, peerUrl } = options.urls ?? (await freeUrls());
  const args = [
    `--name=${name}`,
    `--data-dir=${dataDir}`,
    `--listen-client-urls=${clientUrl}`,
    `--advertise-client-urls=${clientUrl}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=${name}=${peerUrl}`,
    ...(options.extraArgs ?? []),
  ];
  const child = await spawnEtcd(options.binary, args, options.log);
  try {
    await untilServing(child, clientUrl);
  } catch (error) {
    await child.stop(0);
    throw error;
  }
  return {
    ...child,
    clientUrl,
    peerUrl,
    async stop(graceMs = stopGraceMs) {
      const exit = await child.stop(graceMs);
      if (options.dataDir === undefined) await rm(dataDir, { recursive: true, force: true });
      return exit;
    },
  };
}

/**
 * Starts a single etcd member and resolves once it serves.
 *
 * @throws Error with etcd's last output when it does not start.
 */
export async function startEtcd(options: StartEtcdOptions): Promise<RunningEtcd> {
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'electord-etcd-')));
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startOnce(options, dataDir);
    } catch (error) {
      if (options.dataDir === undefined) await rm(dataDir, { recursive: true, force: true });
      const taken = saysPortTaken(error instanceof Error ? error.message : '');
      if (!taken || options.urls !== undefined || attempt >= startAttempts) throw error;
    }
  }
}
