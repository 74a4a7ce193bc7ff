// What is asked many times a second, for as long as a sidecar runs: who leads, and whether it is well. Answered here without
// Express, which is not even loaded for them; application.ts gives the same answers by the same functions to whoever asks
// with a query or in another spelling.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { LeaderAnswer } from '../contract.ts';
import type { ElectionName } from '../core/model.ts';
import type { Report, Role } from '../core/report.ts';
import { leaderAnswer } from './answers.ts';
import { jsonType, type Reply } from './exchange.ts';
import { healthAnswer, livenessAnswer, readinessAnswer } from './health.ts';
import type { Inputs } from './inputs.ts';
import { roleOrUnknown, sendShort } from './sending.ts';

/** Status, header and body say the same: `role` is that of the body, null where it speaks of no election. */
const okIf = (ok: boolean, body: unknown, role: Role | null): Reply => ({
  status: ok ? 200 : 503,
  contentType: jsonType,
  body: JSON.stringify(body),
  role,
});

export const okIfLeader = (body: LeaderAnswer): Reply => okIf(body.isLeader, body, body.role);

export const leader = (report: Report, inputs: Inputs): Reply =>
  okIfLeader(leaderAnswer(report, inputs));

/** 200 for who is not the leader, knows who is, and is well. An observer counts: it can serve what a follower serves. */
export function follower(report: Report, inputs: Inputs): Reply {
  const answer = leaderAnswer(report, inputs);
  const { role } = answer;
  const knows = (role === 'follower' || role === 'observer') && answer.leader !== null;
  return okIf(knows && healthAnswer(inputs).status === 'ok', answer, role);
}

export function health(inputs: Inputs, role: Role | null = null): Reply {
  const answer = healthAnswer(inputs);
  return okIf(answer.status === 'ok', answer, role);
}

export function readiness(inputs: Inputs): Reply {
  const answer = readinessAnswer(inputs);
  return okIf(answer.status === 'ok', answer, null);
}

export const liveness = (): Reply => okIf(true, livenessAnswer(), null);

/** The paths of one election, and those of the instance. */
export const leaderPaths = ['/leader', '/primary'] as const;
export const followerPaths = ['/follower', '/replica'] as const;

type Probe = () => Reply;

/** Every path in the one spelling that is answered here. */
function probesOf(inputs: Inputs): ReadonlyMap<string, Probe> {
  const { elections } = inputs;
  const probes = new Map<string, Probe>();
  const add = (name: ElectionName, under: string): void => {
    for (const path of leaderPaths) {
      probes.set(`${under}${path}`, () => leader(elections.report(name), inputs));
    }
    for (const path of followerPaths) {
      probes.set(`${under}${path}`, () => follower(elections.report(name), inputs));
    }
  };
  for (const name of elections.names) {
    const under = `/elections/${name}`;
    add(name, under);
    probes.set(`${under}/health`, () => health(inputs, elections.report(name).role));
  }
  const [sole] = elections.names;
  if (sole !== undefined && elections.names.length === 1) add(sole, '');
  probes.set('/health', () => health(inputs));
  probes.set('/livez', liveness);
  probes.set('/readyz', () => readiness(inputs));
  return probes;
}

/**
 * Answers a request for a probe as it is asked for by nearly everybody; false where it is something else, or where it
 * cannot be answered: nothing has been sent then.
 */
export function createProbes(
  inputs: Inputs,
): (request: IncomingMessage, response: ServerResponse) => boolean {
  const probes = probesOf(inputs);
  return ({ method, url }, response) => {
    if (method !== 'GET' && method !== 'HEAD') return false;
    const probe = probes.get(url ?? '');
    if (probe === undefined) return false;
    let reply: Reply;
    try {
      reply = probe();
    } catch {
      return false;
    }
    sendShort(response, reply, reply.role ?? roleOrUnknown(inputs), method === 'GET');
    return true;
  };
}
