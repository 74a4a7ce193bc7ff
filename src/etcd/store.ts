// The fenced store on etcd: state and journal that only the leader of a term writes. Every write is one transaction
// guarded by its term and by what was read before it, and carries a name of its own: a copy of it that arrives late or
// twice (requests are hedged) changes nothing, and the answer says what became of it, or that this is not known.
import { randomUUID } from 'node:crypto';
import type { IKeyValue, ITxnRequest, ITxnResponse } from 'etcd3';
import {
  fencingToken,
  type ElectionName,
  type LeaseId,
  type Millis,
  type Revision,
} from '../core/model.ts';
import { FencedOut, LeaseLost, Refused, Unreachable } from '../errors.ts';
import type {
  AppendOutcome,
  FencedStore,
  JournalEntry,
  JournalPage,
  NewEntry,
  Precondition,
  RemoveOutcome,
  StoredValue,
  WriteOutcome,
  Writer,
} from '../store-port.ts';
import { revisionFromDecimal, type ElectionKeys } from './keys.ts';
import { newLeaseId } from './lease-id.ts';
import { pageIn, pagesOf } from './paging.ts';
import { isRefusal } from './faults.ts';
import { found, modOf } from './requests.ts';
import {
  decodeEntry,
  decodeHead,
  decodeMeta,
  decodeUse,
  entryKey,
  journalKeys,
  sha256,
} from './store-records.ts';
import {
  appendTransaction,
  beforeAppending,
  inspectTransaction,
  isStillSo,
  pageTransaction,
  readFound,
  readTransaction,
  removeTransaction,
  writeTransaction,
  type Found,
  type Use,
} from './store-transactions.ts';
import type { Transact } from './verbs.ts';

/** What the store needs of the connection to etcd. */
export interface StoreAccess {
  readonly transact: (operation: string, request: ITxnRequest) => ReturnType<Transact>;
  readonly grant: (leaseId: LeaseId, ttlMs: number) => Promise<unknown>;
  readonly keysOf: (election: ElectionName) => ElectionKeys;
  readonly now: () => Millis;
}

/** Races are only lost to other programs, since our own writes stand in line: so many in a row are no accident. */
const attemptsAtMost = 32;
/** Writes that wait for the one before them; some seconds' worth. */
const inLineAtMost = 1024;
/** An idempotency key is remembered for a day at least: one lease serves those of an hour. */
const rememberedMs = 25 * 3_600_000;
const sameLeaseMs = 3_600_000;
/** And no more keys than etcd deletes in a few milliseconds, for which it stands still, when that lease ends. */
const keysPerLease = 500;
/** A page ends with the entry that passes this. */
const pageBytes = 8 * 1024 * 1024;

const permits = (precondition: Precondition, there: Revision | null): boolean => {
  if (precondition === null) return true;
  if (precondition === 'nothing') return there === null;
  if (precondition === 'anything') return there !== null;
  return there !== null && precondition.includes(there);
};

const over = ({ token }: Writer): FencedOut =>
  new FencedOut(`term ${token.toString()} does not lead any more`);
const unknownOutcome = (): Unreachable =>
  new Unreachable('whether the write was made is not known: read before writing again');
const tooManyRaces = (): Refused => new Refused('others kept changing what was to be written');

export class EtcdFencedStore implements FencedStore {
  readonly #access: StoreAccess;
  readonly #lines = new Map<string, { last: Promise<unknown>; length: number }>();
  #memory: { readonly leaseId: LeaseId; readonly until: Millis; left: number } | null = null;

  constructor(access: StoreAccess) {
    this.#access = access;
  }

