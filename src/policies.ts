// Every time limit, hedge and retry towards etcd, by name, with the reason for each bound; the only home of
// cockatiel. All bounds follow from the TTL. A policy never decides about leadership: only the clock does.
import {
  bulkhead,
  ConstantBackoff,
  ExponentialBackoff,
  handleAll,
  noop,
  retry,
  timeout,
  TimeoutStrategy,
  wrap,
  type IPolicy,
} from 'cockatiel';
import { Unreachable } from './errors.ts';

/** The bounds on one request to etcd, in milliseconds. */
export interface RequestBounds {
  /** An attempt at one endpoint ends after this. */
  readonly attemptMs: number;
  /** An endpoint that has not answered by now is left waiting, and the next one is asked as well. */
  readonly hedgeAfterMs: number;
}

/**
 * A quarter of the TTL for an attempt: a lost request leaves time for the rounds behind it. At least 500 ms, which a
 * busy etcd may need for a write to disk; at most 2 s, so that a silent endpoint is noticed under long TTLs too.
 * The hedge comes well before the next round, and long after any healthy answer.
 */
export const requestBounds = (ttlMs: number): RequestBounds => ({
  attemptMs: Math.min(Math.max(ttlMs / 4, 500), 2000),
  hedgeAfterMs: Math.min(250, ttlMs / 10),
});

/**
 * For what a person or the app asks for (a pause, the history, state), on which no lease depends: as patient as the
 * longest of the bounds above, whatever the TTL.
 */
export const patientBounds: RequestBounds = { attemptMs: 2000, hedgeAfterMs: 250 };

/** How many requests may be under way at once; more wait in line. A round of a thousand elections is about 120. */
const requestsAtOnce = 64;
const requestsInLine = 4096;

export type Attempt<Target, Value> = (target: Target) => Promise<Value>;

/** Runs one idempotent request against the endpoints in order of preference. */
export type Hedge = <Target, Value>(
  targets: readonly Target[],
  attempt: Attempt<Target, Value>,
  worthTryingElsewhere: (failure: unknown) => boolean,
) => Promise<{ readonly value: Value; readonly target: Target }>;

/**
 * `hedgedRequest`: the first endpoint gets a head start, then each further one is asked as well, until one answers.
 * An endpoint that fails hands over at once. Only for requests that may be sent more than once.
 */
export function hedgedRequest({ attemptMs, hedgeAfterMs }: RequestBounds): Hedge {
  // Aggressive: the gRPC deadline should end an attempt first, but it stands on the wall clock and on etcd3.
  const limit = wrap(
    bulkhead(requestsAtOnce, requestsInLine),
    timeout(attemptMs + hedgeAfterMs, TimeoutStrategy.Aggressive),
  );
  return (targets, attempt, worthTryingElsewhere) =>
    new Promise((resolve, reject) => {
      let next = 0;
      let open = 0;
      let settled = false;
      const startNext = (): void => {
        const target = targets[next];
        if (settled || target === undefined) return;
        next += 1;
        open += 1;
        const timer = setTimeout(startNext, hedgeAfterMs);
        const finish = (): boolean => {
          clearTimeout(timer);
          open -= 1;
          return !settled;
        };
        // A signal of its own: the one that cockatiel shares would gather a listener for each request under way.
        limit
          .execute(() => attempt(target), new AbortController().signal)
          .then(
            (value) => {
              if (!finish()) return;
              settled = true;
              resolve({ value, target });
            },
            (failure: unknown) => {
              if (!finish()) return;
              const elsewhere = worthTryingElsewhere(failure);
              if (elsewhere && next < targets.length) startNext();
              else if (!elsewhere || open === 0) {
                settled = true;
                reject(failure instanceof Error ? failure : new Unreachable(String(failure)));
              }
            },
          );
      };
      startNext();
    });
}

/** `watchReopening`: a broken watch is opened again for ever; soon at first, at least twice a second. */
export const watchReopening = (): {
  readonly execute: (run: () => Promise<void>) => Promise<void>;
} =>
  retry(handleAll, {
    maxAttempts: Number.MAX_SAFE_INTEGER,
    backoff: new ExponentialBackoff({ initialDelay: 20, maxDelay: 500 }),
  });

/** `authentication`: a login is tried once more, because etcd refuses one made during a change of its leader. */
export const authentication = ({
  attemptMs,
}: RequestBounds): {
  readonly execute: <Value>(run: () => Promise<Value>) => Promise<Value>;
} =>
  wrap(
    retry(handleAll, { maxAttempts: 1, backoff: new ConstantBackoff(20) }),
    timeout(attemptMs, TimeoutStrategy.Aggressive),
  );

/** How long a client that only fails is kept: its sockets may wait for a dead peer far longer than the fault lasts. */
export const discardClientAfterMs = ({ attemptMs }: RequestBounds): number =>
  Math.max(1000, 2 * attemptMs);

/** How a watch is found to be mute: it is asked for its progress this often, and must say something in time. */
export const watchProbe = (
  ttlMs: number,
): { readonly everyMs: number; readonly answerWithinMs: number } => ({
  everyMs: Math.min(Math.max(ttlMs / 5, 400), 2000),
  answerWithinMs: Math.min(Math.max(ttlMs / 5, 500), 1000),
});

/** `passThrough`: etcd3's own retries and breaker are off; they re-send blindly and delay recovery by seconds. */
export const passThrough: IPolicy = noop;
