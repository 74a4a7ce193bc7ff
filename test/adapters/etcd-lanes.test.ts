// What a lease depends on waits for nothing that matters less; and a request that only stands in line costs one request.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { electionName } from '../../src/core/model.ts';
import { hedgedRequest, type Weight } from '../../src/policies.ts';
import { startEtcdCluster, type EtcdCluster } from '../harness/etcd.ts';
import { eventually } from '../harness/wait.ts';
import { anyLease, connectTo, granted, me, orders, type Connection } from './etcd-connection.ts';

describe('on a real etcd', () => {
  let cluster: EtcdCluster;
  let connection: Connection;

  beforeEach(async () => {
    cluster = await startEtcdCluster({ size: 1 });
    connection = connectTo(cluster.endpoints);
  });
  afterEach(async () => {
    connection.coordinator.close();
    await cluster.stop();
  });

  test.each([
    ['a renewal', 'renew'],
    ['a confirmation', 'observe'],
  ])('%s does not stand in line behind a thousand who join', async (_, what) => {
    const { coordinator } = connection;
    const lease = anyLease();
    await coordinator.grant(lease, 60_000);
    let joined = 0;
    const joining = Array.from({ length: 1000 }, async (__, index) => {
      await coordinator.join(electionName(`e-${index}`), granted(lease), me);
      joined += 1;
    });
    await (what === 'renew' ? coordinator.renew(lease) : coordinator.observe([orders])[0]);
    expect(joined).toBeLessThan(500);
    await Promise.all(joining);
  });
});

test('a request that stands in line is sent once, when its turn comes', async () => {
  const hedge = hedgedRequest({ attemptMs: 60_000, hedgeAfterMs: 5 });
  const attempts = new Map<number, number>();
  const waiting: (() => void)[] = [];
  let released = false;
  const ask = (number: number): Promise<unknown> =>
    hedge(
      ['a', 'b', 'c'],
      () => {
        attempts.set(number, (attempts.get(number) ?? 0) + 1);
        if (released) return Promise.resolve(number);
        return new Promise<number>((resolve) => waiting.push(() => resolve(number)));
      },
      () => 'nothing',
    );
  const all = Array.from({ length: 74 }, (_, number) => ask(number));
  // The first 64 are under way, and each is hedged to every target; the ten behind them have only waited as long.
  await eventually(() => waiting.length === 64 * 3, { withinMs: 20_000, what: 'all hedges' });
  expect(attempts.size).toBe(64);
  released = true;
  for (const release of waiting) release();
  await Promise.all(all);
  expect([...attempts.values()].slice(64)).toEqual(Array.from({ length: 10 }, () => 1));
});

describe('a failure', () => {
  const hedge = hedgedRequest({ attemptMs: 60_000, hedgeAfterMs: 5 });
  /** Each target fails with its own name at once, except `slow`, which answers once `release` is called. */
  const ask = (targets: readonly string[], weigh: (failure: unknown) => Weight) => {
    const asked: string[] = [];
    let release = (): void => undefined;
    const answer = hedge(
      targets,
      (target) => {
        asked.push(target);
        if (target !== 'slow') return Promise.reject(new Error(target));
        return new Promise<string>((resolve) => (release = () => resolve(target)));
      },
      weigh,
    );
    return { asked, answer, release: () => release() };
  };

  test.each(['nothing', 'little'] as const)(
    'that says %s never comes before an answer that is under way',
    async (weight) => {
      const { asked, answer, release } = ask(['slow', 'bad', 'worse'], () => weight);
      await eventually(() => asked.length === 3, { withinMs: 20_000, what: 'the hedges' });
      release();
      expect((await answer).value).toBe('slow');
    },
  );

  test('that says what any other would say is told, and no other is asked', async () => {
    const { asked, answer } = ask(['slow', 'bad', 'worse'], () => 'all');
    await expect(answer).rejects.toThrow('bad');
    expect(asked).toEqual(['slow', 'bad']);
  });

  test('that says most is told in the end', async () => {
    const { answer } = ask(['a', 'refuses', 'b'], (failure) =>
      (failure as Error).message === 'refuses' ? 'little' : 'nothing',
    );
    await expect(answer).rejects.toThrow('refuses');
  });
});
