// The followers of an election as a destination: the healthy one with the fewest connections of ours, or the leader where
// there is none. What is read from a follower may be old, and a follower may become the leader: nothing is cut off.
import type { ElectionName, FencingToken, MemberId, Millis } from '../core/model.ts';
import type { Clock, Elections } from '../ports.ts';
import { addressOf, Reachable, type Address, type Destination, type Target } from './target.ts';

/** The health of a member changes without a notice. */
const lookEveryMs = 100;

class Follower implements Target {
  readonly id: MemberId;
  readonly token: FencingToken | null = null;
  readonly address: Address;
  readonly reachable: Reachable;
  load = 0;
  /** The place in the order of all choices in which it was chosen last. */
  chosen = 0;

  constructor(id: MemberId, address: Address, changed: () => void) {
    this.id = id;
    this.address = address;
    this.reachable = new Reachable(address, changed);
  }

  mayReceive(): boolean {
    return true;
  }

  permit(): Promise<boolean> {
    return Promise.resolve(true);
  }

  onOver(): () => void {
    return () => undefined;
  }

  unreachable(): void {
    this.reachable.failed();
    // Others can be asked meanwhile, and this one as soon as it can be reached.
    this.reachable.probe();
  }
}

/** The one with fewer connections, or else the one whose turn it is. */
const isBefore = (one: Follower, other: Follower): boolean =>
  one.load === other.load ? one.chosen < other.chosen : one.load < other.load;

export interface FollowersOptions {
  readonly election: ElectionName;
  readonly elections: Elections;
  readonly clock: Pick<Clock, 'now'>;
}

export class FollowersDestination implements Destination {
  readonly #options: FollowersOptions;
  readonly #known = new Map<MemberId, Follower>();
  readonly #listeners = new Set<() => void>();
  #leader: MemberId | null = null;
  #choices = 0;
  #lookedAt: Millis = Number.NEGATIVE_INFINITY;

  constructor(options: FollowersOptions) {
    this.#options = options;
    options.elections.subscribe((notice) => {
      if ('election' in notice && notice.election === options.election) {
        this.#lookedAt = Number.NEGATIVE_INFINITY;
      }
    });
  }

  ready(): Target | null {
    if (this.#options.clock.now() >= this.#lookedAt + lookEveryMs) this.#look();
    let best: Follower | null = null;
    let leader: Follower | null = null;
    for (const one of this.#known.values()) {
      if (one.reachable.isDown()) continue;
      if (one.id === this.#leader) leader = one;
      else if (best === null || isBefore(one, best)) best = one;
    }
    const found = best ?? leader;
    if (found !== null) found.chosen = this.#choices += 1;
    return found;
  }

  seek(): void {
    this.#look();
    for (const { reachable } of this.#known.values()) reachable.probe();
    this.#changed();
  }

  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  readonly #changed = (): void => {
    for (const listener of this.#listeners) listener();
  };

  #look(): void {
    const { elections, election, clock } = this.#options;
    const { role, members, candidates, leader } = elections.report(election);
    this.#lookedAt = clock.now();
    // etcd that is away says nothing of those that it named.
    if (role === 'unknown') return;
    this.#leader = leader?.id ?? null;
    const present = new Set<MemberId>();
    const unwell = new Set(members.flatMap(({ id, healthy }) => (healthy ? [] : id)));
    // A candidate is told of at once, and its record as a member with the next look at etcd.
    for (const { id, address: advertised } of [...members, ...candidates]) {
      const address = addressOf(advertised);
      if (unwell.has(id) || address === null) continue;
      present.add(id);
      const known = this.#known.get(id)?.address;
      if (known?.host === address.host && known.port === address.port) continue;
      this.#known.set(id, new Follower(id, address, this.#changed));
    }
    for (const id of this.#known.keys()) if (!present.has(id)) this.#known.delete(id);
  }
}
