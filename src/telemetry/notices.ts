// Every notice of the elector as one readable line, with the same field names throughout: election, id, term (the
// fencing token, as a string), cause, and durations with their unit in the name.
import { assertNever } from '../core/assert.ts';
import {
  plannedEnds,
  type ElectionName,
  type FencingToken,
  type MemberId,
  type Millis,
} from '../core/model.ts';
import type { Elections, Notice } from '../ports.ts';
import type { Log } from './log.ts';
import { Repetition } from './repetition.ts';

type Of<Kind extends Notice['kind']> = Extract<Notice, { readonly kind: Kind }>;

const leaseLevels = {
  granted: 'info',
  recovered: 'info',
  revoking: 'info',
  lapsed: 'warn',
  lost: 'warn',
} as const;

const rounded = (ms: number): number => Math.round(ms);

const term = (token: FencingToken): string => token.toString();

class NoticeLog {
  readonly #log: Log;
  readonly #elections: Elections;
  readonly #clock: { now(): Millis };
  readonly #troubles = new Repetition();
  /** Since when we lead without a witness, and whether that was said; by election. */
  readonly #unwitnessed = new Map<ElectionName, { readonly since: Millis; said: boolean }>();

  constructor(log: Log, elections: Elections, clock: { now(): Millis }) {
    this.#log = log;
    this.#elections = elections;
    this.#clock = clock;
  }

  write(notice: Notice): void {
    switch (notice.kind) {
      case 'elected':
        return this.#elected(notice);
      case 'ended':
        return this.#ended(notice);
      case 'released':
        return this.#released(notice);
      case 'changed':
        return this.#changed(notice);
      case 'lease':
        return this.#lease(notice);
      case 'renewal':
        return this.#renewal(notice);
      case 'trouble':
        return this.#trouble(notice.operation, notice.election, notice.error);
      case 'watchInterrupted':
        return this.#interrupted(notice.why);
      case 'deposed':
        return this.#deposed(notice);
      case 'witnesses':
        return this.#witnesses(notice);
      case 'ping':
        return;
      default:
        assertNever(notice);
    }
  }

  #elected({ election, token, leaderlessMs, leaderlessAtMostMs, endBefore }: Of<'elected'>): void {
    const bounds = { leaderlessMs, leaderlessAtMostMs };
    const lasted = {
      ...Object.fromEntries(
        Object.entries(bounds).flatMap(([name, ms]) => (ms === null ? [] : [[name, rounded(ms)]])),
      ),
      ...(endBefore === null ? {} : { endBefore }),
    };
    const fields = { ...this.#who(election), term: term(token), cause: 'elected', ...lasted };
    this.#log.info(fields, `leads ${election}`);
  }

