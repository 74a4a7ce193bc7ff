// Tells listeners what happened: compares what may be said of each election with what was last said, and says each
// difference once. A listener that throws is a bug and is not shielded: listeners must not throw.
import type { Candidacy } from '../core/candidacy.ts';
import type { Cause, ElectionName, FencingToken, MemberId } from '../core/model.ts';
import type { Report } from '../core/report.ts';
import { heldLease, type Session } from '../core/session.ts';
import type { Notice } from '../ports.ts';

interface Said {
  readonly role: Report['role'];
  readonly ownToken: FencingToken | null;
  readonly leader: { readonly id: MemberId; readonly token: FencingToken } | null;
}

export class Announcer {
  readonly #electionOf: (name: ElectionName) => Candidacy;
  readonly #listeners = new Set<(notice: Notice) => void>();
  readonly #said = new Map<ElectionName, Said>();
  readonly #witnesses = new Map<ElectionName, string>();
  readonly #lastEnd = new Map<
    ElectionName,
    { readonly token: FencingToken; readonly cause: Cause }
  >();

  constructor(electionOf: (name: ElectionName) => Candidacy) {
    this.#electionOf = electionOf;
  }

  subscribe(listener: (notice: Notice) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  announce(notice: Notice): void {
    if (notice.kind === 'ended') {
      this.#lastEnd.set(notice.election, { token: notice.token, cause: notice.cause });
    }
    for (const listener of this.#listeners) listener(notice);
  }

  /** Announces that the lease came, went, lapsed or came back. */
  lease(before: Session, after: Session): void {
    if (before.kind === after.kind) return;
    const lease = heldLease(after) ?? heldLease(before);
    if (lease === null) return;
    const { leaseId, ttlMs } = lease;
    const state = leaseState(before, after);
    if (state !== null) this.announce({ kind: 'lease', state, leaseId, ttlMs });
  }

  /** Announces a change of leader, of our role, of our own claim or of its witnesses, if there is one. */
  compare(report: Report): void {
    this.#compareLeader(report);
    this.#compareWitnesses(report);
  }

  #compareLeader(report: Report): void {
    const { election, role, token: ownToken } = report;
    const leader =
      report.leader === null ? null : { id: report.leader.id, token: report.leader.token };
    const said = this.#said.get(election);
    const same =
      said?.role === role && said.ownToken === ownToken && said.leader?.token === leader?.token;
    if (same) return;
    this.#said.set(election, { role, ownToken, leader });
    const previousLeader = said?.leader ?? null;
    const cause = this.#causeOf(report, previousLeader);
    this.announce({ kind: 'changed', election, report, previousLeader, cause });
  }

  /** Another set of witnesses of our own term; a term begins with none. */
  #compareWitnesses({ election, token, failover }: Report): void {
    if (token === null || failover === null) {
      this.#witnesses.delete(election);
      return;
    }
    const ids = failover.witnesses;
    if (ids.join(' ') === (this.#witnesses.get(election) ?? '')) return;
    this.#witnesses.set(election, ids.join(' '));
    this.announce({ kind: 'witnesses', election, token, ids });
  }

  /** Why the leader changed, as far as this instance can know. */
  #causeOf(report: Report, previous: Said['leader']): Cause {
    if (report.token !== null) return 'elected';
    if (previous === null) return report.leader === null ? 'unknown' : 'elected';
    const ownEnd = this.#lastEnd.get(report.election);
    if (ownEnd?.token === previous.token) return ownEnd.cause;
    if (report.lastEnd?.token === previous.token) return report.lastEnd.cause;
    if (report.role === 'unknown') return 'etcd_unreachable';
    if (report.leader?.token === previous.token) return 'unknown';
    const predecessor = this.#electionOf(report.election).queue?.predecessor ?? null;
    return predecessor?.token === previous.token ? predecessor.cause : 'unknown';
  }
}

function leaseState(
  before: Session,
  after: Session,
): Extract<Notice, { kind: 'lease' }>['state'] | null {
  if (after.kind === 'live') return before.kind === 'lapsed' ? 'recovered' : 'granted';
  if (after.kind === 'lapsed') return 'lapsed';
  if (after.kind === 'absent' && heldLease(before) !== null) return 'lost';
  if (after.kind === 'closing') return 'revoking';
  return null;
}
