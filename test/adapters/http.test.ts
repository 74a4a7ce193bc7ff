// The HTTP interface on real sockets: every path, method and role of the contract with its status, headers and
// body. The expected values are written out by hand. Connections, limits and the drain: http-listen.test.ts.
import { request, type IncomingHttpHeaders } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { createFront } from '../../src/http/front.ts';
import { createEvents } from '../../src/http/events.ts';
import type { Inputs } from '../../src/http/inputs.ts';
import { listen, type Listening } from '../../src/http/listen.ts';
import { candidate, FakeElections, member, states } from './http-fake-elections.ts';

/** What the tests pick out of bodies; of a given body only some of it is there. */
interface Body {
  readonly status: unknown;
  readonly detail: string;
  readonly checks: Readonly<Record<string, { readonly ok: boolean; readonly detail: string }>>;
  readonly members: readonly Readonly<Record<string, unknown>>[];
  readonly elections: readonly unknown[];
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly body: Body;
}

const opened: Listening[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
});

const eventsFor = (elections: FakeElections): Inputs['events'] =>
  createEvents({ elections, clock: elections.clock, wallNow: () => 0 });

function inputsFor(elections: FakeElections, more: Partial<Inputs> = {}): Inputs {
  return {
    elections,
    clock: elections.clock,
    wallNow: () => Date.parse('2026-11-20T22:00:00.000Z') + (elections.nowMs - 1_000_000),
    started: { at: 990_000, wallMs: Date.parse('2026-11-20T21:59:50.000Z') },
    metrics: () => Promise.resolve({ contentType: 'text/plain; version=0.0.4', body: 'up 1\n' }),
    version: '9.9.9',
    pingKey: null,
    describe: () => ({ ttl: { value: '5s', source: 'default' } }),
    health: {
      loopDelayMs: () => 3,
      app: () => ({ configured: false, healthy: true, detail: 'no check' }),
    },
    events: eventsFor(elections),
    history: () => Promise.resolve([]),
    verbs: () => Promise.resolve([]),
    reportError: (error) => {
      throw error;
    },
    ...more,
  };
}

type Ask = (path: string, options?: { method?: string; headers?: object }) => Promise<Answer>;

async function serve(inputs: Inputs): Promise<Ask> {
  const listening = await listen(createFront(inputs), { host: '127.0.0.1', port: 0 });
  opened.push(listening);
  const { address } = listening;
  if (!('port' in address)) throw new Error('not a TCP address');
  return (path, { method = 'GET', headers = {} } = {}) =>
    new Promise((resolve, reject) => {
      const options = {
        host: '127.0.0.1',
        port: address.port,
        path,
        method,
        agent: false as const,
      };
      const sent = request({ ...options, headers: { ...headers } }, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (part: string) => (text += part));
        response.on('error', reject);
        response.on('end', () => {
          const isJson = /json/.test(response.headers['content-type'] ?? '') && text !== '';
          const body = (isJson ? JSON.parse(text) : null) as Body;
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text, body });
        });
      });
      sent.on('error', reject);
      sent.end();
    });
}

type State = keyof typeof states;

function electing(state: State, names: readonly string[] = ['orders']): FakeElections {
  const fake = new FakeElections(names);
  states[state](fake);
  return fake;
}

// The status of each path, by state: leader, follower, observer, leaderless (a follower), unknown.
const stateOrder: readonly State[] = ['leader', 'follower', 'observer', 'leaderless', 'unknown'];
const statuses: Record<string, readonly number[]> = {
  '/leader': [200, 503, 503, 503, 503],
  '/primary': [200, 503, 503, 503, 503],
  '/follower': [503, 200, 200, 503, 503],
  '/replica': [503, 200, 200, 503, 503],
  '/master': [200, 503, 503, 503, 503],
  '/read-write': [200, 503, 503, 503, 503],
  '/read-only': [200, 200, 200, 503, 503],
  '/liveness': [200, 200, 200, 200, 200],
  '/readiness': [200, 200, 200, 200, 503],
  '/cluster': [200, 200, 200, 200, 200],
  '/patroni': [200, 200, 200, 200, 200],
  '/health': [200, 200, 200, 200, 200],
  '/livez': [200, 200, 200, 200, 200],
  '/readyz': [200, 200, 200, 200, 503],
  '/status': [200, 200, 200, 200, 200],
  '/members': [200, 200, 200, 200, 200],
  '/history': [200, 200, 200, 200, 200],
  '/elections': [200, 200, 200, 200, 200],
  '/metrics': [200, 200, 200, 200, 200],
  '/': [200, 200, 200, 200, 200],
  '/nothing': [404, 404, 404, 404, 404],
  '/elections/orders/leader': [200, 503, 503, 503, 503],
  '/elections/orders/primary': [200, 503, 503, 503, 503],
  '/elections/orders/follower': [503, 200, 200, 503, 503],
  '/elections/orders/replica': [503, 200, 200, 503, 503],
  '/elections/orders/read-only': [200, 200, 200, 503, 503],
  '/elections/orders/cluster': [200, 200, 200, 200, 200],
  '/elections/orders/health': [200, 200, 200, 200, 200],
  '/elections/orders/status': [200, 200, 200, 200, 200],
  '/elections/orders/members': [200, 200, 200, 200, 200],
  '/elections/orders/livez': [404, 404, 404, 404, 404],
  '/elections/other/leader': [404, 404, 404, 404, 404],
};

