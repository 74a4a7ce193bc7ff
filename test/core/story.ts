// Drives one election machine and writes down what happens as a transcript that reads as a story: the time, what came
// in, and behind an arrow what went out and where it stands.
import {
  newCandidacy,
  type Candidacy,
  type CandidacyEffect,
  type CandidacyEvent,
  type Ground,
} from '../../src/core/candidacy.ts';
import { claimOf, stepCandidacy } from '../../src/core/election.ts';
import { revision, type Change, type Snapshot, type TermRecord } from '../../src/core/model.ts';
import type { Lease } from '../../src/core/session.ts';
import type { Timing } from '../../src/core/timing.ts';
import { validate } from '../../src/core/validate.ts';
import type { Released } from '../../src/ports.ts';
import { me, orders, snapshot, timing } from './given.ts';

export class Story {
  election: Candidacy;
  held: Lease | null = null;
  now = 0;
  readonly effects: CandidacyEffect[] = [];
  readonly #timing: Timing;
  readonly #lines: string[] = [];

  constructor(
    options: {
      timing?: Partial<Timing>;
      quiesces?: boolean;
      priority?: number;
      whenAllUnhealthy?: 'lead' | 'none';
    } = {},
  ) {
    this.#timing = { ...timing, ...options.timing };
    const self = { ...me, priority: options.priority ?? 0 };
    const standing = {
      quiesces: options.quiesces ?? false,
      appHealthy: true,
      whenAllUnhealthy: options.whenAllUnhealthy ?? 'none',
    } as const;
    this.election = newCandidacy(orders, self, standing, 0);
  }

  get ground(): Ground {
    return { held: this.held, timing: this.#timing };
  }

  /** What is claimed now, as a number, or null. */
  get claim(): number | null {
    const claim = claimOf(this.election, this.ground, this.now);
    return claim === null ? null : Number(claim.token);
  }

  /** The effects that act: without the rounds of observing and writing records. */
  get acts(): readonly CandidacyEffect[] {
    return this.effects.filter((effect) => describe(effect) !== '');
  }

  at(now: number, event: CandidacyEvent): this {
    this.now = now;
    const step = stepCandidacy(this.election, event, this.ground, now);
    validate(step.candidacy, this.ground, now, 'all');
    this.election = step.candidacy;
    this.effects.push(...step.effects);
    const said = step.effects.map(describe).filter((text) => text !== '');
    const claim = this.claim === null ? '' : `, claims ${String(this.claim)}`;
    const line = `${String(now)} ${describeEvent(event)} -> ${this.election.phase.kind}${claim}`;
    this.#lines.push(said.length === 0 ? line : `${line} | ${said.join(', ')}`);
    return this;
  }

  tick(now: number): this {
    return this.at(now, { kind: 'tick' });
  }
  lease(now: number, held: Lease | null): this {
    this.held = held;
    return this.tick(now);
  }
  observed(now: number, snapshot: Snapshot, sentAt = now): this {
    return this.at(now, { kind: 'observed', snapshot, sentAt });
  }
  changed(now: number, change: Change): this {
    return this.at(now, { kind: 'changed', change });
  }
  joined(
    now: number,
    createRevision: number,
    snapshot: Snapshot,
    sentAt = now,
    newestTerm: TermRecord | null = null,
  ): this {
    const generation = this.held?.generation ?? 0;
    const { ttlMs } = this.held ?? { ttlMs: 5000 };
    const own = { generation, ttlMs, createRevision: revision(BigInt(createRevision)) };
    return this.at(now, { kind: 'joined', ...own, newestTerm, snapshot, sentAt });
  }
  /** As etcd answers a release that deletes: what we know of, without that key and with the record. */
  released(now: number, createRevision: number, more: Partial<Released> = {}): this {
    const { queue } = this.election;
    if (queue === null) throw new Error('a key is released after it has joined a queue');
    const last = this.effects.findLast((effect) => effect.kind === 'release');
    const left = queue.candidates.filter((one) => Number(one.createRevision) !== createRevision);
    const after = {
      ...snapshot(Number(queue.revision) + 1, ...left),
      handover: last?.handover ?? queue.handover,
    };
    return this.at(now, {
      kind: 'released',
      createRevision: revision(BigInt(createRevision)),
      ...{ deleted: true, snapshot: after, sentAt: now, jitter: 0, ...more },
    });
  }

  transcript(): string {
    return this.#lines.join('\n');
  }
}

/** The level-triggered rounds are left out: they happen at every turn and decide nothing. */
function describe(effect: CandidacyEffect): string {
  switch (effect.kind) {
    case 'observe':
    case 'enroll':
    case 'proclaim':
      return '';
    case 'correct':
      return `correct the record (${effect.ending.cause})`;
    case 'ping':
      return `ping ${effect.to.id}`;
    case 'record':
      return `list ${effect.change.to.map(({ witness }) => String(witness)).join(' ') || 'nobody'}`;
    case 'depose':
      return `depose ${effect.leader.id}`;
    case 'concede':
      return `concede ${String(effect.term.token)} (${effect.concession.cause})`;
    case 'elected':
      return `elected ${String(effect.term.token)}`;
    case 'ended':
      return `ended ${String(effect.term.token)} (${effect.cause}), stop by ${String(effect.mustStopBy)}`;
    case 'release': {
      const { own, handover, succession } = effect;
      const bypassed = succession?.bypassed ?? [];
      const record =
        handover === null ? 'no record' : `${handover.cause} to ${handover.to ?? 'next'}`;
      const past = bypassed.length === 0 ? '' : `, past ${bypassed.map(({ id }) => id).join(' ')}`;
      return `release ${String(own.createRevision)} (${record}${past})`;
    }
    case 'join':
      return 'join';
    case 'askTimeToLive':
      return `ask about ${effect.leases.join(' ')}`;
    case 'cutOff':
      return 'cut off';
    case 'giveUpLease':
      return 'give up the lease';
  }
}

function describeEvent(event: CandidacyEvent): string {
  switch (event.kind) {
    case 'observed':
    case 'joined': {
      const queue = event.snapshot.candidates.map(({ id }) => id).join(' ');
      return `${event.kind} [${queue}] sent ${String(event.sentAt)}`;
    }
    case 'changed': {
      const { candidates, removedCandidates, handover } = event.change;
      const added = candidates.map(({ id }) => `+${id}`);
      const removed = removedCandidates.map((key) => `-${key}`);
      const record =
        handover === null || handover === undefined ? [] : [`handover ${String(handover.token)}`];
      return [event.kind, ...added, ...removed, ...record].join(' ');
    }
    case 'timeToLive':
      return `${event.leaseId} lasts ${String(event.remainingMs)} more, asked ${String(event.askedAt)}`;
    case 'stepDown':
      return `step down (${event.cause})`;
    case 'appHealth':
      return event.healthy ? 'app healthy' : 'app unhealthy';
    case 'pinged':
    case 'acknowledged':
    case 'recorded':
    case 'deposed':
    case 'tick':
    case 'joinFailed':
    case 'released':
    case 'releaseFailed':
    case 'quiesced':
    case 'hold':
    case 'standAgain':
    case 'stop':
      return event.kind;
  }
}
