// The Pings port of one sidecar, over the simulated network between members: a ping and its answer are each lost, late or
// doubled, and cut off one way or both. What it is signed with tells a process from the one before it at the same url.
import type { ElectionPing } from '../../src/core/model.ts';
import type { Pings } from '../../src/ports.ts';
import { Unreachable } from '../../src/errors.ts';
import type { Network, Side } from './network.ts';
import type { Process } from './process.ts';
import type { Scheduler } from './scheduler.ts';

/** One process as others reach it. */
export interface Reached {
  readonly side: Side;
  /** Null while nothing runs there. */
  readonly life: {
    readonly pingKey: string;
    readonly process: Process;
    readonly answer: (ping: ElectionPing) => boolean;
  } | null;
}

export interface SimPingsOptions {
  readonly scheduler: Scheduler;
  readonly network: Network;
  readonly side: Side;
  readonly process: Process;
  /** Who is at that url. */
  readonly at: (url: string) => Reached | null;
}

export class SimPings implements Pings {
  readonly #options: SimPingsOptions;

  constructor(options: SimPingsOptions) {
    this.#options = options;
  }

  send(
    { url, key }: { readonly url: string; readonly key: string },
    pings: readonly ElectionPing[],
  ): Promise<readonly ElectionPing[]> {
    const { network, side, process, scheduler, at } = this.#options;
    const there = at(url);
    return new Promise((resolve, reject) => {
      let over = false;
      /** Only the first end counts; most pings have long been answered when their time is up. */
      const end = (settle: () => void): void => {
        scheduler.settled();
        if (over) return;
        over = true;
        settle();
      };
      const withinMs = Math.min(...pings.map(({ ping }) => ping.forMs));
      process.timer(withinMs, () => end(() => reject(new Unreachable('no answer in time'))));
      if (there === null) return;
      network.message(side, there.side, () => {
        const { life } = there;
        if (life?.pingKey !== key) return;
        life.process.deliver(() => {
          const answered = pings.filter((ping) => life.answer(ping));
          network.message(there.side, side, () =>
            process.deliver(() => end(() => resolve(answered))),
          );
          scheduler.settled();
        });
      });
    });
  }

  close(): void {
    // Nothing is kept open.
  }
}
