// The operator's verbs, the app's API and the pushed events on real sidecars over a real etcd: what a person asks for
// happens, once, and is told to everybody; and no write of a term that is over is carried out.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Answer, GetOptions, LeaderAnswer, Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { Probe, staleClaims } from './claims.ts';
import {
  agreement,
  knowsRecords,
  failoverWithinMs,
  lapsing,
  openStage,
  ttlMs,
  type Stage,
} from './stage.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await openStage({ size: 3 });
});
afterEach(() => stage.clear());
afterAll(() => stage.end());

interface Verb {
  readonly done: boolean;
  readonly detail: string;
  readonly code: string;
  readonly leader: { readonly id: string; readonly fencingToken: string } | null;
  readonly fencingToken: string;
  readonly paused: boolean;
  readonly until: string | null;
}
interface Term {
  readonly fencingToken: string;
  readonly leader: string;
  readonly cause: string | null;
  readonly reason: string | null;
  readonly actor: string | null;
  readonly from: string | null;
  readonly to: string | null;
  readonly endDerived: boolean;
}

const post = (
  sidecar: Sidecar,
  path: string,
  body: unknown,
  more: GetOptions = {},
): Promise<Answer<Verb>> =>
  sidecar.get<Verb>(path, {
    local: true,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    timeoutMs: 20_000,
    ...more,
  });

/** Once the present leader has recorded its term, which it does some milliseconds after its first answers. */
const historyOf = (sidecar: Sidecar): Promise<readonly Term[]> =>
  eventually(
    async () => {
      const { leader } = (await sidecar.get<LeaderAnswer>('/leader')).body;
      const { terms } = (await sidecar.get<{ terms: readonly Term[] }>('/history')).body;
      return leader !== null && terms[0]?.fencingToken === leader.fencingToken && terms;
    },
    { withinMs: 20_000, what: 'the present term in the history' },
  );

const five = (election: string): Promise<Sidecar[]> =>
  Promise.all(['a', 'b', 'c', 'd', 'e'].map((id) => stage.sidecar({ election, id })));

test('a switchover to a named member among five makes exactly one new term, and that member leads', async () => {
  const sidecars = await five('switched');
  let { leader, others, token } = await agreement(sidecars);
  const terms = [token];
  // Asked of the leader itself, of the successor, and of somebody who has no part in it.
  for (const asked of ['leader', 'successor', 'other'] as const) {
    const [other, successor] = [others[0]!, others.at(-1)!];
    const whom = { leader, successor, other }[asked];
    const probe = new Probe(sidecars);
    const answer = await post(whom, '/switchover', { to: successor.id, reason: `by ${asked}` });
    expect(answer, asked).toMatchObject({
      status: 200,
      body: { done: true, leader: { id: successor.id } },
    });
    expect(answer.body.detail).toContain(`${leader.id} handed over to ${successor.id}`);
    const after = await agreement(sidecars);
    expect(after.leader.id).toBe(successor.id);
    expect(after.token).toBe(answer.body.fencingToken);
    expect(staleClaims(await probe.end())).toEqual([]);
    terms.unshift(after.token);
    ({ leader, others, token } = after);
  }
  const history = await eventually(
    async () => {
      const now = await historyOf(leader);
      return now[0]?.fencingToken === token && now;
    },
    { withinMs: 20_000, what: 'the newest term in the history' },
  );
  // Exactly one new term for each switchover: nobody led in between.
  expect(history.map(({ fencingToken }) => fencingToken)).toEqual(terms);
  expect(history.slice(1).map(({ cause, reason }) => [cause, reason])).toEqual([
    ['switchover', 'by other'],
    ['switchover', 'by successor'],
    ['switchover', 'by leader'],
  ]);
  expect(history[0]).toMatchObject({ leader: leader.id, to: null, cause: null });
});

test('a switchover that cannot be is refused with the reason', async () => {
  const a = await stage.sidecar({ election: 'refused', id: 'a' });
  await agreement([a]);
  const b = await stage.sidecar({ election: 'refused', id: 'b' });
  const never = await stage.sidecar({ election: 'refused', id: 'never', args: ['--priority=-1'] });
  await agreement([a, b, never]);
  const foreign = await stage.etcdctl(['elect', '/electord/refused/candidates', 'go-program']);
  const c = await stage.sidecar({ election: 'refused', id: 'c' });
  const members = async () => (await a.get<{ members: { id: string }[] }>('/members')).body.members;
  await eventually(
    async () => {
      const ids = new Set((await members()).map(({ id }) => id));
      return ['b', 'c', 'never', 'go-program'].every((id) => ids.has(id));
    },
    { withinMs: 20_000, what: 'everybody in the queue' },
  );
  const refusals = { nobody: 'unknown_member', never: 'never_leads' };
  for (const [to, code] of Object.entries(refusals)) {
    expect(await post(b, '/switchover', { to }), to).toMatchObject({
      status: 409,
      body: { code, detail: expect.stringContaining(to) as string },
    });
  }
  const queue = (await members()).map(({ id }) => id);
  const behind = queue.indexOf('go-program') < queue.indexOf('c');
  const through = await post(b, '/switchover', { to: behind ? 'c' : 'go-program' });
  expect(through).toMatchObject({ status: 409, body: { code: 'foreign_candidate' } });
  expect(await post(c, '/pause', { for: '1m', reason: 'work on the switch' })).toMatchObject({
    status: 200,
  });
  expect(await post(b, '/switchover', { to: 'b' })).toMatchObject({
    status: 409,
    body: { code: 'paused' },
  });
  expect((await a.get('/leader')).status).toBe(200);
  foreign.child.signal('SIGINT');
});

