// The client over real sockets, against a server that answers as the contract says: TCP and unix, the stream of events, a
// sidecar that goes away, comes back or falls silent, and the operator's verbs.
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { connect, operate, type Client, type ConnectOptions } from '../../src/sdk/client.ts';
import { SidecarRefused, SidecarUnreachable, UnusableAnswer } from '../../src/sdk/errors.ts';
import { EventReader } from '../../src/sdk/event-reader.ts';
import { eventually } from '../harness/wait.ts';
import { following, leading, refusal, StandInSidecar } from './sdk-stand-in.ts';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

async function sidecarAt(where: number | string = 0): Promise<StandInSidecar> {
  const sidecar = await StandInSidecar.start(where);
  ends.push(() => sidecar.stop().catch(() => undefined));
  return sidecar;
}

function clientOf(options: ConnectOptions): Client {
  const client = connect(options);
  ends.push(() => client.close());
  return client;
}

const soon = <Value>(what: string, check: () => Value | Promise<Value>) =>
  eventually(check, { withinMs: 10_000, what });

describe('connect', () => {
  test('leads when the sidecar says so, and is told of a change by push', async () => {
    const sidecar = await sidecarAt();
    sidecar.say(leading(7, 5000));
    const client = clientOf({ url: sidecar.url });
    expect(client.isLeader()).toBe(false);
    expect(await client.ready(5000)).toMatchObject({ isLeader: true, fencingToken: 7n });
    expect(client.leader()).toEqual({
      id: 'a',
      address: 'http://a:8080',
      fencingToken: 7n,
      since: '2026-11-20T21:00:00.000Z',
    });
    await soon('the stream', () => sidecar.streams === 1);
    const changed = new Promise((resolve) => client.onChange(resolve));
    sidecar.say(following('b', 8));
    expect(await changed).toMatchObject({ isLeader: false, leader: { id: 'b' } });
  });

  test('over a unix socket, for one election of several, with a token', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'electord-sdk-'));
    ends.push(() => rm(folder, { recursive: true, force: true }));
    const path = join(folder, 'local.sock');
    const sidecar = await sidecarAt(path);
    sidecar.say(leading(7, 5000));
    const client = clientOf({ url: `unix:${path}`, election: 'orders', token: 'sesame' });
    expect((await client.ready(5000)).isLeader).toBe(true);
    await soon('the stream', () => sidecar.streams === 1);
    expect(sidecar.received.map((one) => one.path)).toEqual(
      expect.arrayContaining(['/elections/orders/leader?hold=1000ms', '/events?election=orders']),
    );
    expect(new Set(sidecar.received.map((one) => one.authorization))).toEqual(
      new Set(['Bearer sesame']),
    );
  });

  test('survives the sidecar: not the leader while it is away, and again once it is back', async () => {
    const sidecar = await sidecarAt();
    sidecar.say(leading(7, 300));
    const client = clientOf({ url: sidecar.url });
    await client.ready(5000);
    const { port } = sidecar;
    await sidecar.stop();
    await soon('the end of the claim', () => !client.isLeader());
    const back = await sidecarAt(port);
    back.say(leading(9, 5000));
    await soon('the new claim', () => client.isLeader());
    expect(client.fencingToken()).toBe(9n);
    await soon('the new stream', () => back.streams === 1);
  });

  test('a sidecar that falls silent costs the claim when it runs out, and no question hangs for ever', async () => {
    const sidecar = await sidecarAt();
    sidecar.say(leading(7, 600));
    const client = clientOf({ url: sidecar.url });
    await client.ready(5000);
    sidecar.mute = true;
    await soon('the end of the claim', () => !client.isLeader());
    const before = sidecar.received.length;
    await soon('more questions', () => sidecar.received.length > before + 1);
    sidecar.mute = false;
    await soon('the claim', () => client.isLeader());
    expect(client.fencingToken()).toBe(7n);
  });

  test('ready rejects at once where the sidecar refuses', async () => {
    const sidecar = await sidecarAt();
    const client = clientOf({ url: sidecar.url, election: 'nonsense' });
    await expect(client.ready()).rejects.toMatchObject({
      name: 'SidecarRefused',
      code: 'not_found',
    });
  });

  test.each(['127.0.0.1:4041', 'ftp://a', 'unix:relative', 'http://me:secret@a', 'http://a?b'])(
    'an address that is none is refused at once: %s',
    (url) => {
      expect(() => connect({ url })).toThrow(expect.objectContaining({ code: 'unusable_option' }));
    },
  );

  test('a listener that throws costs no other one', async () => {
    const sidecar = await sidecarAt();
    const client = clientOf({ url: sidecar.url });
    const thrown = new Promise((resolve) => {
      const others = process.listeners('uncaughtException');
      process.removeAllListeners('uncaughtException');
      process.once('uncaughtException', (error) => {
        for (const other of others) process.on('uncaughtException', other);
        resolve(error);
      });
    });
    client.onChange(() => {
      throw new Error('a fault of the app');
    });
    const heard = new Promise((resolve) => client.onChange(resolve));
    sidecar.say(leading(7, 5000));
    expect(await thrown).toMatchObject({ message: 'a fault of the app' });
    expect(await heard).toMatchObject({ role: expect.any(String) as string });
  });
});

