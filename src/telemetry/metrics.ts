// Only home of prom-client, with instruments.ts and process-metrics.ts: a registry of its own, fed by the notices of the elector and by
// one look at it per scrape, so that all values of a scrape are of the same moment.
import { Registry } from 'prom-client';
import { causes, type ElectionName, type MemberId, type Millis } from '../core/model.ts';
import type { Report, Role } from '../core/report.ts';
import type { Elections, Notice, ProxyFigures, RequestObserver } from '../ports.ts';
import { createInstruments, type Instruments } from './instruments.ts';
import { collectProcessMetrics } from './process-metrics.ts';
import { collectProxyMetrics } from './proxy-metrics.ts';

const roles: readonly Role[] = ['leader', 'follower', 'observer', 'unknown'];
const renewalResults = ['ok', 'failed', 'lost'] as const;
const requestResults = ['ok', 'failed'] as const;
/** The operations of RequestObserver: they exist with 0 before the first request, so that rates are right. */
const operations = [
  'grant',
  'renew',
  'timeToLive',
  'revoke',
  'join',
  'observe',
  'release',
  'depose',
  'recordWitnesses',
  'enroll',
  'proclaim',
  'concede',
  'watch',
  'authenticate',
];

/** What is looked at when metrics are scraped. */
export interface Observed {
  readonly elections: Elections;
  /** What the app check says; without a check the app counts as up. */
  readonly app: () => { readonly configured: boolean; readonly healthy: boolean };
  /** What keeps etcd, or an endpoint of it, from being used, beyond not answering; nothing where it is not known. */
  readonly etcd?: () => { readonly wentBack: string | null; readonly leftOut: readonly string[] };
  /** How many clients receive events now. */
  readonly eventClients: () => number;
  /** The certificates in use, by the setting that names their file; ends in milliseconds of the wall clock. */
  readonly certificates: () => readonly {
    readonly setting: string;
    readonly notAfterMs: number;
  }[];
}

export interface Metrics {
  /** Counts requests to etcd; may be used before `observe`. */
  readonly requests: RequestObserver;
  /** Starts looking at a running elector; the returned function ends the counting of its notices. */
  observe(observed: Observed): () => void;
  /** Counts one run of a hook: `elected` or `step-down`, and how it ended. */
  observeHook(hook: string, result: string, seconds: number): void;
  /** The body of `/metrics`, of now. */
  render(): Promise<{ readonly contentType: string; readonly body: string }>;
}

const oneIf = (yes: boolean): number => (yes ? 1 : 0);

/** The last look at who leads, and since when no leader has been known, null where one is. */
interface Stretch {
  readonly lookedAt: Millis;
  readonly leaderlessSince: Millis | null;
  /** How long the stretch without one was that ended with this look; 0 where none did. */
  readonly endedAfterMs: number;
}

type Of<Kind extends Notice['kind']> = Extract<Notice, { kind: Kind }>;

/** Feeds the instruments from one running elector. */
class Feed {
  readonly #instruments: Instruments;
  readonly #observed: Observed;
  readonly #id: MemberId;
  readonly #clock: { now(): Millis };
  readonly #stretches = new Map<ElectionName, Stretch>();
  readonly #witnesses = new Map<ElectionName, Pick<Of<'witnesses'>, 'token' | 'ids'>>();

  constructor(
    instruments: Instruments,
    observed: Observed,
    id: MemberId,
    clock: { now(): Millis },
  ) {
    this.#instruments = instruments;
    this.#observed = observed;
    this.#id = id;
    this.#clock = clock;
    for (const election of observed.elections.names) this.#prepare(election);
  }

  #prepare(election: ElectionName): void {
    const labels = { election, id: this.#id };
    for (const cause of causes) this.#instruments.transitions.inc({ ...labels, cause }, 0);
    this.#instruments.leaderless.inc(labels, 0);
    this.#instruments.takenAway.inc(labels, 0);
    const report = this.#observed.elections.report(election);
    if (report.failover !== null) {
      this.#instruments.deposed.inc(labels, 0);
      this.#instruments.dismissed.inc(labels, 0);
    }
    this.#integrate(report);
  }

