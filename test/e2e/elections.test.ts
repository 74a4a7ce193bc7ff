// One process in several elections, and one that never leads.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { LeaderAnswer, Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { agreement, openStage, type Stage } from './stage.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await openStage({ size: 1 });
});
afterEach(() => stage.clear());
afterAll(() => stage.end());

const answersOf = async (sidecar: Sidecar): Promise<readonly LeaderAnswer[]> =>
  (await sidecar.get<{ elections: LeaderAnswer[] }>('/elections')).body.elections;

/** The id that leads each election, once all of these name the same one in each. */
const leadersOf = (sidecars: readonly Sidecar[]): Promise<ReadonlyMap<string, string>> =>
  eventually(
    async () => {
      const [first = [], ...rest] = await Promise.all(sidecars.map(answersOf));
      const leaders = new Map(first.map(({ election, leader }) => [election, leader?.id ?? '']));
      const agreed = rest
        .flat()
        .every(({ election, leader }) => leaders.get(election) === leader?.id);
      return agreed && first.length > 0 && ![...leaders.values()].includes('') && leaders;
    },
    { withinMs: 20_000, what: 'a leader of every election' },
  );

test('two elections in one process are won and lost apart from each other', async () => {
  const left = await stage.sidecar({ election: 'left', id: 'a' });
  await agreement([left]);
  const both = await stage.sidecar({ election: 'left,right', id: 'b' });
  const right = await stage.sidecar({ election: 'right', id: 'c' });
  await right.waitFor(({ leader }) => leader !== null, 20_000);
  const leaders = await leadersOf([both]);
  expect(leaders.get('left')).toBe('a');
  const ofRight = leaders.get('right') === 'b' ? both : right;
  const answer = await ofRight.get<LeaderAnswer>('/elections/right/leader');
  expect(answer).toMatchObject({ status: 200, body: { election: 'right', isLeader: true } });
  expect((await both.get('/elections/left/leader')).status).toBe(503);
  expect((await both.get('/leader')).body).toMatchObject({ code: 'election_required' });
  expect((await both.get('/elections/nowhere/leader')).status).toBe(404);
  expect((await left.stop()).code).toBe(0);
  await eventually(async () => (await both.get('/elections/left/leader')).status === 200, {
    withinMs: 20_000,
    what: 'b leading left',
  });
  expect((await ofRight.get<LeaderAnswer>('/elections/right/leader')).body.fencingToken).toBe(
    answer.body.fencingToken,
  );
});

test('sixteen elections on one lease are handed over together', async () => {
  const election = 'orders-{0..15}';
  // The lease outlives the bound below: only a hand-over can be in time.
  const args = ['--ttl=10s'];
  const sidecars = [await stage.sidecar({ election, id: 'a', args })];
  await leadersOf(sidecars);
  sidecars.push(await stage.sidecar({ election, id: 'b', args }));
  const before = await leadersOf(sidecars);
  expect([...before.keys()]).toEqual(Array.from({ length: 16 }, (_, index) => `orders-${index}`));
  expect(new Set(before.values())).toEqual(new Set(['a']));
  const keys = (await Promise.all([...before.keys()].map((name) => stage.keys(name)))).flat();
  const leases = keys
    .filter((key) => key.includes('/candidates/'))
    .map((key) => key.split('/').at(-1));
  expect(leases).toHaveLength(32);
  expect(new Set(leases).size).toBe(2);
  const [first, second] = sidecars as [Sidecar, Sidecar];
  const stopped = first.stop();
  const after = await eventually(
    async () => {
      const answers = await answersOf(second);
      return answers.every(({ isLeader }) => isLeader) && answers;
    },
    { withinMs: 20_000, what: 'b leading all of them' },
  );
  expect(after).toHaveLength(16);
  expect((await stopped).code).toBe(0);
  expect(second.output()).not.toMatch(/"level":"(warn|error|fatal)"/);
});

test('a negative priority observes: it knows the leader, never leads, and is no candidate', async () => {
  const observer = await stage.sidecar({ election: 'watched', id: 'o', args: ['--priority=-1'] });
  await observer.waitFor(({ role }) => role === 'observer', 20_000);
  const keys = await eventually(
    async () => {
      const found = await stage.keys('watched');
      return found.length > 0 && found;
    },
    { withinMs: 20_000, what: 'its record' },
  );
  expect(keys).toEqual(['/electord/watched/members/o']);
  const candidate = await stage.sidecar({ election: 'watched', id: 'a' });
  await observer.waitFor(({ leader }) => leader?.id === 'a', 20_000);
  expect((await observer.get('/readyz')).status).toBe(200);
  expect((await observer.get('/follower')).status).toBe(200);
  expect((await candidate.stop()).code).toBe(0);
  const { status, body } = await observer.waitFor(({ leader }) => leader === null, 20_000);
  expect(status).toBe(503);
  expect(body).toMatchObject({ role: 'observer', isLeader: false });
  // A whole round later it still does not stand.
  const { body: later } = await observer.waitFor(
    ({ observedAgeMs }) => observedAgeMs !== null && observedAgeMs < body.observedAgeMs!,
    20_000,
  );
  expect(later).toMatchObject({ role: 'observer', leader: null });
  expect((await stage.keys('watched')).filter((key) => key.includes('candidates'))).toEqual([]);
  expect((await observer.stop()).code).toBe(0);
});
