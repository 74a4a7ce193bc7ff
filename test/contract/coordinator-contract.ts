// The contract of the Coordinator port: what every election relies on. One suite for real etcd and for the simulator's
// model of it, so that the model cannot drift from what etcd does.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  fencingToken,
  memberId,
  revision as asRevision,
  type Candidate,
  type ElectionName,
  type Handover,
  type LeaseId,
  type Member,
  type Revision,
  type Self,
  type Snapshot,
  type TermRecord,
} from '../../src/core/model.ts';
import type { Listed, WitnessRecord } from '../../src/core/short-lease.ts';
import { FencedOut, LeaseLost } from '../../src/errors.ts';
import type { Joined, Release, Released } from '../../src/ports.ts';
import { lateCopies } from './late-copies.ts';
import { publishing } from './publishing.ts';
import { freshElection, watching, type Subject } from './subject.ts';

/** The least that etcd grants. */
const leastTtlMs = 2000;
/** What our key says of the TTL of its lease. */
const joinedTtlMs = 12_000;
/** etcd looks for leases that have run out twice a second; the rest is for a busy machine. */
const expiryLateByMs = 2500;
/** How many terms are remembered. */
const termsKept = 100;
const concession = { cause: 'switchover', endedAgoMs: 12 } as const;

const self = (id: string): Self => ({
  id: memberId(id),
  address: `http://${id}:8080`,
  url: null,
  priority: 7,
  version: '0.0.0',
  pingKey: null,
  checked: null,
});

/** Registers the suite for one subject, made before its first test. */
export function coordinatorContract(name: string, make: () => Promise<Subject>): void {
  describe(`the coordinator on ${name}`, () => {
    let subject: Subject;
    beforeAll(async () => {
      subject = await make();
    });
    afterAll(() => subject.stop());
    const actor = (): Actor => new Actor(subject);

    leases(() => subject, actor);
    joining(() => subject, actor);
    releasing(() => subject, actor);
    terms(() => subject, actor);
    records(() => subject, actor);
    watches(() => subject, actor);
    publishing(() => subject);
    lateCopies(() => subject);
  });
}

/** The subject's coordinator, with time passing while it works. */
class Actor {
  readonly #subject: Subject;

  constructor(subject: Subject) {
    this.#subject = subject;
  }

  /** A lease that nothing else uses. */
  async lease(ttlMs = leastTtlMs * 5): Promise<LeaseId> {
    const lease = this.#subject.newLease();
    await this.#subject.run(this.#subject.coordinator.grant(lease, ttlMs));
    return lease;
  }

  async join(election: ElectionName, lease: LeaseId, id = 'a'): Promise<Joined> {
    const { run, coordinator } = this.#subject;
    const held = { leaseId: lease, ttlMs: joinedTtlMs };
    return (await run(coordinator.join(election, held, self(id)))).value;
  }

  async snapshot(election: ElectionName): Promise<Snapshot> {
    const { run, coordinator } = this.#subject;
    const [answer] = await run(Promise.all(coordinator.observe([election])));
    return answer!.value;
  }

  async release(
    request: Pick<Release, 'election' | 'leaseId' | 'createRevision'> & Partial<Release>,
  ): Promise<Released> {
    const { run, coordinator } = this.#subject;
    const simple = { handover: null, term: null, succession: null };
    return (await run(coordinator.release({ ...simple, ...request }))).value;
  }

  proclaim(
    election: ElectionName,
    own: { leaseId: LeaseId; createRevision: Joined['createRevision'] },
  ): Promise<void> {
    const { run, coordinator } = this.#subject;
    const began = {
      since: '2026-11-20T21:00:00.000Z',
      leaderlessMs: 5,
      leaderlessAtMostMs: 5005,
      endBefore: 'taken_away',
    } as const;
    return run(coordinator.proclaim(election, { ...own, ttlMs: joinedTtlMs }, self('a'), began));
  }

  concede(
    election: ElectionName,
    own: { leaseId: LeaseId; createRevision: Joined['createRevision'] },
  ): Promise<void> {
    const { run, coordinator } = this.#subject;
    const me = { ...self('a'), since: '2026-11-20T21:00:00.000Z' };
    return run(coordinator.concede(election, { ...own, ttlMs: joinedTtlMs }, me, concession));
  }
}

type Of = () => Subject;
type Acting = () => Actor;

