// The one table of the paths that both listeners serve: what each answers, and whether it speaks of one election. How a
// path is reached, and what every answer has in common, is in application.ts.
import { readDuration } from '../contract.ts';
import type { ElectionName } from '../core/model.ts';
import { electionsAnswer, leaderAnswer, statusAnswer } from './answers.ts';
import {
  json,
  soleElection,
  type Asked,
  type AskedOfElection,
  type Reply,
  type Route,
} from './exchange.ts';
import { refuseForeignPages, requireRight } from './guards.ts';
import { historyAnswer } from './history.ts';
import { membersAnswer } from './members.ts';
import { openApi } from './openapi.ts';
import { clusterAnswer, patroniAnswer } from './patroni.ts';
import { overview, page, peers, workerScript } from './page.ts';
import {
  follower,
  followerPaths,
  health,
  leader as leaderReply,
  leaderPaths,
  liveness,
  livenessPaths,
  okIfLeader,
  readable,
  readablePaths,
  readiness,
  readinessPaths,
} from './probes.ts';
import { quoted, Refusal } from './problems.ts';
import { witness } from './witness.ts';

/**
 * `/leader`; with `hold` it promises that nothing planned lets another lead for a while. A promise binds whoever plans, so
 * that it needs the token as what writes does; a short one, for proxies, does not. Where no holds are granted none is
 * spoken of.
 */
function leader(asked: AskedOfElection): Reply {
  const { report, inputs, query, method } = asked;
  const hold = query.get('hold');
  if (hold === null) return leaderReply(report, inputs);
  const { local } = asked;
  const { publicHoldMs = 0 } = inputs;
  if (local !== null) {
    refuseForeignPages(asked, local);
    requireRight(asked, local);
  } else if (publicHoldMs === 0) {
    throw new Refusal(403, 'local_only', 'only the local listener grants holds');
  }
  const wanted = readDuration(hold);
  if ('problem' in wanted) {
    throw new Refusal(400, 'invalid_parameter', `hold=${quoted(hold)} ${wanted.problem}`);
  }
  const mostMs = local === null ? publicHoldMs : local.maxHoldMs;
  if (mostMs === 0) return leaderReply(report, inputs);
  const { elections } = inputs;
  const { election } = report;
  const holdMs = Math.min(wanted.ms, mostMs);
  // HEAD and OPTIONS only ask: what they would have promised is not promised to anybody.
  const heldMs = method === 'GET' ? elections.hold(election, holdMs) : 0;
  const held = elections.report(election);
  return okIfLeader({ ...leaderAnswer(held, inputs), heldForMs: Math.floor(heldMs) });
}

/** Of which elections a client of `/events` wants to hear; null means all. */
function eventsOf(
  election: ElectionName | null,
  { query, inputs }: Asked,
): ReadonlySet<ElectionName> | null {
  if (election !== null) return new Set([election]);
  const wanted = query.getAll('election');
  if (wanted.length === 0) return null;
  // A query has room for a thousand names, and there may be thousands of elections.
  const known: ReadonlySet<string> = new Set(inputs.elections.names);
  return new Set(
    wanted.map((one) => {
      if (known.has(one)) return one as ElectionName;
      const detail = `there is no election ${quoted(one)} here; /elections lists all`;
      throw new Refusal(404, 'unknown_election', detail);
    }),
  );
}

/** The state comes first, so that a client that returns has missed nothing, whatever its `Last-Event-ID`. */
function events(asked: Asked & { readonly election: ElectionName | null }): Reply {
  const { events: streams } = asked.inputs;
  const elections = eventsOf(asked.election, asked);
  const side = asked.local === null ? 'public' : 'local';
  if (streams.isFull(side)) {
    const detail = `as many clients of the ${side} listener as it serves at once receive events`;
    const headers = { 'Retry-After': '1' };
    throw new Refusal(503, 'too_many_clients', detail, { headers });
  }
  return {
    status: 200,
    contentType: 'text/event-stream',
    body: '',
    headers: { 'X-Accel-Buffering': 'no' },
    stream: (response) => streams.open(side, response, elections),
  };
}

function root(asked: Asked): Reply | Promise<Reply> {
  const { elections } = asked.inputs;
  if (asked.prefersHtml()) return page(asked);
  const { leader } = elections.report(soleElection(elections));
  return { ...json(200, { name: leader?.id ?? '' }), headers: { Vary: 'Accept' } };
}

async function metrics({ inputs }: Asked): Promise<Reply> {
  return { status: 200, ...(await inputs.metrics()) };
}

/** In the order in which paths are tried: what is asked most often first. */
export const routes: readonly Route[] = [
  {
    paths: leaderPaths,
    scope: 'election',
    handlers: { GET: leader },
  },
  {
    paths: followerPaths,
    scope: 'election',
    handlers: { GET: ({ report, inputs }) => follower(report, inputs) },
  },
  {
    paths: readablePaths,
    scope: 'election',
    handlers: { GET: ({ report, inputs }) => readable(report, inputs) },
  },
  {
    paths: ['/health'],
    scope: 'instance',
    perElection: true,
    handlers: { GET: ({ inputs }) => health(inputs) },
  },
  {
    paths: livenessPaths,
    scope: 'instance',
    perElection: false,
    handlers: { GET: liveness },
  },
  {
    paths: readinessPaths,
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
    paths: ['/cluster'],
    scope: 'election',
    handlers: { GET: ({ report, inputs }) => json(200, clusterAnswer(report, inputs)) },
  },
  {
    paths: ['/patroni'],
    scope: 'election',
    handlers: { GET: ({ report, inputs }) => json(200, patroniAnswer(report, inputs)) },
  },
  {
    paths: ['/history'],
    scope: 'election',
    handlers: {
      GET: async ({ report, inputs }) => json(200, await historyAnswer(report.election, inputs)),
    },
  },
  { paths: ['/events'], scope: 'instance', perElection: true, handlers: { GET: events } },
  {
    paths: ['/elections'],
    scope: 'instance',
    perElection: false,
    handlers: { GET: ({ inputs }) => json(200, electionsAnswer(inputs)) },
  },
  {
    paths: ['/witness'],
    scope: 'instance',
    perElection: false,
    handlers: { POST: witness },
  },
  { paths: ['/metrics'], scope: 'instance', perElection: false, handlers: { GET: metrics } },
  {
    paths: ['/openapi.json'],
    scope: 'instance',
    perElection: false,
    handlers: { GET: ({ inputs, local }) => json(200, openApi(local !== null, inputs.version)) },
  },
  { paths: ['/peers'], scope: 'instance', perElection: true, handlers: { GET: peers } },
  {
    paths: ['/overview'],
    scope: 'instance',
    perElection: false,
    handlers: { GET: overview },
  },
  {
    paths: ['/worker.js'],
    scope: 'instance',
    perElection: false,
    handlers: { GET: workerScript },
  },
  { paths: ['/'], scope: 'instance', perElection: false, handlers: { GET: root } },
];
