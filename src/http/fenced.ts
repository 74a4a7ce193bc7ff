// The app's API: `/fence/TOKEN`, `/state/KEY` and `/journal`. Reads are linearizable and any instance answers them; writes
// are made by the leader only, each guarded in etcd by its term, so that one that comes too late changes nothing.
import type {
  FenceAnswer,
  JournalAnswer,
  JournalAppendAnswer,
  JournalEntryOnWire,
  StateWriteAnswer,
} from '../contract.ts';
import {
  fencingToken,
  memberId,
  revision,
  type FencingToken,
  type Revision,
} from '../core/model.ts';
import type { JournalEntry, Precondition, Writer } from '../store-port.ts';
import { readJson, wholeNumber } from './bodies.ts';
import { json, type AskedLocally, type Reply } from './exchange.ts';
import { quoted, Refusal } from './problems.ts';
import { notLeader } from './verbs.ts';

/** etcd takes 1.5 MiB in a request. */
const mostBytes = 1_048_576;
/** With this header a caller says for which term it writes; without it, for the present one. */
const tokenHeader = 'x-electord-fencing-token';
const maximalInt64 = 9_223_372_036_854_775_807n;

const numberIn = (text: string): bigint | null => {
  const value = /^(0|[1-9]\d{0,18})$/.test(text) ? BigInt(text) : null;
  return value !== null && value <= maximalInt64 ? value : null;
};

function tokenFrom(text: string, where: string): FencingToken {
  const value = numberIn(text);
  if (value !== null) return fencingToken(revision(value));
  const detail = `${quoted(text)} in ${where} is not a fencing token, a decimal number`;
  throw new Refusal(400, 'invalid_parameter', detail);
}

export async function fence({ report, local, parameter }: AskedLocally): Promise<Reply> {
  const token = tokenFrom(parameter('token'), 'the path');
  const { election } = report;
  const current = await local.coordinator.isCurrent(election, token);
  const body: FenceAnswer = { election, fencingToken: token.toString(), current };
  return json(current ? 200 : 409, body);
}

/**
 * For whom a write is made. A term that is named may be past the end of its claim, while the app stops: etcd is
 * asked whether it still leads.
 */
function writerOf({ report: { election }, inputs, header }: AskedLocally): Writer {
  // Anew, since reading the body took its time.
  const report = inputs.elections.report(election);
  const given = header(tokenHeader);
  const named = given === undefined ? null : tokenFrom(given, tokenHeader);
  const { token: own, steppingDown } = report;
  if (named !== null && own !== null && named !== own) {
    const detail = `term ${named.toString()} is not the present one, ${own.toString()}`;
    throw new Refusal(409, 'fenced_out', detail);
  }
  const token = own ?? (steppingDown ? named : null);
  const lease = inputs.elections.lease();
  if (token === null || lease === null) throw notLeader(report, inputs);
  return { election, leaseId: lease.leaseId, token };
}

const keyShape = /^[A-Za-z0-9._~-]+(\/[A-Za-z0-9._~-]+)*$/;

function keyOf({ parameter }: AskedLocally): string {
  const key = parameter('key');
  const dots = key.split('/').some((part) => part === '.' || part === '..');
  if (key.length <= 512 && keyShape.test(key) && !dots) return key;
  const allowed = 'up to 512 of A-Z a-z 0-9 . _ ~ - in parts between slashes';
  throw new Refusal(400, 'invalid_parameter', `the key ${quoted(key)} is not ${allowed}`);
}

const etag = (at: Revision): string => `"${at.toString()}"`;

/** The revisions in a list of entity tags; a weak or a foreign one matches nothing. */
const tagsIn = (text: string): readonly Revision[] =>
  text.split(',').flatMap((tag) => {
    const [, digits] = /^"(\d{1,19})"$/.exec(tag.trim()) ?? [];
    return digits === undefined ? [] : [revision(BigInt(digits))];
  });

function preconditionOf({ header }: AskedLocally): Precondition {
  const match = header('if-match')?.trim();
  const noneMatch = header('if-none-match')?.trim();
  if (noneMatch === undefined) {
    return match === undefined ? null : match === '*' ? 'anything' : tagsIn(match);
  }
  if (noneMatch === '*' && match === undefined) return 'nothing';
  const detail = 'a write takes If-Match, or If-None-Match: *, but nothing else';
  throw new Refusal(400, 'invalid_parameter', detail);
}

function conflict(key: string, found: Revision | null): Refusal {
  const there = found === null ? 'there is nothing' : `the ETag is ${etag(found)}`;
  const headers: Record<string, string> = found === null ? {} : { ETag: etag(found) };
  const detail = `under ${quoted(key)} ${there}`;
  return new Refusal(412, 'precondition_failed', detail, { headers });
}

