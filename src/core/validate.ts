// What is true of every settled state of the two machines, asserted after each step. `cheap` looks at a handful of
// fields and is on in production; `all` walks the queue and decides once more, and is on in tests and simulation. A
// state that fails here is one whose claims cannot be trusted: the assertion ends them (see assert.ts).
import { assert, assertNever } from './assert.ts';
import { boundOf, obstacleOf, type Phase, type Candidacy, type Ground } from './candidacy.ts';
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
  candidacy: Candidacy,
  ground: Ground,
  now: Millis,
  validation: Validation,
): void {
  validatePhase(candidacy, ground, now);
  if (validation === 'cheap') return;
  if (candidacy.queue !== null) validateQueue(candidacy.queue, now);
  const again = settle({ candidacy, effects: [] }, ground, now);
  assert(again.effects.length === 0, 'a settled candidacy asks for nothing more');
  assert(
    again.candidacy.phase === candidacy.phase,
    `a settled candidacy stays as it is when ${candidacy.phase.kind}`,
  );
}

function validatePhase(candidacy: Candidacy, ground: Ground, now: Millis): void {
  const { phase, lastToken } = candidacy;
  switch (phase.kind) {
    case 'idle':
      return;
    case 'joining':
      assert(ground.held?.generation === phase.generation, 'who joins has the lease to join with');
      return;
    case 'waiting':
      assert(ground.held?.generation === phase.own.generation, 'who waits has a lease');
      assert(!candidacy.stopping, 'nobody who stops waits');
      assert(obstacleOf(candidacy, now) === null, 'nobody waits whom something keeps from leading');
      return;
    case 'leading':
      return validateLeading(candidacy, phase, ground, now);
    case 'steppingDown':
      assert(
        !phase.quiesced || now < phase.keptUntil,
        'a key is released as soon as nothing acts for its term',
      );
      assert(now < boundOf(candidacy, ground), 'no app is waited for beyond the lease');
      assert(phase.ending.term.token === lastToken, 'only the newest term can be ending');
      assert(phase.ending.endedAt <= now, 'the claim ends before the key is released');
      return;
    case 'releasing':
      assert(ground.held?.generation === phase.own.generation, 'a key needs a lease to exist');
      assert(phase.ending === null || phase.ending.endedAt <= now, 'the claim ended first');
      return;
    case 'stopped':
      assert(candidacy.stopping, 'only who was told to stop has stopped');
      return;
    default:
      assertNever(phase);
  }
}

/** What every claim rests on: guarantees 1 to 3. */
function validateLeading(
  candidacy: Candidacy,
  { own, term }: Extract<Phase, { kind: 'leading' }>,
  ground: Ground,
  now: Millis,
): void {
  const { queue, lastToken } = candidacy;
  assert(ground.held?.generation === own.generation, 'who leads holds the lease of its key');
  assert(term.token === fencingToken(own.createRevision), 'the token is the create revision');
  assert(term.token === lastToken, 'who leads does so in its newest term');
  assert(term.since <= now, 'a term began before now');
  assert(
    queue !== null && leaderOf(queue)?.createRevision === own.createRevision,
    'who leads is first in the queue',
  );
  assert(now < boundOf(candidacy, ground) - ground.timing.stopLeadMs, 'who leads may claim to');
  assert(!candidacy.stopping, 'nobody who is told to stop leads');
}

function validateQueue(queue: Queue, now: Millis): void {
  const { candidates, revision, freshAt, predecessor, losses } = queue;
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
  assert(
    losses.every(({ goneAt }) => goneAt <= now),
    'a term that was lost is over',
  );
}
