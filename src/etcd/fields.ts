// The format of every record under our keys: JSON with a format version `v`, read leniently (an unknown field is
// ignored, a newer version is read for what is known of it) and written strictly.
import { fencingToken, revision, type FencingToken } from '../core/model.ts';

/** The version of every record format that this program writes. */
const formatVersion = 1;

export type Fields = Readonly<Record<string, unknown>>;

/** The object in a value, or null where it is not a record of ours. */
export function fieldsOf(value: Buffer | string): Fields | null {
  const text = value.toString();
  if (!text.startsWith('{')) return null;
  try {
    const record = JSON.parse(text) as Fields;
    return typeof record['v'] === 'number' ? record : null;
  } catch {
    return null;
  }
}

export const textOf = (fields: Fields | null, name: string): string | null => {
  const value = fields?.[name];
  return typeof value === 'string' ? value : null;
};

/** 0 where it is not a whole number. */
export const numberOf = (fields: Fields | null, name: string): number => {
  const value = fields?.[name];
  return typeof value === 'number' && Number.isSafeInteger(value) ? value : 0;
};

/** The token that a text is, in decimal; null where it is none. */
export const tokenIn = (text: string | null): FencingToken | null =>
  text !== null && /^\d{1,19}$/.test(text) ? fencingToken(revision(BigInt(text))) : null;

/** A bigint, such as a token, is written as text in decimal: a number of JSON would lose its low digits. */
export const encode = (fields: object): Buffer =>
  Buffer.from(
    JSON.stringify({ v: formatVersion, ...fields }, (_name, value: unknown) =>
      typeof value === 'bigint' ? value.toString() : value,
    ),
  );
