// A watch on the queues of elections that does not go quiet: a linearizable snapshot first, then every revision in
// order; broken, cancelled, compacted or mute, it begins anew with a snapshot, at another endpoint. It is a hint that
// makes hand-over fast; nothing is claimed on its word alone for longer than a confirmation lasts.
import type { IKeyValue, IWatchCreateRequest, IWatchResponse } from 'etcd3';
import type { Change, ElectionName, Revision, Snapshot } from '../core/model.ts';
import { Compacted, Unreachable } from '../errors.ts';
import { watchProbe, watchReopening } from '../policies.ts';
import type { Answer, Clock, RequestObserver, WatchNotice } from '../ports.ts';
import { backoffMs, Loop } from '../process/loop.ts';
import { judgeAfter } from '../process/time-out.ts';
import type { Cluster } from './cluster.ts';
import type { Endpoint } from './endpoint.ts';
import { classify } from './faults.ts';
import { justBehind, revisionFromDecimal, type ElectionKeys } from './keys.ts';
import { decodeCandidate, decodeControl, decodeHandover, decodeSwitchover } from './records.ts';

export interface QueueWatchOptions {
  readonly cluster: Cluster;
  readonly watched: readonly { readonly election: ElectionName; readonly keys: ElectionKeys }[];
  readonly observe: () => Promise<Answer<readonly Snapshot[]>>;
  readonly listener: (notice: WatchNotice) => void;
  readonly ttlMs: number;
  readonly observer: RequestObserver;
  readonly clock: Clock;
  /** 0 to 1, as Math.random. */
  readonly random: () => number;
}

export class QueueWatch {
  readonly #options: QueueWatchOptions;
  readonly #loop: Loop;
  #failures = 0;
  #cancel: () => void = () => undefined;

  constructor(options: QueueWatchOptions) {
    this.#options = options;
    this.#loop = new Loop(options.clock);
  }

  start(): void {
    void this.#loop.run(() => this.#round());
  }

  stop(): void {
    this.#loop.stop();
    this.#cancel();
  }

  /** A watch that worked for a while is opened again at once; one that could not begin, after a while. */
  async #round(): Promise<number> {
    this.#failures = (await this.#watchOnce()) ? 0 : this.#failures + 1;
    if (this.#failures === 0) return 0;
    return backoffMs(watchReopening, this.#failures, this.#options.random);
  }

  /** Resolves when the watch was interrupted, or could not begin: whether it had begun. */
  async #watchOnce(): Promise<boolean> {
    const { cluster, observe, watched, listener } = this.#options;
    const progress = { begun: false };
    let endpoint: Endpoint | undefined;
    try {
      const { value, sentAt } = await observe();
      if (!this.#loop.isRunning()) return false;
      watched.forEach(({ election }, index) => {
        const snapshot = value[index];
        if (snapshot !== undefined) listener({ kind: 'snapshot', election, snapshot, sentAt });
      });
      [endpoint] = cluster.inOrder();
      if (endpoint === undefined) return false;
      return await this.#follow(endpoint, value, () => {
        progress.begun = true;
      });
    } catch (failure) {
      if (!this.#loop.isRunning()) return false;
      const error = classify(failure);
      if (endpoint !== undefined && error instanceof Unreachable) cluster.avoid(endpoint);
      listener({ kind: 'interrupted', why: error.message });
      return progress.begun;
    }
  }

