// A tiny abstract world around the production machines: a few candidates, an etcd that is a queue with leases, and
// messages that may arrive in any order, late or never. It makes no choices: it lists what can happen next. Clocks run
// at one rate here; what differing rates do is the simulation's business.
import {
  newCandidacy,
  type Candidacy,
  type CandidacyEffect,
  type CandidacyEvent,
} from '../../src/core/candidacy.ts';
import { claimOf, stepCandidacy, wakeCandidacyAt } from '../../src/core/election.ts';
import { hasAcknowledged } from '../../src/core/failover.ts';
import { witnessesOf, type Listed, type WitnessRecord } from '../../src/core/short-lease.ts';
import { validate, validateSession } from '../../src/core/validate.ts';
import {
  electionName,
  fencingToken,
  leaseId as asLeaseId,
  memberId,
  revision as asRevision,
  type Candidate,
  type Change,
  type FencingToken,
  type Handover,
  type LeaseId,
  type MemberId,
  type Revision,
  type Snapshot,
  type SwitchoverRequest,
} from '../../src/core/model.ts';
import type { Succession } from '../../src/core/queue.ts';
import {
  heldLease,
  newSession,
  stepSession,
  wakeSessionAt,
  type Session,
  type SessionEvent,
} from '../../src/core/session.ts';
import type { Timing } from '../../src/core/timing.ts';

/** The machines under search: those of production, or mutated ones. */
export interface Machines {
  readonly stepSession: typeof stepSession;
  readonly stepCandidacy: typeof stepCandidacy;
  readonly claimOf: typeof claimOf;
}
export const production: Machines = {
  stepSession: (session, event, now, timing) => {
    const step = stepSession(session, event, now, timing);
    validateSession(step.session, now, timing);
    return step;
  },
  stepCandidacy: (election, event, ground, now) => {
    const step = stepCandidacy(election, event, ground, now);
    validate(step.candidacy, ground, now, 'all');
    return step;
  },
  claimOf,
};

type Ask =
  | {
      readonly kind: 'grant' | 'renew' | 'revoke';
      readonly lease: LeaseId;
      readonly generation: number;
    }
  | { readonly kind: 'observe' }
  | { readonly kind: 'join'; readonly lease: LeaseId; readonly generation: number }
  | {
      readonly kind: 'release';
      readonly lease: LeaseId;
      readonly createRevision: Revision;
      readonly handover: Handover | null;
      readonly succession: Succession | null;
    }
  | Extract<CandidacyEffect, { kind: 'ping' | 'record' | 'depose' }>;

type Answer =
  | { readonly kind: 'acknowledged'; readonly yes: boolean }
  /** Null where the term is over. */
  | { readonly kind: 'recorded'; readonly record: WitnessRecord | null }
  | { readonly kind: 'deposed'; readonly record: WitnessRecord; readonly snapshot: Snapshot }
  | { readonly kind: 'granted' }
  | { readonly kind: 'lost' }
  | { readonly kind: 'done' }
  | { readonly kind: 'released'; readonly deleted: boolean; readonly snapshot: Snapshot }
  | {
      readonly kind: 'seen';
      readonly snapshot: Snapshot;
      readonly createRevision: Revision | null;
    };

/** A request on its way; `answer` is null until etcd has carried it out; nobody waits for one that was given up. */
interface Request {
  readonly ask: Ask;
  readonly sentAt: number;
  readonly answer: Answer | null;
  readonly givenUp: boolean;
}

interface Node {
  readonly session: Session;
  readonly election: Candidacy;
  readonly requests: readonly Request[];
  /** How many entries of etcd's history its watch has been told. */
  readonly told: number;
  readonly leases: number;
}

interface Etcd {
  readonly revision: Revision;
  readonly queue: readonly Candidate[];
  readonly leases: readonly { readonly lease: LeaseId; readonly expiresAt: number }[];
  readonly handover: Handover | null;
  readonly switchover: SwitchoverRequest | null;
  readonly history: readonly Change[];
  readonly witnesses: {
    readonly at: Revision;
    readonly term: FencingToken;
    readonly lease: LeaseId;
    readonly listed: readonly Listed[];
  } | null;
}

