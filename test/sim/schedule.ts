// What happens in one simulated minute, as plain data: the setup and the list of faults and requests. All of it follows
// from one number; leaving some of it out again makes a smaller schedule, which is how a failure is shrunk.
import { requestBounds, watchProbe } from '../../src/policies.ts';
import { roundEveryMs, standBackMs, type Timing } from '../../src/core/timing.ts';
import { leaseExtensionMs } from './model-etcd.ts';
import type { Weather } from './network.ts';
import { Random } from './random.ts';

/** Everything that stays as it is during a schedule. Times in milliseconds. */
export interface Setup {
  readonly sidecars: readonly {
    /** How fast its clock runs: 1 is etcd's rate. */
    readonly rate: number;
    readonly priority: number;
    readonly startsAtMs: number;
    /** What it asks for; never more than the TTL of the setup. */
    readonly ttlMs: number;
    /** It has fast failover off, whoever else has it on. */
    readonly hasNoFailover?: boolean;
  }[];
  readonly elections: number;
  readonly whenAllUnhealthy: 'lead' | 'none';
  readonly etcdMembers: number;
  readonly ttlMs: number;
  readonly marginMs: number;
  readonly takeoverDelayMs: Timing['takeoverDelayMs'];
  /** etcd grants no lease for less. */
  readonly leastTtlMs: number;
  readonly graceMs: number;
  /** A guarded app beside each sidecar, null where there is none. */
  readonly app: { readonly mostStopMs: number; readonly stopLeadMs: number } | null;
  readonly weather: Weather;
  readonly timerLateByMs: number;
  /** The short lease, null where a crash costs a TTL. */
  readonly fastFailoverMs: number | null;
}

/** Whom something befalls: a sidecar by number, or whoever leads an election at that moment. */
export type Target = number | 'leader';

/** One fault or request, and when. `forMs` is how long it lasts; `of` is an election by number. */
export type Happening = { readonly atMs: number } & (
  | {
      /**
       * `fail`: an assertion fails, or an error comes that nobody expected; `terminate twice`: a second signal while it
       * stops; `no descriptors`: it can open nothing, neither a connection nor a command.
       */
      readonly kind:
        'pause' | 'crash' | 'terminate' | 'fail' | 'terminate twice' | 'no descriptors';
      readonly whom: Target;
      readonly forMs: number;
    }
  | {
      readonly kind: 'cut';
      readonly whom: Target;
      /** A member of etcd by number, or all of them. */
      readonly member: number | 'all';
      readonly how: 'silent' | 'to etcd' | 'from etcd' | 'refused';
      readonly forMs: number;
    }
  | {
      /** What goes from one member to another, or back, or both, is lost; both reach etcd. */
      readonly kind: 'cut members';
      readonly whom: Target;
      /** How far the other is behind, in the order of the setup: 1 or 2. */
      readonly other: number;
      readonly how: 'to' | 'from' | 'both';
      readonly forMs: number;
    }
  | { readonly kind: 'slow'; readonly whom: Target; readonly byMs: number; readonly forMs: number }
  | {
      readonly kind: 'hang';
      readonly whom: Target;
      readonly operations: readonly string[];
      readonly forMs: number;
    }
  | { readonly kind: 'break watch'; readonly whom: Target }
  | { readonly kind: 'mute watch'; readonly whom: Target; readonly forMs: number }
  | {
      readonly kind: 'lag watch';
      readonly whom: Target;
      readonly byMs: number;
      readonly forMs: number;
    }
  | { readonly kind: 'freeze member'; readonly member: number; readonly forMs: number }
  | { readonly kind: 'etcd without leader'; readonly forMs: number }
  | {
      /** When it goes on it answers from the past for a while, and may revoke what ran out by what it knows. */
      readonly kind: 'freeze leader of etcd';
      readonly member: number;
      readonly forMs: number;
      readonly pastMs: number;
      readonly revokes: boolean;
    }
  | { readonly kind: 'delete any key'; readonly of: number; readonly place: number }
  | {
      readonly kind: 'revoke some wrongly';
      readonly of: number;
      readonly places: readonly number[];
    }
  | { readonly kind: 'compact' }
  | { readonly kind: 'revoke wrongly'; readonly whom: Target }
  | { readonly kind: 'deny lease'; readonly whom: Target; readonly forMs: number }
  | { readonly kind: 'delete key'; readonly whom: Target; readonly of: number }
  | { readonly kind: 'pause election'; readonly of: number; readonly forMs: number }
  | { readonly kind: 'foreign candidate'; readonly of: number; readonly forMs: number }
  | {
      readonly kind: 'step down';
      readonly whom: Target;
      readonly of: number;
      readonly to: number | null;
      readonly notForMs: number;
    }
  | {
      readonly kind: 'ask for switchover';
      readonly of: number;
      readonly to: number;
      readonly forMs: number;
    }
  | { readonly kind: 'hold'; readonly whom: Target; readonly of: number; readonly holdMs: number }
  | { readonly kind: 'app unhealthy'; readonly whom: Target; readonly forMs: number }
);

