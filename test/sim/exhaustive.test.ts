// Small scope, all of it: every order of what can happen to two and to three candidates, up to a number of steps, from
// nothing and from a settled election on. And the same search finds bugs that are put in.
import { describe, expect, it } from 'vitest';
import { search, type Searched } from './search.ts';
import { production, Rules, type Machines, type SmallWorld } from './small-world.ts';

const testTimeoutMs = 120_000;

function expectRight({ wrong, states }: Searched, atLeast: number): void {
  if (wrong !== null) expect.fail([wrong.what, ...wrong.path].join('\n'));
  // A search that sees little proves little.
  expect(states).toBeGreaterThan(atLeast);
}

const settled = (count: number, interferences: number): [Rules, SmallWorld] => {
  const rules = new Rules();
  return [rules, rules.settled(count, interferences)];
};

/** One way that things can go. */
const follow = (rules: Rules, start: SmallWorld, whats: readonly string[]): SmallWorld =>
  whats.reduce((world, what) => {
    const step = rules.steps(world).find((each) => each.what === what);
    if (step === undefined) throw new Error(`it cannot happen that ${what}`);
    return step.next();
  }, start);

describe('every order of events', () => {
  it(
    'of two candidates that begin',
    () => {
      const rules = new Rules();
      expectRight(search(rules, rules.beginning(2, 1), 7), 10_000);
    },
    testTimeoutMs,
  );

  it(
    'of a leader and one that waits, left alone',
    () => expectRight(search(...settled(2, 0), 7), 10_000),
    testTimeoutMs,
  );

  it(
    'of a leader and one that waits, with one interference',
    () => expectRight(search(...settled(2, 1), 6), 10_000),
    testTimeoutMs,
  );

  it(
    'of a leader and two that wait',
    () => expectRight(search(...settled(3, 0), 6), 5000),
    testTimeoutMs,
  );

  it.each([
    [2, 0, 7, 10_000],
    [2, 1, 6, 10_000],
    [3, 0, 6, 10_000],
  ])(
    'of a leader with witnesses: %i candidates, %i interferences',
    (count, interferences, depth, atLeast) => {
      const rules = new Rules(production, { fastFailoverMs: 400 });
      expectRight(search(rules, rules.covered(count, interferences), depth), atLeast);
    },
    testTimeoutMs,
  );

  it(
    'of one alone, for longer',
    () => expectRight(search(...settled(1, 1), 7), 5000),
    testTimeoutMs,
  );

  it('begins with a leader, where that is said', () => {
    const [, world] = settled(3, 0);
    expect(world.nodes.map(({ election }) => election.phase.kind)).toEqual([
      'leading',
      'waiting',
      'waiting',
    ]);
  });
});

const bugs: readonly {
  readonly name: string;
  readonly machines: Partial<Machines>;
  readonly interferences: number;
}[] = [
  {
    name: 'the deadline is counted from the response',
    interferences: 0,
    machines: {
      stepSession: (session, event, now, timing) =>
        production.stepSession(
          session,
          'sentAt' in event ? { ...event, sentAt: now } : event,
          now,
          timing,
        ),
      stepCandidacy: (election, event, ground, now) =>
        production.stepCandidacy(
          election,
          'sentAt' in event ? { ...event, sentAt: now } : event,
          ground,
          now,
        ),
    },
  },
  {
    name: 'the clock is not asked when answering',
    interferences: 0,
    machines: {
      claimOf: (election, ground, now) => {
        const { phase } = election;
        if (phase.kind !== 'leading') return production.claimOf(election, ground, now);
        const { token, since } = phase.term;
        return { token, since, validUntil: now + 1 };
      },
    },
  },
  {
    name: 'a term that is being ended is still claimed',
    interferences: 1,
    machines: {
      claimOf: (election, ground, now) => {
        const { phase } = election;
        if (phase.kind !== 'releasing' || phase.ending === null) {
          return production.claimOf(election, ground, now);
        }
        const { token, since } = phase.ending.term;
        return { token, since, validUntil: now + 1 };
      },
    },
  },
];

describe('the search finds', () => {
  it(
    'a claim that its witnesses do not bound',
    () => {
      const machines: Machines = {
        ...production,
        claimOf: (election, ground, now) => {
          const { phase } = election;
          if (phase.kind !== 'leading') return production.claimOf(election, ground, now);
          const unbounded = { ...election, phase: { ...phase, short: null } };
          return production.claimOf(unbounded, ground, now);
        },
      };
      const rules = new Rules(machines, { fastFailoverMs: 400 });
      const { wrong } = search(rules, rules.covered(2, 0), 10);
      expect(wrong?.what).toMatch(/leads without the first key|lead at once/);
    },
    testTimeoutMs,
  );

  it.each(bugs)(
    '$name',
    ({ machines, interferences }) => {
      const rules = new Rules({ ...production, ...machines });
      // A round has been asked for and carried out; its answers are still on their way.
      const round = ['A wakes', "A's renew arrives", "A's observe arrives"];
      const world = follow(rules, { ...rules.settled(1, interferences), now: 800 }, round);
      const { wrong } = search(rules, world, 9);
      expect(wrong).not.toBeNull();
    },
    testTimeoutMs,
  );
});
