// Fast failover of real sidecars on real etcd, at a TTL of ten minutes: nothing but the witnesses can replace a leader
// within a test. How long it takes is the benchmark's business.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { etcdSeries } from '../harness/binaries.ts';
import type { LeaderAnswer, Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { brokenPromises, Probe, staleClaims } from './claims.ts';
import { agreement, openStage, type Agreement, type Stage } from './stage.ts';

/** Generous, for a busy machine: a leader that stalls for longer loses its term, which these tests do not forbid. */
const fast = ['--ttl=10m', '--fast-failover=1s', '--max-hold=0s'];
const withinMs = 30_000;

interface Status extends LeaderAnswer {
  readonly failover: { readonly witnesses: readonly string[]; readonly isWitness: boolean } | null;
}
interface History {
  readonly terms: readonly { readonly fencingToken: string; readonly cause: string | null }[];
}

const witnessesOf = async (sidecar: Sidecar): Promise<readonly string[]> =>
  (await sidecar.get<Status>('/status')).body.failover?.witnesses ?? [];

describe.each(etcdSeries)('etcd %s', (version) => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await openStage({ size: 1, version });
  });
  afterEach(() => stage.clear());
  afterAll(() => stage.end());

  /** Three of which one leads, with as many witnesses. */
  async function covered(sidecars: readonly Sidecar[], count: number): Promise<Agreement> {
    return eventually(
      async () => {
        const agreed = await agreement(sidecars);
        return (await witnessesOf(agreed.leader)).length === count && agreed;
      },
      { withinMs, what: `a leader with ${count} witnesses` },
    );
  }

  const successor = (sidecars: readonly Sidecar[], token: string): Promise<Agreement> =>
    eventually(
      async () => {
        const now = await agreement(sidecars);
        return now.token !== token && now;
      },
      { withinMs, what: 'a successor' },
    );

  test('who was killed is replaced by a witness, and history says that it crashed', async () => {
    const sidecars = await stage.three({ election: 'killed', args: fast });
    const { leader, others, token } = await covered(sidecars, 2);
    expect((await leader.get<Status>('/status')).body.validForMs).toBeLessThanOrEqual(1000);
    const probe = new Probe(others);
    leader.signal('SIGKILL');
    const next = await successor(others, token);
    expect(BigInt(next.token)).toBeGreaterThan(BigInt(token));
    const { terms } = await eventually(
      async () => {
        const { body } = await next.leader.get<History>('/history');
        return body.terms.length > 1 && body;
      },
      { withinMs, what: 'the term in history' },
    );
    expect(terms.find(({ fencingToken }) => fencingToken === token)?.cause).toBe('crashed');
    const observations = await probe.end();
    expect(staleClaims(observations)).toEqual([]);
    expect(brokenPromises(observations)).toEqual([]);
  });

  test('who stood still is replaced, and claims nothing when it goes on', async () => {
    const sidecars = await stage.three({ election: 'stopped', args: fast });
    const { leader, others, token } = await covered(sidecars, 2);
    const probe = new Probe(sidecars);
    leader.signal('SIGSTOP');
    await successor(others, token);
    leader.signal('SIGCONT');
    await agreement(sidecars);
    const observations = await probe.end();
    expect(staleClaims(observations)).toEqual([]);
    expect(brokenPromises(observations)).toEqual([]);
  });

  test('a witness that dies costs no term, and the next one takes its place', async () => {
    const sidecars = await stage.three({ election: 'witness', args: fast });
    const { leader, others, token } = await covered(sidecars, 2);
    const [dying, staying] = others;
    dying!.signal('SIGKILL');
    await eventually(async () => String(await witnessesOf(leader)) === staying!.id, {
      withinMs,
      what: 'its dismissal',
    });
    const { body } = await leader.get<LeaderAnswer>('/leader');
    expect(body).toMatchObject({ isLeader: true, fencingToken: token });
  });

  test('many elections of one process have witnesses each, and fail over together', async () => {
    const names = Array.from({ length: 40 }, (_, at) => `many-${at}`);
    const sidecars = await stage.three({ election: names.join(','), args: fast });
    const [one] = sidecars;
    const led = async (sidecar: Sidecar): Promise<readonly LeaderAnswer[]> =>
      (await sidecar.get<{ elections: readonly LeaderAnswer[] }>('/elections')).body.elections;
    const text = async (sidecar: Sidecar): Promise<string> => (await sidecar.get('/metrics')).text;
    const witnesses = async (): Promise<number> => {
      const all = await Promise.all(sidecars.map(text));
      const counts = all.flatMap((each) => [...each.matchAll(/^electord_witnesses\{.*\} 2$/gm)]);
      return counts.length;
    };
    await eventually(async () => (await witnesses()) === names.length, {
      withinMs,
      what: 'two witnesses of every leader',
    });
    const leader = (await led(one!)).some(({ isLeader }) => isLeader) ? one! : sidecars[1]!;
    const others = sidecars.filter((sidecar) => sidecar !== leader);
    leader.signal('SIGKILL');
    const after = await eventually(
      async () => {
        const answers = (await Promise.all(others.map(led))).flat();
        const leading = answers.filter(({ isLeader }) => isLeader);
        return leading.length === names.length && leading;
      },
      { withinMs, what: 'a leader of every election' },
    );
    expect(after.map(({ election }) => election).toSorted()).toEqual(names.toSorted());
  });

  test('who has it off, or cannot be reached, is no witness: a crash costs the TTL, nothing flaps', async () => {
    const url = '--url=http://127.0.0.1:1';
    const election = 'mixed';
    const a = await stage.sidecar({ election, id: 'a', args: fast });
    await agreement([a]);
    const b = await stage.sidecar({ election, id: 'b', args: ['--ttl=10m'] });
    const c = await stage.sidecar({ election, id: 'c', args: [...fast, url] });
    const { leader, token } = await agreement([a, b, c]);
    expect(leader).toBe(a);
    // Pings to c fail one after the other, and to b none is sent.
    await eventually(
      async () =>
        /electord_pings_total\{.*"failed".*\} [1-9]\d/.test((await a.get('/metrics')).text),
      { withinMs, what: 'pings that fail' },
    );
    expect(await witnessesOf(a)).toEqual([]);
    expect((await b.get<Status>('/status')).body.failover).toBeNull();
    expect((await a.get<LeaderAnswer>('/leader')).body.fencingToken).toBe(token);
  });
});
