// What only the local listener serves, on real sockets: who is let in, what is wrong with a body, and what the verbs and the
// app's API make of their requests. Elections, coordinator and store are stand-ins; with real ones: test/e2e.
import { connect } from 'node:net';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterEach, describe, expect, it } from 'vitest';
import {
  electionName,
  memberId,
  revision,
  type Control,
  type Snapshot,
  type TermRecord,
} from '../../src/core/model.ts';
import type { HistoryAnswer, StatusAnswer } from '../../src/contract.ts';
import { FencedOut, Unreachable } from '../../src/errors.ts';
import { sharedRead } from '../../src/http/history.ts';
import type { Inputs, LocalInputs } from '../../src/http/inputs.ts';
import { openApi } from '../../src/http/openapi.ts';
import type { FencedStore } from '../../src/store-port.ts';
import { eventually } from '../harness/wait.ts';
import { candidate, FakeElections, member, token } from './http-fake-elections.ts';
import { inputsOf, localOf, posting, serveOn, Servers, type Ask } from './http-serving.ts';

const { serve, opened, close } = new Servers();
afterEach(close);

function leading(): FakeElections {
  const fake = new FakeElections(['orders']);
  fake.held = { leaseId: '1267' as never, ttlMs: 5000, remainingMs: 4000 };
  // Somebody stands behind it: a step-down is no outage.
  const candidates = [candidate('orders-0', 4711n), candidate('orders-9', 4712n)];
  fake.know({ candidates, claimUntil: 1_004_000 });
  return fake;
}

/** A store that takes everything and keeps what it was asked for. */
function noting(): { store: FencedStore; asked: unknown[][] } {
  const asked: unknown[][] = [];
  const note =
    <Value>(name: string, value: Value) =>
    (...given: unknown[]): Promise<Value> => {
      asked.push([name, ...given]);
      return Promise.resolve(value);
    };
  return {
    asked,
    store: {
      read: note('read', null),
      write: note('write', { kind: 'written', revision: revision(9n) }),
      remove: note('remove', { kind: 'removed' }),
      append: note('append', { kind: 'appended', seq: 7, replayed: false }),
      journal: note('journal', { entries: [], last: 0 }),
    },
  };
}

const writes = [
  ['POST', '/step-down'],
  ['POST', '/switchover'],
  ['POST', '/pause'],
  ['POST', '/resume'],
  ['POST', '/journal'],
  ['PUT', '/state/k'],
  ['DELETE', '/state/k'],
] as const;

