// A leader's key that goes before its time, and every other way for one to go, under the default takeover delay: whoever is
// next leads at once where the lease is seen to have run out or the end was chosen, and else not before all that was told of
// the last term is over.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { monotonicMs, type LeaderAnswer, type Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { brokenPromises, Probe, staleClaims, type Observation } from './claims.ts';
import {
  agreement,
  failoverWithinMs,
  lapsing,
  openStage,
  printedBy,
  steadyTtlMs,
  ttlMs,
  type Stage,
} from './stage.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await openStage({ size: 3 });
});
afterEach(() => stage.clear());
afterAll(() => stage.end());

interface Status {
  readonly lease: { readonly id: string };
  readonly waiting: {
    readonly forMs: number;
    readonly for: string | null;
    readonly because: string;
  } | null;
}
interface Term {
  readonly fencingToken: string;
  readonly leader: string;
  readonly cause: string | null;
  readonly leaderlessMs: number | null;
  readonly leaderlessAtLeastMs: number | null;
}

const statusOf = async (sidecar: Sidecar): Promise<Status> =>
  (await sidecar.get<Status>('/status')).body;

/** The first of these that says that it waits, and for whom. */
const waiting = (
  sidecars: readonly Sidecar[],
): Promise<{ readonly sidecar: Sidecar; readonly wait: NonNullable<Status['waiting']> }> =>
  eventually(
    async () => {
      for (const sidecar of sidecars) {
        const { waiting: wait } = await statusOf(sidecar);
        if (wait !== null) return { sidecar, wait };
      }
      return null;
    },
    { withinMs: 20_000, what: 'somebody who waits' },
  );

const claimAfter = (probe: Probe, token: string): Promise<Observation> =>
  eventually(
    () => probe.observations.find(({ claims }) => claims !== null && claims > BigInt(token)),
    { withinMs: failoverWithinMs(2 * steadyTtlMs), what: `a successor of term ${token}` },
  );

/** The term after the one with this token, once its leader has recorded it; and that one itself. */
const termsSince = (
  sidecar: Sidecar,
  token: string,
): Promise<{ readonly next: Term; readonly last: Term }> =>
  eventually(
    async () => {
      const { terms } = (await sidecar.get<{ terms: readonly Term[] }>('/history')).body;
      const index = terms.findIndex(({ fencingToken }) => fencingToken === token);
      return index > 0 && { next: terms[index - 1]!, last: terms[index]! };
    },
    { withinMs: 20_000, what: `the term after ${token} in the history` },
  );

async function takenAwayOf(sidecar: Sidecar): Promise<number> {
  const { text } = await sidecar.get('/metrics');
  const [, value] = /^electord_terms_taken_away_total\{[^}]*\} (\d+)$/m.exec(text) ?? [];
  return Number(value);
}

/** Until this one knows how long the lease ahead of it lasts: before, it could not say how that ended. */
async function asked(sidecar: Sidecar): Promise<void> {
  const has = async (): Promise<boolean> => {
    const { text } = await sidecar.get('/metrics');
    return /^electord_etcd_requests_total\{[^}]*op="timeToLive",result="ok"\} [1-9]/m.test(text);
  };
  await eventually(has, {
    withinMs: 20_000,
    what: `an answer about the lease ahead of ${sidecar.id}`,
  });
}

