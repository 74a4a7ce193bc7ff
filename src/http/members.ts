// The list of `/members`: the sidecars present, joined with the queue. A candidate of another program has no
// member record and is listed with what its key says.
import type { MemberOnWire, MembersAnswer } from '../contract.ts';
import type { Candidate, Member } from '../core/model.ts';
import type { Report } from '../core/report.ts';
import type { Elections } from '../ports.ts';

interface Present {
  readonly candidate: Candidate | null;
  readonly place: number | null;
  readonly member: Member | null;
}

/** Candidates in the order of the queue, then those who do not stand, by id. */
function present({ candidates, members }: Report): readonly Present[] {
  const queued = candidates
    .toSorted((a, b) => (a.createRevision < b.createRevision ? -1 : 1))
    .map((candidate, index) => ({
      candidate,
      place: index + 1,
      // By lease, since an id may stand twice for a moment: after a restart its old key waits to expire.
      member: members.find(
        ({ leaseId, id }) => leaseId === candidate.leaseId && id === candidate.id,
      ),
    }));
  const joined = new Set(queued.map(({ member }) => member));
  const others = members
    .filter((member) => !joined.has(member))
    .toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return [
    ...queued.map((one) => ({ ...one, member: one.member ?? null })),
    ...others.map((member) => ({ candidate: null, place: null, member })),
  ];
}

function onWire(
  { candidate, member, place }: Present,
  report: Report,
  ownLease: string | null,
): MemberOnWire | null {
  const known = member ?? candidate;
  if (known === null) return null;
  const leads =
    candidate !== null &&
    report.leader !== null &&
    BigInt(candidate.createRevision) === BigInt(report.leader.token);
  const native = candidate?.native ?? true;
  return {
    id: known.id,
    role: leads ? 'leader' : candidate !== null ? 'candidate' : 'observer',
    address: known.address,
    url: known.url,
    priority: known.priority,
    // Without a record nothing says that it is unwell, and it stands in the queue.
    healthy: member?.healthy ?? true,
    checked: member?.checked ?? null,
    version: member?.version ?? null,
    place,
    fencingToken: candidate?.createRevision.toString() ?? null,
    leaseId: known.leaseId,
    native,
    self: native && known.id === report.id && (ownLease === null || known.leaseId === ownLease),
  };
}

export function membersAnswer(report: Report, elections: Elections): MembersAnswer {
  const ownLease = elections.lease()?.leaseId ?? null;
  return {
    election: report.election,
    members: present(report)
      .map((one) => onWire(one, report, ownLease))
      .filter((member) => member !== null),
    observedAgeMs: report.observedAgeMs === null ? null : Math.round(report.observedAgeMs),
  };
}
