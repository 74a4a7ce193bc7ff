// The records of an election: candidates, members, terms and what an operator asked for. A candidate whose value is not
// ours is shown by its bare value.
import type { IKeyValue } from 'etcd3';
import {
  causes,
  memberId,
  revision,
  type Candidate,
  type Cause,
  type Concession,
  type Control,
  type FencingToken,
  type Handover,
  type Member,
  type Self,
  type SwitchoverRequest,
  type TermRecord,
} from '../core/model.ts';
import type { Listed } from '../core/short-lease.ts';
import { encode, fieldsOf, numberOf, textOf, tokenIn, type Fields } from './fields.ts';
import { leaseFromDecimal, memberFromKey, revisionFromDecimal, type ElectionKeys } from './keys.ts';

const causeOf = (fields: Fields | null, name = 'cause'): Cause =>
  causes.find((cause) => cause === textOf(fields, name)) ?? 'unknown';

/** Null where it is not told: 0 is a time, too. */
function millisecondsOf(fields: Fields | null, name: string): number | null {
  const value = fields?.[name];
  return typeof value === 'number' ? value : null;
}

/** Whatever is there says that it concedes. */
function concessionIn(fields: Fields | null): Concession | null {
  const conceded = fields?.['conceded'];
  if (typeof conceded !== 'object' || conceded === null) return null;
  const about = conceded as Fields;
  return { cause: causeOf(about), endedAgoMs: millisecondsOf(about, 'endedAgoMs') ?? 0 };
}

export function decodeCandidate(keys: ElectionKeys, kv: IKeyValue): Candidate {
  const fields = fieldsOf(kv.value);
  const id = textOf(fields, 'id');
  return {
    key: kv.key.toString('utf8').slice(keys.candidates.length),
    leaseId: leaseFromDecimal(kv.lease),
    createRevision: revisionFromDecimal(kv.create_revision),
    id: memberId(id ?? kv.value.toString('utf8')),
    address: textOf(fields, 'address'),
    url: textOf(fields, 'url'),
    priority: numberOf(fields, 'priority'),
    ttlMs: numberOf(fields, 'ttlMs') || null,
    since: textOf(fields, 'since'),
    conceded: id === null ? null : concessionIn(fields),
    pingKey: textOf(fields, 'pingKey'),
    native: id !== null,
  };
}

export const encodeCandidate = ({
  id,
  address,
  url,
  priority,
  ttlMs,
  since,
  conceded = null,
  pingKey,
}: Self & Pick<Candidate, 'ttlMs' | 'since'> & Partial<Pick<Candidate, 'conceded'>>): Buffer => {
  const more = { ...(conceded && { conceded }), ...(pingKey !== null && { pingKey }) };
  return encode({ id, address, url, priority, ttlMs, since, ...more });
};

export function decodeMember(keys: ElectionKeys, kv: IKeyValue): Member {
  const fields = fieldsOf(kv.value);
  return {
    id: memberFromKey(keys, kv.key.toString('utf8')),
    leaseId: leaseFromDecimal(kv.lease),
    address: textOf(fields, 'address'),
    url: textOf(fields, 'url'),
    priority: numberOf(fields, 'priority'),
    healthy: fields?.['healthy'] === true,
    checked: typeof fields?.['checked'] === 'boolean' ? fields['checked'] : null,
    version: textOf(fields, 'version') ?? 'unknown',
  };
}

export const encodeMember = ({
  address,
  url,
  priority,
  healthy,
  checked,
  version,
}: Member): Buffer => encode({ address, url, priority, healthy, checked, version });

/** Null where the record is not readable: then no end counts as clean. */
export function decodeHandover(kv: IKeyValue): Handover | null {
  const fields = fieldsOf(kv.value);
  const token = tokenIn(textOf(fields, 'token'));
  if (token === null) return null;
  const to = textOf(fields, 'to');
  return {
    from: memberId(textOf(fields, 'from') ?? ''),
    token,
    cause: causeOf(fields),
    to: to === null ? null : memberId(to),
    reason: textOf(fields, 'reason'),
    actor: textOf(fields, 'actor'),
    endedAgoMs: millisecondsOf(fields, 'endedAgoMs'),
  };
}

export const encodeHandover = (record: Handover): Buffer => encode(record);

/** Null where the record is not readable: a request that nobody understands is not one. */
export function decodeSwitchover(kv: IKeyValue): SwitchoverRequest | null {
  const fields = fieldsOf(kv.value);
  const token = tokenIn(textOf(fields, 'token'));
  const to = textOf(fields, 'to');
  if (token === null || to === null) return null;
  const reason = textOf(fields, 'reason');
  return { token, to: memberId(to), reason, actor: textOf(fields, 'actor') };
}

export const encodeSwitchover = (record: SwitchoverRequest): Buffer => encode(record);

/** The presence of the key is the pause; a value that is not readable still pauses. */
export function decodeControl(kv: IKeyValue): Control {
  const fields = fieldsOf(kv.value);
  return {
    paused: true,
    reason: textOf(fields, 'reason'),
    by: textOf(fields, 'by'),
    until: textOf(fields, 'until'),
  };
}

export const encodeControl = ({ reason, by, until }: Control): Buffer =>
  encode({ reason, by, until });

export const encodeWitnesses = (term: FencingToken, listed: readonly Listed[]): Buffer =>
  encode({ term, listed });

/** Who is listed of that term; nobody by a record of another one, or by one that is not readable. */
export function decodeWitnesses(kv: IKeyValue, term: FencingToken): readonly Listed[] {
  const fields = fieldsOf(kv.value);
  const listed = fields?.['listed'];
  if (tokenIn(textOf(fields, 'term')) !== term || !Array.isArray(listed)) return [];
  return listed.flatMap((one: Fields | null) => {
    const witness = tokenIn(textOf(one, 'witness'));
    return witness === null
      ? []
      : [{ witness: revision(witness), number: numberOf(one, 'number') }];
  });
}

/** The token in the key of a term's record, or null where the key is not of that form. */
export function decodeTermKey(keys: ElectionKeys, key: Buffer): FencingToken | null {
  return tokenIn(key.toString('utf8').slice(keys.terms.length));
}

export const encodeTerm = (record: TermRecord): Buffer => encode(record);

/** Null where the key or the value is not of our form. */
export function decodeTerm(keys: ElectionKeys, kv: IKeyValue): TermRecord | null {
  const token = decodeTermKey(keys, kv.key);
  const fields = fieldsOf(kv.value);
  const leader = textOf(fields, 'leader');
  if (token === null || leader === null) return null;
  return {
    token,
    leader: memberId(leader),
    address: textOf(fields, 'address'),
    from: textOf(fields, 'from'),
    to: textOf(fields, 'to'),
    cause: textOf(fields, 'cause') === null ? null : causeOf(fields),
    reason: textOf(fields, 'reason'),
    actor: textOf(fields, 'actor'),
    leaderlessMs: millisecondsOf(fields, 'leaderlessMs'),
    leaderlessAtMostMs: millisecondsOf(fields, 'leaderlessAtMostMs'),
    ttlMs: numberOf(fields, 'ttlMs') || null,
    endBefore: textOf(fields, 'endBefore') === null ? null : causeOf(fields, 'endBefore'),
  };
}
