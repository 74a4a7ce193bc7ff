// Each rule of fast failover left out, as a small change to the production sources or to the model's side of a request:
// the judges must catch every one, as they must those of mutations.ts. What
// random schedules show too rarely has directed tests: test/core/witness.test.ts, short-lease.test.ts and failover.test.ts.
import type { Mutation } from './mutations.ts';
import type { Focus } from './schedule.ts';

const witness = 'src/core/witness.ts';
const shortLease = 'src/core/short-lease.ts';
const candidacy = 'src/core/candidacy.ts';
const timing = 'src/core/timing.ts';
const requests = 'src/elector/requests.ts';
const modelEtcd = 'test/sim/model-etcd.ts';

/** Members that pause and lose each other, on a network that is late and repeats itself. */
const shaky: Focus = {
  kinds: ['pause', 'cut members', 'cut', 'slow', 'hang'],
  setup: {
    fastFailoverMs: 400,
    weather: {
      leastMs: 0.5,
      mostMs: 10,
      lossChance: 0.05,
      spikeChance: 0.05,
      spikeMs: 1000,
      copyChance: 0.3,
      copyMs: 3000,
    },
  },
};

/** The same where nothing is lost, but every fifth message is late. */
const late: Focus = {
  ...shaky,
  setup: {
    fastFailoverMs: 400,
    weather: {
      leastMs: 0.5,
      mostMs: 10,
      lossChance: 0,
      spikeChance: 0.2,
      spikeMs: 1000,
      copyChance: 0,
      copyMs: 0,
    },
  },
};

/** Nothing but pauses and cuts of about a short lease, so that a few milliseconds too many are seen. */
const exact: Focus = {
  kinds: ['pause', 'cut members'],
  setup: {
    fastFailoverMs: 400,
    timerLateByMs: 0,
    weather: {
      leastMs: 0.2,
      mostMs: 0.3,
      lossChance: 0,
      spikeChance: 0,
      spikeMs: 0,
      copyChance: 0,
      copyMs: 0,
    },
  },
};

const mutation = (
  name: string,
  focus: Focus,
  ...patches: readonly (readonly [file: string, find: string, put: string])[]
): Mutation => ({
  name,
  focus,
  patches: patches.map(([file, find, put]) => ({ file, find, put })),
});

export const failoverMutations: readonly Mutation[] = [
  mutation('a claim is not bounded by its witnesses', shaky, [
    shortLease,
    'Math.min( Number.POSITIVE_INFINITY, ...pinged.filter',
    'Math.max( Number.POSITIVE_INFINITY, ...pinged.filter',
  ]),
  mutation('an acknowledgement counts from when it arrives', late, [
    requests,
    "kind: 'acknowledged', term, witness, sentAt }",
    "kind: 'acknowledged', term, witness, sentAt: clock.now() }",
  ]),
  mutation('an acknowledgement counts from after the ping was sent', exact, [
    shortLease,
    'Math.max(one.heardAt, sentAt)',
    'Math.max(one.heardAt, sentAt + lease.forMs / 8)',
  ]),
  mutation('a promise counts from before the ping arrived', exact, [
    witness,
    'now + forMs + marginMs,',
    'now - forMs / 8 + forMs + marginMs,',
  ]),
  mutation('a witness counts no more before etcd has answered', shaky, [
    shortLease,
    '!one.counts && isListed(to, one.witness) ? { ...one, counts: true, countsSince: now } : one',
    '({ ...one, counts: isListed(to, one.witness), countsSince: now })',
  ]),
  mutation('the record is written over whatever is there', shaky, [
    modelEtcd,
    '(state.witnesses?.at ?? null) === was',
    'true as boolean || was === null',
  ]),
  mutation('a deposition is not guarded by the record', shaky, [
    modelEtcd,
    'witnesses?.at === witnessesAt',
    'witnesses?.at !== undefined || witnessesAt === witnesses',
  ]),
  mutation('what is told is not limited to a short lease', shaky, [
    candidacy,
    'Math.min(bound, now + phase.short.forMs) : bound',
    'bound : bound',
  ]),
  mutation('a witness waits no longer than the short lease', exact, [
    timing,
    '(shortMs * marginMs) / ttlMs + grainMs',
    '0 * ((shortMs * marginMs) / ttlMs + grainMs)',
  ]),
];