test('step-down: another leads when the answer comes; alone, it leads again unless it was told not to', async () => {
  const [a, b] = await Promise.all([
    stage.sidecar({ election: 'down', id: 'a' }),
    stage.sidecar({ election: 'down', id: 'b' }),
  ]);
  const { leader, others, token } = await agreement([a, b]);
  const other = others[0]!;
  await knowsRecords(other, [a, b]);
  const wrong = await post(other, '/step-down', {});
  expect(wrong).toMatchObject({ status: 409, body: { code: 'not_leader' } });
  expect(wrong.body.detail).toContain(`${leader.id} leads`);
  const answer = await post(leader, '/step-down', { reason: 'maintenance', notFor: '1m' });
  expect(answer).toMatchObject({ status: 200, body: { done: true, leader: { id: other.id } } });
  expect(BigInt(answer.body.leader!.fencingToken)).toBeGreaterThan(BigInt(token));
  const [, ended] = await eventually(
    async () => {
      const terms = await historyOf(other);
      return terms.length === 2 && terms;
    },
    { withinMs: 20_000, what: 'two terms' },
  );
  expect(ended).toMatchObject({
    leader: leader.id,
    cause: 'resigned',
    reason: 'maintenance',
    actor: `operator via ${leader.id}`,
  });
  // The other one stands back: nobody else can lead, which is an outage that has to be asked for.
  const refused = await post(other, '/step-down', { notFor: '1m' });
  expect(refused).toMatchObject({ status: 409, body: { code: 'nobody_else' } });
  expect(refused.body.detail).toContain(`${leader.id} is present and does not stand`);
  expect((await other.get('/leader')).status).toBe(200);
  const alone = await post(other, '/step-down', { notFor: '1m', force: true });
  expect(alone).toMatchObject({ status: 200, body: { done: true, leader: null } });
  expect(alone.body.detail).toContain('nobody else can lead');
  // Nobody leads, and why is told of each; the one that is asked can be made to.
  const why = await post(leader, '/switchover', { to: leader.id });
  expect(why).toMatchObject({ status: 409, body: { code: 'no_leader' } });
  expect(why.body.detail).toMatch(new RegExp(`${leader.id} stands back until 2`));
  expect(why.body.detail).toContain(`${other.id} is present and does not stand`);
  const forced = await post(leader, '/switchover', { to: leader.id, force: true });
  expect(forced).toMatchObject({ status: 200, body: { leader: { id: leader.id } } });
});

test('a follower that is told so does not lead when the leader goes, and is seen to stand back', async () => {
  const sidecars = await stage.three({ election: 'benched' });
  const { leader, others } = await agreement(sidecars);
  const members = async () =>
    (await leader.get<{ members: { id: string; place: number | null }[] }>('/members')).body
      .members;
  const next = (await members()).find(({ place }) => place === 2)!.id;
  const second = others.find(({ id }) => id === next)!;
  const third = others.find(({ id }) => id !== next)!;
  const answer = await post(second, '/step-down', { notFor: '10m', reason: 'new disk', by: 'ann' });
  expect(answer).toMatchObject({ status: 200, body: { done: true, leader: { id: leader.id } } });
  const { body } = await second.get<{ obstacle: string; standsBackUntil: string }>('/status');
  expect(body.obstacle).toBe('standing_back');
  expect(Date.parse(body.standsBackUntil)).toBeGreaterThan(Date.now() + 580_000);
  expect(answer.body.detail).toContain('stands back until 20');
  await leader.stop();
  await third.waitFor(({ isLeader }) => isLeader, 20_000);
  expect((await second.get<LeaderAnswer>('/leader')).body.leader?.id).toBe(third.id);
});

interface Entries {
  readonly entries: readonly Record<string, string | null>[];
}