export interface SmallWorld {
  readonly now: number;
  readonly etcd: Etcd;
  readonly nodes: readonly Node[];
  /** The newest term that anybody has claimed. */
  readonly newest: FencingToken | null;
  /** How many more times somebody outside may interfere. */
  readonly interferences: number;
}

export interface Step {
  readonly what: string;
  readonly next: () => SmallWorld;
}

/** Rounds come every 800 ms; a lease that is not renewed ends between 4 s and the next check. */
export const timing: Timing = {
  ttlMs: 4000,
  marginMs: 500,
  takeoverDelayMs: 0,
  graceMs: 300,
  stopLeadMs: 0,
  fastFailoverMs: null,
};
const mostRequests = 4;

const nameOf = (index: number): string => String.fromCharCode(65 + index);

export class Rules {
  readonly #machines: Machines;
  readonly #timing: Timing;

  constructor(machines: Machines = production, adjusted: Partial<Timing> = {}) {
    this.#machines = machines;
    this.#timing = { ...timing, ...adjusted };
  }

  /** Nobody has done anything yet. */
  beginning(count: number, interferences: number): SmallWorld {
    const nodes = Array.from({ length: count }, (_, index) => this.#newNode(index, 0, 0, 0));
    const none = { queue: [], leases: [], handover: null, switchover: null, history: [] };
    const records = { ...none, witnesses: null };
    const etcd = { revision: asRevision(1n), ...records };
    return { now: 0, etcd, nodes, newest: null, interferences };
  }

  /** All is done as it comes, without delay, until nothing is left to do: the first leads, the others wait. */
  settled(count: number, interferences: number): SmallWorld {
    let world = this.beginning(count, interferences);
    for (let index = 0; index < count; index += 1) {
      world = this.#tick(world, index);
      for (let rest = this.#quietSteps(world)[0]; rest !== undefined;) {
        world = rest.next();
        rest = this.#quietSteps(world)[0];
      }
    }
    return world;
  }

  /** The same, until the leader has all the witnesses that it can have. */
  covered(count: number, interferences: number): SmallWorld {
    let world = this.settled(count, interferences);
    for (let moments = 0; moments < 100; moments += 1) {
      const { phase } = world.nodes[0]!.election;
      if (phase.kind !== 'leading' || phase.short === null) throw new Error('the first leads');
      if (witnessesOf(phase.short).length === count - 1) return world;
      for (let index = 0; index < count; index += 1) world = this.#tick(world, index);
      for (let quiet = this.#quietSteps(world)[0]; quiet !== undefined;) {
        world = quiet.next();
        quiet = this.#quietSteps(world)[0];
      }
      world = this.#passing(world)[0]!.next();
    }
    throw new Error('nobody becomes a witness');
  }

  /** Everything that can happen next. */
  steps(world: SmallWorld): readonly Step[] {
    const { nodes } = world;
    return [
      ...nodes.flatMap((node, index) => [
        ...this.#messages(world, node, index),
        ...this.#due(world, node, index),
        ...(world.interferences > 0 ? this.#interferences(world, node, index) : []),
      ]),
      ...this.#expiries(world),
      ...this.#passing(world),
    ];
  }

  /** What is wrong with a world, or null: at most one claims, on the first key there is, and never an older term. */
  wrongWith(world: SmallWorld): string | null {
    const claims = this.#claims(world);
    if (claims.length > 1) return `${claims.map(({ who }) => who).join(' and ')} lead at once`;
    const [claim] = claims;
    if (claim === undefined) return null;
    const first = world.etcd.queue[0];
    if ((first?.createRevision as bigint | undefined) !== claim.token) {
      return `${claim.who} leads without the first key`;
    }
    return world.newest !== null && claim.token < world.newest
      ? `${claim.who} leads an older term`
      : null;
  }

  #claims({ nodes, now }: SmallWorld): { readonly who: string; readonly token: FencingToken }[] {
    return nodes.flatMap(({ election, session }, index) => {
      const ground = { held: heldLease(session), timing: this.#timing };
      const claim = this.#machines.claimOf(election, ground, now);
      return claim === null ? [] : [{ who: nameOf(index), token: claim.token }];
    });
  }

  #newNode(index: number, now: number, told: number, leases: number): Node {
    const about = {
      address: null,
      url: null,
      priority: 0,
      version: '',
      pingKey: null,
      checked: null,
    };
    const me = { id: memberId(nameOf(index)), ...about };
    const standing = { quiesces: false, appHealthy: true, whenAllUnhealthy: 'none' as const };
    const election = newCandidacy(electionName('e'), me, standing, now);
    return { session: newSession(now), election, requests: [], told, leases };
  }

  // What can happen.

  #messages(world: SmallWorld, node: Node, index: number): Step[] {
    const steps = node.requests.flatMap((request, place) => {
      const { ask, answer, givenUp } = request;
      const what = `${nameOf(index)}'s ${ask.kind}`;
      if (answer === null) {
        const arrives = { what: `${what} arrives`, next: () => this.#arrive(world, index, place) };
        const waits = !givenUp && givenUpAt(ask.kind);
        const gives = {
          what: `${what} is given up`,
          next: () => this.#giveUp(world, index, place),
        };
        return waits ? [arrives, gives] : [arrives];
      }
      return [{ what: `${what} is answered`, next: () => this.#answer(world, index, place) }];
    });
    if (node.told < world.etcd.history.length) {
      steps.push({ what: `${nameOf(index)} sees a change`, next: () => this.#tell(world, index) });
    }
    return steps;
  }

  #due(world: SmallWorld, node: Node, index: number): Step[] {
    const due =
      Math.min(wakeSessionAt(node.session) ?? Infinity, this.#wakeOf(world, node)) <= world.now;
    const fresh = node.election.queue === null && node.requests.length === 0;
    return due || fresh
      ? [{ what: `${nameOf(index)} wakes`, next: () => this.#tick(world, index) }]
      : [];
  }

  /** The election's wake is asked as of just before now: what is due now counts. */
  #wakeOf({ now }: SmallWorld, { session, election }: Node): number {
    return wakeCandidacyAt(election, { held: heldLease(session), timing: this.#timing }, now - 1);
  }

  #interferences(world: SmallWorld, node: Node, index: number): Step[] {
    const once = { ...world, interferences: world.interferences - 1 };
    const name = nameOf(index);
    const crash = {
      what: `${name} crashes and starts anew`,
      next: (): SmallWorld => {
        const fresh = this.#newNode(index, world.now, world.etcd.history.length, node.leases);
        const orphans = node.requests.map((request) => ({ ...request, givenUp: true }));
        return this.#put(once, index, {
          ...fresh,
          requests: orphans.filter(({ answer }) => answer === null),
        });
      },
    };
    if (node.election.phase.kind !== 'leading') return [crash];
    const ask = (event: CandidacyEvent): SmallWorld => this.#react(once, index, { event });
    const last = memberId(nameOf(world.nodes.length - 1));
    const away = {
      kind: 'stepDown',
      reason: null,
      actor: null,
      standBackUntil: world.now,
    } as const;
    return [
      crash,
      { what: `${name} steps down`, next: () => ask({ ...away, cause: 'resigned' }) },
      {
        what: `${name} is asked to hand over to the last`,
        next: () => askForSwitchover(once, node.election, last),
      },
      { what: `${name} stops`, next: () => ask({ kind: 'stop' }) },
    ];
  }

  #expiries(world: SmallWorld): Step[] {
    return world.etcd.leases
      .filter(({ expiresAt }) => expiresAt <= world.now)
      .map(({ lease }) => ({
        what: `lease ${lease} ends`,
        next: () => ({ ...world, etcd: endLease(world.etcd, lease) }),
      }));
  }

  /** Time passes: to the next moment at which anything is due, or at once to the next end of a lease or a claim. */
  #passing(world: SmallWorld): Step[] {
    const { now, nodes, etcd } = world;
    const ends = etcd.leases.map(({ expiresAt }) => expiresAt);
    const bounds = nodes.flatMap(({ session }) => heldLease(session)?.leadUntil ?? []);
    const wakes = nodes.flatMap((node) => [
      wakeSessionAt(node.session) ?? Infinity,
      wakeCandidacyAt(node.election, { held: heldLease(node.session), timing: this.#timing }, now),
    ]);
    const next = (times: readonly number[]): number =>
      Math.min(...times.filter((time) => time > now));
    const moments = new Set([next([...ends, ...bounds, ...wakes]), next(ends), next(bounds)]);
    return [...moments].filter(Number.isFinite).map((at) => ({
      what: `time passes: ${at - now} ms`,
      next: () => this.#noted({ ...world, now: at }),
    }));
  }

  /** Messages only, oldest first: the world without accidents. */
  #quietSteps(world: SmallWorld): Step[] {
    return world.nodes
      .flatMap((node, index) => this.#messages(world, node, index))
      .filter(({ what }) => !what.endsWith('given up'));
  }

  // How it happens.

  #put(world: SmallWorld, index: number, node: Node): SmallWorld {
    return { ...world, nodes: world.nodes.with(index, node) };
  }

  #tick(world: SmallWorld, index: number): SmallWorld {
    const after = this.#react(world, index, { sessionEvent: { kind: 'tick' } });
    return this.#react(after, index, { event: { kind: 'tick' } });
  }

  #tell(world: SmallWorld, index: number): SmallWorld {
    const node = world.nodes[index]!;
    const change = world.etcd.history[node.told]!;
    const told = this.#put(world, index, { ...node, told: node.told + 1 });
    return this.#react(told, index, { event: { kind: 'changed', change } });
  }

  /** etcd carries a request out; nobody hears of it yet. */
  #arrive(world: SmallWorld, index: number, place: number): SmallWorld {
    const node = world.nodes[index]!;
    const request = node.requests[place]!;
    if (request.ask.kind === 'ping') return this.#hear(world, index, place, request.ask);
    const { etcd, answer } = carryOut(
      world.etcd,
      request.ask,
      nameOf(index),
      world.now,
      this.#timing.ttlMs,
    );
    const requests = request.givenUp
      ? node.requests.toSpliced(place, 1)
      : node.requests.with(place, { ...request, answer });
    return { ...this.#put(world, index, { ...node, requests }), etcd };
  }

  /** A ping reaches the process that it is for, if that is the one it was made for. */
  #hear(
    world: SmallWorld,
    index: number,
    place: number,
    { to, ping }: Extract<Ask, { kind: 'ping' }>,
  ): SmallWorld {
    const there = world.nodes.findIndex((_, other) => memberId(nameOf(other)) === to.id);
    const before = hasAcknowledged(world.nodes[there]!.election, ping);
    const heard = this.#react(world, there, { event: { kind: 'pinged', ping } });
    const yes = !before && hasAcknowledged(heard.nodes[there]!.election, ping);
    const node = heard.nodes[index]!;
    const requests = node.requests.with(place, {
      ...node.requests[place]!,
      answer: { kind: 'acknowledged', yes },
    });
    return this.#put(heard, index, { ...node, requests });
  }

  #giveUp(world: SmallWorld, index: number, place: number): SmallWorld {
    const node = world.nodes[index]!;
    const request = node.requests[place]!;
    const requests = node.requests.with(place, { ...request, givenUp: true });
    const without = this.#put(world, index, { ...node, requests });
    const { ask } = request;
    if (ask.kind === 'join') {
      const { generation } = ask;
      return this.#react(without, index, { event: { kind: 'joinFailed', generation, jitter: 0 } });
    }
    if (ask.kind === 'record') {
      const { number } = ask.change;
      const term = fencingToken(ask.own.createRevision);
      const event = { kind: 'recorded', term, number, record: null } as const;
      return this.#react(without, index, { event });
    }
    if (ask.kind === 'depose') {
      const { at, handover } = ask;
      const event = { kind: 'deposed', term: handover.token, at, outcome: null } as const;
      return this.#react(without, index, { event });
    }
    if (ask.kind !== 'release') return without;
    const { createRevision } = ask;
    const event = { kind: 'releaseFailed', createRevision, jitter: 0 } as const;
    return this.#react(without, index, { event });
  }

