// A watch on the queues of elections that does not go quiet: a linearizable snapshot first, then every revision in
// order; broken, cancelled, compacted or mute, it begins anew with a snapshot, at another endpoint. Elections that etcd
// refuses to show are set aside, and disturb no other. It is a hint that makes hand-over fast; nothing is claimed on its
// word alone for longer than a confirmation lasts.
import type { IKeyValue, IWatchCreateRequest, IWatchResponse } from 'etcd3';
import type { Change, ElectionName, Revision, Snapshot } from '../core/model.ts';
import { Compacted, OtherCluster, Unreachable } from '../errors.ts';
import { refusedWatchReopening, watchProbe, watchReopening } from '../policies.ts';
import type { Answer, Clock, RequestObserver, WatchNotice } from '../ports.ts';
import { backoffMs, Loop } from '../process/loop.ts';
import { judgeAfter } from '../process/time-out.ts';
import type { Cluster } from './cluster.ts';
import type { Endpoint } from './endpoint.ts';
import { classify, isRefusal } from './faults.ts';
import { justBehind, revisionFromDecimal, type ElectionKeys } from './keys.ts';
import { decodeCandidate, decodeControl, decodeHandover, decodeSwitchover } from './records.ts';

interface Watched {
  readonly election: ElectionName;
  readonly keys: ElectionKeys;
}

export interface QueueWatchOptions {
  readonly cluster: Cluster;
  readonly watched: readonly Watched[];
  /** As in the port. */
  readonly observe: (elections: readonly ElectionName[]) => readonly Promise<Answer<Snapshot>>[];
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
  readonly #reopening: Readonly<Record<'firstMs' | 'longestMs', number>>;
  readonly #asides: QueueWatch[] = [];
  #watched: readonly Watched[];
  #failures = 0;
  #cancel: () => void = () => undefined;

  constructor(
    options: QueueWatchOptions,
    reopening: Readonly<Record<'firstMs' | 'longestMs', number>> = watchReopening,
  ) {
    this.#options = options;
    this.#reopening = reopening;
    this.#watched = options.watched;
    this.#loop = new Loop(options.clock);
  }

  start(): void {
    void this.#loop.run(() => this.#round());
  }