const ids = ({ candidates }: Snapshot): string[] =>
  [...candidates]
    .sort((a, b) => (a.createRevision < b.createRevision ? -1 : 1))
    .map(({ id }) => id);

const candidate = ({ candidates }: Snapshot, id: string): Candidate => {
  const found = candidates.find((each) => each.id === id);
  if (found === undefined) throw new Error(`${id} is no candidate`);
  return found;
};

const handoverOf = (joined: Joined, to: string | null): Handover => ({
  from: memberId('a'),
  token: fencingToken(joined.createRevision),
  cause: 'switchover',
  to: to === null ? null : memberId(to),
  reason: 'maintenance',
  actor: 'somebody',
  endedAgoMs: 7,
});

const termOf = (joined: Joined): TermRecord => ({
  token: fencingToken(joined.createRevision),
  leader: memberId('a'),
  address: null,
  from: '2026-11-20T21:00:00.000Z',
  to: '2026-11-20T22:00:00.000Z',
  cause: 'switchover',
  reason: 'maintenance',
  actor: 'somebody',
  leaderlessMs: null,
  leaderlessAtMostMs: null,
  ttlMs: joinedTtlMs,
  endBefore: 'lease_expired',
});

function leases(of: Of, acting: Acting): void {
  it('grants whole seconds, two at least, and says when it asked', async () => {
    const { coordinator, run, newLease, now } = of();
    const before = now();
    const short = await run(coordinator.grant(newLease(), 1000));
    expect(short.value).toBe(leastTtlMs);
    expect(short.sentAt).toBeGreaterThanOrEqual(before);
    expect(short.sentAt).toBeLessThanOrEqual(now());
    expect((await run(coordinator.grant(newLease(), 5000))).value).toBe(5000);
  });

  it('grants the same lease again, as after an answer that was lost', async () => {
    const { coordinator, run, newLease } = of();
    const lease = newLease();
    await run(coordinator.grant(lease, 5000));
    const again = await run(coordinator.grant(lease, 5000));
    expect(again.value).toBe(5000);
  });

  it('says of a lease that it does not know that it is lost', async () => {
    const { coordinator, run, newLease } = of();
    const nobody = newLease();
    await expect(run(coordinator.renew(nobody))).rejects.toBeInstanceOf(LeaseLost);
    await expect(run(coordinator.revoke(nobody))).resolves.toBeUndefined();
    const election = freshElection();
    await expect(acting().join(election, nobody)).rejects.toBeInstanceOf(LeaseLost);
    const member = { ...self('a'), leaseId: nobody, healthy: true };
    await expect(run(coordinator.enroll(election, member))).rejects.toBeInstanceOf(LeaseLost);
  });

  it('ends a lease with all its keys, never early, unless it is renewed', async () => {
    const { coordinator, run, until, now, newLease } = of();
    const [election, actor] = [freshElection(), acting()];
    const [left, renewed] = [newLease(), newLease()];
    const leftGrant = await run(coordinator.grant(left, leastTtlMs));
    await run(coordinator.grant(renewed, leastTtlMs));
    await actor.join(election, left, 'left');
    await actor.join(election, renewed, 'renewed');
    const watch = await watching(of(), election);
    let renewing = Promise.resolve();
    let dueAt = now();
    let goneAt = 0;
    await until(() => {
      if (now() >= dueAt) {
        dueAt = now() + 400;
        renewing = renewing.then(() => coordinator.renew(renewed)).then(() => undefined);
      }
      if (
        goneAt === 0 &&
        watch.changes().some(({ removedCandidates }) => removedCandidates.length > 0)
      ) {
        goneAt = now();
      }
      return goneAt > 0;
    }, 'the end of the lease that was not renewed');
    await run(renewing);
    watch.cancel();
    expect(goneAt - leftGrant.sentAt).toBeGreaterThanOrEqual(leastTtlMs);
    expect(goneAt - leftGrant.sentAt).toBeLessThan(leastTtlMs + expiryLateByMs);
    expect(ids(await actor.snapshot(election))).toEqual(['renewed']);
    await expect(run(coordinator.renew(left))).rejects.toBeInstanceOf(LeaseLost);
    expect((await run(coordinator.renew(renewed))).value).toBe(leastTtlMs);
  });

  it('says how long a lease will last, rounded down, and what was granted', async () => {
    const { coordinator, run, until, now } = of();
    const leaseId = await acting().lease(5000);
    const renewed = await run(coordinator.renew(leaseId));
    const fresh = await run(coordinator.timeToLive(leaseId));
    const elapsedMs = now() - renewed.sentAt;
    // Less than a second is taken off.
    expect(fresh.value!.grantedMs).toBe(5000);
    expect(fresh.value!.remainingMs % 1000).toBe(0);
    expect(fresh.value!.remainingMs).toBeGreaterThan(4000 - elapsedMs);
    expect(fresh.value!.remainingMs).toBeLessThanOrEqual(5000);
    expect(fresh.sentAt).toBeGreaterThanOrEqual(renewed.sentAt);
    await until(() => now() > renewed.sentAt + elapsedMs + 50, 'time to pass');
    const later = await run(coordinator.timeToLive(leaseId));
    // Never more than is left: it had been renewed when the answer to that came.
    const leftMs = renewed.sentAt + elapsedMs + 5000 - later.sentAt;
    expect(later.value!.remainingMs).toBeLessThan(leftMs);
  });

  it('says nothing of the time that a lease has that is gone', async () => {
    const { coordinator, run, newLease } = of();
    expect((await run(coordinator.timeToLive(newLease()))).value).toBeNull();
    const leaseId = await acting().lease();
    expect((await run(coordinator.timeToLive(leaseId))).value).not.toBeNull();
    await run(coordinator.revoke(leaseId));
    expect((await run(coordinator.timeToLive(leaseId))).value).toBeNull();
  });

  it('revokes a lease with its keys in every election', async () => {
    const { coordinator, run } = of();
    const actor = acting();
    const [one, two] = [freshElection(), freshElection()];
    const lease = await actor.lease();
    await actor.join(one, lease);
    await actor.join(two, lease);
    await run(coordinator.revoke(lease));
    expect(ids(await actor.snapshot(one))).toEqual([]);
    expect(ids(await actor.snapshot(two))).toEqual([]);
  });
}

