// Every time limit, hedge and retry towards etcd, by name, with the reason for each bound; the only home of
// cockatiel. All bounds follow from the TTL. A policy never decides about leadership: only the clock does.
import { bulkhead, ConstantBackoff, handleAll, noop, retry, type IPolicy } from 'cockatiel';
import { Unreachable } from './errors.ts';
import { judgeAfter } from './process/time-out.ts';

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

/** What `run` brings within `limitMs`; else rejects with Unreachable, and `run` is left to itself. */
const within = <Value>(limitMs: number, run: () => Promise<Value>): Promise<Value> =>
  new Promise<Value>((resolve, reject) => {
    const cancel = judgeAfter(limitMs, () => {
      reject(new Unreachable(`no answer within ${String(limitMs)} ms`));
    });
    void run().then(resolve, reject).finally(cancel);
  });

/**
 * `hedgedRequest`: the first endpoint gets a head start, then each further one is asked as well, until one answers.
 * An endpoint that fails hands over at once. Only for requests that may be sent more than once.
 */
export function hedgedRequest({ attemptMs, hedgeAfterMs }: RequestBounds): Hedge {
  const line = bulkhead(requestsAtOnce, requestsInLine);
  // The attempt ends itself before that (endpoint.ts), but for that it depends on etcd3 and grpc-js.
  const limitMs = attemptMs + hedgeAfterMs;
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
        const cancelHedge = judgeAfter(hedgeAfterMs, startNext);
        const finish = (): boolean => {
          cancelHedge();
          open -= 1;
          return !settled;
        };
        // A signal of its own: the one that cockatiel shares would gather a listener for each request under way.
        line
          .execute(() => within(limitMs, () => attempt(target)), new AbortController().signal)
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
export const watchReopening = { firstMs: 20, longestMs: 500 } as const;

/** `authentication`: a login is tried once more, because etcd refuses one made during a change of its leader. */
export const authentication = ({
  attemptMs,
}: RequestBounds): {
  readonly execute: <Value>(run: () => Promise<Value>) => Promise<Value>;
} => {
  const again = retry(handleAll, { maxAttempts: 1, backoff: new ConstantBackoff(20) });
  return { execute: (run) => again.execute(() => within(attemptMs, run)) };
};

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
