// When the client says that it leads: on a clock that the test moves, with answers that the test gives. The rule is one:
// a claim counts from when it was asked for, and nothing that came late can begin or prolong it.
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../src/process/clock.ts';
import { AppClient } from '../../src/sdk/app-client.ts';
import { LeadershipLost, NotLeader, SidecarUnreachable } from '../../src/sdk/errors.ts';
import { Knowledge, type Leadership } from '../../src/sdk/knowledge.ts';
import type { Term } from '../../src/sdk/terms.ts';
import {
  eventOf,
  FakeClock,
  following,
  leading,
  ManualTransport,
  settled,
} from './sdk-stand-in.ts';

let clock: FakeClock;
let sidecar: ManualTransport;
let client: AppClient;

const connect = (): AppClient =>
  new AppClient({ transport: sidecar, election: null, clock, random: () => 0.5 });

beforeEach(() => {
  clock = new FakeClock();
  sidecar = new ManualTransport(clock);
  client = connect();
});
afterEach(() => client.close());

describe('isLeader', () => {
  test('counts from when it was asked, not from when the answer came', async () => {
    clock.sleep(900);
    await sidecar.answer(leading(7, 1000));
    expect(client.isLeader()).toBe(true);
    expect(client.fencingToken()).toBe(7n);
    clock.sleep(99);
    expect(client.isLeader()).toBe(true);
    clock.sleep(1);
    expect(client.isLeader()).toBe(false);
    expect(client.fencingToken()).toBeNull();
    expect(client.leader()).toBeNull();
  });

  test('an answer that took longer than it is valid claims nothing', async () => {
    clock.sleep(1000);
    await sidecar.answer(leading(7, 1000));
    expect(client.isLeader()).toBe(false);
    expect(client.leadership()).toMatchObject({ role: 'unknown', isLeader: false, leader: null });
  });

  test('a process that slept does not wake up as leader, though no timer fired', async () => {
    await sidecar.answer(leading(7, 3000));
    clock.sleep(3_600_000);
    expect(client.isLeader()).toBe(false);
    expect(client.leadership().role).toBe('unknown');
  });

  test('is extended in good time, for as long as the sidecar goes on saying so', async () => {
    await sidecar.answer(leading(7, 3000));
    for (let round = 0; round < 20; round += 1) {
      const before = sidecar.asked;
      await clock.advance(500);
      expect(sidecar.asked).toBe(before + 1);
      await sidecar.answer(leading(7, 3000));
      expect(client.isLeader()).toBe(true);
    }
  });

  test('ends by itself where the sidecar falls silent, and says so at that moment', async () => {
    const told: [number, Leadership][] = [];
    client.onChange((leadership) => told.push([clock.now(), leadership]));
    await sidecar.answer(leading(7, 3000));
    await clock.advance(2999);
    expect(client.isLeader()).toBe(true);
    await clock.advance(1);
    expect(client.isLeader()).toBe(false);
    expect(told.map(([at, { role }]) => [at, role])).toEqual([
      [0, 'leader'],
      [3000, 'unknown'],
    ]);
  });

  test('asks again and again while answers fail, sooner as time runs out, and never in a rush', async () => {
    await sidecar.answer(leading(7, 2000));
    const askedAt: number[] = [];
    while (clock.now() < 10_000) {
      await clock.advance(10);
      if (sidecar.pending.length > 0) {
        askedAt.push(clock.now());
        await sidecar.fail(new SidecarUnreachable('gone'));
      }
    }
    const gaps = askedAt.slice(1).map((at, index) => at - askedAt[index]!);
    expect(askedAt.filter((at) => at < 2000).length).toBeGreaterThanOrEqual(4);
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(50);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(2010);
    expect(client.isLeader()).toBe(false);
  });

  test('a shorter validity in a newer answer is obeyed', async () => {
    await sidecar.answer(leading(7, 3000));
    await clock.advance(500);
    await sidecar.answer(leading(7, 100));
    clock.sleep(100);
    expect(client.isLeader()).toBe(false);
  });

  test.each([
    ['no object', 'leader'],
    ['a token that is no number', { ...leading(7, 1000), fencingToken: 'seven' }],
    ['a validity beyond any lease', { ...leading(7, 1000), validForMs: 1e9 }],
    ['a validity below nothing', { ...leading(7, 1000), validForMs: -1 }],
    ['a role of its own', { ...leading(7, 1000), role: 'master' }],
  ])('believes nothing that is no answer: %s', async (_, body) => {
    await sidecar.answer(body);
    expect(client.isLeader()).toBe(false);
  });
});

