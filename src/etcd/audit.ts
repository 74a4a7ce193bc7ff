// What was asked for by verbs, under PREFIX/ELECTION/audit/: a key for each, the newest hundred. Each is written as a verb is
// carried out (verbs.ts): a copy of the request that arrives late changes nothing.
import { randomUUID } from 'node:crypto';
import type { AuditEntry } from '../contract.ts';
import type { ElectionName } from '../core/model.ts';
import type { AuditLog } from '../ports.ts';
import { encode, fieldsOf, textOf } from './fields.ts';
import type { ElectionKeys } from './keys.ts';
import { allFound, put, readAll, remove } from './requests.ts';
import { carryOut, type Transact } from './verbs.ts';

const entriesKept = 100;
/** More than one is too many only where two were written at once, or a version kept more. */
const removedAtOnce = 50;

const newestFirst = { sort_order: 'Descend', sort_target: 'Create' } as const;

export class EtcdAuditLog implements AuditLog {
  readonly #transact: Transact;
  readonly #keysOf: (election: ElectionName) => ElectionKeys;

  constructor(transact: Transact, keysOfElection: (election: ElectionName) => ElectionKeys) {
    this.#transact = transact;
    this.#keysOf = keysOfElection;
  }

  /** Rejects with Unreachable where it is not known whether it was written, else as `transact` does. */
  async record(election: ElectionName, entry: AuditEntry): Promise<void> {
    const keys = this.#keysOf(election);
    const { value } = await this.#transact({
      success: [readAll(keys.audit, { ...newestFirst, keys_only: true })],
    });
    const surplus = allFound(value, 0).slice(entriesKept - 1, entriesKept - 1 + removedAtOnce);
    const own = put(keys.audit + randomUUID(), encode(entry));
    const operations = [own, ...surplus.map(({ key }) => remove(key.toString('utf8')))];
    await carryOut(this.#transact, keys, { operations });
  }

  async entries(election: ElectionName): Promise<readonly AuditEntry[]> {
    const { audit } = this.#keysOf(election);
    const { value } = await this.#transact({
      success: [readAll(audit, { ...newestFirst, limit: entriesKept })],
    });
    return allFound(value, 0).flatMap((kv) => decode(kv.value) ?? []);
  }
}

const verbs = ['step-down', 'bench', 'switchover', 'pause', 'resume'] as const;

/** Null where the value is not of our form. */
function decode(value: Buffer): AuditEntry | null {
  const fields = fieldsOf(value);
  const [at, from, via] = [textOf(fields, 'at'), textOf(fields, 'from'), textOf(fields, 'via')];
  const verb = verbs.find((each) => each === textOf(fields, 'verb'));
  if (at === null || from === null || via === null || verb === undefined) return null;
  return {
    at,
    verb,
    by: textOf(fields, 'by'),
    certificate: textOf(fields, 'certificate'),
    from,
    via,
    reason: textOf(fields, 'reason'),
    outcome: textOf(fields, 'outcome') ?? 'unknown',
    detail: textOf(fields, 'detail') ?? '',
  };
}
