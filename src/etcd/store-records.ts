// The layout of `state/…` and `journal/…`, and what stands in them. A value of the state is the bare bytes, so that
// other programs can read and write it; what we know of it stands beside it under `KEY#meta`, written in the same
// transaction. Nothing here talks to etcd.
import { createHash } from 'node:crypto';
import type { IKeyValue } from 'etcd3';
import { fencingToken, memberId, revision, type FencingToken } from '../core/model.ts';
import type { JournalEntry, NewEntry } from '../store-port.ts';
import { encode, fieldsOf, numberOf, textOf, tokenIn, type Fields } from './fields.ts';
import type { ElectionKeys } from './keys.ts';

const rootOf = ({ candidates }: ElectionKeys): string => candidates.slice(0, -'candidates/'.length);

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** `#` is not allowed in the key of a caller: nobody can name the record beside another value. */
export const stateKey = (keys: ElectionKeys, key: string): string => `${rootOf(keys)}state/${key}`;
export const metaKey = (keys: ElectionKeys, key: string): string => `${stateKey(keys, key)}#meta`;

/**
 * Rewritten when a value is removed; never deleted itself. Each stands for a 256th of all names: writers of new values
 * must not lose every race against somebody who removes others.
 */
export const removalsKey = (keys: ElectionKeys, key: string): string =>
  `${rootOf(keys)}removals/${sha256(key).slice(0, 2)}`;

export interface JournalKeys {
  readonly head: string;
  readonly entries: string;
}
export const journalKeys = (keys: ElectionKeys): JournalKeys => ({
  head: `${rootOf(keys)}journal/head`,
  entries: `${rootOf(keys)}journal/entries/`,
});

/** Nineteen digits: the order of the keys is the order of the numbers. */
export const entryKey = (keys: ElectionKeys, seq: number): string =>
  journalKeys(keys).entries + String(seq).padStart(19, '0');

/** Where it is remembered that an idempotency key was used; hashed, since it may hold anything. */
export const idempotencyRecordKey = (keys: ElectionKeys, idempotencyKey: string): string =>
  `${rootOf(keys)}journal/keys/${sha256(idempotencyKey)}`;

/** `write` names the one request that wrote a value: its own retry recognises it. */
export interface Meta {
  readonly contentType: string | null;
  readonly token: FencingToken | null;
  readonly write: string | null;
}

export const encodeMeta = (contentType: string, token: FencingToken, write: string): Buffer =>
  encode({ contentType, token, write });

/** What is known of a value; nothing where another program has written it since. */
export function decodeMeta(value: IKeyValue, meta: IKeyValue | null): Meta {
  const own = meta !== null && meta.mod_revision === value.mod_revision;
  const fields = own ? fieldsOf(meta.value) : null;
  return {
    contentType: textOf(fields, 'contentType'),
    token: tokenIn(textOf(fields, 'token')),
    write: textOf(fields, 'write'),
  };
}

/** 0 where it is none: entries are counted from 1. */
const seqOf = (fields: Fields | null): number => Math.max(0, numberOf(fields, 'seq'));

export const encodeHead = (seq: number): Buffer => encode({ seq });
export const decodeHead = (kv: IKeyValue | null): number =>
  kv === null ? 0 : seqOf(fieldsOf(kv.value));

/** One line of ours, then the JSON of the entry as it was sent. */
export function encodeEntry(
  { at, by, json }: NewEntry,
  seq: number,
  token: FencingToken,
  write: string,
): Buffer {
  const line = encode({ seq, token, at, by, write });
  return Buffer.concat([line, Buffer.from(`\n${json}`)]);
}

/** An entry, and which request wrote it. */
export function decodeEntry(kv: IKeyValue): JournalEntry & { readonly write: string | null } {
  const text = kv.value.toString('utf8');
  const end = text.indexOf('\n');
  const fields = fieldsOf(end < 0 ? '' : text.slice(0, end));
  return {
    seq: Number(kv.key.toString('utf8').slice(-19)),
    token: tokenIn(textOf(fields, 'token')) ?? fencingToken(revision(0n)),
    at: textOf(fields, 'at') ?? '',
    by: memberId(textOf(fields, 'by') ?? ''),
    json: end < 0 ? 'null' : text.slice(end + 1),
    write: textOf(fields, 'write'),
  };
}

/** Which entry an idempotency key was used for, and what that one said. */
export const encodeUse = (seq: number, json: string): Buffer =>
  encode({ seq, digest: sha256(json) });
export function decodeUse(kv: IKeyValue): { readonly seq: number; readonly digest: string | null } {
  const fields = fieldsOf(kv.value);
  return { seq: seqOf(fields), digest: textOf(fields, 'digest') };
}