function joining(of: Of, acting: Acting): void {
  it('joins at the end of the queue, and shows it with our key in it', async () => {
    const [election, actor] = [freshElection(), acting()];
    const first = await actor.join(election, await actor.lease(), 'a');
    const lease = await actor.lease();
    const second = await actor.join(election, lease, 'b');
    expect(second.createRevision).toBeGreaterThan(first.createRevision);
    expect(ids(second.snapshot)).toEqual(['a', 'b']);
    expect(second.snapshot.revision).toBeGreaterThanOrEqual(second.createRevision);
    const own = second.snapshot.candidates.find(({ leaseId }) => leaseId === lease);
    expect(own).toEqual({
      key: lease,
      leaseId: lease,
      createRevision: second.createRevision,
      id: 'b',
      address: 'http://b:8080',
      url: null,
      priority: 7,
      ttlMs: joinedTtlMs,
      since: null,
      conceded: null,
      pingKey: null,
      native: true,
    });
  });

  it('finds our key where it already stands, whatever has happened since', async () => {
    const [election, actor] = [freshElection(), acting()];
    const lease = await actor.lease();
    const once = await actor.join(election, lease, 'a');
    await actor.join(election, await actor.lease(), 'b');
    const again = await actor.join(election, lease, 'a');
    expect(again.createRevision).toBe(once.createRevision);
    expect(again.snapshot.revision).toBeGreaterThan(once.snapshot.revision);
    expect(ids(again.snapshot)).toEqual(['a', 'b']);
  });

  it('joins anew with a greater revision after a release', async () => {
    const [election, actor] = [freshElection(), acting()];
    const leaseId = await actor.lease();
    const { createRevision } = await actor.join(election, leaseId);
    await actor.release({ election, leaseId, createRevision });
    const again = await actor.join(election, leaseId);
    expect(again.createRevision).toBeGreaterThan(createRevision);
  });

  it('observes many elections in the order asked, and sees what was just done', async () => {
    const { coordinator, run, now } = of();
    const actor = acting();
    const elections = Array.from({ length: 30 }, freshElection);
    const lease = await actor.lease();
    await actor.join(elections[3]!, lease, 'a');
    const { createRevision } = await actor.join(elections[27]!, lease, 'b');
    const before = now();
    const answers = await run(Promise.all(coordinator.observe(elections)));
    expect(answers.map(({ value }) => ids(value).join())).toEqual(
      elections.map((_, index) => (index === 3 ? 'a' : index === 27 ? 'b' : '')),
    );
    for (const { value, sentAt } of answers) {
      expect(sentAt).toBeGreaterThanOrEqual(before);
      expect(value.revision).toBeGreaterThanOrEqual(createRevision);
    }
  });

  it('joins with the record of the newest term', async () => {
    const [election, actor] = [freshElection(), acting()];
    expect((await actor.join(election, await actor.lease())).newestTerm).toBeNull();
    const terms: Joined[] = [];
    for (let count = 0; count < 3; count += 1) {
      const leaseId = await actor.lease();
      const joined = await actor.join(election, leaseId);
      await actor.proclaim(election, { leaseId, createRevision: joined.createRevision });
      terms.push(joined);
    }
    const { newestTerm } = await actor.join(election, await actor.lease(), 'b');
    expect(newestTerm).toEqual({
      ...termOf(terms.at(-1)!),
      ...{ address: 'http://a:8080', to: null, cause: null, reason: null, actor: null },
      ...{ leaderlessMs: 5, leaderlessAtMostMs: 5005, endBefore: 'taken_away' },
    });
  });

  it('joins with the record of a term that ended cleanly', async () => {
    const [election, actor] = [freshElection(), acting()];
    const leaseId = await actor.lease();
    const joined = await actor.join(election, leaseId);
    const { createRevision } = joined;
    const term = termOf(joined);
    await actor.release({ election, leaseId, createRevision, term });
    const { newestTerm } = await actor.join(election, await actor.lease(), 'b');
    expect(newestTerm).toEqual(term);
  });
}

