// Holds on real sidecars: what `heldForMs` says is kept by every end that somebody plans. An app that acts for so long, counted
// from before it asked, never acts beside another leader, and whoever waits behind a hold is neither kept out for ever nor
// remembered when it is too late.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { SystemClock } from '../../src/process/clock.ts';
import { Loop } from '../../src/process/loop.ts';
import { connect } from '../../src/sdk/client.ts';
import { startRelay } from '../harness/relay.ts';
import { monotonicMs, type LeaderAnswer, type Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { Probe, type Observation } from './claims.ts';
import { agreement, openStage, type Agreement, type Stage } from './stage.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await openStage({ size: 1 });
});
afterEach(() => stage.clear());
afterAll(() => stage.end());

type HeldAnswer = LeaderAnswer & { readonly heldForMs: number };

/** When the hold was asked for, and so the earliest that it may end. */
async function hold(leader: Sidecar, ms: number): Promise<{ readonly until: number }> {
  const { sentAt, body } = await leader.get<HeldAnswer>(`/leader?hold=${ms}ms`, { local: true });
  expect(body.heldForMs).toBeGreaterThan(ms / 2);
  return { until: sentAt + body.heldForMs };
}

const posting = (body: object) => ({
  method: 'POST',
  local: true,
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify(body),
  timeoutMs: 20_000,
});

const longHold = ['--max-hold=3s', '--grace=3s', '--hook-timeout=3s'];

test('SIGTERM in a hold: the claim ends at once, and nobody else leads before the hold is over', async () => {
  const { leader, others, token } = await agreement(
    await stage.three({ election: 'held-stop', args: longHold }),
  );
  const probe = new Probe([leader, ...others]);
  const { until } = await hold(leader, 3000);
  leader.signal('SIGTERM');
  const refusal = await eventually(
    () => probe.of(leader).find(({ status, claims }) => status === 503 && claims === null),
    { withinMs: 20_000, what: 'a 503 of the leader' },
  );
  expect(refusal.receivedAt).toBeLessThan(until);
  const next = await eventually(
    () => probe.observations.find(({ claims }) => claims !== null && claims > BigInt(token)),
    { withinMs: 20_000, what: 'a successor' },
  );
  expect(next.receivedAt).toBeGreaterThan(until);
  expect(await leader.exited).toEqual({ code: 0, signal: null });
  // Once it had said no, it never said yes again.
  const after = (await probe.end()).filter(({ from, sentAt }) => {
    return from === leader.id && sentAt > refusal.receivedAt;
  });
  expect(after.filter(({ claims }) => claims !== null)).toEqual([]);
});

test('a switchover behind a hold, to one that is gone by then: the term goes on', async () => {
  const { leader, others, token } = await agreement(
    await stage.three({ election: 'held-gone', args: longHold }),
  );
  const [chosen, witness] = others as [Sidecar, Sidecar];
  const { until } = await hold(leader, 3000);
  const asking = leader.get<{ code: string }>('/switchover', posting({ to: chosen.id }));
  await eventually(
    async () => (await stage.keys('held-gone')).some((key) => key.endsWith('/switchover')),
    { withinMs: 3000, what: 'the request in etcd' },
  );
  await chosen.stop();
  expect(monotonicMs(), 'it was gone before the hold was over').toBeLessThan(until);
  const answer = await asking;
  expect(answer).toMatchObject({
    status: 504,
    body: { code: 'not_switched_over', leader: { id: leader.id, fencingToken: token } },
  });
  expect(answer.receivedAt).toBeGreaterThan(until);
  const seen = (await witness.get<LeaderAnswer>('/leader')).body.leader;
  expect(seen).toMatchObject({ id: leader.id, fencingToken: token });
});

test('a switchover at the leader, which asks itself by way of etcd, does not wait for anything', async () => {
  const { leader, others } = await agreement(await stage.three({ election: 'asks-itself' }));
  const to = others[0]!.id;
  const answer = await leader.get<{ done: boolean }>('/switchover', posting({ to, reason: 'why' }));
  expect(answer).toMatchObject({ status: 200, body: { done: true, leader: { id: to } } });
  // Far less than a round, after which it would have been read anyhow.
  expect(answer.receivedAt - answer.sentAt).toBeLessThan(1500);
});

test('holds that are renewed all the time keep out no switchover', async () => {
  const { leader, others } = await agreement(await stage.three({ election: 'held-for-ever' }));
  const renewing = new Loop(new SystemClock());
  const renewed = renewing.run(async () => {
    await leader.get('/leader?hold=1s', { local: true });
    return 50;
  });
  const to = others[0]!.id;
  const answer = await others[1]!.get('/switchover', posting({ to }));
  renewing.stop();
  await renewed;
  expect(answer).toMatchObject({ status: 200, body: { done: true, leader: { id: to } } });
});

/** An app beside one sidecar, and every moment at which it acted. */
interface App {
  readonly acts: { readonly id: string; readonly token: bigint; readonly at: number }[];
  stop(): Promise<unknown>;
}

/** Looks so often whether it may act. */
const looksEveryMs = 2;

/** Less often than a hold lasts: so nothing ends what an app does but the promise that it counts. */
const asksEveryMs = 1500;