describe('who is let in', () => {
  it('needs the token for every verb that writes, and for a hold, where one is configured', async () => {
    let secret: string | null = 'correct horse';
    const fake = leading();
    const ask = await serve(fake, { token: () => secret, store: noting().store });
    for (const [method, path] of writes) {
      for (const headers of [
        {},
        { authorization: 'Bearer wrong' },
        { authorization: 'Basic Y29ycmVjdCBob3JzZQ==' },
        { authorization: 'Bearer correct' },
      ]) {
        const answer = await ask(path, { method, headers });
        expect(answer, path).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
        expect(answer.headers['www-authenticate']).toMatch(/^Bearer realm="electord"/);
        expect(answer.text).not.toContain('horse');
      }
    }
    // A promise binds: whoever knows no token could keep a switchover waiting for ever.
    for (const method of ['GET', 'HEAD']) {
      expect((await ask('/leader?hold=1s', { method })).status).toBe(401);
    }
    expect((await ask('/leader')).status).toBe(200);
    expect(fake.holds).toEqual([]);
    secret = 'staple';
    const headers = { authorization: 'bearer staple' };
    expect((await ask('/state/k', { method: 'PUT', headers, body: 'x' })).status).toBe(200);
    expect((await ask('/journal')).status).toBe(200);
    expect((await ask('/leader?hold=1s', { headers })).body['heldForMs']).toBe(1000);
    secret = null;
    expect((await ask('/state/k', { method: 'PUT', body: 'x' })).status).toBe(200);
  });

  it('is no page of another origin, and no name that points here', async () => {
    const { store, asked } = noting();
    const ask = await serve(leading(), { store });
    const put = (headers: Record<string, string>) =>
      ask('/state/k', { method: 'PUT', body: 'x', headers });
    for (const headers of [
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { origin: 'http://127.0.0.1:1' },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
    ]) {
      expect(await put(headers as Record<string, string>)).toMatchObject({
        status: 403,
        body: { code: 'forbidden_origin' },
      });
      for (const [method, path] of writes) {
        const form = { ...headers, 'content-type': 'application/x-www-form-urlencoded' };
        const answer = await ask(path, { method, headers: form });
        expect(answer, path).toMatchObject({ status: 403, body: { code: 'forbidden_origin' } });
      }
    }
    for (const host of ['evil.example', 'evil.example:4041', '127.0.0.1.evil.example']) {
      expect(await put({ host })).toMatchObject({ status: 403, body: { code: 'forbidden_host' } });
      const held = await ask('/leader?hold=1s', { headers: { host } });
      expect(held).toMatchObject({ status: 403, body: { code: 'forbidden_host' } });
    }
    expect(asked).toEqual([]);
    for (const host of ['localhost:4041', 'a.localhost', '[::1]:4041', '10.1.2.3']) {
      expect((await put({ host })).status, host).toBe(200);
    }
    const same = { host: 'localhost:4041', origin: 'http://localhost:4041' };
    expect((await put({ ...same, 'sec-fetch-site': 'same-origin' })).status).toBe(200);
    // Where the listener is not on loopback, it may well have a name: there the token protects.
    const named = await serve(leading(), { store, checksHost: false });
    const headers = { host: 'electord.example' };
    expect((await named('/state/k', { method: 'PUT', body: 'x', headers })).status).toBe(200);
  });

  it('is a page of the name in --public-url, whatever Host the proxy sends, and of no other', async () => {
    const publicUrl = 'https://ops.example:8443/orders-0';
    const ask = await serve(leading(), { store: noting().store, publicUrl });
    const statusOf = async (host: string, origin: string): Promise<number> => {
      const headers = { host, origin, 'sec-fetch-site': 'same-origin' };
      return (await ask('/state/k', { method: 'PUT', body: 'x', headers })).status;
    };
    const origin = 'https://ops.example:8443';
    for (const host of ['ops.example:8443', 'ops.example', '127.0.0.1:4041']) {
      expect(await statusOf(host, origin), host).toBe(200);
    }
    expect(await statusOf('localhost:4041', 'http://localhost:4041')).toBe(200);
    for (const other of ['https://evil.example', 'https://ops.example:1', 'null']) {
      expect(await statusOf('ops.example:8443', other), other).toBe(403);
    }
    expect(await statusOf('evil.example', origin)).toBe(403);
  });

  it('is nobody on the public listener', async () => {
    const served = await serveOn(inputsOf(leading()));
    opened.push(served.listening);
    for (const [method, path] of [...writes, ['GET', '/fence/1'], ['GET', '/state/k']] as const) {
      for (const place of ['', '/elections/orders']) {
        const answer = await served.ask(place + path, { method });
        expect(answer, path).toMatchObject({ status: 404, body: { code: 'local_only' } });
      }
    }
    const held = await served.ask('/leader?hold=1s');
    expect(held).toMatchObject({ status: 403, body: { code: 'local_only' } });
  });

  it('promises a moment on the public listener to proxies, and no more', async () => {
    const elections = leading();
    const served = await serveOn(inputsOf(elections, { publicHoldMs: 150 }));
    opened.push(served.listening);
    for (const [asked, heldForMs] of [
      ['1h', 150],
      ['40ms', 40],
    ] as const) {
      const answer = await served.ask(`/leader?hold=${asked}`);
      expect(answer).toMatchObject({ status: 200, body: { heldForMs } });
    }
    expect(await served.ask('/leader?hold=soon')).toMatchObject({ status: 400 });
  });
});