const heldFor = (heldForMs: number, token = 7) => ({ ...leading(token, 3000), heldForMs });

describe('a hold', () => {
  test('bounds the claim: nothing that is planned ends a term before it, and for longer nobody promised', async () => {
    expect(sidecar.pending[0]!.path).toBe('/leader?hold=1000ms');
    clock.sleep(100);
    await sidecar.answer(heldFor(1000));
    clock.sleep(899);
    expect(client.isLeader()).toBe(true);
    clock.sleep(1);
    expect(client.isLeader()).toBe(false);
  });

  test('is asked for three times within its time, so that a lost answer does not cost the claim', async () => {
    await sidecar.answer(heldFor(1000));
    for (let round = 0; round < 20; round += 1) {
      const before = sidecar.asked;
      await clock.advance(334);
      expect(sidecar.asked).toBe(before + 1);
      await sidecar.answer(heldFor(1000));
    }
    await clock.advance(334);
    await sidecar.fail(new SidecarUnreachable('lost'));
    await clock.advance(300);
    await sidecar.answer(heldFor(1000));
    expect(client.isLeader()).toBe(true);
  });

  test('that is not extended runs out, though the lease does not: an end is planned', async () => {
    await sidecar.answer(heldFor(1000));
    await clock.advance(400);
    // Of the same promise, told floored.
    await sidecar.answer(heldFor(599));
    while (clock.now() < 990) {
      await clock.advance(10);
      if (sidecar.pending.length > 0) await sidecar.answer(heldFor(Math.max(0, 999 - clock.now())));
      expect(client.isLeader()).toBe(true);
    }
    await clock.advance(10);
    expect(client.isLeader()).toBe(false);
  });

  test('of the lease that does not last is none: the validity bounds it', async () => {
    await sidecar.answer({ ...leading(7, 300), heldForMs: 1000 });
    clock.sleep(300);
    expect(client.isLeader()).toBe(false);
  });

  test('of a shorter time takes back nothing of the longer one', async () => {
    await sidecar.answer(heldFor(1000));
    const hold = client.hold(50);
    await sidecar.answer(heldFor(50));
    expect(await hold).toMatchObject({ heldForMs: 50 });
    clock.sleep(999);
    expect(client.isLeader()).toBe(true);
    clock.sleep(1);
    expect(client.isLeader()).toBe(false);
  });

  test('that is not granted at all leaves the validity of the lease', async () => {
    await sidecar.answer(leading(7, 3000));
    clock.sleep(2999);
    expect(client.isLeader()).toBe(true);
  });

  test('is asked for so long that work which is slow to stop has time to work in', async () => {
    await sidecar.answer(following('b'));
    void client.whileLeader(() => undefined, { stopWithinMs: 1500 });
    await clock.advance(500);
    expect(sidecar.pending[0]!.path).toBe('/leader?hold=2500ms');
  });
});

/** Two questions under way at once: the usual one, and then one for a hold. */
describe('of two answers that overtake each other', () => {
  const asksTwice = async (): Promise<void> => {
    await sidecar.answer(following('b', 6));
    await clock.advance(500);
    clock.sleep(1);
    client.hold(1000).catch(() => undefined);
  };
  const lastFirst = async (last: unknown, first: unknown): Promise<void> => {
    sidecar.pending.reverse();
    await sidecar.answer(last);
    expect(client.isLeader()).toBe(true);
    await sidecar.answer(first);
  };

  test('a "no" ends the claim although it was asked for first: it may have been made last', async () => {
    await asksTwice();
    await lastFirst(heldFor(1000), following(null));
    expect(client.isLeader()).toBe(false);
    // Asked anew at once: that answer counts.
    await clock.advance(0);
    await sidecar.answer(heldFor(1000));
    expect(client.fencingToken()).toBe(7n);
  });

  test('a "no" that names a later leader ends the claim', async () => {
    await asksTwice();
    await lastFirst(heldFor(1000), following('c', 8));
    expect(client.isLeader()).toBe(false);
  });

  test('a "no" that names the leader before us is of before our term', async () => {
    await asksTwice();
    await lastFirst(heldFor(1000), following('b', 6));
    expect(client.isLeader()).toBe(true);
    expect(client.leader()?.id).toBe('a');
  });

  test('a later term of our own that was asked for first ends the claim of the earlier one', async () => {
    await asksTwice();
    await lastFirst(heldFor(1000, 7), heldFor(1000, 9));
    expect(client.fencingToken()).toBeNull();
  });

  test('an earlier term of our own that was asked for last is not claimed', async () => {
    await asksTwice();
    await sidecar.answer(heldFor(1000, 9));
    await sidecar.answer(heldFor(1000, 7));
    expect(client.fencingToken()).toBeNull();
  });
});

