// `POST /switchover`: leadership goes to a named member, whoever is asked. Judged on a fresh read of etcd; carried out by
// the leader, which only does it where the member stands in the queue and nobody foreign stands before it.
import type { SwitchoverAnswer } from '../contract.ts';
import {
  fencingToken,
  memberId,
  type Candidate,
  type FencingToken,
  type Snapshot,
} from '../core/model.ts';
import type { LeaderReport, Report } from '../core/report.ts';
import { readVerbBody, switchoverBody } from './bodies.ts';
import { json, type AskedLocally, type Reply } from './exchange.ts';
import type { Inputs } from './inputs.ts';
import { quoted, Refusal, type ProblemCode } from './problems.ts';
import { actorOf, leaderOrNull, steppingDownWithinMs } from './verbs.ts';
import { comesWithinMs, waitFor } from './waiting.ts';

const cannot = (code: ProblemCode, detail: string): Refusal => new Refusal(409, code, detail);

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
  const queue = snapshot.candidates;
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

/** What is said of a member that was only just started, until it stands in the queue. */
const mayPass: ReadonlySet<string> = new Set<ProblemCode>(['unknown_member', 'not_a_candidate']);

/** As `handsOver` of a fresh read; where the member may be on its way into the queue, it is waited for and read anew. */
async function whoHandsOver(asked: AskedLocally, to: string): Promise<Candidate> {
  const { inputs, local } = asked;
  const { election } = asked.report;
  const judge = async (): Promise<Candidate> => {
    const [answer] = await Promise.all(local.coordinator.observe([election]));
    if (answer === undefined) throw new Error('every election asked for is answered');
    return handsOver(answer.value, to);
  };
  try {
    return await judge();
  } catch (failure) {
    if (!(failure instanceof Refusal && mayPass.has(failure.problem.code))) throw failure;
  }
  const { elections } = inputs;
  const stands = (): true | null =>
    elections.report(election).candidates.some(({ id }) => id === to) || null;
  await waitFor(asked, stands, comesWithinMs);
  return judge();
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
  const { to, reason = null } = await readVerbBody(asked, switchoverBody);
  const leader = await whoHandsOver(asked, to);
  const token = fencingToken(leader.createRevision);
  const limitMs = steppingDownWithinMs(local);
  const request = { token, to: memberId(to), reason, actor: actorOf(asked.report) };
  // What is not done by the time that we give up on it should not be done later.
  const lifeMs = Math.ceil(limitMs / 1000) * 1000;
  await local.coordinator.requestSwitchover(election, request, lifeMs);
  const ask = (): ReturnType<typeof nextTerm> => nextTerm(elections.report(election), token);
  const after = await waitFor(asked, ask, limitMs);
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