describe('a body', () => {
  it('is refused with everything that is wrong in it', async () => {
    const ask = await serve(leading());
    const wrong = { reason: 7, notFor: '1.5s', notfor: '1s' };
    const answer = await ask('/step-down', posting(wrong));
    expect(answer.status).toBe(422);
    expect(answer.body).toMatchObject({
      code: 'invalid_body',
      faults: [
        { field: 'reason', problem: 'is not a text' },
        { field: 'notFor', problem: expect.stringMatching(/as 1500ms for 1\.5s$/) as string },
        { field: 'notfor', problem: 'is not one of reason, by, notFor, force' },
      ],
    });
    const cases: readonly (readonly [string, unknown, string])[] = [
      ['/switchover', {}, 'to'],
      ['/switchover', { to: '' }, 'to'],
      ['/pause', { for: '25h' }, 'for'],
      ['/pause', { for: '1s' }, 'for'],
      ['/pause', { reason: 'x'.repeat(501) }, 'reason'],
      ['/pause', { reason: 'two\nlines' }, 'reason'],
      ['/resume', { why: 'x' }, 'why'],
      ['/step-down', { notFor: 5 }, 'notFor'],
    ];
    for (const [path, body, field] of cases) {
      expect(await ask(path, posting(body)), JSON.stringify(body)).toMatchObject({
        status: 422,
        body: { code: 'invalid_body', faults: [{ field }] },
      });
    }
    expect((await ask('/step-down', posting([]))).status).toBe(422);
    const broken = await ask('/step-down', { ...posting(0), body: '{"reason":' });
    expect(broken).toMatchObject({ status: 400, body: { code: 'malformed_request' } });
  });

  it('is refused where the OpenAPI document says that it is not one, and nowhere else', async () => {
    const { schemas } = (openApi(true, '1') as { components: { schemas: Record<string, object> } })
      .components;
    const ajv = new Ajv2020({ strict: false });
    const verbs = {
      '/step-down': ajv.compile(schemas['stepDownRequest']!),
      '/switchover': ajv.compile(schemas['switchoverRequest']!),
      '/pause': ajv.compile(schemas['pauseRequest']!),
    };
    const values = [
      undefined,
      null,
      7,
      '',
      'a b',
      'a\nb',
      'x'.repeat(254),
      'x'.repeat(501),
      '5s',
      '5',
      {},
    ];
    // It does not lead and cannot ask etcd: it says so of whatever it has read.
    const ask = await serve(new FakeElections(['orders']), {}, { reportError: () => undefined });
    const refused = new Map<string, number>();
    const asking = Object.entries(verbs).flatMap(([path, isValid]) =>
      ['reason', 'to', 'for', 'notFor', 'other'].flatMap((field) =>
        values.map(async (value) => {
          const body = { ...(path === '/switchover' ? { to: 'orders-1' } : {}), [field]: value };
          const { status } = await ask(path, posting(body));
          expect(status === 422, `${path} ${JSON.stringify(body)}`).toBe(
            !isValid(JSON.parse(JSON.stringify(body))),
          );
          refused.set(path, (refused.get(path) ?? 0) + Number(status === 422));
        }),
      ),
    );
    await Promise.all(asking);
    for (const path of Object.keys(verbs)) expect(refused.get(path)).toBeGreaterThan(20);
  });

  it('is JSON where it is read, and no larger than it may be', async () => {
    const { store, asked } = noting();
    const ask = await serve(leading(), { store });
    for (const type of ['application/xml', 'application/jsonp', 'multipart/form-data', 'text/']) {
      for (const path of ['/step-down', '/journal']) {
        const question = { method: 'POST', headers: { 'content-type': type }, body: '{}' };
        expect(await ask(path, question)).toMatchObject({
          status: 415,
          body: { code: 'unsupported_media_type' },
        });
      }
    }
    const named = { method: 'POST', headers: { 'content-type': 'text/plain' }, body: 'reason=x' };
    expect(await ask('/step-down', named)).toMatchObject({ body: { code: 'malformed_request' } });
    const most = Buffer.alloc(1_048_576, 0x20);
    expect((await ask('/state/k', { method: 'PUT', body: most })).status).toBe(200);
    const more = Buffer.alloc(1_048_577, 0x20);
    for (const [method, path] of [
      ['PUT', '/state/k'],
      ['POST', '/journal'],
      ['POST', '/pause'],
    ]) {
      const headers = { 'content-type': 'application/json' };
      expect(await ask(path!, { method: method!, headers, body: more })).toMatchObject({
        status: 413,
        body: { code: 'body_too_large' },
      });
    }
    expect(asked.length).toBe(1);
  });

  it('is taken for JSON where a client has set what curl and fetch set by themselves', async () => {
    const { store, asked } = noting();
    const ask = await serve(leading(), { store });
    for (const headers of [
      {},
      { 'content-type': 'application/x-www-form-urlencoded' },
      { 'content-type': 'text/plain;charset=UTF-8' },
      { 'content-type': 'application/octet-stream' },
      { 'content-type': 'Application/JSON; charset=utf-8' },
    ] as Record<string, string>[]) {
      const entry = { method: 'POST', headers, body: '{"a":1}' };
      expect((await ask('/journal', entry)).status, JSON.stringify(headers)).toBe(201);
      const foreign = { ...entry, headers: { ...headers, origin: 'https://evil.example' } };
      expect((await ask('/journal', foreign)).status).toBe(403);
    }
    expect(asked.length).toBe(5);
  });
});

describe('a hold', () => {
  it('is bounded, told as what was promised, and only given to GET', async () => {
    const fake = leading();
    const ask = await serve(fake, { maxHoldMs: 800 });
    expect(await ask('/leader?hold=500ms')).toMatchObject({
      status: 200,
      body: { isLeader: true, heldForMs: 500 },
    });
    expect((await ask('/elections/orders/leader?hold=1m')).body['heldForMs']).toBe(800);
    for (const method of ['HEAD', 'OPTIONS']) {
      expect((await ask('/leader?hold=500ms', { method })).status).toBe(200);
    }
    expect(fake.holds.map(({ holdMs }) => holdMs)).toEqual([500, 800]);
    for (const wrong of ['', '5', '-1s', '1.5s', 'long']) {
      expect(await ask(`/leader?hold=${wrong}`)).toMatchObject({
        status: 400,
        body: { code: 'invalid_parameter' },
      });
    }
    fake.know({ candidates: [candidate('orders-1', 5000n)] });
    expect(await ask('/leader?hold=500ms')).toMatchObject({
      status: 503,
      body: { isLeader: false, heldForMs: 0 },
    });
    expect((await ask('/leader')).body).not.toHaveProperty('heldForMs');
  });

  it('is not spoken of where none is granted, so that nobody takes it for one that ends now', async () => {
    const fake = leading();
    const ask = await serve(fake, { maxHoldMs: 0 });
    const answer = await ask('/leader?hold=1s');
    expect(answer).toMatchObject({ status: 200, body: { isLeader: true } });
    expect(answer.body).not.toHaveProperty('heldForMs');
    expect(fake.holds).toEqual([]);
  });
});