describe('a push', () => {
  beforeEach(async () => {
    await sidecar.answer(leading(7, 3000));
  });

  test('ends the claim at once', async () => {
    await sidecar.push(eventOf(following('b', 8), 'switchover'));
    expect(client.leadership()).toMatchObject({
      role: 'follower',
      isLeader: false,
      leader: { id: 'b', fencingToken: 8n },
      cause: 'switchover',
    });
  });

  test('that says "no" is not undone by an answer that was under way', async () => {
    await clock.advance(500);
    clock.sleep(1);
    await sidecar.push(eventOf(following(null), 'lease_expired'));
    await sidecar.answer(leading(7, 3000));
    expect(client.isLeader()).toBe(false);
    // Asked anew at once: that answer counts.
    await clock.advance(0);
    await sidecar.answer(leading(9, 3000));
    expect(client.fencingToken()).toBe(9n);
  });

  test('that says "yes" claims nothing by itself: it may have waited while we slept', async () => {
    await sidecar.push(eventOf(following(null), 'lease_expired'));
    await sidecar.answer(following(null));
    await sidecar.push(eventOf(leading(9, 3000), 'elected'));
    expect(client.isLeader()).toBe(false);
    await sidecar.answer(leading(9, 2900));
    expect(client.isLeader()).toBe(true);
  });

  test('of an older term than ours is history', async () => {
    await sidecar.push(eventOf(following('b', 6)));
    expect(client.isLeader()).toBe(true);
    expect(client.leader()?.id).toBe('a');
  });

  test('that is none is ignored, and the question asked all the same', async () => {
    const { asked } = sidecar;
    sidecar.followers[0]!.follower.event({ name: 'leadership', id: null, data: '{' });
    await settled();
    expect(client.isLeader()).toBe(true);
    expect(sidecar.asked).toBe(asked + 1);
  });

  test('a stream that ended is opened again, but not in a rush', async () => {
    for (let round = 0; round < 5; round += 1) {
      const { follower } = sidecar.followers.pop()!;
      follower.ended(new Error('gone'));
      await settled();
      await sidecar.answer(leading(7, 3000));
      expect(sidecar.followers).toHaveLength(0);
      while (sidecar.followers.length === 0) {
        await clock.advance(100);
        if (sidecar.pending.length > 0) await sidecar.answer(leading(7, 3000));
        expect(clock.now()).toBeLessThan(20_000);
      }
    }
    expect(client.isLeader()).toBe(true);
  });
});

test('the wall clock decides nothing, and a suspend of the machine counts', async () => {
  const time = { monotonic: 0, wall: 1_000_000, uptime: 0 };
  const system = new SystemClock({
    monotonic: () => time.monotonic,
    wall: () => time.wall,
    uptime: () => time.uptime,
  });
  const transport = new ManualTransport(system);
  const parts = { transport, election: null, clock: system, random: Math.random };
  const own = new AppClient(parts);
  try {
    await transport.answer(leading(7, 3000));
    time.wall += 86_400_000;
    expect(own.isLeader()).toBe(true);
    time.wall -= 2 * 86_400_000;
    expect(own.isLeader()).toBe(true);
    // CLOCK_MONOTONIC stands while the machine is suspended; uptime and the wall clock go on.
    time.wall += 3000;
    time.uptime += 3000;
    expect(own.isLeader()).toBe(false);
  } finally {
    await own.close();
  }
});

test('the name of a leader is not repeated for longer than the shortest TTL', async () => {
  await sidecar.answer(following('b', 3));
  expect(client.leader()).toMatchObject({ id: 'b', fencingToken: 3n });
  clock.sleep(1999);
  expect(client.leader()?.id).toBe('b');
  clock.sleep(1);
  expect(client.leader()).toBeNull();
});

