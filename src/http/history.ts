// `GET /history`: the terms remembered, newest first. A leader that vanished could not record its end: it follows from
// the beginning of the next term, and is marked as such.
import type { HistoryAnswer, TermOnWire } from '../contract.ts';
import type { ElectionName, TermRecord } from '../core/model.ts';
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
    // Whoever is asked to leave says so; nobody was left to say anything here.
    cause: endDerived ? (term.cause ?? 'lease_expired') : term.cause,
    reason,
    actor,
    leaderlessMs,
    endDerived,
  };
}

/** Linearizable. Rejects with a class of errors.ts where etcd cannot say. */
export async function historyAnswer(
  election: ElectionName,
  { history }: Inputs,
): Promise<HistoryAnswer> {
  const terms = (await history(election)).toSorted((a, b) => (a.token > b.token ? -1 : 1));
  return { election, terms: terms.map((term, index) => onWire(term, terms[index - 1])) };
}
