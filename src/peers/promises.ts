// Promises of other sidecars that nobody else leads for a moment: what lets a proxy send to another instance without the
// risk that it has ceased to lead.
import type { ElectionName, FencingToken, MemberId, Millis } from '../core/model.ts';
import type { Promised } from '../ports.ts';
import type { AskTls } from '../process/ask-tls.ts';
import { leaderAddress } from './address.ts';
import { Names } from './names.ts';
import { ask, Connections } from './question.ts';

/** A planned hand-over waits for so long at most where others have traffic for its leader. */
export const longestPromiseMs = 150;

export interface PromisesOptions {
  readonly now: () => Millis;
  readonly tls: () => AskTls;
}

/** An answer from the memory of a sidecar in the same network takes milliseconds. */
const timeoutMs = 500;

export class Promises {
  readonly #options: PromisesOptions;
  readonly #connections = new Connections(new Names());

  constructor(options: PromisesOptions) {
    this.#options = options;
  }

  /** Asks the leader of a term. Never rejects. */
  readonly ask = async (
    election: ElectionName,
    {
      id,
      url,
      token,
    }: { readonly id: MemberId; readonly url: string | null; readonly token: FencingToken },
  ): Promise<Promised> => {
    const address = leaderAddress(url, election);
    if (address.kind === 'unaskable') return { kind: 'none', why: address.why };
    address.url.searchParams.set('hold', `${longestPromiseMs}ms`);
    const { now, tls } = this.#options;
    const question = { url: address.url, election, id, timeoutMs, now, tls: tls() };
    const outcome = await ask({ ...question, connections: this.#connections });
    if (outcome.kind === 'silent') return { kind: 'silent' };
    if (outcome.kind === 'unaskable') return { kind: 'none', why: outcome.why };
    const { sentAt, heldForMs, fencingToken } = outcome.answer;
    return { kind: 'held', sentAt, forMs: fencingToken === String(token) ? heldForMs : 0 };
  };

  close(): void {
    this.#connections.close();
  }
}
