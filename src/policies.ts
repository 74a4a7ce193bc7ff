// Every time limit, hedge and retry towards etcd, by name, with the reason for each bound; the only home of
// cockatiel. All bounds follow from the TTL. A policy never decides about leadership: only the clock does.
import { bulkhead, ConstantBackoff, handleAll, noop, retry, type IPolicy } from 'cockatiel';
import { attemptMs } from './core/timing.ts';
import { Unreachable } from './errors.ts';
import { judgeAfter } from './process/time-out.ts';

/** The bounds on one request to etcd, in milliseconds. */
export interface RequestBounds {
  /** An attempt at one endpoint ends after this. */
  readonly attemptMs: number;
  /** An endpoint that has not answered by now is left waiting, and the next one is asked as well. */
  readonly hedgeAfterMs: number;
}

/** The hedge comes well before the next round, and long after any healthy answer. */
export const requestBounds = (ttlMs: number): RequestBounds => ({
  attemptMs: attemptMs(ttlMs),
  hedgeAfterMs: Math.min(250, ttlMs / 10),
});

/** What a short lease depends on is asked elsewhere after an eighth of it: it leaves a quarter for an answer. */
export const urgentBounds = (bounds: RequestBounds, shortMs: number | null): RequestBounds =>
  shortMs === null ? bounds : { ...bounds, hedgeAfterMs: shortMs / 8 };

/**
 * For what a person or the app asks for (a pause, the history, state), on which no lease depends: as patient as the
 * longest of the bounds above, whatever the TTL.
 */
export const patientBounds: RequestBounds = { attemptMs: 2000, hedgeAfterMs: 250 };

/**
 * How many requests of one lane may be under way at once; more wait in line. A round of a thousand elections is about
 * 120.
 */
const requestsAtOnce = 64;
const requestsInLine = 4096;

/**
 * What the failure of one endpoint says about the request: nothing; something that another endpoint may contradict, so
 * that all are asked and every answer under way is waited for; or what any other would say too, so that no other is
 * asked, and an answer under way has as long as a hedge to arrive.
 */
export type Weight = 'nothing' | 'little' | 'all';

export type Attempt<Target, Value> = (target: Target) => Promise<Value>;

/** Runs one idempotent request against the endpoints in order of preference. */
export type Hedge = <Target, Value>(
  targets: readonly Target[],
  attempt: Attempt<Target, Value>,
  weigh: (failure: unknown, target: Target) => Weight,
) => Promise<{ readonly value: Value; readonly target: Target }>;

/** What `run` brings within `limitMs`; else rejects with Unreachable, and `run` is left to itself. */
export const within = <Value>(limitMs: number, run: () => Promise<Value>): Promise<Value> =>
  new Promise<Value>((resolve, reject) => {
    const cancel = judgeAfter(limitMs, () => {
      reject(new Unreachable(`no answer within ${String(limitMs)} ms`));
    });
    void run().then(resolve, reject).finally(cancel);
  });

/**
 * `hedgedRequest`: the first endpoint gets a head start, then each further one is asked as well, until one answers.
 * An endpoint that fails hands over at once. Only for requests that may be sent more than once. A request stands in
 * line once, with all its attempts: no time counts before its first, and none of them waits for the rest of the line.
 */
export function hedgedRequest({ attemptMs, hedgeAfterMs }: RequestBounds): Hedge {
  const line = bulkhead(requestsAtOnce, requestsInLine);
  // The attempt ends itself before that (endpoint.ts), but for that it depends on etcd3 and grpc-js.
  const limitMs = attemptMs + hedgeAfterMs;
  return (targets, attempt, weigh) => {
    const limited: typeof attempt = (target) => within(limitMs, () => attempt(target));
    // A signal of its own: the one that cockatiel shares would gather a listener for each request under way.
    return line.execute(
      () => firstAnswer(targets, limited, weigh, hedgeAfterMs),
      new AbortController().signal,
    );
  };
}

const weights: readonly Weight[] = ['nothing', 'little', 'all'];

const firstAnswer = <Target, Value>(
  targets: readonly Target[],
  attempt: Attempt<Target, Value>,
  weigh: (failure: unknown, target: Target) => Weight,
  hedgeAfterMs: number,
): Promise<{ readonly value: Value; readonly target: Target }> =>
  new Promise((resolve, reject) => {
    let next = 0;
    let open = 0;
    let settled = false;
    /** What says most of all that failed so far; the last of those that say the same. */
    let worst: { readonly failure: unknown; readonly weight: number } = {
      failure: null,
      weight: -1,
    };
    const startNext = (): void => {
      const target = targets[next];
      if (settled || target === undefined || weights[worst.weight] === 'all') return;
      next += 1;
      open += 1;
      const cancelHedge = judgeAfter(hedgeAfterMs, startNext);
      const finish = (): void => {
        cancelHedge();
        open -= 1;
      };
      attempt(target).then(
        (value) => {
          finish();
          if (settled) return;
          settled = true;
          resolve({ value, target });
        },
        (failure: unknown) => {
          finish();
          if (settled) return;
          const weight = weights.indexOf(weigh(failure, target));
          if (weight >= worst.weight) worst = { failure, weight };
          startNext();
          if (open === 0) give();
          else if (weights[weight] === 'all') judgeAfter(hedgeAfterMs, give);
        },
      );
    };
    const give = (): void => {
      if (settled) return;
      settled = true;
      const { failure } = worst;
      reject(failure instanceof Error ? failure : new Unreachable(String(failure)));
    };
    startNext();
  });

/** `watchReopening`: a broken watch is opened again for ever; soon at first, at least twice a second. */
export const watchReopening = { firstMs: 20, longestMs: 500 } as const;

/** Elections that etcd refuses to show are tried again more slowly: somebody has to change a role or a value first. */
export const refusedWatchReopening = { firstMs: 500, longestMs: 10_000 } as const;

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

/** An endpoint of another cluster is looked at again after this: a name may point to the right one by then. */
export const otherClusterAgainMs = 10_000;

/** How a watch is found to be mute: it is asked for its progress this often, and must say something in time. */
export const watchProbe = (
  ttlMs: number,
): { readonly everyMs: number; readonly answerWithinMs: number } => ({
  everyMs: Math.min(Math.max(ttlMs / 5, 400), 2000),
  answerWithinMs: Math.min(Math.max(ttlMs / 5, 500), 1000),
});

/** `passThrough`: etcd3's own retries and breaker are off; they re-send blindly and delay recovery by seconds. */
export const passThrough: IPolicy = noop;
