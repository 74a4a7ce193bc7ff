// The leader's half of fast failover (docs/adr/0013): a second, short lease on its term, held with the next candidates in
// the queue. Promises that whoever may depose the term counts from before etcd is asked to list it until etcd has
// answered that it is listed no more; and that every bound is counted from before the ping was sent. A pure machine of its
// own: it neither knows the queue nor decides about the term.
import type { FencingToken, Millis, Ping, Revision } from './model.ts';
import {
  dismissAfterMs,
  enlistWithinMs,
  nextPingAt,
  pingEveryMs,
  proclaimAfterMs,
  servedWellMs,
  shortRetryMs,
  standDownMs,
} from './timing.ts';

/** More would only be asked more often: one to act, one for when that one dies with the leader. */
export const mostWitnesses = 2;
/** One more is pinged, in case that the keys before it are those of the dead. */
const mostPinged = 3;

/** A candidate by the create revision of its key, and the number of its enlistment. */
export interface Listed {
  readonly witness: Revision;
  readonly number: number;
}

/** The record of who is a witness of a term, as etcd has it; `at` null where there is none. */
export interface WitnessRecord {
  readonly at: Revision | null;
  readonly listed: readonly Listed[];
}

/** A change of the record that was asked for; one at a time. */
export interface RecordChange {
  /** Tells the answer to this change from those to others. */
  readonly number: number;
  /** The record must be as it was read then. */
  readonly was: Revision | null;
  readonly to: readonly Listed[];
  readonly failures: number;
  /** Null while an attempt is under way. */
  readonly retryAt: Millis | null;
}

/** What is known of a candidate that is pinged. */
interface Pinged {
  readonly witness: Revision;
  /** When the newest ping that it acknowledged was sent. */
  readonly heardAt: Millis;
  /** Whether it may depose the term, as far as we can know. */
  readonly counts: boolean;
  readonly countsSince: Millis;
  /** From when on pings tell it where it stands; infinite while it is not listed. */
  readonly toldSince: Millis;
  readonly dismissals: number;
  /** It is not enlisted before. */
  readonly notBefore: Millis;
}

export interface ShortLease {
  readonly term: FencingToken;
  readonly forMs: number;
  /** What must stop beside us needs so much of it. */
  readonly stopLeadMs: number;
  readonly pingAt: Millis;
  /** We stood still ourselves: before this nobody is dismissed for what may lie unread. */
  readonly patientUntil: Millis;
  readonly sequence: number;
  readonly changes: number;
  readonly record: WitnessRecord;
  readonly change: RecordChange | null;
  readonly pinged: readonly Pinged[];
}

export const newShortLease = (
  term: FencingToken,
  forMs: number,
  stopLeadMs: number,
  now: Millis,
): ShortLease => ({
  term,
  forMs,
  stopLeadMs,
  pingAt: now + proclaimAfterMs,
  patientUntil: now,
  sequence: 0,
  changes: 0,
  record: { at: null, listed: [] },
  change: null,
  pinged: [],
});

/** Until when the term may be claimed for the sake of those who may depose it; infinite where there are none. */
export const shortBoundOf = ({ pinged, forMs }: ShortLease): Millis =>
  Math.min(
    Number.POSITIVE_INFINITY,
    ...pinged.filter(({ counts }) => counts).map(({ heardAt }) => heardAt + forMs),
  );

/** Those who count, stand in etcd's record and were told so: they will depose the term if they hear nothing. */
export const witnessesOf = ({ pinged }: ShortLease): readonly Revision[] =>
  pinged
    .filter(({ counts, heardAt, toldSince }) => counts && heardAt >= toldSince)
    .map(({ witness }) => witness);

const isListed = (listed: readonly Listed[], witness: Revision): boolean =>
  listed.some((one) => one.witness === witness);