function releasing(of: Of, acting: Acting): void {
  it('touches no key of another term', async () => {
    const [election, actor] = [freshElection(), acting()];
    const leaseId = await actor.lease();
    const earlier = await actor.join(election, leaseId);
    await actor.release({ election, leaseId, createRevision: earlier.createRevision });
    await actor.join(election, leaseId);
    const { createRevision } = earlier;
    const handover = handoverOf(earlier, null);
    const released = await actor.release({ election, leaseId, createRevision, handover });
    const after = await actor.snapshot(election);
    expect(released).toEqual({ deleted: false, snapshot: after });
    expect(ids(after)).toEqual(['a']);
    expect(after.handover).toBeNull();
  });

  it('may be asked twice', async () => {
    const [election, actor] = [freshElection(), acting()];
    const leaseId = await actor.lease();
    const { createRevision } = await actor.join(election, leaseId);
    const once = await actor.release({ election, leaseId, createRevision });
    const twice = await actor.release({ election, leaseId, createRevision });
    expect([once.deleted, twice.deleted]).toEqual([true, false]);
    expect(twice.snapshot).toEqual(await actor.snapshot(election));
    expect(ids(once.snapshot)).toEqual([]);
    expect(ids(twice.snapshot)).toEqual([]);
  });

  it('deletes our key and those bypassed and leaves its records, all in one revision', async () => {
    const { coordinator, run, until } = of();
    const [election, actor] = [freshElection(), acting()];
    const leaseId = await actor.lease();
    const joined = await actor.join(election, leaseId, 'a');
    const bypassedLease = await actor.lease();
    const { snapshot } = await actor.join(election, bypassedLease, 'b');
    const { snapshot: all } = await actor.join(election, await actor.lease(), 'c');
    const watch = await watching(of(), election);
    const bypassed = snapshot.candidates.filter(({ id }) => id === 'b');
    const succession = { successor: candidate(all, 'c'), bypassed };
    const handover = handoverOf(joined, 'c');
    const { createRevision } = joined;
    const term = termOf(joined);
    const request = { election, leaseId, createRevision, handover, term, succession };
    const released = await actor.release(request);
    await until(() => watch.changes().length > 0, 'the change that released');
    const [change] = watch.changes();
    watch.cancel();
    expect([...change!.removedCandidates].sort()).toEqual([leaseId, bypassedLease].sort());
    expect(change!.handover).toEqual(handover);
    const after = await actor.snapshot(election);
    expect(released).toEqual({ deleted: true, snapshot: after });
    expect(after.revision).toBe(change!.revision);
    expect(ids(after)).toEqual(['c']);
    expect(after.handover).toEqual(handover);
    expect(await run(coordinator.history(election))).toEqual([term]);
  });

  it.each([
    ['was to be passed over', 'b'],
    ['was named', 'c'],
  ])('does nothing, and says so, where somebody who %s has gone', async (_, who) => {
    const { deleteCandidate } = of();
    const [election, actor] = [freshElection(), acting()];
    const leaseId = await actor.lease();
    const joined = await actor.join(election, leaseId, 'a');
    await actor.join(election, await actor.lease(), 'b');
    const { snapshot } = await actor.join(election, await actor.lease(), 'c');
    const [b, c] = [candidate(snapshot, 'b'), candidate(snapshot, 'c')];
    await deleteCandidate(election, who === 'b' ? b.leaseId : c.leaseId);
    const succession = { successor: c, bypassed: [b] };
    const { createRevision } = joined;
    const handover = handoverOf(joined, 'c');
    const released = await actor.release({
      election,
      leaseId,
      createRevision,
      handover,
      succession,
    });
    const after = await actor.snapshot(election);
    // Leases of other tests end when they do, and with each goes a revision of etcd.
    const { revision } = released.snapshot;
    expect(released).toEqual({ deleted: false, snapshot: { ...after, revision } });
    expect(ids(after)).toEqual(['a', who === 'b' ? 'c' : 'b']);
    expect(after.handover).toBeNull();
  });
}

