// The app's API on real sidecars over a real etcd: fence, state and journal, while leaders are killed; a write for a term
// that is over is refused, wherever it is sent.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Answer, GetOptions, Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { agreement, failoverWithinMs, lapsing, openStage, ttlMs, type Stage } from './stage.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await openStage({ size: 3 });
});
afterEach(() => stage.clear());
afterAll(() => stage.end());

interface Body {
  readonly code: string;
  readonly seq: number;
  readonly replayed: boolean;
  readonly current: boolean;
  readonly last: number;
  readonly entries: readonly { readonly seq: number; readonly entry: { readonly n: number } }[];
}

const ask = (
  sidecar: Sidecar,
  method: string,
  path: string,
  more: Omit<GetOptions, 'method'> = {},
): Promise<Answer<Body>> => sidecar.get<Body>(path, { local: true, method, ...more });

const append = (sidecar: Sidecar, n: number, headers: GetOptions['headers'] = {}) =>
  ask(sidecar, 'POST', '/journal', {
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ n }),
  });

test('state is written by the leader only, read everywhere, and outlives a leader that is killed', async () => {
  const sidecars = await stage.three({ election: 'state', args: [lapsing] });
  const { leader, others, token } = await agreement(sidecars);
  const [other] = others;
  const text = { headers: { 'content-type': 'text/plain;charset=utf-8' }, body: 'grün' };
  const put = await ask(leader, 'PUT', '/state/config/colour', text);
  expect(put).toMatchObject({ status: 200, body: { key: 'config/colour', fencingToken: token } });
  expect(await ask(other!, 'PUT', '/state/config/colour', text)).toMatchObject({
    status: 409,
    body: { code: 'not_leader' },
  });
  for (const sidecar of sidecars) {
    const read = await ask(sidecar, 'GET', '/elections/state/state/config/colour');
    expect(read).toMatchObject({ status: 200, text: 'grün' });
    expect(read.headers).toMatchObject({
      'content-type': 'text/plain;charset=utf-8',
      etag: put.headers.etag,
      'x-electord-fencing-token': token,
    });
  }
  const stale = { headers: { 'if-match': '"1"' }, body: 'x' };
  expect(await ask(leader, 'PUT', '/state/config/colour', stale)).toMatchObject({
    status: 412,
    headers: { etag: put.headers.etag },
  });
  const exists = { headers: { 'if-none-match': '*' }, body: 'x' };
  expect((await ask(leader, 'PUT', '/state/config/colour', exists)).status).toBe(412);

  expect(await ask(leader, 'GET', `/fence/${token}`)).toMatchObject({ status: 200 });
  leader.signal('SIGKILL');
  await leader.exited;
  const after = await agreement(others, failoverWithinMs(ttlMs));
  for (const sidecar of others) {
    expect((await ask(sidecar, 'GET', '/state/config/colour')).text).toBe('grün');
    expect(await ask(sidecar, 'GET', `/fence/${token}`)).toMatchObject({
      status: 409,
      body: { current: false },
    });
  }
  expect((await ask(after.leader, 'GET', `/fence/${after.token}`)).body.current).toBe(true);
  // A writer of the term before, which has found the new leader.
  const late = { headers: { 'x-electord-fencing-token': token }, body: 'late' };
  expect(await ask(after.leader, 'PUT', '/state/config/colour', late)).toMatchObject({
    status: 409,
    body: { code: 'fenced_out' },
  });
  const match = { headers: { 'if-match': put.headers.etag! } };
  expect((await ask(after.leader, 'DELETE', '/state/config/colour', match)).status).toBe(204);
  expect(await ask(after.leader, 'GET', '/state/config/colour')).toMatchObject({
    status: 404,
    body: { code: 'no_such_key' },
  });
});

test('the journal has no gap and no double, though its leader is killed in the middle of appending', async () => {
  const sidecars = await stage.three({ election: 'journal', args: [lapsing] });
  const { leader, others } = await agreement(sidecars);
  let n = 0;
  const acknowledged = new Map<number, number>();
  let alive: readonly Sidecar[] = sidecars;
  /** As an app would: it asks everybody until one takes it, and names the attempt. */
  const appendSomewhere = async (number: number): Promise<boolean> => {
    for (const sidecar of alive) {
      const key = { 'idempotency-key': `n-${number}` };
      const answer = await append(sidecar, number, key).catch(() => null);
      if (answer?.status !== 201) continue;
      acknowledged.set(number, answer.body.seq);
      return true;
    }
    return false;
  };
  const bound = { withinMs: failoverWithinMs(ttlMs), what: 'an append' };
  const killAt = 30;
  while (n < 60) {
    n += 1;
    const number = n;
    const appended = eventually(() => appendSomewhere(number), bound);
    if (number === killAt) {
      leader.signal('SIGKILL');
      await leader.exited;
      alive = others;
    }
    await appended;
  }
  const { body } = await ask(others[0]!, 'GET', '/journal?after=0&limit=1000');
  expect(body.last).toBe(60);
  expect(body.entries.map(({ seq }) => seq)).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
  expect(body.entries.map(({ entry }) => entry.n)).toEqual(body.entries.map(({ seq }) => seq));
  expect([...acknowledged].every(([number, seq]) => number === seq)).toBe(true);

  const after = await agreement(others);
  const again = await append(after.leader, 60, { 'idempotency-key': 'n-60' });
  expect(again).toMatchObject({ status: 201, body: { seq: 60, replayed: true } });
  expect(again.headers.location).toBe('/journal?after=59&limit=1');
  const other = await append(after.leader, 61, { 'idempotency-key': 'n-60' });
  expect(other).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused', seq: 60 } });
  expect((await append(after.others[0]!, 61)).body.code).toBe('not_leader');
});

test('a leader that was frozen, and wakes as one of the past, writes nothing', async () => {
  const sidecars = await stage.three({ election: 'frozen', args: [lapsing] });
  const { leader, others, token } = await agreement(sidecars);
  leader.signal('SIGSTOP');
  const pending = append(leader, 1, { 'x-electord-fencing-token': token });
  pending.catch(() => undefined);
  const after = await agreement(others, failoverWithinMs(ttlMs));
  leader.signal('SIGCONT');
  const late = await pending.catch(() => append(leader, 1, { 'x-electord-fencing-token': token }));
  expect(late.status).toBe(409);
  expect(['not_leader', 'fenced_out']).toContain(late.body.code);
  expect((await append(after.leader, 2)).body).toMatchObject({ seq: 1 });
});

test('503 while etcd cannot say', async () => {
  const a = await stage.sidecar({ election: 'silent', id: 'a' });
  const { token } = await agreement([a]);
  for (const node of stage.cluster.nodes) node.freeze();
  for (const path of [`/fence/${token}`, '/state/k', '/journal', '/history']) {
    expect(await ask(a, 'GET', path, { timeoutMs: 10_000 }), path).toMatchObject({
      status: 503,
      body: { code: 'etcd_unreachable' },
    });
  }
  for (const node of stage.cluster.nodes) node.thaw();
});
