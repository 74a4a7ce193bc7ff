// The port of what a leader keeps: small state and a journal, which only the leader of a term writes.
import type { ElectionName, FencingToken, LeaseId, MemberId, Revision } from './core/model.ts';

/** A term of our own that a write is made for, and the lease that its key hangs on: what guards the write. */
export interface Writer {
  readonly election: ElectionName;
  readonly leaseId: LeaseId;
  readonly token: FencingToken;
}

/** What a write requires of the value that is there; null: nothing. `anything`: that there is one. */
export type Precondition = 'nothing' | 'anything' | readonly Revision[] | null;

export interface StoredValue {
  readonly bytes: Uint8Array;
  /** As it was written; null where that is not known, because another program wrote the key. */
  readonly contentType: string | null;
  /** The revision that wrote it last. */
  readonly revision: Revision;
  /** The term in which it was written, null likewise. */
  readonly writtenIn: FencingToken | null;
}

/** `conflict`: the precondition does not hold; `revision` is what is there, null for nothing. */
export type WriteOutcome =
  | { readonly kind: 'written'; readonly revision: Revision }
  | { readonly kind: 'conflict'; readonly revision: Revision | null };

export type RemoveOutcome =
  | { readonly kind: 'removed' }
  | { readonly kind: 'absent' }
  | { readonly kind: 'conflict'; readonly revision: Revision | null };

/** An entry for the journal: JSON as it was sent. Times are ISO 8601, for people. */
export interface NewEntry {
  readonly json: string;
  readonly at: string;
  readonly by: MemberId;
  /** Makes a retry within a day safe; null where the caller gave none. */
  readonly idempotencyKey: string | null;
}

export interface JournalEntry extends Omit<NewEntry, 'idempotencyKey'> {
  readonly seq: number;
  readonly token: FencingToken;
}

/** `reused`: the idempotency key belongs to another entry, which is number `seq`. */
export type AppendOutcome =
  | { readonly kind: 'appended'; readonly seq: number; readonly replayed: boolean }
  | { readonly kind: 'reused'; readonly seq: number };

export interface JournalPage {
  readonly entries: readonly JournalEntry[];
  /** The number of the newest entry there is, 0 for none. */
  readonly last: number;
}

/**
 * Small state and a log that only the leader of a term writes: each write is one transaction that compares the
 * leader's key and revisions that never come back, so that a copy of it which arrives late or twice changes nothing.
 * Rejects with FencedOut where that term does not lead any more, and with Unreachable where it is not known whether
 * the write was made: whoever then writes again may write the same twice.
 */
export interface FencedStore {
  /** Linearizable; null where there is nothing. */
  read(election: ElectionName, key: string): Promise<StoredValue | null>;
  write(
    writer: Writer,
    key: string,
    value: { readonly bytes: Uint8Array; readonly contentType: string },
    precondition: Precondition,
  ): Promise<WriteOutcome>;
  remove(writer: Writer, key: string, precondition: Precondition): Promise<RemoveOutcome>;
  append(writer: Writer, entry: NewEntry): Promise<AppendOutcome>;
  /** Linearizable: at most `limit` entries behind number `after`, fewer where they are large. */
  journal(election: ElectionName, after: number, limit: number): Promise<JournalPage>;
}