/** As the README has it: acts for as long as was promised, counted from before it asked. */
function appWithCurl(sidecar: Sidecar): App {
  const acts: App['acts'] = [];
  let mine = { token: 0n, until: 0 };
  const asking = new Loop(new SystemClock());
  const asked = asking.run(async () => {
    const sentAt = monotonicMs();
    try {
      const { body } = await sidecar.get<HeldAnswer>('/leader?hold=1s', { local: true });
      mine = { token: BigInt(body.fencingToken ?? 0), until: sentAt + body.heldForMs };
    } catch {
      // Nobody knows, and what was promised before holds.
    }
    return asksEveryMs;
  });
  const looking = setInterval(() => {
    const at = monotonicMs();
    if (at < mine.until) acts.push({ id: sidecar.id, token: mine.token, at });
  }, looksEveryMs);
  return {
    acts,
    stop: () => {
      clearInterval(looking);
      asking.stop();
      return asked;
    },
  };
}

/** So late the client hears of everything, as where it stood still for a moment: being told must not be what it rests on. */
const clientHearsLateMs = 150;

async function appWithClient(sidecar: Sidecar): Promise<App> {
  const acts: App['acts'] = [];
  const relay = await startRelay({ target: sidecar.localUrl, delayMs: clientHearsLateMs });
  const client = connect({ url: relay.url });
  const looking = setInterval(() => {
    const at = monotonicMs();
    const token = client.fencingToken();
    if (token !== null) acts.push({ id: sidecar.id, token, at });
  }, looksEveryMs);
  return {
    acts,
    stop: () => {
      clearInterval(looking);
      relay.stop();
      return client.close();
    },
  };
}

/** What an app did when another instance had already been seen to claim a later term. */
function actsBesideAnother(acts: App['acts'], seen: readonly Observation[]): App['acts'] {
  const firstClaims = new Map<bigint, number>();
  for (const { claims, receivedAt } of seen) {
    if (claims === null) continue;
    firstClaims.set(claims, Math.min(firstClaims.get(claims) ?? Infinity, receivedAt));
  }
  return acts.filter(({ token, at }) =>
    [...firstClaims].some(([later, since]) => later > token && since < at),
  );
}

test('the judge knows an act beside another leader when it sees one', () => {
  const times = { sentAt: 90, receivedAt: 100, validForMs: 500 };
  const claim = { from: 'b', status: 200, ...times, claims: 8n, knows: 8n };
  const act = (token: bigint, at: number) => ({ id: 'a', token, at });
  expect(actsBesideAnother([act(7n, 99), act(7n, 101), act(8n, 101)], [claim])).toEqual([
    act(7n, 101),
  ]);
});

describe.each([
  ['asks by HTTP as the README has it', appWithCurl],
  ['has the client, and hears late', appWithClient],
] as const)('an app that %s', (how, appBeside) => {
  const election = how.includes('HTTP') ? 'planned-http' : 'planned-client';
  const stop = ({ leader }: Agreement): Promise<unknown> => leader.stop();
  /** Every kind of planned end. */
  const ends: readonly ((agreed: Agreement) => Promise<unknown>)[] = [
    ({ leader, others }) => leader.get('/switchover', posting({ to: others[0]!.id })),
    ({ others }) => others[0]!.get('/switchover', posting({ to: others[1]!.id })),
    ({ leader }) => leader.get('/step-down', posting({ notFor: '2s' })),
    ({ leader }) => leader.get('/step-down', posting({})),
    stop,
    stop,
  ];

  test('never acts beside another leader, whatever is planned', { timeout: 120_000 }, async () => {
    const running = new Map<Sidecar, App>();
    const join = async (id: string): Promise<void> => {
      const sidecar = await stage.sidecar({ election, id });
      running.set(sidecar, await appBeside(sidecar));
    };
    await Promise.all(['a', 'b', 'c'].map(join));
    const acts: App['acts'] = [];
    for (const [round, end] of ends.entries()) {
      const agreed = await agreement([...running.keys()]);
      const app = running.get(agreed.leader)!;
      const acting = (): boolean => app.acts.some(({ token }) => token === BigInt(agreed.token));
      await eventually(acting, { withinMs: 20_000, what: `the app of ${agreed.leader.id} acts` });
      const probe = new Probe([...running.keys()]);
      await end(agreed);
      await eventually(
        () =>
          probe.observations.some(({ claims }) => claims !== null && claims > BigInt(agreed.token)),
        { withinMs: 20_000, what: 'a successor' },
      );
      // Longer than anything that the app was promised.
      await eventually(() => app.acts.at(-1)!.at < monotonicMs() - 500, {
        withinMs: 20_000,
        what: 'the app stops',
      });
      const seen = await probe.end();
      expect(actsBesideAnother(app.acts, seen)).toEqual([]);
      acts.push(...app.acts);
      if (end !== stop) continue;
      await app.stop();
      running.delete(agreed.leader);
      await join(`next-${round}`);
    }
    await Promise.all([...running.values()].map((app) => app.stop()));
    expect(new Set(acts.map(({ token }) => token)).size).toBeGreaterThanOrEqual(ends.length);
  });
});