  async read(election: ElectionName, key: string): Promise<StoredValue | null> {
    const request = readTransaction(this.#access.keysOf(election), key);
    const { value: answer } = await this.#access.transact('state', request);
    const value = found(answer, 0);
    if (value === null) return null;
    const { contentType, token } = decodeMeta(value, found(answer, 1));
    const at = revisionFromDecimal(value.mod_revision);
    return { bytes: value.value, contentType, revision: at, writtenIn: token };
  }

  write(
    writer: Writer,
    key: string,
    value: Parameters<FencedStore['write']>[2],
    precondition: Precondition,
  ): Promise<WriteOutcome> {
    const write = randomUUID();
    return this.#inLine(`${writer.election} state ${key}`, () =>
      repeated(() => this.#tryToWrite(writer, { key, ...value, write }, precondition)),
    );
  }

  remove(writer: Writer, key: string, precondition: Precondition): Promise<RemoveOutcome> {
    return this.#inLine(`${writer.election} state ${key}`, () =>
      repeated(() => this.#tryToRemove(writer, key, precondition)),
    );
  }

  append(writer: Writer, entry: NewEntry): Promise<AppendOutcome> {
    const write = randomUUID();
    return this.#inLine(`${writer.election} journal`, () =>
      repeated(() => this.#tryToAppend(writer, entry, write)),
    );
  }

  async journal(election: ElectionName, after: number, limit: number): Promise<JournalPage> {
    const entries: JournalEntry[] = [];
    let bytes = 0;
    let last = 0;
    for await (const page of this.#pages(election, after, () => limit - entries.length)) {
      last = decodeHead(page.head);
      for (const kv of page.kvs) {
        const entry = decodeEntry(kv);
        // What half a restore left behind the head is no part of the journal.
        if (entry.seq > last) return { entries, last };
        entries.push(entry);
        bytes += kv.value.length;
        if (bytes >= pageBytes) return { entries, last };
      }
      if (entries.length >= limit) break;
    }
    return { entries, last };
  }

  /** Null: the race was lost to somebody else, so that it is worth another attempt. */
  async #tryToWrite(
    writer: Writer,
    value: {
      readonly key: string;
      readonly bytes: Uint8Array;
      readonly contentType: string;
      readonly write: string;
    },
    precondition: Precondition,
  ): Promise<WriteOutcome | null> {
    const keys = this.#access.keysOf(writer.election);
    const was = await this.#inspect(writer, value.key);
    if (!permits(precondition, was.value)) return { kind: 'conflict', revision: was.value };
    const request = writeTransaction(keys, writer, { ...value, was });
    const { value: answer, sent } = await this.#access.transact('state', request);
    if (answer.succeeded) {
      const written = found(answer, 2);
      if (written === null) throw new Refused('a value is not there that was just written');
      return { kind: 'written', revision: revisionFromDecimal(written.mod_revision) };
    }
    const there = found(answer, 1);
    if (there !== null && decodeMeta(there, found(answer, 2)).write === value.write) {
      return { kind: 'written', revision: revisionFromDecimal(there.mod_revision) };
    }
    return refused(writer, answer, was, sent);
  }

