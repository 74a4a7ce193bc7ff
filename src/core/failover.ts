// Fast failover as a part of a candidacy (docs/adr/0013): where its two machines, the leader's (short-lease.ts) and the
// witness's (witness.ts), meet the queue and our own lease. It makes no transition: a deposed term ends, and ours
// begins, by what the queue then shows, as with every other end.
import type {
  Candidacy,
  CandidacyEffect,
  CandidacyEvent,
  Draft,
  Ground,
  OwnKey,
  Phase,
} from './candidacy.ts';
import { fencingToken, type Candidate, type Millis, type Ping } from './model.ts';
import { leaderOf, successionOf, type Queue } from './queue.ts';
import {
  acknowledged,
  conduct,
  recorded,
  recordLater,
  wakeShortLeaseAt,
  type Behind,
} from './short-lease.ts';
import { pingEveryMs, shortMarginMs } from './timing.ts';
import { depose, deposeAt, deposeLater, hear, refused, type Vigil } from './witness.ts';

type Of<Kind extends CandidacyEvent['kind']> = Extract<CandidacyEvent, { kind: Kind }>;
type In<Kind extends Phase['kind']> = Extract<Phase, { kind: Kind }>;

/** What is to be done for it at the end of a step: the leader pings and records, a witness deposes. */
export function failover(draft: Draft, ground: Ground, now: Millis): Draft {
  const { phase } = draft.candidacy;
  if (phase.kind === 'leading' || phase.kind === 'steppingDown') return leading(draft, phase, now);
  return phase.kind === 'waiting' ? witnessing(draft, phase, ground, now) : draft;
}

/** When it wants a tick. */
export function wakeFailoverAt(candidacy: Candidacy): Millis {
  const { phase } = candidacy;
  if ('short' in phase && phase.short !== null) return wakeShortLeaseAt(phase.short);
  if (phase.kind !== 'waiting' || phase.vigil === null) return Number.POSITIVE_INFINITY;
  return deposeAt(phase.vigil);
}

// The leader.

function leading(
  { candidacy, effects }: Draft,
  phase: In<'leading'> | In<'steppingDown'>,
  now: Millis,
): Draft {
  const { queue } = candidacy;
  const { short, own, kind } = phase;
  if (short === null || queue === null) return { candidacy, effects };
  const { lease, pings, change } = conduct(short, behind(queue, kind === 'leading'), now);
  if (lease === short) return { candidacy, effects };
  const sent = pings.flatMap((ping): readonly CandidacyEffect[] => {
    const to = queue.candidates.find(({ createRevision }) => createRevision === ping.witness);
    return to === undefined ? [] : [{ kind: 'ping', to, ping }];
  });
  const asked: readonly CandidacyEffect[] =
    change === null ? [] : [{ kind: 'record', own, change }];
  return {
    candidacy: { ...candidacy, phase: { ...phase, short: lease } },
    effects: [...effects, ...sent, ...asked],
  };
}

/** Nobody behind a foreign candidate can be a witness: it could not be passed over. */
function behind({ candidates }: Queue, enlists: boolean): Behind {
  const [, ...followers] = candidates;
  const stranger = followers.findIndex(({ native }) => !native);
  const native = stranger < 0 ? followers : followers.slice(0, stranger);
  const keys = (some: readonly Candidate[]) => some.map(({ createRevision }) => createRevision);
  const eligible = native.filter(({ pingKey, url }) => pingKey !== null && url !== null);
  return { eligible: keys(eligible), present: keys(followers), enlists };
}

/** A promise not to depose the term that we lead, or end. */
export function onAcknowledged(
  candidacy: Candidacy,
  { term, witness, sentAt }: Of<'acknowledged'>,
): Candidacy {
  const { phase } = candidacy;
  if (!('short' in phase) || phase.short?.term !== term) return candidacy;
  const short = acknowledged(phase.short, witness, sentAt);
  return { ...candidacy, phase: { ...phase, short } };
}

export function onRecorded(
  candidacy: Candidacy,
  { term, number, record }: Of<'recorded'>,
  now: Millis,
): Candidacy {
  const { phase } = candidacy;
  if (!('short' in phase) || phase.short?.term !== term) return candidacy;
  const short =
    record === null
      ? recordLater(phase.short, number, now)
      : recorded(phase.short, number, record, now);
  return { ...candidacy, phase: { ...phase, short } };
}

// The witness.

