// A process that was stalled for longer than a time-out, while the answer had arrived in its socket: Node runs the timers
// that are due before it reads. Every time-out that judges takes the answer instead of saying that there was none.
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { runHook, type HookResult } from '../../src/app-side/hooks.ts';
import { probe } from '../../src/app-side/probe.ts';
import { fencingToken, memberId, revision, type LeaseId } from '../../src/core/model.ts';
import type { EtcdCoordinator } from '../../src/etcd/coordinator.ts';
import { Names } from '../../src/peers/names.ts';
import { ask, Connections } from '../../src/peers/question.ts';
import { judgeAfter, judgeAt } from '../../src/process/time-out.ts';
import { HttpTransport } from '../../src/sdk/transport.ts';
import { startEtcdCluster, type EtcdCluster } from '../harness/etcd.ts';
import { eventually } from '../harness/wait.ts';
import {
  anyLease,
  clock,
  connectTo,
  granted,
  idsIn,
  me,
  observed,
  orders,
  watchOrders,
} from './etcd-connection.ts';
import { following } from './sdk-stand-in.ts';
import { startStallingRelay, type StallingRelay } from './stalling-relay.ts';

const ends: (() => unknown)[] = [];
let cluster: EtcdCluster;
beforeAll(async () => {
  cluster = await startEtcdCluster({ size: 1 });
});
afterAll(() => cluster.stop());
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

async function relayTo(port: number): Promise<StallingRelay> {
  const relay = await startStallingRelay(port);
  ends.push(() => relay.stop());
  return relay;
}

/** A relay before a server of HTTP that answers every request at once. */
async function relayToHttp(answer: RequestListener): Promise<StallingRelay> {
  const server = createServer(answer);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ends.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return relayTo((server.address() as AddressInfo).port);
}

const relayToEtcd = (): Promise<StallingRelay> =>
  relayTo(Number(new URL(cluster.endpoints[0]!).port));

/** More than any answer takes here that nothing holds back; and so long is stalled, which is more than that. */
const answerWithinMs = 1000;
const stalledForMs = 2000;
/** With this TTL a request to etcd is given up after 1000 ms, or 1250 in all; a watch is mute after 800. */
const ttlMs = 4000;

/** Asks, and stalls with the answer in the socket. Rejects where the question ended before anything was held back. */
async function stalled<Answer>(
  relay: StallingRelay,
  question: () => Promise<Answer>,
): Promise<Answer> {
  const held = relay.hold();
  const answer = question();
  const early = answer.then(() => {
    throw new Error('it ended before the stall');
  });
  await Promise.race([held, early]);
  early.catch(() => undefined);
  relay.stall(stalledForMs);
  return answer;
}

const answering: RequestListener = (_request, response) =>
  response.setHeader('Content-Type', 'application/json').end(JSON.stringify(following('b')));

test.each<[string, (coordinator: EtcdCoordinator, lease: LeaseId) => Promise<unknown>]>([
  ['a renewal', (coordinator, lease) => coordinator.renew(lease)],
  ['a transaction', (coordinator) => observed(coordinator)],
])('%s at etcd', async (_name, request) => {
  const relay = await relayToEtcd();
  const { coordinator } = connectTo([`http://127.0.0.1:${relay.port}`], { ttlMs });
  ends.push(() => coordinator.close());
  const lease = anyLease();
  await coordinator.grant(lease, 60_000);
  const answer = await stalled(relay, () => request(coordinator, lease));
  expect(answer).toHaveProperty('sentAt');
});

test('a watch is not mute that has answered', async () => {
  const relay = await relayToEtcd();
  const { coordinator } = connectTo([`http://127.0.0.1:${relay.port}`], { ttlMs });
  const direct = connectTo(cluster.endpoints);
  ends.push(
    () => coordinator.close(),
    () => direct.coordinator.close(),
  );
  const { notices } = watchOrders(coordinator);
  await eventually(() => notices.length > 0, { withinMs: 20_000, what: 'the first snapshot' });
  // The first answers are those to the creation of the watch and to the first question about its progress.
  for (let rounds = 0; rounds < 3; rounds += 1) {
    await relay.hold();
    relay.stall(stalledForMs);
  }
  const lease = anyLease();
  await direct.coordinator.grant(lease, 60_000);
  await direct.coordinator.join(orders, granted(lease), me);
  await eventually(() => idsIn(notices).includes(me.id), { withinMs: 20_000, what: 'our key' });
  expect(notices.filter(({ kind }) => kind === 'interrupted')).toEqual([]);
});