  #answer(world: SmallWorld, index: number, place: number): SmallWorld {
    const node = world.nodes[index]!;
    const request = node.requests[place]!;
    const requests = node.requests.toSpliced(place, 1);
    return this.#react(
      this.#put(world, index, { ...node, requests }),
      index,
      this.#mailOf(request),
    );
  }

  #mailOf({ ask, answer, sentAt }: Request): Mail {
    const lost = answer?.kind === 'lost';
    switch (ask.kind) {
      case 'grant':
      case 'renew': {
        const { generation, lease: leaseId } = ask;
        if (lost) return { sessionEvent: { kind: 'leaseLost', generation } };
        const kind = ask.kind === 'grant' ? 'granted' : 'renewed';
        const { ttlMs } = this.#timing;
        return { sessionEvent: { kind, generation, leaseId, ttlMs, sentAt } };
      }
      case 'revoke':
        return { sessionEvent: { kind: 'revoked', generation: ask.generation } };
      case 'observe':
        return answer?.kind === 'seen'
          ? { event: { kind: 'observed', snapshot: answer.snapshot, sentAt } }
          : {};
      case 'join': {
        const { generation } = ask;
        if (answer?.kind === 'seen' && answer.createRevision !== null) {
          const { snapshot, createRevision } = answer;
          const { ttlMs } = this.#timing;
          const joined = { generation, ttlMs, createRevision, newestTerm: null, snapshot, sentAt };
          return { event: { kind: 'joined', ...joined } };
        }
        const event = { kind: 'joinFailed', generation, jitter: 0 } as const;
        return lost ? { event, sessionEvent: { kind: 'leaseLost', generation } } : { event };
      }
      case 'ping': {
        const { term, witness } = ask.ping;
        const yes = answer?.kind === 'acknowledged' && answer.yes;
        return yes ? { event: { kind: 'acknowledged', term, witness, sentAt } } : {};
      }
      case 'record': {
        const term = fencingToken(ask.own.createRevision);
        const { number } = ask.change;
        const record = answer?.kind === 'recorded' ? answer.record : null;
        return { event: { kind: 'recorded', term, number, record } };
      }
      case 'depose': {
        if (answer?.kind !== 'deposed') return {};
        const { record, snapshot } = answer;
        const { at, handover } = ask;
        const outcome = { record, snapshot, sentAt };
        return { event: { kind: 'deposed', term: handover.token, at, outcome } };
      }
      case 'release': {
        const { createRevision } = ask;
        if (answer?.kind !== 'released') return {};
        const { deleted, snapshot } = answer;
        const event = { createRevision, deleted, snapshot, sentAt, jitter: 0 };
        return { event: { kind: 'released', ...event } };
      }
    }
  }

  /** The runtime's part, in small: events to machines, effects to requests. */
  #react(world: SmallWorld, index: number, { sessionEvent, event }: Mail): SmallWorld {
    let after = world;
    if (sessionEvent !== undefined) after = this.#stepSession(after, index, sessionEvent);
    if (event !== undefined) after = this.#stepCandidacy(after, index, event);
    return this.#noted(after);
  }

  #noted(world: SmallWorld): SmallWorld {
    let { newest } = world;
    for (const { token } of this.#claims(world))
      if (newest === null || token > newest) newest = token;
    // What is claimed now is judged against what was claimed before: see wrongWith.
    return newest === world.newest ? world : { ...world, newest };
  }

  #stepSession(world: SmallWorld, index: number, event: SessionEvent): SmallWorld {
    const node = world.nodes[index]!;
    const { session, effects } = this.#machines.stepSession(
      node.session,
      event,
      world.now,
      this.#timing,
    );
    let { leases } = node;
    let { requests } = node;
    for (const effect of effects) {
      if (effect.kind === 'grant') leases += 1;
      const { kind, generation } = effect;
      const lease = effect.kind === 'grant' ? asLeaseId(`${index + 10}${leases}`) : effect.leaseId;
      requests = sent(requests, {
        ask: { kind, lease, generation },
        sentAt: world.now,
        answer: null,
        givenUp: false,
      });
    }
    const after = this.#put(world, index, { ...node, session, requests, leases });
    if (session.kind === node.session.kind) return after;
    return this.#stepCandidacy(after, index, { kind: 'tick' });
  }

  #stepCandidacy(world: SmallWorld, index: number, event: CandidacyEvent): SmallWorld {
    const node = world.nodes[index]!;
    const ground = { held: heldLease(node.session), timing: this.#timing };
    const { candidacy: election, effects } = this.#machines.stepCandidacy(
      node.election,
      event,
      ground,
      world.now,
    );
    let { requests } = node;
    for (const effect of effects) {
      const ask = askOf(effect);
      if (ask !== null)
        requests = sent(requests, { ask, sentAt: world.now, answer: null, givenUp: false });
    }
    return this.#put(world, index, { ...node, election, requests });
  }
}