function terms(of: Of, acting: Acting): void {
  it('proclaims a term in our key and in the history', async () => {
    const { coordinator, run } = of();
    const [election, actor] = [freshElection(), acting()];
    const leaseId = await actor.lease();
    const { createRevision } = await actor.join(election, leaseId);
    expect(await run(coordinator.history(election))).toEqual([]);
    await actor.proclaim(election, { leaseId, createRevision });
    await actor.proclaim(election, { leaseId, createRevision });
    const after = await actor.snapshot(election);
    expect(after.candidates[0]).toMatchObject({
      createRevision,
      since: '2026-11-20T21:00:00.000Z',
    });
    const nothing = { to: null, cause: null, reason: null, actor: null };
    expect(await run(coordinator.history(election))).toEqual([
      {
        token: fencingToken(createRevision),
        leader: 'a',
        address: 'http://a:8080',
        from: '2026-11-20T21:00:00.000Z',
        leaderlessMs: 5,
        leaderlessAtMostMs: 5005,
        ttlMs: joinedTtlMs,
        endBefore: 'taken_away',
        ...nothing,
      },
    ]);
  });

  it('corrects the record of a term that says nothing of its end, once, and no other', async () => {
    const { coordinator, run } = of();
    const [election, actor] = [freshElection(), acting()];
    const leaseId = await actor.lease();
    const { createRevision, ...joined } = await actor.join(election, leaseId);
    const ended = { ...termOf({ createRevision, ...joined }), cause: 'etcd_unreachable' } as const;
    // Never proclaimed: there is nothing to correct.
    await run(coordinator.correct(election, ended));
    expect(await run(coordinator.history(election))).toEqual([]);
    await actor.proclaim(election, { leaseId, createRevision });
    await run(coordinator.revoke(leaseId));
    await run(coordinator.correct(election, ended));
    const { to, cause, reason, actor: by } = ended;
    const corrected = [{ address: 'http://a:8080', leaderlessMs: 5, to, cause, reason, actor: by }];
    expect(await run(coordinator.history(election))).toMatchObject(corrected);
    const later = { ...ended, to: '2026-11-20T23:00:00.000Z', cause: 'stopping' } as const;
    await run(coordinator.correct(election, later));
    expect(await run(coordinator.history(election))).toMatchObject(corrected);
  });

  it('refuses to proclaim a term that is over', async () => {
    const { coordinator, run } = of();
    const [election, actor] = [freshElection(), acting()];
    const leaseId = await actor.lease();
    const { createRevision } = await actor.join(election, leaseId);
    await actor.release({ election, leaseId, createRevision });
    await actor.join(election, leaseId);
    const stale = actor.proclaim(election, { leaseId, createRevision });
    await expect(stale).rejects.toBeInstanceOf(FencedOut);
    expect(await run(coordinator.history(election))).toEqual([]);
  });

  it.each([true, false])(
    'concedes a term in its key alone (proclaimed before: %s)',
    async (said) => {
      const { coordinator, run, until } = of();
      const [election, actor] = [freshElection(), acting()];
      const own = { leaseId: await actor.lease(), createRevision: asRevision(0n) };
      own.createRevision = (await actor.join(election, own.leaseId)).createRevision;
      await actor.join(election, await actor.lease(), 'b');
      if (said) await actor.proclaim(election, own);
      const before = await actor.snapshot(election);
      const watch = await watching(of(), election);
      await actor.concede(election, own);
      const [first, ...others] = before.candidates;
      const since = '2026-11-20T21:00:00.000Z';
      const after = await actor.snapshot(election);
      const expected = { ...first, since, conceded: concession };
      expect(after.candidates).toEqual([expected, ...others]);
      await until(() => watch.changes().length > 0, 'the concession');
      expect(watch.changes()[0]).toMatchObject({ candidates: [expected], removedCandidates: [] });
      watch.cancel();
      // A proclamation that comes late says nothing more, and does not fail: the term is there.
      const history = await run(coordinator.history(election));
      await actor.proclaim(election, own);
      expect((await actor.snapshot(election)).candidates).toEqual([expected, ...others]);
      expect(await run(coordinator.history(election))).toEqual(history);
      // It goes with its lease as it would have.
      await run(coordinator.revoke(own.leaseId));
      expect(ids(await actor.snapshot(election))).toEqual(['b']);
    },
  );

  it('concedes neither a term that is over nor the next one of the same lease', async () => {
    const [election, actor] = [freshElection(), acting()];
    const leaseId = await actor.lease();
    const { createRevision } = await actor.join(election, leaseId);
    await actor.release({ election, leaseId, createRevision });
    await actor.concede(election, { leaseId, createRevision });
    expect((await actor.snapshot(election)).candidates).toEqual([]);
    const again = await actor.join(election, leaseId);
    await actor.concede(election, { leaseId, createRevision });
    expect(again.createRevision).toBeGreaterThan(createRevision);
    expect((await actor.snapshot(election)).candidates).toMatchObject([{ conceded: null }]);
  });

  it('remembers the newest hundred terms, newest first', async () => {
    const { coordinator, run } = of();
    const [election, actor] = [freshElection(), acting()];
    const leaseId = await actor.lease(60_000);
    const tokens: bigint[] = [];
    for (let count = 0; count < termsKept + 2; count += 1) {
      const { createRevision } = await actor.join(election, leaseId);
      await actor.proclaim(election, { leaseId, createRevision });
      await actor.release({ election, leaseId, createRevision });
      tokens.unshift(createRevision);
    }
    const kept = (await run(coordinator.history(election))).map(({ token }) => token);
    expect(kept).toEqual(tokens.slice(0, termsKept));
  });

  it('knows which term leads', async () => {
    const { coordinator, run } = of();
    const [election, actor] = [freshElection(), acting()];
    const leaseId = await actor.lease();
    const { createRevision } = await actor.join(election, leaseId, 'a');
    const second = await actor.join(election, await actor.lease(), 'b');
    const isCurrent = (token: bigint): Promise<boolean> =>
      run(coordinator.isCurrent(election, fencingToken(asRevision(token))));
    expect(await isCurrent(createRevision)).toBe(true);
    expect(await isCurrent(second.createRevision)).toBe(false);
    await actor.release({ election, leaseId, createRevision });
    expect(await isCurrent(createRevision)).toBe(false);
    expect(await isCurrent(second.createRevision)).toBe(true);
  });
}

