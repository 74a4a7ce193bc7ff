// The command `electord dev`: an etcd, three sidecars and three sample apps on this machine, to see an
// election, a failover and a hand-over. Promises to leave nothing behind, however it ends; it needs
// neither a terminal nor anything but Node (it finds or fetches an etcd).
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { forgetConnections } from './leader-answer.ts';
import { Live } from './live.ts';
import { Observer } from './observer.ts';
import { playOnce } from './once.ts';
import { runSampleApp } from './sample-app.ts';
import type { Output } from './screen.ts';
import { describeExit, lastWords, Stage, type StageEvent } from './stage.ts';
import { runSweeper } from './sweeper.ts';

/** What `electord dev` needs from its caller. */
export interface DevOptions {
  /** Elect, fail over, hand over, end; instead of a show that lasts until Ctrl-C. */
  readonly once: boolean;
  /** The built product, which runs the sidecars. */
  readonly product: string;
  /** The built file of this folder, which passes `part …` on to `devPart`. */
  readonly entry: string;
  readonly stdout: Output;
  readonly stderr: NodeJS.WritableStream;
}

/** Why the show ends: null for a wish (a signal, nobody reads), else what went wrong. */
type End = Error | null;

/**
 * Runs until it is done or asked to stop (SIGINT, SIGTERM, SIGHUP, or a reader of stdout that left).
 * The caller ends the process with the code: a download that was under way may still hold it open.
 * @returns the exit code: 0 for a clean end, 1 when something failed, with the reason on stderr
 */
export async function dev(options: DevOptions): Promise<number> {
  const ending = listenForTheEnd(options.stdout);
  const stage: Stage = new Stage({
    product: options.product,
    entry: options.entry,
    cacheDir: cacheDir(process.cwd()),
    restarts: !options.once,
    log: (line) => {
      if (live === null) say(options.stdout, line);
      else live.note(line);
    },
    onEvent: (event) => {
      if (live === null) refuseUnplannedDeath(event, ending.end);
      else live.onEvent(event);
    },
  });
  const live = options.once ? null : new Live(stage, options.stdout, process.env);
  let observer: Observer | null = null;

  const play = async (): Promise<End> => {
    await stage.raise();
    observer = new Observer(stage.places, (reign) => live?.onReign(reign));
    live?.observe(observer);
    // It lasts until somebody ends it.
    if (live !== null) return new Promise<never>(() => undefined);
    await playOnce(stage, observer, (line) => say(options.stdout, line));
    return null;
  };

  const played = play().catch((error: unknown) =>
    error instanceof Error ? error : new Error(String(error)),
  );
  const end = await Promise.race([played, ending.ended]);
  // Typed as null by the compiler, which does not see that `play` has set it.
  (observer as Observer | null)?.stop();
  live?.close();
  await stage.clear();
  forgetConnections();
  ending.forget();
  // Its terminal is gone, and Node 20 aborts when it ends by itself then: it ends by the signal.
  if (ending.isHungUp() && options.stdout.isTTY === true) process.kill(process.pid, 'SIGHUP');
  if (end !== null) {
    options.stderr.write(`electord dev: ${end.message}\n`);
    return 1;
  }
  say(options.stdout, 'everything is stopped, nothing is left behind');
  return 0;
}

/**
 * The other programs that `electord dev` is made of, run as `electord-dev.js part NAME …`; not for people.
 * @param args what follows `part`
 * @returns the exit code; null where there is no such part
 */
export async function devPart(args: readonly string[]): Promise<number | null> {
  const [part, ...rest] = args;
  if (part === 'app' && rest.length === 3) {
    const [name = '', port, sidecar = ''] = rest;
    return runSampleApp({ name, port: Number(port), sidecar });
  }
  if (part === 'sweeper' && rest[0] !== undefined) return runSweeper(rest[0]);
  return null;
}

/** In a checkout, below its git-ignored .cache; elsewhere where a user's caches belong. */
function cacheDir(workingDirectory: string): string {
  if (existsSync(join(workingDirectory, 'src/dev/dev.ts'))) {
    return join(workingDirectory, '.cache/etcd');
  }
  const { XDG_CACHE_HOME: xdg } = process.env;
  const own = process.platform === 'darwin' ? 'Library/Caches' : '.cache';
  return join(xdg !== undefined && xdg !== '' ? xdg : join(homedir(), own), 'electord/etcd');
}

interface Ending {
  readonly ended: Promise<End>;
  readonly end: (reason: End) => void;
  isHungUp(): boolean;
  forget(): void;
}

/**
 * The wish to end. It stays listened to while everything is being stopped: an impatient second Ctrl-C
 * (or the same one, passed on by npm too) must not cut that short; it is bounded anyway.
 */
function listenForTheEnd(stdout: Output): Ending {
  let end: (reason: End) => void = () => undefined;
  const ended = new Promise<End>((resolve) => {
    end = resolve;
  });
  let isHungUp = false;
  const stop = (signal?: unknown): void => {
    isHungUp ||= signal === 'SIGHUP';
    end(null);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, stop);
  stdout.on('error', stop);
  return {
    ended,
    end,
    isHungUp: () => isHungUp,
    forget: () => {
      for (const signal of signals) process.off(signal, stop);
    },
  };
}

/** In the script, the deaths that it causes itself are SIGKILL and a clean end, and never etcd's; others spoil it. */
function refuseUnplannedDeath(event: StageEvent, end: (reason: End) => void): void {
  if (event.kind !== 'died') return;
  const { exit, part } = event;
  if (part.kind !== 'etcd' && (exit.signal === 'SIGKILL' || exit.code === 0)) return;
  end(new Error(`${part.name} ended: ${describeExit(exit)}\n${lastWords(part, 12)}`));
}

function say(output: Output, line: string): void {
  output.write(`${line}\n`);
}
