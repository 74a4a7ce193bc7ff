// `whileLeader`: runs a function for each own term, tells it in time that the term is over, and waits for it to end.
import type { Millis } from '../core/model.ts';
import type { Clock } from '../ports.ts';
import { ClientClosed, LeadershipLost } from './errors.ts';
import type { Claim } from './knowledge.ts';

/** One term of this instance. */
export interface Term {
  readonly election: string;
  /** This instance. */
  readonly id: string;
  /** Greater than that of every earlier term: whatever receives your writes refuses a lower one than it has seen. */
  readonly fencingToken: bigint;
  /** For how many milliseconds from now on it is certain that this term leads; 0 once it is not. */
  remainingMs(): number;
}

/** How `whileLeader` works. */
export interface WhileLeaderOptions {
  /**
   * So many milliseconds before the end of the validity the signal aborts, where it was not extended by then: as long as
   * the work takes to stop. 100 by default. It has to be less than the sidecar's --max-hold: no claim is valid for longer.
   */
  readonly stopWithinMs?: number;
  /** Ends `whileLeader` itself: the running work is aborted and waited for. */
  readonly signal?: AbortSignal;
}

/** Work that is done only while leading. */
export type Work = (term: Term, signal: AbortSignal) => Promise<void> | void;

/** What the runner needs of the client. */
export interface Claims {
  readonly clock: Clock;
  readonly closed: boolean;
  /** Who and where, as of the newest answer. */
  identity(): { readonly election: string; readonly id: string };
  claim(): Claim | null;
  /** Calls `listener` whenever anything was heard, and at the end; the returned function ends that. */
  watch(listener: () => void): () => void;
}

/** Well below the validity of a healthy leader, which is a hold (about a second). */
const standardStopWithinMs = 100;

/** Runs `work` for each own term until the client is closed or `options.signal` aborts. Rejects with what it throws. */
export async function runTerms(
  claims: Claims,
  work: Work,
  options: WhileLeaderOptions,
): Promise<void> {
  const { stopWithinMs = standardStopWithinMs, signal: end } = options;
  let finished: bigint | null = null;
  for (;;) {
    const token = await nextTerm(claims, { stopWithinMs, end, besides: finished });
    if (token === null) return;
    const how = await runTerm(claims, token, { work, stopWithinMs, end });
    // Work that came to its own end is not begun again for the same term; work that was stopped is.
    if (how === 'finished') finished = token;
  }
}

interface Awaited {
  readonly stopWithinMs: number;
  readonly end: AbortSignal | undefined;
  /** A term whose work is done. */
  readonly besides: bigint | null;
}

/** The next own term that leaves any time to work in; null at the end. */
function nextTerm(claims: Claims, { stopWithinMs, end, besides }: Awaited): Promise<bigint | null> {
  return new Promise((resolve) => {
    const look = (): void => {
      const claim = claims.claim();
      const over = claims.closed || end?.aborted === true;
      const leftMs = claim === null ? 0 : claim.validUntil - claims.clock.now();
      if (!over && (claim === null || claim.fencingToken === besides || leftMs <= stopWithinMs)) {
        return;
      }
      unwatch();
      end?.removeEventListener('abort', look);
      resolve(over ? null : (claim?.fencingToken ?? null));
    };
    const unwatch = claims.watch(look);
    end?.addEventListener('abort', look);
    look();
  });
}

interface Run {
  readonly work: Work;
  readonly stopWithinMs: number;
  readonly end: AbortSignal | undefined;
}

async function runTerm(claims: Claims, token: bigint, run: Run): Promise<'finished' | 'stopped'> {
  const { work } = run;
  const controller = new AbortController();
  const { signal } = controller;
  const release = abortInTime(claims, token, run, controller);
  try {
    await work(termOf(claims, token), signal);
    return signal.aborted ? 'stopped' : 'finished';
  } catch (failure) {
    if (signal.aborted && isAbort(failure, signal)) return 'stopped';
    throw failure;
  } finally {
    release();
  }
}

/** Aborts as soon as the term is not ours any more, and `stopWithinMs` before that is uncertain. */
function abortInTime(
  claims: Claims,
  token: bigint,
  { stopWithinMs, end }: Run,
  controller: AbortController,
): () => void {
  let cancel = (): void => undefined;
  const release = (): void => {
    cancel();
    unwatch();
    end?.removeEventListener('abort', look);
  };
  const abort = (reason: Error): void => {
    release();
    controller.abort(reason);
  };
  const look = (): void => {
    cancel();
    const claim = claims.claim();
    const stopAt: Millis = (claim?.validUntil ?? 0) - stopWithinMs;
    if (claims.closed) abort(new ClientClosed('the client was closed'));
    else if (end?.aborted === true) abort(new ClientClosed('whileLeader was told to end'));
    else if (claim === null) abort(new LeadershipLost(`term ${token} is over`));
    else if (claim.fencingToken !== token) abort(new LeadershipLost(`a term after ${token} began`));
    else if (claims.clock.now() >= stopAt) {
      abort(new LeadershipLost(`term ${token} could not be confirmed in time`));
    } else cancel = claims.clock.at(stopAt, look);
  };
  const unwatch = claims.watch(look);
  end?.addEventListener('abort', look);
  look();
  return release;
}

function termOf(claims: Claims, token: bigint): Term {
  return {
    ...claims.identity(),
    fencingToken: token,
    remainingMs: () => {
      const claim = claims.claim();
      if (claim?.fencingToken !== token) return 0;
      return Math.max(0, claim.validUntil - claims.clock.now());
    },
  };
}

/** What an aborted call throws by itself: the reason, or an error that is called so. */
function isAbort(failure: unknown, { reason }: AbortSignal): boolean {
  return failure === reason || (failure instanceof Error && failure.name === 'AbortError');
}