test('a question to another sidecar', async () => {
  const relay = await relayToHttp(answering);
  const connections = new Connections(new Names());
  ends.push(() => connections.close());
  const outcome = await stalled(relay, () =>
    ask({
      url: new URL(`http://127.0.0.1:${relay.port}/leader`),
      election: 'orders',
      id: 'a',
      timeoutMs: answerWithinMs,
      now: () => clock.now(),
      connections,
    }),
  );
  expect(outcome).toMatchObject({ kind: 'answered', answer: { role: 'follower' } });
});

test('an app check', async () => {
  const relay = await relayToHttp((_request, response) => response.end());
  const look = (): Promise<unknown> =>
    probe({
      check: { kind: 'http', url: `http://127.0.0.1:${relay.port}/` },
      timeoutMs: answerWithinMs,
      clock,
      guardian: null,
      environment: {},
    }).verdict;
  expect(await stalled(relay, look)).toEqual({ passed: true, detail: 'answered 200' });
});

test('a hook', async () => {
  const relay = await relayToHttp((_request, response) => response.end());
  const results: HookResult[] = [];
  const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined };
  await stalled(relay, () => {
    const endAt = clock.now() + answerWithinMs;
    const tools = {
      clock,
      log: quiet,
      guardian: null,
      surroundings: {
        id: memberId('a'),
        ownEnvironment: {},
        secretVariables: [],
        localUrl: () => '',
      },
      observeHook: (_event: string, result: HookResult) => results.push(result),
    };
    return runHook(tools, {
      hook: { kind: 'http', url: `http://127.0.0.1:${relay.port}/` },
      occasion: {
        event: 'elected',
        election: orders,
        token: fencingToken(revision(1n)),
        cause: 'elected',
        mustStop: null,
      },
      limits: { endAt, killAt: endAt + 100 },
      tied: false,
    }).finished;
  });
  expect(results).toEqual(['ok']);
});

test('a question of the client to its sidecar', async () => {
  const relay = await relayToHttp(answering);
  const transport = new HttpTransport({
    address: { kind: 'tcp', host: '127.0.0.1', port: relay.port, base: '', secure: false },
    shownAs: 'the stand-in',
    token: null,
    tls: {},
    clock,
  });
  ends.push(() => transport.close());
  const heard = await stalled(relay, () =>
    transport.ask({ path: '/leader', withinMs: answerWithinMs }),
  );
  expect(heard).toMatchObject({ status: 200, body: { leader: { id: 'b' } } });
});

test('a time-out judges once, when nothing came, and never once it was cancelled', async () => {
  const judged: string[] = [];
  const both = (name: string): readonly (() => void)[] => [
    judgeAfter(1, () => judged.push(`${name} after`)),
    judgeAt(clock, clock.now() + 1, () => judged.push(`${name} at`)),
  ];
  both('kept');
  // Due at the next turn of the timers, and cancelled in the pass of IO before its judgement.
  const cancelled = both('cancelled');
  const port = new MessageChannel();
  port.port2.addEventListener('message', () => cancelled.forEach((cancel) => cancel()));
  port.port2.start();
  ends.push(() => port.port1.close());
  const until = performance.now() + 10;
  port.port1.postMessage('what has arrived');
  while (performance.now() < until);
  await eventually(() => judged.length > 0, { withinMs: 5000, what: 'a judgement' });
  await eventually(() => judged.length > 1, { withinMs: 5000, what: 'both judgements' });
  expect(judged.toSorted()).toEqual(['kept after', 'kept at']);
});
