// The main things that happen to an election, each as a short schedule on a quiet network: what comes out is read as a
// story and kept as a file in transcripts/.
import { scheduleMs, type Happening, type Schedule, type Setup } from './schedule.ts';

/** One story: what befalls three sidecars A, B and C, of which A joins first. */
export interface Story {
  readonly name: string;
  readonly happenings: readonly Happening[];
  readonly setup?: Partial<Setup>;
  readonly endMs: number;
}

const quiet: Setup = {
  sidecars: [
    { rate: 1, priority: 0, startsAtMs: 0, ttlMs: 5000 },
    { rate: 1, priority: 0, startsAtMs: 100, ttlMs: 5000 },
    { rate: 1, priority: 0, startsAtMs: 200, ttlMs: 5000 },
  ],
  elections: 1,
  whenAllUnhealthy: 'none',
  etcdMembers: 3,
  ttlMs: 5000,
  marginMs: 250,
  takeoverDelayMs: 'evidence',
  leastTtlMs: 2000,
  graceMs: 1000,
  app: null,
  fastFailoverMs: null,
  timerLateByMs: 0,
  weather: {
    leastMs: 1,
    mostMs: 1,
    lossChance: 0,
    spikeChance: 0,
    spikeMs: 0,
    copyChance: 0,
    copyMs: 0,
  },
};

/** The schedule of a story; its judges sit all the same. */
export const scheduleOfStory = ({ happenings, setup, endMs }: Story): Schedule => ({
  seed: 1,
  setup: { ...quiet, ...setup },
  happenings,
  calmAtMs: scheduleMs,
  leaderByMs: scheduleMs,
  endMs,
});

const leader = 'leader' as const;

export const stories: readonly Story[] = [
  { name: 'elect', happenings: [], endMs: 3000 },
  {
    name: 'stop the leader',
    happenings: [{ atMs: 2000, kind: 'terminate', whom: leader, forMs: 1000 }],
    endMs: 4000,
  },
  {
    name: 'hand over to a named successor',
    happenings: [{ atMs: 2000, kind: 'step down', whom: leader, of: 0, to: 2, notForMs: 0 }],
    endMs: 4000,
  },
  {
    name: 'hand over with an app that must stop first',
    happenings: [{ atMs: 2000, kind: 'step down', whom: leader, of: 0, to: 1, notForMs: 0 }],
    setup: { app: { mostStopMs: 800, stopLeadMs: 500 } },
    endMs: 4000,
  },
  {
    name: 'keep a promise to hold',
    happenings: [
      { atMs: 2000, kind: 'hold', whom: leader, of: 0, holdMs: 900 },
      { atMs: 2100, kind: 'terminate', whom: leader, forMs: 1000 },
    ],
    endMs: 4500,
  },
  {
    name: 'crash the leader',
    happenings: [{ atMs: 2000, kind: 'crash', whom: leader, forMs: 10_000 }],
    endMs: 14_000,
  },
  {
    name: 'an assertion fails in a leader that has a child',
    happenings: [{ atMs: 2000, kind: 'fail', whom: leader, forMs: 1000 }],
    setup: { app: { mostStopMs: 800, stopLeadMs: 500 } },
    endMs: 4500,
  },
  {
    name: 'stop the leader twice while its app takes its time',
    happenings: [
      { atMs: 2000, kind: 'terminate', whom: leader, forMs: 1000 },
      { atMs: 2100, kind: 'terminate twice', whom: leader, forMs: 1000 },
    ],
    setup: { app: { mostStopMs: 3000, stopLeadMs: 500 }, graceMs: 2000 },
    endMs: 4500,
  },
  {
    name: 'ask for a switchover that a stranger gets in the way of',
    happenings: [
      { atMs: 2000, kind: 'ask for switchover', of: 0, to: 2, forMs: 3000 },
      { atMs: 2050, kind: 'foreign candidate', of: 0, forMs: 3000 },
      { atMs: 2060, kind: 'crash', whom: 2, forMs: 100 },
    ],
    setup: { app: { mostStopMs: 800, stopLeadMs: 500 } },
    endMs: 7000,
  },
  {
    name: 'pause the leader',
    happenings: [{ atMs: 2000, kind: 'pause', whom: leader, forMs: 12_000 }],
    endMs: 16_000,
  },
  {
    name: 'cut the leader off',
    happenings: [
      { atMs: 2000, kind: 'cut', whom: leader, member: 'all', how: 'silent', forMs: 12_000 },
    ],
    endMs: 18_000,
  },
  {
    name: 'freeze the member of etcd that is asked',
    happenings: [{ atMs: 2000, kind: 'freeze member', member: 0, forMs: 8000 }],
    endMs: 12_000,
  },
  {
    name: 'lose the leader of etcd',
    happenings: [{ atMs: 2000, kind: 'etcd without leader', forMs: 1500 }],
    endMs: 6000,
  },
  {
    name: 'revoke the lease wrongly',
    happenings: [{ atMs: 2000, kind: 'revoke wrongly', whom: leader }],
    endMs: 4000,
  },
  {
    name: 'revoke the lease wrongly under a takeover delay',
    happenings: [{ atMs: 7000, kind: 'revoke wrongly', whom: leader }],
    setup: { takeoverDelayMs: 5000 },
    endMs: 14_000,
  },
  {
    name: 'delete the key by hand while the watch is mute',
    happenings: [
      { atMs: 1990, kind: 'mute watch', whom: leader, forMs: 9000 },
      { atMs: 2000, kind: 'delete key', whom: leader, of: 0 },
    ],
    endMs: 5000,
  },
  {
    name: 'pause the election and stop the leader',
    happenings: [
      { atMs: 2000, kind: 'pause election', of: 0, forMs: 3000 },
      { atMs: 3000, kind: 'terminate', whom: leader, forMs: 1000 },
    ],
    endMs: 7000,
  },
];
