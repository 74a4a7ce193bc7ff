// `POST /switchover`: leadership goes to a named member, whoever is asked. Judged on a fresh read of etcd; carried out by
// the leader, which only does it where the member stands in the queue and nobody foreign stands before it. Forced, it first
// takes away what an operator put in the way: a pause, and that the member asked stands back.
import type { z } from 'zod';
import type { SwitchoverAnswer } from '../contract.ts';
import { fencingToken, memberId, type Candidate, type Snapshot } from '../core/model.ts';
import type { LeaderReport, Report } from '../core/report.ts';
import type { Done } from './audit.ts';
import type { switchoverBody } from './bodies.ts';
import type { AskedLocally } from './exchange.ts';
import type { Inputs } from './inputs.ts';
import { quoted, Refusal, type ProblemCode } from './problems.ts';
import { hindrances, sentence, type Hindrance } from './standing.ts';
import { actorOf, leaderOrNull, steppingDownWithinMs } from './verbs.ts';
import { comesWithinMs, waitFor } from './waiting.ts';

const cannot = (code: ProblemCode, detail: string): Refusal => new Refusal(409, code, detail);

const whyNot = (
  { members, control }: Snapshot,
  { inputs, report }: AskedLocally,
): readonly Hindrance[] =>
  hindrances(members, control, inputs.elections.report(report.election), inputs);

/** Why somebody who does not stand in the queue cannot take over. */
function notStanding(snapshot: Snapshot, asked: AskedLocally, to: string): Refusal {
  const { members, candidates } = snapshot;
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
  return cannot('not_a_candidate', sentence(whyNot({ ...snapshot, members: [member] }, asked)));
}

/** Why nobody leads, of each member. */
function nobodyLeads(snapshot: Snapshot, asked: AskedLocally): Refusal {
  const found = whyNot(snapshot, asked);
  const detail = `nobody leads, so nobody can hand over: ${sentence(found)}`;
  return new Refusal(409, 'no_leader', detail, { extra: { members: found } });
}

/** The leader that can hand over to `to`, or is `to` itself; throws a Refusal that says why nobody can. */
function handsOver(snapshot: Snapshot, asked: AskedLocally, to: string): Candidate {
  const { control, members } = snapshot;
  const queue = snapshot.candidates;
  const [leader] = queue;
  if (leader === undefined) throw nobodyLeads(snapshot, asked);
  if (leader.id === to) return leader;
  if (control !== null) {
    const ends = control.until === null ? '' : ` until ${control.until}`;
    throw cannot('paused', `the election is paused${ends}: resume it first, or force it`);
  }
  const place = queue.findIndex(({ id }) => id === to);
  if (place < 0) throw notStanding(snapshot, asked, to);
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
/** What may pass once we have taken away what an operator put in the way. */
const yields: ReadonlySet<string> = new Set<ProblemCode>([
  'paused',
  'no_leader',
  'not_a_candidate',
]);

async function look({ local, report }: AskedLocally): Promise<Snapshot> {
  const [answer] = await Promise.all(local.coordinator.observe([report.election]));
  if (answer === undefined) throw new Error('every election asked for is answered');
  return answer.value;
}

/** As `handsOver`; where the member may be on its way into the queue, it is waited for and looked at anew. */
async function whoHandsOver(asked: AskedLocally, to: string, force: boolean): Promise<Candidate> {
  const { elections } = asked.inputs;
  const { election } = asked.report;
  const snapshot = await look(asked);
  const isAble = snapshot.members.some(
    ({ id, healthy, priority }) => id === to && healthy && priority >= 0,
  );
  try {
    return handsOver(snapshot, asked, to);
  } catch (failure) {
    const code = failure instanceof Refusal ? failure.problem.code : '';
    if (force && isAble && yields.has(code)) await clearTheWay(asked, to);
    else if (!mayPass.has(code)) throw failure;
  }
  const stands = (): true | null =>
    elections.report(election).candidates.some(({ id }) => id === to) || null;
  await waitFor(asked, stands, comesWithinMs);
  return handsOver(await look(asked), asked, to);
}

/** Ends a pause, and lets this very member stand again. */
async function clearTheWay({ local, inputs, report }: AskedLocally, to: string): Promise<void> {
  const { election, id } = report;
  await local.coordinator.resume(election);
  if (id === to) inputs.elections.standAgain(election);
}

/** A report that names a leader of `from` or a later term. */
function termSince(report: Report, from: bigint): (Report & { leader: LeaderReport }) | null {
  const { leader } = report;
  return leader !== null && leader.token >= from ? { ...report, leader } : null;
}

function notDone(report: Report, inputs: Inputs, to: string): Refusal {
  const { leader } = report;
  const who = leader === null ? 'nobody is known to lead' : `${leader.id} leads`;
  const extra = { leader: leaderOrNull(report, inputs) };
  return new Refusal(504, 'not_switched_over', `${to} does not lead; ${who}`, { extra });
}

export async function switchover(
  asked: AskedLocally,
  { to, reason = null, by = null, force = false }: z.output<typeof switchoverBody>,
): Promise<Done> {
  const { inputs, local } = asked;
  const { elections } = inputs;
  const { election } = asked.report;
  const leader = await whoHandsOver(asked, to, force);
  const token = fencingToken(leader.createRevision);
  const isThere = leader.id === to;
  const limitMs = steppingDownWithinMs(local);
  if (!isThere) {
    const request = { token, to: memberId(to), reason, actor: actorOf(asked.report, by) };
    // What is not done by the time that we give up on it should not be done later.
    const lifeMs = Math.ceil(limitMs / 1000) * 1000;
    await local.coordinator.requestSwitchover(election, request, lifeMs);
  }
  // Whoever is first may still be waiting for its turn.
  const from = isThere ? token : token + 1n;
  const ask = (): ReturnType<typeof termSince> => termSince(elections.report(election), from);
  const after = await waitFor(asked, ask, limitMs);
  if (after?.leader.id !== to) throw notDone(elections.report(election), inputs, to);
  const term = after.leader.token.toString();
  const body: SwitchoverAnswer = {
    election,
    done: true,
    detail: isThere
      ? `${to} leads (term ${term}); nothing was handed over.`
      : `${leader.id} handed over to ${to}, which leads now (term ${term}).`,
    leader: leaderOrNull(after, inputs),
    fencingToken: term,
  };
  return { status: 200, body };
}
