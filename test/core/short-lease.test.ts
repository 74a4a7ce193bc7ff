// The leader's half of fast failover: whom it pings, who counts and from when, what bounds its claim, and when somebody is
// enlisted or dismissed.
import { describe, expect, it } from 'vitest';
import { fencingToken, revision, type Revision } from '../../src/core/model.ts';
import {
  acknowledged,
  conduct,
  newShortLease,
  recorded,
  recordLater,
  shortBoundOf,
  wakeShortLeaseAt,
  witnessesOf,
  type Behind,
  type Listed,
  type RecordChange,
  type ShortLease,
} from '../../src/core/short-lease.ts';

const rev = (value: number): Revision => revision(BigInt(value));
const [b, c, d] = [rev(11), rev(12), rev(13)];
const all = [b, c, d];
const behind = (more: Partial<Behind> = {}): Behind => ({
  eligible: all,
  present: all,
  enlists: true,
  ...more,
});
/** F = 400 ms: a ping every 50 ms, dismissed after 200, enlisted within 100. */
const fresh = newShortLease(fencingToken(rev(10)), 400, 0, 0);

/** A lease that is conducted by hand: everybody named acknowledges at once, etcd answers at once. */
class Hand {
  lease: ShortLease = fresh;
  now = 0;
  pinged: readonly Revision[] = [];
  change: RecordChange | null = null;
  #revision = 100;

  at(now: number, who: Behind = behind()): this {
    this.now = now;
    const { lease, pings, change } = conduct(this.lease, who, now);
    this.lease = lease;
    this.pinged = pings.map(({ witness }) => witness);
    this.change = change;
    return this;
  }

  /** Time passes as it does for whoever does not stand still. */
  passes(until: number, who: Behind = behind()): this {
    for (let at = this.now + 45; at < until; at += 45) this.at(at, who);
    return this.at(until, who);
  }

  hears(...witnesses: readonly Revision[]): this {
    for (const one of witnesses) this.lease = acknowledged(this.lease, one, this.now);
    return this;
  }

