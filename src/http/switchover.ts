// `POST /switchover`: leadership goes to a named member, whoever is asked. Judged on a fresh read of etcd; carried out by
// the leader, which only does it where the member stands in the queue and nobody foreign stands before it.
import type { SwitchoverAnswer } from '../contract.ts';
import {
  fencingToken,
  memberId,
  type Candidate,
  type ElectionName,
  type FencingToken,
  type Snapshot,
} from '../core/model.ts';
import type { LeaderReport, Report } from '../core/report.ts';
import { memberName, readFields } from './bodies.ts';
import { json, type AskedLocally, type Reply } from './exchange.ts';
import type { Inputs, LocalInputs } from './inputs.ts';
import { quoted, Refusal, type ProblemCode } from './problems.ts';
import { actorOf, leaderOrNull, reasonField, steppingDownWithinMs } from './verbs.ts';
import { comesWithinMs, until } from './waiting.ts';

const cannot = (code: ProblemCode, detail: string): Refusal => new Refusal(409, code, detail);

async function snapshotOf(election: ElectionName, local: LocalInputs): Promise<Snapshot> {
  const [snapshot] = (await local.coordinator.observe([election])).value;
  if (snapshot === undefined) throw new Error('every election asked for is answered');
  return snapshot;
}

/** Whether it is absent from a queue that is led, and nothing that is known keeps it from standing there in a moment. */
function mayBeOnTheWay({ candidates, control, members }: Snapshot, to: string): boolean {
  if (control !== null || candidates.length === 0) return false;
  if (candidates.some(({ id }) => id === to)) return false;
  const member = members.find(({ id }) => id === to);
  return member === undefined || (member.healthy && member.priority >= 0);
}

/** Why somebody who does not stand in the queue cannot take over. */
function notStanding({ members, candidates }: Snapshot, to: string): Refusal {
  const member = members.find(({ id }) => id === to);
  if (member === undefined) {
    const known = [...new Set([...members, ...candidates].map(({ id }) => id))].slice(0, 10);
    const names = known.length === 0 ? 'nobody is' : `present are ${known.join(', ')}`;
    return cannot('unknown_member', `${quoted(to)} is not present; ${names}`);
  }
  if (member.priority < 0) {
    return cannot('never_leads', `${to} never leads: its priority is ${member.priority}`);
  }
  if (!member.healthy) return cannot('app_unhealthy', `the app of ${to} is not healthy`);
  return cannot('not_a_candidate', `${to} is present but does not stand for election now`);
}

/** The leader that can hand over to `to`; throws a Refusal that says why nobody can. */
function handsOver(snapshot: Snapshot, to: string): Candidate {
  const { control, members } = snapshot;
  const queue = snapshot.candidates.toSorted((a, b) =>
    a.createRevision < b.createRevision ? -1 : 1,
  );
  const [leader] = queue;
  if (control !== null) {
    const ends = control.until === null ? '' : ` until ${control.until}`;
    throw cannot('paused', `the election is paused${ends}: resume it first`);
  }
  if (leader === undefined) throw cannot('no_leader', 'nobody leads, so nobody can hand over');
  if (leader.id === to) throw cannot('already_leader', `${to} leads already`);
  const place = queue.findIndex(({ id }) => id === to);
  if (place < 0) throw notStanding(snapshot, to);
  if (queue.filter(({ id }) => id === to).length > 1) {
    const detail = `${to} was started again and still has a key of before; ask again in a moment`;
    throw cannot('not_settled', detail);
  }
  if (members.some(({ id, healthy }) => id === to && !healthy)) {
    throw cannot('app_unhealthy', `the app of ${to} is not healthy`);
  }
  const foreign = queue.slice(0, place + 1).find(({ native }) => !native);
  if (foreign === undefined) return leader;
  const where =
    foreign === leader ? 'leads' : foreign.id === to ? 'was named' : `stands before ${to}`;
  const detail = `${quoted(foreign.id)} ${where} and is a candidate of another program`;
  throw cannot('foreign_candidate', detail);
}

/** A report that names a leader of a later term than `token`. */
function nextTerm(report: Report, token: FencingToken): (Report & { leader: LeaderReport }) | null {
  const { leader } = report;
  return leader !== null && leader.token > token ? { ...report, leader } : null;
}

function notDone(report: Report, inputs: Inputs, to: string): Refusal {
  const { leader } = report;
  const who = leader === null ? 'nobody is known to lead' : `${leader.id} leads`;
  const extra = { leader: leaderOrNull(report, inputs) };
  return new Refusal(504, 'not_switched_over', `${to} does not lead; ${who}`, { extra });
}

export async function switchover(asked: AskedLocally): Promise<Reply> {
  const { inputs, local } = asked;
  const { elections } = inputs;
  const { election } = asked.report;
  const { to, reason } = await readFields(asked, { to: memberName, reason: reasonField });
  let snapshot = await snapshotOf(election, local);
  if (mayBeOnTheWay(snapshot, to)) {
    const stands = (): true | null =>
      elections.report(election).candidates.some(({ id }) => id === to) || null;
    await until(elections, stands, comesWithinMs);
    snapshot = await snapshotOf(election, local);
  }
  const leader = handsOver(snapshot, to);
  const token = fencingToken(leader.createRevision);
  const limitMs = steppingDownWithinMs(local);
  const own = elections.report(election);
  const actor = actorOf(own);
  const request = { to: memberId(to), reason, actor };
  if (own.token === token) {
    elections.stepDown(election, { cause: 'switchover', notForMs: 0, ...request });
  } else {
    // What is not done by the time that we give up on it should not be done later.
    const lifeMs = Math.ceil(limitMs / 1000) * 1000;
    await local.coordinator.requestSwitchover(election, { token, ...request }, lifeMs);
  }
  const ask = (): ReturnType<typeof nextTerm> => nextTerm(elections.report(election), token);
  const after = await until(elections, ask, limitMs);
  if (after?.leader.id !== to) throw notDone(elections.report(election), inputs, to);
  const term = after.leader.token.toString();
  const body: SwitchoverAnswer = {
    election,
    done: true,
    detail: `${leader.id} handed over to ${to}, which leads now (term ${term}).`,
    leader: leaderOrNull(after, inputs),
    fencingToken: term,
  };
  return json(200, body);
}
