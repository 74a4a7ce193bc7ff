// The parts of the status page that only think: what is worst, where a term lies in the timeline, how fresh a page is,
// and what is said in words.
import { describe, expect, it } from 'vitest';
import type { StatusAnswer, TermOnWire } from '../../src/contract.ts';
import { alarmsOf, happenings } from '../../src/page/alarms.ts';
import { claimOf } from '../../src/page/claim.ts';
import { freshnessOf } from '../../src/page/freshness.ts';
import { Knowledge } from '../../src/page/knowledge.ts';
import { concernOf, matches, worstFirst, type Standing } from '../../src/page/ranking.ts';
import { fittingWindowMs, lastFailovers, timelineOf } from '../../src/page/timeline.ts';
import type { OverviewAnswer, PeerOnWire, PeersFrame } from '../../src/page/wire.ts';
import {
  ageWords,
  appWord,
  durationWords,
  endSentence,
  endWords,
  failoverWords,
  gapWords,
} from '../../src/page/words.ts';

const now = Date.parse('2026-11-20T22:00:00.000Z');
const ago = (ms: number): string => new Date(now - ms).toISOString();

const standing = (election: string, more: Partial<Standing> = {}): Standing => ({
  election,
  role: 'follower',
  obstacle: null,
  leader: { id: 'a', fencingToken: '5', since: ago(60_000) },
  candidates: 3,
  paused: false,
  leaderlessSince: null,
  changedAt: null,
  changes: 0,
  twoClaims: null,
  ...more,
});

const term = (
  fencingToken: number,
  leader: string,
  more: Partial<TermOnWire> = {},
): TermOnWire => ({
  fencingToken: String(fencingToken),
  leader,
  address: null,
  from: null,
  to: null,
  cause: null,
  reason: null,
  actor: null,
  leaderlessMs: null,
  leaderlessAtLeastMs: null,
  leaderlessAtMostMs: null,
  toEarliest: more.to ?? null,
  endDerived: false,
  ...more,
});

const exactly = (ms: number) => ({
  leaderlessMs: ms,
  leaderlessAtLeastMs: ms,
  leaderlessAtMostMs: ms,
});

const peer = (id: string, more: Partial<PeerOnWire> = {}): PeerOnWire => ({
  id,
  leaseId: `lease of ${id}`,
  url: `http://${id}:4040`,
  state: 'answers',
  silentForMs: 0,
  detail: null,
  role: 'follower',
  claim: null,
  observedAgeMs: 10,
  roundTripMs: 2,
  ...more,
});

const frame = (peers: readonly PeerOnWire[], more: Partial<PeersFrame> = {}): PeersFrame => ({
  election: 'orders',
  at: ago(0),
  peers,
  twoClaims: null,
  notAsked: 0,
  ...more,
});

describe('the list', () => {
  it('has the worst on top', () => {
    const nobody = { leader: null };
    const standings = [
      standing('fine-10'),
      standing('fine-9'),
      standing('alone', { candidates: 1 }),
      standing('changed', { changedAt: now - 1000 }),
      standing('long-ago', { changedAt: now - 3_600_000 }),
      standing('paused', { paused: true }),
      standing('flaps', { changes: 3 }),
      standing('nobody', { ...nobody, leaderlessSince: now - 1000 }),
      standing('nobody-for-long', { ...nobody, leaderlessSince: now - 9000 }),
      standing('unknown', { ...nobody, role: 'unknown', leaderlessSince: now }),
      standing('two', { twoClaims: ['a', 'b'] }),
    ];
    const order = worstFirst(standings, now).map(({ election }) => election);
    const troubled = ['two', 'unknown', 'nobody-for-long', 'nobody', 'flaps', 'paused', 'changed'];
    expect(order).toEqual([...troubled, 'alone', 'fine-9', 'fine-10', 'long-ago']);
  });

  it('is searched by every word in name, leader and state', () => {
    const one = standing('shop-17', { paused: true });
    expect(matches(one, '  ', now)).toBe(true);
    expect(matches(one, 'SHOP pau', now)).toBe(true);
    expect(matches(one, 'shop-18', now)).toBe(false);
    expect(matches(one, 'shop nobody', now)).toBe(false);
    expect(concernOf(one, now).tone).toBe('warn');
  });
});

