// The operator's verbs that one instance carries out by itself: step-down, pause and resume. Each answers when it is
// done, or after a bound, with a sentence that a person understands.
import type { z } from 'zod';
import type { PauseAnswer, VerbAnswer } from '../contract.ts';
import type { FencingToken, Millis } from '../core/model.ts';
import type { Report } from '../core/report.ts';
import { leaderOnWire, standsBackUntil } from './answers.ts';
import type { Done } from './audit.ts';
import type { pauseBody, resumeBody, stepDownBody } from './bodies.ts';
import type { AskedLocally } from './exchange.ts';
import { expectSomebodyElse } from './standing.ts';
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
export const actorOf = ({ id }: Report, by: string | null = null): string =>
  `${by ?? 'operator'} via ${id}`;

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

/** Ends the term of this instance; one that has none is kept from leading, where it is told for how long. */
export async function stepDown(
  asked: AskedLocally,
  { reason = null, by = null, notFor: notForMs = 0, force = false }: z.output<typeof stepDownBody>,
): Promise<Done> {
  const { inputs } = asked;
  const { elections } = inputs;
  const { election } = asked.report;
  const before = elections.report(election);
  if (before.token === null && notForMs === 0) throw notLeader(before, inputs);
  if (!force) await expectSomebodyElse(asked);
  const { token } = elections.report(election);
  const actor = actorOf(before, by);
  elections.stepDown(election, { cause: 'resigned', reason, actor, notForMs });
  return token === null ? benched(asked) : steppingDown(asked, token);
}

/** Waits until our term is over and it is known what came of it. */
async function steppingDown(asked: AskedLocally, token: FencingToken): Promise<Done> {
  const { inputs, local } = asked;
  const { elections } = inputs;
  const { election, id } = asked.report;
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
  const body: VerbAnswer = {
    election,
    done: outcome !== null,
    detail:
      outcome === null
        ? `${id} is still stepping down; its status tells how far it is.`
        : steppedDown(id, outcome),
    leader: leaderOrNull(outcome?.report ?? elections.report(election), inputs),
  };
  return { status: outcome === null ? 202 : 200, body };
}

/** Waits until our key is out of the queue: whoever stands behind it would wait for it. */
async function benched(asked: AskedLocally): Promise<Done> {
  const { inputs } = asked;
  const { election, id } = asked.report;
  const report = (): Report => inputs.elections.report(election);
  const isOut = (): true | null => !report().candidates.some((one) => one.id === id) || null;
  const done = (await waitFor(asked, isOut, showsWithinMs)) !== null;
  const after = report();
  const until = standsBackUntil(after, inputs) ?? 'just now';
  const who = after.leader === null ? 'nobody is known to lead' : `${after.leader.id} leads`;
  const leaving = done ? '' : ', and is still leaving the queue';
  const detail = `${id} stands back until ${until}${leaving}; ${who}.`;
  const body = { election, done, detail, leader: leaderOrNull(after, inputs) };
  return { status: done ? 200 : 202, body, as: 'bench' };
}

export async function pause(
  asked: AskedLocally,
  { reason = null, by = null, for: forMs = standardPauseMs }: z.output<typeof pauseBody>,
): Promise<Done> {
  const { inputs, local } = asked;
  const { election, id } = asked.report;
  const wholeMs = Math.ceil(forMs / 1000) * 1000;
  const ends = new Date(inputs.wallNow() + wholeMs).toISOString();
  const who = by === null ? id : actorOf(asked.report, by);
  const control = { paused: true, reason, by: who, until: ends } as const;
  await local.coordinator.pause(election, control, wholeMs);
  const shown = (): Report | null => {
    const report = inputs.elections.report(election);
    return report.control?.until === ends ? report : null;
  };
  const report = await waitFor(asked, shown, showsWithinMs);
  const detail = `Nobody campaigns until ${ends}, and whoever leads goes on; resume ends it sooner.`;
  return pauseReply(report ?? inputs.elections.report(election), inputs, detail, ends);
}

export async function resume(
  asked: AskedLocally,
  _body: z.output<typeof resumeBody>,
): Promise<Done> {
  const { inputs, local } = asked;
  const { election } = asked.report;
  await local.coordinator.resume(election);
  const shown = (): Report | null => {
    const report = inputs.elections.report(election);
    return report.control === null ? report : null;
  };
  const report = await waitFor(asked, shown, showsWithinMs);
  const detail = 'The election is not paused: everybody who is able to campaigns.';
  return pauseReply(report ?? inputs.elections.report(election), inputs, detail, null);
}

function pauseReply(report: Report, inputs: Inputs, detail: string, ends: string | null): Done {
  const body: PauseAnswer = {
    election: report.election,
    done: true,
    detail,
    leader: leaderOrNull(report, inputs),
    paused: ends !== null,
    until: ends,
  };
  return { status: 200, body };
}