export interface Schedule {
  readonly seed: number;
  readonly setup: Setup;
  readonly happenings: readonly Happening[];
  /** From then on nothing more goes wrong. */
  readonly calmAtMs: number;
  /** By then somebody must lead. */
  readonly leaderByMs: number;
  readonly endMs: number;
}

/** How long a schedule is. */
export const scheduleMs = 60_000;
/** How often etcd looks for leases that have run out, and by how much that may be late. */
const expiryLatenessMs = 510;
/** The longest pause between two attempts to open a watch. */
const reopenMostMs = 500;

/**
 * How long after the last fault somebody must lead: one TTL and a bound, which is the sum of what can be in the way.
 *
 * - the lease of somebody dead runs out: TTL, the extension by a new leader of etcd, a late check;
 * - a request that was under way when the faults ended may still be waited for, twice: a stray key is seen by a
 *   round (first request) and withdrawn (second), or a lease is found lost and granted anew; each failure is
 *   followed by a pause of at most a round;
 * - the news comes by a watch that has just to be found mute and opened again, or by a round, whichever is sooner;
 * - the delay before taking over from somebody who did not resign; a step-down under way may take its grace.
 */
export function leaderWithinMs(setup: Setup, happenings: readonly Happening[] = []): number {
  const { ttlMs, takeoverDelayMs, graceMs, sidecars, etcdMembers } = setup;
  const { attemptMs, hedgeAfterMs } = requestBounds(ttlMs);
  const requestMs = attemptMs + hedgeAfterMs * etcdMembers;
  const roundMs = roundEveryMs(ttlMs);
  const leaseMs = ttlMs + leaseExtensionMs + expiryLatenessMs;
  const doubtMs = 2 * (requestMs + roundMs);
  const { everyMs, answerWithinMs } = watchProbe(ttlMs);
  const newsMs = Math.min(everyMs + answerWithinMs + reopenMostMs, roundMs + requestMs);
  const slowest = Math.min(...sidecars.map(({ rate }) => rate));
  const delayMs = typeof takeoverDelayMs === 'number' ? takeoverDelayMs : ttlMs;
  const sumMs = leaseMs + doubtMs + newsMs + delayMs + graceMs;
  return (sumMs + standBackMostMs(setup, happenings)) / slowest;
}

/** Whose app has just failed stands back by design; where that may be everybody, all wait for the first to return. */
function standBackMostMs({ sidecars }: Setup, happenings: readonly Happening[]): number {
  const failures = happenings.filter(({ kind }) => failsApp(kind)).length;
  const others = sidecars.filter(({ priority }) => priority >= 0).length - failures;
  return failures > 0 && others < 1 ? standBackMs(failures) : 0;
}

/** Narrows what schedules are made of, to look closely at something. */
export interface Focus {
  readonly kinds?: readonly Happening['kind'][];
  readonly setup?: Partial<Omit<Setup, 'sidecars' | 'ttlMs' | 'marginMs'>>;
}