describe('the timeline', () => {
  const terms = [
    term(30, 'b', { from: ago(10_000), ...exactly(20_000) }),
    term(20, 'a', { from: ago(60_000), to: ago(30_000), cause: 'lease_expired' }),
    term(10, 'b', { from: ago(200_000), to: ago(60_000), cause: 'switchover' }),
  ];

  it('puts each term into its leader’s lane, and shows the gaps between', () => {
    const { lanes, blocks, gaps, marks } = timelineOf(terms, now, 100_000);
    expect(lanes).toEqual(['b', 'a']);
    expect(blocks.map(({ left, right, lane }) => [left, right, lane])).toEqual([
      [0, 0.4, 0],
      [0.4, 0.7, 1],
      [0.9, 1, 0],
    ]);
    expect(blocks.map(({ current }) => current)).toEqual([false, false, true]);
    expect(gaps).toEqual([{ left: 0.7, right: 0.9, durationMs: 20_000, exact: true }]);
    expect(marks).toEqual([
      { at: 0.4, lane: 0, planned: true },
      { at: 0.7, lane: 1, planned: false },
    ]);
  });

  it('leaves out what lies before the window, and shows that nobody leads now', () => {
    const over = [term(20, 'a', { from: ago(60_000), to: ago(30_000), cause: 'stopping' })];
    expect(timelineOf(over, now, 10_000).blocks).toEqual([]);
    expect(timelineOf(over, now, 10_000).gaps).toEqual([
      { left: 0, right: 1, durationMs: 30_000, exact: true },
    ]);
    expect(timelineOf([], now, 10_000)).toMatchObject({ lanes: [], blocks: [], gaps: [] });
  });

  it('counts what may have been dead time as a gap, at most, and tells planned and unplanned ends apart', () => {
    const bounds = { leaderlessMs: null, leaderlessAtLeastMs: 3, leaderlessAtMostMs: 4960 };
    const [crashed, handedOver] = [{ to: ago(10_000), toEarliest: ago(14_960) }, exactly(12)];
    const ends = [
      term(30, 'b', { from: ago(10_000), ...bounds }),
      term(20, 'a', { from: ago(60_000), ...crashed, cause: 'lease_expired', ...handedOver }),
      term(10, 'b', { from: ago(200_000), to: ago(60_012), cause: 'switchover' }),
    ];
    const { blocks, gaps } = timelineOf(ends, now, 100_000);
    expect(blocks[1]?.right).toBeCloseTo(0.8504);
    expect(gaps).toMatchObject([{ durationMs: 4960, exact: false }]);
    expect(gapWords(ends[0]!)).toBe('≤ 5.0 s');
    expect(gapWords(ends[1]!)).toBe('12 ms');
    const { planned, unplanned } = lastFailovers(ends);
    expect(planned?.term.fencingToken).toBe('20');
    expect(unplanned?.term.fencingToken).toBe('30');
    expect(lastFailovers(ends.slice(2))).toEqual({ planned: null, unplanned: null });
  });

  it('never overlaps terms, whatever the clocks of their leaders say', () => {
    const skewed = [
      term(20, 'b', { from: ago(50_000) }),
      term(10, 'a', { from: ago(60_000), to: ago(20_000), cause: 'resigned' }),
    ];
    const [first, second] = timelineOf(skewed, now, 100_000).blocks;
    expect(first?.right).toBe(second?.left);
  });

  it('looks back far enough for the last few changes, and writes few times below', () => {
    expect(fittingWindowMs(terms, now)).toBe(600_000);
    expect(fittingWindowMs([], now)).toBe(20_000);
    expect(fittingWindowMs([term(1, 'a', { from: ago(40 * 86_400_000) })], now)).toBeGreaterThan(
      40 * 86_400_000,
    );
    for (const windowMs of [60_000, 3_600_000, 86_400_000, 90 * 86_400_000]) {
      const { ticks } = timelineOf(terms, now, windowMs, 4);
      expect(ticks.length).toBeGreaterThan(0);
      expect(ticks.length).toBeLessThanOrEqual(5);
      for (const { at } of ticks) expect(at).toBeGreaterThanOrEqual(0);
    }
  });
});

describe('freshness', () => {
  it('is judged by the stream where it flows, and by polling where there is none', () => {
    const words = { since: 0, lastWordAt: 1000, streams: true, broken: false };
    expect(freshnessOf(words, 1300)).toBe('live');
    expect(freshnessOf(words, 1450)).toBe('quiet');
    expect(freshnessOf(words, 3000)).toBe('stale');
    expect(freshnessOf({ ...words, broken: true }, 1010)).toBe('quiet');
    expect(freshnessOf({ ...words, streams: false }, 4000)).toBe('live');
    expect(freshnessOf({ ...words, streams: false }, 6000)).toBe('quiet');
    expect(freshnessOf({ ...words, streams: false }, 8000)).toBe('stale');
    expect(freshnessOf({ ...words, lastWordAt: null }, 1000)).toBe('connecting');
    expect(freshnessOf({ ...words, lastWordAt: null }, 2000)).toBe('stale');
  });
});