describe('every path in every state', () => {
  it.each(stateOrder.map((state, column) => ({ state, column })))(
    'answers a $state as the contract says, to GET, HEAD and OPTIONS alike',
    async ({ state, column }) => {
      const ask = await serve(inputsFor(electing(state)));
      const role = state === 'leaderless' ? 'follower' : state;
      for (const [path, expected] of Object.entries(statuses)) {
        const get = await ask(path);
        const head = await ask(path, { method: 'HEAD' });
        const options = await ask(path, { method: 'OPTIONS' });
        for (const [method, answer] of Object.entries({ get, head, options })) {
          const seen = {
            status: answer.status,
            role: answer.headers['x-electord-role'],
            cache: answer.headers['cache-control'],
            signature: answer.headers['x-powered-by'],
            etag: answer.headers.etag,
          };
          expect({ path, method, ...seen }).toEqual({
            path,
            method,
            status: expected[column],
            role,
            cache: 'no-store',
            signature: undefined,
            etag: undefined,
          });
        }
        const lengths = [get, head, options].map(({ headers }) => headers['content-length']);
        const length = String(Buffer.byteLength(get.text));
        expect({ path, lengths, head: head.text, options: options.text }).toEqual({
          path,
          lengths: [length, length, '0'],
          head: '',
          options: '',
        });
      }
    },
  );

  it.each(['POST', 'PUT', 'PATCH', 'DELETE', 'TRACE', 'PROPFIND'])(
    'refuses %s on every known path with 405, and says what is allowed',
    async (method) => {
      const ask = await serve(inputsFor(electing('leader')));
      for (const [path, [status]] of Object.entries(statuses)) {
        const answer = await ask(path, { method });
        if (status === 404) {
          expect({ path, status: answer.status }).toEqual({ path, status: 404 });
          continue;
        }
        expect(answer.status, path).toBe(405);
        expect(answer.headers.allow).toBe('GET, HEAD, OPTIONS');
        expect(answer.headers['x-electord-role']).toBe('leader');
        expect(answer.headers['cache-control']).toBe('no-store');
        expect(answer.body).toMatchObject({ code: 'method_not_allowed', status: 405 });
      }
    },
  );
});