  stop(): void {
    this.#loop.stop();
    for (const aside of this.#asides) aside.stop();
    this.#cancel();
  }

  /** A watch that worked for a while is opened again at once; one that could not begin, after a while. */
  async #round(): Promise<number> {
    this.#failures = (await this.#watchOnce()) ? 0 : this.#failures + 1;
    if (this.#failures === 0) return 0;
    return backoffMs(this.#reopening, this.#failures, this.#options.random);
  }

  /** Resolves when the watch was interrupted, or could not begin: whether it had begun. */
  async #watchOnce(): Promise<boolean> {
    const { cluster, listener } = this.#options;
    const progress = { begun: false };
    let endpoint: Endpoint | undefined;
    try {
      const from = await this.#snapshots();
      if (!this.#loop.isRunning()) return false;
      [endpoint] = cluster.inOrder();
      if (endpoint === undefined) return false;
      return await this.#follow(endpoint, from, () => {
        progress.begun = true;
      });
    } catch (failure) {
      if (!this.#loop.isRunning()) return false;
      const error = classify(failure);
      const elsewhere = error instanceof Unreachable || error instanceof OtherCluster;
      if (endpoint !== undefined && elsewhere) cluster.avoid(endpoint);
      listener({ kind: 'interrupted', why: error.message });
      return progress.begun;
    }
  }

  /**
   * Reads every election and tells of each that was answered; resolves with their revisions. Rejects where one was not
   * answered at all, or none may be read.
   */
  async #snapshots(): Promise<readonly Revision[]> {
    const { observe, listener } = this.#options;
    const watched = this.#watched;
    const outcomes = await Promise.allSettled(observe(watched.map(({ election }) => election)));
    if (!this.#loop.isRunning()) return [];
    const from: Revision[] = [];
    const readable: Watched[] = [];
    const refused: Watched[] = [];
    const failures: unknown[] = [];
    watched.forEach((each, index) => {
      const outcome = outcomes[index];
      if (outcome?.status === 'fulfilled') {
        const { value: snapshot, sentAt } = outcome.value;
        listener({ kind: 'snapshot', election: each.election, snapshot, sentAt });
        from.push(snapshot.revision);
        readable.push(each);
      } else {
        failures.push(outcome?.reason);
        if (isRefusal(outcome?.reason)) refused.push(each);
      }
    });
    const [failure] = failures;
    if (failures.length > refused.length || readable.length === 0) throw classify(failure);
    if (refused.length > 0) {
      this.#watched = readable;
      this.#setAside(refused, failure);
    }
    return from;
  }

  /** A watch of their own tries them until they can be read, and then goes on with them. */
  #setAside(refused: readonly Watched[], why: unknown): void {
    this.#options.listener({ kind: 'interrupted', why: classify(why).message });
    const aside = new QueueWatch({ ...this.#options, watched: refused }, refusedWatchReopening);
    this.#asides.push(aside);
    aside.start();
  }

  /** Follows from these revisions on; settles only when the stream ends, and then by rejecting. */
  async #follow(endpoint: Endpoint, from: readonly Revision[], begun: () => void): Promise<never> {
    const { clock, observer, ttlMs } = this.#options;
    const watched = this.#watched;
    await this.#options.cluster.ensureToken(endpoint);
    const { stream, forget } = await endpoint.open(({ watchClient }) => watchClient.watch());
    if (!this.#loop.isRunning()) stream.cancel();
    const probe = watchProbe(ttlMs);
    let heardSince = false;
    let created = 0;
    let proxied = false;
    let cancelTimer: () => void = () => undefined;
    try {
      return await new Promise<never>((_, reject) => {
        stream.on('error', reject);
        stream.on('end', () => {
          reject(new Unreachable('etcd ended the watch'));
        });
        stream.on('data', (answer) => {
          heardSince = true;
          if (answer.created) created += 1;
          proxied ||= answer.created && answer.watch_id === numberOfProxies;
          // A creation that is refused has no id; all of them are answered in the order asked.
          const id = answer.created ? created : Number(answer.watch_id);
          const index = proxied ? -1 : id - 1;
          try {
            this.#options.cluster.judge(endpoint, answer.header);
            this.#onAnswer(answer, ownerOf(answer, watched, index), from);
            begun();
          } catch (failure) {
            reject(failure instanceof Error ? failure : new Error(String(failure)));
          }
        });
        this.#cancel = () => {
          reject(new Unreachable('stopped'));
        };
        /** That the watches were created is the first thing to be heard. */
        const listen = (): void => {
          heardSince = false;
          cancelTimer = judgeAfter(probe.answerWithinMs, judge);
        };
        const judge = (): void => {
          if (!heardSince) reject(new Unreachable('the watch is mute'));
          else if (!proxied)
            cancelTimer = clock.at(clock.now() + probe.everyMs - probe.answerWithinMs, ask);
        };
        const ask = (): void => {
          stream.write({ progress_request: {} });
          listen();
        };
        watched.forEach(({ keys }, index) => {
          stream.write({ create_request: creationOf(keys, index, from[index]) });
        });
        listen();
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

  #onAnswer(answer: IWatchResponse, watched: Watched | undefined, from: readonly Revision[]): void {
    if (!this.#loop.isRunning()) return;
    if (answer.canceled) {
      const { cancel_reason: reason, compact_revision: compacted } = answer;
      if (compacted !== '0') throw new Compacted(`the history was compacted up to ${compacted}`);
      const error = classify(new Error(reason === '' ? 'etcd cancelled the watch' : reason));
      // May be read and not watched: the others begin anew without it.
      const others = this.#watched.filter((each) => each !== watched);
      if (watched !== undefined && others.length > 0 && isRefusal(error)) {
        this.#watched = others;
        this.#setAside([watched], error);
      }
      throw error;
    }
    if (watched === undefined) return;
    const seen = from[this.#watched.indexOf(watched)] ?? 0n;
    for (const change of changesOf(watched.keys, answer)) {
      // It is in the snapshot.
      if (change.revision <= seen) continue;
      this.#options.listener({ kind: 'change', election: watched.election, change });
    }
  }
}

/** `etcd grpc-proxy` numbers watches itself, from 0 on; etcd takes ours, from 1 on. It knows no progress request. */
const numberOfProxies = '0';

/** The election that an answer is about: the one at `index`, else the one that its keys belong to. */
function ownerOf(
  { events }: IWatchResponse,
  watched: readonly Watched[],
  index: number,
): Watched | undefined {
  const [event] = events;
  if (event === undefined) return watched[index];
  const key = event.kv.key.toString('utf8');
  const has = ({ keys }: Watched): boolean => key >= keys.candidates && key <= keys.handover;
  const likely = watched[index];
  return likely !== undefined && has(likely) ? likely : watched.find(has);
}

/**
 * Watches `candidates/…`, `control`, `control/…` and `handover`, which are neighbours, in one watch: one order of
 * revisions. It begins at the revision of the snapshot, whose events are dropped: while nothing is written, etcd answers
 * no progress request of a watch that begins at a revision to come (since 3.5.22, 3.4.38 and 3.6.2).
 */
const creationOf = (
  keys: ElectionKeys,
  index: number,
  revision: Revision | undefined,
): IWatchCreateRequest => ({
  key: Buffer.from(keys.candidates),
  range_end: justBehind(keys.handover),
  start_revision: (revision ?? 0n).toString(),
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