interface Mail {
  readonly sessionEvent?: SessionEvent;
  readonly event?: CandidacyEvent;
}

/** Proclamations, concessions and member records decide nothing here, and are left out. */
function askOf(effect: ReturnType<typeof stepCandidacy>['effects'][number]): Ask | null {
  switch (effect.kind) {
    case 'observe':
      return { kind: 'observe' };
    case 'join':
      return { kind: 'join', lease: effect.lease.leaseId, generation: effect.lease.generation };
    case 'release': {
      const { own, handover, succession } = effect;
      const { leaseId: lease, createRevision } = own;
      return { kind: 'release', lease, createRevision, handover, succession };
    }
    case 'enroll':
    case 'elected':
    case 'correct':
    case 'proclaim':
    case 'concede':
    case 'ended':
    case 'cutOff':
    case 'giveUpLease':
    case 'askTimeToLive':
      return null;
    case 'ping':
    case 'record':
    case 'depose':
      return effect;
  }
}

/** What is asked again where no answer comes, and may arrive all the same. */
const givenUpAt = (kind: Ask['kind']): boolean =>
  kind === 'join' || kind === 'release' || kind === 'record' || kind === 'depose';

/** A renewal, a read or a ping that was asked before and has not come back is taken for lost. */
function sent(requests: readonly Request[], request: Request): readonly Request[] {
  const { kind } = request.ask;
  const others =
    kind === 'renew' || kind === 'observe' || kind === 'ping'
      ? requests.filter(({ ask }) => ask.kind !== kind || whom(ask) !== whom(request.ask))
      : requests;
  return [...others, request].slice(-mostRequests);
}