test.each([
  [
    'key',
    (election: string, lease: string) => ['del', `/electord/${election}/candidates/${lease}`],
  ],
  ['lease', (_: string, lease: string) => ['lease', 'revoke', lease]],
] as const)(
  'an administrator takes the %s away: nothing told is overtaken, and it is said everywhere',
  async (what, command) => {
    const election = `taken-${what}`;
    const sidecars = await stage.three({ election });
    const { leader, others, token } = await agreement(sidecars);
    const { lease } = await statusOf(leader);
    const probe = new Probe(sidecars);
    await eventually(() => probe.of(leader).filter(({ claims }) => claims !== null).length > 20, {
      withinMs: 20_000,
      what: 'a steady load',
    });
    await Promise.all(others.map(asked));
    const takenAt = monotonicMs();
    await stage.cluster.etcdctl(command(election, lease.id));
    const { sidecar: next, wait } = await waiting(others);
    expect(wait).toMatchObject({ for: leader.id, because: 'taken_away' });
    expect(wait.forMs).toBeLessThanOrEqual(steadyTtlMs);
    expect(await printedBy(next, 'status')).toMatch(
      new RegExp(`is next; waits .* more, because the lease of ${leader.id} was taken away`),
    );
    const first = await claimAfter(probe, token);
    expect(first.from).toBe(next.id);
    expect(first.receivedAt - takenAt).toBeGreaterThanOrEqual(steadyTtlMs);
    const { next: term, last } = await termsSince(next, token);
    expect(last).toMatchObject({ leader: leader.id, cause: 'taken_away' });
    expect(term.leader).toBe(next.id);
    expect(await takenAwayOf(next)).toBe(1);
    expect((await statusOf(next)).waiting).toBeNull();
    const observations = await probe.end();
    expect(staleClaims(observations)).toEqual([]);
    expect(brokenPromises(observations)).toEqual([]);
    // That there was something to keep: without the wait the next claim would have come within it.
    const promised = observations.filter(({ claims }) => claims === BigInt(token));
    expect(
      Math.max(...promised.map(({ sentAt, validForMs }) => sentAt + validForMs)),
    ).toBeGreaterThan(takenAt + steadyTtlMs / 2);
  },
);

test('after kill -9 the next one leads when etcd ends the lease, as under --takeover-delay=0s', async () => {
  const delays = ['evidence', '0s'] as const;
  const trios = await Promise.all(
    delays.map(async (delay) => {
      const args = [lapsing, `--takeover-delay=${delay}`];
      return { delay, sidecars: await stage.three({ election: `killed-${delay}`, args }) };
    }),
  );
  const tookMs = { evidence: [] as number[], '0s': [] as number[] };
  const gapMs = { evidence: [] as number[], '0s': [] as number[] };
  // Two deaths in each: the third one has asked about the second, too.
  for (let round = 0; round < 2; round += 1) {
    await Promise.all(
      trios.map(async (trio) => {
        const { leader, others, token } = await agreement(trio.sidecars);
        const probe = new Probe(others);
        const killedAt = monotonicMs();
        leader.signal('SIGKILL');
        const first = await claimAfter(probe, token);
        gapMs[trio.delay].push(Math.round(first.receivedAt - killedAt));
        await probe.end();
        const { next, last } = await termsSince(others[0]!, token);
        expect({ delay: trio.delay, cause: last.cause }).toMatchObject({ cause: 'lease_expired' });
        tookMs[trio.delay].push(next.leaderlessAtLeastMs!);
        trio.sidecars = others;
      }),
    );
  }
  console.error(
    `from the death to the first claim, ms: ${JSON.stringify(gapMs)}; from the end of the lease: ${JSON.stringify(tookMs)}`,
  );
  // A wait would be the whole TTL.
  for (const delay of delays) expect(Math.max(...tookMs[delay])).toBeLessThan(ttlMs / 2);
});

test('SIGTERM, a step-down and a switchover make nobody wait', async () => {
  const sidecars = [...(await stage.three({ election: 'chosen' }))];
  const post = async (sidecar: Sidecar, path: string, body: unknown): Promise<void> => {
    const headers = { 'content-type': 'application/json' };
    const asked = { local: true, method: 'POST', headers, body: JSON.stringify(body) } as const;
    expect((await sidecar.get(path, { ...asked, timeoutMs: 20_000 })).status).toBe(200);
  };
  const ends = {
    resigned: (leader: Sidecar) => post(leader, '/step-down', {}),
    switchover: (leader: Sidecar, next: Sidecar) => post(leader, '/switchover', { to: next.id }),
    stopping: async (leader: Sidecar) => {
      expect(await leader.stop()).toEqual({ code: 0, signal: null });
    },
  };
  for (const [cause, end] of Object.entries(ends)) {
    const { leader, others, token } = await agreement(sidecars);
    await end(leader, others[1]!);
    const { next, last } = await termsSince(others[0]!, token);
    expect(last).toMatchObject({ leader: leader.id, cause });
    // Milliseconds, where the machine has time.
    expect(next.leaderlessMs).toBeLessThan(steadyTtlMs / 2);
  }
});