describe('words', () => {
  it('call no app well that nobody checks', () => {
    const member = { native: true, healthy: true, checked: true };
    expect(appWord(member)).toEqual({ text: 'well', tone: 'ok' });
    expect(appWord({ ...member, checked: false })).toEqual({ text: 'not checked', tone: 'dim' });
    // A sidecar of an older version does not say.
    expect(appWord({ ...member, checked: null }).text).toBe('well');
    expect(appWord({ ...member, healthy: false }).text).toBe('unhealthy');
    expect(appWord({ ...member, native: false }).text).toBe('not known');
    expect(appWord(undefined).text).toBe('not known');
  });

  it('tell how long', () => {
    const told = [340, 4260, 38_400, 725_000, 12_000_000, 187_200_000].map(durationWords);
    expect(told).toEqual(['340 ms', '4.2 s', '38 s', '12 min 5 s', '3 h 20 min', '2 d 4 h']);
    expect([durationWords(-5), ageWords(340)]).toEqual(['0 ms', 'less than 1 s']);
  });

  it('tell why a term ended, and who asked for it', () => {
    const more = { cause: 'switchover', reason: 'deploy', actor: 'operator via b' } as const;
    expect(endSentence(term(1, 'a', more))).toBe('a handed over (“deploy”, operator via b)');
    expect(endSentence(term(1, 'a'))).toBe('a left, nobody knows why');
    // Without its leader, where that stands beside it; a reason may name it once more.
    const named = { ...more, reason: 'since a is slow' };
    expect(endWords(term(1, 'a', named))).toBe('handed over (“since a is slow”, operator via b)');
  });

  it('tell who would replace the leader, and warn where a crash costs a TTL', () => {
    const told = (isLeader: boolean, witnesses: readonly string[], isWitness = false) =>
      failoverWords({ isLeader, failover: { shortMs: 250, witnesses, isWitness } });
    const text = 'b and c would replace it after 250 ms';
    expect(told(true, ['b', 'c'])).toEqual({ text, tone: 'ok' });
    expect(told(true, [])).toEqual({ text: 'no witness: a crash costs a TTL', tone: 'warn' });
    expect(told(false, [], true)?.text).toBe('replaces the leader after 250 ms of silence');
    expect(told(false, [])).toBeNull();
    expect(failoverWords({ isLeader: true, failover: null })).toBeNull();
    // An older sidecar does not speak of it.
    expect(failoverWords({ isLeader: true })).toBeNull();
  });
});

describe('what is wrong', () => {
  const moment = { now: 5000, wallNow: now, health: null };
  const details = (peers: readonly PeerOnWire[]) => ({
    election: 'orders',
    status: null,
    members: null,
    history: null,
    frame: { value: frame(peers), at: 5000 },
  });
  const keys = (one: Standing, peers: readonly PeerOnWire[]): readonly string[] =>
    alarmsOf(one, details(peers), moment).map(({ key }) => key);

  it('is nothing while all answer', () => {
    expect(keys(standing('orders'), [peer('a', { role: 'leader' }), peer('b')])).toEqual([]);
  });

  it('is a leader that is silent, and until when it may still act', () => {
    const claim = { fencingToken: '5', remainingMs: 3000 };
    const silent = peer('a', { state: 'silent', silentForMs: 900, detail: 'gone', claim });
    const [alarm] = alarmsOf(standing('orders'), details([silent, peer('b')]), moment);
    expect(alarm?.tone).toBe('bad');
    expect(alarm?.text).toMatch(
      /^a is leader in etcd but does not answer: gone\..*about 3\.0 s\.$/,
    );
    expect(keys(standing('orders'), [peer('a'), { ...silent, id: 'b' }])).toEqual(['silent b']);
  });

  it('is two claims before all else, nobody, and not to know', () => {
    const nobody = standing('orders', { leader: null, leaderlessSince: now - 4000 });
    expect(keys(standing('orders', { twoClaims: ['a', 'b'] }), [])[0]).toBe('claims a,b');
    expect(keys(nobody, [])).toEqual(['nobody']);
    expect(keys({ ...nobody, role: 'unknown' }, [])).toEqual(['unknown']);
    expect(keys(standing('orders', { candidates: 1 }), [])).toEqual(['alone']);
  });

  it('is a wait for a leader whose term was taken away, and for how much longer', () => {
    const waiting = { forMs: 4000, for: 'a', because: 'taken_away' } as const;
    const nobody = standing('orders', { leader: null, leaderlessSince: now - 1000 });
    const told = (wait: StatusAnswer['waiting']): readonly string[] => {
      const status = { value: { waiting: wait } as StatusAnswer, at: 3000 };
      return alarmsOf(nobody, { ...details([]), status }, moment).map(({ text }) => text);
    };
    expect(told(waiting)).toContain(
      'This sidecar is next, and waits 2.0 s more, because the lease or key of a was taken away.',
    );
    expect(told({ forMs: 9000, for: null, because: 'takeover_delay' })).toContain(
      'This sidecar is next, and waits 7.0 s more, as its takeover delay says, after whoever may have led before.',
    );
    expect(told(null)).toHaveLength(1);
  });

  it('has been told once it happened', () => {
    const before = frame([peer('a'), peer('b'), peer('c', { state: 'silent' })]);
    const after = frame([peer('a', { state: 'silent', detail: 'gone' }), peer('c'), peer('d')], {
      twoClaims: ['c', 'd'],
    });
    expect(happenings(before, after)).toEqual([
      'a fell silent: gone',
      'c answers again',
      'd joined',
      'b is gone from etcd',
      'two claims at once: c and d',
    ]);
    expect(happenings(null, after)).toEqual([]);
    expect(happenings({ ...before, election: 'another' }, after)).toEqual([]);
  });
});

