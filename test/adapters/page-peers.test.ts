// How a sidecar asks the others for its status pages: on real sockets, before members that answer, hang, lie, or are not
// what they say. And what the page is allowed to do in a browser.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { PeerWatch, type PeerLimits } from '../../src/peers/watch.ts';
import { leaderAddress } from '../../src/peers/address.ts';
import { extended, overlap, type ClaimSpan } from '../../src/peers/claims.ts';
import { Names } from '../../src/peers/names.ts';
import { judged, read } from '../../src/peers/question.ts';
import type { PeerOnWire, PeersFrame } from '../../src/page/wire.ts';
import { makeCertificates } from '../harness/certificates.ts';
import { eventually } from '../harness/wait.ts';
import { candidate, FakeElections, member } from './http-fake-elections.ts';
import { EventClient, inputsOf, localOf, serveOn, type Served } from './http-serving.ts';

const soonMs = 20_000;
const ends: (() => unknown)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

type Answers = (request: IncomingMessage, response: ServerResponse) => void;

async function listening(server: Server, scheme: string): Promise<string> {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  ends.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const serveMember = (answers: Answers): Promise<string> => listening(createServer(answers), 'http');

const says = (id: string, more: Readonly<Record<string, unknown>> = {}): Answers => {
  const body = { election: 'orders', id, role: 'follower', fencingToken: null, validForMs: 0 };
  const whole = JSON.stringify({ ...body, observedAgeMs: 5, ...more });
  return (_request, response) => response.writeHead(503).end(whole);
};

const claims = (id: string, fencingToken: string): Answers =>
  says(id, { role: 'leader', fencingToken, validForMs: 3000 });

interface Watching {
  readonly served: Served;
  readonly client: EventClient;
  readonly last: () => PeersFrame | undefined;
}

const onMonotonicTime = { now: () => performance.now() };

/** A sidecar `me` with these members, and one page that looks at it. */
async function watching(
  urls: Readonly<Record<string, string | null>>,
  limits: Partial<PeerLimits> = {},
): Promise<Watching> {
  const fake = new FakeElections(['orders'], 'me');
  const members = Object.entries(urls).map(([id, url], index) =>
    member(id, BigInt(index + 2), { url }),
  );
  fake.know({ members: [member('me', 1n), ...members] });
  const watch = new PeerWatch(
    { elections: fake, clock: onMonotonicTime, wallNow: () => Date.now() },
    limits,
  );
  const served = await serveOn(inputsOf(fake, { peers: watch }));
  ends.push(async () => {
    watch.close();
    await served.listening.close();
  });
  const client = new EventClient(served.port, '/peers?election=orders');
  ends.push(() => client.socket.destroy());
  const last = (): PeersFrame | undefined =>
    client.events.filter(({ event }) => event === 'peers').at(-1)?.data as PeersFrame | undefined;
  return { served, client, last };
}

async function peerThat(
  { last }: Watching,
  id: string,
  is: (peer: PeerOnWire) => boolean,
): Promise<PeerOnWire> {
  const find = (): PeerOnWire | undefined =>
    last()?.peers.find((peer) => peer.id === id && is(peer));
  return eventually(find, { withinMs: soonMs, what: `the awaited state of ${id}` });
}

describe('a member', () => {
  it('answers, with its role, its claim and the age of what it knows', async () => {
    const url = await serveMember(claims('a', '41'));
    const watched = await watching({ a: url });
    const a = await peerThat(watched, 'a', ({ state }) => state === 'answers');
    expect(a).toMatchObject({ role: 'leader', url, detail: null, silentForMs: 0 });
    expect(a.claim?.fencingToken).toBe('41');
    expect(a.claim?.remainingMs).toBeLessThanOrEqual(3000);
    expect((await peerThat(watched, 'me', () => true)).state).toBe('self');
    expect(watched.client.received).toContain('event: tick');
  });

  it('is silent when it hangs or is gone, and answers again', async () => {
    let hangs = false;
    const url = await serveMember((request, response) => {
      if (!hangs) says('a')(request, response);
    });
    const gone = 'http://127.0.0.1:1';
    const watched = await watching({ a: url, b: gone });
    expect((await peerThat(watched, 'b', ({ state }) => state === 'silent')).detail).toMatch(
      /nothing listens/,
    );
    await peerThat(watched, 'a', ({ state }) => state === 'answers');
    hangs = true;
    const silent = await peerThat(watched, 'a', ({ silentForMs }) => silentForMs > 400);
    expect(silent).toMatchObject({ state: 'silent', detail: 'no answer within 250 ms' });
    hangs = false;
    await peerThat(watched, 'a', ({ state }) => state === 'answers');
  });

  it('that is not what it says, or cannot be verified, is no member that is dead', async () => {
    const certificates = await makeCertificates();
    ends.push(() => certificates.remove());
    const { server } = certificates;
    const secure = createSecureServer({ cert: server.cert, key: server.key }, says('tls'));
    let leaked = 0;
    const trap = await serveMember(() => (leaked += 1));
    const watched = await watching({
      none: null,
      file: 'file:///etc/passwd',
      password: trap.replace('//', '//user:secret@'),
      tls: await listening(secure, 'https'),
      redirect: await serveMember((_request, response) =>
        response.writeHead(302, { location: `${trap}/elections/orders/leader` }).end(),
      ),
      large: await serveMember((_request, response) => response.end('x'.repeat(1_000_000))),
      other: await serveMember(says('somebody')),
      page: await serveMember((_request, response) => response.end('<h1>hello</h1>')),
    });
    const details: Record<string, string | null> = {};
    const ids = ['none', 'file', 'password', 'tls', 'redirect', 'large', 'other', 'page'];
    for (const id of ids) {
      const peer = await peerThat(watched, id, ({ state }) => state === 'cannot_be_asked');
      details[id] = peer.detail;
    }
    expect(details).toEqual({
      none: 'it gives no url',
      file: 'its url is neither http nor https',
      password: 'its url holds a password, which is not sent',
      tls: 'its certificate cannot be verified here',
      redirect: 'it answers with 302',
      large: 'its answer is too long',
      other: 'another instance answers at its url',
      page: 'something answers there that is not a sidecar of this election',
    });
    expect(leaked).toBe(0);
  });

  it('is asked for nothing but /leader, without credentials, and only while a page is open', async () => {
    const seen: IncomingMessage[] = [];
    const url = await serveMember((request, response) => {
      seen.push(request);
      says('a')(request, response);
    });
    const watched = await watching({ a: url });
    await peerThat(watched, 'a', ({ state }) => state === 'answers');
    const second = new EventClient(watched.served.port, '/peers');
    await eventually(() => second.received.includes('event: tick'), {
      withinMs: soonMs,
      what: 'a second page',
    });
    for (const { url: path, method, headers } of seen) {
      expect([method, path]).toEqual(['GET', '/elections/orders/leader']);
      expect(Object.keys(headers).sort()).toEqual(['accept', 'connection', 'host']);
    }
    watched.client.socket.destroy();
    second.socket.destroy();
    // The connections of the questions are closed with the last page.
    await eventually(() => seen.every(({ socket }) => socket.destroyed), {
      withinMs: soonMs,
      what: 'nobody to be asked',
    });
  });

  it('is not asked for a page that waits behind another answer, and then is gone', async () => {
    let asked = 0;
    const url = await serveMember((request, response) => {
      asked += 1;
      says('a')(request, response);
    });
    const watched = await watching({ a: url }, { pages: 2 });
    await peerThat(watched, 'a', ({ state }) => state === 'answers');
    const before = watched.client.events.length;
    const twoInOne = new EventClient(watched.served.port, '/events');
    twoInOne.socket.write('GET /peers?election=orders HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
    await eventually(() => twoInOne.received.includes('event: leadership'), {
      withinMs: soonMs,
      what: 'the first of two answers',
    });
    twoInOne.socket.destroy();
    await eventually(() => watched.client.events.length > before + 10, {
      withinMs: soonMs,
      what: 'more rounds',
    });
    const next = new EventClient(watched.served.port, '/peers?election=orders');
    await eventually(() => next.received.includes('event: tick'), {
      withinMs: soonMs,
      what: 'a page in the place of the one that is gone',
    });
    expect(asked).toBeGreaterThan(0);
    next.socket.destroy();
  });

  it('is not asked more often by pages that come and go', async () => {
    let asked = 0;
    const url = await serveMember((request, response) => {
      asked += 1;
      says('a')(request, response);
    });
    const watched = await watching({ a: url }, { askEveryMs: 60_000 });
    await peerThat(watched, 'a', ({ state }) => state === 'answers');
    for (let time = 0; time < 5; time += 1) {
      const page = new EventClient(watched.served.port, '/peers?election=orders');
      const frame = await eventually(() => page.events.find(({ event }) => event === 'peers'), {
        withinMs: soonMs,
        what: 'what is known',
      });
      expect((frame.data as unknown as PeersFrame).peers.length).toBe(2);
      page.socket.destroy();
    }
    expect(asked).toBe(1);
  });

  it('is told of on one stream with the changes of leadership, for several elections at once', async () => {
    const fake = new FakeElections(['orders', 'bills', 'rest'], 'me');
    for (const name of ['orders', 'bills', 'rest'])
      fake.know({ members: [member('me', 1n)] }, name);
    const clock = onMonotonicTime;
    const watch = new PeerWatch({ elections: fake, clock, wallNow: () => Date.now() });
    const served = await serveOn(inputsOf(fake, { peers: watch }));
    const client = new EventClient(served.port, '/peers?election=orders&election=bills');
    ends.push(async () => {
      client.socket.destroy();
      watch.close();
      await served.listening.close();
    });
    const of = (kind: string): string[] =>
      client.events
        .filter(({ event }) => event === kind)
        .map(({ data }) => String((data as { election?: unknown }).election));
    // Not only at its beginning.
    const again = (election: string): boolean =>
      of('peers').filter((each) => each === election).length >= 2;
    const both = (): boolean => again('orders') && again('bills');
    await eventually(both, { withinMs: soonMs, what: 'both, and again' });
    expect([...new Set(of('peers'))].sort()).toEqual(['bills', 'orders']);
    // The list of all wants changes of those, too, that nobody looks at.
    expect(of('leadership')).toEqual([]);
    fake.know({ candidates: [candidate('a', 5n)] }, 'rest');
    fake.emitChange('elected', 'rest');
    await eventually(() => of('leadership').includes('rest'), { withinMs: soonMs, what: 'news' });
    const many = Array.from({ length: 33 }, (_, index) => `election=${index}`).join('&');
    expect((await served.ask(`/peers?${many}`)).status).toBe(400);
  });

  it('is asked up to a bound, whose rest is counted; so are pages', async () => {
    const urls = Object.fromEntries(
      await Promise.all(
        ['a', 'b', 'c'].map(async (id) => [id, await serveMember(says(id))] as const),
      ),
    );
    const watched = await watching(urls, { members: 2, pages: 1 });
    const frame = await eventually(() => watched.last(), { withinMs: soonMs, what: 'a frame' });
    expect(frame.peers.length).toBe(2);
    expect(frame.notAsked).toBe(2);
    const refused = await watched.served.ask('/peers');
    expect([refused.status, refused.body['code']]).toEqual([503, 'too_many_clients']);
    expect((await watched.served.ask('/peers?election=none')).status).toBe(404);
  });
});

describe('two claims', () => {
  const span = (id: string, from: number, to: number): ClaimSpan => ({
    id,
    fencingToken: `token of ${id}`,
    from,
    to,
  });

  it('are told only where both were seen at one moment', () => {
    expect(overlap([span('a', 100, 400), span('b', 300, 600)])).toEqual({
      ids: ['a', 'b'],
      until: 400,
    });
    // One ended before the other began, as in a hand-over; or was asked but once.
    expect(overlap([span('a', 100, 400), span('b', 400, 600)])).toBeNull();
    expect(overlap([span('a', 100, 400), span('b', 210, 200)])).toBeNull();
    expect(overlap([])).toBeNull();
  });

  it('count from the end of the first answer to the beginning of the last question', () => {
    const first = extended(null, 'a', '5', { sentAt: 10, receivedAt: 20 });
    const second = extended(first, 'a', '5', { sentAt: 30, receivedAt: 45 });
    expect(second).toEqual({ id: 'a', fencingToken: '5', from: 20, to: 30 });
    expect(extended(second, 'a', '6', { sentAt: 50, receivedAt: 60 })?.from).toBe(60);
    expect(extended(second, 'a', null, { sentAt: 50, receivedAt: 60 })).toBeNull();
  });

  it('reach the page', async () => {
    const [a, b] = await Promise.all([
      serveMember(claims('a', '41')),
      serveMember(claims('b', '42')),
    ]);
    const watched = await watching({ a, b });
    const found = await eventually(() => watched.last()?.twoClaims, {
      withinMs: soonMs,
      what: 'two claims at once',
    });
    expect(found).toEqual(['a', 'b']);
  });
});

describe('an address or an answer from outside', () => {
  it('is taken apart before it is used', () => {
    const of = (url: string): string => {
      const address = leaderAddress(url, 'a.b');
      return address.kind === 'askable' ? address.url.href : address.why;
    };
    expect(of('https://h:1/base/?q=1#x')).toBe('https://h:1/base/elections/a.b/leader');
    expect(of('gopher://h')).toBe('its url is neither http nor https');
    expect(of('nonsense')).toBe('its url cannot be read');
    expect(of(`http://${'h'.repeat(3000)}`)).toBe('its url cannot be read');
  });

  it('is judged field by field', () => {
    const good = { election: 'e', id: 'a', role: 'leader', fencingToken: '7', validForMs: 9 };
    expect(read(JSON.stringify(good), 'e', 'a')).toMatchObject({
      fencingToken: '7',
      validForMs: 9,
    });
    const bad = { ...good, fencingToken: '<img>', validForMs: -1, observedAgeMs: 'x' };
    expect(read(JSON.stringify(bad), 'e', 'a')).toEqual({
      role: 'leader',
      heldForMs: 0,
      fencingToken: null,
      validForMs: 0,
      observedAgeMs: null,
    });
    for (const text of ['null', '[]', '{', JSON.stringify({ ...good, role: 'king' })]) {
      expect(read(text, 'e', 'a')).toMatch(/not a sidecar/);
    }
  });

  it('has its name resolved once for all who wait, two names at a time', () => {
    const resolving: { name: string; answer: (address: string) => void }[] = [];
    const names = new Names((name, _options, callback) => {
      resolving.push({ name, answer: (address) => callback(null, address, 4) });
    });
    const told: string[] = [];
    const wants = (name: string): void =>
      names.lookup(name, {}, (error) => told.push(`${name} ${error?.code ?? 'found'}`));
    for (const name of ['a', 'b', 'c', 'a']) wants(name);
    expect(resolving.map(({ name }) => name)).toEqual(['a', 'b']);
    expect([names.isWaiting('c'), names.isWaiting('d')]).toEqual([true, false]);
    resolving[0]!.answer('10.0.0.1');
    expect(told).toEqual(['a found', 'a found']);
    expect(resolving.map(({ name }) => name)).toEqual(['a', 'b', 'c']);
    // A name server that is silent: what waits for it is bounded, whatever is asked.
    for (let n = 0; n < 1000; n += 1) wants(`n${n % 600}`);
    for (let n = 0; n < 1000; n += 1) wants('b');
    expect(resolving.length).toBe(3);
    expect(told.filter((each) => each.endsWith('EAI_AGAIN')).length).toBeGreaterThan(1000);
    expect(told.length).toBeLessThan(1500);
  });

  it('fails in words', () => {
    const of = (code: string): string => {
      const outcome = judged(Object.assign(new Error(code), { code }));
      return outcome.kind === 'answered' ? '' : `${outcome.kind}: ${outcome.why}`;
    };
    expect(of('EHOSTUNREACH')).toBe('silent: there is no way to its host');
    expect(of('ENOTFOUND')).toBe('unaskable: the name in its url cannot be resolved here');
    expect(of('CERT_HAS_EXPIRED')).toBe('unaskable: its certificate cannot be verified here');
    expect(of('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED')).toMatch(/wants a client certificate/);
    expect(of('HPE_INVALID_CONSTANT')).toBe('unaskable: it does not speak HTTP');
  });
});

const accept = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';

describe('the page', () => {
  const hostile = `"><script>alert('x')</script>&`;

  async function pageOf(local: boolean) {
    const fake = new FakeElections(['orders'], `<b>"me"`);
    fake.know({ candidates: [candidate('<img src=x>', 5n, { address: hostile })] });
    const served = await serveOn(inputsOf(fake), local ? localOf() : null);
    ends.push(() => served.listening.close());
    return served.ask('/', { headers: { accept } });
  }

  it('may run its own script and style, and nothing else', async () => {
    const { headers, text } = await pageOf(false);
    const policy = String(headers['content-security-policy']);
    expect(policy).toMatch(
      /^default-src 'none'; style-src 'sha256-[^']+'; script-src 'sha256-[^']+'/,
    );
    for (const rest of [
      `connect-src 'self'`,
      `base-uri 'none'`,
      `form-action 'none'`,
      `frame-ancestors 'none'`,
      `worker-src 'self'`,
      `trusted-types electord-worker`,
    ]) {
      expect(policy).toContain(rest);
    }
    expect(policy).not.toContain('unsafe');
    expect(headers).toMatchObject({
      'cache-control': 'no-store',
      'content-type': 'text/html; charset=utf-8',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
    });
    expect(Buffer.byteLength(text)).toBeLessThan(60_000);
  });

  it('has everything from outside escaped, and one script', async () => {
    const { text } = await pageOf(false);
    expect(text).toContain('&lt;img src=x&gt;');
    expect(text).toContain('&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;');
    expect(text.match(/<script/g)).toEqual(['<script']);
    expect(text).not.toMatch(/<img|<b>|src=["']?http|href=["']?http/);
  });

  it('has the code of the verbs on the local listener only', async () => {
    const [shown, local] = [await pageOf(false), await pageOf(true)];
    expect(local.text).toMatch(/Authorization/);
    expect(shown.text).not.toMatch(/Authorization|verb-reason/);
    expect(Buffer.byteLength(local.text)).toBeLessThan(60_000);
  });

  it('gets all about the election that it looks at in one answer, and about no other', async () => {
    const fake = new FakeElections(['orders', 'bills'], 'me');
    fake.know({ candidates: [candidate('a', 5n)] });
    const served = await serveOn(inputsOf(fake));
    ends.push(() => served.listening.close());
    expect((await served.ask('/overview')).body['details']).toBeNull();
    const { body } = await served.ask('/overview?election=orders');
    expect(body['details']).toMatchObject({
      status: { election: 'orders', role: 'follower', leader: { id: 'a' } },
      members: { election: 'orders', members: [{ id: 'a' }] },
    });
    // It was there before a restart: the page has to learn which ones are, to look at another.
    const gone = await served.ask('/overview?election=gone');
    expect(gone.body).toMatchObject({ details: null, elections: body['elections'] as object });
  });

  it('has a worker of its own, which may ask its sidecar and do nothing else', async () => {
    const served = await serveOn(inputsOf(new FakeElections(['orders'], 'me')));
    ends.push(() => served.listening.close());
    const { headers, text } = await served.ask('/worker.js');
    expect(headers).toMatchObject({
      'content-type': 'text/javascript; charset=utf-8',
      'content-security-policy': "default-src 'none'; connect-src 'self'",
    });
    expect(text).toMatch(/EventSource/);
    expect(text).not.toMatch(/Authorization|^export/m);
  });

  it('gets a short row for every election', async () => {
    const fake = new FakeElections(['orders', 'bills'], 'me');
    fake.know({ candidates: [candidate('a', 5n)] });
    const control = { paused: true, reason: null, by: null, until: null } as const;
    fake.know({ control, obstacle: 'paused' }, 'bills');
    const served = await serveOn(inputsOf(fake));
    ends.push(() => served.listening.close());
    const { body } = await served.ask('/overview');
    expect(body).toMatchObject({ id: 'me', version: '9.9.9', health: { status: 'ok' } });
    expect(body['elections']).toEqual([
      {
        election: 'orders',
        role: 'follower',
        obstacle: null,
        leader: { id: 'a', fencingToken: '5', since: '2026-11-20T21:00:00.000Z' },
        candidates: 1,
        paused: false,
      },
      {
        election: 'bills',
        role: 'observer',
        obstacle: 'paused',
        leader: null,
        candidates: 0,
        paused: true,
      },
    ]);
  });
});
