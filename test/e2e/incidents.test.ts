// Eight incidents, staged one after the other: who has nothing but the command line, or nothing but the page, reads what
// happened, for how long nobody led and why. What they read is held against what was done, as it is measured from outside.
import { createServer, type Server } from 'node:http';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { browserWithinMs, startChromium, type Browser } from '../harness/chromium.ts';
import { reservePort } from '../harness/ports.ts';
import { startRelay, type Relay } from '../harness/relay.ts';
import { monotonicMs, type LeaderAnswer, type Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import {
  agreement,
  failoverWithinMs,
  openStage,
  printedBy,
  type Agreement,
  type Stage,
} from './stage.ts';

const ttl = 3000;
const args = [`--ttl=${ttl}ms`];
const soonMs = failoverWithinMs(ttl);

let stage: Stage;
let browser: Browser;
const ends: (() => unknown)[] = [];

beforeAll(async () => {
  [stage, browser] = await Promise.all([openStage({ size: 1 }), startChromium()]);
}, browserWithinMs);

afterEach(async () => {
  await Promise.all(ends.splice(0).map((end) => end()));
  await stage.clear();
});

afterAll(async () => {
  await browser.close();
  await stage.end();
});

// What was done, as it is seen from outside.

interface Look {
  readonly id: string;
  readonly sentAt: number;
  readonly receivedAt: number;
  readonly token: string | null;
}

/** Asks every sidecar who leads, over and over. */
class Watch {
  readonly #looks: Look[] = [];
  #ended = false;

  /** From when on a claim of this term was seen. */
  static async of(sidecars: readonly Sidecar[], token: string): Promise<Watch> {
    const watch = new Watch();
    for (const sidecar of sidecars) void watch.#follow(sidecar);
    ends.push(() => (watch.#ended = true));
    const seen = (): boolean => watch.#looks.some((look) => look.token === token);
    await eventually(seen, { withinMs: soonMs, what: `a claim of ${token}` });
    return watch;
  }

  async #follow(sidecar: Sidecar): Promise<void> {
    while (!this.#ended) {
      const look = await sidecar.get<LeaderAnswer>('/leader', { timeoutMs: 500 }).catch(() => null);
      if (look !== null) {
        const { sentAt, receivedAt, body } = look;
        this.#looks.push({ id: sidecar.id, sentAt, receivedAt, token: body.fencingToken });
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** The least and the most for which nobody led between a term and the next. `goneAt`: it was killed. */
  gapAfter(token: string, goneAt: number | null = null): readonly [number, number] {
    const claims = this.#looks.filter((look) => look.token !== null);
    const [old, next] = [
      claims.filter((look) => look.token === token),
      claims.filter((look) => BigInt(look.token!) > BigInt(token)),
    ];
    const lastClaim = Math.max(...old.map(({ sentAt }) => sentAt));
    const leader = old.at(-1)!.id;
    const denials = this.#looks
      .filter(({ id, sentAt, token: own }) => id === leader && sentAt > lastClaim && own === null)
      .map(({ receivedAt }) => receivedAt);
    const firstClaim = Math.min(...next.map(({ receivedAt }) => receivedAt));
    const successor = next.find(({ receivedAt }) => receivedAt === firstClaim)!.id;
    const lastDenial = Math.max(
      ...this.#looks
        .filter(
          ({ id, sentAt, token: own }) => id === successor && own === null && sentAt < firstClaim,
        )
        .map(({ sentAt }) => sentAt),
    );
    const overAt = goneAt ?? Math.min(...denials);
    return [Math.max(0, lastDenial - overAt), firstClaim - lastClaim];
  }
}

// What is read.

/** Asks until the answer says this: a record, or a change of its own, may come a moment after what it is about. */
const cliSays = (sidecar: Sidecar, command: readonly string[], wanted: RegExp): Promise<unknown> =>
  eventually(async () => wanted.test(await printedBy(sidecar, ...command)), {
    withinMs: soonMs,
    what: `${command.join(' ')} with ${String(wanted)}`,
  });

/** The whole of the page, as text, until it says all of this. */
async function pageSays(sidecar: Sidecar, ...wanted: readonly RegExp[]): Promise<string> {
  const context = await browser.open({ viewport: { width: 1280, height: 1200 } });
  try {
    const page = await context.newPage();
    await page.goto(sidecar.url);
    let text = '';
    const said = async (): Promise<boolean> => {
      text = await page.locator('body').innerText();
      return wanted.every((one) => one.test(text));
    };
    await eventually(said, { withinMs: soonMs, what: `a page with ${wanted.join(', ')}` }).catch(
      (failure: unknown) => {
        throw new Error(`${String(failure)}; it says: ${text}`, { cause: failure });
      },
    );
    return text;
  } finally {
    await context.close();
  }
}

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, min: 60_000, h: 3_600_000 };

/** What a text such as `4.2 s`, `≤ 1 min 5 s` allows: from, up to. Durations are shown cut off, bounds rounded up. */
function allowed(text: string): readonly [number, number] {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?) (ms|s|min|h)/g)];
  expect(parts, text).not.toEqual([]);
  const ms = parts.reduce((sum, [, value, unit]) => sum + Number(value) * unitsMs[unit!]!, 0);
  const [, value = '', unit = ''] = parts.at(-1)!;
  const step = value.includes('.') ? unitsMs[unit]! / 10 : unitsMs[unit]!;
  return text.startsWith('≤') ? [0, ms] : [ms - step, ms + step];
}

/** An event is seen a little later than it is, and two machines' looks at a clock are no one look. */
const slackMs = 150;

/** The true gap, which lies between these two, is among those that the text allows. */
function expectTrue(text: string, [least, most]: readonly [number, number]): void {
  const [from, to] = allowed(text);
  console.error(`said ${text}; measured ${Math.round(least)} to ${Math.round(most)} ms`);
  expect(to + slackMs, text).toBeGreaterThanOrEqual(least);
  expect(from - slackMs, text).toBeLessThanOrEqual(most);
}

interface Row {
  readonly token: string;
  readonly leader: string;
  readonly gap: string;
  readonly ended: string;
  readonly why: string;
}

/** The terms in `electord history`, newest first. */
async function historyOf(sidecar: Sidecar): Promise<readonly Row[]> {
  const lines = (await printedBy(sidecar, 'history')).trimEnd().split('\n').slice(1);
  const rows = lines.map((line): Row => {
    const [token = '', leader = '', , , gap = '', ended = '', why = ''] = line.split(/ {2,}/);
    return { token, leader, gap, ended, why };
  });
  // Between the terms stands what was asked for.
  return rows.filter(({ token }) => token !== '-');
}

/** The row of a term, once it says how that ended, and the gap behind it. */
const endOnRecord = (
  sidecar: Sidecar,
  token: string,
  ended: string,
): Promise<{ readonly row: Row; readonly gap: string }> =>
  eventually(
    async () => {
      const rows = await historyOf(sidecar);
      const index = rows.findIndex((row) => row.token === token);
      const [row, next] = [rows[index], rows[index - 1]];
      return row?.ended === ended && next !== undefined && { row, gap: next.gap };
    },
    { withinMs: soonMs, what: `${token} ended by ${ended}` },
  );

/** An app that is well until it is told otherwise. */
async function startApp(): Promise<{ readonly url: string; well: boolean }> {
  const app = { url: '', well: true };
  const server: Server = createServer((_, response) => {
    response.statusCode = app.well ? 200 : 500;
    response.end();
  });
  const port = await reservePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  ends.push(() => server.close());
  app.url = `http://127.0.0.1:${port}/`;
  return app;
}

/** Three sidecars, each with an app that is asked often. */
async function threeWithApps(election: string) {
  const apps = await Promise.all([startApp(), startApp(), startApp()]);
  const often = ['--app-check-interval=100ms', '--app-check-timeout=100ms'];
  const sidecars = await Promise.all(
    apps.map(({ url }, index) =>
      stage.sidecar({
        election,
        id: 'abc'.charAt(index),
        args: [...args, `--app-check=${url}`, ...often],
      }),
    ),
  );
  const appOf = ({ id }: Sidecar) => apps['abc'.indexOf(id)]!;
  return { sidecars, appOf, ...(await agreement(sidecars)) };
}

async function three(election: string): Promise<Agreement & { sidecars: readonly Sidecar[] }> {
  const sidecars = await stage.three({ election, args });
  return { sidecars, ...(await agreement(sidecars)) };
}

/** Once the term is in the history, as whoever reads it a while later finds it. */
const onRecord = (sidecar: Sidecar, token: string): Promise<unknown> =>
  eventually(async () => (await historyOf(sidecar)).some((row) => row.token === token), {
    withinMs: soonMs,
    what: `the term ${token} on record`,
  });

test('the app of the leader dies', async () => {
  const { sidecars, appOf, leader, others, token } = await threeWithApps('app-dead');
  await onRecord(others[0]!, token);
  const watch = await Watch.of(sidecars, token);
  appOf(leader).well = false;
  await agreement(sidecars, soonMs);
  const { row, gap } = await endOnRecord(others[0]!, token, 'app_unhealthy');
  expect(row.leader).toBe(leader.id);
  expectTrue(gap, watch.gapAfter(token));
  await cliSays(others[0]!, ['status'], new RegExp(`${leader.id} +observer.* unhealthy`));
  await pageSays(others[0]!, /gave up: its app was unhealthy/, /unhealthy/);
});

test('the sidecar of the leader is killed', async () => {
  const { leader, others, sidecars, token } = await three('killed');
  await onRecord(others[0]!, token);
  const watch = await Watch.of(sidecars, token);
  leader.signal('SIGKILL');
  await leader.exited;
  const goneAt = monotonicMs();
  await agreement(others, soonMs);
  const { row, gap } = await endOnRecord(others[0]!, token, 'lease_expired?');
  expect(row.leader).toBe(leader.id);
  expect(gap).toMatch(/^≤ /);
  const truth = watch.gapAfter(token, goneAt);
  expectTrue(gap, truth);
  // And the bound says something.
  expect(allowed(gap)[1]).toBeLessThan(Math.max(truth[1], ttl) + 2000);
  await pageSays(others[0]!, /vanished: its lease ran out/, new RegExp(gap.replace(/\d.*/, '')));
});

/** Three sidecars, each with a way to etcd and a way from the others that can be cut or be slow. */
async function threeBehindRelays(election: string) {
  const etcdUrl = stage.cluster.endpoints[0]!;
  const ways = new Map<string, { readonly etcd: Relay; readonly door: Relay }>();
  const sidecars = await Promise.all(
    ['a', 'b', 'c'].map(async (id) => {
      const ports = [await reservePort(), await reservePort()] as const;
      const etcd = await startRelay({ target: etcdUrl });
      const door = await startRelay({ target: `http://127.0.0.1:${ports[0]}` });
      ways.set(id, { etcd, door });
      ends.push(() => [etcd, door].forEach((relay) => relay.stop()));
      const own = { etcd: [etcd.url], ports, args: [...args, `--url=${door.url}`] };
      return stage.sidecar({ election, id, ...own } as const);
    }),
  );
  return { sidecars, ways, ...(await agreement(sidecars)) };
}

test('the host of the leader is cut off, and comes back', async () => {
  const { sidecars, ways, leader, others, token } = await threeBehindRelays('cut-off');
  await onRecord(others[0]!, token);
  const watch = await Watch.of(sidecars, token);
  const { etcd, door } = ways.get(leader.id)!;
  for (const relay of [etcd, door]) relay.cut();
  await agreement(others, soonMs);
  const meanwhile = await endOnRecord(others[0]!, token, 'lease_expired?');
  expectTrue(meanwhile.gap, watch.gapAfter(token));
  await pageSays(others[0]!, /vanished: its lease ran out/);
  // It knows itself what is wrong.
  expect(await printedBy(leader, 'status')).toMatch(/nobody is known to lead/);
  for (const relay of [etcd, door]) await relay.heal();
  const { gap } = await endOnRecord(others[0]!, token, 'etcd_unreachable');
  expect(gap).not.toMatch(/≤/);
  expectTrue(gap, watch.gapAfter(token));
  await pageSays(others[0]!, /gave up: it could not reach etcd/);
});

test('etcd is away', async () => {
  const { sidecars, leader, others, token } = await three('etcd-away');
  await onRecord(others[0]!, token);
  const watch = await Watch.of(sidecars, token);
  const node = stage.cluster.nodes[0]!;
  node.freeze();
  await leader.waitForLog((line) => line['cause'] === 'etcd_unreachable', soonMs);
  const unknown = async (): Promise<boolean> =>
    (await others[0]!.get<LeaderAnswer>('/leader')).body.role === 'unknown';
  await eventually(unknown, { withinMs: soonMs, what: 'a follower that knows nothing' });
  const status = await printedBy(others[0]!, 'status');
  expect(status).toMatch(/nobody is known to lead/);
  expect(allowed(/asked (\S+ \S+) ago/.exec(status)![1]!)[1]).toBeGreaterThan(ttl);
  await pageSays(others[0]!, /Not known/);
  node.thaw();
  await agreement(sidecars, soonMs);
  const { gap } = await endOnRecord(others[0]!, token, 'etcd_unreachable');
  expectTrue(gap, watch.gapAfter(token));
  await pageSays(others[0]!, /gave up: it could not reach etcd/);
});

test('etcd is slow', async () => {
  const { sidecars, ways, leader, others, token } = await threeBehindRelays('delayed');
  await onRecord(others[0]!, token);
  for (const { etcd } of ways.values()) etcd.delayMs = 200;
  for (const sidecar of sidecars) {
    const slow = async (): Promise<string | false> => {
      const status = await printedBy(sidecar, 'status');

      const [, said] = /answered in (.*): slow/.exec(status) ?? [];
      return said ?? false;
    };
    const said = await eventually(slow, { withinMs: soonMs, what: 'a slow etcd' });
    expect(allowed(said)[1]).toBeGreaterThanOrEqual(400);
  }
  // It costs nobody the leadership, and that is what is said.
  expect((await agreement(sidecars)).token).toBe(token);
  expect(await printedBy(leader, 'status')).toMatch(new RegExp(`leader +${leader.id} since`));
  await pageSays(others[0]!, new RegExp(`${leader.id} leads`), /answered in .*: slow/);
});

test('an operator hands over', async () => {
  const { sidecars, leader, others, token } = await three('handed-over');
  const [one, two] = others;
  await onRecord(one!, token);
  const watch = await Watch.of(sidecars, token);
  const why = ['--reason', 'a new disk', '--by', 'ann'];
  await printedBy(one!, 'switchover', '--to', two!.id, ...why);
  await agreement(sidecars, soonMs);
  const { row, gap } = await endOnRecord(one!, token, 'switchover');
  expect(row.leader).toBe(leader.id);
  expect(row.why).toMatch(/a new disk.*ann/);
  expectTrue(gap, watch.gapAfter(token));
  await cliSays(one!, ['audit'], /switchover.*ann.*a new disk|switchover.*a new disk.*ann/);
  await pageSays(one!, /handed over \(.a new disk., ann/);
});

test('a pause is forgotten, and the leader dies', async () => {
  const { sidecars, leader, others, token } = await three('halted');
  const [one] = others;
  await onRecord(one!, token);
  await printedBy(one!, 'pause', '--for', '10m', '--reason', 'maintenance', '--by', 'ann');
  const watch = await Watch.of(sidecars, token);
  leader.signal('SIGKILL');
  await leader.exited;
  const goneAt = monotonicMs();
  const leaderless = async (): Promise<string | false> => {
    const asked = monotonicMs();
    const status = await printedBy(one!, 'status');
    const [, said] = /nobody is known to lead, for (≤ .*)/.exec(status) ?? [];
    if (said === undefined) return false;
    expect(allowed(said)[1]).toBeGreaterThanOrEqual(asked - goneAt);
    expect(status).toMatch(/paused.*until .*ann.*maintenance|paused.*maintenance.*ann/);
    return said;
  };
  await eventually(leaderless, { withinMs: soonMs, what: 'for how long nobody leads' });
  const [newest] = await historyOf(one!);
  expect(newest).toMatchObject({ token, leader: leader.id, ended: 'lease_expired?' });
  await pageSays(
    one!,
    /Nobody/,
    /paused/i,
    /maintenance/,
    /vanished: its lease ran out/,
    /Nobody has led for ≤ \d/,
  );
  await printedBy(one!, 'resume');
  await agreement(others, soonMs);
  const { gap } = await endOnRecord(one!, token, 'lease_expired?');
  expectTrue(gap, watch.gapAfter(token, goneAt));
  await cliSays(one!, ['audit'], /pause.*maintenance/);
});

test('an app flaps', async () => {
  const { sidecars, appOf, leader, others, token } = await threeWithApps('flapping');
  const tokens = [token];
  let flapping = leader;
  for (let round = 0; round < 2; round += 1) {
    await onRecord(others[0]!, tokens.at(-1)!);
    appOf(flapping).well = false;
    const another = async () => {
      const now = await agreement(sidecars, soonMs);
      return now.token !== tokens.at(-1) && now;
    };
    const next = await eventually(another, { withinMs: soonMs, what: 'another leader' });
    appOf(flapping).well = true;
    flapping = next.leader;
    tokens.push(next.token);
  }
  await onRecord(others[0]!, tokens.at(-1)!);
  const rows = await historyOf(others[0]!);
  expect(rows.map((row) => row.token)).toEqual(tokens.toReversed());
  expect(rows.slice(1).map(({ ended }) => ended)).toEqual(['app_unhealthy', 'app_unhealthy']);
  await pageSays(others[0]!, /gave up: its app was unhealthy[^]*gave up: its app was unhealthy/);
});
