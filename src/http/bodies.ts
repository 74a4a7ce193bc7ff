// Bodies and queries as clients send them: read up to a bound, and checked by one schema each. Everything that is wrong is
// said at once, and what is not known is a fault: a misspelt field must not be a default in disguise.
import type { IncomingMessage } from 'node:http';
import * as z from 'zod';
import {
  durationForm,
  formatDuration,
  readDuration,
  type FaultOnWire,
  type PauseRequest,
  type StepDownRequest,
  type SwitchoverBody,
  type VerbRequest,
} from '../contract.ts';
import type { Asked } from './exchange.ts';
import { quoted, Refusal } from './problems.ts';

/** The operator's verbs say little. */
const verbLimitBytes = 64 * 1024;
/** So much of a body that is too large is still read: a client that is cut off in mid-sentence hears no answer. */
const readAnywayBytes = 16 * 1024 * 1024;

const tooLarge = (limitBytes: number): Refusal =>
  new Refusal(413, 'body_too_large', `more than ${limitBytes} bytes`, {
    headers: { Connection: 'close' },
  });

/** Reads a whole body. Rejects with a Refusal (413), or with what broke the connection. */
export function readBody(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    if (request.destroyed) throw new Refusal(400, 'malformed_request', 'the body did not arrive');
    const parts: Buffer[] = [];
    let bytes = 0;
    request.on('data', (part: Buffer) => {
      bytes += part.length;
      if (bytes <= limitBytes) parts.push(part);
      else parts.length = 0;
      if (bytes > readAnywayBytes) reject(tooLarge(limitBytes));
    });
    request.on('end', () => {
      if (bytes > limitBytes) reject(tooLarge(limitBytes));
      else resolve(Buffer.concat(parts));
    });
    request.on('error', reject);
    request.on('close', () =>
      reject(new Refusal(400, 'malformed_request', 'the body did not arrive')),
    );
  });
}

/**
 * JSON, and what programs call a body of which nobody has said what it is: nothing, or as curl and fetch do. A page of
 * another origin can send these too; it is refused for where it comes from (guards.ts), not for this.
 */
const readAsJson = /^(application\/(json|x-www-form-urlencoded|octet-stream)|text\/plain)? *(;|$)/i;

interface Json {
  readonly text: string;
  readonly value: unknown;
}

function jsonOf({ header }: Pick<Asked, 'header'>, body: Buffer): Json {
  const contentType = header('content-type') ?? '';
  if (!readAsJson.test(contentType)) {
    const detail = `send Content-Type: application/json, not ${quoted(contentType)}`;
    throw new Refusal(415, 'unsupported_media_type', detail);
  }
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(body);
    return { text, value: JSON.parse(text) };
  } catch {
    throw new Refusal(400, 'malformed_request', 'the body is not JSON in UTF-8');
  }
}

type Sent = Pick<Asked, 'header' | 'body'>;

/** The text of a JSON body and its value; refuses what says that it is something else, and text that is not JSON. */
export const readJson = async (sent: Sent, limitBytes: number): Promise<Json> =>
  jsonOf(sent, await sent.body(limitBytes));

/** Reads the body of a verb, which may be left out. Refuses with every fault. */
export async function readVerbBody<Schema extends z.ZodObject>(
  sent: Sent,
  schema: Schema,
): Promise<z.output<Schema>> {
  const body = await sent.body(verbLimitBytes);
  const read = schema.safeParse(body.length === 0 ? {} : jsonOf(sent, body).value);
  if (read.success) return read.data;
  const unknown = `is not one of ${Object.keys(schema.shape).join(', ')}`;
  const faults: readonly FaultOnWire[] = read.error.issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((field) => ({ field, problem: unknown }))
      : issue.path.map((field) => ({ field: String(field), problem: issue.message })),
  );
  // Only what is wrong with the body as a whole has no field.
  if (faults.length === 0) throw new Refusal(422, 'invalid_body', 'the body is not a JSON object');
  const detail = faults.map(({ field, problem }) => `${quoted(field)} ${problem}`).join('; ');
  throw new Refusal(422, 'invalid_body', detail, { extra: { faults } });
}

const text = z.string({
  error: ({ input }) => (input === undefined ? 'is required' : 'is not a text'),
});

/** Something for people to read; it is kept in etcd. */
const remark = (mostCharacters: number, what: string) =>
  text
    .max(mostCharacters, `is longer than ${mostCharacters} characters`)
    .regex(/^[^\p{Cc}]*$/u, 'has control characters')
    .describe(what)
    .nullable()
    .exactOptional();
const reason = remark(500, 'Kept in the history');
/** By a name of their own choice. */
const by = remark(128, 'Who asks, for the audit log');
const said = { reason, by };
const force = z.boolean('is neither true nor false').exactOptional();

const notAnId = 'is not the id of a member';

/** A duration between two bounds, both allowed, to milliseconds. */
const duration = (leastMs: number, mostMs: number) =>
  text
    .meta({ pattern: durationForm.source, description: 'Such as 500ms, 5s, 2m' })
    .transform((written, context) => {
      const read = readDuration(written);
      if ('ms' in read) return read.ms;
      context.addIssue({ code: 'custom', message: read.problem });
      return z.NEVER;
    })
    .pipe(
      z
        .number()
        .min(leastMs, `is shorter than ${formatDuration(leastMs)}`)
        .max(mostMs, `is longer than ${formatDuration(mostMs)}`),
    );

const dayMs = 86_400_000;

/** The bodies of the verbs: what is checked, what the handlers get, and what the OpenAPI document says of them. */
export const stepDownBody = z.strictObject({
  ...said,
  notFor: duration(0, dayMs).exactOptional(),
  force: force.describe('Even where nobody else can lead'),
}) satisfies z.ZodType<unknown, StepDownRequest>;
export const switchoverBody = z.strictObject({
  ...said,
  to: text.min(1, notAnId).max(253, notAnId),
  force: force.describe(
    'Ends a pause, and the standing back of the member that is asked and named',
  ),
}) satisfies z.ZodType<unknown, SwitchoverBody>;
export const pauseBody = z.strictObject({
  ...said,
  for: duration(2000, dayMs).exactOptional(),
}) satisfies z.ZodType<unknown, PauseRequest>;
export const resumeBody = z.strictObject(said) satisfies z.ZodType<unknown, VerbRequest>;

/** A whole number in a query, such as `limit=10`. */
export function wholeNumber(
  query: URLSearchParams,
  name: string,
  { least, most, standard }: { least: number; most: number; standard: number },
): number {
  const text = query.get(name);
  if (text === null) return standard;
  const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
  if (value >= least && value <= most) return value;
  const detail = `${name} is not a whole number from ${least} to ${most}`;
  throw new Refusal(400, 'invalid_parameter', detail);
}
