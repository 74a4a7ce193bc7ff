// The one table of paths: what each answers, and whether it speaks of one election. How a path is reached, and
// what every answer has in common, is in application.ts.
import type { LeaderAnswer } from '../contract.ts';
import type { ElectionName } from '../core/model.ts';
import type { Report, Role } from '../core/report.ts';
import type { Elections } from '../ports.ts';
import { electionsAnswer, leaderAnswer, statusAnswer } from './answers.ts';
import { healthAnswer, livenessAnswer, readinessAnswer } from './health.ts';
import type { Inputs } from './inputs.ts';
import { membersAnswer } from './members.ts';
import { page, pageHeaders } from './page.ts';
import { Refusal } from './problems.ts';

export interface Reply {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What a handler may know of the request. */
export interface Asked {
  readonly inputs: Inputs;
  /** True for a client that would rather have HTML than JSON, which only browsers say. */
  prefersHtml(): boolean;
}

/** A handler throws a Refusal to answer with a problem. */
export type Handler<Question> = (asked: Question) => Reply | Promise<Reply>;
/** The methods that any path knows; GET serves HEAD and OPTIONS as well. */
export type Method = 'GET';
export type Handlers<Question> = Readonly<Partial<Record<Method, Handler<Question>>>>;

interface Place {
  /** The path, and others that mean the same. */
  readonly paths: readonly `/${string}`[];
}

/** Reached as `/elections/NAME/path`, and as `/path` where there is just one election. */
export interface ElectionRoute extends Place {
  readonly scope: 'election';
  readonly handlers: Handlers<Asked & { readonly report: Report }>;
}

/** Speaks of this instance as a whole. `perElection`: it answers just the same under `/elections/NAME`. */
export interface InstanceRoute extends Place {
  readonly scope: 'instance';
  readonly perElection: boolean;
  readonly handlers: Handlers<Asked>;
}

export type Route = ElectionRoute | InstanceRoute;

/** So many names stand in the detail of a problem; its member `elections` has them all. */
const namedAtMost = 10;

export function json(status: number, body: unknown): Reply {
  return { status, contentType: 'application/json; charset=utf-8', body: JSON.stringify(body) };
}

const okIf = (ok: boolean, body: unknown): Reply => json(ok ? 200 : 503, body);

/** The one election there is; else the path must say which. */
export function soleElection({ names }: Elections): ElectionName {
  const [first] = names;
  if (first !== undefined && names.length === 1) return first;
  const some = names.slice(0, namedAtMost).join(', ');
  const rest = names.length > namedAtMost ? ` and ${names.length - namedAtMost} more` : '';
  const detail = `there are ${names.length} elections, ask under /elections/NAME: ${some}${rest}`;
  throw new Refusal(404, 'election_required', detail, { extra: { elections: names } });
}

/** Not the leader, knows who is, and is well. An observer counts: it can serve what a follower serves. */
function canFollow({ role, leader }: LeaderAnswer, inputs: Inputs): boolean {
  const knows = (role === 'follower' || role === 'observer') && leader !== null;
  return knows && healthAnswer(inputs).status === 'ok';
}

function root(asked: Asked): Reply {
  const { inputs } = asked;
  const { elections, version } = inputs;
  if (asked.prefersHtml()) {
    const answers = electionsAnswer(inputs).elections;
    const body = page(answers[0]?.id ?? '', answers, version);
    const headers = { ...pageHeaders, Vary: 'Accept' };
    return { status: 200, contentType: 'text/html; charset=utf-8', body, headers };
  }
  const { leader } = elections.report(soleElection(elections));
  return { ...json(200, { name: leader?.id ?? '' }), headers: { Vary: 'Accept' } };
}

async function metrics({ inputs }: Asked): Promise<Reply> {
  return { status: 200, ...(await inputs.metrics()) };
}

function health(inputs: Inputs): Reply {
  const answer = healthAnswer(inputs);
  return okIf(answer.status === 'ok', answer);
}

function readiness(inputs: Inputs): Reply {
  const answer = readinessAnswer(inputs);
  return okIf(answer.status === 'ok', answer);
}

/** In the order in which paths are tried: what is asked most often first. */
export const routes: readonly Route[] = [
  {
    paths: ['/leader', '/primary'],
    scope: 'election',
    handlers: {
      GET: ({ report, inputs }) => okIf(report.role === 'leader', leaderAnswer(report, inputs)),
    },
  },
  {
    paths: ['/follower', '/replica'],
    scope: 'election',
    handlers: {
      GET: ({ report, inputs }) => {
        const answer = leaderAnswer(report, inputs);
        return okIf(canFollow(answer, inputs), answer);
      },
    },
  },
  {
    paths: ['/health'],
    scope: 'instance',
    perElection: true,
    handlers: { GET: ({ inputs }) => health(inputs) },
  },
  {
    paths: ['/livez'],
    scope: 'instance',
    perElection: false,
    handlers: { GET: () => json(200, livenessAnswer()) },
  },
  {
    paths: ['/readyz'],
    scope: 'instance',
    perElection: false,
    handlers: { GET: ({ inputs }) => readiness(inputs) },
  },
  {
    paths: ['/status'],
    scope: 'election',
    handlers: { GET: ({ report, inputs }) => json(200, statusAnswer(report, inputs)) },
  },
  {
    paths: ['/members'],
    scope: 'election',
    handlers: { GET: ({ report, inputs }) => json(200, membersAnswer(report, inputs.elections)) },
  },
  {
    paths: ['/elections'],
    scope: 'instance',
    perElection: false,
    handlers: { GET: ({ inputs }) => json(200, electionsAnswer(inputs)) },
  },
  { paths: ['/metrics'], scope: 'instance', perElection: false, handlers: { GET: metrics } },
  { paths: ['/'], scope: 'instance', perElection: false, handlers: { GET: root } },
];

/**
 * The role that `X-Electord-Role` gives where an answer is about no election in particular: the role if there is
 * one election; with several `leader` if this instance leads any, else `follower`, `observer` or `unknown`, the
 * first of these that it is in any of them.
 */
export function overallRole(elections: Elections): Role {
  const found = new Set<Role>();
  for (const name of elections.names) {
    const { role } = elections.report(name);
    if (role === 'leader') return role;
    found.add(role);
  }
  return found.has('follower') ? 'follower' : found.has('observer') ? 'observer' : 'unknown';
}
