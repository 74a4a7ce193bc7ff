// `GET /history`: the terms remembered, newest first. A leader that vanished could not record its end: it follows from
// the beginning of the next term, and is marked as such.
import type { HistoryAnswer, TermOnWire } from '../contract.ts';
import type { ElectionName, FencingToken, Millis, TermRecord } from '../core/model.ts';
import { tracesOf } from './audit.ts';
import type { Inputs } from './inputs.ts';

function onWire(term: TermRecord, successor: TermRecord | undefined): TermOnWire {
  const { token, leader, address, from, reason, actor, leaderlessMs } = term;
  const endDerived = term.to === null && successor !== undefined;
  return {
    fencingToken: token.toString(),
    leader,
    address,
    from,
    to: endDerived ? successor.from : term.to,
    // Whoever is asked to leave says so; nobody was left to say anything here, and the successor judged.
    cause: endDerived ? (term.cause ?? successor.endBefore ?? 'lease_expired') : term.cause,
    reason,
    actor,
    leaderlessMs,
    endDerived,
  };
}

/**
 * An answer of etcd is given again for so long, counted from when it was asked for: anybody may ask on the public listener,
 * and a flood of questions costs etcd one read a second for each election.
 */
const sharedForMs = 1000;

interface Read<Value> {
  readonly askedAt: Millis;
  /** Who led then. The history grows where that changes, and an answer from before is not given again. */
  readonly leader: FencingToken | null;
  readonly value: Promise<Value>;
  pending: boolean;
}

/** `read` for many: who asks while an answer is on its way gets that one, and who asks a moment later as well. */
export function sharedRead<Value>(
  read: (election: ElectionName) => Promise<Value>,
  { elections, clock }: Pick<Inputs, 'elections' | 'clock'>,
): (election: ElectionName) => Promise<Value> {
  const reads = new Map<ElectionName, Read<Value>>();
  return (election) => {
    const leader = elections.report(election).leader?.token ?? null;
    const last = reads.get(election);
    const isNew =
      last?.leader === leader && (last.pending || clock.now() - last.askedAt < sharedForMs);
    if (last !== undefined && isNew) return last.value;
    const next: Read<Value> = {
      askedAt: clock.now(),
      leader,
      value: read(election),
      pending: true,
    };
    reads.set(election, next);
    // A failure is shared like an answer: etcd is not asked more often when it is unwell.
    const settled = (): void => void (next.pending = false);
    next.value.then(settled, settled);
    return next.value;
  };
}

/** Rejects with a class of errors.ts where etcd cannot say. */
export async function historyAnswer(
  election: ElectionName,
  { history, verbs }: Inputs,
): Promise<HistoryAnswer> {
  const [terms, entries] = await Promise.all([history(election), verbs(election)]);
  return {
    election,
    terms: terms.map((term, index) => onWire(term, terms[index - 1])),
    verbs: tracesOf(entries),
  };
}
