// The answers of contract.ts as schemas, for the OpenAPI document. Each is declared as a schema of its type, so that the
// two cannot drift apart unseen; a test holds real answers against them. A newer version may add members to an answer, which
// no client may choke on: objects are open here. The bodies are those that bodies.ts reads by, and closed.
import * as z from 'zod';
import type {
  AuditAnswer,
  ElectionsAnswer,
  FenceAnswer,
  HealthAnswer,
  HistoryAnswer,
  JournalAnswer,
  JournalAppendAnswer,
  LeaderAnswer,
  LeaderOnWire,
  MembersAnswer,
  PauseAnswer,
  Problem,
  StateWriteAnswer,
  StatusAnswer,
  SwitchoverAnswer,
  VerbAnswer,
} from '../contract.ts';
import { causes, type Cause } from '../core/model.ts';
import type { Role } from '../core/report.ts';
import { pauseBody, resumeBody, stepDownBody, switchoverBody } from './bodies.ts';
import type { ClusterAnswer, PatroniAnswer } from './patroni.ts';
import { problemCodes } from './problems.ts';

const text = z.string();
const maybe = text.nullable();
const moment = z.iso.datetime().describe('ISO 8601');
const token = z
  .string()
  .regex(/^\d{1,19}$/)
  .describe('A fencing token: a decimal number, strictly greater in every later term');
const milliseconds = z.number().min(0).describe('Milliseconds');
const cause: z.ZodType<Cause> = z.enum(causes);
const role: z.ZodType<Role> = z.enum(['leader', 'follower', 'observer', 'unknown']);
const election = z.string().describe('The name of the election');

const leaderOnWire: z.ZodType<LeaderOnWire> = z.object({
  id: text,
  address: maybe,
  fencingToken: token,
  since: moment,
});

const leaderFields = {
  election,
  id: text.describe('This instance'),
  role,
  isLeader: z.boolean(),
  leader: leaderOnWire.nullable(),
  fencingToken: token.nullable().describe('Of its own term; null where it does not lead'),
  validForMs: milliseconds.describe(
    'How long the claim lasts if nothing planned ends it, from when the request was sent; 0 unless it leads',
  ),
  observedAgeMs: milliseconds.nullable().describe('How old the knowledge of etcd is'),
};
const leader: z.ZodType<LeaderAnswer> = z.object({
  ...leaderFields,
  heldForMs: milliseconds
    .describe('Only where a hold was asked for and any are granted: for so long nobody else leads')
    .exactOptional(),
});
const elections: z.ZodType<ElectionsAnswer> = z.object({ elections: z.array(leader) });

const status: z.ZodType<StatusAnswer> = z.object({
  ...leaderFields,
  obstacle: maybe.describe('What keeps it from campaigning'),
  leaderlessAtMostMs: milliseconds.nullable().describe('For how long nobody has led'),
  standsBackUntil: moment.nullable().describe('Until when it stands back'),
  waiting: z
    .object({
      forMs: milliseconds,
      for: maybe,
      because: z.enum(['taken_away', 'takeover_delay']),
    })
    .nullable()
    .describe('First in the queue and not leading yet'),
  steppingDown: z.boolean(),
  stopping: z.boolean(),
  failover: z
    .object({
      shortMs: milliseconds,
      witnesses: z.array(text),
      isWitness: z.boolean(),
    })
    .nullable()
    .describe('Null where fast failover is off'),
  ttlMs: milliseconds,
  lease: z.object({ id: text, ttlMs: milliseconds, remainingMs: milliseconds }).nullable(),
  etcd: z.object({
    contactAgeMs: milliseconds.nullable(),
    answeredInMs: milliseconds.nullable(),
    trouble: z.string().nullable(),
  }),
  app: z.object({ checked: z.boolean(), healthy: z.boolean(), detail: text }),
  control: z
    .object({
      paused: z.literal(true),
      reason: maybe,
      by: maybe,
      until: maybe,
    })
    .nullable(),
  version: text,
  startedAt: moment,
  uptimeMs: milliseconds,
  settings: z.record(text, z.unknown()),
});

const health: z.ZodType<HealthAnswer> = z.object({
  status: z.enum(['ok', 'failing']),
  checks: z.record(text, z.object({ ok: z.boolean(), detail: text })),
});

const members: z.ZodType<MembersAnswer> = z.object({
  election,
  members: z.array(
    z.object({
      id: text,
      role: z.enum(['leader', 'candidate', 'observer']),
      address: maybe,
      url: maybe,
      priority: z.number().int(),
      healthy: z.boolean(),
      checked: z.boolean().nullable().describe('Whether its app is checked; null if not known'),
      version: maybe,
      place: z.number().int().nullable(),
      fencingToken: token.nullable(),
      leaseId: text,
      native: z.boolean(),
      self: z.boolean(),
    }),
  ),
  observedAgeMs: milliseconds.nullable(),
});

