// The operator's verbs that one instance carries out by itself: step-down, pause and resume. Each answers when it is
// done, or after a bound, with a sentence that a person understands.
import type { PauseAnswer, VerbAnswer } from '../contract.ts';
import { memberId, type FencingToken, type Millis } from '../core/model.ts';
import type { Report } from '../core/report.ts';
import { leaderOnWire } from './answers.ts';
import { pauseBody, readVerbBody, resumeBody, stepDownBody } from './bodies.ts';
import { json, type AskedLocally, type Reply } from './exchange.ts';
import type { Inputs, LocalInputs } from './inputs.ts';
import { Refusal } from './problems.ts';
import { comesWithinMs, waitFor } from './waiting.ts';

/** Of a pause of which nobody says how long it is to be. */
const standardPauseMs = 600_000;

/** Beyond the grace of the step-down itself: releasing the key, and the successor's first word. */
const successionMs = 2000;
export const steppingDownWithinMs = ({ graceMs, maxHoldMs }: LocalInputs): number =>
  graceMs + maxHoldMs + successionMs;

/** How long to wait for our own view to show what etcd has accepted. */
const showsWithinMs = 1000;

/** Who asked, as far as is known. */
export const actorOf = ({ id }: Report): string => `operator via ${id}`;

export const leaderOrNull = (report: Report, inputs: Inputs): VerbAnswer['leader'] =>
  report.leader === null ? null : leaderOnWire(report.leader, inputs);

export function notLeader(report: Report, inputs: Inputs): Refusal {
  const { leader } = report;
  const who = leader === null ? 'nobody is known to lead' : `${leader.id} leads`;
  const extra = {
    leader: leader === null ? null : { ...leaderOnWire(leader, inputs), url: leader.url },
  };
  return new Refusal(409, 'not_leader', `${report.id} does not lead; ${who}`, { extra });
}

/** `leads`: another term has begun. `nobody`: ours is over and nobody stands, not even we ourselves. */
type Outcome = { readonly kind: 'leads' | 'nobody'; readonly report: Report };

function outcomeOf(report: Report, token: FencingToken): Outcome | null {
  if (report.leader !== null && report.leader.token !== token) return { kind: 'leads', report };
  const over = report.token === null && !report.steppingDown && report.role !== 'unknown';
  const nobody = over && report.candidates.length === 0 && report.obstacle !== null;
  return nobody ? { kind: 'nobody', report } : null;
}

function steppedDown(id: string, { kind, report }: Outcome): string {
  const { leader } = report;
  if (kind === 'nobody' || leader === null) {
    return `${id} stepped down, and nobody else can lead now.`;
  }
  const term = `term ${leader.token.toString()}`;
  return leader.id === report.id
    ? `${id} stepped down; nobody else could lead, so it leads again (${term}).`
    : `${id} stepped down; ${leader.id} leads now (${term}).`;
}

export async function stepDown(asked: AskedLocally): Promise<Reply> {
  const { inputs, local } = asked;
  const { election, id } = asked.report;
  const { reason = null, notFor: notForMs = 0 } = await readVerbBody(asked, stepDownBody);
  const { elections } = inputs;
  const before = elections.report(election);
  const { token } = before;
  if (token === null) throw notLeader(before, inputs);
  const actor = actorOf(before);
  elections.stepDown(election, { cause: 'resigned', reason, actor, notForMs });
  let nobodySince: Millis | null = null;
  const ask = (): Outcome | null => {
    const outcome = outcomeOf(elections.report(election), token);
    if (outcome?.kind !== 'nobody') {
      nobodySince = null;
      return outcome;
    }
    nobodySince ??= inputs.clock.now();
    return inputs.clock.now() - nobodySince < comesWithinMs ? null : outcome;
  };
  const outcome = await waitFor(asked, ask, steppingDownWithinMs(local));
  const report = outcome?.report ?? elections.report(election);
  const body: VerbAnswer = {
    election,
    done: outcome !== null,
    detail:
      outcome === null ? `${id} is still stepping down; ask /status.` : steppedDown(id, outcome),
    leader: leaderOrNull(report, inputs),
  };
  return json(outcome === null ? 202 : 200, body);
}

export async function pause(asked: AskedLocally): Promise<Reply> {
  const { inputs, local } = asked;
  const { election, id } = asked.report;
  const body = await readVerbBody(asked, pauseBody);
  const { reason = null, for: forMs = standardPauseMs } = body;
  const wholeMs = Math.ceil(forMs / 1000) * 1000;
  const ends = new Date(inputs.wallNow() + wholeMs).toISOString();
  const control = { paused: true, reason, by: memberId(id), until: ends } as const;
  await local.coordinator.pause(election, control, wholeMs);
  const shown = (): Report | null => {
    const report = inputs.elections.report(election);
    return report.control?.until === ends ? report : null;
  };
  const report = await waitFor(asked, shown, showsWithinMs);
  const detail = `Nobody campaigns until ${ends}, and whoever leads goes on; resume ends it sooner.`;
  return pauseReply(report ?? inputs.elections.report(election), inputs, detail, ends);
}

export async function resume(asked: AskedLocally): Promise<Reply> {
  const { inputs, local } = asked;
  const { election } = asked.report;
  await readVerbBody(asked, resumeBody);
  await local.coordinator.resume(election);
  const shown = (): Report | null => {
    const report = inputs.elections.report(election);
    return report.control === null ? report : null;
  };
  const report = await waitFor(asked, shown, showsWithinMs);
  const detail = 'The election is not paused: everybody who is able to campaigns.';
  return pauseReply(report ?? inputs.elections.report(election), inputs, detail, null);
}

function pauseReply(report: Report, inputs: Inputs, detail: string, ends: string | null): Reply {
  const body: PauseAnswer = {
    election: report.election,
    done: true,
    detail,
    leader: leaderOrNull(report, inputs),
    paused: ends !== null,
    until: ends,
  };
  return json(200, body);
}
