// One answer of `/leader` as a line of text between a probe and the run that judges it, and as the run keeps it.
import type { LeaderAnswer } from '../harness/sidecar.ts';

/** An answer as the judge needs it. Times are in ms of CLOCK_MONOTONIC, the same on all hosts of a run. */
export interface Answer {
  /** The sidecar's id. */
  readonly from: string;
  /** Just before the question was sent. */
  readonly sentAt: number;
  /** Just after the last byte of the answer came: the state it tells of is of a moment between the two. */
  readonly receivedAt: number;
  readonly status: number;
  /** The term that the sidecar claims for itself; null where it does not lead. */
  readonly claims: bigint | null;
  /** The term of the leader that it names, its own included; null where it names none. */
  readonly names: bigint | null;
  readonly validForMs: number;
  /** The wall clock of the sidecar in whole seconds, as ms; NaN where it did not say. */
  readonly wallMs: number;
}

/** What a probe has seen. */
interface Seen {
  readonly sentAt: number;
  readonly receivedAt: number;
  readonly status: number;
  readonly wallMs: number;
  readonly body: LeaderAnswer;
}

/** A line without its end. */
export function formatAnswer({ sentAt, receivedAt, status, wallMs, body }: Seen): string {
  // Either the code or the body makes a claim: a client may believe either.
  const claims = status === 200 || body.isLeader ? (body.fencingToken ?? '0') : '-';
  const names = body.leader?.fencingToken ?? '-';
  const times = `${sentAt.toFixed(3)} ${receivedAt.toFixed(3)}`;
  return `${times} ${status} ${claims} ${names} ${body.validForMs} ${wallMs}`;
}

const term = (text: string | undefined): bigint | null =>
  text === undefined || text === '-' ? null : BigInt(text);

/** @throws Error when the line is not one of a probe. */
export function parseAnswer(from: string, line: string): Answer {
  const fields = line.split(' ');
  const [sentAt, receivedAt, status, claims, names, validForMs, wallMs] = fields;
  if (fields.length !== 7) throw new Error(`a probe of ${from} wrote: ${line}`);
  return {
    from,
    sentAt: Number(sentAt),
    receivedAt: Number(receivedAt),
    status: Number(status),
    claims: term(claims),
    names: term(names),
    validForMs: Number(validForMs),
    wallMs: Number(wallMs),
  };
}
