// `/events` of real sidecars over a real etcd: every sidecar tells of each change, in order, with the words of the history,
// until it ends.
import { get } from 'node:http';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { LeaderAnswer, Sidecar } from '../harness/sidecar.ts';
import { eventually, within } from '../harness/wait.ts';
import { agreement, failoverWithinMs, lapsing, openStage, ttlMs, type Stage } from './stage.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await openStage({ size: 1 });
});
afterEach(() => stage.clear());
afterAll(() => stage.end());

interface Told extends LeaderAnswer {
  readonly reason: string;
}

interface Stream {
  readonly told: readonly Told[];
  readonly ids: readonly string[];
  /** Resolves at a clean end of the stream, rejects at any other. */
  readonly end: Promise<void>;
}

/** Listens to the events of a sidecar, as an app beside it would. */
function listenTo(sidecar: Sidecar, local = false): Stream {
  const told: Told[] = [];
  const ids: string[] = [];
  const url = local ? sidecar.localUrl : sidecar.url;
  const end = new Promise<void>((resolve, reject) => {
    get(`${url}/events`, { agent: false }, (answer) => {
      let rest = '';
      answer.setEncoding('utf8').on('data', (part: string) => {
        const frames = (rest + part).split('\n\n');
        rest = frames.pop() ?? '';
        for (const frame of frames) {
          const [, data] = /^data: (.*)$/m.exec(frame) ?? [];
          const [, id] = /^id: (\d+)$/m.exec(frame) ?? [];
          if (data === undefined) continue;
          told.push(JSON.parse(data) as Told);
          ids.push(id ?? '');
        }
      });
      answer.on('error', reject).on('end', resolve);
    }).on('error', reject);
  });
  end.catch(() => undefined);
  return { told, ids, end };
}

test('tell of a hand-over and of a failover, in order, at every sidecar, and end cleanly', async () => {
  const sidecars = await stage.three({ election: 'told', args: [lapsing] });
  const first = await agreement(sidecars);
  const streams = new Map(sidecars.map((one, index) => [one, listenTo(one, index === 0)]));
  const latest = (one: Sidecar): Told | undefined => streams.get(one)!.told.at(-1);
  await eventually(() => sidecars.every((one) => latest(one)?.leader?.id === first.leader.id), {
    withinMs: 20_000,
    what: 'the state everywhere',
  });
  expect(latest(first.leader)).toMatchObject({ isLeader: true, fencingToken: first.token });
  const { text } = await first.leader.get('/metrics');
  expect(text).toMatch(/^electord_event_clients\{[^}]*\} 1$/m);

  first.leader.signal('SIGTERM');
  await within(streams.get(first.leader)!.end, { withinMs: 20_000, what: 'a clean end' });
  expect(latest(first.leader)!.isLeader).toBe(false);
  const second = await agreement(first.others);
  await eventually(
    () => first.others.every((one) => latest(one)?.leader?.id === second.leader.id),
    {
      withinMs: 20_000,
      what: 'the successor everywhere',
    },
  );
  const follower = second.others[0]!;
  expect(latest(second.leader)).toMatchObject({ isLeader: true, reason: 'elected' });
  expect(latest(follower)).toMatchObject({ isLeader: false, reason: 'stopping' });

  second.leader.signal('SIGKILL');
  await expect(streams.get(second.leader)!.end).rejects.toThrow();
  await eventually(() => latest(follower)?.isLeader === true, {
    withinMs: failoverWithinMs(ttlMs),
    what: 'its own election',
  });
  const { told, ids } = streams.get(follower)!;
  const leaders = told.map(({ leader }) => leader?.id ?? null).filter((id) => id !== null);
  const distinct = leaders.filter((id, index) => id !== leaders[index - 1]);
  expect(distinct).toEqual([first.leader.id, second.leader.id, follower.id]);
  const numbers = ids.map(BigInt);
  expect(numbers).toEqual(numbers.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
  // Asked now and told then: the same words.
  const now = await follower.get<LeaderAnswer>('/leader');
  expect(latest(follower)).toMatchObject({
    fencingToken: now.body.fencingToken,
    role: 'leader',
    election: 'told',
  });
});
