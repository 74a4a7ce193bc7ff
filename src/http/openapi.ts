// `/openapi.json`: what the listener that serves it answers, as OpenAPI 3.1. The local listener's document has the app's
// API and the operator's verbs too. `/peers`, `/overview` and `/witness` are for the status page and for other sidecars, and are
// not part of it.
import * as z from 'zod';
import { schemas, type SchemaName } from './schemas.ts';

type Answers = Readonly<Record<number, SchemaName | 'text' | 'events' | 'bytes' | 'nothing'>>;

/** One method of one path. */
interface Operation {
  readonly says: string;
  /** By status; problems that everything may answer are added. */
  readonly answers: Answers;
  readonly body?: SchemaName | 'bytes' | 'json';
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Described {
  /** As in the table of routes. */
  readonly path: `/${string}`;
  /** Whether `/elections/NAME/path` answers it too. */
  readonly perElection: boolean;
  readonly local?: true;
  readonly methods: Readonly<Partial<Record<'get' | 'put' | 'post' | 'delete', Operation>>>;
}

const leaderOperation: Operation = {
  says: 'Whether this instance leads now: 200 if so. A caller counts validForMs and heldForMs from when it sent the request.',
  answers: { 200: 'leader', 400: 'problem', 401: 'problem', 403: 'problem', 503: 'leader' },
  query: { hold: 'A duration, on the local listener only: let nobody else lead for so long' },
};
const followerOperation: Operation = {
  says: 'Whether this instance does not lead, knows who does, and is healthy: 200 if so',
  answers: { 200: 'leader', 503: 'leader' },
};
const checkOperation = (says: string, failing: boolean): Operation => ({
  says,
  answers: failing ? { 200: 'health', 503: 'health' } : { 200: 'health' },
});
const termHeader = {
  'X-Electord-Fencing-Token': 'The term that is written for; without it, the present one',
};
const matchHeaders = {
  'If-Match': 'Only where the value has this ETag',
  'If-None-Match': '*: only where there is no value yet',
};

export const described: readonly Described[] = [
  { path: '/leader', perElection: true, methods: { get: leaderOperation } },
  { path: '/primary', perElection: true, methods: { get: leaderOperation } },
  { path: '/follower', perElection: true, methods: { get: followerOperation } },
  { path: '/replica', perElection: true, methods: { get: followerOperation } },
  {
    path: '/health',
    perElection: true,
    methods: {
      get: checkOperation(
        'etcd answered within one TTL, the app is well, the event loop turns',
        true,
      ),
    },
  },
  {
    path: '/livez',
    perElection: false,
    methods: { get: checkOperation('The process works; etcd and the app play no part', false) },
  },
  {
    path: '/readyz',
    perElection: false,
    methods: {
      get: checkOperation('The state of every election is known, and it is not stopping', true),
    },
  },
  {
    path: '/status',
    perElection: true,
    methods: { get: { says: 'All that is known of this instance', answers: { 200: 'status' } } },
  },
  {
    path: '/members',
    perElection: true,
    methods: { get: { says: 'Who is there, the queue first', answers: { 200: 'members' } } },
  },
  {
    path: '/history',
    perElection: true,
    methods: {
      get: {
        says: 'The last hundred terms, newest first',
        answers: { 200: 'history', 503: 'problem' },
      },
    },
  },
  {
    path: '/elections',
    perElection: false,
    methods: {
      get: { says: 'The answer of /leader for every election', answers: { 200: 'elections' } },
    },
  },
  {
    path: '/events',
    perElection: true,
    methods: {
      get: {
        says: 'Server-sent events: the state at once, then every change; event leadership, its data as of /leader with a reason',
        answers: { 200: 'events', 503: 'problem' },
        query: { election: 'Only of this election; may be given more than once' },
      },
    },
  },
  {
    path: '/metrics',
    perElection: false,
    methods: { get: { says: 'For Prometheus', answers: { 200: 'text' } } },
  },
  {
    path: '/openapi.json',
    perElection: false,
    methods: { get: { says: 'This document', answers: { 200: 'text' } } },
  },
  {
    path: '/',
    perElection: false,
    methods: {
      get: {
        says: 'The status page for a browser, else the name of the leader',
        answers: { 200: 'name' },
      },
    },
  },
  {
    path: '/fence/:token',
    perElection: true,
    local: true,
    methods: {
      get: {
        says: 'Whether that term still leads, linearizable',
        answers: { 200: 'fence', 400: 'problem', 409: 'fence', 503: 'problem' },
      },
    },
  },
  {
    path: '/state/*key',
    perElection: true,
    local: true,
    methods: {
      get: {
        says: 'The value under a key, with its ETag',
        answers: { 200: 'bytes', 304: 'nothing', 400: 'problem', 404: 'problem', 503: 'problem' },
        headers: { 'If-None-Match': 'An ETag: 304 where the value has not changed' },
      },
      put: {
        says: 'Writes it: the leader only, guarded by its term',
        body: 'bytes',
        headers: { ...termHeader, ...matchHeaders },
        answers: {
          ...{ 200: 'stateWrite', 201: 'stateWrite', 400: 'problem', 409: 'problem' },
          ...{ 412: 'problem', 413: 'problem', 503: 'problem' },
        },
      },
      delete: {
        says: 'Removes it, likewise',
        headers: { ...termHeader, ...matchHeaders },
        answers: {
          ...{ 204: 'nothing', 400: 'problem', 404: 'problem', 409: 'problem' },
          ...{ 412: 'problem', 503: 'problem' },
        },
      },
    },
  },
  {
    path: '/journal',
    perElection: true,
    local: true,
    methods: {
      get: {
        says: 'Entries in order; go on with after set to the last seq until that is last',
        answers: { 200: 'journal', 400: 'problem', 503: 'problem' },
        query: { after: 'Begin behind this seq', limit: 'At most so many' },
      },
      post: {
        says: 'Appends the JSON sent: the leader only, guarded by its term; seq has no gaps',
        body: 'json',
        headers: { ...termHeader, 'Idempotency-Key': 'Makes a retry safe' },
        answers: {
          ...{ 201: 'journalAppend', 400: 'problem', 409: 'problem', 413: 'problem' },
          ...{ 415: 'problem', 422: 'problem', 503: 'problem' },
        },
      },
    },
  },
  {
    path: '/step-down',
    perElection: true,
    local: true,
    methods: {
      post: {
        says: 'Ends the term of this instance, or keeps one without a term from leading for notFor: 200 when that is done, 202 when it takes longer; 409 where nobody else can lead, unless forced',
        body: 'stepDownRequest',
        answers: { 200: 'verb', 202: 'verb', 409: 'problem', 422: 'problem' },
      },
    },
  },
  {
    path: '/switchover',
    perElection: true,
    local: true,
    methods: {
      post: {
        says: 'Hands over to a named member, whoever is asked',
        body: 'switchoverRequest',
        answers: {
          200: 'switchover',
          409: 'problem',
          422: 'problem',
          503: 'problem',
          504: 'problem',
        },
      },
    },
  },
  {
    path: '/pause',
    perElection: true,
    local: true,
    methods: {
      post: {
        says: 'Nobody campaigns, the leader stays; ends by itself',
        body: 'pauseRequest',
        answers: { 200: 'pause', 422: 'problem', 503: 'problem' },
      },
    },
  },
  {
    path: '/resume',
    perElection: true,
    local: true,
    methods: {
      post: {
        says: 'Ends a pause',
        body: 'resumeRequest',
        answers: { 200: 'pause', 422: 'problem', 503: 'problem' },
      },
    },
  },
  {
    path: '/audit',
    perElection: true,
    local: true,
    methods: {
      get: {
        says: 'The last hundred verbs asked of any instance, newest first: who, why, from where, with what outcome',
        answers: { 200: 'audit', 503: 'problem' },
      },
    },
  },
];

const reference = (name: SchemaName) => ({ $ref: `#/components/schemas/${name}` });

function contentOf(what: Answers[number]): object {
  if (what === 'nothing') return {};
  if (what === 'text' || what === 'bytes') return { content: { '*/*': {} } };
  if (what === 'events') return { content: { 'text/event-stream': {} } };
  const type = what === 'problem' ? 'application/problem+json' : 'application/json';
  return { content: { [type]: { schema: reference(what) } } };
}

function requestBody(body: NonNullable<Operation['body']>): object {
  if (body === 'bytes') return { required: true, content: { '*/*': {} } };
  if (body === 'json') return { required: true, content: { 'application/json': {} } };
  // A verb without a body means no reason and the standard times; a switchover has to say to whom.
  const required = body === 'switchoverRequest';
  return { required, content: { 'application/json': { schema: reference(body) } } };
}

const parameter =
  (place: 'query' | 'header') =>
  ([name, description]: readonly [string, string]) => ({
    ...{ name, in: place, description, required: false, schema: { type: 'string' } },
  });

function operationOf({ says, answers, body, query = {}, headers = {} }: Operation): object {
  const all = { ...answers, default: 'problem' as const };
  return {
    summary: says,
    parameters: [
      ...Object.entries(query).map(parameter('query')),
      ...Object.entries(headers).map(parameter('header')),
    ],
    ...(body === undefined ? {} : { requestBody: requestBody(body) }),
    responses: Object.fromEntries(
      Object.entries(all).map(([status, what]) => [
        status,
        { description: status === 'default' ? 'Any other problem' : says, ...contentOf(what) },
      ]),
    ),
  };
}

/** `:token` and `*key` become `{token}` and `{key}`. */
export const template = (path: string): string => path.replaceAll(/[:*]([a-z]+)/g, '{$1}');

function pathItem({ path, methods }: Described, perElection: boolean): [string, object] {
  const names = [...path.matchAll(/[:*]([a-z]+)/g)].map(([, name = '']) => name);
  const parameters = [...(perElection ? ['election'] : []), ...names].map((name) => ({
    ...{ name, in: 'path', required: true, schema: { type: 'string' } },
  }));
  const operations = Object.entries(methods).map(([method, operation]) => [
    method,
    operationOf(operation),
  ]);
  const full = perElection ? `/elections/{election}${template(path)}` : template(path);
  return [full, { parameters, ...(Object.fromEntries(operations) as object) }];
}

const made = new Map<string, object>();

/** The document of the public or of the local listener; made once, since that takes milliseconds. */
export function openApi(local: boolean, version: string): object {
  const key = `${String(local)} ${version}`;
  const document = made.get(key) ?? makeDocument(local, version);
  made.set(key, document);
  return document;
}

function makeDocument(local: boolean, version: string): object {
  const served = described.filter((each) => local || each.local !== true);
  const paths = served.flatMap((each) => [
    pathItem(each, false),
    ...(each.perElection ? [pathItem(each, true)] : []),
  ]);
  const registry = Object.entries(schemas).map(([name, schema]) => {
    // What a client may send, before it is read.
    const inJson: Record<string, unknown> = z.toJSONSchema(schema, { io: 'input' });
    // OpenAPI 3.1 says once for all of them which dialect they are in.
    delete inJson['$schema'];
    return [name, inJson];
  });
  return {
    openapi: '3.1.0',
    info: {
      title: 'electord',
      version,
      summary: 'Who leads, and what the leader may do',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    paths: Object.fromEntries(paths) as object,
    components: {
      schemas: Object.fromEntries(registry) as object,
      ...(local ? { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } } : {}),
    },
    ...(local ? { security: [{}, { token: [] }] } : {}),
  };
}