test('every verb is in the audit log, whoever was asked: pause and resume, what was refused, who and why', async () => {
  const sidecars = await stage.three({ election: 'audited' });
  const { leader, others } = await agreement(sidecars);
  const [second, third] = others as [Sidecar, Sidecar];
  expect((await post(second, '/pause', { reason: 'upgrade', by: 'ann', for: '5m' })).status).toBe(
    200,
  );
  await eventually(
    async () => (await leader.get<{ control: unknown }>('/status')).body.control !== null,
    { withinMs: 20_000, what: 'a leader that knows of the pause' },
  );
  expect((await post(leader, '/step-down', { by: 'bob' })).status).toBe(409);
  expect((await post(third, '/resume', { by: 'ann', reason: 'done' })).status).toBe(200);
  const to = second.id;
  expect((await post(third, '/switchover', { to, by: 'ann' })).status).toBe(200);
  const { entries } = (await leader.get<Entries>('/audit', { local: true })).body;
  expect(entries).toMatchObject([
    { verb: 'switchover', outcome: 'done', by: 'ann', via: third.id, from: '127.0.0.1' },
    { verb: 'resume', outcome: 'done', reason: 'done', via: third.id },
    { verb: 'step-down', outcome: 'nobody_else', by: 'bob', via: leader.id },
    { verb: 'pause', outcome: 'done', by: 'ann', reason: 'upgrade', via: second.id },
  ]);
  // As everything that is read from etcd for everybody, at most a second late.
  await eventually(
    async () => {
      const { verbs } = (await leader.get<{ verbs: { verb: string }[] }>('/history')).body;
      return verbs.map(({ verb }) => verb).join() === 'switchover,resume,pause';
    },
    { withinMs: 20_000, what: 'the verbs in the history' },
  );
  await second.waitForLog(
    (line) => line['verb'] === 'pause' && line['by'] === 'ann' && line['reason'] === 'upgrade',
    20_000,
  );
  const terms = await historyOf(second);
  expect(terms[1]).toMatchObject({ cause: 'switchover', actor: `ann via ${third.id}` });
});

test('step-down without others leads again in a new term', async () => {
  const a = await stage.sidecar({ election: 'alone', id: 'a' });
  const { token } = await agreement([a]);
  expect(await post(a, '/step-down', {})).toMatchObject({ body: { code: 'nobody_else' } });
  const answer = await post(a, '/step-down', { force: true });
  expect(answer).toMatchObject({ status: 200, body: { done: true, leader: { id: 'a' } } });
  expect(BigInt(answer.body.leader!.fencingToken)).toBeGreaterThan(BigInt(token));
});

test('a pause keeps the leader, works whoever is asked, and ends by resume', async () => {
  const sidecars = await stage.three({ election: 'paused', args: [lapsing] });
  const { leader, others } = await agreement(sidecars);
  const paused = await post(others[0]!, '/pause', { reason: 'upgrade', for: '5m' });
  expect(paused).toMatchObject({ status: 200, body: { done: true, paused: true } });
  expect(Date.parse(paused.body.until!)).toBeGreaterThan(Date.now() + 280_000);
  const observers = async (): Promise<boolean> => {
    const answers = await Promise.all(
      others.map((one) => one.get<{ role: string; control: unknown }>('/status')),
    );
    return answers.every(({ body }) => body.role === 'observer' && body.control !== null);
  };
  await eventually(observers, { withinMs: 20_000, what: 'two observers' });
  expect((await leader.get('/leader')).status).toBe(200);
  leader.signal('SIGKILL');
  await leader.exited;
  // Nobody campaigns, past the end of the dead leader's lease.
  await eventually(
    async () => (await stage.keys('paused')).every((key) => !key.includes('/candidates/')),
    { withinMs: failoverWithinMs(ttlMs), what: 'an empty queue' },
  );
  expect((await others[0]!.get('/leader')).status).toBe(503);
  const resumed = await post(others[1]!, '/resume', {});
  expect(resumed).toMatchObject({ status: 200, body: { paused: false, until: null } });
  const after = await agreement(others);
  const terms = await historyOf(after.leader);
  // The dead one could not say so: its end follows from what came next.
  expect(terms.at(-1)).toMatchObject({
    leader: leader.id,
    cause: 'lease_expired',
    endDerived: true,
  });
  expect(terms.at(-1)!.to).toBe(terms.at(-2)!.from);
});

test('the public listener serves none of this', async () => {
  const a = await stage.sidecar({ election: 'public', id: 'a' });
  await agreement([a]);
  for (const path of ['/step-down', '/switchover', '/pause', '/resume', '/journal']) {
    expect(await a.get(path, { method: 'POST' }), path).toMatchObject({
      status: 404,
      body: { code: 'local_only' },
    });
  }
  expect(await a.get('/leader?hold=500ms')).toMatchObject({ status: 403 });
  const held = await a.get<{ heldForMs: number }>('/leader?hold=500ms', { local: true });
  expect(held).toMatchObject({ status: 200, body: { isLeader: true } });
  expect(held.body.heldForMs).toBeGreaterThan(400);
  expect(held.body.heldForMs).toBeLessThanOrEqual(500);
  expect((await a.get('/leader')).status).toBe(200);
});

test('a hold is kept: an operator’s step-down waits for its end', async () => {
  const sidecars = await stage.three({ election: 'held' });
  const { leader } = await agreement(sidecars);
  const held = await leader.get<{ heldForMs: number }>('/leader?hold=1s', { local: true });
  const { heldForMs } = held.body;
  expect(heldForMs).toBeGreaterThan(800);
  const answer = await post(leader, '/step-down', {});
  expect(answer.status).toBe(200);
  // From the moment that the hold was promised, which is after it was asked for.
  expect(answer.receivedAt - held.sentAt).toBeGreaterThanOrEqual(heldForMs);
});
