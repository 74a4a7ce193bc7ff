// The file that `backup` writes and `restore` reads: a line of JSON for what it is about, one for each key, and a last
// one that says how many there are and their digest, so that half a file is never taken for a whole one.
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { Writable } from 'node:stream';
import { once } from 'node:events';
import * as z from 'zod';
import { revision, type Revision } from '../core/model.ts';
import { ElectordError } from '../errors.ts';
import type { ArchivedKey } from '../etcd/access.ts';

const formatVersion = 1;

/** The file is no backup, is damaged or cut short, or is of a later version. */
export class UnusableBackup extends ElectordError {
  override readonly name = 'UnusableBackup';
  readonly code = 'unusable_backup';
}

const decimal = z.string().regex(/^\d{1,19}$/);
const header = z.object({
  format: z.literal('electord-backup'),
  v: z.number(),
  takenAt: z.string(),
  prefix: z.string(),
  elections: z.array(z.string()),
  /** Of etcd, when it was taken: no fencing token in it is greater. */
  revision: decimal,
});
const record = z.object({
  election: z.string(),
  /** Nothing that a restore has no business with, such as a candidate that no lease would ever remove. */
  key: z.string().regex(/^(journal\/entries\/|journal\/head$|state\/|terms\/)/),
  value: z.base64(),
  meta: z.base64().nullable(),
});
const footer = z.object({ end: z.literal(true), keys: z.number(), sha256: z.string() });

export interface BackupHeader {
  readonly takenAt: string;
  readonly prefix: string;
  readonly elections: readonly string[];
  readonly revision: Revision;
}

export interface BackupRecord extends ArchivedKey {
  readonly election: string;
}

/** Writes a backup to a stream, as fast as that takes it; does not end the stream. */
export class BackupWriter {
  readonly #to: Writable;
  readonly #hash: Hash = createHash('sha256');
  #keys = 0;

  constructor(to: Writable) {
    this.#to = to;
  }

  async begin({ revision: at, ...about }: BackupHeader): Promise<void> {
    const first = { format: 'electord-backup', v: formatVersion, ...about, revision: String(at) };
    await this.#line(JSON.stringify(first));
  }

  async add({ election, key, value, meta }: BackupRecord): Promise<void> {
    this.#keys += 1;
    const texts = { value: value.toString('base64'), meta: meta?.toString('base64') ?? null };
    await this.#line(JSON.stringify({ election, key, ...texts }));
  }

  /** Resolves with the number of keys. */
  async end(): Promise<number> {
    const sha256 = this.#hash.copy().digest('hex');
    await this.#line(JSON.stringify({ end: true, keys: this.#keys, sha256 }));
    return this.#keys;
  }

  async #line(text: string): Promise<void> {
    this.#hash.update(`${text}\n`);
    if (this.#to.write(`${text}\n`)) return;
    // One that has broken before says so to nobody any more, and never drains.
    if (this.#to.destroyed) throw this.#to.errored ?? new Error('it was closed');
    await once(this.#to, 'drain');
  }
}

const unusable = (path: string, what: string): UnusableBackup =>
  new UnusableBackup(`${path} ${what}`);

function parsed<Schema extends z.ZodType>(
  schema: Schema,
  text: string,
  path: string,
  number: number,
): z.infer<Schema> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw unusable(path, `is no backup: line ${String(number)} is not JSON`);
  }
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  throw unusable(path, `is no backup of ours: line ${String(number)} is not what it should be`);
}

/** Reads the whole file once and compares count and digest. Throws UnusableBackup, or Node's error for the file. */
export async function checkBackup(path: string): Promise<BackupHeader> {
  const hash = createHash('sha256');
  let about: BackupHeader | null = null;
  let last: string | null = null;
  let number = 0;
  for await (const line of linesOf(path)) {
    number += 1;
    about ??= headerIn(line, path);
    if (last !== null) hash.update(`${last}\n`);
    // Whatever is followed by another line is a key, but for the first one.
    if (last !== null && number > 2) parsed(record, last, path, number - 1);
    last = line;
  }
  if (about === null || last === null || number < 2) throw unusable(path, 'is empty or cut short');
  const { keys, sha256 } = parsed(footer, last, path, number);
  if (keys !== number - 2 || sha256 !== hash.digest('hex')) throw unusable(path, 'is damaged');
  return about;
}

function headerIn(line: string, path: string): BackupHeader {
  const { v, takenAt, prefix, elections, revision: at } = parsed(header, line, path, 1);
  if (v !== formatVersion) {
    throw unusable(
      path,
      `has format ${String(v)}; this program reads format ${String(formatVersion)}`,
    );
  }
  return { takenAt, prefix, elections, revision: revision(BigInt(at)) };
}

/** The keys of one election, in the order of the file, which `checkBackup` has found to be whole. */
export async function* recordsOf(path: string, election: string): AsyncGenerator<ArchivedKey> {
  let number = 0;
  for await (const line of linesOf(path)) {
    number += 1;
    if (number === 1 || line.startsWith('{"end":')) continue;
    const { election: of, key, value, meta } = parsed(record, line, path, number);
    if (of !== election) continue;
    const bytes = (text: string): Buffer => Buffer.from(text, 'base64');
    yield { key, value: bytes(value), meta: meta === null ? null : bytes(meta) };
  }
}

/** Several times what a value of 1.5 MiB, the largest that etcd takes, is as a line. */
const longestLine = 16 * 1024 * 1024;

/**
 * Lines as they were written: `node:readline` would end one at U+2028 too, which a key of another program may hold, and
 * read far ahead of whoever writes to etcd.
 */
async function* linesOf(path: string): AsyncGenerator<string> {
  let begun = '';
  for await (const chunk of createReadStream(path, 'utf8') as AsyncIterable<string>) {
    const [first = '', ...others] = chunk.split('\n');
    begun += first;
    for (const next of others) {
      yield begun;
      begun = next;
    }
    if (begun.length > longestLine) throw unusable(path, 'is no backup: it has a line without end');
  }
  if (begun !== '') yield begun;
}
