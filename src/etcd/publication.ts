// Keys that a leader keeps in etcd for those who read it themselves (`--publish`): written in the transaction that proclaims
// its term and on its lease, deleted in the one that ends it where they still hang on that lease. They decide nothing.
import type { IRequestOp } from 'etcd3';
import type { ElectionName, FencingToken, LeaseId } from '../core/model.ts';
import { put, removeOn } from './requests.ts';

/** A key and its value; `{election}` is filled in in both, `{token}` in the value. */
export interface Publication {
  readonly key: string;
  readonly value: string;
}

/** What the term `token` of an election publishes. */
export const publishedBy = (
  publications: readonly Publication[],
  election: ElectionName | string,
  token: FencingToken,
): readonly Publication[] =>
  publications.map(({ key, value }) => ({
    key: key.replaceAll('{election}', election),
    value: value.replaceAll('{election}', election).replaceAll('{token}', token.toString()),
  }));

/** The keys that any term of an election publishes. */
export const publishedIn = (
  publications: readonly Publication[],
  election: ElectionName | string,
): readonly string[] => publications.map(({ key }) => key.replaceAll('{election}', election));

export const publish = (published: readonly Publication[], lease: LeaseId): readonly IRequestOp[] =>
  published.map(({ key, value }) => put(key, Buffer.from(value), lease));

/** Deletes what a leader with this lease has published, and nothing that others have put there since. */
export const unpublish = (keys: readonly string[], lease: LeaseId): readonly IRequestOp[] =>
  keys.map((key) => removeOn(key, lease));