  /** Follows from the snapshots on; settles only when the stream ends, and then by rejecting. */
  async #follow(endpoint: Endpoint, from: readonly Snapshot[], begun: () => void): Promise<never> {
    const { clock, observer, ttlMs, watched } = this.#options;
    await this.#options.cluster.ensureToken(endpoint);
    const { stream, forget } = await endpoint.open(({ watchClient }) => watchClient.watch());
    if (!this.#loop.isRunning()) stream.cancel();
    const probe = watchProbe(ttlMs);
    let heardSince = true;
    let cancelTimer: () => void = () => undefined;
    try {
      return await new Promise<never>((_, reject) => {
        stream.on('error', reject);
        stream.on('end', () => {
          reject(new Unreachable('etcd ended the watch'));
        });
        stream.on('data', (answer) => {
          heardSince = true;
          try {
            this.#onAnswer(answer);
            begun();
          } catch (failure) {
            reject(failure instanceof Error ? failure : new Error(String(failure)));
          }
        });
        this.#cancel = () => {
          reject(new Unreachable('stopped'));
        };
        const ask = (): void => {
          heardSince = false;
          stream.write({ progress_request: {} });
          cancelTimer = judgeAfter(probe.answerWithinMs, judge);
        };
        const judge = (): void => {
          if (!heardSince) reject(new Unreachable('the watch is mute'));
          else cancelTimer = clock.at(clock.now() + probe.everyMs - probe.answerWithinMs, ask);
        };
        watched.forEach(({ keys }, index) => {
          stream.write({ create_request: creationOf(keys, index, from[index]?.revision) });
        });
        ask();
        observer.requested('watch', 'ok', 0);
      });
    } catch (failure) {
      observer.requested('watch', 'failed', 0);
      throw failure;
    } finally {
      cancelTimer();
      forget();
      this.#cancel = () => undefined;
      stream.end();
      stream.cancel();
    }
  }

  #onAnswer(answer: IWatchResponse): void {
    if (!this.#loop.isRunning()) return;
    if (answer.canceled) {
      const { cancel_reason: reason, compact_revision: compacted } = answer;
      if (compacted !== '0') throw new Compacted(`the history was compacted up to ${compacted}`);
      throw new Unreachable(reason === '' ? 'etcd cancelled the watch' : reason);
    }
    const watched = this.#options.watched[Number(answer.watch_id) - 1];
    if (watched === undefined) return;
    for (const change of changesOf(watched.keys, answer)) {
      this.#options.listener({ kind: 'change', election: watched.election, change });
    }
  }
}

/** Watches `candidates/…`, `control`, `control/…` and `handover`, which are neighbours, in one watch: one order of revisions. */
const creationOf = (
  keys: ElectionKeys,
  index: number,
  revision: Revision | undefined,
): IWatchCreateRequest => ({
  key: Buffer.from(keys.candidates),
  range_end: justBehind(keys.handover),
  start_revision: ((revision ?? 0n) + 1n).toString(),
  watch_id: index + 1,
});

/** All events of one revision make one change; the events of an answer are in the order of revisions. */
export function changesOf(keys: ElectionKeys, answer: IWatchResponse): readonly Change[] {
  const changes = new Map<string, IWatchResponse['events']>();
  for (const event of answer.events) {
    const revision = event.kv.mod_revision;
    changes.set(revision, [...(changes.get(revision) ?? []), event]);
  }
  return [...changes].map(([revision, events]) =>
    changeOf(keys, revisionFromDecimal(revision), events),
  );
}

function changeOf(
  keys: ElectionKeys,
  revision: Revision,
  events: IWatchResponse['events'],
): Change {
  const puts = events.filter((event) => isPut(event));
  const deletes = events
    .filter((event) => !isPut(event))
    .map((event) => event.kv.key.toString('utf8'));
  const put = (key: string): (typeof puts)[number] | undefined =>
    puts.find((event) => event.kv.key.toString('utf8') === key);
  /** What became of one of the single records: its new value, null where it was deleted, else nothing. */
  const record = <Name extends 'control' | 'switchover' | 'handover', Value>(
    name: Name,
    decode: (kv: IKeyValue) => Value,
  ): { [Key in Name]?: Value | null } => {
    const event = put(keys[name]);
    if (event !== undefined) return { [name]: decode(event.kv) } as { [Key in Name]: Value };
    return deletes.includes(keys[name]) ? ({ [name]: null } as { [Key in Name]: null }) : {};
  };
  return {
    revision,
    candidates: puts
      .filter((event) => event.kv.key.toString('utf8').startsWith(keys.candidates))
      .map((event) => decodeCandidate(keys, event.kv)),
    removedCandidates: deletes
      .filter((key) => key.startsWith(keys.candidates))
      .map((key) => key.slice(keys.candidates.length)),
    ...record('control', decodeControl),
    ...record('switchover', decodeSwitchover),
    ...record('handover', decodeHandover),
  };
}

/** With `enums: String` the type is the word of the proto file at run time, whatever the declaration says. */
const isPut = (event: IWatchResponse['events'][number]): boolean =>
  (event.type as unknown) === 'Put';
