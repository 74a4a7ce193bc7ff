// Everything that stands beside us, as one part for the composition root: hooks, the child of `run`, the app check and
// the guardian, each only where it is configured.
import { hostname } from 'node:os';
import type { Cause, MemberId } from '../core/model.ts';
import type { App, Clock, Elections } from '../ports.ts';
import type { AskTls } from '../process/ask-tls.ts';
import type { AppLog } from './app-log.ts';
import { AppChecker, uncheckedApp, type AppHealth } from './check.ts';
import { stopLeadMsFor } from './deadlines.ts';
import { cleanEnvironment, type Surroundings } from './environment.ts';
import { GuardedApp } from './guarded-app.ts';
import { Guardian } from './guardian.ts';
import type { Hook, ObserveHook } from './hooks.ts';
import { LabelledApp } from './labelled-app.ts';
import { LeaderLabel } from './leader-label.ts';
import { OwnPod, type Label } from './own-pod.ts';
import type { AppCheck } from './probe.ts';
import type { StopRequest } from './process-group.ts';

/** Node waits for its own children only: what they leave behind becomes ours as process 1, and stays as a zombie. */
const noInit =
  'electord is process 1 and runs commands: nobody collects the orphans that they leave; start the container with an init (docker run --init, init: true, shareProcessNamespace: true)';

/** The settings that matter here. */
export interface AppSideSettings {
  readonly id: string;
  readonly ttlMs: number;
  readonly fastFailoverMs: number | null;
  readonly onElected: Hook | null;
  readonly onStepDown: Hook | null;
  readonly hookTimeoutMs: number;
  readonly appCheck: AppCheck | null;
  readonly appCheckIntervalMs: number;
  readonly appCheckTimeoutMs: number;
  readonly appCheckFall: number;
  readonly appCheckRise: number;
  readonly kubernetesLeaderLabel: Label | null;
  readonly kubernetesAccount: string;
}

/** What `electord run` adds. */
export interface RunOptions {
  /** The command and its arguments, at least one word. */
  readonly command: readonly string[];
  /** How it is asked to end. */
  readonly stopRequest: StopRequest;
  /** Told in the moment a term ends, before the child has stopped. */
  readonly onEnded: (cause: Cause) => void;
}

export interface AppSideOptions {
  readonly settings: AppSideSettings;
  /** Null for `serve`. */
  readonly run: RunOptions | null;
  readonly clock: Clock;
  readonly log: AppLog;
  readonly observeHook: ObserveHook;
  /** Names of variables that hold our secrets. */
  readonly secretVariables: readonly string[];
  /** Where our local listener is; asked when something is started. */
  readonly localUrl: () => string;
  /** Settings that tell a command beside us how to ask that by https, as variables. */
  readonly localTls: () => Readonly<Record<string, string>>;
  /** How hooks and the app are asked by https. */
  readonly tls: () => AskTls;
}

export class AppSide {
  /** Hooks and the child; null where there are none. */
  readonly app: GuardedApp | null;
  /** For the elector; null where nothing has to stop when a term ends. */
  readonly besideTerms: App | null;
  /** Whether the app counts as healthy before its first check. */
  readonly healthyAtFirst: boolean;
  /** How long before the lease runs out a term has to end. */
  readonly stopLeadMs: number;
  readonly #options: AppSideOptions;
  readonly #guardian: Guardian | null;
  readonly #checker: AppChecker | null;
  readonly #label: LeaderLabel | null;
  #elections: Elections | null = null;

  constructor(options: AppSideOptions) {
    const { settings, run, clock, log } = options;
    this.#options = options;
    const { appCheck, onElected, onStepDown } = settings;
    const commands = [appCheck, onElected, onStepDown].some((one) => one?.kind === 'exec');
    this.#guardian = commands || run !== null ? new Guardian(clock, log) : null;
    this.stopLeadMs = stopLeadMsFor(
      settings.ttlMs,
      settings.fastFailoverMs,
      run !== null || onStepDown !== null,
    );
    // Beside `run` there is no app to be unhealthy before we lead.
    this.healthyAtFirst = appCheck === null || run !== null;
    this.#checker = appCheck === null ? null : this.#check(appCheck);
    this.app = onElected !== null || onStepDown !== null || run !== null ? this.#guard() : null;
    this.#label = this.#leaderLabel();
    this.besideTerms =
      this.#label === null ? this.app : new LabelledApp(this.#label, clock, this.app);
  }

  /** Begins to check the app, and to follow the lease. */
  start(elections: Elections): void {
    this.#elections = elections;
    this.app?.attach(elections);
    this.#label?.start();
    if (this.#options.run === null) this.#checker?.start();
  }

  /** What whoever starts this may not have thought of. */
  advice(): readonly string[] {
    return process.pid === 1 && this.#guardian !== null ? [noInit] : [];
  }

  health(): AppHealth {
    return this.#checker?.health() ?? uncheckedApp;
  }

  /** To be called when no term lasts any more; resolves when nothing is left beside us. */
  async stop(): Promise<void> {
    this.#checker?.stop();
    await this.app?.settled();
    this.#label?.stop();
    this.#guardian?.close();
  }

  #leaderLabel(): LeaderLabel | null {
    const { settings, clock, log } = this.#options;
    const { kubernetesLeaderLabel: label, kubernetesAccount: account } = settings;
    if (label === null) return null;
    const environment = process.env;
    const pod = new OwnPod({ label, account, environment, hostName: hostname(), timeoutMs: 2000 });
    return new LeaderLabel({ pod, label: `${label.key}=${label.value}`, clock, log });
  }

  #surroundings(): Surroundings {
    const { settings, secretVariables, localUrl, localTls } = this.#options;
    const id = settings.id as MemberId;
    return { id, ownEnvironment: process.env, secretVariables, localUrl, localTls };
  }

  #check(check: AppCheck): AppChecker {
    const { settings, clock, log, tls } = this.#options;
    const { appCheckFall: fall, appCheckRise: rise } = settings;
    return new AppChecker(
      {
        check,
        intervalMs: settings.appCheckIntervalMs,
        timeoutMs: settings.appCheckTimeoutMs,
        thresholds: { fall, rise },
        clock,
        log,
        guardian: this.#guardian,
        tls,
        environment: cleanEnvironment(this.#surroundings()),
        onHealth: (healthy) => this.#elections?.appHealth(healthy),
      },
      this.healthyAtFirst,
    );
  }

  #guard(): GuardedApp {
    const { settings, run, clock, log, observeHook, tls } = this.#options;
    const { onElected, onStepDown, hookTimeoutMs } = settings;
    const guardian = this.#guardian;
    const child =
      run === null || guardian === null
        ? null
        : { command: run.command, stopRequest: run.stopRequest, guardian };
    return new GuardedApp({
      plan: { onElected, onStepDown, hookTimeoutMs, child },
      tools: { clock, log, guardian, surroundings: this.#surroundings(), tls, observeHook },
      onEnded: (cause) => {
        if (run === null) return;
        this.#checker?.rest();
        run.onEnded(cause);
      },
      onChildStarted: () => this.#checker?.startPatiently(),
    });
  }
}
