// Every write is delivered a second time, after each write that follows it, and nothing may change by that: requests are
// hedged, and an endpoint that was frozen carries out what it was sent long ago. One story with every kind of write.
import { expect, it } from 'vitest';
import {
  fencingToken,
  memberId,
  type Candidate,
  type LeaseId,
  type Self,
  type TermRecord,
} from '../../src/core/model.ts';
import type { Joined, Release } from '../../src/ports.ts';
import { freshElection, type Copy, type Subject } from './subject.ts';

const longMs = 600_000;

const self = (id: string): Self => ({
  id: memberId(id),
  address: `http://${id}:8080`,
  url: null,
  priority: 7,
  version: '0.0.0',
  pingKey: null,
  checked: null,
});

interface Step {
  readonly name: string;
  readonly run: () => Promise<unknown>;
}

/** Registers the test for one subject. */
export function lateCopies(of: () => Subject): void {
  it('changes nothing by a copy of any write, after whatever write it arrives', async () => {
    const subject = of();
    const story = new Story(subject);
    const known: { readonly step: string; readonly copy: Copy }[] = [];
    let pairs = 0;
    for (const { name, run } of story.steps()) {
      const from = subject.sent.length;
      await subject.run(run());
      known.push(...subject.sent.slice(from).map((copy) => ({ step: name, copy })));
      const before = await story.seen();
      const published = await story.published();
      for (const { step, copy } of known) {
        await subject.run(copy.again());
        expect(await story.seen(), `a copy of "${step}" after "${name}"`).toEqual(before);
        // One fault at a time: a lease that came back by its copy is ended again before the next one arrives.
        if (copy.operation === 'grant') await story.endAgain();
        pairs += 1;
      }
      expect(await story.published(), `after copies of all before "${name}"`).toBe(published);
    }
    const operations = new Set(known.map(({ copy }) => copy.operation));
    for (const operation of written) expect(operations).toContain(operation);
    expect(pairs).toBeGreaterThan(500);
  }, 120_000);
}

const written = [
  ...['grant', 'revoke', 'renew', 'join', 'enroll'],
  ...['proclaim', 'concede', 'release', 'control'],
];

class Story {
  readonly #subject: Subject;
  readonly #election = freshElection();
  readonly #leases = new Map<string, LeaseId>();
  readonly #joined = new Map<string, Joined>();
  readonly #ended: LeaseId[] = [];

  constructor(subject: Subject) {
    this.#subject = subject;
  }