describe('operate', () => {
  async function operator(replies: Record<string, [number, object]>) {
    const sidecar = await sidecarAt();
    for (const [path, [status, body]] of Object.entries(replies)) {
      sidecar.replies.set(path, { status, body });
    }
    const operator = operate({ url: sidecar.url, token: 'sesame' });
    ends.push(() => operator.close());
    return { sidecar, operator };
  }
  const done = { election: 'orders', done: true, detail: 'b leads now', leader: null };

  test('sends the verbs as the contract has them', async () => {
    const replies = ['/step-down', '/switchover', '/pause', '/resume'].map((path) => [
      path,
      [200, done],
    ]);
    const { sidecar, operator: own } = await operator(
      Object.fromEntries(replies) as Record<string, [number, object]>,
    );
    expect(await own.stepDown({ reason: 'disk', notFor: '30s' })).toEqual(done);
    await own.switchover({ to: 'b' });
    await own.pause({ for: '10m' });
    await own.resume();
    expect(sidecar.received).toEqual([
      {
        method: 'POST',
        path: '/step-down',
        authorization: 'Bearer sesame',
        body: '{"reason":"disk","notFor":"30s"}',
      },
      { method: 'POST', path: '/switchover', authorization: 'Bearer sesame', body: '{"to":"b"}' },
      { method: 'POST', path: '/pause', authorization: 'Bearer sesame', body: '{"for":"10m"}' },
      { method: 'POST', path: '/resume', authorization: 'Bearer sesame', body: '{}' },
    ]);
  });

  test("a refusal carries the sidecar's own words; what is no sidecar is said to be none", async () => {
    const { operator: own } = await operator({
      '/switchover': [409, refusal(409, 'unknown_member', 'there is no member "z"')],
      '/pause': [200, ['nothing']],
    });
    const failure = await own.switchover({ to: 'z' }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(SidecarRefused);
    expect(failure).toMatchObject({ code: 'unknown_member', message: 'there is no member "z"' });
    await expect(own.pause()).rejects.toBeInstanceOf(UnusableAnswer);
  });

  test('nobody there is said with the address, and without the token', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    silent.close();
    await once(silent, 'close');
    const own = operate({ url: `http://127.0.0.1:${port}`, token: 'sesame' });
    const failure = await own.status().catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(SidecarUnreachable);
    expect(String(failure)).toContain(`http://127.0.0.1:${port}`);
    expect(String(failure)).not.toContain('sesame');
  });
});

describe('the stream of events', () => {
  const text =
    ': hello\n\nevent: leadership\r\nid: 5\r\ndata: {"a":\r\ndata: 1}\r\n\r\ndata:bare\n\n';
  const expected = [
    { name: 'leadership', id: '5', data: '{"a":\n1}' },
    { name: 'message', id: '5', data: 'bare' },
  ];

  test('is read however it was cut into pieces', () => {
    for (let cut = 0; cut <= text.length; cut += 1) {
      const reader = new EventReader();
      const events = [...reader.take(text.slice(0, cut)), ...reader.take(text.slice(cut))];
      expect(events, `cut at ${cut}`).toEqual(expected);
    }
    const one = new EventReader();
    expect(Array.from(text).flatMap((letter) => one.take(letter))).toEqual(expected);
  });

  test('an event that does not end is given up', () => {
    const reader = new EventReader();
    expect(() => reader.take(`data: ${'x'.repeat(70_000)}`)).toThrow(UnusableAnswer);
  });
});