  #ended({ election, token, cause, reason, ledMs }: Of<'ended'>): void {
    const why = reason === null ? {} : { reason };
    const fields = {
      ...this.#who(election),
      term: term(token),
      cause,
      ...why,
      ledMs: rounded(ledMs),
    };
    const level = plannedEnds.has(cause) ? 'info' : 'warn';
    this.#log[level](fields, `no longer leads ${election}: ${cause}`);
  }

  #released({ election, token }: Of<'released'>): void {
    const fields = { ...this.#who(election), term: term(token) };
    this.#log.info(fields, `gave the leadership of ${election} back to etcd`);
  }

  #changed({ election, report, previousLeader, cause }: Of<'changed'>): void {
    const { leader, role, id } = report;
    const fields = {
      election,
      id,
      role,
      leader: leader?.id ?? null,
      term: leader === null ? null : term(leader.token),
      previousLeader: previousLeader?.id ?? null,
      previousTerm: previousLeader === null ? null : term(previousLeader.token),
      cause,
    };
    const who = leader === null ? 'no leader is known of' : `${leader.id} is the leader of`;
    this.#log.info(fields, `${who} ${election}; this instance is ${role}`);
  }

  #lease({ state, leaseId, ttlMs }: Of<'lease'>): void {
    const fields = { id: this.#id(), leaseId, ttlMs };
    this.#log[leaseLevels[state]](
      fields,
      state === 'revoking' ? 'revoking the lease' : `the lease is ${state}`,
    );
  }

  #renewal({ result, durationMs }: Of<'renewal'>): void {
    const fields = { id: this.#id(), result, durationMs: rounded(durationMs) };
    // Trouble comes as a notice of its own; these are for following a round at a time.
    if (result === 'ok') this.#log.trace(fields, 'renewed the lease');
    else this.#log.debug(fields, `the renewal of the lease is ${result}`);
    if (result !== 'ok') return;
    this.#sayWhatEnded();
    this.#sayWhoWouldNotBeMissed();
  }

  #trouble(operation: string, election: ElectionName | null, error: Error): void {
    const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name;
    const count = this.#troubles.happened(`${operation} ${code}`, this.#clock.now());
    if (count === null) return;
    const where = election === null ? {} : { election };
    const more = error.cause instanceof Error ? { because: error.cause.message } : {};
    const fields = { ...where, id: this.#id(), operation, code, count, ...more };
    this.#log.warn(fields, `${operation} failed: ${error.message}`);
  }

  #interrupted(why: string): void {
    const count = this.#troubles.happened('watch interrupted', this.#clock.now());
    if (count === null) return;
    const fields = { id: this.#id(), operation: 'watch', code: 'interrupted', count };
    this.#log.warn(fields, `the watch was interrupted: ${why}`);
  }

  #deposed({ election, token }: Of<'deposed'>): void {
    const fields = { ...this.#who(election), term: term(token) };
    this.#log.warn(fields, `ended the term of the leader of ${election}, which was not heard of`);
  }

  #witnesses({ election, token, ids }: Of<'witnesses'>): void {
    const fields = { ...this.#who(election), term: term(token), witnesses: ids };
    this.#log.debug(fields, `witnesses of the term: ${ids.join(', ') || 'nobody'}`);
    const before = this.#unwitnessed.get(election);
    if (ids.length === 0 || before === undefined) return;
    this.#unwitnessed.delete(election);
    if (before.said) this.#log.info(fields, 'fast failover is back: there are witnesses');
  }

  /** Said once for a term without a witness, after a TTL: one that was dismissed may be back in a moment. */
  #sayWhoWouldNotBeMissed(): void {
    const now = this.#clock.now();
    for (const election of this.#elections.names) {
      const { token, failover } = this.#elections.report(election);
      // The same in every election.
      if (failover === null) return;
      if (token === null) this.#unwitnessed.delete(election);
      if (token === null || failover.witnesses.length > 0) continue;
      const stretch = this.#unwitnessed.get(election) ?? { since: now, said: false };
      this.#unwitnessed.set(election, stretch);
      if (stretch.said || now - stretch.since < this.#elections.ttlMs()) continue;
      stretch.said = true;
      const why = 'none acknowledges, has fast failover on, or is there';
      const fields = { ...this.#who(election), term: term(token) };
      this.#log.warn(fields, `a crash would cost a TTL: no witness of the term (${why})`);
    }
  }

  /** Said while renewals succeed, of what has not happened for one TTL: that spans several rounds. */
  #sayWhatEnded(): void {
    const quietMs = this.#elections.ttlMs();
    for (const { key, total } of this.#troubles.ended(this.#clock.now(), quietMs)) {
      const [operation, code] = key.split(' ');
      const fields = { id: this.#id(), operation, code, count: total };
      this.#log.info(fields, `recovered: ${key} is over after ${total} times`);
    }
  }

  #who(election: ElectionName): { readonly election: ElectionName; readonly id: MemberId } {
    return { election, id: this.#elections.report(election).id };
  }

  /** The same in every election. */
  #id(): MemberId | null {
    const [first] = this.#elections.names;
    return first === undefined ? null : this.#elections.report(first).id;
  }
}

/**
 * Logs every notice from now on; the returned function ends that. A trouble that repeats is logged at once, then
 * counted and logged at most every 30 s; that it is over is logged once, after a TTL without it. `defer` may put the
 * writing off, in order.
 */
export function logNotices(
  log: Log,
  elections: Elections,
  clock: { now(): Millis },
  defer: (write: () => void) => void = (write) => write(),
): () => void {
  const lines = new NoticeLog(log, elections, clock);
  return elections.subscribe((notice) => defer(() => lines.write(notice)));
}
