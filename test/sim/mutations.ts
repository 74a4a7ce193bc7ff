// Bugs that elections have had, ours or others', each as a small change to the production sources (or, where it is
// about requests, to the model's side of them). The checkers must catch every one: see mutations.test.ts.
import type { Patch } from './bundle.ts';
import type { Focus } from './schedule.ts';

/** One bug. */
export interface Mutation {
  readonly name: string;
  readonly patches: readonly Patch[];
  /** Where to look for it, so that few schedules are enough; everywhere, where it is left out. */
  readonly focus?: Focus;
}

const core = (file: string): string => `src/core/${file}.ts`;
const elector = 'src/elector/elector.ts';
const requests = 'src/elector/requests.ts';
const hastyEnd = 'src/elector/hasty-end.ts';

/**
 * The mutations are for the judges, which look from outside: what the machines assert of themselves is off, or it would
 * find most bugs first and nobody would know whether the judges bite.
 */
export const unvalidated: readonly Patch[] = [
  {
    file: core('validate'),
    find: 'validation: Validation, ): void {',
    put: 'validation: Validation, ): void { if (now > Number.NEGATIVE_INFINITY) return;',
  },
  {
    file: core('validate'),
    find: '{ marginMs }: Timing): void {',
    put: '{ marginMs }: Timing): void { if (now > Number.NEGATIVE_INFINITY) return;',
  },
];

/** What takes terms away, and what makes it hard to tell. */
const robbed: Focus = {
  kinds: [
    'revoke some wrongly',
    'delete any key',
    'freeze leader of etcd',
    'cut',
    'pause',
    'crash',
  ],
  setup: { takeoverDelayMs: 'evidence', leastTtlMs: 2000 },
};

/** Terms whose keys outlive their claims, on a network that repeats itself late. */
const repeated: Focus = {
  kinds: ['step down', 'hold', 'terminate'],
  setup: {
    app: { mostStopMs: 1500, stopLeadMs: 0 },
    weather: {
      leastMs: 1,
      mostMs: 10,
      lossChance: 0,
      spikeChance: 0,
      spikeMs: 0,
      copyChance: 0.5,
      copyMs: 3000,
    },
  },
};

const clockOnly: Focus = { kinds: ['cut', 'pause', 'hang', 'etcd without leader'] };