/** The whole schedule that a number stands for. */
export function scheduleOf(seed: number, focus: Focus = {}): Schedule {
  const random = new Random(seed, 'schedule');
  // Of its own, so that what a number stands for is the same without it.
  const links = new Random(seed, 'failover');
  const setup = { ...withFailover(setupOf(random), links), ...focus.setup };
  const calmAtMs = scheduleMs - leaderWithinMs(setup) - afterwardsMs;
  const wanted = focus.kinds ?? everyKind;
  const happenings = [
    ...happeningsOf(
      random,
      setup,
      calmAtMs,
      wanted.filter((kind) => kind !== 'cut members'),
    ),
    ...(wanted.includes('cut members') ? cutsOf(links, setup, calmAtMs) : []),
  ].sort((a, b) => a.atMs - b.atMs);
  const leaderByMs = calmAtMs + leaderWithinMs(setup, happenings);
  return { seed, setup, happenings, calmAtMs, leaderByMs, endMs: scheduleMs };
}

/** In a third of all schedules; the shorter, the more is asked of the clocks. */
function withFailover(setup: Omit<Setup, 'fastFailoverMs'>, random: Random): Setup {
  const hasIt = random.chance(0.35);
  const fastFailoverMs = hasIt ? setup.ttlMs * random.pick([0.1, 0.15, 0.25, 0.5]) : null;
  // Now and then not everybody has it: a version before, or another setting.
  const isMixed = random.chance(0.3);
  const sidecars = setup.sidecars.map((sidecar) => ({
    ...sidecar,
    hasNoFailover: isMixed && random.chance(0.4),
  }));
  return { ...setup, sidecars, fastFailoverMs };
}

/** Members that do not reach each other, for about as long as a short lease lasts, and now and then much longer. */
function cutsOf(random: Random, setup: Setup, calmAtMs: number): Happening[] {
  const { fastFailoverMs, sidecars } = setup;
  if (fastFailoverMs === null) return [];
  return Array.from({ length: random.below(8) }, () => {
    const atMs = random.between(500, calmAtMs - 200);
    const lastsMs = fastFailoverMs * random.pick([0.3, 0.6, 1, 1.3, 3, 20]);
    const whom: Target = random.chance(0.8) ? 'leader' : random.below(sidecars.length);
    const how = random.pick(['to', 'from', 'both'] as const);
    const forMs = Math.min(lastsMs, calmAtMs - atMs);
    return { atMs, kind: 'cut members', whom, other: 1 + random.below(2), how, forMs };
  });
}

const failsApp = (kind: Happening['kind']): boolean =>
  kind === 'app unhealthy' || kind === 'no descriptors';

/** So much time is left in the end, to see that leadership rests, and for those who stand back by design. */
const afterwardsMs = 6000;
/** More failures of apps in one schedule would make sidecars stand back for longer than it lasts. */
const mostAppFailures = 2;

function happeningsOf(
  random: Random,
  setup: Setup,
  calmAtMs: number,
  wanted: readonly Happening['kind'][],
): Happening[] {
  const count = 3 + random.below(14);
  const happenings: Happening[] = [];
  let appFailures = 0;
  while (happenings.length < count) {
    const next = happening(kindOf(random, wanted), random, setup, calmAtMs);
    if (failsApp(next.kind)) {
      appFailures += 1;
      if (appFailures > mostAppFailures) continue;
    }
    happenings.push(next);
    if (next.kind !== 'hold' || random.chance(0.3)) continue;
    // A promise not to leave is worth nothing unless somebody wants us to.
    const atMs = next.atMs + next.holdMs * random.next();
    const { whom, of } = next;
    const away = { atMs, whom, of };
    happenings.push(
      random.chance(0.5)
        ? { ...away, kind: 'terminate', forMs: 1000 }
        : { ...away, kind: 'step down', to: random.below(3), notForMs: 0 },
    );
  }
  return happenings.sort((a, b) => a.atMs - b.atMs);
}

