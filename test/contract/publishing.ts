// What a leader publishes for those who read etcd themselves: there from its proclamation until its term ends, on its lease,
// and never touched by anything late.
import { expect, it } from 'vitest';
import {
  fencingToken,
  memberId,
  type ElectionName,
  type LeaseId,
  type Self,
} from '../../src/core/model.ts';
import type { Joined, Release } from '../../src/ports.ts';
import { freshElection, type Subject } from './subject.ts';

const ttlMs = 10_000;
const from = '2026-11-20T21:00:00.000Z';
const me: Self = {
  id: memberId('a'),
  address: null,
  url: null,
  priority: 0,
  version: '0.0.0',
  pingKey: null,
  checked: null,
};

/** One candidate's writes. */
class Candidate {
  readonly #subject: Subject;
  readonly #election: ElectionName;
  leaseId!: LeaseId;
  joined!: Joined;

  constructor(subject: Subject, election: ElectionName) {
    this.#subject = subject;
    this.#election = election;
  }

  async join(lease: LeaseId | null = null): Promise<this> {
    const { coordinator, run, newLease } = this.#subject;
    if (lease === null) await run(coordinator.grant((this.leaseId = newLease()), ttlMs));
    const held = { leaseId: this.leaseId, ttlMs };
    this.joined = (await run(coordinator.join(this.#election, held, me))).value;
    return this;
  }

  get own() {
    return { leaseId: this.leaseId, ttlMs, createRevision: this.joined.createRevision };
  }

  get value(): string {
    return `${this.joined.createRevision.toString()} of ${this.#election}`;
  }

  proclaim(): Promise<void> {
    const { coordinator, run } = this.#subject;
    const before = { leaderlessMs: null, leaderlessAtMostMs: null, endBefore: null };
    return run(coordinator.proclaim(this.#election, this.own, me, { since: from, ...before }));
  }

  concede(): Promise<void> {
    const { coordinator, run } = this.#subject;
    const concession = { cause: 'resigned', endedAgoMs: 10 } as const;
    return run(coordinator.concede(this.#election, this.own, { ...me, since: from }, concession));
  }

  get end(): Release {
    const token = fencingToken(this.joined.createRevision);
    const why = { cause: 'resigned', reason: null, actor: null } as const;
    const before = { leaderlessMs: null, leaderlessAtMostMs: null, endBefore: null };
    const record = { token, leader: me.id, address: null, from, to: from, ttlMs, ...before };
    const { leaseId, createRevision } = this.own;
    return {
      election: this.#election,
      leaseId,
      createRevision,
      handover: { from: me.id, token, to: null, endedAgoMs: 0, ...why },
      term: { ...record, ...why },
      succession: null,
    };
  }

  async release(): Promise<void> {
    const { coordinator, run } = this.#subject;
    expect((await run(coordinator.release(this.end))).value.deleted).toBe(true);
  }
}

/** Registers the tests for one subject. */
export function publishing(of: () => Subject): void {
  const begin = () => {
    const election = freshElection();
    const key = `/published/${election}`;
    const subject = of();
    const published = (): Promise<string | null> => subject.published(key);
    return { subject, key, published, candidate: () => new Candidate(subject, election) };
  };

  it('publishes with the proclamation, and takes it back with the release', async () => {
    const { published, candidate } = begin();
    const a = await candidate().join();
    expect(await published()).toBeNull();
    await a.proclaim();
    expect(await published()).toBe(a.value);
    await a.release();
    expect(await published()).toBeNull();
  });

  it('takes it back with a concession', async () => {
    const { published, candidate } = begin();
    const a = await candidate().join();
    await a.proclaim();
    await a.concede();
    expect(await published()).toBeNull();
    await a.release();
    expect(await published()).toBeNull();
  });

  it('keeps it on the lease of the leader, with which it goes', async () => {
    const { subject, published, candidate } = begin();
    const a = await candidate().join();
    await a.proclaim();
    await subject.run(subject.coordinator.revoke(a.leaseId));
    expect(await published()).toBeNull();
  });

  it('is written over by the next term, and not taken back by one before', async () => {
    const { subject, key, published, candidate } = begin();
    const a = await candidate().join();
    const b = await candidate().join();
    await a.proclaim();
    await subject.deleteCandidate(a.end.election, a.leaseId);
    // Nobody of ours took it back.
    expect(await published()).toBe(a.value);
    await b.proclaim();
    expect(await published()).toBe(b.value);
    await subject.run(subject.coordinator.revoke(a.leaseId));
    expect(await published()).toBe(b.value);
    // What somebody else has put there is nobody's to delete.
    await subject.putByHand(key, 'mine');
    await b.release();
    expect(await published()).toBe('mine');
  });

  it('is deleted by a witness that deposes', async () => {
    const { subject, published, candidate } = begin();
    const a = await candidate().join();
    const b = await candidate().join();
    await a.proclaim();
    const { coordinator, run } = subject;
    const { election } = a.end;
    const change = { number: 1, was: null, to: [], failures: 0, retryAt: null };
    const { at } = (await run(coordinator.recordWitnesses(election, a.own, change))).value;
    const successor = b.joined.snapshot.candidates.at(-1)!;
    const deposition = { ...a.end, term: null, succession: { successor, bypassed: [] } };
    const deposed = await run(coordinator.depose({ ...deposition, witnessesAt: at! }));
    expect(deposed.value.deleted).toBe(true);
    expect(await published()).toBeNull();
  });

  it('changes nothing by a copy that comes late', async () => {
    const { subject, published, candidate } = begin();
    const a = await candidate().join();
    const b = await candidate().join();
    await a.proclaim();
    await a.concede();
    const from = subject.sent.length;
    await a.release();
    await b.proclaim();
    const copies = subject.sent.slice(0, from + 1).slice(-12);
    const writes = ['proclaim', 'concede', 'release'];
    for (const one of writes) expect(copies.map(({ operation }) => operation)).toContain(one);
    for (const { operation, again } of copies) {
      if (!writes.includes(operation)) continue;
      await subject.run(again());
      expect(await published(), operation).toBe(b.value);
    }
    // Nor where the lease of before has another term.
    await a.join(a.leaseId);
    await b.release();
    for (const { operation, again } of copies) {
      if (writes.includes(operation)) await subject.run(again());
    }
    expect(await published()).toBeNull();
    await a.proclaim();
    for (const { operation, again } of copies) {
      if (writes.includes(operation)) await subject.run(again());
    }
    expect(await published()).toBe(a.value);
  });
}