  async #tryToRemove(
    writer: Writer,
    key: string,
    precondition: Precondition,
  ): Promise<RemoveOutcome | null> {
    const was = await this.#inspect(writer, key);
    if (!permits(precondition, was.value)) return { kind: 'conflict', revision: was.value };
    if (was.value === null) return { kind: 'absent' };
    const { value: answer, sent } = await this.#sendRemoval(writer, key, was);
    if (answer.succeeded) return { kind: 'removed' };
    // An earlier copy of this request has removed it, or somebody else has: it is gone either way.
    if (sent > 1 && found(answer, 1) === null) return { kind: 'removed' };
    return refused(writer, answer, was, sent);
  }

  async #sendRemoval(writer: Writer, key: string, was: Found): ReturnType<Transact> {
    const keys = this.#access.keysOf(writer.election);
    const send = (noted: boolean): ReturnType<Transact> =>
      this.#access.transact('state', removeTransaction(keys, writer, { key, was, noted }));
    try {
      return await send(true);
    } catch (failure) {
      if (!isRefusal(failure)) throw failure;
      return send(false);
    }
  }

  /** What is under a key, for a term that leads. */
  async #inspect(writer: Writer, key: string): Promise<Found> {
    const request = inspectTransaction(this.#access.keysOf(writer.election), writer, key);
    const { value: answer } = await this.#access.transact('state', request);
    if (!answer.succeeded) throw over(writer);
    return readFound(answer, 0);
  }

  async #tryToAppend(
    writer: Writer,
    entry: NewEntry,
    write: string,
  ): Promise<AppendOutcome | null> {
    const keys = this.#access.keysOf(writer.election);
    const use = await this.#useOf(entry.idempotencyKey);
    const { transact } = this.#access;
    const { value: before } = await transact('journal', beforeAppending(keys, writer, use));
    if (!before.succeeded) throw over(writer);
    const used = use === null ? null : found(before, 1);
    if (used !== null) return repetition(used, entry);
    const head = found(before, 0);
    const seq = decodeHead(head) + 1;
    const request = { seq, head: modOf(head), entry, write, use };
    const answer = await this.#forgettingLeases(async () => {
      const { value } = await transact('journal', appendTransaction(keys, writer, request));
      return value;
    });
    if (answer === null) return null;
    if (answer.succeeded) return { kind: 'appended', seq, replayed: false };
    // Entries stay: this one tells for certain whether an earlier copy of this request wrote it.
    const there = found(answer, 1);
    if (there !== null && decodeEntry(there).write === write) {
      return { kind: 'appended', seq, replayed: false };
    }
    const usedNow = use === null ? null : found(answer, 2);
    if (usedNow !== null) return repetition(usedNow, entry);
    if (!stands(writer, answer)) throw over(writer);
    return null;
  }

  /** The lease that idempotency keys are remembered under is granted when one is needed. */
  async #useOf(key: string | null): Promise<Use | null> {
    if (key === null) return null;
    const now = this.#access.now();
    if (this.#memory === null || now >= this.#memory.until || this.#memory.left <= 0) {
      const leaseId = newLeaseId();
      await this.#access.grant(leaseId, rememberedMs);
      this.#memory = { leaseId, until: now + sameLeaseMs, left: keysPerLease };
    }
    this.#memory.left -= 1;
    return { key, leaseId: this.#memory.leaseId };
  }

  /** Null where somebody revoked that lease: etcd then refuses the whole transaction, and another one serves. */
  async #forgettingLeases<Value>(run: () => Promise<Value>): Promise<Value | null> {
    try {
      return await run();
    } catch (failure) {
      if (!(failure instanceof LeaseLost)) throw failure;
      this.#memory = null;
      return null;
    }
  }

  /** The entries behind `after`, some at a time and no more than are `wanted`, each time with the head. */
  #pages(election: ElectionName, after: number, wanted: () => number) {
    const keys = this.#access.keysOf(election);
    return pagesOf(journalKeys(keys).entries, entryKey(keys, after + 1), async (range) => {
      const limit = Math.min(range.limit, wanted());
      const request = pageTransaction(keys, { ...range, limit });
      const { value: answer } = await this.#access.transact('journal', request);
      return { head: found(answer, 0), ...pageIn(answer, 1) };
    });
  }

  /** One after the other, where the next would only lose a race against the one before it. */
  async #inLine<Value>(name: string, run: () => Promise<Value>): Promise<Value> {
    const line = this.#lines.get(name) ?? { last: Promise.resolve(), length: 0 };
    if (line.length >= inLineAtMost) throw new Refused('too many writes are waiting');
    this.#lines.set(name, line);
    line.length += 1;
    const mine = line.last.then(run);
    line.last = mine.catch(() => undefined);
    try {
      return await mine;
    } finally {
      line.length -= 1;
      if (line.length === 0) this.#lines.delete(name);
    }
  }
}

async function repeated<Value>(attempt: () => Promise<Value | null>): Promise<Value> {
  for (let count = 0; count < attemptsAtMost; count += 1) {
    const outcome = await attempt();
    if (outcome !== null) return outcome;
  }
  throw tooManyRaces();
}

/** Whether the key of the term was there when a transaction was refused; it is the first answer. */
function stands({ token }: Writer, answer: ITxnResponse): boolean {
  const own = found(answer, 0);
  return own !== null && fencingToken(revisionFromDecimal(own.create_revision)) === token;
}

/**
 * A write that was refused, and is not there now. If it was sent once, it was not made. If copies of it were sent, one
 * may have been made and written over or removed since, unless all is still as it was before.
 */
function refused(writer: Writer, answer: ITxnResponse, was: Found, sent: number): null {
  if (sent > 1 && !isStillSo(was, readFound(answer, 1))) throw unknownOutcome();
  if (!stands(writer, answer)) throw over(writer);
  return null;
}

function repetition(used: IKeyValue, { json }: NewEntry): AppendOutcome {
  const { seq, digest } = decodeUse(used);
  const same = digest === sha256(json);
  return same ? { kind: 'appended', seq, replayed: true } : { kind: 'reused', seq };
}