const whom = (ask: Ask): string => (ask.kind === 'ping' ? ask.to.key : '');

// The tiny etcd.

function carryOut(
  etcd: Etcd,
  ask: Ask,
  who: string,
  now: number,
  ttlMs: number,
): { readonly etcd: Etcd; readonly answer: Answer } {
  const known = 'lease' in ask && etcd.leases.some(({ lease }) => lease === ask.lease);
  const others = etcd.leases.filter(({ lease }) => !('lease' in ask) || lease !== ask.lease);
  const renewed =
    'lease' in ask ? [...others, { lease: ask.lease, expiresAt: now + ttlMs }] : others;
  switch (ask.kind) {
    case 'grant':
      return { etcd: { ...etcd, leases: renewed }, answer: { kind: 'granted' } };
    case 'renew': {
      const alive = etcd.leases.some(
        ({ lease, expiresAt }) => lease === ask.lease && expiresAt > now,
      );
      if (!alive) return { etcd, answer: { kind: 'lost' } };
      return { etcd: { ...etcd, leases: renewed }, answer: { kind: 'granted' } };
    }
    case 'revoke':
      return { etcd: endLease(etcd, ask.lease), answer: { kind: 'done' } };
    case 'observe':
      return { etcd, answer: { kind: 'seen', snapshot: snapshotOf(etcd), createRevision: null } };
    case 'join': {
      const present = etcd.queue.some(({ leaseId }) => leaseId === ask.lease);
      if (!present && !known) return { etcd, answer: { kind: 'lost' } };
      const after = present ? etcd : withCandidate(etcd, ask.lease, who);
      const own = after.queue.find(({ leaseId }) => leaseId === ask.lease)!;
      const { createRevision } = own;
      return { etcd: after, answer: { kind: 'seen', snapshot: snapshotOf(after), createRevision } };
    }
    case 'release':
      return released(etcd, ask);
    case 'ping':
      throw new Error('a ping is not for etcd');
    case 'record': {
      const { own, change } = ask;
      if (!etcd.queue.some((one) => one.createRevision === own.createRevision)) {
        return { etcd, answer: { kind: 'recorded', record: null } };
      }
      const term = fencingToken(own.createRevision);
      const fits = (etcd.witnesses?.at ?? null) === change.was;
      const revision = asRevision(etcd.revision + 1n);
      const witnesses = { at: revision, term, lease: own.leaseId, listed: change.to };
      const after = fits ? { ...etcd, revision, witnesses } : etcd;
      return { etcd: after, answer: { kind: 'recorded', record: recordOf(after, term) } };
    }
    case 'depose': {
      const { leader, at, succession, handover } = ask;
      const { leaseId: lease, createRevision } = leader;
      const release = { kind: 'release', lease, createRevision, handover, succession } as const;
      const { etcd: after } = etcd.witnesses?.at === at ? released(etcd, release) : { etcd };
      const record = recordOf(after, handover.token);
      return { etcd: after, answer: { kind: 'deposed', record, snapshot: snapshotOf(after) } };
    }
  }
}

