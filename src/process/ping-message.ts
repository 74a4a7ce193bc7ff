// Pings between sidecars as they go over the wire, and what proves who made them: an HMAC over the whole message under the
// key of the process that is pinged, which stands in its candidates' values in etcd. The answer is signed over the message
// that it answers, so that none can be mistaken for the answer to another.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { electionName, fencingToken, revision, type Revision } from '../core/model.ts';
import type { ElectionPing } from '../core/model.ts';

/** In lower case, as node has it. */
export const signatureHeader = 'x-electord-signature';
export const pingPath = '/witness';
/** A message has at most so many pings, of some 150 bytes each. */
export const pingsAtOnce = 200;
export const messageBytes = 64 * 1024;

/** 128 random bits for one process. */
export const newPingKey = (): string => randomBytes(16).toString('base64url');

/** The signature of a message; `answering` is that of the message which it answers. */
export const signatureOf = (key: string, message: string, answering = ''): string =>
  createHmac('sha256', key).update(`${answering}\n`).update(message).digest('base64url');

/** Compares in constant time. */
export function isSigned(
  key: string,
  message: string,
  signature: string | undefined,
  answering = '',
): boolean {
  const wanted = Buffer.from(signatureOf(key, message, answering));
  const given = Buffer.from(signature ?? '');
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

export const encodePings = (pings: readonly ElectionPing[]): string =>
  JSON.stringify({ pings }, (_name, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  );

/** The pings of a message whose signature was checked; null where it is of another form. */
export function decodePings(message: string): readonly ElectionPing[] | null {
  const pings = listIn(message, 'pings')?.map(pingIn) ?? [null];
  return pings.length <= pingsAtOnce && pings.every((ping) => ping !== null) ? pings : null;
}

/** By their places in the message. */
export const encodeAcknowledged = (places: readonly number[]): string =>
  JSON.stringify({ acknowledged: places });

export const decodeAcknowledged = (message: string): ReadonlySet<unknown> =>
  new Set(listIn(message, 'acknowledged') ?? []);

type Fields = Readonly<Record<string, unknown>>;

function listIn(message: string, name: string): readonly Fields[] | null {
  try {
    const list = (JSON.parse(message) as Fields | null)?.[name];
    return Array.isArray(list) ? (list as readonly Fields[]) : null;
  } catch {
    return null;
  }
}

function pingIn(fields: Fields | null): ElectionPing | null {
  const ping = (fields?.['ping'] ?? {}) as Fields;
  const [term, witness] = [revisionIn(ping['term']), revisionIn(ping['witness'])];
  const { sequence, forMs } = ping;
  const election = fields?.['election'];
  if (term === null || witness === null || typeof election !== 'string') return null;
  if (!isCount(sequence) || !isCount(forMs)) return null;
  const enlisted = ping['enlisted'] as Fields | null;
  const at = revisionIn(enlisted?.['at']);
  const number = enlisted?.['number'];
  const ahead = enlisted?.['ahead'];
  return {
    election: electionName(election),
    ping: {
      term: fencingToken(term),
      witness,
      sequence,
      forMs,
      enlisted:
        at === null || !isCount(number) || typeof ahead !== 'number' ? null : { at, number, ahead },
    },
  };
}

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value > 0;

const revisionIn = (value: unknown): Revision | null =>
  typeof value === 'string' && /^[1-9]\d{0,18}$/.test(value) ? revision(BigInt(value)) : null;