describe('/leader and /follower', () => {
  it('is the contract’s object for the leader', async () => {
    const ask = await serve(inputsFor(electing('leader')));
    const answer = await ask('/leader');
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(answer.body).toEqual({
      election: 'orders',
      id: 'orders-0',
      role: 'leader',
      isLeader: true,
      leader: {
        id: 'orders-0',
        address: 'http://orders-0:8080',
        fencingToken: '4711',
        since: '2026-11-20T21:00:00.000Z',
      },
      fencingToken: '4711',
      validForMs: 3120,
      observedAgeMs: 0,
    });
    expect((await ask('/follower')).body).toEqual(answer.body);
  });

  it('carries the normal body with 503 too, with a token beyond 2^53 exact', async () => {
    const fake = new FakeElections(['orders']);
    fake.know({
      candidates: [candidate('orders-1', 9007199254740993n, { since: null, address: null })],
    });
    fake.nowMs += 1234.6;
    const answer = await (await serve(inputsFor(fake)))('/leader');
    expect(answer.status).toBe(503);
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(answer.body).toEqual({
      election: 'orders',
      id: 'orders-0',
      role: 'follower',
      isLeader: false,
      leader: {
        id: 'orders-1',
        address: null,
        fencingToken: '9007199254740993',
        // Seen 1234.6 ms before the present wall time.
        since: '2026-11-20T22:00:00.000Z',
      },
      fencingToken: null,
      validForMs: 0,
      observedAgeMs: 1235,
    });
  });

  it('changes its mind by the clock alone: nothing is cached', async () => {
    const fake = electing('leader');
    const ask = await serve(inputsFor(fake));
    expect(await ask('/leader')).toMatchObject({ status: 200, body: { validForMs: 3120 } });
    fake.nowMs += 3119;
    expect(await ask('/leader')).toMatchObject({ status: 200, body: { validForMs: 1 } });
    // A part of a millisecond is left, and none is left.
    fake.nowMs += 1;
    expect(await ask('/leader')).toMatchObject({
      status: 503,
      headers: { 'x-electord-role': 'follower' },
      body: { role: 'follower', isLeader: false, leader: null, fencingToken: null },
    });
    fake.nowMs += 1;
    const after = await ask('/leader');
    expect(after).toMatchObject({
      status: 503,
      headers: { 'x-electord-role': 'follower' },
      body: { role: 'follower', leader: null, fencingToken: null, validForMs: 0 },
    });
    fake.nowMs += 5000;
    expect(await ask('/leader')).toMatchObject({
      status: 503,
      body: { role: 'unknown', leader: null },
    });
    fake.nowMs -= 8121;
    expect((await ask('/leader')).status).toBe(200);
  });

  it('tells the time that is left a little too short rather than too long', async () => {
    // The clock moves on between the report and the answer.
    const ask = async (state: State) => {
      const fake = electing(state);
      const clock = { now: () => fake.nowMs + 10 };
      return (await serve(inputsFor(fake, { clock })))('/leader');
    };
    expect(await ask('leader')).toMatchObject({ body: { validForMs: 3110 } });
    expect(await ask('follower')).toMatchObject({ body: { validForMs: 0 } });
  });

  it('sends readers to a follower of a leader that is leaving, and names nobody', async () => {
    const fake = electing('leaderless');
    const ask = await serve(inputsFor(fake));
    expect(await ask('/follower')).toMatchObject({ status: 503, body: { leader: null } });
    fake.know({ leaving: member('orders-1', 1n).id });
    expect(await ask('/follower')).toMatchObject({ status: 200, body: { leader: null } });
    expect((await ask('/leader')).status).toBe(503);
  });

  it('does not send readers to a follower that is not well', async () => {
    const fake = electing('follower');
    let healthy = true;
    const app = () => ({ configured: true, healthy, detail: 'connection refused' });
    const ask = await serve(inputsFor(fake, { health: { loopDelayMs: () => 0, app } }));
    expect((await ask('/follower')).status).toBe(200);
    healthy = false;
    expect(await ask('/follower')).toMatchObject({ status: 503, body: { role: 'follower' } });
  });
});

describe('health', () => {
  it('names what fails', async () => {
    const fake = electing('follower');
    let delayMs = 2499;
    let healthy = true;
    const health = {
      loopDelayMs: () => delayMs,
      app: () => ({ configured: true, healthy, detail: 'the check' }),
    };
    const ask = await serve(inputsFor(fake, { health }));
    const failing = async (): Promise<readonly unknown[]> => {
      const { status, body } = await ask('/health');
      const checks = Object.entries(body.checks);
      const failed = checks.filter(([, { ok }]) => !ok).map(([name]) => name);
      return [status, body.status, ...failed];
    };
    expect(await failing()).toEqual([200, 'ok']);
    fake.nowMs += 4999;
    expect(await failing()).toEqual([200, 'ok']);
    fake.nowMs += 1;
    expect(await failing()).toEqual([503, 'failing', 'etcd']);
    delayMs = 2500;
    expect(await failing()).toEqual([503, 'failing', 'etcd', 'eventLoop']);
    fake.contactAt = null;
    healthy = false;
    expect(await failing()).toEqual([503, 'failing', 'etcd', 'app', 'eventLoop']);
    expect(await ask('/livez')).toMatchObject({ status: 200, body: { status: 'ok', checks: {} } });
  });

  it('says of an app that nobody checks just that, and so does the status', async () => {
    const ask = await serve(inputsFor(electing('follower')));
    const { status, body } = await ask('/health');
    expect(status).toBe(200);
    expect(body.checks['app']).toEqual({ ok: true, detail: 'no check' });
    const app = { checked: false, healthy: true, detail: 'no check' };
    expect((await ask('/status')).body).toMatchObject({ app });
  });

  it('is not ready while stopping, nor while one of many elections is unknown', async () => {
    const fake = electing('leader', ['orders', 'bills']);
    const ask = await serve(inputsFor(fake));
    const unready = await ask('/readyz');
    expect(unready.status).toBe(503);
    expect(unready.body.checks['elections']).toMatchObject({ ok: false });
    expect(unready.body.checks['elections']?.detail).toContain('bills');
    fake.know({}, 'bills');
    expect((await ask('/readyz')).status).toBe(200);
    fake.stopping = true;
    expect((await ask('/readyz')).body.checks['running']).toEqual({
      ok: false,
      detail: 'stopping',
    });
  });
});

