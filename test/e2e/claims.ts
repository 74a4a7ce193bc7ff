// Asks sidecars all the time whether they lead, as clients would, and judges the answers: a claim is stale when its
// request was sent after an answer about a newer term had been received, and a promise broken when a newer term was claimed
// before its `validForMs` was over. Times are of the machine's monotonic clock.
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs, type LeaderAnswer, type Sidecar } from '../harness/sidecar.ts';

/** An answer of `/leader`, as far as it matters here. */
export interface Observation {
  readonly from: string;
  readonly status: number;
  readonly sentAt: number;
  readonly receivedAt: number;
  /** The term that it claims for itself, null where it does not. */
  readonly claims: bigint | null;
  /** The newest term that it knows of. */
  readonly knows: bigint | null;
  /** How long the claim holds from the question on, as it says. */
  readonly validForMs: number;
}

/** Soon enough to see every state that lasts; seldom enough to leave the processor to what is tested. */
const askEveryMs = 10;
/** While a question is unanswered, more are sent this often: so that some were sent long before a process wakes. */
const askTheSilentEveryMs = 100;
/** Longer than any process is stopped here. */
const patienceMs = 30_000;

const termOf = (token: string | null | undefined): bigint | null =>
  typeof token === 'string' ? BigInt(token) : null;

/** Probing that goes on until it is ended. */
export class Probe {
  readonly observations: Observation[] = [];
  readonly #askedAt = new Map<string, number>();
  #ended = false;
  readonly #loops: readonly Promise<void>[];

  constructor(sidecars: readonly Sidecar[]) {
    this.#loops = sidecars.map((sidecar) => this.#ask(sidecar));
  }

  /** What this sidecar answered, in the order of arrival. */
  of(sidecar: Sidecar): readonly Observation[] {
    return this.observations.filter(({ from }) => from === sidecar.id);
  }

  /** When the newest question to it was sent, be it answered or not. */
  askedAt({ id }: Sidecar): number {
    return this.#askedAt.get(id) ?? Number.NEGATIVE_INFINITY;
  }

  /** Ends it; answers that are still to come are left out. */
  async end(): Promise<readonly Observation[]> {
    this.#ended = true;
    await Promise.all(this.#loops);
    return this.observations;
  }

  async #ask(sidecar: Sidecar): Promise<void> {
    let open = 0;
    while (!this.#ended) {
      open += 1;
      this.#askedAt.set(sidecar.id, monotonicMs());
      void this.#askOnce(sidecar).finally(() => {
        open -= 1;
      });
      await delay(askEveryMs);
      for (let waitedMs = askEveryMs; open > 0 && waitedMs < askTheSilentEveryMs;) {
        await delay(askEveryMs);
        waitedMs += askEveryMs;
      }
    }
  }

  async #askOnce(sidecar: Sidecar): Promise<void> {
    try {
      const answer = await sidecar.get<LeaderAnswer>('/leader', { timeoutMs: patienceMs });
      const { status, sentAt, receivedAt, body } = answer;
      if (this.#ended) return;
      const claims = status === 200 || body.isLeader ? termOf(body.fencingToken) : null;
      const knows = termOf(body.leader?.fencingToken) ?? claims;
      const { validForMs } = body;
      const times = { sentAt, receivedAt, validForMs };
      this.observations.push({ from: sidecar.id, status, ...times, claims, knows });
    } catch {
      // No answer claims nothing.
    }
  }
}

/** A claim, and the answer that had disproved it before it was asked for. */
export interface StaleClaim {
  readonly claim: Observation;
  readonly disprovedBy: Observation;
}

/** Every claim of an older term whose request was sent after an answer about a newer one was received. */
export function staleClaims(observations: readonly Observation[]): readonly StaleClaim[] {
  const inOrder = observations.toSorted((a, b) => a.receivedAt - b.receivedAt);
  // The answers that raised the newest known term: few, however many answers there are.
  const news: Observation[] = [];
  for (const one of inOrder) {
    if (one.knows === null) continue;
    const newest = news.at(-1)?.knows ?? null;
    if (newest === null || one.knows > newest) news.push(one);
  }
  return inOrder.flatMap((claim) => {
    if (claim.claims === null) return [];
    const term = claim.claims;
    const disprovedBy = news.find(
      ({ knows, receivedAt }) => knows !== null && knows > term && receivedAt < claim.sentAt,
    );
    return disprovedBy === undefined ? [] : [{ claim, disprovedBy }];
  });
}

/** Every claim that was to hold for longer than until the first answer that claims a newer term. */
export function brokenPromises(observations: readonly Observation[]): readonly StaleClaim[] {
  const claims = observations.filter(({ claims }) => claims !== null);
  const inOrder = claims.toSorted((a, b) => a.receivedAt - b.receivedAt);
  return inOrder.flatMap((claim) => {
    const disprovedBy = inOrder.find(
      (one) => one.claims! > claim.claims! && one.receivedAt < claim.sentAt + claim.validForMs,
    );
    return disprovedBy === undefined ? [] : [{ claim, disprovedBy }];
  });
}