test('whatever is heard in whatever order: a claim always has an answer behind it, and no "no" after it', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('ask' as const) }),
    fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 2000 }) }),
    fc.record({
      kind: fc.constant('answer' as const),
      which: fc.nat(3),
      token: fc.option(fc.integer({ min: 1, max: 4 })),
      validForMs: fc.integer({ min: 0, max: 3000 }),
    }),
    fc.record({
      kind: fc.constant('push' as const),
      token: fc.option(fc.integer({ min: 1, max: 4 })),
    }),
  );
  let claims = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 60 }), (steps) => {
      const knowledge = new Knowledge();
      let now = 0;
      let deniedAt = -1;
      const asked: number[] = [];
      const grants: { token: bigint; sentAt: number; until: number }[] = [];
      for (const one of steps) {
        if (one.kind === 'pass') now += one.ms;
        else if (one.kind === 'ask') asked.push(now);
        else if (one.kind === 'push') {
          const said = one.token === null ? following(null) : leading(one.token, 3000);
          knowledge.pushed(eventOf(said), now);
          if (one.token === null) deniedAt = now;
        } else {
          const [sentAt] = asked.splice(one.which, 1);
          if (sentAt === undefined) continue;
          const { token, validForMs } = one;
          knowledge.answered(
            token === null ? following(null) : leading(token, validForMs),
            sentAt,
            now,
          );
          if (token === null) deniedAt = now;
          else grants.push({ token: BigInt(token), sentAt, until: sentAt + validForMs });
        }
        const claim = knowledge.claim(now);
        if (claim === null) continue;
        claims += 1;
        expect(grants).toContainEqual(
          expect.objectContaining({ token: claim.fencingToken, until: claim.validUntil }),
        );
        expect(claim.validUntil).toBeGreaterThan(now);
        const best = grants.filter(({ until }) => until === claim.validUntil);
        expect(best.some(({ sentAt }) => sentAt >= deniedAt)).toBe(true);
      }
    }),
    { numRuns: 1000 },
  );
  expect(claims).toBeGreaterThan(500);
});

