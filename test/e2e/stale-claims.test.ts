// The promise that everything else rests on: a leader that is stopped, or silently cut off from etcd, never claims after
// its successor has. Clients ask all the time; the machine's one monotonic clock judges.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { startRelay, type Relay } from '../harness/relay.ts';
import type { Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { brokenPromises, Probe, staleClaims, type Observation } from './claims.ts';
import { agreement, failoverWithinMs, lapsing, openStage, ttlMs, type Stage } from './stage.ts';

let stage: Stage;
const relays: Relay[] = [];

beforeAll(async () => {
  stage = await openStage({ size: 3 });
});
afterEach(async () => {
  await stage.clear();
  for (const relay of relays.splice(0)) relay.stop();
});
afterAll(() => stage.end());

const claimOfLaterTerm = (probe: Probe, token: string): Promise<Observation> =>
  eventually(
    () => probe.observations.find(({ claims }) => claims !== null && claims > BigInt(token)),
    { withinMs: failoverWithinMs(ttlMs), what: `a successor of term ${token}` },
  );

/** Waits for answers of this sidecar to questions that were sent after `since`. */
const answersSince = (probe: Probe, sidecar: Sidecar, since: number): Promise<unknown> =>
  eventually(() => probe.of(sidecar).filter(({ sentAt }) => sentAt > since).length >= 5, {
    withinMs: 20_000,
    what: `answers of ${sidecar.id}`,
  });

/** Waits until a question has been sent after `since`; a stopped process finds it when it wakes. */
const askedAgain = (probe: Probe, sidecar: Sidecar, since: number): Promise<unknown> =>
  eventually(() => probe.askedAt(sidecar) > since + 5, {
    withinMs: 20_000,
    what: `a question to ${sidecar.id}`,
  });

test('the judge knows a stale claim when it sees one', () => {
  const about = (sentAt: number, claims: bigint | null, knows = claims): Observation => ({
    ...{ from: 'a', status: claims === null ? 503 : 200 },
    ...{ sentAt, receivedAt: sentAt + 10, claims, knows, validForMs: 500 },
  });
  // '10' < '6' as text: terms are numbers.
  expect(staleClaims([about(0, 6n), about(20, 10n), about(31, 6n)])).toHaveLength(1);
  expect(staleClaims([about(0, 6n), about(20, null, 10n), about(31, 6n)])).toHaveLength(1);
  expect(staleClaims([about(0, 6n), about(20, 10n), about(30, 6n)])).toHaveLength(0);
  expect(staleClaims([about(0, 6n), about(20, 10n), about(31, 10n)])).toHaveLength(0);
  expect(brokenPromises([about(0, 6n), about(489, 10n)])).toHaveLength(1);
  expect(brokenPromises([about(0, 6n), about(490, 10n), about(600, 10n)])).toHaveLength(0);
  expect(brokenPromises([about(0, 6n), about(20, null, 10n)])).toHaveLength(0);
});

test('stopped for longer than its lease and continued, five times', async () => {
  const sidecars = await stage.three({ election: 'stopped', args: [lapsing] });
  for (let round = 0; round < 5; round += 1) {
    const { leader, token } = await agreement(sidecars);
    const probe = new Probe(sidecars);
    await answersSince(probe, leader, 0);
    leader.signal('SIGSTOP');
    const { receivedAt } = await claimOfLaterTerm(probe, token);
    await askedAgain(probe, leader, receivedAt);
    leader.signal('SIGCONT');
    await answersSince(probe, leader, receivedAt);
    const observations = await probe.end();
    expect(staleClaims(observations)).toEqual([]);
    expect(probe.of(leader).some(({ claims }) => claims === BigInt(token))).toBe(true);
  }
});

test('silently cut off from every member of etcd, stopped meanwhile or not, and healed, six times', async () => {
  const links = new Map<Sidecar, readonly Relay[]>();
  for (const id of ['a', 'b', 'c']) {
    const own = await Promise.all(stage.cluster.endpoints.map((target) => startRelay({ target })));
    relays.push(...own);
    const etcd = own.map(({ url }) => url);
    links.set(await stage.sidecar({ election: 'cut-off', id, etcd, args: [lapsing] }), own);
  }
  const sidecars = [...links.keys()];
  for (let round = 0; round < 6; round += 1) {
    const { leader, token } = await agreement(sidecars);
    const probe = new Probe(sidecars);
    await answersSince(probe, leader, 0);
    // Woken behind a cut link it has heard of nothing: only its own clock can tell it.
    const sleeps = round >= 3;
    if (sleeps) leader.signal('SIGSTOP');
    // All at once, as when a cable is pulled; every second time only what etcd answers is lost.
    for (const relay of links.get(leader)!) {
      if (round % 2 === 0) relay.cut();
      else relay.cutOneWay('down');
    }
    const { receivedAt } = await claimOfLaterTerm(probe, token);
    await askedAgain(probe, leader, receivedAt);
    if (sleeps) leader.signal('SIGCONT');
    await answersSince(probe, leader, receivedAt);
    const last = probe.of(leader).at(-1)!;
    expect(last).toMatchObject({ status: 503, claims: null });
    // It has stopped of its own accord, without having heard of a successor.
    expect(last.knows === null || last.knows === BigInt(token)).toBe(true);
    await Promise.all(links.get(leader)!.map((relay) => relay.heal()));
    await agreement(sidecars);
    expect(staleClaims(await probe.end())).toEqual([]);
  }
  for (const sidecar of sidecars) expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
});