  steps(): readonly Step[] {
    const { coordinator } = this.#subject;
    const pausedBy = (by: string) => ({
      paused: true as const,
      reason: null,
      by: memberId(by),
      until: null,
    });
    const pause = (by: string) =>
      this.#step(`pause by ${by}`, () => coordinator.pause(this.#election, pausedBy(by), longMs));
    const resume = this.#step('resume', () => coordinator.resume(this.#election));
    const switchTo = (to: string) =>
      this.#step(`switchover to ${to}`, () =>
        coordinator.requestSwitchover(
          this.#election,
          { token: this.#token('a'), to: memberId(to), reason: null, actor: null },
          longMs,
        ),
      );
    return [
      ...['a', 'b', 'c'].flatMap((id) => [this.#grant(id), this.#join(id)]),
      this.#enroll('a', true),
      this.#enroll('b', true),
      this.#enroll('a', false),
      this.#enroll('a', true),
      this.#step('renew a', () => coordinator.renew(this.#lease('a'))),
      this.#proclaim('a'),
      pause('a'),
      resume,
      pause('b'),
      resume,
      switchTo('b'),
      switchTo('c'),
      this.#concede('a'),
      this.#step('a hands over to c, past b', () => this.#release('a', 'c', ['b'])),
      this.#join('b'),
      this.#proclaim('c'),
      this.#join('a'),
      pause('c'),
      this.#step('a leaves the queue', () => this.#release('a')),
      resume,
      this.#concede('c'),
      this.#step('c ends its term', () => this.#release('c')),
      this.#proclaim('b'),
      this.#join('a'),
      this.#enroll('b', false),
      this.#revoke('b'),
      this.#revoke('a'),
      this.#grant('d'),
      this.#join('d'),
      this.#enroll('d', true),
    ];
  }

  /** All that anybody can read of the election, but for the revision that is its moment. */
  async seen(): Promise<unknown> {
    const { coordinator, run } = this.#subject;
    const [answer] = await run(Promise.all(coordinator.observe([this.#election])));
    const { candidates, members, handover, control, switchover } = answer!.value;
    const terms = await run(coordinator.history(this.#election));
    const byId = [...members].sort((one, other) => (one.id < other.id ? -1 : 1));
    return { candidates, members: byId, handover, control, switchover, terms };
  }

  /** What the leader publishes; costs a process on real etcd, and so is not looked at for each copy. */
  published(): Promise<string | null> {
    return this.#subject.published(`/published/${this.#election}`);
  }

  async endAgain(): Promise<void> {
    const { coordinator, run } = this.#subject;
    for (const lease of this.#ended) await run(coordinator.revoke(lease));
  }

  #step(name: string, run: Step['run']): Step {
    return { name, run };
  }

  #lease(id: string): LeaseId {
    return this.#leases.get(id)!;
  }

  #token(id: string): TermRecord['token'] {
    return fencingToken(this.#joined.get(id)!.createRevision);
  }

  #grant(id: string): Step {
    return this.#step(`grant ${id}`, async () => {
      this.#leases.set(id, this.#subject.newLease());
      await this.#subject.coordinator.grant(this.#lease(id), longMs);
    });
  }

  #revoke(id: string): Step {
    return this.#step(`revoke ${id}`, async () => {
      await this.#subject.coordinator.revoke(this.#lease(id));
      this.#ended.push(this.#lease(id));
    });
  }

  #join(id: string): Step {
    return this.#step(`join ${id}`, async () => {
      const lease = { leaseId: this.#lease(id), ttlMs: longMs };
      const { value } = await this.#subject.coordinator.join(this.#election, lease, self(id));
      this.#joined.set(id, value);
    });
  }

  #enroll(id: string, healthy: boolean): Step {
    const member = () => ({ ...self(id), leaseId: this.#lease(id), healthy });
    const name = `enroll ${id}, ${healthy ? 'healthy' : 'unhealthy'}`;
    return this.#step(name, () => this.#subject.coordinator.enroll(this.#election, member()));
  }

  #proclaim(id: string): Step {
    return this.#step(`proclaim ${id}`, () => {
      const { createRevision } = this.#joined.get(id)!;
      const own = { leaseId: this.#lease(id), ttlMs: longMs, createRevision };
      const began = {
        since: '2026-11-20T21:00:00.000Z',
        leaderlessMs: 5,
        leaderlessAtMostMs: 5,
        endBefore: null,
      };
      return this.#subject.coordinator.proclaim(this.#election, own, self(id), began);
    });
  }

  #concede(id: string): Step {
    return this.#step(`concede ${id}`, () => {
      const { createRevision } = this.#joined.get(id)!;
      const own = { leaseId: this.#lease(id), ttlMs: longMs, createRevision };
      const me = { ...self(id), since: '2026-11-20T21:00:00.000Z' };
      const concession = { cause: 'switchover', endedAgoMs: 7 } as const;
      return this.#subject.coordinator.concede(this.#election, own, me, concession);
    });
  }

  async #release(
    id: string,
    to: string | null = null,
    past: readonly string[] = [],
  ): Promise<void> {
    const { coordinator } = this.#subject;
    const [answer] = await Promise.all(coordinator.observe([this.#election]));
    const { candidates } = answer!.value;
    const named = (who: string): Candidate => candidates.find(({ id: other }) => other === who)!;
    const token = this.#token(id);
    const why = { cause: 'switchover', reason: null, actor: null } as const;
    const from = '2026-11-20T21:00:00.000Z';
    const began = {
      address: null,
      from,
      leaderlessMs: 5,
      leaderlessAtMostMs: 5,
      ttlMs: longMs,
      endBefore: null,
    };
    const term = { ...began, token, leader: memberId(id), to: from };
    const request: Release = {
      election: this.#election,
      leaseId: this.#lease(id),
      createRevision: this.#joined.get(id)!.createRevision,
      handover: {
        from: memberId(id),
        token,
        to: to === null ? null : memberId(to),
        endedAgoMs: 0,
        ...why,
      },
      term: { ...term, ...why },
      succession: to === null ? null : { successor: named(to), bypassed: past.map(named) },
    };
    const released = await coordinator.release(request);
    expect(released.value.deleted).toBe(true);
  }
}