describe('/status and /members', () => {
  it('tells all that one wants to know of an instance', async () => {
    const fake = electing('leader');
    fake.held = { leaseId: '1267' as never, ttlMs: 5000, remainingMs: 3120.9 };
    fake.nowMs += 250;
    const { body } = await (await serve(inputsFor(fake)))('/status');
    expect(body).toMatchObject({
      election: 'orders',
      role: 'leader',
      obstacle: null,
      steppingDown: false,
      stopping: false,
      ttlMs: 5000,
      lease: { id: '1267', ttlMs: 5000, remainingMs: 3120 },
      etcd: { contactAgeMs: 250 },
      control: null,
      version: '9.9.9',
      startedAt: '2026-11-20T21:59:50.000Z',
      uptimeMs: 10_250,
      settings: { ttl: { value: '5s', source: 'default' } },
    });
  });

  it('joins the queue with the members, and lists foreign candidates and observers', async () => {
    const fake = new FakeElections(['orders']);
    fake.held = { leaseId: 'd' as never, ttlMs: 5000, remainingMs: 5000 };
    const foreign = { native: false, address: null, url: null, since: null };
    fake.know({
      candidates: [
        candidate('from-go', 9n, foreign),
        candidate('orders-0', 13n),
        candidate('orders-0', 12n),
      ],
      members: [
        member('orders-2', 99n, { healthy: false, priority: -1 }),
        member('orders-0', 13n, { priority: 3, checked: false }),
      ],
    });
    const { body } = await (await serve(inputsFor(fake)))('/members');
    const rows = body.members.map((one) => [
      one['id'],
      one['role'],
      one['place'],
      one['fencingToken'],
      one['leaseId'],
      one['native'],
      one['self'],
      one['healthy'],
      one['version'],
      one['priority'],
    ]);
    expect(body.members.map((one) => one['checked'])).toEqual([null, null, false, true]);
    expect(rows).toEqual([
      ['from-go', 'leader', 1, '9', '9', false, false, true, null, 0],
      // The key of a process before this one, waiting for its lease to expire.
      ['orders-0', 'candidate', 2, '12', 'c', true, false, true, null, 0],
      ['orders-0', 'candidate', 3, '13', 'd', true, true, true, '9.9.9', 3],
      ['orders-2', 'observer', null, null, '63', true, false, false, '9.9.9', -1],
    ]);
    expect(body).toMatchObject({ election: 'orders', observedAgeMs: 0 });
  });
});