describe('step-down', () => {
  it('asks the elector, and answers 200 with who leads then', async () => {
    const fake = leading();
    const ask = await serve(fake);
    fake.onStepDown = () => {
      fake.know({ candidates: [candidate('orders-1', 4800n)] });
      fake.emitChange('resigned');
    };
    const answer = await ask('/step-down', posting({ reason: 'because', notFor: '30s' }));
    expect(answer).toMatchObject({
      status: 200,
      headers: { 'x-electord-role': 'follower' },
      body: { done: true, leader: { id: 'orders-1', fencingToken: '4800' } },
    });
    const request = {
      cause: 'resigned',
      reason: 'because',
      actor: 'operator via orders-0',
      notForMs: 30_000,
    };
    expect(fake.stepDowns).toEqual([['orders', request]]);
  });

  it('ends its waiting when whoever asked is gone, and steps down all the same', async () => {
    const fake = leading();
    // Nothing else but its client ends this in the time of a test.
    const served = await serveOn(inputsOf(fake), localOf({ graceMs: 3_600_000 }));
    opened.push(served.listening);
    const before = fake.subscribers;
    const socket = connect({ host: '127.0.0.1', port: served.port });
    socket.write('POST /step-down HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n');
    await eventually(() => fake.subscribers > before, { withinMs: 20_000, what: 'a wait' });
    socket.destroy();
    await eventually(() => fake.subscribers === before, { withinMs: 20_000, what: 'its end' });
    expect(fake.stepDowns.length).toBe(1);
  });

  it('waits a second for somebody who is only just coming, before it says that nobody can lead', async () => {
    // Asked to step down, with an empty queue after it; `answer` tells what has come after another question was answered.
    const begin = async (): Promise<{ fake: FakeElections; answer: () => Promise<unknown> }> => {
      const fake = leading();
      const ask = await serve(fake);
      let given: unknown = null;
      const begun = new Promise<void>((resolve) => {
        fake.onStepDown = () => {
          fake.know({ candidates: [], claimUntil: 0, obstacle: 'standing_back' });
          resolve();
        };
      });
      void ask('/step-down', posting({ notFor: '1m' })).then((answer) => (given = answer));
      await begun;
      const answer = async (): Promise<unknown> => {
        fake.emitChange('resigned');
        await ask('/leader');
        return given;
      };
      return { fake, answer };
    };
    const answered = { withinMs: 10_000, what: 'the answer' };
    const coming = await begin();
    expect(await coming.answer()).toBeNull();
    coming.fake.nowMs += 999;
    expect(await coming.answer()).toBeNull();
    coming.fake.know({ candidates: [candidate('orders-1', 4800n)] });
    const leader = { id: 'orders-1' };
    expect(await eventually(coming.answer, answered)).toMatchObject({
      status: 200,
      body: { leader },
    });
    const alone = await begin();
    expect(await alone.answer()).toBeNull();
    alone.fake.nowMs += 1000;
    expect(await eventually(alone.answer, answered)).toMatchObject({
      status: 200,
      body: { done: true, leader: null },
    });
  });

  it('answers 202 where it takes longer than it should, and takes no body for the defaults', async () => {
    const fake = leading();
    const ask = await serve(fake, { graceMs: -2000, maxHoldMs: 50 });
    const answer = await ask('/step-down', { method: 'POST' });
    expect(answer).toMatchObject({ status: 202, body: { done: false } });
    expect(fake.stepDowns[0]![1]).toMatchObject({ notForMs: 0, reason: null });
  });

  it('is refused to whoever does not lead', async () => {
    const fake = leading();
    fake.know({ candidates: [candidate('orders-1', 4800n)] });
    const ask = await serve(fake);
    expect(await ask('/step-down', posting({}))).toMatchObject({
      status: 409,
      body: { code: 'not_leader', leader: { id: 'orders-1', url: 'http://orders-1:4040' } },
    });
    expect(fake.stepDowns).toEqual([]);
  });
});

