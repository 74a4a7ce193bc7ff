// What is true of every settled state of the two machines, asserted after each step. `cheap` looks at a handful of
// fields and is on in production; `all` walks the queue and decides once more, and is on in tests and simulation. A
// state that fails here is one whose claims cannot be trusted: the assertion ends them (see assert.ts).
import { assert, assertNever } from './assert.ts';
import { boundOf, obstacleOf, type Candidacy, type Election, type Ground } from './candidacy.ts';
import { settle } from './decide.ts';
import { fencingToken, type Millis } from './model.ts';
import { leaderOf, type Queue } from './queue.ts';
import type { Session } from './session.ts';
import { nextRoundMs, reliableUntil, type Timing } from './timing.ts';

/** How much is looked at. */
export type Validation = 'cheap' | 'all';

/** Asserts the invariants of a lease, settled at `now`. */
export function validateSession(session: Session, now: Millis, { marginMs }: Timing): void {
  if (session.kind !== 'live' && session.kind !== 'lapsed') return;
  const { lease, renewAt, kind } = session;
  assert(lease.generation > 0, 'a lease that is held was granted');
  assert((kind === 'live') === now < lease.leadUntil, 'a lease is live until it lapses');
  assert(
    lease.leadUntil <= reliableUntil(now, lease.ttlMs, marginMs),
    'a lease is not relied upon for longer than one that is granted at this moment',
  );
  assert(renewAt <= now + nextRoundMs(lease.ttlMs, false), 'a renewal is at most a round away');
}

/** Asserts the invariants of a candidacy, settled at `now`. */
export function validate(
  election: Election,
  ground: Ground,
  now: Millis,
  validation: Validation,
): void {
  validateCandidacy(election, ground, now);
  if (validation === 'cheap') return;
  if (election.queue !== null) validateQueue(election.queue, now);
  const again = settle({ election, effects: [] }, ground, now);
  assert(again.effects.length === 0, 'a settled election asks for nothing more');
  assert(
    again.election.candidacy === election.candidacy,
    `a settled election stays as it is when ${election.candidacy.kind}`,
  );
}

function validateCandidacy(election: Election, ground: Ground, now: Millis): void {
  const { candidacy, lastToken } = election;
  switch (candidacy.kind) {
    case 'idle':
      return;
    case 'joining':
      assert(
        ground.held?.generation === candidacy.generation,
        'who joins has the lease to join with',
      );
      return;
    case 'waiting':
      assert(ground.held?.generation === candidacy.own.generation, 'who waits has a lease');
      assert(!election.stopping, 'nobody who stops waits');
      assert(obstacleOf(election, now) === null, 'nobody waits whom something keeps from leading');
      return;
    case 'leading':
      return validateLeading(election, candidacy, ground, now);
    case 'steppingDown':
      assert(!candidacy.quiesced, 'a key is released as soon as nothing acts for its term');
      assert(now < boundOf(election, ground), 'no app is waited for beyond the lease');
      assert(candidacy.ending.term.token === lastToken, 'only the newest term can be ending');
      assert(candidacy.ending.endedAt <= now, 'the claim ends before the key is released');
      return;
    case 'releasing':
      assert(ground.held?.generation === candidacy.own.generation, 'a key needs a lease to exist');
      assert(candidacy.ending === null || candidacy.ending.endedAt <= now, 'the claim ended first');
      return;
    case 'stopped':
      assert(election.stopping, 'only who was told to stop has stopped');
      return;
    default:
      assertNever(candidacy);
  }
}

/** What every claim rests on: guarantees 1 to 3. */
function validateLeading(
  election: Election,
  { own, term, holdUntil }: Extract<Candidacy, { kind: 'leading' }>,
  ground: Ground,
  now: Millis,
): void {
  const { queue, lastToken } = election;
  assert(ground.held?.generation === own.generation, 'who leads holds the lease of its key');
  assert(term.token === fencingToken(own.createRevision), 'the token is the create revision');
  assert(term.token === lastToken, 'who leads does so in its newest term');
  assert(term.since <= now, 'a term began before now');
  assert(
    queue !== null && leaderOf(queue)?.createRevision === own.createRevision,
    'who leads is first in the queue',
  );
  assert(now < boundOf(election, ground) - ground.timing.stopLeadMs, 'who leads may claim to');
  assert(!election.stopping || now < holdUntil, 'who is told to stop leads only for a hold');
}

function validateQueue(queue: Queue, now: Millis): void {
  const { candidates, revision, freshAt, predecessor } = queue;
  for (const [index, { createRevision }] of candidates.entries()) {
    const before = candidates[index - 1];
    assert(
      before === undefined || before.createRevision < createRevision,
      'places in the queue strictly rise',
    );
    assert(createRevision <= revision, 'no key is newer than the view that it stands in');
  }
  assert(freshAt <= now && queue.leaderSeenAt <= now, 'nothing was seen in the future');
  assert(predecessor === null || predecessor.goneAt <= now, 'a predecessor has left');
}