describe('many elections', () => {
  const both = (): FakeElections => electing('leader', ['orders', 'bills']);

  it('serves the long forms, and refuses the short ones with the names', async () => {
    const fake = both();
    fake.know({ candidates: [candidate('x', 7n)] }, 'bills');
    const ask = await serve(inputsFor(fake));
    const orders = await ask('/elections/orders/leader');
    expect(orders).toMatchObject({ status: 200, body: { election: 'orders' } });
    const bills = await ask('/elections/bills/leader');
    expect(bills).toMatchObject({ status: 503, body: { election: 'bills', leader: { id: 'x' } } });
    expect(bills.headers['x-electord-role']).toBe('follower');
    for (const path of [
      '/leader',
      '/primary',
      '/follower',
      '/replica',
      '/read-only',
      '/cluster',
      '/status',
      '/members',
      '/',
    ]) {
      const answer = await ask(path);
      expect(answer, path).toMatchObject({
        status: 404,
        body: { code: 'election_required', elections: ['orders', 'bills'] },
      });
      expect(answer.body.detail).toContain('orders, bills');
      expect(answer.headers['x-electord-role']).toBe('leader');
    }
    // These speak of the process: a probe works however many elections there are.
    for (const path of ['/health', '/livez', '/metrics', '/elections']) {
      expect((await ask(path)).status, path).toBe(200);
    }
    const { body } = await ask('/elections');
    expect(body.elections).toEqual([orders.body, bills.body]);
  });

  it('says for the whole instance: leader, else follower, else observer, else unknown', async () => {
    const fake = new FakeElections(['a', 'b', 'c']);
    const ask = await serve(inputsFor(fake));
    const role = async () => (await ask('/livez')).headers['x-electord-role'];
    expect(await role()).toBe('unknown');
    fake.know({ obstacle: 'paused' }, 'b');
    expect(await role()).toBe('observer');
    fake.know({}, 'c');
    expect(await role()).toBe('follower');
    fake.know(
      { candidates: [candidate('orders-0', 1n)], claimUntil: 2_000_000, obstacle: null },
      'b',
    );
    expect(await role()).toBe('leader');
  });

  it('takes names with every character that is allowed, percent-encoded or not', async () => {
    const fake = new FakeElections(['A.b_c-9..', '-', '_.', 'x'.repeat(128)]);
    const ask = await serve(inputsFor(fake));
    for (const name of fake.names) {
      for (const written of [name, Buffer.from(name).toString('hex').replaceAll(/../g, '%$&')]) {
        const answer = await ask(`/elections/${written}/leader`);
        expect(answer).toMatchObject({ status: 503, body: { election: name } });
      }
    }
    for (const wrong of [
      'a.b_c-9..',
      'A.b_c-9..%2F',
      '%00',
      '__proto__',
      'constructor',
      '%C3%A9',
    ]) {
      const answer = await ask(`/elections/${wrong}/leader`);
      expect(answer, wrong).toMatchObject({ status: 404, body: { code: 'unknown_election' } });
    }
  });
});

describe('problems', () => {
  it('have the shape of RFC 9457', async () => {
    const ask = await serve(inputsFor(electing('leader')));
    const cases: readonly (readonly [string, string, number, string])[] = [
      ['GET', '/nothing', 404, 'not_found'],
      ['GET', '/LEADER', 404, 'not_found'],
      ['GET', '/elections/orders', 404, 'not_found'],
      ['GET', '/elections/other/leader', 404, 'unknown_election'],
      ['POST', '/leader', 405, 'method_not_allowed'],
      ['GET', '/%zz', 400, 'malformed_request'],
      ['GET', '/elections/%E0%A4%A/leader', 400, 'malformed_request'],
    ];
    for (const [method, path, status, code] of cases) {
      const answer = await ask(path, { method });
      expect(answer.status, path).toBe(status);
      expect(answer.headers['content-type']).toBe('application/problem+json');
      expect(answer.headers['cache-control']).toBe('no-store');
      expect(answer.headers['x-electord-role']).toBe('leader');
      expect(answer.body).toEqual({
        type: `urn:electord:problem:${code}`,
        title: expect.stringMatching(/\w/) as string,
        status,
        code,
        detail: expect.stringMatching(/\w/) as string,
      });
    }
  });

  it('turn a failure of ours into a 500 that tells nothing, and report it', async () => {
    const fake = electing('leader');
    const reported: unknown[] = [];
    const metrics = () => Promise.reject(new Error('secret of the scrape'));
    const reportError = (error: unknown) => void reported.push(error);
    const ask = await serve(inputsFor(fake, { reportError, metrics }));
    const scrape = await ask('/metrics');
    expect(scrape).toMatchObject({ status: 500, body: { code: 'internal_error' } });
    expect(scrape.headers['x-electord-role']).toBe('leader');
    fake.failing = new Error('secret of the report');
    const answer = await ask('/leader');
    expect(answer).toMatchObject({ status: 500, body: { code: 'internal_error' } });
    expect(answer.headers['x-electord-role']).toBe('unknown');
    expect(scrape.text + answer.text).not.toMatch(/secret|stack|\.ts/);
    expect(reported.map((error) => (error as Error).message)).toEqual([
      'secret of the scrape',
      'secret of the report',
    ]);
  });
});

describe('/', () => {
  it('gives programs the name of the leader, or an empty one', async () => {
    const fake = electing('follower');
    const ask = await serve(inputsFor(fake));
    for (const accept of [
      undefined,
      '*/*',
      'application/json',
      'application/json, text/html;q=0.5',
    ]) {
      const answer = await ask('/', accept === undefined ? {} : { headers: { accept } });
      expect(answer.text).toBe('{"name":"orders-1"}');
    }
    fake.nowMs += 5000;
    expect((await ask('/')).text).toBe('{"name":""}');
  });
});