describe('switchover', () => {
  const snapshot = (more: Partial<Snapshot>): Snapshot => ({
    revision: revision(99n),
    candidates: [],
    members: [],
    handover: null,
    control: null,
    switchover: null,
    ...more,
  });
  const seeing = (more: Partial<Snapshot>): Partial<LocalInputs> => ({
    graceMs: -2000,
    maxHoldMs: 50,
    coordinator: {
      ...localOf().coordinator,
      observe: () => [Promise.resolve({ value: snapshot(more), sentAt: 0 })],
      requestSwitchover: () => Promise.resolve(),
    },
  });
  const candidates = [candidate('orders-1', 10n), candidate('orders-0', 11n)];
  const paused: Control = { paused: true, reason: null, by: null, until: null };

  it('names the reason for which it cannot be', async () => {
    const foreign = { native: false, url: null };
    const cases: readonly (readonly [string, Partial<Snapshot>])[] = [
      ['no_leader', {}],
      ['paused', { candidates, control: paused }],
      ['unknown_member', { candidates }],
      ['never_leads', { candidates, members: [member('x', 5n, { priority: -1 })] }],
      ['app_unhealthy', { candidates, members: [member('x', 5n, { healthy: false })] }],
      ['not_a_candidate', { candidates, members: [member('x', 5n)] }],
      ['not_settled', { candidates: [...candidates, candidate('x', 12n), candidate('x', 13n)] }],
      ['foreign_candidate', { candidates: [...candidates, candidate('x', 12n, foreign)] }],
      [
        'foreign_candidate',
        { candidates: [...candidates, candidate('go', 12n, foreign), candidate('x', 13n)] },
      ],
      ['foreign_candidate', { candidates: [candidate('go', 9n, foreign), candidate('x', 13n)] }],
    ];
    for (const [code, more] of cases) {
      const ask = await serve(leading(), seeing(more));
      const answer = await ask('/switchover', posting({ to: 'x' }));
      expect(answer, code).toMatchObject({ status: 409, body: { code } });
    }
  });

  it('waits for a member that is on its way into the queue', async () => {
    const fake = leading();
    const [leader, late] = [candidate('orders-0', 4711n), candidate('orders-2', 4712n)];
    let reads = 0;
    let ask: Ask | null = null;
    const come = (): void => {
      fake.know({ candidates: [leader, late] });
      fake.emitChange('elected');
    };
    const observe = (): Promise<{ value: Snapshot; sentAt: number }>[] => {
      reads += 1;
      // Some answers later.
      if (reads === 1) void ask!('/leader').then(() => ask!('/leader').then(come));
      const { candidates } = fake.report(electionName('orders'));
      return [Promise.resolve({ value: snapshot({ candidates }), sentAt: 0 })];
    };
    const requestSwitchover = (): Promise<void> => {
      fake.know({ candidates: [late] });
      return Promise.resolve();
    };
    ask = await serve(fake, {
      coordinator: { ...localOf().coordinator, observe, requestSwitchover },
    });
    const answer = await ask('/switchover', posting({ to: 'orders-2' }));
    expect(answer).toMatchObject({ status: 200, body: { done: true, fencingToken: '4712' } });
    expect(reads).toBe(2);
  });

  it('says 504 and who leads, where the one named does not', async () => {
    const fake = new FakeElections(['orders']);
    fake.know({ candidates });
    const ask = await serve(fake, seeing({ candidates }));
    const answer = await ask('/switchover', posting({ to: 'orders-0' }));
    expect(answer).toMatchObject({
      status: 504,
      body: { code: 'not_switched_over', leader: { id: 'orders-1' } },
    });
    expect(fake.stepDowns).toEqual([]);
  });

  it('is asked for in etcd even of the leader itself, which so looks at the queue of that moment', async () => {
    const fake = leading();
    const queue = [candidate('orders-0', 4711n), candidate('orders-2', 4712n)];
    const asked: unknown[][] = [];
    const seen = seeing({ candidates: queue });
    const ask = await serve(fake, {
      ...seen,
      coordinator: {
        ...seen.coordinator!,
        requestSwitchover: (...given) => {
          asked.push(given);
          fake.know({ candidates: [candidate('orders-2', 4712n)] });
          return Promise.resolve();
        },
      },
    });
    const answer = await ask('/switchover', posting({ to: 'orders-2', reason: 'why' }));
    expect(answer).toMatchObject({ status: 200, body: { done: true, fencingToken: '4712' } });
    const actor = 'operator via orders-0';
    const request = { token: 4711n, to: 'orders-2', reason: 'why', actor };
    // In whole seconds, and no longer than anybody waits for it.
    expect(asked).toEqual([['orders', request, 1000]]);
    expect(fake.stepDowns).toEqual([]);
  });
});

