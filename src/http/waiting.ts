// Waiting until something is so in an election, for verbs that answer when they are done: asked again after every
// notice, and regularly, since knowledge that runs out tells nobody.
import type { Asked } from './exchange.ts';

/** Long against what a question costs, short against what a person notices. */
const askEveryMs = 50;

/**
 * A sidecar that was only just started tells who leads a moment before it stands in the queue itself: for so long nobody
 * is taken for absent who may be on the way.
 */
export const comesWithinMs = 1000;

/**
 * Resolves to what `ask` first says that is not null; to null after `limitMs`, or once nobody waits for the answer any
 * more. Rejects with what `ask` throws.
 */
export function waitFor<Value>(
  { inputs, onGone }: Pick<Asked, 'inputs' | 'onGone'>,
  ask: () => Value | null,
  limitMs: number,
): Promise<Value | null> {
  return new Promise((resolve, reject) => {
    let settled = false;
    const finish = (settle: () => void): void => {
      if (settled) return;
      settled = true;
      unsubscribe();
      forgetClient();
      clearInterval(regularly);
      clearTimeout(bound);
      settle();
    };
    const look = (): void => {
      if (settled) return;
      try {
        const found = ask();
        if (found !== null) finish(() => resolve(found));
      } catch (failure) {
        finish(() => reject(failure instanceof Error ? failure : new Error(String(failure))));
      }
    };
    // A notice comes from the middle of an election's step: it is looked at once that is over.
    const unsubscribe = inputs.elections.subscribe(() => setImmediate(look));
    const forgetClient = onGone(() => finish(() => resolve(null)));
    const regularly = setInterval(look, askEveryMs);
    const bound = setTimeout(() => finish(() => resolve(null)), limitMs);
    look();
  });
}
