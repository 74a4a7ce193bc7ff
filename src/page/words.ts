// What the page says in words: causes, roles, durations and times. Pure.
import { plannedEnds, type Cause } from '../core/model.ts';
import type { MemberOnWire, StatusAnswer, TermOnWire } from '../contract.ts';

const ends: Readonly<Record<Cause, string>> = {
  elected: 'was elected anew',
  resigned: 'stepped down',
  switchover: 'handed over',
  failback: 'made way for a higher priority',
  app_unhealthy: 'gave up: its app was unhealthy',
  app_exited: 'gave up: its app ended',
  lease_expired: 'vanished: its lease ran out',
  taken_away: 'lost its lease or key before its time',
  key_deleted: 'lost its key: somebody deleted it',
  etcd_unreachable: 'gave up: it could not reach etcd',
  paused: 'left while the election was paused',
  stopping: 'was stopped',
  crashed: 'crashed',
  unknown: 'left, nobody knows why',
};

/** A new term of the same leader is nobody's fault. */
export const isPlanned = (cause: Cause): boolean => cause === 'elected' || plannedEnds.has(cause);

/** Continues the sentence that begins with the name of the leader whose term ended. */
export const endOf = (cause: Cause | null): string => ends[cause ?? 'unknown'];

/** `handed over (“deploy”, operator via orders-1)`. */
export function endWords({ cause, reason, actor }: TermOnWire): string {
  const remarks = [reason === null ? null : `“${reason}”`, actor].filter((one) => one !== null);
  return `${endOf(cause)}${remarks.length === 0 ? '' : ` (${remarks.join(', ')})`}`;
}

/** The same as a whole sentence: `orders-0 handed over (“deploy”)`. */
export const endSentence = (term: TermOnWire): string => `${term.leader} ${endWords(term)}`;

const obstacles: Readonly<Record<string, string>> = {
  never_leads: 'it never leads (negative priority)',
  paused: 'the election is paused',
  app_unhealthy: 'its app is unhealthy',
  standing_back: 'it stands back after a step-down or a bad term',
};

/** Continues `This sidecar does not campaign: `. */
export const obstacleWords = (obstacle: string): string => obstacles[obstacle] ?? obstacle;

/** Continues `This sidecar is next, and waits `. */
export function waitingWords(
  { forMs, for: whom, because }: NonNullable<StatusAnswer['waiting']>,
  laterMs: number,
): string {
  const why =
    because === 'taken_away'
      ? `because the lease or key of ${whom ?? 'the last leader'} was taken away`
      : `as its takeover delay says, after ${whom ?? 'whoever may have led before'}`;
  return `${ageWords(Math.max(0, forMs - laterMs))} more, ${why}`;
}

/** Who replaces whom; null where fast failover is off, nothing is to be said, or its sidecar is too old to say. */
export function failoverWords({
  isLeader,
  failover = null,
}: Partial<StatusAnswer>): { readonly text: string; readonly tone: 'ok' | 'warn' } | null {
  if (failover === null) return null;
  const { shortMs, witnesses, isWitness } = failover;
  const after = durationWords(shortMs);
  if (isLeader === true) {
    return witnesses.length === 0
      ? { text: 'no witness: a crash costs a TTL', tone: 'warn' }
      : { text: `${witnesses.join(' and ')} would replace it after ${after}`, tone: 'ok' };
  }
  return isWitness ? { text: `replaces the leader after ${after} of silence`, tone: 'ok' } : null;
}

/** Of a member's app; one that nobody checks is not known to be well. */
export function appWord(member: Pick<MemberOnWire, 'native' | 'healthy' | 'checked'> | undefined): {
  readonly text: string;
  readonly tone: 'ok' | 'bad' | 'dim';
} {
  if (member?.native !== true) return { text: 'not known', tone: 'dim' };
  if (!member.healthy) return { text: 'unhealthy', tone: 'bad' };
  return member.checked === false
    ? { text: 'not checked', tone: 'dim' }
    : { text: 'well', tone: 'ok' };
}

const secondMs = 1000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

const twoUnits = (ms: number, large: number, small: number, names: readonly string[]): string => {
  const many = Math.floor(ms / large);
  const few = Math.floor((ms % large) / small);
  return `${many} ${names[0] ?? ''}${few === 0 ? '' : ` ${few} ${names[1] ?? ''}`}`;
};

/** `340 ms`, `4.2 s`, `38 s`, `12 min 5 s`, `3 h 20 min`, `2 d 4 h`. */
export function durationWords(durationMs: number): string {
  const ms = Math.max(0, durationMs);
  if (ms < secondMs) return `${Math.round(ms)} ms`;
  if (ms < 10 * secondMs) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  if (ms < minuteMs) return `${Math.floor(ms / secondMs)} s`;
  if (ms < hourMs) return twoUnits(ms, minuteMs, secondMs, ['min', 's']);
  if (ms < dayMs) return twoUnits(ms, hourMs, minuteMs, ['h', 'min']);
  return twoUnits(ms, dayMs, hourMs, ['d', 'h']);
}

/** `≤ 4.3 s`: what it may be at most is never rounded down. */
export function atMostWords(ms: number): string {
  const step = ms < secondMs ? 1 : ms < 10 * secondMs ? 100 : secondMs;
  return `≤ ${durationWords(Math.ceil(ms / step) * step)}`;
}

/** How long nobody led before a term; null where nobody knows. */
export function gapWords({
  leaderlessMs,
  leaderlessAtMostMs,
}: Pick<TermOnWire, 'leaderlessMs' | 'leaderlessAtMostMs'>): string | null {
  if (leaderlessMs !== null) return durationWords(leaderlessMs);
  return leaderlessAtMostMs === null ? null : atMostWords(leaderlessAtMostMs);
}

/** As {@link durationWords}, for what is looked at while it grows: whole seconds from the first one on. */
export const ageWords = (ms: number): string =>
  ms < secondMs ? 'less than 1 s' : durationWords(Math.floor(ms / secondMs) * secondMs);

const two = (value: number): string => String(value).padStart(2, '0');

/** The local time of day, with the date where it is not today's. */
export function timeWords(wallMs: number, nowMs: number): string {
  const time = new Date(wallMs);
  if (Number.isNaN(time.getTime())) return 'unknown';
  const clock = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
  if (time.toDateString() === new Date(nowMs).toDateString()) return clock;
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${clock}`;
}

export const count = (many: number, one: string, several = `${one}s`): string =>
  `${many.toLocaleString('en')} ${many === 1 ? one : several}`;
