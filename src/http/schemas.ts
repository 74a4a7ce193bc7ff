// The answers of contract.ts as schemas, for the OpenAPI document. Each is declared as a schema of its type, so that the
// two cannot drift apart unseen; a test holds real answers against them. The bodies are those that bodies.ts reads by.
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

const leaderOnWire: z.ZodType<LeaderOnWire> = z.strictObject({
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
const leader: z.ZodType<LeaderAnswer> = z.strictObject({
  ...leaderFields,
  heldForMs: milliseconds
    .describe('Only where a hold was asked for and any are granted: for so long nobody else leads')
    .exactOptional(),
});
const elections: z.ZodType<ElectionsAnswer> = z.strictObject({ elections: z.array(leader) });

const status: z.ZodType<StatusAnswer> = z.strictObject({
  ...leaderFields,
  obstacle: maybe.describe('What keeps it from campaigning'),
  standsBackUntil: moment.nullable().describe('Until when it stands back'),
  waiting: z
    .strictObject({
      forMs: milliseconds,
      for: maybe,
      because: z.enum(['taken_away', 'takeover_delay']),
    })
    .nullable()
    .describe('First in the queue and not leading yet'),
  steppingDown: z.boolean(),
  stopping: z.boolean(),
  failover: z
    .strictObject({
      shortMs: milliseconds,
      witnesses: z.array(text),
      isWitness: z.boolean(),
    })
    .nullable()
    .describe('Null where fast failover is off'),
  ttlMs: milliseconds,
  lease: z.strictObject({ id: text, ttlMs: milliseconds, remainingMs: milliseconds }).nullable(),
  etcd: z.strictObject({ contactAgeMs: milliseconds.nullable(), trouble: z.string().nullable() }),
  app: z.strictObject({ checked: z.boolean(), healthy: z.boolean(), detail: text }),
  control: z
    .strictObject({
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

const health: z.ZodType<HealthAnswer> = z.strictObject({
  status: z.enum(['ok', 'failing']),
  checks: z.record(text, z.strictObject({ ok: z.boolean(), detail: text })),
});

const members: z.ZodType<MembersAnswer> = z.strictObject({
  election,
  members: z.array(
    z.strictObject({
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

const traceFields = {
  at: moment,
  verb: z.enum(['step-down', 'bench', 'switchover', 'pause', 'resume']),
  by: maybe.describe('Who asked, in their own words'),
  via: text.describe('The instance that was asked'),
  reason: maybe,
  detail: text.describe('A sentence for people'),
};
const history: z.ZodType<HistoryAnswer> = z.strictObject({
  election,
  terms: z.array(
    z.strictObject({
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
    }),
  ),
  verbs: z.array(z.strictObject(traceFields)).describe('Those carried out, newest first'),
});
const audit: z.ZodType<AuditAnswer> = z.strictObject({
  election,
  entries: z.array(
    z.strictObject({
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
const verb: z.ZodType<VerbAnswer> = z.strictObject(verbFields);
const pause: z.ZodType<PauseAnswer> = z.strictObject({
  ...verbFields,
  paused: z.boolean(),
  until: moment.nullable(),
});
const switchover: z.ZodType<SwitchoverAnswer> = z.strictObject({
  ...verbFields,
  fencingToken: token,
});
const fence: z.ZodType<FenceAnswer> = z.strictObject({
  election,
  fencingToken: token,
  current: z.boolean(),
});
const stateWrite: z.ZodType<StateWriteAnswer> = z.strictObject({
  election,
  key: text,
  revision: text,
  fencingToken: token,
});
const journalAppend: z.ZodType<JournalAppendAnswer> = z.strictObject({
  election,
  seq: z.number().int().min(1),
  replayed: z.boolean(),
});
const journal: z.ZodType<JournalAnswer> = z.strictObject({
  election,
  entries: z.array(
    z.strictObject({
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

const name = z.strictObject({ name: text.describe('The id of the leader, or nothing') });

/** By the name that the document gives them. */
export const schemas = {
  leader,
  elections,
  status,
  health,
  members,
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
