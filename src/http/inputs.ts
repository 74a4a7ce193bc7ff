// What the HTTP interface needs from the rest of the program; built by the composition root.
import type { ServerResponse } from 'node:http';
import type { ElectionName, Millis } from '../core/model.ts';
import type { AuditEntry } from '../contract.ts';
import type { AuditLog, Coordinator, Elections } from '../ports.ts';
import type { FencedStore } from '../store-port.ts';

export interface HealthInputs {
  /**
   * What keeps etcd, or an endpoint of it, from being used, beyond not answering; `notTakenUp`: why settings or credentials
   * that were read anew are not in force.
   */
  etcd?(): {
    readonly wentBack: string | null;
    readonly leftOut: readonly string[];
    readonly notTakenUp?: string | null;
  };
  /** How late the event loop ran lately, in milliseconds: the worst of the recent past, not an average. */
  loopDelayMs(): number;
  /** What the app check says; `detail` is for people and holds no secret. */
  app(): { readonly configured: boolean; readonly healthy: boolean; readonly detail: string };
}

/** Which listener a client came by. */
export type Side = 'public' | 'local';

/** The clients of `/events`, of all listeners. */
export interface Events {
  /** Streams to a client whose header was sent; `elections` null means all of them. Never throws. */
  open(side: Side, response: ServerResponse, elections: ReadonlySet<ElectionName> | null): void;
  /** Likewise, but only what changes from now on, of all elections. */
  follow(side: Side, response: ServerResponse): void;
  isFull(side: Side): boolean;
  /** How many clients receive events now. */
  count(): number;
  /** Sends everybody a last state and ends all streams, those opened later too. */
  close(): void;
}

/** The status pages that are open, and how the members that they look at answer. */
export interface Peers {
  /** Streams to a page whose header was sent. Never throws. */
  open(response: ServerResponse, elections: readonly ElectionName[]): void;
  isFull(): boolean;
}

export interface Inputs {
  readonly elections: Elections;
  /** The monotonic clock that `Elections` judges by. */
  readonly clock: { now(): Millis };
  /** The wall clock in milliseconds since 1970: for people, it decides nothing. */
  readonly wallNow: () => number;
  /** When the program started: on the monotonic clock, and on the wall clock. */
  readonly started: { readonly at: Millis; readonly wallMs: number };
  readonly metrics: () => Promise<{ readonly contentType: string; readonly body: string }>;
  readonly version: string;
  /** What pings to this process are signed with; null where fast failover is off. */
  readonly pingKey: string | null;
  /** The effective settings for `/status`, without secrets. */
  readonly describe: () => Record<string, unknown>;
  readonly health: HealthInputs;
  readonly events: Events;
  /**
   * The longest hold that the public listener grants, to proxies of other sidecars: so much may anybody delay a planned
   * hand-over, once. 0 or absent: none.
   */
  readonly publicHoldMs?: number;
  /** Where there is none, pages do without. */
  readonly peers?: Peers;
  readonly history: Coordinator['history'];
  /** The verbs remembered, newest first. */
  readonly verbs: (election: ElectionName) => Promise<readonly AuditEntry[]>;
  /** Told of every failure that a client only sees as a 500, and of failures of a listening socket. */
  readonly reportError: (error: unknown) => void;
}

/** What the local listener needs besides: the operator's verbs and the app's API. */
export interface LocalInputs {
  readonly coordinator: Pick<
    Coordinator,
    'observe' | 'pause' | 'resume' | 'requestSwitchover' | 'isCurrent'
  >;
  readonly store: FencedStore;
  /** Its `record` never rejects. */
  readonly audit: AuditLog;
  /** The bearer token that writing verbs must bring, null where none is configured; asked for each request. */
  readonly token: () => string | null;
  /** Whether holds and writing verbs need a client's certificate, which the handshake has asked for and left to us. */
  readonly needsCertificate?: boolean;
  /** True for a loopback TCP listener, which any page in a browser on this machine can reach. */
  readonly checksHost: boolean;
  /** Where browsers reach this listener behind a proxy; null: under its own address only. */
  readonly publicUrl: string | null;
  /** The most that a planned step-down may take, and the longest hold, in milliseconds. */
  readonly graceMs: number;
  readonly maxHoldMs: number;
}