function setupOf(random: Random): Omit<Setup, 'fastFailoverMs'> {
  const ttlMs = random.pick([2000, 2000, 3000, 5000, 5000, 10000]);
  // The default margin, or the least that may be configured and makes sense for a rate that is 500 ppm off.
  const marginMs = random.chance(0.7) ? Math.max(250, ttlMs / 20) : Math.max(20, ttlMs / 100);
  const app = random.chance(0.4)
    ? { mostStopMs: random.pick([50, 500, 3000]), stopLeadMs: random.pick([0, 0.1]) * ttlMs }
    : null;
  return {
    sidecars: sidecarsOf(random, ttlMs, marginMs),
    elections: random.chance(0.8) ? 1 : 2,
    whenAllUnhealthy: random.pick(['lead', 'none'] as const),
    etcdMembers: random.pick([1, 3]),
    ttlMs,
    marginMs,
    takeoverDelayMs: random.pick(['evidence', 'evidence', 'evidence', 'auto', 0, ttlMs] as const),
    leastTtlMs: random.chance(0.2) ? ttlMs : 2000,
    graceMs: random.pick([200, 1000, 2000]),
    app,
    weather: weatherOf(random),
    timerLateByMs: 3,
  };
}

/** Timers are late by a few milliseconds, which the margin has to cover as well. */
const forLateTimersMs = 10;

/**
 * The rates of all clocks, etcd's included, lie in a band so narrow that over one TTL no two differ by more than the
 * margin: what the margin is there for, and not more.
 */
function sidecarsOf(random: Random, ttlMs: number, marginMs: number): Setup['sidecars'] {
  const width = (marginMs - forLateTimersMs) / ttlMs;
  const low = 1 - width * random.next();
  const rateOf = (): number =>
    low + width * (random.chance(0.5) ? random.pick([0, 1]) : random.next());
  const ranked = random.chance(0.2);
  return Array.from({ length: 3 }, (_, index) => ({
    rate: rateOf(),
    priority: ranked ? random.pick([0, 1, 2]) : index === 2 && random.chance(0.1) ? -1 : 0,
    startsAtMs: random.chance(0.7) ? random.next() * 50 : random.next() * 5000,
    ttlMs: random.chance(0.85)
      ? ttlMs
      : random.pick([2000, 3000, ttlMs].filter((one) => one <= ttlMs)),
  }));
}

function weatherOf(random: Random): Weather {
  const leastMs = random.pick([0.2, 0.5, 2]);
  const kind = random.below(3);
  return {
    leastMs,
    mostMs: leastMs * random.pick([1.5, 5, 20]),
    lossChance: kind === 0 ? 0 : random.pick([0.001, 0.01, 0.05]),
    spikeChance: kind === 0 ? 0 : random.pick([0.001, 0.01, 0.05]),
    spikeMs: random.pick([100, 1000, 4000]),
    copyChance: random.pick([0, 0.05, 1]),
    copyMs: random.pick([200, 3000, 20_000]),
  };
}

const kinds: readonly (readonly [number, Happening['kind']])[] = [
  [8, 'pause'],
  [4, 'crash'],
  [5, 'terminate'],
  [4, 'fail'],
  [2, 'terminate twice'],
  [2, 'no descriptors'],
  [10, 'cut'],
  [3, 'slow'],
  [7, 'hang'],
  [3, 'break watch'],
  [3, 'mute watch'],
  [4, 'lag watch'],
  [4, 'freeze member'],
  [4, 'etcd without leader'],
  [5, 'freeze leader of etcd'],
  [2, 'delete any key'],
  [3, 'revoke some wrongly'],
  [3, 'compact'],
  [4, 'revoke wrongly'],
  [3, 'deny lease'],
  [4, 'delete key'],
  [3, 'pause election'],
  [2, 'foreign candidate'],
  [6, 'step down'],
  [3, 'ask for switchover'],
  [6, 'hold'],
  [3, 'app unhealthy'],
];
const everyKind = [...kinds.map(([, kind]) => kind), 'cut members'] as const;