/** A ping that was sent at `sentAt` was acknowledged. */
export function acknowledged(lease: ShortLease, witness: Revision, sentAt: Millis): ShortLease {
  const pinged = lease.pinged.map((one) =>
    one.witness === witness ? { ...one, heardAt: Math.max(one.heardAt, sentAt) } : one,
  );
  return { ...lease, pinged };
}

/** The outcome of a change: what etcd has now. Whoever is in it is told at once. */
export function recorded(
  lease: ShortLease,
  number: number,
  record: WitnessRecord,
  now: Millis,
): ShortLease {
  if (lease.change?.number !== number) return lease;
  const pinged = lease.pinged.map((one) => {
    const counts = isListed(record.listed, one.witness);
    const toldSince = counts ? Math.min(one.toldSince, now) : Number.POSITIVE_INFINITY;
    if (counts || !one.counts) return { ...one, counts, toldSince };
    const servedWell = now - one.countsSince >= servedWellMs(lease.forMs);
    const before = servedWell ? 0 : one.dismissals;
    const notBefore = now + standDownMs(lease.forMs, before);
    return { ...one, counts, toldSince, dismissals: before + 1, notBefore };
  });
  return { ...lease, record, change: null, pinged, pingAt: now };
}

/** Whether a change was made is not known: the same is asked for again, and without a pause while a dismissal is urgent. */
export function recordLater(lease: ShortLease, number: number, now: Millis): ShortLease {
  const { change, record, forMs } = lease;
  if (change?.number !== number) return lease;
  const failures = change.failures + 1;
  const dismisses = record.listed.some(({ witness }) => !isListed(change.to, witness));
  const retryAt = now + (dismisses ? pingEveryMs(forMs) : shortRetryMs(forMs, failures));
  return { ...lease, change: { ...change, failures, retryAt } };
}

/** The queue behind the leader, by the create revisions of its keys. */
export interface Behind {
  /** Who may be a witness, the next first. */
  readonly eligible: readonly Revision[];
  /** Everybody who is there. */
  readonly present: readonly Revision[];
  /** Nobody more is enlisted by whoever does not lead any more. */
  readonly enlists: boolean;
}

interface Conduct {
  readonly lease: ShortLease;
  readonly pings: readonly Ping[];
  /** A change of the record to ask etcd for. */
  readonly change: RecordChange | null;
}

/** Pings where that is due, and asks for the change of the record that is due; nothing where neither is. */
export function conduct(lease: ShortLease, behind: Behind, now: Millis): Conduct {
  if (lease.sequence === 0 && now < lease.pingAt) return { lease, pings: [], change: null };
  const changing = withChange(withPinged(afterStall(lease, now), behind), behind, now);
  if (now < changing.lease.pingAt) return { ...changing, pings: [] };
  return { ...pinging(changing.lease, now), change: changing.change };
}

/** A ping that is late by more than the time between two shows that we stood still. */
function afterStall(lease: ShortLease, now: Millis): ShortLease {
  const everyMs = pingEveryMs(lease.forMs);
  return now < lease.pingAt + everyMs ? lease : { ...lease, patientUntil: now + everyMs };
}

/** Who is pinged: the next who may be witnesses, and whoever is one. */
function withPinged(lease: ShortLease, { eligible }: Behind): ShortLease {
  const next = eligible.slice(0, mostPinged);
  const wanted = new Set([...next, ...lease.record.listed.map(({ witness }) => witness)]);
  const kept = lease.pinged.filter(({ counts, witness }) => counts || wanted.has(witness));
  const known = new Set(kept.map(({ witness }) => witness));
  const more = [...wanted].filter((witness) => !known.has(witness));
  if (more.length === 0 && kept.length === lease.pinged.length) return lease;
  const never = Number.NEGATIVE_INFINITY;
  const fresh = {
    heardAt: never,
    counts: false,
    countsSince: never,
    toldSince: Number.POSITIVE_INFINITY,
    dismissals: 0,
    notBefore: never,
  };
  return { ...lease, pinged: [...kept, ...more.map((witness) => ({ witness, ...fresh }))] };
}

