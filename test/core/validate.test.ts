// Each invariant, broken by hand: a settled state with one lie in it does not pass. Everything else in the tests of the
// core, in the simulation and in the exhaustive search goes through the same validation after every step.
import { describe, expect, it } from 'vitest';
import { AssertionFailure } from '../../src/core/assert.ts';
import type { Phase, Candidacy } from '../../src/core/candidacy.ts';
import { fencingToken, revision } from '../../src/core/model.ts';
import type { Session } from '../../src/core/session.ts';
import { validate, validateSession } from '../../src/core/validate.ts';
import { candidate, lease, mine, ours, snapshot, timing } from './given.ts';
import { Story } from './story.ts';

const next = candidate('next', 8, 'bbb');
const ending = {
  endedAt: 20,
  cause: 'stopping',
  to: null,
  reason: null,
  actor: null,
} as const;

/** Leads in term 7 from 20 on, on a lease that may be relied upon until 4750. */
const leading = (): Story =>
  new Story({ quiesces: true }).lease(0, lease(4750)).joined(20, 7, snapshot(8, mine(7), next));

const steppingDown = (): Story => leading().at(30, { kind: 'stop' });
const releasing = (): Story =>
  steppingDown().at(40, { kind: 'quiesced', token: fencingToken(revision(7n)) });

const waiting = (): Story =>
  new Story()
    .lease(0, lease(4750))
    .joined(20, 8, snapshot(8, candidate('first', 7, 'bbb'), mine(8)));

const joining = (): Story => new Story().lease(0, lease(4750));

/** The state with some fields of its candidacy replaced. */
const but = (
  { election }: Story,
  changed: Partial<Phase> | Record<string, unknown>,
): Candidacy => ({
  ...election,
  phase: { ...election.phase, ...changed } as Phase,
});

const term = { token: fencingToken(revision(6n)), since: 10, leaderlessMs: null };
const queueOf = ({ election }: Story): NonNullable<Candidacy['queue']> => {
  if (election.queue === null) throw new Error('there is a queue');
  return election.queue;
};

const lies: readonly {
  readonly name: string;
  readonly story: () => Story;
  readonly lie: (story: Story) => Candidacy;
  readonly thoroughly?: true;
  readonly later?: number;
}[] = [
  { name: 'joins without a lease', story: joining, lie: (s) => but(s, { generation: 2 }) },
  {
    name: 'waits on the key of another lease',
    story: waiting,
    lie: (s) => but(s, { own: { generation: 2, leaseId: ours, createRevision: revision(8n) } }),
  },
  { name: 'waits while stopping', story: waiting, lie: (s) => ({ ...s.election, stopping: true }) },
  {
    name: 'waits with an app that may not lead',
    story: waiting,
    lie: (s) => ({ ...s.election, appHealthy: false }),
  },
  {
    name: 'leads with a token that its key does not stand for',
    story: leading,
    lie: (s) => but(s, { term }),
  },
  {
    name: 'leads in a term that is not its newest',
    story: leading,
    lie: (s) => ({ ...s.election, lastToken: fencingToken(revision(9n)) }),
  },
  {
    name: 'leads since later than now',
    story: leading,
    lie: (s) => but(s, { term: { ...term, token: fencingToken(revision(7n)), since: 21 } }),
  },
  {
    name: 'leads behind somebody',
    story: leading,
    lie: (s) => ({
      ...s.election,
      queue: { ...queueOf(s), candidates: [candidate('first', 6, 'ccc'), mine(7)] },
    }),
  },
  { name: 'leads past its bound', story: leading, lie: (s) => s.election, later: 4750 },
  {
    name: 'leads though told to stop',
    story: leading,
    lie: (s) => ({ ...s.election, stopping: true }),
  },
  {
    name: 'waits for an app that has stopped',
    story: steppingDown,
    lie: (s) => but(s, { quiesced: true }),
  },
  {
    name: 'waits for the app beyond the lease',
    story: steppingDown,
    lie: (s) => s.election,
    later: 4750,
  },
  {
    name: 'ends a term that is not its newest',
    story: steppingDown,
    lie: (s) => but(s, { ending: { ...ending, term } }),
  },
  {
    name: 'releases before the claim has ended',
    story: releasing,
    lie: (s) => but(s, { ending: { ...ending, term, endedAt: 41 } }),
  },
  {
    name: 'has stopped without being told to',
    story: waiting,
    lie: (s) => ({ ...s.election, phase: { kind: 'stopped' } }),
  },
  {
    name: 'sees a queue out of order',
    story: waiting,
    lie: (s) => ({
      ...s.election,
      queue: { ...queueOf(s), candidates: queueOf(s).candidates.toReversed() },
    }),
    thoroughly: true,
  },
  {
    name: 'sees a key that is newer than its view',
    story: waiting,
    lie: (s) => ({ ...s.election, queue: { ...queueOf(s), revision: revision(7n) } }),
    thoroughly: true,
  },
  {
    name: 'knows the future',
    story: waiting,
    lie: (s) => ({ ...s.election, queue: { ...queueOf(s), freshAt: 21 } }),
    thoroughly: true,
  },
  {
    name: 'has not settled: it is first and does not lead',
    story: waiting,
    lie: (s) => ({ ...s.election, queue: { ...queueOf(s), candidates: [mine(8)] } }),
    thoroughly: true,
  },
];

describe('a candidacy', () => {
  it.each(lies)('that $name is not valid', ({ story, lie, thoroughly, later }) => {
    const told = story();
    const now = later ?? told.now;
    const election = lie(told);
    expect(() => validate(election, told.ground, now, 'all')).toThrow(AssertionFailure);
    const cheaply = (): void => validate(election, told.ground, now, 'cheap');
    if (thoroughly === true) expect(cheaply).not.toThrow();
    else expect(cheaply).toThrow(AssertionFailure);
  });

  it.each([joining, waiting, leading, steppingDown, releasing])(
    'that is as it was settled is valid (%#)',
    (story) => {
      const { election, ground, now } = story();
      expect(() => validate(election, ground, now, 'all')).not.toThrow();
    },
  );
});

describe('a lease', () => {
  const live: Session = { kind: 'live', lease: lease(4750), renewAt: 1000, failures: 0 };
  const judged = (session: Session, now: number) => () => validateSession(session, now, timing);

  it('is valid as it was granted, and once it has lapsed', () => {
    expect(judged(live, 0)).not.toThrow();
    expect(judged({ ...live, kind: 'lapsed' }, 4750)).not.toThrow();
  });

  it.each([
    ['lives on past its end', live, 4750],
    ['lapsed early', { ...live, kind: 'lapsed' }, 4749],
    ['outlives one that is granted now', { ...live, lease: lease(4751) }, 0],
    ['is of no generation', { ...live, lease: lease(4750, 0) }, 0],
    ['is not renewed within a round', { ...live, renewAt: 1001 }, 0],
  ] as const)('that %s is not valid', (_, session, now) => {
    expect(judged(session, now)).toThrow(AssertionFailure);
  });
});
