// Health by gRPC, on a real socket, with a stock client: each answer as of the moment of asking, watching, bounds, and the end.
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { service as stockService } from 'grpc-health-check';
import { afterEach, expect, test } from 'vitest';
import { serveHealth, type HealthServing } from '../../src/grpc-health/serve.ts';
import { healthService, servingStatus } from '../../src/grpc-health/service.ts';
import { bindAll } from '../../src/http/listen.ts';
import { servingOf } from '../../src/http/serving.ts';
import { grpcHealth, type GrpcHealth } from '../harness/grpc-health.ts';
import { eventually } from '../harness/wait.ts';
import { candidate, FakeElections, states } from './http-fake-elections.ts';
import { inputsOf } from './http-serving.ts';

const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

interface Served {
  readonly serving: HealthServing;
  readonly client: GrpcHealth;
  readonly reported: unknown[];
}

async function serve(fake: FakeElections, maxConnections = 16): Promise<Served> {
  const reported: unknown[] = [];
  const serving = await serveHealth({
    isServing: servingOf(inputsOf(fake)),
    onChange: (changed) => fake.subscribe(changed),
    bind: (server) => bindAll(server, { host: '127.0.0.1', port: 0 }),
    tls: null,
    maxConnections,
    reportError: (error) => reported.push(error),
  });
  const client = grpcHealth(serving.address.port);
  open.push(() => serving.close());
  open.push(() => client.close());
  return { serving, client, reported };
}

const leading = (): FakeElections => {
  const fake = new FakeElections(['orders']);
  states.leader(fake);
  return fake;
};

test('every message is written and read as by the stock definition', () => {
  const { Check: check, Watch: watch } = stockService;
  for (const [own, stock] of [
    [healthService.check, check],
    [healthService.watch, watch],
  ] as const) {
    const { path, requestStream, responseStream } = stock!;
    expect(own).toMatchObject({ path, requestStream, responseStream });
    for (const name of ['', 'orders', 'ü'.repeat(64)]) {
      const request = { service: name };
      expect(own.requestDeserialize(stock!.requestSerialize(request))).toEqual(request);
      expect(stock!.requestDeserialize(own.requestSerialize(request))).toEqual(request);
    }
    for (const [name, value] of Object.entries(servingStatus)) {
      expect(stock!.responseDeserialize(own.responseSerialize(value))).toEqual({ status: name });
      expect(own.responseDeserialize(stock!.responseSerialize({ status: name }))).toBe(value);
    }
    // A newer client may send more fields.
    const more = Buffer.concat([
      own.requestSerialize({ service: 'orders' }),
      Buffer.from([0x10, 0x07]),
    ]);
    expect(own.requestDeserialize(more)).toEqual({ service: 'orders' });
  }
});

test('ready, leader, follower and the name of the election, each as its path; others are not found', async () => {
  const fake = new FakeElections(['orders']);
  const { client } = await serve(fake);
  const all = async (): Promise<readonly string[]> =>
    Promise.all(['', 'ready', 'leader', 'follower', 'orders'].map((name) => client.check(name)));
  const [yes, no] = ['SERVING', 'NOT_SERVING'];
  expect(await all()).toEqual([no, no, no, no, no]);
  states.leader(fake);
  expect(await all()).toEqual([yes, yes, yes, no, yes]);
  states.follower(fake);
  expect(await all()).toEqual([yes, yes, no, yes, no]);
  fake.stopping = true;
  expect(await all()).toEqual([no, no, no, yes, no]);
  expect(await client.check('invoices')).toBe('NOT_FOUND');
  expect(await client.check('__proto__')).toBe('NOT_FOUND');
});

test('with several elections each is asked by its name only', async () => {
  const fake = new FakeElections(['a', 'b']);
  fake.know({ candidates: [candidate('orders-1', 12n)] }, 'a');
  fake.know({ candidates: [candidate('orders-0', 13n)], claimUntil: 1_003_000 }, 'b');
  const { client } = await serve(fake);
  expect(
    await Promise.all(['a', 'b', 'ready', 'leader', 'follower'].map((name) => client.check(name))),
  ).toEqual([...['NOT_SERVING', 'SERVING', 'SERVING', 'NOT_FOUND', 'NOT_FOUND']]);
});

