// The network between sidecars and the members of etcd: it delays, loses, brings late (also long after the caller has
// given up), refuses, and cuts a path in one direction or in both. What a cut path swallowed may still come through
// when it heals, as TCP would have it. A request may be carried out a second time, long after whatever was asked since, as
// an attempt is that was left at a frozen member.
import { Unreachable, type ElectordError } from '../../src/errors.ts';
import type { ModelEtcd } from './model-etcd.ts';
import type { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';

/** How the network is where nothing is wrong with it, and how often something small is. Milliseconds. */
export interface Weather {
  readonly leastMs: number;
  readonly mostMs: number;
  /** The probability that one message is lost for good, and that one comes late by up to `spikeMs`. */
  readonly lossChance: number;
  readonly spikeChance: number;
  readonly spikeMs: number;
  /** The probability that a request is carried out once more, by up to `copyMs` late. */
  readonly copyChance: number;
  readonly copyMs: number;
}

/** How a request ended, as it reaches whoever sent it. */
export type Outcome<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly error: ElectordError };

/** The two directions between one sidecar and one member of etcd; each is blocked until a true time. */
interface Path {
  toEtcdUntil: number;
  fromEtcdUntil: number;
  refusedUntil: number;
}

/** One sidecar's side of the network. */
export interface Side {
  /** What it sends to other sidecars is lost until then, by whom it is sent to. */
  readonly cutFrom: Map<Side, number>;
  readonly paths: readonly Path[];
  readonly random: Random;
  /** Everything takes this much longer until then. */
  slowedByMs: number;
  slowedUntil: number;
  /** Requests of these kinds hang until then: reads need etcd's quorum where renewals do not. */
  readonly hangUntil: Map<string, number>;
}

/** How long etcd takes to elect another leader. */
const electionMs = 1200;
/** What a cut path held back comes through afterwards this often; else the connection was given up. */
const comesThroughAfterwards = 0.5;

export class Network {
  /** `pastUntil`: until then a member that was frozen takes itself for the leader of etcd still. */
  readonly nodes: readonly { frozenUntil: number; pastUntil: number }[];
  readonly #scheduler: Scheduler;
  readonly #etcd: ModelEtcd;
  readonly #weather: Weather;
  #calm = false;
  #servingAgainAt = 0;

  constructor(scheduler: Scheduler, etcd: ModelEtcd, weather: Weather, nodeCount: number) {
    this.#scheduler = scheduler;
    this.#etcd = etcd;
    this.#weather = weather;
    this.nodes = Array.from({ length: nodeCount }, () => ({ frozenUntil: 0, pastUntil: 0 }));
  }

  side(random: Random): Side {
    const paths = this.nodes.map(() => ({ toEtcdUntil: 0, fromEtcdUntil: 0, refusedUntil: 0 }));
    return {
      paths,
      random,
      slowedByMs: 0,
      slowedUntil: 0,
      hangUntil: new Map(),
      cutFrom: new Map(),
    };
  }

  /** From now on nothing is lost any more, and nothing late. */
  calm(): void {
    this.#calm = true;
  }