test('the first one ever, and one that comes after a clean stop, lead at once', async () => {
  // So long that a wait is not to be mistaken for a slow start.
  const args = ['--ttl=60s'];
  for (const id of ['first', 'again']) {
    const sidecar = await stage.sidecar({ election: 'fresh', id, args });
    await sidecar.waitFor(({ isLeader }) => isLeader, 30_000);
    expect((await statusOf(sidecar)).waiting).toBeNull();
    expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
  }
});

test('one that starts after everybody was killed waits for a TTL, and no longer', async () => {
  const election = 'all-killed';
  const sidecars = await stage.three({ election, args: [lapsing] });
  const { leader, token } = await agreement(sidecars);
  // The term must stand in the history: what was lost before that, nobody can know of.
  const recorded = async (): Promise<boolean> => {
    const { terms } = (await leader.get<{ terms: readonly Term[] }>('/history')).body;
    return terms[0]?.fencingToken === token;
  };
  await eventually(recorded, { withinMs: 20_000, what: 'the term in the history' });
  for (const sidecar of sidecars) sidecar.signal('SIGKILL');
  await Promise.all(sidecars.map(({ exited }) => exited));
  const gone = async (): Promise<boolean> =>
    !(await stage.keys(election)).some((key) => key.includes('/candidates/'));
  await eventually(gone, { withinMs: failoverWithinMs(ttlMs), what: 'the end of all leases' });
  // The longer of the two TTLs counts.
  const args = ['--ttl=6s'];
  const late = await stage.sidecar({ election, id: 'late', args });
  const { wait } = await waiting([late]);
  expect(wait.for).toBe(leader.id);
  expect(wait.forMs).toBeLessThanOrEqual(6000);
  await late.waitFor(({ isLeader }) => isLeader, failoverWithinMs(6000));
});

test('an older member without a TTL in its key is waited for, for as long as etcd granted; another program is not', async () => {
  const grant = async (): Promise<string> => {
    const [, id = ''] = /lease ([0-9a-f]+) granted/.exec(
      await stage.cluster.etcdctl(['lease', 'grant', '10']),
    )!;
    return id.replace(/^0+/, '');
  };
  const cases = {
    older: JSON.stringify({ v: 1, id: 'older', priority: 0, since: '2026-11-20T21:00:00.000Z' }),
    foreign: 'a-go-program',
  };
  for (const [election, value] of Object.entries(cases)) {
    const lease = await grant();
    const key = `/electord/${election}/candidates/${lease}`;
    await stage.cluster.etcdctl(['put', `--lease=${lease}`, key, value]);
    const args = ['--ttl=4s'];
    const next = await stage.sidecar({ election, id: `after-${election}`, args });
    const follows = ({ leader }: LeaderAnswer): boolean => leader !== null;
    await next.waitFor(follows, 20_000);
    const stands = async (): Promise<boolean> =>
      (await stage.keys(election)).filter((one) => one.includes('/candidates/')).length === 2;
    await eventually(stands, { withinMs: 20_000, what: 'both in the queue' });
    // A foreign program's lease is not asked about: nobody waits for it.
    if (election === 'older') await asked(next);
    await stage.cluster.etcdctl(['lease', 'revoke', lease]);
    if (election === 'older') {
      expect((await waiting([next])).wait).toMatchObject({ for: 'older', because: 'taken_away' });
    }
    const led = next.waitForLog((line) => 'leaderlessMs' in line, failoverWithinMs(steadyTtlMs));
    const { leaderlessMs } = await led;
    if (election === 'older') expect(leaderlessMs).toBeGreaterThanOrEqual(10_000);
    else expect(leaderlessMs).toBeLessThan(2000);
  }
});