const patroniState = z.enum(['running', 'stopped']).describe('stopped: its app is not healthy');
const pausedOnly = z.literal(true).describe('Only while the election is paused').exactOptional();
const cluster: z.ZodType<ClusterAnswer> = z.object({
  members: z.array(
    z.object({
      name: text,
      role: z.enum(['leader', 'replica']),
      state: patroniState,
      api_url: maybe,
      host: text.describe('Of --advertise').exactOptional(),
      port: z.number().int().exactOptional(),
      lag: z.literal('unknown').describe('Of replicas').exactOptional(),
    }),
  ),
  scope: election,
  pause: pausedOnly,
});
const patroni: z.ZodType<PatroniAnswer> = z.object({
  state: patroniState,
  role: z.enum(['primary', 'replica']),
  cluster_unlocked: z.literal(true).describe('Only where no leader is known').exactOptional(),
  pause: pausedOnly,
  dcs_last_seen: z
    .number()
    .int()
    .describe('When etcd answered last, in seconds since 1970')
    .exactOptional(),
  patroni: z.object({ version: text, scope: election, name: text }),
});

const traceFields = {
  at: moment,
  verb: z.enum(['step-down', 'bench', 'switchover', 'pause', 'resume']),
  by: maybe.describe('Who asked, in their own words'),
  via: text.describe('The instance that was asked'),
  reason: maybe,
  detail: text.describe('A sentence for people'),
};
const history: z.ZodType<HistoryAnswer> = z.object({
  election,
  terms: z.array(
    z.object({
      fencingToken: token,
      leader: text,
      address: maybe,
      from: maybe,
      to: maybe,
      toEarliest: maybe,
      cause: cause.nullable(),
      reason: maybe,
      actor: maybe,
      leaderlessMs: milliseconds.nullable(),
      leaderlessAtLeastMs: milliseconds.nullable(),
      leaderlessAtMostMs: milliseconds.nullable(),
      endDerived: z.boolean(),
      leads: z.boolean().nullable(),
    }),
  ),
  verbs: z.array(z.object(traceFields)).describe('Those carried out, newest first'),
});
const audit: z.ZodType<AuditAnswer> = z.object({
  election,
  entries: z.array(
    z.object({
      ...traceFields,
      certificate: maybe.describe('Whom the certificate of the client is for'),
      from: text.describe('The address that it came from, or unix socket'),
      outcome: text.describe('done, accepted, or the code of a problem'),
    }),
  ),
});

const verbFields = {
  election,
  done: z.boolean(),
  detail: text.describe('A sentence for people'),
  leader: leaderOnWire.nullable(),
};
const verb: z.ZodType<VerbAnswer> = z.object(verbFields);
const pause: z.ZodType<PauseAnswer> = z.object({
  ...verbFields,
  paused: z.boolean(),
  until: moment.nullable(),
});
const switchover: z.ZodType<SwitchoverAnswer> = z.object({
  ...verbFields,
  fencingToken: token,
});
const fence: z.ZodType<FenceAnswer> = z.object({
  election,
  fencingToken: token,
  current: z.boolean(),
});
const stateWrite: z.ZodType<StateWriteAnswer> = z.object({
  election,
  key: text,
  revision: text,
  fencingToken: token,
});
const journalAppend: z.ZodType<JournalAppendAnswer> = z.object({
  election,
  seq: z.number().int().min(1),
  replayed: z.boolean(),
});
const journal: z.ZodType<JournalAnswer> = z.object({
  election,
  entries: z.array(
    z.object({
      seq: z.number().int().min(1),
      fencingToken: token,
      at: text,
      by: text,
      entry: z.unknown(),
    }),
  ),
  last: z.number().int().min(0),
});

/** A problem may have members of its own kind besides these. */
const problem: z.ZodType<Problem> = z.looseObject({
  type: text,
  title: text,
  status: z.number().int(),
  code: z.enum(problemCodes),
  detail: text,
});

const name = z.object({ name: text.describe('The id of the leader, or nothing') });

/** By the name that the document gives them. */
export const schemas = {
  leader,
  elections,
  status,
  health,
  members,
  cluster,
  patroni,
  history,
  audit,
  verb,
  pause,
  switchover,
  stepDownRequest: stepDownBody,
  switchoverRequest: switchoverBody,
  pauseRequest: pauseBody,
  resumeRequest: resumeBody,
  fence,
  stateWrite,
  journalAppend,
  journal,
  problem,
  name,
} as const;

export type SchemaName = keyof typeof schemas;