  /** etcd has no leader for a while; its next one extends all leases. */
  changeLeader(forMs: number): void {
    const { now } = this.#scheduler;
    this.#etcd.serving = false;
    this.#servingAgainAt = Math.max(this.#servingAgainAt, now + forMs);
    this.#scheduler.after(forMs, () => {
      if (this.#servingAgainAt > this.#scheduler.now || this.#etcd.serving) return;
      this.#etcd.serving = true;
      this.#etcd.extendLeases();
    });
  }

  /** Whether a member answers from the past: it takes itself for the leader of etcd, and gives no linearizable read. */
  isInThePast(node: number): boolean {
    return this.#scheduler.now < this.nodes[node]!.pastUntil;
  }

  /**
   * The leader of etcd is frozen, and another is elected meanwhile, which extends all leases. When the old one goes on it
   * answers from the past for a while, and may revoke what has run out by what it knows.
   */
  freezeLeader(member: number, forMs: number, pastMs: number, revokes: boolean): void {
    const node = this.nodes[member]!;
    const { now } = this.#scheduler;
    node.frozenUntil = Math.max(node.frozenUntil, now + forMs);
    this.#etcd.rememberForTheFrozen();
    if (forMs > electionMs) this.changeLeader(electionMs);
    this.#scheduler.after(forMs, () => {
      node.pastUntil = this.#scheduler.now + pastMs;
      if (!revokes) return;
      this.#scheduler.after(pastMs / 2, () => this.#etcd.revokeFromThePast());
    });
  }

  /** Until when nothing from this member reaches the sidecar, or the other way round; in the past where it does. */
  streamBlockedUntil(side: Side, node: number): number {
    const { toEtcdUntil, fromEtcdUntil, refusedUntil } = side.paths[node]!;
    const { frozenUntil } = this.nodes[node]!;
    return Math.max(toEtcdUntil, fromEtcdUntil, refusedUntil, frozenUntil);
  }

  latencyMs(side: Side): number {
    const { random } = side;
    const { leastMs, mostMs, spikeChance, spikeMs } = this.#weather;
    let latencyMs = random.between(leastMs, mostMs);
    if (this.#scheduler.now < side.slowedUntil) latencyMs += side.slowedByMs * random.next();
    if (!this.#calm && random.chance(spikeChance)) latencyMs += spikeMs * random.next();
    return latencyMs;
  }

  /** Sends one request to one member; `respond` is called when, and if, an answer comes back to the sidecar. */
  request<Value>(
    side: Side,
    node: number,
    operation: string,
    execute: (node: number) => Value,
    respond: (outcome: Outcome<Value>) => void,
  ): void {
    const { now } = this.#scheduler;
    const path = side.paths[node]!;
    if (now < path.refusedUntil) {
      const error = new Unreachable('connection refused');
      this.#scheduler.after(this.latencyMs(side), () => respond({ ok: false, error }));
      return;
    }
    const heldUntil = Math.max(path.toEtcdUntil, side.hangUntil.get(operation) ?? 0);
    this.#carry(side, heldUntil, () => this.#arrive(side, node, execute, respond));
    const { copyChance, copyMs } = this.#weather;
    if (copyChance > 0 && side.random.chance(copyChance))
      this.#copyLater(copyMs * side.random.next(), () => execute(node));
  }

  /** Sends a message from one sidecar to another; now and then it arrives twice. */
  message(from: Side, to: Side, deliver: () => void): void {
    if ((from.cutFrom.get(to) ?? 0) > this.#scheduler.now) return;
    this.#carry(from, 0, deliver);
    const { copyChance, copyMs } = this.#weather;
    if (this.#calm || copyChance === 0 || !from.random.chance(copyChance)) return;
    this.#scheduler.after(copyMs * from.random.next(), () => {
      if (!this.#calm) deliver();
    });
  }

  /** Nobody waits for the answer to a copy. In the end nothing of the past is under way any more. */
  #copyLater(afterMs: number, execute: () => unknown): void {
    this.#scheduler.after(afterMs, () => {
      if (!this.#calm && this.#etcd.serving) outcomeOf(execute);
    });
  }

  /** Brings a message over one direction of a path, late or never where that is blocked. */
  #carry(side: Side, heldUntil: number, deliver: () => void): void {
    const { random } = side;
    const held = heldUntil > this.#scheduler.now;
    if (held && !random.chance(comesThroughAfterwards)) return;
    if (!this.#calm && random.chance(this.#weather.lossChance)) return;
    const from = held ? heldUntil : this.#scheduler.now;
    this.#scheduler.at(from + this.latencyMs(side), deliver);
  }

  #arrive<Value>(
    side: Side,
    node: number,
    execute: (node: number) => Value,
    respond: (outcome: Outcome<Value>) => void,
  ): void {
    const again = (at: number): void => {
      const when = at + this.latencyMs(side);
      this.#scheduler.at(when, () => this.#arrive(side, node, execute, respond));
    };
    const { frozenUntil } = this.nodes[node]!;
    if (frozenUntil > this.#scheduler.now) return again(frozenUntil);
    if (!this.#etcd.serving) {
      if (side.random.chance(comesThroughAfterwards)) return again(this.#servingAgainAt);
      const error = new Unreachable('etcdserver: no leader');
      return this.#back(side, node, () => respond({ ok: false, error }));
    }
    const outcome = outcomeOf(() => execute(node));
    this.#back(side, node, () => respond(outcome));
  }

  #back(side: Side, node: number, deliver: () => void): void {
    this.#carry(side, side.paths[node]!.fromEtcdUntil, deliver);
  }
}

function outcomeOf<Value>(execute: () => Value): Outcome<Value> {
  try {
    return { ok: true, value: execute() };
  } catch (error) {
    return { ok: false, error: error as ElectordError };
  }
}