function kindOf(random: Random, wanted: readonly Happening['kind'][]): Happening['kind'] {
  const possible = kinds.filter(([, kind]) => wanted.includes(kind));
  let left = random.next() * possible.reduce((sum, [weight]) => sum + weight, 0);
  for (const [weight, kind] of possible) {
    left -= weight;
    if (left < 0) return kind;
  }
  return possible.at(-1)![1];
}

/** So long a former leader of etcd may not know that it is none. */
const pastMostMs = 1500;

/** What requests hang together, in life: reads need a quorum, a full disk or a lost leader stops writes. */
const hanging: readonly (readonly string[])[] = [
  ['observe', 'join', 'release', 'enroll', 'proclaim', 'concede'],
  ['observe'],
  ['renew'],
  ['release'],
  ['release', 'revoke'],
  ['join'],
  ['grant'],
  ['proclaim'],
];

function happening(
  kind: Happening['kind'],
  random: Random,
  setup: Setup,
  calmAtMs: number,
): Happening {
  const { ttlMs, etcdMembers } = setup;
  const atMs = random.between(500, calmAtMs - 200);
  /** Short against the TTL, about as long, or much longer; over when the calm begins. */
  const forMs = Math.min(
    ttlMs * random.pick([0.1, 0.3, 0.7, 1, 1.3, 2.5]) * random.between(0.8, 1.2),
    calmAtMs - atMs,
  );
  const whom: Target = random.chance(0.6) ? 'leader' : random.below(setup.sidecars.length);
  const of = random.below(setup.elections);
  switch (kind) {
    case 'cut': {
      const member = random.chance(0.6) ? 'all' : random.below(etcdMembers);
      const how = random.pick(['silent', 'silent', 'to etcd', 'from etcd', 'refused'] as const);
      return { atMs, kind, whom, member, how, forMs };
    }
    case 'slow':
    case 'lag watch':
      return { atMs, kind, whom, byMs: ttlMs * random.pick([0.05, 0.2, 0.6]), forMs };
    case 'hang':
      return { atMs, kind, whom, operations: random.pick(hanging), forMs };
    case 'freeze member':
      return { atMs, kind, member: random.below(etcdMembers), forMs };
    case 'etcd without leader':
      return {
        atMs,
        kind,
        forMs: random.chance(0.8) ? Math.min(forMs, random.between(300, 1800)) : forMs,
      };
    case 'delete key':
      return { atMs, kind, whom, of };
    case 'pause election':
    case 'foreign candidate':
      return { atMs, kind, of, forMs };
    case 'step down': {
      const to = random.chance(0.6) ? random.below(setup.sidecars.length) : null;
      const notForMs = random.chance(0.5) ? 0 : forMs;
      return { atMs, kind, whom: 'leader', of, to, notForMs };
    }
    case 'ask for switchover':
      return { atMs, kind, of, to: random.below(setup.sidecars.length), forMs };
    case 'hold':
      return {
        atMs,
        kind,
        whom: 'leader',
        of,
        holdMs: random.between(50, Math.min(1000, ttlMs / 2)),
      };
    case 'freeze leader of etcd':
      return {
        atMs,
        kind,
        member: random.below(etcdMembers),
        forMs: Math.min(forMs, calmAtMs - atMs - pastMostMs),
        pastMs: pastMostMs * random.next(),
        revokes: random.chance(0.6),
      };
    case 'delete any key':
      return { atMs, kind, of, place: random.below(3) };
    case 'revoke some wrongly':
      return { atMs, kind, of, places: [0, 1, 2].filter(() => random.chance(0.6)) };
    case 'compact':
      return { atMs, kind };
    case 'break watch':
    case 'revoke wrongly':
      return { atMs, kind, whom };
    case 'cut members':
      throw new Error('they are drawn by themselves');
    case 'pause':
    case 'crash':
    case 'terminate':
    case 'fail':
    case 'terminate twice':
    case 'no descriptors':
    case 'mute watch':
    case 'deny lease':
    case 'app unhealthy':
      return { atMs, kind, whom, forMs };
  }
}