export const mutations: readonly Mutation[] = [
  {
    name: 'stopping waits by two looks at the clock',
    patches: [
      {
        file: elector,
        find: 'if (this.#waitsToRevoke) wakeAt',
        put: 'if (this.#onStopped !== null && this.#options.clock.now() < this.#revokeAt()) wakeAt',
      },
    ],
    focus: { kinds: ['terminate'] },
  },
  {
    name: 'the deadline is counted from the response',
    patches: [
      {
        file: requests,
        find: "kind: 'renewed', generation, leaseId, ttlMs: value, sentAt }",
        put: "kind: 'renewed', generation, leaseId, ttlMs: value, sentAt: clock.now() }",
      },
    ],
    focus: clockOnly,
  },
  {
    name: 'there is no margin',
    patches: [{ file: core('timing'), find: 'sentAt + ttlMs - marginMs', put: 'sentAt + ttlMs' }],
    focus: clockOnly,
  },
  {
    name: 'there is no confirmation',
    patches: [
      {
        file: core('candidacy'),
        find: 'Math.min(held.leadUntil, confirmed, ...short)',
        put: 'Math.min(held.leadUntil, confirmed > 0 ? Infinity : confirmed, ...short)',
      },
    ],
    focus: { kinds: ['hang', 'delete key', 'mute watch', 'lag watch'] },
  },
  {
    name: 'a watch counts as a confirmation',
    patches: [
      {
        file: core('queue'),
        find: 'revision: change.revision, candidates: queue.candidates',
        put: 'revision: change.revision, freshAt: now, candidates: queue.candidates',
      },
    ],
    focus: { kinds: ['hang', 'lag watch', 'crash', 'foreign candidate'] },
  },
  {
    name: 'a stale snapshot is taken',
    patches: [
      {
        file: core('queue'),
        find: 'queue !== null && snapshot.revision < queue.revision',
        put: 'false as boolean && queue !== null',
      },
    ],
    focus: { kinds: ['slow', 'crash', 'step down', 'delete key', 'lag watch'] },
  },
  {
    name: 'the answer is cached between events',
    patches: [
      {
        file: elector,
        find: 'this.#announcer.compare(reportOf(candidacy, this.#ground(), now));',
        put: 'const cached = reportOf(candidacy, this.#ground(), now); Object.assign(seat, { cached }); this.#announcer.compare(cached);',
      },
      {
        file: elector,
        find: 'return reportOf(this.#seat(name).candidacy, this.#ground(), this.#options.clock.now());',
        put: 'const { cached } = this.#seat(name) as unknown as { cached?: Report }; return cached ?? reportOf(this.#seat(name).candidacy, this.#ground(), this.#options.clock.now());',
      },
    ],
    focus: { kinds: ['pause', 'cut'] },
  },
  {
    name: 'the clock is not asked when answering',
    patches: [
      {
        file: core('election'),
        find: 'if (now >= endsAt) return null;',
        put: 'if (endsAt < 0) return null;',
      },
    ],
    focus: { kinds: ['pause'] },
  },
  {
    name: 'events of an earlier lease count for this one',
    patches: [
      {
        file: core('session'),
        find: 'if (event.generation !== session.lease.generation) return unchanged(session);',
        put: '',
      },
    ],
    focus: { kinds: ['slow', 'revoke wrongly'] },
  },
  {
    name: 'a late renewal revives a lapsed term',
    patches: [
      {
        file: core('session'),
        find: 'const until = reliableUntil(event.sentAt,',
        put: "const until = reliableUntil(session.kind === 'lapsed' ? now : event.sentAt,",
      },
    ],
    focus: {
      kinds: ['slow', 'etcd without leader'],
      setup: {
        etcdMembers: 1,
        weather: {
          leastMs: 1,
          mostMs: 20,
          lossChance: 0.1,
          spikeChance: 0.3,
          spikeMs: 4000,
          copyChance: 0,
          copyMs: 0,
        },
      },
    },
  },
  {
    name: 'a lost lease is not believed',
    patches: [
      {
        file: core('session'),
        find: 'const retryAt = failures === 1 ? now :',
        put: 'if (failures > 0) return unchanged(session); const retryAt = failures === 1 ? now :',
      },
    ],
    focus: { kinds: ['revoke wrongly', 'mute watch', 'lag watch', 'deny lease'] },
  },
  {
    name: 'the key is released before the app has stopped',
    patches: [
      { file: core('decide'), find: 'quiesced: !candidacy.quiesces', put: 'quiesced: true' },
    ],
    focus: {
      kinds: ['step down', 'terminate'],
      setup: { app: { mostStopMs: 500, stopLeadMs: 0 } },
    },
  },
  {
    name: 'the app is not cut off when time is up',
    patches: [
      {
        file: core('decide'),
        find: "= quiesced ? [] : [{ kind: 'cutOff', term: ending.term }]",
        put: '= []',
      },
    ],
    focus: {
      kinds: ['step down', 'cut', 'app unhealthy'],
      setup: { app: { mostStopMs: 9000, stopLeadMs: 0 }, graceMs: 8000 },
    },
  },
  {
    name: 'a step-down does not wait for the hold',
    patches: [{ file: core('decide'), find: '(now < phase.heldUntil &&', put: '(now < 0 &&' }],
    focus: { kinds: ['hold', 'step down'] },
  },
  {
    name: 'whoever is asked to stop does not keep the key for the hold',
    patches: [{ file: core('decide'), find: 'if (now < keptUntil) return null;', put: '' }],
    focus: { kinds: ['hold', 'terminate'] },
  },
  {
    name: 'a hasty end gives back before it ends the claims',
    patches: [
      {
        file: elector,
        find: 'this.#halting = giveBack({ ...this.#options, requests: this.#requests }, held, ends);',
        put: 'const given = giveBack({ ...this.#options, requests: this.#requests }, held, ends); const halting = given.then(() => { this.#halting = halting; }); if (ends.length > -1) return halting;',
      },
    ],
    focus: { kinds: ['fail', 'terminate twice'] },
  },
  {
    name: 'a hasty end does not wait for holds',
    patches: [{ file: hastyEnd, find: 'await until(clock, keptUntil);', put: '' }],
    focus: { kinds: ['hold', 'fail', 'terminate twice'] },
  },
  {
    name: 'a hasty end releases what still acts',
    patches: [{ file: hastyEnd, find: 'await app?.kill();', put: '' }],
    focus: { kinds: ['fail'], setup: { app: { mostStopMs: 500, stopLeadMs: 0 } } },
  },
  {
    name: 'another program is passed over',
    patches: [
      {
        file: core('queue'),
        find: 'successor === undefined || !passed.every(({ native }) => native)',
        put: 'successor === undefined',
      },
    ],
    focus: { kinds: ['step down', 'foreign candidate', 'terminate'] },
  },
  {
    name: 'a term that was given up is claimed again',
    patches: [
      {
        file: core('decide'),
        find: 'if (quiesced) return to(release(own, ending));',
        put: "if (quiesced) return to({ kind: 'waiting', own });",
      },
      {
        file: core('decide'),
        find: 'if (candidacy.lastToken !== null && token <= candidacy.lastToken) return to(withdraw(own));',
        put: '',
      },
    ],
    focus: { kinds: ['step down', 'cut'] },
  },
  {
    name: 'a term that is being ended is still claimed',
    patches: [
      {
        file: core('election'),
        find: "const { phase } = candidacy; if (phase.kind !== 'leading') return null; if",
        put: "const { phase } = candidacy; if (phase.kind === 'steppingDown') return { token: phase.ending.term.token, since: now, validUntil: now + 1 }; if (phase.kind !== 'leading') return null; if",
      },
    ],
    focus: { kinds: ['step down'], setup: { app: { mostStopMs: 500, stopLeadMs: 0 } } },
  },
  {
    name: 'a claim is conceded before it has ended',
    patches: [
      {
        file: core('rounds'),
        find: "if (phase.kind !== 'steppingDown' || queue === null || now < phase.concedeAt)",
        put: "if (phase.kind === 'leading' && phase.asked !== null) return { candidacy, effects: [...effects, { kind: 'concede', own: phase.own, term: phase.term, concession: { cause: 'resigned', endedAgoMs: 0 }, me }] }; if (phase.kind !== 'steppingDown' || queue === null || now < phase.concedeAt)",
      },
    ],
    focus: { kinds: ['hold', 'step down'] },
  },
  {
    name: 'a concession names a later term',
    patches: [
      {
        file: 'test/sim/model-etcd.ts',
        find: '(one) => one.createRevision === own.createRevision); const candidate = state.candidates[index]; if (candidate === undefined) return; const said',
        put: '(one) => one.leaseId === own.leaseId); const candidate = state.candidates[index]; if (candidate === undefined) return; const said',
      },
    ],
    focus: repeated,
  },
  {
    name: 'a late proclamation takes a concession back',
    patches: [
      {
        file: 'test/sim/model-etcd.ts',
        find: 'if (candidate.since !== null) return; const proclaimed = { ...candidate, since };',
        put: 'const proclaimed = { ...candidate, since, conceded: null };',
      },
    ],
    focus: repeated,
  },
  {
    name: 'a late proclamation publishes an older term',
    patches: [
      {
        file: 'test/sim/model-etcd.ts',
        find: 'const candidate = candidates[index]; if (candidate === undefined) throw',
        put: 'const candidate = candidates[index]; this.#publish(published, own.leaseId, this.lives.get(own.createRevision)!); if (candidate === undefined) throw',
      },
    ],
    focus: repeated,
  },
  {
    name: 'a release leaves behind what its term has published',
    patches: [
      {
        file: 'test/sim/model-etcd.ts',
        find: 'this.#unpublish(published, leaseId); for (const candidate of gone)',
        put: 'for (const candidate of gone)',
      },
    ],
    focus: { kinds: ['step down'] },
  },
  {
    name: 'a leader is named that has conceded',
    patches: [
      {
        file: core('report'),
        find: 'if (first.conceded !== null && !weLead) return null;',
        put: '',
      },
    ],
    focus: repeated,
  },
  {
    name: 'nobody waits for what was taken away',
    patches: [
      {
        file: core('candidacy'),
        find: 'if (takeoverDelayMs === 0) return null;',
        put: 'if (takeoverDelayMs !== null) return null;',
      },
    ],
    focus: robbed,
  },
  {
    name: 'one wait replaces another',
    patches: [{ file: core('queue'), find: 'losses: [...kept, ...ends', put: 'losses: [...ends' }],
    focus: {
      ...robbed,
      kinds: ['revoke some wrongly', 'delete any key', 'step down', 'terminate'],
    },
  },
  {
    name: "one's own TTL is waited for instead of the lease's",
    patches: [
      {
        file: core('candidacy'),
        find: '(loss.ttlMs ?? ttlOf(ground))',
        put: 'ttlOf(ground)',
      },
    ],
    focus: robbed,
  },
  {
    name: 'an old answer is as good as a fresh one',
    patches: [{ file: core('evidence'), find: 'paceMs * 0.11 + 5', put: 'paceMs * 0.11 + 1e9' }],
    focus: robbed,
  },
  {
    name: 'a lease that is not found counts as run out',
    patches: [
      {
        file: 'test/sim/model-etcd.ts',
        find: 'if (lease === undefined) return null; const leftMs',
        put: 'if (lease === undefined) return { remainingMs: 0, grantedMs: 2000 }; const leftMs',
      },
    ],
    focus: robbed,
  },
  {
    name: 'an answer from the past counts',
    patches: [
      {
        file: 'test/sim/sim-coordinator.ts',
        find: 'return past ? null : answer;',
        put: 'return answer;',
      },
    ],
    focus: { ...robbed, kinds: ['freeze leader of etcd'] },
  },
  {
    name: 'whoever joins does not read the newest record',
    patches: [
      {
        file: core('queue'),
        find: 'if (term === null || term.to !== null ||',
        put: 'if (term === null || now > 0 ||',
      },
    ],
    focus: { ...robbed, kinds: ['revoke some wrongly', 'delete any key', 'crash', 'terminate'] },
  },
  {
    name: 'only the newest answer is believed',
    patches: [
      {
        file: core('evidence'),
        find: 'Math.max(known?.notBefore ?? askedAt, askedAt + remainingMs)',
        put: 'askedAt + remainingMs',
      },
      {
        file: 'test/sim/sim-coordinator.ts',
        find: 'return past ? null : answer;',
        put: 'return answer;',
      },
    ],
    focus: { ...robbed, kinds: ['freeze leader of etcd', 'revoke some wrongly'] },
  },
  {
    name: 'a named successor is not',
    patches: [
      {
        file: core('queue'),
        find: 'bypassed: passed.slice(0, -1) }',
        put: 'bypassed: passed.slice(0, 0) }',
      },
    ],
    focus: { kinds: ['step down', 'ask for switchover'] },
  },
  {
    name: 'revisions are compared as strings',
    patches: [
      {
        file: core('queue'),
        find: 'a.createRevision < b.createRevision ?',
        put: 'String(a.createRevision) < String(b.createRevision) ?',
      },
    ],
    focus: { kinds: ['crash', 'terminate', 'step down'] },
  },
  {
    name: 'a leader is named for ever',
    patches: [
      {
        file: core('report'),
        find: 'observedAgeMs < ttlOf(ground)',
        put: 'observedAgeMs < Number.POSITIVE_INFINITY',
      },
    ],
    focus: { kinds: ['cut', 'pause'] },
  },
  {
    name: 'a request to join that failed is not repeated',
    patches: [
      {
        file: core('election'),
        find: 'const joinAt = now + retryDelayMs',
        put: 'const joinAt = now + 1e6 * retryDelayMs',
      },
    ],
    focus: { kinds: ['hang', 'cut', 'crash'] },
  },
  {
    name: 'the watch skips what happened while it was broken',
    patches: [
      {
        file: 'test/sim/sim-watch.ts',
        find: "this.#listener({ kind: 'snapshot', election, snapshot: snapshots[index]!, sentAt });",
        put: 'void [election, index, sentAt];',
      },
      {
        file: 'test/sim/sim-watch.ts',
        find: 'of etcd.changesSince(election, revision)',
        put: 'of etcd.changesSince(election, revision).slice(0, 0)',
      },
    ],
    focus: { kinds: ['delete key', 'break watch', 'mute watch', 'cut'] },
  },
  {
    name: 'joining trusts the revision in the header',
    patches: [
      {
        file: 'test/sim/model-etcd.ts',
        find: 'createRevision: own.createRevision, newestTerm, snapshot }',
        put: 'createRevision: snapshot.revision, newestTerm, snapshot }',
      },
    ],
  },
  {
    name: 'a handover is not guarded',
    patches: [
      {
        file: 'test/sim/model-etcd.ts',
        find: 'if (!guarded) return',
        put: 'if (!guarded && this.#scheduler.now < 0) return',
      },
    ],
    focus: {
      kinds: ['step down', 'slow', 'cut'],
      setup: {
        etcdMembers: 3,
        weather: {
          leastMs: 1,
          mostMs: 20,
          lossChance: 0.05,
          spikeChance: 0.2,
          spikeMs: 4000,
          copyChance: 0,
          copyMs: 0,
        },
      },
    },
  },
];