  count(notice: Notice): void {
    const { transitions, takenAway, renewals, renewalDuration } = this.#instruments;
    const id = this.#id;
    if (notice.kind === 'elected') {
      transitions.inc({ election: notice.election, id, cause: 'elected' });
      if (notice.endBefore === 'taken_away') takenAway.inc({ election: notice.election, id });
    } else if (notice.kind === 'ended') {
      transitions.inc({ election: notice.election, id, cause: notice.cause });
    } else if (notice.kind === 'renewal') {
      renewals.inc({ id, result: notice.result });
      renewalDuration.observe({ id }, notice.durationMs / 1000);
      if (notice.result === 'ok') this.#measureRemaining();
    }
    this.#countFailover(notice);
    if (notice.kind === 'elected' || notice.kind === 'ended' || notice.kind === 'changed') {
      this.#integrate(this.#observed.elections.report(notice.election));
    }
    if (notice.kind === 'elected') this.#countGap(notice);
  }

  /** Whoever vanished was taken for the leader until its key was gone: what it may have been dead by then is counted now. */
  #countGap({ election, leaderlessAtMostMs, endBefore: cause }: Of<'elected'>): void {
    if (leaderlessAtMostMs === null || cause === null) return;
    const { leaderless, failoverDuration } = this.#instruments;
    const labels = { election, id: this.#id };
    failoverDuration.observe({ ...labels, cause }, leaderlessAtMostMs / 1000);
    const countedMs = this.#stretches.get(election)?.endedAfterMs ?? 0;
    leaderless.inc(labels, Math.max(0, leaderlessAtMostMs - countedMs) / 1000);
  }

  #countFailover(notice: Notice): void {
    const { deposed, dismissed, pings, pingDuration } = this.#instruments;
    const id = this.#id;
    if (notice.kind === 'deposed') deposed.inc({ election: notice.election, id });
    else if (notice.kind === 'ping') {
      pings.inc({ id, result: notice.result });
      if (notice.result === 'acknowledged') pingDuration.observe({ id }, notice.durationMs / 1000);
    } else if (notice.kind === 'witnesses') {
      const { election, token, ids } = notice;
      const before = this.#witnesses.get(election);
      const gone = before?.token === token ? before.ids.filter((one) => !ids.includes(one)) : [];
      dismissed.inc({ election, id }, gone.length);
      this.#witnesses.set(election, { token, ids });
    }
  }

  /** The notice comes before the lease is extended: what is left is what the renewal came in time by. */
  #measureRemaining(): void {
    const lease = this.#observed.elections.lease();
    if (lease === null) return;
    const remaining = lease.remainingMs / lease.ttlMs;
    this.#instruments.renewalRemaining.observe({ id: this.#id }, remaining);
  }

  /** Sets every gauge to what is so now. */
  look(): void {
    for (const election of this.#observed.elections.names) {
      const report = this.#observed.elections.report(election);
      this.#integrate(report);
      this.#lookAt(report);
    }
    this.#lookAtInstance();
  }

  /** Knowledge that ran out between two looks is noticed at the second one: the sum is never too long. */
  #integrate({ election, leader }: Report): void {
    const now = this.#clock.now();
    const { leaderless, leaderlessFor } = this.#instruments;
    const labels = { election, id: this.#id };
    const last = this.#stretches.get(election);
    let leaderlessSince = last?.leaderlessSince ?? null;
    if (last !== undefined && leaderlessSince !== null) {
      leaderless.inc(labels, Math.max(0, now - last.lookedAt) / 1000);
    }
    const endedAfterMs = leader === null || leaderlessSince === null ? 0 : now - leaderlessSince;
    leaderlessSince = leader === null ? (leaderlessSince ?? now) : null;
    this.#stretches.set(election, { lookedAt: now, leaderlessSince, endedAfterMs });
    leaderlessFor.set(labels, leaderlessSince === null ? 0 : (now - leaderlessSince) / 1000);
  }

  #lookAt(report: Report): void {
    const { election, role, token, control, failover } = report;
    const labels = { election, id: this.#id };
    const leads = oneIf(role === 'leader');
    const instruments = this.#instruments;
    instruments.isLeader.set(labels, leads);
    instruments.masterStatus.set({ name: election }, leads);
    for (const one of roles) instruments.role.set({ ...labels, role: one }, oneIf(one === role));
    instruments.fencingToken.set(labels, token === null ? 0 : Number(token));
    instruments.members.set(labels, membersOf(report));
    instruments.paused.set(labels, oneIf(control !== null));
    if (failover === null) return;
    if (leads === 1) instruments.witnesses.set(labels, failover.witnesses.length);
    else instruments.witnesses.remove(labels);
  }

  #lookAtInstance(): void {
    const { elections, app, eventClients } = this.#observed;
    const labels = { id: this.#id };
    const ttlMs = elections.ttlMs();
    const contact = elections.contact();
    const remainingMs = elections.lease()?.remainingMs ?? 0;
    const { configured, healthy } = app();
    const instruments = this.#instruments;
    instruments.leaseRemaining.set(labels, Math.max(0, remainingMs) / 1000);
    instruments.leaseTtl.set(labels, ttlMs / 1000);
    instruments.etcdUp.set(labels, oneIf(contact !== null && contact.ageMs < ttlMs));
    const { wentBack, leftOut } = this.#observed.etcd?.() ?? { wentBack: null, leftOut: [] };
    const trouble = { went_back: wentBack !== null, other_cluster: leftOut.length > 0 };
    for (const [reason, yes] of Object.entries(trouble)) {
      instruments.etcdTrouble.set({ ...labels, reason }, oneIf(yes));
    }
    instruments.appUp.set(labels, oneIf(!configured || healthy));
    instruments.eventClients.set(labels, eventClients());
    this.#lookAtCertificates();
  }

  /** A file of several certificates is good only until the first of them expires. */
  #lookAtCertificates(): void {
    const { certificateExpiry } = this.#instruments;
    const earliest = new Map<string, number>();
    for (const { setting, notAfterMs } of this.#observed.certificates()) {
      earliest.set(setting, Math.min(earliest.get(setting) ?? Infinity, notAfterMs));
    }
    certificateExpiry.reset();
    for (const [file, notAfterMs] of earliest) {
      certificateExpiry.set({ id: this.#id, file }, notAfterMs / 1000);
    }
  }
}

