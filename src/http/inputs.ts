// What the HTTP interface needs from the rest of the program; built by the composition root.
import type { Millis } from '../core/model.ts';
import type { Elections } from '../ports.ts';

export interface HealthInputs {
  /** How late the event loop ran lately, in milliseconds: the worst of the recent past, not an average. */
  loopDelayMs(): number;
  /** What the app check says; `detail` is for people and holds no secret. */
  app(): { readonly configured: boolean; readonly healthy: boolean; readonly detail: string };
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
  /** The effective settings for `/status`, without secrets. */
  readonly describe: () => Record<string, unknown>;
  readonly health: HealthInputs;
  /** Told of every failure that a client only sees as a 500, and of failures of a listening socket. */
  readonly reportError: (error: unknown) => void;
}