const recordOf = ({ witnesses }: Etcd, term: FencingToken): WitnessRecord => ({
  at: witnesses?.at ?? null,
  listed: witnesses?.term === term ? witnesses.listed : [],
});

const snapshotOf = ({ revision, queue, handover, switchover }: Etcd): Snapshot => ({
  revision,
  candidates: queue,
  members: [],
  handover,
  control: null,
  switchover,
});

function committed(etcd: Etcd, change: Omit<Change, 'revision'>, after: Partial<Etcd>): Etcd {
  const revision = asRevision(etcd.revision + 1n);
  return { ...etcd, ...after, revision, history: [...etcd.history, { ...change, revision }] };
}

function withCandidate(etcd: Etcd, lease: LeaseId, who: string): Etcd {
  const nothing = { address: null, ttlMs: null, since: null, conceded: null };
  const about = { ...nothing, url: 'url', pingKey: 'key', priority: 0, native: true };
  const createRevision = asRevision(etcd.revision + 1n);
  const candidate = { key: lease, leaseId: lease, createRevision, id: memberId(who), ...about };
  const change = { candidates: [candidate], removedCandidates: [] };
  return committed(etcd, change, { queue: [...etcd.queue, candidate] });
}

function without(etcd: Etcd, keys: readonly string[], handover: Handover | null): Etcd {
  const queue = etcd.queue.filter(({ key }) => !keys.includes(key));
  const change = { candidates: [], removedCandidates: keys };
  return handover === null
    ? committed(etcd, change, { queue })
    : committed(etcd, { ...change, handover }, { queue, handover });
}