describe('whileLeader', () => {
  interface Run {
    readonly term: Term;
    readonly signal: AbortSignal;
    end(): void;
    fail(failure: Error): void;
  }
  const runs: Run[] = [];
  const work = (term: Term, signal: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => runs.push({ term, signal, end: resolve, fail: reject }));
  beforeEach(() => {
    runs.length = 0;
  });
  afterEach(() => {
    for (const run of runs) run.end();
  });

  test('runs for each own term, with its token, and once the one before has ended', async () => {
    void client.whileLeader(work);
    await sidecar.answer(following('b'));
    expect(runs).toHaveLength(0);
    await clock.advance(500);
    await sidecar.answer(leading(7, 3000));
    expect(runs).toHaveLength(1);
    expect(runs[0]!.term).toMatchObject({ election: 'orders', id: 'a', fencingToken: 7n });
    expect(runs[0]!.signal.aborted).toBe(false);

    await sidecar.push(eventOf(following('b', 8)));
    expect(runs[0]!.signal.aborted).toBe(true);
    expect(runs[0]!.signal.reason).toBeInstanceOf(LeadershipLost);
    expect(runs[0]!.term.remainingMs()).toBe(0);
    await sidecar.answer(following('b', 8));
    await clock.advance(500);
    await sidecar.answer(leading(9, 3000));
    // The first one still has not ended.
    expect(runs).toHaveLength(1);
    runs[0]!.end();
    await settled();
    expect(runs).toHaveLength(2);
    expect(runs[1]!.term.fencingToken).toBe(9n);
    expect(runs[1]!.signal.aborted).toBe(false);
  });

  test.each([
    [100, {}],
    [400, { stopWithinMs: 400 }],
    [0, { stopWithinMs: 0 }],
  ])('aborts %i ms before the validity ends where it is not extended', async (early, options) => {
    void client.whileLeader(work, options);
    await sidecar.answer(leading(7, 3000));
    await clock.advance(500);
    const validUntil = sidecar.pending[0]!.sentAt + 3000;
    await sidecar.answer(leading(7, 3000));
    await clock.advance(validUntil - early - 1 - clock.now());
    expect(runs[0]!.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(runs[0]!.signal.aborted).toBe(true);
    expect(clock.now()).toBe(validUntil - early);
    expect(client.isLeader()).toBe(early > 0);
  });

  test('a newer term of our own aborts the work of the older one', async () => {
    void client.whileLeader(work);
    await sidecar.answer(leading(7, 3000));
    await clock.advance(500);
    await sidecar.answer(leading(9, 3000));
    expect(runs[0]!.signal.aborted).toBe(true);
    runs[0]!.end();
    await settled();
    expect(runs[1]!.term.fencingToken).toBe(9n);
  });

  test('work that was stopped runs again when the same term is confirmed; work that is done does not', async () => {
    void client.whileLeader(work);
    await sidecar.answer(leading(7, 1000));
    await clock.advance(1000);
    expect(runs[0]!.signal.aborted).toBe(true);
    runs[0]!.end();
    await settled();
    expect(runs).toHaveLength(1);
    await sidecar.answer(leading(7, 3000));
    expect(runs).toHaveLength(2);
    runs[1]!.end();
    await settled();
    await clock.advance(500);
    await sidecar.answer(leading(7, 3000));
    expect(runs).toHaveLength(2);
    await clock.advance(500);
    await sidecar.answer(leading(8, 3000));
    expect(runs).toHaveLength(3);
  });

  test('rejects with what the work throws; the abort itself is not an error', async () => {
    const ended = client.whileLeader(work);
    await sidecar.answer(leading(7, 3000));
    await sidecar.push(eventOf(following('b', 8)));
    runs[0]!.fail(runs[0]!.signal.reason as Error);
    await sidecar.answer(leading(9, 3000));
    await clock.advance(0);
    expect(runs).toHaveLength(2);
    runs[1]!.fail(new Error('the disk is full'));
    await expect(ended).rejects.toThrow('the disk is full');
  });

  test('an error of the work after the abort is not swallowed', async () => {
    const ended = client.whileLeader(work);
    await sidecar.answer(leading(7, 3000));
    await sidecar.push(eventOf(following('b', 8)));
    runs[0]!.fail(new Error('could not roll back'));
    await expect(ended).rejects.toThrow('could not roll back');
  });

  test('close aborts the work, waits for it, and lets nothing begin', async () => {
    const ended = client.whileLeader(work);
    await sidecar.answer(leading(7, 3000));
    let closed = false;
    const closing = client.close().then(() => {
      closed = true;
    });
    expect(runs[0]!.signal.aborted).toBe(true);
    expect(client.isLeader()).toBe(false);
    await settled();
    expect(closed).toBe(false);
    runs[0]!.end();
    await ended;
    await closing;
    expect(runs).toHaveLength(1);
    expect(sidecar.closed).toBe(true);
    expect(sidecar.followers).toEqual([]);
  });

  test('its own signal ends it', async () => {
    const end = new AbortController();
    const ended = client.whileLeader(work, { signal: end.signal });
    await sidecar.answer(leading(7, 3000));
    end.abort();
    expect(runs[0]!.signal.aborted).toBe(true);
    runs[0]!.end();
    await ended;
    expect(client.isLeader()).toBe(true);
  });
});

describe('the rest', () => {
  test('hold counts from asking, and ends with the term', async () => {
    await sidecar.answer(leading(7, 3000));
    const asking = client.hold(500);
    expect(sidecar.pending.at(-1)!.path).toBe('/leader?hold=500ms');
    clock.sleep(100);
    await sidecar.answer({ ...leading(7, 3000), heldForMs: 400 });
    const hold = await asking;
    expect(hold).toMatchObject({ fencingToken: 7n, heldForMs: 400 });
    expect(hold.remainingMs()).toBe(300);
    await sidecar.push(eventOf(following('b', 8)));
    expect(hold.remainingMs()).toBe(0);
    // The question that the push gave rise to comes first.
    await sidecar.answer(following('b', 8));
    const refused = client.hold(500);
    const rejected = expect(refused).rejects.toBeInstanceOf(NotLeader);
    await sidecar.answer(following('b', 8));
    await rejected;
  });

  test('onChange tells each change once; a listener that ended its listening hears no more', async () => {
    const told: string[] = [];
    const end = client.onChange(({ role, leader }) => told.push(`${role} ${leader?.id}`));
    await sidecar.answer(following('b', 1));
    await sidecar.push(eventOf(following('b', 1)));
    await sidecar.answer(following('b', 1));
    await clock.advance(500);
    clock.sleep(1);
    await sidecar.push(eventOf(following('c', 2)));
    await sidecar.answer(leading(3, 3000));
    expect(told).toEqual(['follower b', 'follower c']);
    // Asked before the "no" came: asked anew.
    await clock.advance(0);
    await sidecar.answer(leading(3, 3000));
    expect(told).toEqual(['follower b', 'follower c', 'leader a']);
    end();
    await sidecar.push(eventOf(following('b', 4)));
    expect(told).toHaveLength(3);
  });

  test('ready waits for the first answer, and gives up when it was told to', async () => {
    const ready = client.ready();
    const bounded = expect(client.ready(300)).rejects.toThrow('nobody there');
    await sidecar.fail(new SidecarUnreachable('nobody there'));
    await clock.advance(300);
    await bounded;
    await sidecar.answer(following('b'));
    expect(await ready).toMatchObject({ role: 'follower', election: 'orders', id: 'a' });
  });
});