/** How many stand before us, the leader among them; 0 where we are not there. */
const placeOf = ({ queue }: Candidacy, own: OwnKey): number =>
  Math.max(
    0,
    queue?.candidates.findIndex(({ createRevision }) => createRevision === own.createRevision) ?? 0,
  );

/** A vigil ends with the term that it is kept for. */
const vigilOf = ({ queue }: Candidacy, { vigil }: In<'waiting'>): Vigil | null => {
  const leader = queue === null ? null : leaderOf(queue);
  if (vigil === null || leader === null) return null;
  return fencingToken(leader.createRevision) === vigil.term ? vigil : null;
};

function witnessing(
  { candidacy, effects }: Draft,
  phase: In<'waiting'>,
  ground: Ground,
  now: Millis,
): Draft {
  const vigil = vigilOf(candidacy, phase);
  const keeping = (kept: Vigil | null): Candidacy =>
    kept === phase.vigil ? candidacy : { ...candidacy, phase: { ...phase, vigil: kept } };
  const { queue, me } = candidacy;
  const { own } = phase;
  const isDue = vigil !== null && placeOf(candidacy, own) > 0 && now >= deposeAt(vigil);
  if (queue === null || !isDue || ground.held === null) {
    return { candidacy: keeping(vigil), effects };
  }
  const leader = leaderOf(queue);
  const succession = leader && successionOf(queue, leader.createRevision, me.id);
  // By its newest key another process of ours may stand behind: that one is to act.
  if (leader === null || succession?.successor.createRevision !== own.createRevision) {
    return { candidacy: keeping(null), effects };
  }
  const deposing = depose(vigil);
  const { id } = me;
  const about = { from: leader.id, token: deposing.term, cause: 'crashed' as const };
  // Its last ping was on its way before we heard it, and lay here for a while where we were busy.
  const { forMs, lastHeardAt } = deposing;
  const earlierMs = shortMarginMs(forMs, ground.timing) + pingEveryMs(forMs);
  const endedAgoMs = now - lastHeardAt + earlierMs;
  const handover = { ...about, to: id, reason: null, actor: id, endedAgoMs };
  const { at } = deposing.deposing;
  return {
    candidacy: keeping(deposing),
    effects: [...effects, { kind: 'depose', leader, at, succession, handover }],
  };
}

/**
 * A ping is acknowledged only by who can lead next as far as it knows: its lease may be relied upon, its own key, which
 * the ping names, stands in the queue, and the queue is led by the term that asks.
 */
export function onPinged(
  candidacy: Candidacy,
  ping: Ping,
  { held, timing }: Ground,
  now: Millis,
): Candidacy {
  const { phase, queue } = candidacy;
  if (phase.kind !== 'waiting' || queue === null || timing.fastFailoverMs === null)
    return candidacy;
  const { own } = phase;
  const leader = leaderOf(queue);
  const isMeant = ping.witness === own.createRevision && placeOf(candidacy, own) > 0;
  const isLed = leader !== null && fencingToken(leader.createRevision) === ping.term;
  const isLive = held?.generation === own.generation && now < held.leadUntil;
  if (!isMeant || !isLed || !isLive) return candidacy;
  const vigil = hear(phase.vigil, ping, shortMarginMs(ping.forMs, timing), now);
  return { ...candidacy, phase: { ...phase, vigil } };
}

/** Whether this ping is the newest that was acknowledged: a second copy of it changes nothing, and is not answered. */
export function hasAcknowledged({ phase }: Candidacy, { term, sequence, witness }: Ping): boolean {
  if (phase.kind !== 'waiting' || phase.own.createRevision !== witness) return false;
  return phase.vigil?.term === term && phase.vigil.sequence === sequence;
}

/** Where the term goes on, we may be asked again; where it does not, the queue says so. */
export function refusedToDepose(
  candidacy: Candidacy,
  { term, at, outcome }: Of<'deposed'>,
  now: Millis,
): Candidacy {
  const { phase } = candidacy;
  if (phase.kind !== 'waiting' || phase.vigil?.term !== term) return candidacy;
  const { vigil, own } = phase;
  const keep = (kept: Vigil): Candidacy => ({ ...candidacy, phase: { ...phase, vigil: kept } });
  if (outcome === null) return keep(deposeLater(vigil, at, now));
  const { record } = outcome;
  const place = record.listed.find(({ witness }) => witness === own.createRevision);
  const listed =
    place === undefined || record.at === null ? null : { at: record.at, number: place.number };
  return keep(refused(vigil, at, listed, now));
}