function records(of: Of, acting: Acting): void {
  it('lists witnesses by compare-and-swap, while the term lasts', async () => {
    const { coordinator, run } = of();
    const [election, actor] = [freshElection(), acting()];
    const leaseId = await actor.lease();
    const { createRevision } = await actor.join(election, leaseId);
    const own = { leaseId, createRevision, ttlMs: joinedTtlMs };
    const change = { number: 1, failures: 0, retryAt: null };
    const record = async (was: Revision | null, to: readonly Listed[]): Promise<WitnessRecord> =>
      (await run(coordinator.recordWitnesses(election, own, { ...change, was, to }))).value;
    const listed = [{ witness: createRevision, number: 3 }];
    const first = await record(null, []);
    expect(first).toEqual({ at: expect.anything() as unknown, listed: [] });
    const second = await record(first.at, listed);
    expect(second.listed).toEqual(listed);
    expect(second.at).toBeGreaterThan(first.at!);
    // A late copy of the first, and one that expects what is no more, change nothing.
    expect(await record(null, [])).toEqual(second);
    expect(await record(first.at, [])).toEqual(second);
    const next = await actor.lease();
    const { createRevision: later } = await actor.join(election, next, 'b');
    await actor.release({ election, leaseId, createRevision });
    await expect(record(second.at, [])).rejects.toBeInstanceOf(FencedOut);
    // What the last term has left lists nobody of the next one.
    const its = { leaseId: next, createRevision: later, ttlMs: joinedTtlMs };
    const unread = { ...change, was: null, to: [] };
    const seen = await run(coordinator.recordWitnesses(election, its, unread));
    expect(seen.value).toEqual({ at: second.at, listed: [] });
  });

  it('deposes a leader only as the record, the term and the queue are', async () => {
    const { coordinator, run } = of();
    const [election, actor] = [freshElection(), acting()];
    const leaseId = await actor.lease();
    const joined = await actor.join(election, leaseId);
    const { createRevision } = joined;
    await actor.join(election, await actor.lease(), 'b');
    const { snapshot } = await actor.join(election, await actor.lease(), 'c');
    const own = { leaseId, createRevision, ttlMs: joinedTtlMs };
    const change = { number: 1, failures: 0, retryAt: null, was: null, to: [] };
    const { at } = (await run(coordinator.recordWitnesses(election, own, change))).value;
    const succession = {
      successor: candidate(snapshot, 'c'),
      bypassed: [candidate(snapshot, 'b')],
    };
    const handover = { ...handoverOf(joined, 'c'), cause: 'crashed' as const };
    const request = { election, leaseId, createRevision, handover, term: null, succession };
    const stale = asRevision(BigInt(at!) - 1n);
    const refused = await run(coordinator.depose({ ...request, witnessesAt: stale }));
    expect(refused.value).toMatchObject({ deleted: false, record: { at, listed: [] } });
    expect(ids(refused.value.snapshot)).toEqual(['a', 'b', 'c']);
    const deposed = await run(coordinator.depose({ ...request, witnessesAt: at! }));
    expect(deposed.value.deleted).toBe(true);
    expect(ids(deposed.value.snapshot)).toEqual(['c']);
    expect(deposed.value.snapshot.handover).toEqual(handover);
    const again = await run(coordinator.depose({ ...request, witnessesAt: at! }));
    expect(again.value.deleted).toBe(false);
    // No late copy of joining brings a deposed key back.
    expect(ids((await actor.join(election, await actor.lease(), 'd')).snapshot)).toEqual([
      'c',
      'd',
    ]);
  });

  it('enrolls a member for as long as its lease lasts', async () => {
    const { coordinator, run } = of();
    const [election, actor] = [freshElection(), acting()];
    const leaseId = await actor.lease();
    const { id, address, url, priority, version } = self('a');
    const member: Member = {
      id,
      address,
      url,
      priority,
      version,
      leaseId,
      healthy: true,
      checked: true,
    };
    await run(coordinator.enroll(election, member));
    expect((await actor.snapshot(election)).members).toEqual([member]);
    const later: Member = { ...member, leaseId: await actor.lease(), healthy: false };
    await run(coordinator.enroll(election, later));
    await run(coordinator.revoke(leaseId));
    expect((await actor.snapshot(election)).members).toEqual([later]);
    await run(coordinator.revoke(later.leaseId));
    expect((await actor.snapshot(election)).members).toEqual([]);
  });

  it('pauses an election until it is resumed, and tells whoever watches', async () => {
    const { coordinator, run, until } = of();
    const [election, actor] = [freshElection(), acting()];
    const watch = await watching(of(), election);
    const control = { paused: true, reason: 'upgrade', by: memberId('a'), until: null } as const;
    await run(coordinator.pause(election, control, 60_000));
    expect((await actor.snapshot(election)).control).toEqual(control);
    await run(coordinator.resume(election));
    await expect(run(coordinator.resume(election))).resolves.toBeUndefined();
    await until(() => watch.changes().length >= 2, 'the pause and its end');
    watch.cancel();
    expect(watch.changes().map((change) => change.control)).toEqual([control, null]);
    expect((await actor.snapshot(election)).control).toBeNull();
  });

  it('asks for a switchover, which goes away by itself', async () => {
    const { coordinator, run, until } = of();
    const [election, actor] = [freshElection(), acting()];
    const watch = await watching(of(), election);
    const token = fencingToken(asRevision(9_007_199_254_740_993n));
    const request = { token, to: memberId('b'), reason: null, actor: 'somebody' };
    await run(coordinator.requestSwitchover(election, request, leastTtlMs));
    expect((await actor.snapshot(election)).switchover).toEqual(request);
    await until(() => watch.changes().length >= 2, 'the request and its end');
    watch.cancel();
    expect(watch.changes().map((change) => change.switchover)).toEqual([request, null]);
    expect((await actor.snapshot(election)).switchover).toBeNull();
  });

  it('shows a candidate of another program by its bare value', async () => {
    const { putForeign, until } = of();
    const [election, actor] = [freshElection(), acting()];
    const watch = await watching(of(), election);
    const lease = await actor.lease();
    await putForeign(election, lease, 'a-go-program');
    await until(() => watch.changes().length > 0, 'the foreign candidate');
    watch.cancel();
    const [seen] = (await actor.snapshot(election)).candidates;
    expect(seen).toMatchObject({ key: lease, leaseId: lease, id: 'a-go-program', native: false });
    expect(watch.changes()[0]!.candidates).toEqual([seen]);
  });
}