describe('the app’s API', () => {
  it('passes bytes, conditions and the term on', async () => {
    const { store, asked } = noting();
    const ask = await serve(leading(), { store });
    const writer = { election: 'orders', leaseId: '1267', token: token(4711n) };
    const put = (headers: Record<string, string>) =>
      ask('/state/a%2Fb/c.d', { method: 'PUT', body: Buffer.from([1, 255]), headers });
    const answer = await put({});
    expect(answer).toMatchObject({ status: 200, headers: { etag: '"9"' } });
    await put({ 'if-none-match': '*', 'content-type': 'image/x' });
    await put({ 'if-match': '*' });
    await put({ 'if-match': '"12", W/"13", "abc","14"' });
    await ask('/state/a', { method: 'DELETE' });
    const bytes = Buffer.from([1, 255]);
    const plain = { bytes, contentType: 'application/octet-stream' };
    expect(asked).toEqual([
      ['write', writer, 'a/b/c.d', plain, null],
      ['write', writer, 'a/b/c.d', { bytes, contentType: 'image/x' }, 'nothing'],
      ['write', writer, 'a/b/c.d', plain, 'anything'],
      ['write', writer, 'a/b/c.d', plain, [12n, 14n]],
      ['remove', writer, 'a', null],
    ]);
    for (const path of ['/state/a%00', '/state/..%2Fx', '/state/a//b', '/state/ä', '/state/%23']) {
      const wrong = await ask(encodeURI(path).replaceAll('%25', '%'), { method: 'PUT', body: 'x' });
      expect(wrong, path).toMatchObject({ status: 400, body: { code: 'invalid_parameter' } });
    }
    expect((await put({ 'if-none-match': '"1"' })).status).toBe(400);
  });

  it('writes for the term that is named, and for none but that', async () => {
    const { store, asked } = noting();
    const fake = leading();
    const ask = await serve(fake, { store });
    const put = (named: string) =>
      ask('/state/k', { method: 'PUT', headers: { 'x-electord-fencing-token': named }, body: 'x' });
    expect((await put('4711')).status).toBe(200);
    expect(await put('4710')).toMatchObject({ status: 409, body: { code: 'fenced_out' } });
    expect(await put('x')).toMatchObject({ status: 400, body: { code: 'invalid_parameter' } });
    // While the app stops, what it writes for its own term is left to etcd to judge.
    fake.know({ claimUntil: 0, steppingDown: true });
    expect((await put('4711')).status).toBe(200);
    expect(asked.length).toBe(2);
    // Whoever only waits has a key too, but no term.
    fake.know({ steppingDown: false });
    expect(await put('4711')).toMatchObject({ status: 409, body: { code: 'not_leader' } });
    const unnamed = await ask('/state/k', { method: 'PUT', body: 'x' });
    expect(unnamed).toMatchObject({ status: 409, body: { code: 'not_leader' } });
  });

  it('tells a stale term, a lost race and an etcd that is away apart', async () => {
    const { store } = noting();
    const failing = (failure: Error): FencedStore => ({
      ...store,
      write: () => Promise.reject(failure),
    });
    const cases: readonly (readonly [FencedStore, number, string])[] = [
      [failing(new FencedOut('over')), 409, 'fenced_out'],
      [failing(new Unreachable('silent')), 503, 'etcd_unreachable'],
      [
        {
          ...store,
          write: () => Promise.resolve({ kind: 'conflict', revision: revision(8n) }),
        },
        412,
        'precondition_failed',
      ],
    ];
    for (const [broken, status, code] of cases) {
      const ask = await serve(leading(), { store: broken });
      const answer = await ask('/state/k', { method: 'PUT', body: 'x' });
      expect(answer, code).toMatchObject({ status, body: { code } });
    }
  });

  it('serves what is stored as it is, and 304 to whoever has it', async () => {
    const stored = {
      bytes: Buffer.from('<script>'),
      contentType: 'text/html',
      revision: revision(12n),
      writtenIn: token(4n),
    };
    const store = { ...noting().store, read: () => Promise.resolve(stored) };
    const ask = await serve(leading(), { store });
    const read = await ask('/state/k');
    expect(read).toMatchObject({
      status: 200,
      text: '<script>',
      headers: { etag: '"12"', 'x-electord-fencing-token': '4', 'content-type': 'text/html' },
    });
    expect(read.headers['content-security-policy']).toBe('sandbox');
    expect((await ask('/state/k', { method: 'HEAD' })).headers['content-length']).toBe('8');
    const known = await ask('/state/k', { headers: { 'if-none-match': '"12"' } });
    expect(known).toMatchObject({ status: 304, text: '' });
    const other = await ask('/state/k', { headers: { 'if-none-match': '"11"' } });
    expect(other.status).toBe(200);
  });

  it('numbers the journal and says where', async () => {
    const { store, asked } = noting();
    const ask = await serve(leading(), { store });
    const big = '{"n":90071992547409931}';
    const question = {
      method: 'POST',
      headers: { 'content-type': 'application/json; charset=utf-8', 'idempotency-key': 'x' },
      body: big,
    };
    const answer = await ask('/elections/orders/journal', question);
    expect(answer).toMatchObject({
      status: 201,
      headers: { location: '/elections/orders/journal?after=6&limit=1' },
      body: { seq: 7, replayed: false },
    });
    expect(asked[0]![2]).toMatchObject({ json: big, idempotencyKey: 'x', by: 'orders-0' });
    await ask('/journal');
    await ask('/journal?after=7&limit=1000');
    expect(asked.slice(1)).toEqual([
      ['journal', 'orders', 0, 100],
      ['journal', 'orders', 7, 1000],
    ]);
    for (const wrong of ['limit=0', 'limit=1001', 'limit=x', 'after=-1', 'after=1.5']) {
      expect((await ask(`/journal?${wrong}`)).status, wrong).toBe(400);
    }
  });

  it('asks etcd about a fencing token, and takes nothing else for one', async () => {
    const coordinator = {
      ...localOf().coordinator,
      isCurrent: (_: unknown, asked: bigint) => Promise.resolve(asked === 4711n),
    };
    const ask = await serve(leading(), { coordinator });
    expect(await ask('/fence/4711')).toMatchObject({ status: 200, body: { current: true } });
    expect(await ask('/fence/4710')).toMatchObject({ status: 409, body: { current: false } });
    for (const wrong of ['0x1', '-1', '04711', '9223372036854775808', 'x', '4711%20']) {
      expect((await ask(`/fence/${wrong}`)).status, wrong).toBe(400);
    }
  });
});

