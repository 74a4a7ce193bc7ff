// A watch of one sidecar on the queues of its elections: snapshots first, then each revision in order over one stream
// to one member, which may lag, break, fall silent or find its history compacted; then it begins anew, as
// src/etcd/watch.ts does, with the same probes.
import type { Change, ElectionName, Revision, Snapshot } from '../../src/core/model.ts';
import type { WatchNotice } from '../../src/ports.ts';
import type { SimCoordinator } from './sim-coordinator.ts';

/** The pause before a watch is opened again: doubling from the first to the second. Milliseconds. */
const reopenAfterMs = [20, 500] as const;

interface Stream {
  readonly node: number;
  /** What etcd has sent and the sidecar has not been handed, in order; a place in the queue is a turn. */
  readonly sent: { readonly election: ElectionName; readonly change: Change }[];
  readonly received: { readonly election: ElectionName; readonly change: Change }[];
  readonly from: ReadonlyMap<ElectionName, Revision>;
  lastArrivalAt: number;
  muteUntil: number;
  unfollow: () => void;
}

export class SimWatch {
  readonly #coordinator: SimCoordinator;
  readonly #elections: readonly ElectionName[];
  readonly #listener: (notice: WatchNotice) => void;
  #stopped = false;
  #failures = 0;
  #stream: Stream | null = null;
  #lag = { byMs: 0, until: 0 };

  constructor(
    coordinator: SimCoordinator,
    elections: readonly ElectionName[],
    listener: (notice: WatchNotice) => void,
  ) {
    this.#coordinator = coordinator;
    this.#elections = elections;
    this.#listener = listener;
  }

  open(): void {
    if (this.#stopped) return;
    this.#coordinator.read(this.#elections, (outcome) => {
      if (this.#stopped) return;
      if (!outcome.ok) return this.#interrupted(outcome.error.message);
      const { value: snapshots, sentAt } = outcome.value;
      this.#elections.forEach((election, index) => {
        this.#listener({ kind: 'snapshot', election, snapshot: snapshots[index]!, sentAt });
      });
      this.#follow(snapshots);
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#drop();
  }

  /** The connection breaks. */
  break(): void {
    const { process } = this.#coordinator.options;
    const stream = this.#stream;
    if (stream === null) return;
    process.deliver(() => {
      if (this.#stream === stream) this.#interrupted('connection reset');
    });
  }

  /** Nothing comes any more on this stream, not even an answer to a probe. */
  mute(forMs: number): void {
    if (this.#stream === null) return;
    this.#stream.muteUntil = this.#coordinator.options.scheduler.now + forMs;
  }

  /** The member lags behind the others; it answers probes all the same. */
  lag(byMs: number, forMs: number): void {
    this.#lag = { byMs, until: this.#coordinator.options.scheduler.now + forMs };
  }

  #follow(snapshots: readonly Snapshot[]): void {
    const { scheduler, network, side } = this.#coordinator.options;
    const stream: Stream = {
      node: this.#coordinator.preferred,
      sent: [],
      received: [],
      from: new Map(this.#elections.map((name, index) => [name, snapshots[index]!.revision])),
      lastArrivalAt: 0,
      muteUntil: 0,
      unfollow: () => undefined,
    };
    this.#stream = stream;
    this.#probe(stream);
    const blockedUntil = network.streamBlockedUntil(side, stream.node);
    const at = Math.max(scheduler.now, blockedUntil) + network.latencyMs(side);
    scheduler.at(at, () => this.#created(stream));
  }

  /** The member has taken up the watch: the past first, from behind the snapshot, then everything as it comes. */
  #created(stream: Stream): void {
    if (this.#stream !== stream) return;
    const { etcd, process } = this.#coordinator.options;
    try {
      for (const [election, revision] of stream.from) {
        for (const change of etcd.changesSince(election, revision)) {
          this.#send(stream, election, change);
        }
      }
    } catch (error) {
      const why = (error as Error).message;
      return process.deliver(() => {
        if (this.#stream === stream) this.#interrupted(why);
      });
    }
    this.#failures = 0;
    stream.unfollow = etcd.follow((election, change) => {
      if (stream.from.has(election)) this.#send(stream, election, change);
    });
  }

  #send(stream: Stream, election: ElectionName, change: Change): void {
    const { scheduler, network, side } = this.#coordinator.options;
    const lagMs = scheduler.now < this.#lag.until ? this.#lag.byMs * side.random.next() : 0;
    const at = scheduler.now + network.latencyMs(side) + lagMs;
    stream.lastArrivalAt = Math.max(stream.lastArrivalAt, at);
    stream.sent.push({ election, change });
    scheduler.at(stream.lastArrivalAt, () => this.#arrive(stream));
  }

  /** The next message in order reaches the sidecar, once nothing is in its way. */
  #arrive(stream: Stream): void {
    if (this.#stream !== stream) return;
    const { scheduler, process } = this.#coordinator.options;
    const blockedUntil = this.#blockedUntil(stream);
    if (blockedUntil > scheduler.now) {
      scheduler.at(blockedUntil, () => this.#arrive(stream));
      return;
    }
    const message = stream.sent.shift();
    if (message === undefined) return;
    stream.received.push(message);
    process.deliver(() => this.#hand(stream));
  }

  /** Whatever the order of turns after a pause, a stream is read in its own order. */
  #hand(stream: Stream): void {
    if (this.#stream !== stream || this.#stopped) return;
    const { election, change } = stream.received.shift()!;
    this.#coordinator.toldOfRevision(election, change.revision);
    this.#listener({ kind: 'change', election, change });
  }

  #blockedUntil(stream: Stream): number {
    const { network, side } = this.#coordinator.options;
    return Math.max(stream.muteUntil, network.streamBlockedUntil(side, stream.node));
  }

  /** Asks for a sign of life now and then; a stream that gives none in time is given up. */
  #probe(stream: Stream): void {
    const { probe, options } = this.#coordinator;
    const { process, scheduler } = options;
    const { everyMs, answerWithinMs } = probe;
    if (this.#stream !== stream) return;
    const silentFor = this.#blockedUntil(stream) - scheduler.now;
    if (silentFor <= answerWithinMs) {
      process.timer(everyMs, () => this.#probe(stream));
      return;
    }
    process.timer(answerWithinMs, () => {
      if (this.#stream !== stream) return;
      const { network } = options;
      this.#coordinator.preferred = (stream.node + 1) % network.nodes.length;
      this.#interrupted('the watch is mute');
    });
  }

  #interrupted(why: string): void {
    this.#drop();
    if (this.#stopped) return;
    this.#listener({ kind: 'interrupted', why });
    const { process, side } = this.#coordinator.options;
    const [first, most] = reopenAfterMs;
    const pauseMs = Math.min(first * 2 ** Math.min(this.#failures, 10), most);
    this.#failures += 1;
    process.timer(pauseMs * side.random.between(0.5, 1), () => this.open());
  }

  #drop(): void {
    this.#stream?.unfollow();
    this.#stream = null;
  }
}