  /** etcd has carried out the change. */
  etcd(listed: readonly Listed[] = this.lease.change!.to): this {
    this.#revision += 1;
    const { number } = this.lease.change!;
    this.lease = recorded(this.lease, number, { at: rev(this.#revision), listed }, this.now);
    return this;
  }

  /** With b and c as witnesses, by 100 ms. */
  settled(): this {
    this.at(10).hears(b, c).etcd();
    this.at(50).hears(b, c).etcd();
    this.at(100).hears(b, c);
    return (this.change === null ? this : this.etcd()).at(100.5).hears(b, c);
  }
}

describe('a short lease', () => {
  it('begins a moment after the term, with a record that lists nobody', () => {
    expect(new Hand().at(9)).toMatchObject({ pinged: [], change: null });
    const hand = new Hand().at(10);
    expect(hand.pinged).toEqual([b, c, d]);
    expect(hand.change).toMatchObject({ was: null, to: [] });
  });

  it('enlists the next two, one after the other, each once it has acknowledged', () => {
    const hand = new Hand().at(10).etcd();
    expect(hand.at(20).change).toBeNull();
    hand.hears(b);
    expect(hand.at(30).change?.to).toEqual([{ witness: b, number: 2 }]);
    expect(hand.hears(c).at(40).change).toBeNull();
    hand.etcd();
    expect(hand.at(60).change?.to.map(({ witness }) => witness)).toEqual([b, c]);
  });

  it('counts a witness from before etcd is asked, and until etcd has answered that it is none', () => {
    const hand = new Hand().at(10).etcd().at(20).hears(b).at(30);
    expect(hand.change?.to).toHaveLength(1);
    expect(shortBoundOf(hand.lease)).toBe(420);
    hand.etcd().passes(219, behind({ enlists: false }));
    expect(hand.change).toBeNull();
    hand.at(220);
    expect(hand.change?.to).toEqual([]);
    expect(shortBoundOf(hand.lease)).toBe(420);
    expect(shortBoundOf(hand.etcd().lease)).toBe(Number.POSITIVE_INFINITY);
  });

  it('is bounded by the one that counts and was heard of longest ago, from when its ping was sent', () => {
    const hand = new Hand().settled();
    expect(witnessesOf(hand.lease)).toEqual([b, c]);
    hand.at(151).hears(b);
    expect(shortBoundOf(hand.lease)).toBe(100.5 + 400);
    expect(shortBoundOf(acknowledged(hand.lease, c, 40))).toBe(100.5 + 400);
  });

  it('tells a witness where it stands as soon as that is known, and names it once it has heard', () => {
    const hand = new Hand().at(10).hears(b).etcd().at(11);
    hand.etcd();
    const { pings } = conduct(hand.lease, behind(), 12);
    expect(pings[0]).toMatchObject({ witness: b, enlisted: { number: 2, at: rev(102) } });
    expect(pings[1]).toMatchObject({ witness: c, enlisted: null });
    expect(witnessesOf(hand.lease)).toEqual([]);
    expect(witnessesOf(acknowledged(hand.lease, b, 12))).toEqual([b]);
  });

  it('enlists nobody while a witness that counts is silent, nor for a term that ends', () => {
    const hand = new Hand().at(10).hears(b).etcd().at(11).etcd();
    hand.at(115).hears(c);
    expect(hand.at(116).change).toBeNull();
    expect(new Hand().at(10, behind({ enlists: false })).change).toBeNull();
  });

  it('dismisses who left the queue at once, and enlists the next', () => {
    const hand = new Hand().settled();
    const without = behind({ eligible: [c, d], present: [c, d] });
    expect(hand.at(110, without).change?.to.map(({ witness }) => witness)).toEqual([c]);
    hand.etcd().at(151, without);
    expect(hand.pinged).toEqual([c, d]);
    expect(hand.hears(c, d).at(152, without).change?.to.at(-1)?.witness).toBe(d);
  });

  it('does not enlist whom it dismissed for a while, which doubles', () => {
    const hand = new Hand().at(10).hears(b).etcd().at(11).etcd();
    const only = behind({ eligible: [b] });
    for (const waitMs of [100, 200, 400]) {
      expect(hand.passes(hand.now + 201, only).lease.change?.to).toEqual([]);
      hand.etcd();
      const dismissedAt = hand.now;
      hand.at(dismissedAt + waitMs - 1, only).hears(b);
      expect(hand.at(hand.now, only).change).toBeNull();
      expect(hand.at(dismissedAt + waitMs, only).change?.to).toHaveLength(1);
      hand.hears(b).etcd();
    }
  });

  it('asks again for a change whose outcome is not known, and takes no answer to another', () => {
    const hand = new Hand().at(10);
    const { change } = hand;
    const asleep = (): number => wakeShortLeaseAt({ ...hand.lease, pingAt: 10_000 });
    hand.lease = recordLater(hand.lease, 7, 20);
    expect(asleep()).toBe(10_000);
    hand.lease = recordLater(hand.lease, 1, 20);
    expect(asleep()).toBe(70);
    expect(hand.at(69).change).toBeNull();
    expect(hand.at(70).change).toEqual({ ...change, failures: 1 });
    const pauses = [100, 200, 400, 800, 1600, 1600].map((wantedMs) => {
      hand.lease = recordLater(hand.lease, 1, hand.now);
      const at = asleep();
      const pause = [at - hand.now, wantedMs];
      hand.at(at);
      return pause;
    });
    for (const [pauseMs, wantedMs] of pauses) expect(pauseMs).toBe(wantedMs);
    expect(recorded(hand.lease, 2, { at: rev(1), listed: [] }, hand.now)).toBe(hand.lease);
  });

  it('asks for a dismissal without longer pauses: the term ends if none comes', () => {
    const hand = new Hand().settled();
    hand.passes(310);
    expect(hand.lease.change?.to).toEqual([]);
    for (const at of [360, 410]) {
      hand.lease = recordLater(hand.lease, hand.lease.change!.number, at - 50);
      expect(wakeShortLeaseAt({ ...hand.lease, pingAt: 10_000 })).toBe(at);
      hand.at(at);
    }
  });

  it('dismisses nobody for what may lie unread after it stood still itself', () => {
    const hand = new Hand().settled().at(390);
    expect(hand.change).toBeNull();
    expect(hand.pinged).toEqual([b, c, d]);
    expect(hand.at(439).change).toBeNull();
    expect(hand.at(440).change?.to).toEqual([]);
  });

  it('forgets how often a witness was dismissed that has served well since', () => {
    const hand = new Hand().at(10).hears(b).etcd().at(11).etcd();
    const only = behind({ eligible: [b] });
    hand
      .at(256 * 400 + 11, only)
      .passes(hand.now + 51, only)
      .etcd();
    expect(hand.lease.pinged[0]).toMatchObject({ dismissals: 1, notBefore: hand.now + 100 });
  });

  it('pings at the same moments as every other term of the process', () => {
    const early = conduct({ ...fresh, pingAt: 0 }, behind(), 101).lease;
    const late = conduct({ ...fresh, pingAt: 0 }, behind(), 149).lease;
    expect([early.pingAt, late.pingAt]).toEqual([150, 150]);
  });

  it('leaves more time to dismiss a witness where something must stop beside us', () => {
    const lease = { ...fresh, stopLeadMs: 100 };
    const hand = new Hand();
    hand.lease = lease;
    hand.at(10).hears(b).etcd().at(11).etcd();
    expect(wakeShortLeaseAt({ ...hand.lease, pingAt: 1000 })).toBe(10 + 175);
  });
});