function released(
  etcd: Etcd,
  { lease, createRevision, handover, succession }: Extract<Ask, { kind: 'release' }>,
): { readonly etcd: Etcd; readonly answer: Answer } {
  const present = (revision: Revision): boolean =>
    etcd.queue.some((candidate) => candidate.createRevision === revision);
  const named = succession === null ? [] : [succession.successor, ...succession.bypassed];
  const guards = [createRevision, ...named.map((candidate) => candidate.createRevision)];
  const deleted = guards.every((guard) => present(guard));
  const bypassed = succession?.bypassed ?? [];
  const keys = [lease, ...bypassed.map(({ key }) => key)];
  const after = deleted ? without(etcd, keys, handover) : etcd;
  return { etcd: after, answer: { kind: 'released', deleted, snapshot: snapshotOf(after) } };
}

/** The operator's record, which reaches the leader as any change does. */
function askForSwitchover(
  world: SmallWorld,
  { lastToken: token }: Candidacy,
  to: MemberId,
): SmallWorld {
  if (token === null) return world;
  const switchover = { token, to, reason: null, actor: null };
  const change = { candidates: [], removedCandidates: [], switchover };
  return { ...world, etcd: committed(world.etcd, change, { switchover }) };
}

function endLease(etcd: Etcd, gone: LeaseId): Etcd {
  const leases = etcd.leases.filter(({ lease }) => lease !== gone);
  const witnesses = etcd.witnesses?.lease === gone ? null : etcd.witnesses;
  const keys = etcd.queue.filter(({ leaseId }) => leaseId === gone).map(({ key }) => key);
  const rest = { ...etcd, leases, witnesses };
  return keys.length === 0 ? rest : without(rest, keys, null);
}
