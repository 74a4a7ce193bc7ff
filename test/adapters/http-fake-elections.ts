// A stand-in for the running elector, for the tests of HTTP and telemetry: a test says what is known and moves
// the clock; what a report says follows from both at the moment it is asked, as in the real one.
import {
  electionName,
  fencingToken,
  leaseId,
  memberId,
  revision,
  type Candidate,
  type ElectionPing,
  type Cause,
  type Control,
  type ElectionName,
  type FencingToken,
  type Member,
} from '../../src/core/model.ts';
import type { Report } from '../../src/core/report.ts';
import type { Elections, Notice } from '../../src/ports.ts';

export const token = (value: bigint): FencingToken => fencingToken(revision(value));

export const candidate = (id: string, at: bigint, more: Partial<Candidate> = {}): Candidate => ({
  key: at.toString(16),
  leaseId: leaseId(at.toString(16)),
  createRevision: revision(at),
  id: memberId(id),
  address: `http://${id}:8080`,
  url: `http://${id}:4040`,
  priority: 0,
  ttlMs: null,
  since: '2026-11-20T21:00:00.000Z',
  conceded: null,
  pingKey: null,
  native: true,
  ...more,
});

export const member = (id: string, lease: bigint, more: Partial<Member> = {}): Member => ({
  id: memberId(id),
  leaseId: leaseId(lease.toString(16)),
  address: `http://${id}:8080`,
  url: `http://${id}:4040`,
  priority: 0,
  healthy: true,
  checked: true,
  version: '9.9.9',
  ...more,
});

/** What is known of one election. `freshAt` null: nothing yet. */
interface Knowledge {
  freshAt: number | null;
  candidates: readonly Candidate[];
  members: readonly Member[];
  control: Control | null;
  obstacle: Report['obstacle'];
  standsBackUntil: Report['standsBackUntil'];
  seenAt: number;
  /** Our own claim ends here. */
  claimUntil: number;
  waiting: Report['waiting'];
  lastEnd: Report['lastEnd'];
  steppingDown: boolean;
  leaving: Report['leaving'];
  failover: Report['failover'];
  revision: bigint;
}

export class FakeElections implements Elections {
  readonly names: readonly ElectionName[];
  readonly me: string;
  nowMs = 1_000_000;
  ttl = 5000;
  contactAt: number | null = 1_000_000;
  stopping = false;
  held: ReturnType<Elections['lease']> = null;
  failing: Error | null = null;
  readonly clock = { now: () => this.nowMs };
  readonly #knowledge: Map<ElectionName, Knowledge>;
  readonly #listeners = new Set<(notice: Notice) => void>();

  constructor(names: readonly string[], me = 'orders-0') {
    this.names = names.map(electionName);
    this.me = me;
    this.#knowledge = new Map(this.names.map((name) => [name, this.#nothing()]));
  }

  #nothing(): Knowledge {
    return {
      freshAt: null,
      candidates: [],
      members: [],
      control: null,
      obstacle: null,
      standsBackUntil: null,
      seenAt: this.nowMs,
      claimUntil: Number.NEGATIVE_INFINITY,
      waiting: null,
      lastEnd: null,
      steppingDown: false,
      leaving: null,
      failover: null,
      revision: 1n,
    };
  }

  /** Changes what is known; of the first election unless named. */
  know(more: Partial<Knowledge>, name: string = this.names[0]!): void {
    Object.assign(this.#knowledge.get(electionName(name))!, { freshAt: this.nowMs, ...more });
  }

  emit(notice: Notice): void {
    for (const listener of this.#listeners) listener(notice);
  }

  report(election: ElectionName): Report {
    if (this.failing !== null) throw this.failing;
    const known = this.#knowledge.get(election);
    if (known === undefined) throw new Error(`no election ${election}`);
    const now = this.nowMs;
    const observedAgeMs = known.freshAt === null ? null : now - known.freshAt;
    const isKnown = observedAgeMs !== null && observedAgeMs < this.ttl;
    const first = isKnown ? known.candidates[0] : undefined;
    const leads = first?.id === this.me && now < known.claimUntil;
    const shown = first === undefined || (first.id === this.me && !leads) ? null : first;
    return {
      election,
      id: memberId(this.me),
      role: leads ? 'leader' : !isKnown ? 'unknown' : known.obstacle ? 'observer' : 'follower',
      obstacle: known.obstacle,
      standsBackUntil: known.standsBackUntil,
      leader:
        shown === null
          ? null
          : { ...shown, token: fencingToken(shown.createRevision), seenAt: known.seenAt },
      lastEnd: known.lastEnd,
      token: leads ? fencingToken(first.createRevision) : null,
      validUntil: leads ? known.claimUntil : now,
      revision: known.freshAt === null ? null : revision(known.revision),
      observedAgeMs,
      candidates: isKnown ? known.candidates : [],
      members: isKnown ? known.members : [],
      control: known.control,
      waiting: known.waiting,
      steppingDown: known.steppingDown,
      leaving: known.leaving,
      failover: known.failover,
    };
  }

  ping(_ping: ElectionPing): boolean {
    return false;
  }

  lease(): ReturnType<Elections['lease']> {
    return this.held;
  }

  ttlMs(): number {
    return this.ttl;
  }

  contact(): { readonly ageMs: number; readonly tookMs: number } | null {
    return this.contactAt === null ? null : { ageMs: this.nowMs - this.contactAt, tookMs: 3 };
  }

  isStopping(): boolean {
    return this.stopping;
  }

  get subscribers(): number {
    return this.#listeners.size;
  }

  subscribe(listener: (notice: Notice) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** What was asked of the elector, in order; `onStepDown` lets a test carry it out. */
  readonly stepDowns: Parameters<Elections['stepDown']>[] = [];
  onStepDown: () => void = () => undefined;
  readonly holds: { election: ElectionName; holdMs: number }[] = [];

  stepDown(...request: Parameters<Elections['stepDown']>): void {
    this.stepDowns.push(request);
    this.onStepDown();
  }

  /** How often it was told to stand again; `onStandAgain` lets a test carry it out. */
  standsAgain = 0;
  onStandAgain: () => void = () => undefined;

  standAgain(): void {
    this.standsAgain += 1;
    this.onStandAgain();
  }

  hold(election: ElectionName, holdMs: number): number {
    this.holds.push({ election, holdMs });
    const { validUntil, token } = this.report(election);
    return token === null ? 0 : Math.min(holdMs, validUntil - this.nowMs);
  }

  /** Tells that the leader or our role is another one, as the elector would. */
  emitChange(cause: Cause, name: string = this.names[0]!): void {
    const election = electionName(name);
    const report = this.report(election);
    this.emit({ kind: 'changed', election, report, previousLeader: null, cause });
  }

  appHealth(): void {
    throw new Error('not asked for in these tests');
  }
}

/** What a sidecar `orders-0` may know of an election. */
export const states = {
  leader: (fake) =>
    fake.know({ candidates: [candidate('orders-0', 4711n)], claimUntil: 1_003_120.9 }),
  follower: (fake) =>
    fake.know({ candidates: [candidate('orders-1', 12n), candidate('orders-0', 13n)] }),
  observer: (fake) =>
    fake.know({ candidates: [candidate('orders-1', 12n)], obstacle: 'never_leads' }),
  leaderless: (fake) => fake.know({ candidates: [] }),
  unknown: () => undefined,
} satisfies Record<string, (fake: FakeElections) => void>;