export async function readState(asked: AskedLocally): Promise<Reply> {
  const { report, local, header } = asked;
  const key = keyOf(asked);
  const stored = await local.store.read(report.election, key);
  if (stored === null) {
    throw new Refusal(404, 'no_such_key', `there is nothing under ${quoted(key)}`);
  }
  const { bytes, writtenIn } = stored;
  const contentType = stored.contentType ?? 'application/octet-stream';
  const headers = {
    ETag: etag(stored.revision),
    // A page that somebody stored is not to act as one of ours.
    'Content-Security-Policy': 'sandbox',
    ...(writtenIn === null ? {} : { 'X-Electord-Fencing-Token': writtenIn.toString() }),
  };
  const unless = header('if-none-match')?.trim();
  const known = unless === '*' || tagsIn(unless ?? '').includes(stored.revision);
  return known
    ? { status: 304, contentType, body: '', headers }
    : { status: 200, contentType, body: bytes, headers };
}

/** Kept as it came, if it can be sent again. */
function contentTypeOf({ header }: AskedLocally): string {
  const given = header('content-type') ?? 'application/octet-stream';
  if (given.length <= 256 && /^[\x20-\x7e]+$/.test(given)) return given;
  throw new Refusal(400, 'invalid_parameter', 'the Content-Type is not one');
}

export async function writeState(asked: AskedLocally): Promise<Reply> {
  const key = keyOf(asked);
  const precondition = preconditionOf(asked);
  const contentType = contentTypeOf(asked);
  const bytes = await asked.body(mostBytes);
  const writer = writerOf(asked);
  const value = { bytes, contentType };
  const outcome = await asked.local.store.write(writer, key, value, precondition);
  if (outcome.kind === 'conflict') throw conflict(key, outcome.revision);
  const body: StateWriteAnswer = {
    election: writer.election,
    key,
    revision: outcome.revision.toString(),
    fencingToken: writer.token.toString(),
  };
  return json(200, body, { ETag: etag(outcome.revision) });
}

/** What is gone already was removed: a retry after an answer that was lost is no failure. */
export async function removeState(asked: AskedLocally): Promise<Reply> {
  const key = keyOf(asked);
  const precondition = preconditionOf(asked);
  const outcome = await asked.local.store.remove(writerOf(asked), key, precondition);
  if (outcome.kind === 'conflict') throw conflict(key, outcome.revision);
  return { status: 204, contentType: '', body: '' };
}

function idempotencyKeyOf({ header }: AskedLocally): string | null {
  const given = header('idempotency-key');
  if (given === undefined) return null;
  if (given.length > 0 && given.length <= 255) return given;
  throw new Refusal(400, 'invalid_parameter', 'the Idempotency-Key is not 1 to 255 characters');
}

export async function append(asked: AskedLocally): Promise<Reply> {
  const { inputs, local, report, path } = asked;
  const idempotencyKey = idempotencyKeyOf(asked);
  const { text: entry } = await readJson(asked, mostBytes);
  const writer = writerOf(asked);
  const at = new Date(inputs.wallNow()).toISOString();
  const by = memberId(report.id);
  const outcome = await local.store.append(writer, { json: entry, at, by, idempotencyKey });
  const { seq } = outcome;
  if (outcome.kind === 'reused') {
    const detail = `this Idempotency-Key was given to another entry, number ${seq}`;
    throw new Refusal(422, 'idempotency_key_reused', detail, { extra: { seq } });
  }
  const body: JournalAppendAnswer = { election: writer.election, seq, replayed: outcome.replayed };
  return json(201, body, { Location: `${path}?after=${seq - 1}&limit=1` });
}

/** The entry itself is put in as it was sent: a number in it may be one that JavaScript would round. */
function entryOnWire({ seq, token, at, by, json: entry }: JournalEntry): string {
  const head: Omit<JournalEntryOnWire, 'entry'> = { seq, fencingToken: token.toString(), at, by };
  return `${JSON.stringify(head).slice(0, -1)},"entry":${entry}}`;
}

export async function readJournal({ report, local, query }: AskedLocally): Promise<Reply> {
  const after = wholeNumber(query, 'after', {
    least: 0,
    most: Number.MAX_SAFE_INTEGER,
    standard: 0,
  });
  const limit = wholeNumber(query, 'limit', { least: 1, most: 1000, standard: 100 });
  const { election } = report;
  const { entries, last } = await local.store.journal(election, after, limit);
  const head: Omit<JournalAnswer, 'entries'> = { election, last };
  const list = entries.map(entryOnWire).join(',');
  const body = `${JSON.stringify(head).slice(0, -1)},"entries":[${list}]}`;
  return { ...json(200, null), body };
}
