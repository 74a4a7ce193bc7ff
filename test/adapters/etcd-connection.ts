// A coordinator on a real etcd for the tests of the adapter, with a record of its requests, and the few things that
// these tests do with it over and over. It has no behaviour of its own.
import { randomBytes } from 'node:crypto';
import { SystemClock } from '../../src/process/clock.ts';
import {
  electionName,
  leaseId,
  memberId,
  type LeaseId,
  type Snapshot,
} from '../../src/core/model.ts';
import { isServing } from '../../src/dev/etcd-process.ts';
import { EtcdCoordinator, type EtcdOptions } from '../../src/etcd/coordinator.ts';
import type { Answer, Coordinator, GrantedLease, WatchNotice } from '../../src/ports.ts';
import type { EtcdNode } from '../harness/etcd.ts';
import { eventually } from '../harness/wait.ts';

export const clock = new SystemClock();
export const orders = electionName('orders');
export const me = {
  id: memberId('orders-0'),
  address: null,
  url: null,
  priority: 0,
  version: '0.0.0',
  pingKey: null,
  checked: null,
};

/** A request as the coordinator's observer was told of it. */
export interface RequestRecord {
  readonly operation: string;
  readonly result: 'ok' | 'failed';
  readonly durationMs: number;
}

export interface Connection {
  readonly coordinator: EtcdCoordinator;
  readonly requests: readonly RequestRecord[];
}

/** The options of a coordinator without login and TLS; TTL 10 s, so that requests are patient on a busy machine. */
export function optionsFor(
  endpoints: readonly string[],
  more: Partial<EtcdOptions> = {},
): EtcdOptions {
  return {
    endpoints,
    prefix: '/electord',
    ttlMs: 10_000,
    clock,
    observer: { requested: () => undefined },
    tls: () => ({ ca: null, certificate: null, key: null }),
    login: () => null,
    ...more,
  };
}

/** Makes a coordinator; the caller closes it. */
export function connectTo(
  endpoints: readonly string[],
  more: Partial<EtcdOptions> = {},
): Connection {
  const requests: RequestRecord[] = [];
  const observer: EtcdOptions['observer'] = {
    requested: (operation, result, durationMs) => requests.push({ operation, result, durationMs }),
  };
  return {
    coordinator: new EtcdCoordinator({ ...optionsFor(endpoints, more), observer }),
    requests,
  };
}

/** Freezes a member; resolves once it answers nothing, because a signal takes a moment. */
export async function freeze(node: EtcdNode): Promise<void> {
  node.freeze();
  await eventually(async () => !(await isServing(node.clientUrl)), {
    withinMs: 20_000,
    what: `${node.name} frozen`,
  });
}

/** A lease as what hangs on it wants to know it. */
export const granted = (lease: LeaseId, ttlMs = 60_000): GrantedLease => ({
  leaseId: lease,
  ttlMs,
});

/** A lease id that nobody else uses. */
export const anyLease = (): LeaseId =>
  leaseId((randomBytes(8).readBigUInt64BE() >> 1n || 1n).toString(16));

/** Watches the election `orders` and keeps what it is told. */
export function watchOrders(coordinator: EtcdCoordinator): {
  readonly notices: readonly WatchNotice[];
  readonly cancel: () => void;
} {
  const notices: WatchNotice[] = [];
  const cancel = coordinator.watch([orders], (notice) => notices.push(notice));
  return { notices, cancel };
}

/** The candidates named by any snapshot or change among these notices, by their ids. */
export const idsIn = (notices: readonly WatchNotice[]): readonly string[] =>
  notices.flatMap((notice) => {
    if (notice.kind === 'snapshot') return notice.snapshot.candidates.map(({ id }) => id);
    return notice.kind === 'change' ? notice.change.candidates.map(({ id }) => id) : [];
  });

/** The state of the election `orders`. */
export async function observed(coordinator: Coordinator): Promise<Answer<Snapshot>> {
  const [answer] = await Promise.all(coordinator.observe([orders]));
  if (answer === undefined) throw new Error('not answered');
  return answer;
}
