// One sidecar as the simulated world sees it: a production Elector in a process of its own, beside an app, behind its
// side of the network. It can be killed and started again; a new process knows nothing of the one before.
import type { Cause, FencingToken, LeaseId, MemberId, ElectionName } from '../../src/core/model.ts';
import { leaseId, memberId } from '../../src/core/model.ts';
import { Elector } from '../../src/elector/elector.ts';
import type { ElectionPing } from '../../src/core/model.ts';
import type { Notice } from '../../src/ports.ts';
import type { ModelEtcd } from './model-etcd.ts';
import type { Network, Side } from './network.ts';
import { Process } from './process.ts';
import { Random } from './random.ts';
import type { Setup } from './schedule.ts';
import type { Scheduler } from './scheduler.ts';
import { SimApp } from './sim-app.ts';
import { SimPings, type Reached } from './sim-pings.ts';
import { SimCoordinator, toldNothing, type Told } from './sim-coordinator.ts';

/** How long a process takes at most for an end that cannot wait. */
const hasteWithinMs = 2000;

/** What a sidecar is put into. */
export interface Surroundings {
  readonly seed: number;
  readonly setup: Setup;
  readonly scheduler: Scheduler;
  readonly etcd: ModelEtcd;
  readonly network: Network;
  readonly elections: readonly ElectionName[];
  readonly notice: (sidecar: SimSidecar, notice: Notice) => void;
  readonly fatal: (sidecar: SimSidecar, failure: unknown) => void;
  readonly leaseLost: (leaseId: LeaseId) => void;
  /** Who is at that url. */
  readonly at: (url: string) => Reached | null;
  readonly turned: (sidecar: SimSidecar) => void;
  readonly trace: ((who: string, what: string) => void) | null;
}

/** One life of it, from its start to its end. */
export interface Life {
  readonly process: Process;
  readonly elector: Elector;
  readonly pingKey: string;
  readonly answer: (ping: ElectionPing) => boolean;
  readonly coordinator: SimCoordinator;
  readonly app: SimApp | null;
  readonly told: Told;
  /** By election: the term that was announced as begun and not as ended. */
  readonly announced: Map<ElectionName, FencingToken>;
  /** By election: the term that was claimed when it was last asked; and the terms that it ceased to claim. */
  readonly claimed: Map<ElectionName, FencingToken>;
  readonly unclaimed: Set<FencingToken>;
}

export class SimSidecar {
  readonly index: number;
  readonly id: MemberId;
  readonly side: Side;
  readonly #world: Surroundings;
  readonly #random: Random;
  life: Life | null = null;
  /** The app's state outlives the sidecar's process. */
  appHealthy = true;
  stopping = false;

  constructor(index: number, world: Surroundings) {
    this.index = index;
    this.id = memberId(String.fromCharCode(65 + index));
    this.#world = world;
    this.#random = new Random(world.seed, `sidecar ${index}`);
    this.side = world.network.side(new Random(world.seed, `network ${index}`));
  }

  start(): void {
    if (this.life !== null) return;
    const { setup, scheduler, etcd, network, elections, trace } = this.#world;
    const { marginMs, takeoverDelayMs, graceMs } = setup;
    const { rate, priority, ttlMs, hasNoFailover = false } = setup.sidecars[this.index]!;
    const fastFailoverMs = hasNoFailover ? null : setup.fastFailoverMs;
    const random = this.#random;
    const { timerLateByMs } = setup;
    const process = new Process(scheduler, random, { rate, timerLateByMs }, () =>
      this.#world.turned(this),
    );
    const told = toldNothing();
    const coordinator = new SimCoordinator({
      scheduler,
      etcd,
      network,
      side: this.side,
      process,
      ttlMs,
      told,
      leaseLost: this.#world.leaseLost,
      trace: trace === null ? null : (what) => trace(this.id, what),
    });
    const app =
      setup.app === null ? null : new SimApp(scheduler, process, random, setup.app.mostStopMs);
    const pings = new SimPings({
      scheduler,
      network,
      side: this.side,
      process,
      at: this.#world.at,
    });
    const pingKey = `${this.id}, started at ${scheduler.now}`;
    const stopLeadMs = Math.min(setup.app?.stopLeadMs ?? 0, (fastFailoverMs ?? Infinity) / 4);
    const timing = { ttlMs, marginMs, takeoverDelayMs, graceMs, stopLeadMs, fastFailoverMs };
    const fast = fastFailoverMs === null ? { url: null, pingKey: null } : { url: this.id, pingKey };
    const elector = new Elector({
      elections,
      me: { id: this.id, address: null, priority, version: 'simulated', checked: true, ...fast },
      timing,
      pings: fastFailoverMs === null ? null : pings,
      clock: process,
      coordinator,
      app,
      appHealthy: this.appHealthy,
      whenAllUnhealthy: setup.whenAllUnhealthy,
      validation: 'all',
      random: () => random.next(),
      newLeaseId: () => this.#newLeaseId(),
      onFatal: (failure) => this.#world.fatal(this, failure),
    });
    const seen = { announced: new Map(), claimed: new Map(), unclaimed: new Set<FencingToken>() };
    const answer = (ping: ElectionPing): boolean => elector.ping(ping);
    this.life = { process, elector, pingKey, answer, coordinator, app, told, ...seen };
    this.stopping = false;
    elector.subscribe((notice) => this.#world.notice(this, notice));
    process.deliver(() => elector.start());
  }

  /** SIGKILL, or the end of the process: nothing is left but what it has sent. */
  end(): void {
    this.life?.process.kill();
    this.life?.app?.killAll();
    this.life?.coordinator.close();
    this.life = null;
    this.stopping = false;
  }

  /** SIGTERM: `gone` when it has stopped by itself. */
  terminate(gone: () => void): void {
    const { life } = this;
    if (life === null || this.stopping) return;
    this.stopping = true;
    life.process.deliver(() => {
      void life.elector.stop().then(() => {
        if (this.life !== life) return;
        this.end();
        gone();
      });
      // An idle sidecar stops without asking anybody.
      this.#world.scheduler.settled();
    });
  }

  /** The end that cannot wait: bounded, as the process bounds it; `gone` when it has ended. */
  fail(cause: Cause, gone: () => void): void {
    const { life } = this;
    if (life === null) return;
    const over = (): void => {
      if (this.life !== life) return;
      this.end();
      gone();
    };
    life.process.deliver(() => {
      void life.elector.halt(cause).then(over);
      life.process.timer(hasteWithinMs, over);
      this.#world.scheduler.settled();
    });
  }

  /** Hands something to its process as one turn; nothing where it does not run. */
  ask(run: (elector: Elector) => void): void {
    const { life } = this;
    life?.process.deliver(() => run(life.elector));
  }

  #newLeaseId(): LeaseId {
    const high = 1 + this.#random.below(0x7ffffffe);
    return leaseId(`${high.toString(16)}${this.#random.below(0xffffff).toString(16)}`);
  }
}