describe('the claim of the leader', () => {
  const told = (remainingMs: number, shortMs: number | null, more: Partial<PeerOnWire> = {}) => {
    const claim = { fencingToken: '5', remainingMs };
    const failover = shortMs === null ? null : { shortMs, witnesses: [], isWitness: true };
    const details = {
      election: 'orders',
      status: { value: { ttlMs: 10_000, failover } as unknown as StatusAnswer, at: 0 },
      members: null,
      history: null,
      frame: { value: frame([peer('a', { claim, ...more })]), at: 5000 },
    };
    return claimOf(standing('orders'), details, 5100);
  };

  it('shrinks from the lease, also where nobody is a witness', () => {
    const shrinking = { leftMs: 7900, ofMs: 10_000, silent: false, isShort: false };
    expect(told(8000, null)).toEqual(shrinking);
    expect(told(8000, 250)).toEqual(shrinking);
    expect(told(8000, null, { claim: null })).toBeNull();
  });

  it('is whole while a short lease is renewed, and shrinks from that once it is not', () => {
    expect(told(200, 250)).toEqual({ leftMs: 250, ofMs: 250, silent: false, isShort: true });
    const silent = { leftMs: 100, ofMs: 250, silent: true, isShort: false };
    expect(told(200, 250, { state: 'silent' })).toEqual(silent);
    expect(told(200, null)).toMatchObject({ leftMs: 100, ofMs: 10_000 });
  });
});

describe('what the page knows', () => {
  const overview = (leader: Standing['leader']): OverviewAnswer => ({
    id: 'me',
    version: '9.9.9',
    at: ago(0),
    health: { status: 'ok', checks: {} },
    elections: [
      {
        election: 'orders',
        role: 'follower',
        obstacle: null,
        leader,
        candidates: 2,
        paused: false,
      },
    ],
  });
  const led = { id: 'a', fencingToken: '5', since: ago(1000) };

  it('counts changes, and since when nobody leads, on the clock of the sidecar', () => {
    let wall = now - 3_600_000;
    const knowledge = new Knowledge(
      () => 0,
      () => wall,
    );
    knowledge.takeOverview(overview(led));
    expect(knowledge.wallNow()).toBe(now);
    expect(knowledge.standings.get('orders')).toMatchObject({ changes: 0, changedAt: null });
    wall += 500;
    const event = { election: 'orders', id: 'me', isLeader: false, fencingToken: null } as const;
    const gone = { ...event, role: 'follower', validForMs: 0, observedAgeMs: 1 } as const;
    expect(knowledge.takeEvent({ ...gone, leader: null, reason: 'crashed' })).toBe(true);
    expect(knowledge.standings.get('orders')?.leaderlessSince).toBe(now + 500);
    const next = { ...led, id: 'b', fencingToken: '6', address: null };
    expect(knowledge.takeEvent({ ...gone, leader: next, reason: 'elected' })).toBe(true);
    expect(knowledge.takeEvent({ ...gone, leader: next, reason: 'elected' })).toBe(false);
    expect(knowledge.standings.get('orders')).toMatchObject({ changes: 1, leaderlessSince: null });
    expect([...knowledge.changed]).toEqual(['orders']);
  });

  it('is all there was to know of one election, and nothing of another', () => {
    const knowledge = new Knowledge(
      () => 7,
      () => now,
    );
    knowledge.takeOverview(overview(led));
    knowledge.look('orders');
    knowledge.takeFrame(frame([peer('a')], { election: 'another' }));
    expect(knowledge.details?.frame).toBeNull();
    knowledge.takeFrame(frame([peer('a')], { twoClaims: ['a', 'b'] }));
    expect(knowledge.details?.frame?.at).toBe(7);
    expect(knowledge.standings.get('orders')?.twoClaims).toEqual(['a', 'b']);
  });
});
