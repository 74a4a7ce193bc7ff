// What the contract suite needs of whatever it judges: a coordinator, a way to let time pass until something is true,
// and the hands of an administrator. Made once for real etcd and once for the simulator's model.
import { electionName, type ElectionName, type LeaseId } from '../../src/core/model.ts';
import type { Coordinator, WatchNotice } from '../../src/ports.ts';

/** A request as it was sent, which can be delivered once more, as it was, to whatever etcd has become. */
export interface Copy {
  readonly operation: string;
  /** Resolves when it has been carried out or refused; the answer goes to nobody. */
  readonly again: () => Promise<void>;
}

export interface Subject {
  readonly coordinator: Coordinator;
  /** Every request of the coordinator so far, reads too. */
  readonly sent: readonly Copy[];
  /** The coordinator's monotonic clock, in milliseconds. */
  readonly now: () => number;
  readonly newLease: () => LeaseId;
  /** Awaits something that the coordinator does. */
  readonly run: <Value>(work: Promise<Value>) => Promise<Value>;
  /** Lets time pass until `check` is true; throws, naming `what`, where that takes longer than 15 s. */
  readonly until: (check: () => boolean, what: string) => Promise<void>;
  /** Puts a candidate of another program: a key with a bare value. */
  readonly putForeign: (election: ElectionName, lease: LeaseId, value: string) => Promise<void>;
  readonly deleteCandidate: (election: ElectionName, lease: LeaseId) => Promise<void>;
  /** What is under a key that leaders publish; null where nothing is. */
  readonly published: (key: string) => Promise<string | null>;
  readonly putByHand: (key: string, value: string) => Promise<void>;
  /** Forgets all history up to now. */
  readonly compact: () => Promise<void>;
  /** Breaks every connection of the coordinator. */
  readonly interrupt: () => void;
  readonly stop: () => Promise<void>;
}

let elections = 0;
/** An election that nobody has stood in before. */
export const freshElection = (): ElectionName => {
  elections += 1;
  return electionName(`election-${elections}`);
};

/** A watch, and everything that it has told so far. */
export interface Watching {
  readonly notices: readonly WatchNotice[];
  readonly changes: () => readonly Extract<WatchNotice, { kind: 'change' }>['change'][];
  readonly snapshots: () => readonly Extract<WatchNotice, { kind: 'snapshot' }>['snapshot'][];
  readonly cancel: () => void;
}

/** Watches one election; resolves once the first snapshot is there. */
export async function watching(subject: Subject, election: ElectionName): Promise<Watching> {
  const notices: WatchNotice[] = [];
  const cancel = subject.coordinator.watch([election], (notice) => notices.push(notice));
  const of = <Kind extends WatchNotice['kind']>(
    kind: Kind,
  ): Extract<WatchNotice, { kind: Kind }>[] =>
    notices.filter((notice) => notice.kind === kind) as Extract<WatchNotice, { kind: Kind }>[];
  const watch: Watching = {
    notices,
    changes: () => of('change').map(({ change }) => change),
    snapshots: () => of('snapshot').map(({ snapshot }) => snapshot),
    cancel,
  };
  await subject.until(() => watch.snapshots().length > 0, 'a first snapshot');
  return watch;
}