function watches(of: Of, acting: Acting): void {
  it('tells every revision in order, from a snapshot on', async () => {
    const { until, deleteCandidate } = of();
    const [election, actor] = [freshElection(), acting()];
    await actor.join(election, await actor.lease(), 'before');
    const watch = await watching(of(), election);
    expect(ids(watch.snapshots()[0]!)).toEqual(['before']);
    const leases: LeaseId[] = [];
    for (let count = 0; count < 5; count += 1) {
      leases.push(await actor.lease());
      await actor.join(election, leases[count]!, `c${count}`);
    }
    await deleteCandidate(election, leases[2]!);
    await until(() => watch.changes().length >= 6, 'six changes');
    watch.cancel();
    const changes = watch.changes();
    expect(changes.flatMap(({ candidates }) => candidates.map(({ id }) => id))).toEqual([
      'c0',
      'c1',
      'c2',
      'c3',
      'c4',
    ]);
    expect(changes.at(-1)!.removedCandidates).toEqual([leases[2]]);
    const revisions = changes.map(({ revision }) => revision);
    expect(revisions).toEqual([...new Set(revisions)].sort((a, b) => (a < b ? -1 : 1)));
    expect(revisions[0]).toBeGreaterThan(watch.snapshots()[0]!.revision);
    for (const { candidates, revision } of changes.slice(0, 5)) {
      expect(candidates[0]!.createRevision).toBe(revision);
    }
  });

  it('tells nothing of other elections, members or terms, and nothing once cancelled', async () => {
    const { coordinator, run, until } = of();
    const [election, other, actor] = [freshElection(), freshElection(), acting()];
    const watch = await watching(of(), election);
    const leaseId = await actor.lease();
    await actor.join(other, leaseId, 'elsewhere');
    await run(coordinator.enroll(election, { ...self('a'), leaseId, healthy: true }));
    await actor.join(election, leaseId, 'here');
    await until(() => watch.changes().length > 0, 'a change');
    watch.cancel();
    expect(watch.changes()).toHaveLength(1);
    expect(watch.changes()[0]!.candidates.map(({ id }) => id)).toEqual(['here']);
    const second = await watching(of(), election);
    await run(coordinator.revoke(leaseId));
    await until(() => second.changes().length > 0, 'the change on a watch that is not cancelled');
    second.cancel();
    expect(watch.changes()).toHaveLength(1);
  });

  it('takes a new snapshot after an interruption, history gone or not, and misses nothing', async () => {
    const { until, interrupt, compact } = of();
    const [election, actor] = [freshElection(), acting()];
    const watch = await watching(of(), election);
    interrupt();
    await actor.join(election, await actor.lease(), 'meanwhile');
    await compact();
    const seen = (id: string): boolean =>
      watch.snapshots().some((snapshot) => ids(snapshot).includes(id)) ||
      watch.changes().some(({ candidates }) => candidates.some((each) => each.id === id));
    await until(
      () => watch.snapshots().length >= 2 && seen('meanwhile'),
      'a second snapshot, and who came in between',
    );
    await actor.join(election, await actor.lease(), 'afterwards');
    await until(() => seen('afterwards'), 'who came afterwards');
    watch.cancel();
    expect(watch.notices.some(({ kind }) => kind === 'interrupted')).toBe(true);
    expect(watch.notices[0]!.kind).toBe('snapshot');
  });
}
