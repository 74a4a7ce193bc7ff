// Bodies and queries as clients send them: read up to a bound, and checked field by field. Everything that is wrong is
// said at once, and what is not known is a fault: a misspelt field must not be a default in disguise.
import type { IncomingMessage } from 'node:http';
import type { FaultOnWire } from '../contract.ts';
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

/** The text of a JSON body and its value; refuses what says that it is something else, and text that is not JSON. */
export async function readJson(
  asked: Pick<Asked, 'header' | 'body'>,
  limitBytes: number,
): Promise<{ readonly text: string; readonly value: unknown }> {
  const body = await asked.body(limitBytes);
  const contentType = asked.header('content-type') ?? '';
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

/** What is wrong with a value; continues the sentence that begins with the field's name. */
export class Wrong {
  readonly problem: string;

  constructor(problem: string) {
    this.problem = problem;
  }
}

/** Reads one field; undefined where it is not there. */
export type Field<Value> = (value: unknown) => Value | Wrong;
type Shape<Fields> = {
  [Name in keyof Fields]: Fields[Name] extends Field<infer Value> ? Value : never;
};

/** Reads the JSON body of a verb, which may be left out. Refuses with every fault. */
export async function readFields<Fields extends Record<string, Field<unknown>>>(
  asked: Pick<Asked, 'header' | 'body'>,
  fields: Fields,
): Promise<Shape<Fields>> {
  const bytes = await asked.body(verbLimitBytes);
  const given =
    bytes.length === 0
      ? {}
      : (await readJson({ ...asked, body: () => Promise.resolve(bytes) }, verbLimitBytes)).value;
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new Refusal(422, 'invalid_body', 'the body is not a JSON object');
  }
  return checked(given as Record<string, unknown>, fields);
}

function checked<Fields extends Record<string, Field<unknown>>>(
  given: Readonly<Record<string, unknown>>,
  fields: Fields,
): Shape<Fields> {
  const faults: FaultOnWire[] = Object.keys(given)
    .filter((name) => !Object.hasOwn(fields, name))
    .map((field) => ({ field, problem: `is not one of ${Object.keys(fields).join(', ')}` }));
  const values: Record<string, unknown> = {};
  for (const [field, read] of Object.entries(fields)) {
    const value = read(Object.hasOwn(given, field) ? given[field] : undefined);
    if (value instanceof Wrong) faults.push({ field, problem: value.problem });
    else values[field] = value;
  }
  if (faults.length > 0) {
    const detail = faults.map(({ field, problem }) => `${quoted(field)} ${problem}`).join('; ');
    throw new Refusal(422, 'invalid_body', detail, { extra: { faults } });
  }
  return values as Shape<Fields>;
}

const printable = /^[^\p{Cc}]*$/u;

/** A sentence for people; null where it is not there. */
export const sentence =
  (mostCharacters: number): Field<string | null> =>
  (value) => {
    if (value === undefined || value === null) return null;
    if (typeof value !== 'string') return new Wrong('is not a text');
    if (value.length > mostCharacters) {
      return new Wrong(`is longer than ${mostCharacters} characters`);
    }
    return printable.test(value) ? value : new Wrong('has control characters');
  };

/** The id of a member, which must be there. */
export const memberName: Field<string> = (value) => {
  if (value === undefined) return new Wrong('is required');
  if (typeof value !== 'string') return new Wrong('is not a text');
  return value.length > 0 && value.length <= 253 ? value : new Wrong('is not the id of a member');
};

const unitsMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;

/** A duration as in the configuration: `500ms`, `5s`, `2m`, `1h`; milliseconds, null where it is not one. */
export function durationMs(text: string): number | null {
  const [, digits, unit] = /^(\d{1,9})(ms|s|m|h)$/.exec(text) ?? [];
  return digits === undefined ? null : Number(digits) * unitsMs[unit as keyof typeof unitsMs];
}

/** A duration between two bounds, both allowed and both in milliseconds; `standardMs` where it is not there. */
export const duration =
  (leastMs: number, mostMs: number, standardMs: number): Field<number> =>
  (value) => {
    if (value === undefined) return standardMs;
    const readMs = typeof value === 'string' ? durationMs(value) : null;
    if (readMs === null) return new Wrong('is not a duration such as 500ms, 5s, 2m or 1h');
    if (readMs >= leastMs && readMs <= mostMs) return readMs;
    return new Wrong(`is not between ${leastMs} ms and ${mostMs} ms`);
  };

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