function pinging(lease: ShortLease, now: Millis): Pick<Conduct, 'lease' | 'pings'> {
  const { term, forMs, record, pinged } = lease;
  const sequence = lease.sequence + 1;
  const pings = pinged.map(({ witness }) => {
    const place = record.listed.find((one) => one.witness === witness);
    const ahead = record.listed.filter((one) => one.witness < witness).length;
    const enlisted =
      place === undefined || record.at === null
        ? null
        : { at: record.at, number: place.number, ahead };
    return { term, witness, sequence, forMs, enlisted };
  });
  // Alone there is nobody to ping, but what was told outside is to be told anew.
  const pingAt = pinged.length === 0 ? now + forMs / 2 : nextPingAt(forMs, now);
  return { lease: { ...lease, sequence, pingAt }, pings };
}

function withChange(
  lease: ShortLease,
  behind: Behind,
  now: Millis,
): Pick<Conduct, 'lease' | 'change'> {
  const { change } = lease;
  if (change !== null) {
    if (change.retryAt === null || now < change.retryAt) return { lease, change: null };
    const again = { ...change, retryAt: null };
    return { lease: { ...lease, change: again }, change: again };
  }
  const to = nextListed(lease, behind, now);
  if (to === null) return { lease, change: null };
  const number = lease.changes + 1;
  const begun = { number, was: lease.record.at, to, failures: 0, retryAt: null };
  // From before the request is sent on, whoever is to be listed counts.
  const pinged = lease.pinged.map((one) =>
    !one.counts && isListed(to, one.witness) ? { ...one, counts: true, countsSince: now } : one,
  );
  return { lease: { ...lease, changes: number, change: begun, pinged }, change: begun };
}

/** Who is to be listed; null where that is as it is. Those who are silent go first, whatever else is due. */
function nextListed(
  lease: ShortLease,
  { eligible, present, enlists }: Behind,
  now: Millis,
): readonly Listed[] | null {
  const { record, pinged, forMs } = lease;
  const of = (witness: Revision): Pinged | undefined =>
    pinged.find((one) => one.witness === witness);
  const kept = record.listed.filter(
    ({ witness }) => present.includes(witness) && now < dismissAt(lease, of(witness)),
  );
  if (kept.length < record.listed.length) return kept;
  if (!enlists) return null;
  // A late copy of a request that expects no record can then only write one that lists nobody.
  if (record.at === null) return [];
  const isFresh = (one: Pinged | undefined): boolean =>
    one !== undefined && now < one.heardAt + enlistWithinMs(forMs);
  if (kept.length >= mostWitnesses || !kept.every(({ witness }) => isFresh(of(witness))))
    return null;
  const next = pinged.find(
    (one) =>
      !isListed(kept, one.witness) &&
      eligible.includes(one.witness) &&
      isFresh(one) &&
      now >= one.notBefore,
  );
  return next === undefined
    ? null
    : [...kept, { witness: next.witness, number: lease.changes + 1 }];
}

const dismissAt = (
  { forMs, stopLeadMs, patientUntil }: ShortLease,
  one: Pinged | undefined,
): Millis =>
  Math.max(
    patientUntil,
    (one?.heardAt ?? Number.NEGATIVE_INFINITY) + dismissAfterMs(forMs, stopLeadMs),
  );

/** When there is something to do that nobody tells us of. */
export function wakeShortLeaseAt(lease: ShortLease): Millis {
  const { change, pingAt, record, pinged } = lease;
  if (change !== null) return Math.min(pingAt, change.retryAt ?? Number.POSITIVE_INFINITY);
  const silent = pinged
    .filter(({ witness }) => isListed(record.listed, witness))
    .map((one) => dismissAt(lease, one));
  return Math.min(pingAt, ...silent);
}