test('a claim that has run out is not served, though nobody has noticed yet', async () => {
  const fake = leading();
  const { client } = await serve(fake);
  expect(await client.check('leader')).toBe('SERVING');
  fake.nowMs += 4000;
  expect(await client.check('leader')).toBe('NOT_SERVING');
  expect(await client.check('orders')).toBe('NOT_SERVING');
});

test('who watches is told what is so, and then each change, once', async () => {
  const fake = leading();
  const { client } = await serve(fake);
  const [leader, unknown] = [client.watch('leader'), client.watch('invoices')];
  await leader.tells('SERVING');
  await unknown.tells('SERVICE_UNKNOWN');
  fake.emitChange('elected');
  states.follower(fake);
  fake.emitChange('resigned');
  await leader.tells('NOT_SERVING');
  // Without a notice: the clock ends the claim.
  states.leader(fake);
  fake.emitChange('elected');
  await leader.tells('SERVING');
  fake.nowMs += 4000;
  await leader.tells('NOT_SERVING');
  expect(leader.told).toEqual(['SERVING', 'NOT_SERVING', 'SERVING', 'NOT_SERVING']);
  expect(unknown.told).toEqual(['SERVICE_UNKNOWN']);
  expect([leader.ended(), unknown.ended()]).toEqual([null, null]);
});

test('at the end who watches is told so, and streams and connections end', async () => {
  const fake = leading();
  const { client, serving } = await serve(fake);
  const [leader, unknown] = [client.watch('leader'), client.watch('invoices')];
  await leader.tells('SERVING');
  await unknown.tells('SERVICE_UNKNOWN');
  const { port } = serving.address;
  const mute = connect(port, '127.0.0.1');
  const muteEnded = new Promise((resolve) =>
    mute
      .resume()
      .on('close', resolve)
      .on('error', () => undefined),
  );
  await new Promise((resolve) => mute.once('connect', resolve));
  await serving.close();
  await muteEnded;
  await eventually(() => leader.ended() !== null && unknown.ended() !== null, {
    withinMs: 5000,
    what: 'both streams to end',
  });
  expect(leader.told).toEqual(['SERVING', 'NOT_SERVING']);
  expect(unknown.told).toEqual(['SERVICE_UNKNOWN']);
  expect([leader.ended(), unknown.ended()]).toEqual(['OK', 'OK']);
  expect(fake.subscribers).toBe(1);
});

test('a failure in an answer is told as such, and reported', async () => {
  const fake = leading();
  const { client, reported } = await serve(fake);
  fake.failing = new Error('broken');
  expect(await client.check('leader')).toBe('INTERNAL');
  await client.watch('leader').tells('NOT_SERVING');
  expect(reported).toContain(fake.failing);
});

test('watching streams are bounded, and those that ended count no more', async () => {
  const fake = leading();
  const { client, serving } = await serve(fake);
  const watching = Array.from({ length: 1024 }, () => client.watch('leader'));
  await Promise.all(watching.map((one) => one.tells('SERVING', 30_000)));
  const other = grpcHealth(serving.address.port);
  open.push(() => other.close());
  const refused = other.watch('leader');
  await eventually(() => refused.ended() !== null, { withinMs: 5000, what: 'a refusal' });
  expect([refused.told, refused.ended()]).toEqual([[], 'RESOURCE_EXHAUSTED']);
  expect(await other.check('leader')).toBe('SERVING');
  watching[0]!.cancel();
  await eventually(
    async () => {
      const again = other.watch('leader');
      await eventually(() => again.told.length > 0 || again.ended() !== null, {
        withinMs: 5000,
        what: 'an answer',
      });
      return again.told.length > 0;
    },
    { withinMs: 10_000, what: 'a place' },
  );
});

test('connections are bounded; a name that is too long is refused', async () => {
  const fake = leading();
  const { client, serving } = await serve(fake, 2);
  expect(await client.check('x'.repeat(5000))).toBe('RESOURCE_EXHAUSTED');
  const second = connectHttp2(`http://127.0.0.1:${serving.address.port}`);
  open.push(() => second.destroy());
  await new Promise((resolve) => second.once('remoteSettings', resolve));
  const third = connect(serving.address.port, '127.0.0.1');
  await new Promise((resolve) => third.on('error', () => undefined).once('close', resolve));
  expect(await client.check('leader')).toBe('SERVING');
});
