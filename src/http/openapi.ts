// `/openapi.json`: what the listener that serves it answers, as OpenAPI 3.1. The local listener's document has the app's
// API and the operator's verbs too. `/peers`, `/overview` and `/witness` are for the status page and for other sidecars, and are
// not part of it.
import { z } from 'zod';
import { durationForm } from '../contract.ts';
import { schemas, type SchemaName } from './schemas.ts';

type What = SchemaName | 'text' | 'json' | 'events' | 'bytes' | 'nothing';
/** By status; what it means, where that is not the same everywhere. */
type Answers = Readonly<Record<number, What | readonly [what: What, means: string]>>;
/** What a parameter says, and what may stand in it where that is not any text. */
type Parameters = Readonly<Record<string, string | readonly [says: string, schema: object]>>;

/** One method of one path. */
interface Operation {
  readonly says: string;
  /** Besides these, what everything that speaks of one election, or needs a token, may answer. */
  readonly answers: Answers;
  readonly body?: SchemaName | 'bytes' | 'json';
  readonly query?: Parameters;
  readonly headers?: Parameters;
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
  answers: {
    200: ['leader', 'This instance leads'],
    400: 'problem',
    401: 'problem',
    403: 'problem',
    503: ['leader', 'This instance does not lead; the body says who does, as far as it knows'],
  },
  query: {
    hold: [
      'On the local listener only: let nobody else lead for so long, at most --max-hold',
      { type: 'string', pattern: durationForm.source },
    ],
  },
};
const followerOperation: Operation = {
  says: 'Whether this instance does not lead, knows who does, and is healthy: 200 if so',
  answers: {
    200: ['leader', 'It follows'],
    503: ['leader', 'It leads, does not know who leads, or is not healthy'],
  },
};
const checkOperation = (says: string, failing: boolean): Operation => ({
  says,
  answers: {
    200: ['health', 'Every check passes'],
    ...(failing ? { 503: ['health', 'A check fails, and is named'] as const } : {}),
  },
});
const termHeader = {
  'X-Electord-Fencing-Token': [
    'The term that is written for; without it, the present one',
    { type: 'string', pattern: '^(0|[1-9]\\d{0,18})$' },
  ],
} as const;
/** What every verb and every write may answer besides. */
const guarded = { 400: 'problem', 401: 'problem', 403: 'problem', 503: 'problem' } as const;
const notLeading = ['problem', 'This instance does not lead, or its term is over'] as const;
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
        says: 'Server-sent events: the state at once, then every change; event leadership, its data as of /leader with the cause of the last change',
        answers: {
          200: ['events', 'The stream'],
          503: ['problem', 'As many clients as are served at once receive events'],
        },
        query: {
          election: [
            'Only of these elections',
            { type: 'array', items: { type: 'string' } },
          ],
        },
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
    methods: { get: { says: 'This document', answers: { 200: 'json' } } },
  },
  {
    path: '/',
    perElection: false,
    methods: {
      get: {
        says: 'The status page for a browser, else the name of the leader',
        answers: {
          200: ['name', 'The name of the leader; to a browser, the page'],
          404: ['problem', 'There are several elections'],
        },
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
        answers: {
          200: ['fence', 'It leads'],
          400: 'problem',
          409: ['fence', 'It does not lead any more'],
          503: 'problem',
        },
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
        answers: {
          200: ['bytes', 'The value, as it was written'],
          304: ['nothing', 'It has not changed'],
          400: 'problem',
          404: ['problem', 'There is no value under the key, or no such election'],
          503: 'problem',
        },
        headers: { 'If-None-Match': 'An ETag: 304 where the value has not changed' },
      },
      put: {
        says: 'Writes it: the leader only, guarded by its term',
        body: 'bytes',
        headers: { ...termHeader, ...matchHeaders },
        answers: {
          ...guarded,
          200: ['stateWrite', 'It is written; ETag and revision are its own'],
          409: notLeading,
          412: 'problem',
          413: 'problem',
        },
      },
      delete: {
        says: 'Removes it, likewise',
        headers: { ...termHeader, ...matchHeaders },
        answers: {
          ...guarded,
          204: ['nothing', 'It is removed, or was not there'],
          409: notLeading,
          412: 'problem',
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
        answers: { 200: ['journal', 'The entries'], 400: 'problem', 503: 'problem' },
        query: {
          after: ['Begin behind this seq', { type: 'integer', minimum: 0, default: 0 }],
          limit: [
            'At most so many; an answer of 8 MiB ends earlier',
            { type: 'integer', minimum: 1, maximum: 1000, default: 100 },
          ],
        },
      },
      post: {
        says: 'Appends the JSON sent: the leader only, guarded by its term; seq has no gaps',
        body: 'json',
        headers: {
          ...termHeader,
          'Idempotency-Key': [
            'Makes a retry safe for a day',
            { type: 'string', minLength: 1, maxLength: 255 },
          ],
        },
        answers: {
          ...guarded,
          201: ['journalAppend', 'It is appended, now or by the request that this one repeats'],
          409: notLeading,
          413: 'problem',
          415: 'problem',
          422: ['problem', 'The Idempotency-Key belongs to another entry'],
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
        says: 'Ends the term of this instance: 200 when another leads or nobody can, 202 when it takes longer',
        body: 'stepDownRequest',
        answers: {
          ...guarded,
          200: ['verb', 'Another leads, or nobody can'],
          202: ['verb', 'It is on its way'],
          409: 'problem',
          415: 'problem',
          422: 'problem',
        },
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
          ...guarded,
          200: ['switchover', 'The member named leads'],
          409: 'problem',
          415: 'problem',
          422: 'problem',
          504: ['problem', 'It does not lead within the time that a hand-over takes'],
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
        answers: {
          ...guarded,
          200: ['pause', 'It is paused'],
          415: 'problem',
          422: 'problem',
        },
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
        answers: {
          ...guarded,
          200: ['pause', 'It is not paused'],
          415: 'problem',
          422: 'problem',
        },
      },
    },
  },
];

const reference = (name: SchemaName) => ({ $ref: `#/components/schemas/${name}` });

/** What a status means where an operation says nothing of its own. */
const meanings: Readonly<Record<number, string>> = {
  200: 'What was asked for',
  400: 'The path, a parameter, a header or the body cannot be read',
  401: 'The bearer token is missing or wrong',
  403: 'A page of another origin, a host that is not ours, or not the local listener',
  404: 'The path names no election of this instance, and there is none or more than one',
  409: 'As things stand it cannot be done; code says why',
  412: 'The value is not the one that was expected',
  413: 'The body is larger than 1 MiB',
  415: 'The body is not said to be JSON',
  422: 'The body is not as it should be; faults says where',
  503: 'etcd cannot say now. Of a write it is then not known whether it was made',
};

function contentOf(what: What): object {
  if (what === 'nothing') return {};
  if (what === 'text') return { content: { 'text/plain': { schema: { type: 'string' } } } };
  if (what === 'json') return { content: { 'application/json': { schema: { type: 'object' } } } };
  if (what === 'bytes') return { content: { '*/*': {} } };
  if (what === 'events') return { content: { 'text/event-stream': { schema: { type: 'string' } } } };
  const type = what === 'problem' ? 'application/problem+json' : 'application/json';
  return { content: { [type]: { schema: reference(what) } } };
}

function responseOf(status: string, answer: Answers[number]): object {
  const [what, means] = typeof answer === 'string' ? [answer, meanings[Number(status)]] : answer;
  return { description: means ?? 'Any other problem', ...contentOf(what) };
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
  ([name, given]: readonly [string, Parameters[string]]) => {
    const [description, schema] = typeof given === 'string' ? [given, { type: 'string' }] : given;
    return { name, in: place, description, required: false, schema };
  };

/** `getLeader`, `postStepDown`; `getElectionLeader` where the path names the election. */
function operationId(method: string, path: string, perElection: boolean): string {
  const words = path
    .replaceAll(/[:*][a-z]+/g, '')
    .split(/[^a-z]+/)
    .filter((word) => word !== '');
  const all = [...(perElection ? ['election'] : []), ...(words.length === 0 ? ['root'] : words)];
  return method + all.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
}

function operationOf(operation: Operation, id: string, speaksOfOne: boolean): object {
  const { says, answers, body, query = {}, headers = {} } = operation;
  const all: Answers = { ...(speaksOfOne ? { 404: 'problem' as const } : {}), ...answers };
  const responses = [...Object.entries(all), ['default', 'problem'] as const];
  return {
    operationId: id,
    summary: says,
    parameters: [
      ...Object.entries(query).map(parameter('query')),
      ...Object.entries(headers).map(parameter('header')),
    ],
    ...(body === undefined ? {} : { requestBody: requestBody(body) }),
    responses: Object.fromEntries(
      responses.map(([status, answer]) => [status, responseOf(status, answer)]),
    ),
  };
}

const pathParameters: Readonly<Record<string, object>> = {
  token: { type: 'string', pattern: '^(0|[1-9]\\d{0,18})$' },
  key: { type: 'string', maxLength: 512 },
};

/** `:token` and `*key` become `{token}` and `{key}`. */
export const template = (path: string): string => path.replaceAll(/[:*]([a-z]+)/g, '{$1}');

function pathItem(described: Described, perElection: boolean): [string, object] {
  const { path, methods, perElection: mayNameElection } = described;
  const names = [...path.matchAll(/[:*]([a-z]+)/g)].map(([, name = '']) => name);
  const parameters = [...(perElection ? ['election'] : []), ...names].map((name) => ({
    ...{ name, in: 'path', required: true, schema: pathParameters[name] ?? { type: 'string' } },
  }));
  const operations = Object.entries(methods).map(([method, operation]) => [
    method,
    operationOf(operation, operationId(method, path, perElection), mayNameElection),
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
