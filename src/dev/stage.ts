// Everything that `electord dev` runs: an etcd, three sidecars, three sample apps, a folder for their
// data, and the sweeper that cleans up if `electord dev` itself is killed. Promises that after `clear`
// no process and no folder of it is left, whatever state it was in; clearing twice is fine.
import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findEtcd, type EtcdBinaries } from './etcd-binary.ts';
import { spawnGuarded, type ChildExit, type GuardedChild } from './etcd-child.ts';
import { startEtcd, type EtcdUrls } from './etcd-process.ts';
import { freePorts } from './ports.ts';
import { startSweeper, type Sweeper } from './sweeper.ts';

/** The election in which the three sidecars stand. */
export const ELECTION = 'demo';
/** What a crash costs where nobody is a witness: short, and above etcd's minimum of 2 s. */
export const TTL_SECONDS = 3;
/** A leader that its witnesses do not hear for so long is replaced. */
export const FAST_FAILOVER_MS = 250;
/** A process that died comes back after this: long enough to see its successor lead (at worst TTL + 0.5 s). */
export const RESTART_AFTER_MS = 6_000;
/** A child that has not ended this long after SIGTERM is killed. */
const STOP_BOUND_MS = 3_000;

/** One of the seven processes that may die and come back. */
export interface Part {
  readonly kind: 'etcd' | 'sidecar' | 'app';
  /** For people: `etcd`, or `demo-0's sidecar`. */
  readonly name: string;
  readonly url: string;
  /** Starts a process for it, at the same address. */
  readonly start: () => Promise<GuardedChild>;
  /** The latest process; it may have ended. */
  child: GuardedChild | null;
  /** When it comes back, on the monotonic clock; null while it runs. */
  restartAtMs: number | null;
}

/** A sample app and the sidecar beside it. */
export interface Place {
  readonly id: string;
  readonly sidecar: Part;
  readonly app: Part;
}

/** Something that happened on the stage. */
export type StageEvent =
  | { readonly kind: 'died'; readonly part: Part; readonly exit: ChildExit }
  | { readonly kind: 'returned'; readonly part: Part };

/** What a stage needs to know. */
export interface StageOptions {
  /** The built product, which runs the sidecars. */
  readonly product: string;
  /** The built file of this folder, which runs the apps and the sweeper. */
  readonly entry: string;
  /** Where a copy of etcd may be kept from one time to the next. */
  readonly cacheDir: string;
  /** Whether a process that dies comes back. */
  readonly restarts: boolean;
  readonly log: (line: string) => void;
  readonly onEvent: (event: StageEvent) => void;
}

/** The etcd of all places. */
export type EtcdPart = Part & { readonly version: string };

/** See the head of this file. */
export class Stage {
  readonly #options: StageOptions;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #starting = new Set<Promise<unknown>>();
  readonly #running = new Set<GuardedChild>();
  #places: readonly Place[] = [];
  #etcd: EtcdPart | null = null;
  #folder: string | null = null;
  #sweeper: Sweeper | null = null;
  #cleared: Promise<void> | null = null;

  constructor(options: StageOptions) {
    this.#options = options;
  }

  get places(): readonly Place[] {
    return this.#places;
  }

