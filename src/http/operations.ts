// The table behind `/openapi.json`: what each path answers, in words for people. openapi.ts makes the document of it.
// `/peers`, `/overview`, `/worker.js` and `/witness` are for the status page and for other sidecars, and are not part of it.
import { durationForm } from '../contract.ts';
import {
  followerPaths,
  leaderPaths,
  livenessPaths,
  readablePaths,
  readinessPaths,
} from './probes.ts';
import type { SchemaName } from './schemas.ts';

export type What = SchemaName | 'text' | 'json' | 'events' | 'bytes' | 'nothing';
/** By status; what it means, where that is not the same everywhere. */
export type Answers = Readonly<Record<number, What | readonly [what: What, means: string]>>;
/** What a parameter says, and what may stand in it where that is not any text. */
export type Parameters = Readonly<Record<string, string | readonly [says: string, schema: object]>>;

/** One method of one path. */
export interface Operation {
  readonly says: string;
  /** Besides these, what everything that speaks of one election, or needs a token, may answer. */
  readonly answers: Answers;
  readonly body?: SchemaName | 'bytes' | 'json';
  readonly query?: Parameters;
  readonly headers?: Parameters;
}

export interface Described {
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
const readableOperation: Operation = {
  says: 'Whether this instance may be read from: 200 where /leader or /follower is',
  answers: {
    200: ['leader', 'It leads or follows'],
    503: ['leader', 'It does not lead, and does not know who does or is not healthy'],
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

/** One operation under several names. */
const named = (
  paths: readonly `/${string}`[],
  perElection: boolean,
  get: Operation,
): readonly Described[] => paths.map((path) => ({ path, perElection, methods: { get } }));

export const described: readonly Described[] = [
  ...named(leaderPaths, true, leaderOperation),
  ...named(followerPaths, true, followerOperation),
  ...named(readablePaths, true, readableOperation),
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
  ...named(
    livenessPaths,
    false,
    checkOperation('The process works; etcd and the app play no part', false),
  ),
  ...named(
    readinessPaths,
    false,
    checkOperation('The state of every election is known, and it is not stopping', true),
  ),
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
    path: '/cluster',
    perElection: true,
    methods: {
      get: { says: "The members, as Patroni's /cluster tells them", answers: { 200: 'cluster' } },
    },
  },
  {
    path: '/patroni',
    perElection: true,
    methods: {
      get: { says: "This instance, as Patroni's /patroni tells it", answers: { 200: 'patroni' } },
    },
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
          election: ['Only of these elections', { type: 'array', items: { type: 'string' } }],
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
        says: 'Ends the term of this instance, or keeps one without a term from leading for notFor: 200 when that is done, 202 when it takes longer; 409 where nobody else can lead, unless forced',
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
        body: 'resumeRequest',
        answers: {
          ...guarded,
          200: ['pause', 'It is not paused'],
          415: 'problem',
          422: 'problem',
        },
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