describe('the history', () => {
  it('is read once by all who ask while the answer is on its way, and not again while that is new', async () => {
    const fake = new FakeElections(['orders', 'bills']);
    for (const name of fake.names) fake.know({ candidates: [candidate('orders-1', 20n)] }, name);
    const reads: { election: string; answer: (failure?: Error) => void }[] = [];
    const read: Inputs['history'] = (election) =>
      new Promise((resolve, reject) => {
        const answer = (failure?: Error): void => (failure ? reject(failure) : resolve([]));
        reads.push({ election, answer });
      });
    const shared = sharedRead(read, { elections: fake, clock: fake.clock });
    let asked = 0;
    const history: Inputs['history'] = (election) => {
      asked += 1;
      return shared(election);
    };
    const inputs = inputsOf(fake, { history });
    const [open, local] = await Promise.all([serveOn(inputs), serveOn(inputs, localOf())]);
    opened.push(open.listening, local.listening);
    const flood = (election: string): Promise<number[]> =>
      Promise.all(
        Array.from({ length: 60 }, async (_, index) => {
          const { ask } = index % 2 === 0 ? open : local;
          return (await ask(`/elections/${election}/history`)).status;
        }),
      );
    const all = (status: number): number[] => Array.from({ length: 60 }, () => status);
    const begun = (count: number) =>
      eventually(() => reads.length === count, { withinMs: 20_000, what: `${count} reads` });

    const first = [flood('orders'), flood('bills')];
    await begun(2);
    // However long it takes: the one that is on its way is waited for.
    fake.nowMs += 3000;
    const late = flood('orders');
    await eventually(() => asked === 180, { withinMs: 20_000, what: 'three floods' });
    for (const { answer } of reads) answer();
    expect(await Promise.all([...first, late])).toEqual([all(200), all(200), all(200)]);
    expect(reads.map(({ election }) => election).toSorted()).toEqual(['bills', 'orders']);

    // That was asked for too long ago. A failure counts as an answer does.
    const failing = flood('orders');
    await begun(3);
    reads[2]!.answer(new Unreachable('no answer'));
    expect(await failing).toEqual(all(503));
    fake.nowMs += 999;
    expect(await flood('orders')).toEqual(all(503));
    fake.nowMs += 1;
    const again = flood('orders');
    await begun(4);
    reads[3]!.answer();
    expect(await again).toEqual(all(200));

    // With another leader there is more to tell.
    fake.know({ candidates: [candidate('orders-2', 21n)] });
    const changed = flood('orders');
    await begun(5);
    reads[4]!.answer();
    expect(await changed).toEqual(all(200));
    expect(reads.length).toBe(5);
  });

  it('fills in what a vanished leader could not say, and marks it', async () => {
    const at = (second: bigint): string => `2026-11-20T21:00:${second}.000Z`;
    const term = (value: bigint, more: Partial<TermRecord>): TermRecord => ({
      token: token(value),
      leader: memberId(`orders-${value}`),
      address: null,
      from: at(value),
      to: null,
      cause: null,
      reason: null,
      actor: null,
      leaderlessMs: null,
      leaderlessAtMostMs: null,
      ttlMs: null,
      endBefore: null,
      ...more,
    });
    const terms = [
      term(30n, { leaderlessMs: 3, leaderlessAtMostMs: 5300 }),
      term(20n, { leaderlessMs: 2, leaderlessAtMostMs: 2 }),
      term(10n, { to: at(19n), cause: 'resigned', reason: 'why', actor: 'who' }),
    ];
    const history = (election: string) =>
      Promise.resolve(election === electionName('orders') ? terms : []);
    const ask = await serve(leading(), {}, { history });
    const { body } = await ask('/history');
    const open = { reason: null, actor: null, address: null };
    const exactly = (ms: number | null) => ({
      ...{ leaderlessMs: ms, leaderlessAtLeastMs: ms, leaderlessAtMostMs: ms },
    });
    const bounds = { leaderlessMs: null, leaderlessAtLeastMs: 3, leaderlessAtMostMs: 5300 };
    expect(body).toEqual({
      election: 'orders',
      terms: [
        {
          ...{ fencingToken: '30', leader: 'orders-30', from: at(30n), to: null, cause: null },
          ...{ ...open, toEarliest: null, ...bounds, endDerived: false, leads: false },
        },
        {
          ...{ fencingToken: '20', leader: 'orders-20', from: at(20n), to: at(30n), ...open },
          ...{ toEarliest: '2026-11-20T21:00:24.700Z', cause: 'lease_expired' },
          ...{ ...exactly(2), endDerived: true, leads: false },
        },
        {
          ...{ fencingToken: '10', leader: 'orders-10', from: at(10n), to: at(19n) },
          ...{ toEarliest: at(19n), cause: 'resigned', reason: 'why', actor: 'who', address: null },
          ...{ ...exactly(null), endDerived: false, leads: false },
        },
      ],
      verbs: [],
    });
    const newest = async (fake: FakeElections) => {
      const asked = await serve(fake, {}, { history: () => Promise.resolve(terms) });
      const answer = (await asked('/history')).body as unknown as HistoryAnswer;
      const status = (await asked('/status')).body as unknown as StatusAnswer;
      return [answer.terms[0], status.leaderlessAtMostMs];
    };
    // Nobody has succeeded it: whoever saw its end says what it saw, and that it leads no longer.
    const nobody = new FakeElections(['orders']);
    const [goneAt, aliveAt] = [nobody.nowMs - 2000, nobody.nowMs - 6000];
    nobody.know({ lastEnd: { token: token(30n), goneAt, aliveAt, cause: 'lease_expired' } });
    expect(await newest(nobody)).toMatchObject([
      {
        ...{ to: '2026-11-20T21:59:58.000Z', toEarliest: '2026-11-20T21:59:54.000Z' },
        ...{ cause: 'lease_expired', endDerived: true, leads: false },
      },
      6000,
    ]);
    // Who knows nothing does not say that it leads.
    const unknown = [{ to: null, cause: null, leads: null }, null];
    expect(await newest(new FakeElections(['orders']))).toMatchObject(unknown);
    const led = new FakeElections(['orders']);
    led.know({ candidates: [candidate('orders-30', 30n)] });
    expect(await newest(led)).toMatchObject([{ to: null, leads: true }, null]);
    const gaps = async (...records: TermRecord[]) => {
      const asked = await serve(leading(), {}, { history: () => Promise.resolve(records) });
      const answer = (await asked('/history')).body as unknown as HistoryAnswer;
      return [answer.terms[0]?.leaderlessAtLeastMs, answer.terms[0]?.leaderlessAtMostMs];
    };
    // It came back and said when it ended: that counts, also where etcd stood still and its key was seen for longer. What lies
    // between two terms may hide one that was never recorded: then it is only a bound.
    const measured = { leaderlessMs: 3, leaderlessAtMostMs: 5300 };
    const corrected = { to: at(26n), cause: 'etcd_unreachable' } as const;
    expect(await gaps(term(30n, measured), term(20n, corrected))).toEqual([4000, 4000]);
    const still = { ...measured, leaderlessAtMostMs: 3900.4 };
    expect(await gaps(term(30n, still), term(20n, { ...corrected, ttlMs: 3000 }))).toEqual([
      4000, 4000,
    ]);
    expect(await gaps(term(30n, still), term(20n, corrected))).toEqual([3, 4000]);
    expect(await gaps(term(30n, measured), term(20n, { to: at(22n) }))).toEqual([3, 8000]);
    // Whose key was taken away may have led on until it knew.
    const taken = { ...measured, endBefore: 'taken_away' } as const;
    expect(await gaps(term(30n, taken), term(20n, {}))).toEqual([0, 5300]);
    // A leader of an older version said only since when the key was gone.
    const older = term(30n, { leaderlessMs: 3 });
    expect(await gaps(older, term(20n, { ttlMs: 5000 }))).toEqual([3, 6003]);
    expect(await gaps(older, term(20n, { to: at(22n) }))).toEqual([3, 3]);
    const silent = () => Promise.reject(new Unreachable('no answer'));
    const away = await serve(leading(), {}, { history: silent });
    expect(await away('/history')).toMatchObject({
      status: 503,
      body: { code: 'etcd_unreachable' },
    });
  });
});