/** One per lease: a sidecar has its record and its key on the same one, a foreign candidate only a key. */
function membersOf({ members, candidates }: Report): number {
  return new Set([...members, ...candidates].map(({ leaseId }) => leaseId)).size;
}

/** `id` is this instance; `clock` is the monotonic one; `loopDelayMs` is how late it ran lately. Nothing is shared with another call's metrics. */
export function createMetrics(options: {
  readonly id: MemberId;
  readonly version: string;
  readonly clock: { now(): Millis };
  readonly loopDelayMs: () => number;
  readonly proxies?: () => readonly ProxyFigures[];
}): Metrics {
  const { id, version, clock } = options;
  const registry = new Registry();
  const instruments = createInstruments(registry);
  collectProcessMetrics(registry, options.loopDelayMs);
  collectProxyMetrics(registry, id, options.proxies ?? (() => []));
  instruments.buildInfo.set({ version }, 1);
  for (const result of renewalResults) instruments.renewals.inc({ id, result }, 0);
  instruments.renewalDuration.zero({ id });
  instruments.renewalRemaining.zero({ id });
  for (const op of operations) {
    for (const result of requestResults) instruments.etcdRequests.inc({ id, op, result }, 0);
  }
  let feed: Feed | null = null;
  return {
    requests: {
      requested: (op, result) => instruments.etcdRequests.inc({ id, op, result }),
    },
    observe: (observed) => {
      const started = new Feed(instruments, observed, id, clock);
      feed = started;
      return observed.elections.subscribe((notice) => started.count(notice));
    },
    observeHook: (hook, result, seconds) =>
      instruments.hookDuration.observe({ id, hook, result }, seconds),
    render: async () => {
      feed?.look();
      return { contentType: registry.contentType, body: await registry.metrics() };
    },
  };
}