  /** Only once it has been started. */
  get etcd(): EtcdPart {
    if (this.#etcd === null) throw new Error('etcd has not been started');
    return this.#etcd;
  }

  /** Starts everything; resolves when all processes run, before anyone is elected. */
  async raise(): Promise<void> {
    const { cacheDir, log } = this.#options;
    const found = await findEtcd({ want: 'any', cacheDir, log });
    const folder = join(tmpdir(), `electord-dev-${randomUUID()}`);
    await this.#start(async () => {
      await mkdir(folder);
      this.#folder = folder;
      log(`data in ${folder}, removed at the end`);
    });
    await this.#start(async () => {
      this.#sweeper = await startSweeper(this.#command('sweeper'), folder, this.#environment());
    });
    await this.#start(async () => {
      this.#etcd = await etcdPart(found, join(folder, 'etcd'));
      this.#follow(this.#etcd);
    });
    const { version, child, url } = this.etcd;
    log(`etcd ${version} (pid ${child?.pid ?? 0}) answers on ${url}`);
    this.#places = await this.#plan();
    for (const place of this.#places) {
      for (const part of [place.sidecar, place.app]) {
        await this.#start(() => this.#run(part));
      }
      const { sidecar, app } = place;
      log(
        `${place.id}: sidecar ${sidecar.url} (pid ${sidecar.child?.pid ?? 0}), ` +
          `app ${app.url} (pid ${app.child?.pid ?? 0})`,
      );
    }
  }

  /** Stops every process, removes the folder. Never rejects for a process that will not listen. */
  clear(): Promise<void> {
    this.#cleared ??= this.#clear();
    return this.#cleared;
  }

  async #clear(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    // What is half started must be there before it can be stopped.
    await Promise.allSettled(this.#starting);
    const etcd = this.#etcd?.child;
    const others = [...this.#running].filter((child) => child !== etcd);
    await Promise.allSettled(others.map((child) => child.stop(STOP_BOUND_MS)));
    // Last: a sidecar that leads writes to it when it resigns.
    await etcd?.stop(STOP_BOUND_MS);
    if (this.#folder !== null) {
      await rm(this.#folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    }
    await this.#sweeper?.dismiss();
  }

  /** Begins a step, unless it is too late for it; the end waits for a step that was begun. */
  async #start(step: () => Promise<void>): Promise<void> {
    if (this.#cleared !== null) throw new Error('stopped while starting');
    const begun = step();
    this.#starting.add(begun);
    try {
      await begun;
    } finally {
      this.#starting.delete(begun);
    }
  }

  async #run(part: Part): Promise<void> {
    part.child = await part.start();
    part.restartAtMs = null;
    this.#follow(part);
  }

  /** Sees to the process that the part has now, until it ends. */
  #follow(part: Part): void {
    const { child } = part;
    if (child === null) return;
    this.#running.add(child);
    this.#sweeper?.watch(child.pid);
    void child.exited.then((exit) => {
      this.#running.delete(child);
      this.#sweeper?.forget(child.pid);
      if (this.#cleared !== null) return;
      if (this.#options.restarts) this.#restart(part);
      this.#options.onEvent({ kind: 'died', part, exit });
    });
  }

  /** Later; where it does not start then, it is tried again. */
  #restart(part: Part): void {
    part.restartAtMs = performance.now() + RESTART_AFTER_MS;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#start(() => this.#run(part)).then(
        () => this.#options.onEvent({ kind: 'returned', part }),
        (error: unknown) => {
          if (this.#cleared !== null) return;
          this.#options.log(`${part.name} did not start: ${String(error)}`);
          this.#restart(part);
        },
      );
    }, RESTART_AFTER_MS);
    this.#timers.add(timer);
  }

  async #plan(): Promise<readonly Place[]> {
    const ports = await freePorts([4040, 4041, 8080, 4050, 4051, 8081, 4060, 4061, 8082]);
    return [0, 1, 2].map((index) => {
      const [publicPort, localPort, appPort] = ports.slice(index * 3, index * 3 + 3);
      const id = `${ELECTION}-${index}`;
      const origin = (port: number | undefined): string => `http://127.0.0.1:${port ?? 0}`;
      const sidecar = [this.#options.product, 'serve', '--election', ELECTION, '--id', id].concat(
        ['--etcd', this.etcd.url, '--ttl', `${TTL_SECONDS}s`],
        ['--fast-failover', `${FAST_FAILOVER_MS}ms`],
        ['--listen', `127.0.0.1:${publicPort ?? 0}`],
        ['--local-listen', `127.0.0.1:${localPort ?? 0}`],
        ['--app-check-interval', '250ms'],
        ['--advertise', origin(appPort), '--app-check', `${origin(appPort)}/healthz`],
      );
      const app = [...this.#command('app'), id, String(appPort), origin(localPort)];
      return {
        id,
        sidecar: this.#part('sidecar', id, origin(publicPort), sidecar),
        app: this.#part('app', id, origin(appPort), app),
      };
    });
  }

  #part(kind: 'sidecar' | 'app', id: string, url: string, args: readonly string[]): Part {
    const start = (): Promise<GuardedChild> =>
      spawnGuarded({ file: process.execPath, args, env: this.#environment() });
    return { kind, name: `${id}'s ${kind}`, url, start, child: null, restartAtMs: null };
  }

  #command(part: string): readonly string[] {
    return [this.#options.entry, 'part', part];
  }

  /** Ours, without settings meant for another sidecar; the folder's name marks what belongs to us. */
  #environment(): NodeJS.ProcessEnv {
    const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('ELECTORD_'));
    return { ...Object.fromEntries(kept), DEMO_FOLDER: this.#folder ?? '' };
  }
}

/** A started etcd, which comes back with the same data at the same address. */
async function etcdPart(
  { etcd: binary, version }: EtcdBinaries,
  dataDir: string,
): Promise<EtcdPart> {
  const first = await startEtcd({ binary, dataDir });
  const urls: EtcdUrls = { clientUrl: first.clientUrl, peerUrl: first.peerUrl };
  return {
    kind: 'etcd',
    name: 'etcd',
    version,
    url: first.clientUrl,
    start: () => startEtcd({ binary, dataDir, urls }),
    child: first,
    restartAtMs: null,
  };
}

/** `exit code 1` or `SIGKILL`: how a process ended, in words. */
export function describeExit(exit: ChildExit): string {
  return exit.signal ?? `exit code ${exit.code ?? 'unknown'}`;
}

/** The last lines that the part's process wrote, to explain its end. */
export function lastWords(part: Part, lines: number): string {
  return part.child?.recentOutput().split('\n').slice(-lines).join('\n') ?? '';
}
