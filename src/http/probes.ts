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

/**
 * Who is not the leader, knows who is, or who is just leaving, and is well. An observer counts: it can serve what a follower
 * serves.
 */
function follows({ role, leader }: LeaderAnswer, { leaving }: Report, inputs: Inputs): boolean {
  const knows = leader !== null || leaving !== null;
  const isOther = role === 'follower' || role === 'observer';
  return isOther && knows && healthAnswer(inputs).status === 'ok';
}

export function follower(report: Report, inputs: Inputs): Reply {
  const answer = leaderAnswer(report, inputs);
  return okIf(follows(answer, report, inputs), answer, answer.role);
}

/** 200 for whom `/leader` or `/follower` is: who may be read from. */
export function readable(report: Report, inputs: Inputs): Reply {
  const answer = leaderAnswer(report, inputs);
  return okIf(answer.isLeader || follows(answer, report, inputs), answer, answer.role);
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

// Our names, and those of Patroni's REST API, which load balancers are often already set up with.
export const leaderPaths = ['/leader', '/primary', '/master', '/read-write'] as const;
export const followerPaths = ['/follower', '/replica'] as const;
export const readablePaths = ['/read-only'] as const;
export const livenessPaths = ['/livez', '/liveness'] as const;
export const readinessPaths = ['/readyz', '/readiness'] as const;

type OfElection = (report: Report, inputs: Inputs) => Reply;

const ofElection = new Map<string, OfElection>([
  ...leaderPaths.map((path) => [path, leader] as const),
  ...followerPaths.map((path) => [path, follower] as const),
  ...readablePaths.map((path) => [path, readable] as const),
]);
const ofInstance = new Map<string, (inputs: Inputs) => Reply>([
  ['/health', (inputs) => health(inputs)],
  ...livenessPaths.map((path) => [path, liveness] as const),
  ...readinessPaths.map((path) => [path, readiness] as const),
]);

const under = '/elections/';

/** Null for what is no probe in the one spelling that is answered here. */
function replyTo(url: string, known: ReadonlySet<string>, inputs: Inputs): Reply | null {
  const { elections } = inputs;
  const reply = ofInstance.get(url);
  if (reply !== undefined) return reply(inputs);
  if (!url.startsWith(under)) {
    const [sole] = elections.names;
    const probe = ofElection.get(url);
    // With several elections the path must say which.
    if (probe === undefined || sole === undefined || elections.names.length > 1) return null;
    return probe(elections.report(sole), inputs);
  }
  const end = url.indexOf('/', under.length);
  const name = url.slice(under.length, end);
  const path = url.slice(end);
  const probe = ofElection.get(path);
  if (end < 0 || (probe === undefined && path !== '/health') || !known.has(name)) return null;
  const report = elections.report(name as ElectionName);
  return probe === undefined ? health(inputs, report.role) : probe(report, inputs);
}

/**
 * Answers a request for a probe as it is asked for by nearly everybody; false where it is something else, or where it
 * cannot be answered: nothing has been sent then.
 */
export function createProbes(
  inputs: Inputs,
): (request: IncomingMessage, response: ServerResponse) => boolean {
  const known: ReadonlySet<string> = new Set(inputs.elections.names);
  return ({ method, url = '' }, response) => {
    if (method !== 'GET' && method !== 'HEAD' && method !== 'OPTIONS') return false;
    let reply: Reply | null;
    try {
      reply = replyTo(url, known, inputs);
    } catch {
      return false;
    }
    if (reply === null) return false;
    sendShort(response, reply, reply.role ?? roleOrUnknown(inputs), method);
    return true;
  };
}
