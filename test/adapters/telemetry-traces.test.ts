// Traces by way of OpenTelemetry's own SDK with an exporter in memory: electors on a real etcd for the usual course, and
// notices of a stand-in for what is rare. Without an SDK there are no traces at all.
import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  SimpleSpanProcessor,
  type ReadableSpan,
} from '@opentelemetry/sdk-trace-node';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { electionName, leaseId, memberId, type Cause } from '../../src/core/model.ts';
import { Elector } from '../../src/elector/elector.ts';
import { Unreachable } from '../../src/errors.ts';
import { newLeaseId } from '../../src/etcd/lease-id.ts';
import type { Coordinator } from '../../src/ports.ts';
import type { FencedStore } from '../../src/store-port.ts';
import { createTraces, type Traces } from '../../src/telemetry/traces.ts';
import { startEtcdCluster, type EtcdCluster } from '../harness/etcd.ts';
import { eventually } from '../harness/wait.ts';
import { clock, connectTo } from './etcd-connection.ts';
import { candidate, FakeElections, token } from './http-fake-elections.ts';

const orders = electionName('orders');

let exporter: InMemorySpanExporter;
let provider: NodeTracerProvider | null = null;

/** As a module that is loaded by `node --import` does it. */
function registerSdk(): void {
  exporter = new InMemorySpanExporter();
  provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  provider.register();
}

afterEach(async () => {
  await provider?.shutdown();
  provider = null;
  trace.disable();
});

function tracesFor(id: string): Traces {
  const traces = createTraces({ id: memberId(id), version: '9.9.9' });
  if (traces === null) throw new Error('no SDK is seen');
  return traces;
}

const spans = (name: string, id?: string): readonly ReadableSpan[] =>
  exporter
    .getFinishedSpans()
    .filter((span) => span.name === name)
    .filter((span) => id === undefined || span.attributes['electord.id'] === id);

const elapsedMs = ({ duration: [seconds, nanoseconds] }: ReadableSpan): number =>
  seconds * 1000 + nanoseconds / 1e6;

const isUnder = (child: ReadableSpan | undefined, parent: ReadableSpan | undefined): boolean =>
  child !== undefined &&
  child.parentSpanContext?.spanId === parent?.spanContext().spanId &&
  child.spanContext().traceId === parent?.spanContext().traceId;

describe('without an SDK', () => {
  it('there is nothing: no subscription, no wrapper, no span', () => {
    expect(createTraces({ id: memberId('a'), version: '1.0.0' })).toBeNull();
  });
});

describe('electors on a real etcd', { timeout: 60_000 }, () => {
  let etcd: EtcdCluster;
  const ends: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    etcd = await startEtcdCluster({ size: 1 });
  });
  beforeEach(registerSdk);
  afterEach(async () => {
    await Promise.all(ends.splice(0).map((end) => end()));
  });
  afterAll(() => etcd.stop());

  /** An elector with traces, wired as the composition root does it. */
  function start(id: string): { readonly elector: Elector; readonly traces: Traces } {
    const traces = tracesFor(id);
    const { coordinator } = connectTo(etcd.endpoints);
    const elector = new Elector({
      elections: [orders],
      me: {
        id: memberId(id),
        address: null,
        url: null,
        priority: 0,
        version: '9.9.9',
        pingKey: null,
        checked: null,
      },
      timing: {
        ttlMs: 10_000,
        marginMs: 500,
        takeoverDelayMs: 0,
        graceMs: 5000,
        stopLeadMs: 0,
        fastFailoverMs: null,
      },
      pings: null,
      clock,
      coordinator: traces.traced(coordinator),
      app: null,
      appHealthy: true,
      whenAllUnhealthy: 'none',
      validation: 'all',
      random: Math.random,
      newLeaseId,
      onFatal: (failure) => {
        throw failure;
      },
    });
    traces.observe(elector);
    elector.start();
    ends.push(async () => {
      await elector.stop();
      await traces.finish();
      coordinator.close();
    });
    return { elector, traces };
  }

  const until = (what: string, check: () => boolean) =>
    eventually(check, { withinMs: 20_000, what });

  it('leave an election, a hand-over and the election that follows it', async () => {
    const { elector: first } = start('a');
    await until('a leads', () => first.report(orders).role === 'leader');
    const won = first.report(orders).token!.toString();
    const { elector: second } = start('b');
    await until('b follows', () => second.report(orders).candidates.length === 2);
    await until('a has proclaimed', () => spans('electord.etcd.proclaim', 'a').length === 1);

    const [election, ...more] = spans('electord.election', 'a');
    expect(more).toEqual([]);
    expect(election?.attributes).toMatchObject({
      'electord.election': 'orders',
      'electord.outcome': 'elected',
      'electord.cause': 'elected',
      'electord.leader': 'a',
      'electord.fencing_token': won,
    });
    for (const operation of ['grant', 'join', 'proclaim']) {
      const [call] = spans(`electord.etcd.${operation}`, 'a');
      expect({ operation, under: isUnder(call, election), kind: call?.kind }).toEqual({
        operation,
        under: true,
        kind: SpanKind.CLIENT,
      });
    }
    expect(spans('electord.election', 'b')[0]?.attributes).toMatchObject({
      'electord.outcome': 'following',
      'electord.leader': 'a',
      'electord.fencing_token': won,
    });

    const request = { cause: 'resigned', to: null, reason: 'a test', actor: null } as const;
    first.stepDown(orders, { ...request, notForMs: 60_000 });
    await until('b leads', () => second.report(orders).role === 'leader');
    await until('a has released', () => spans('electord.step-down').length === 1);
    const [stepDown] = spans('electord.step-down', 'a');
    expect(stepDown?.attributes).toMatchObject({
      'electord.election': 'orders',
      'electord.cause': 'resigned',
      'electord.reason': 'a test',
      'electord.fencing_token': won,
      'electord.outcome': 'released',
    });
    const [release] = spans('electord.etcd.release', 'a');
    expect(isUnder(release, stepDown)).toBe(true);
    expect(release?.attributes).toMatchObject({ 'electord.cause': 'resigned' });
    const next = second.report(orders).token!;
    expect(next).toBeGreaterThan(BigInt(won));
    expect(spans('electord.election', 'b')[1]?.attributes).toMatchObject({
      'electord.outcome': 'elected',
      'electord.fencing_token': next.toString(),
      'electord.leaderless_ms': expect.any(Number) as number,
    });
    // The one that left saw that nobody led, and then who does.
    await until('a follows b', () => spans('electord.election', 'a').length === 2);
    expect(spans('electord.election', 'a')[1]?.attributes).toMatchObject({
      'electord.cause': 'resigned',
      'electord.outcome': 'following',
      'electord.leader': 'b',
    });
    expect(
      exporter.getFinishedSpans().filter(({ status: { code } }) => code === SpanStatusCode.ERROR),
    ).toEqual([]);
  });

  it('record what failed while etcd is away', async () => {
    await etcd.nodes[0]!.kill();
    const { traces } = start('alone');
    await until('calls have failed', () => spans('electord.etcd.grant').length >= 2);
    await traces.finish();
    await etcd.nodes[0]!.restart();
    const [election] = spans('electord.election', 'alone');
    expect(election?.attributes['electord.outcome']).toBe('stopped');
    for (const call of spans('electord.etcd.grant', 'alone').slice(0, 2)) {
      expect(isUnder(call, election)).toBe(true);
      expect(call.status.code).toBe(SpanStatusCode.ERROR);
      expect(call.attributes['error.type']).toBe('etcd_unreachable');
      expect(call.events.map(({ name }) => name)).toEqual(['exception']);
      expect(call.events[0]?.attributes?.['exception.type']).toBe('etcd_unreachable');
    }
  });
});

describe('what is rare', () => {
  let fake: FakeElections;
  let traces: Traces;

  beforeEach(registerSdk);

  const follow = (...names: string[]): void => {
    fake = new FakeElections(names, 'me');
    traces = tracesFor('me');
    traces.observe(fake);
  };

  const elected = (name: string, leaderlessMs: number | null = null): void => {
    const election = electionName(name);
    fake.know({ candidates: [candidate('me', 7n)], claimUntil: Infinity }, name);
    fake.emit({
      kind: 'elected',
      election,
      token: token(7n),
      leaderlessMs,
      leaderlessAtMostMs: leaderlessMs,
      endBefore: null,
    });
    fake.emitChange('elected', name);
  };

  const ended = (name: string, cause: Cause): void => {
    const election = electionName(name);
    fake.know({ candidates: [] }, name);
    fake.emit({ kind: 'ended', election, token: token(7n), cause, reason: null, ledMs: 5 });
    fake.emitChange(cause, name);
  };

  const released = (name: string): void =>
    fake.emit({ kind: 'released', election: electionName(name), token: token(7n) });

  /** A coordinator of which only `observe` is called. */
  const coordinator = (observe: Coordinator['observe']): Coordinator =>
    ({ observe }) as unknown as Coordinator;

  it('a term that is lost is an error and needs no release', () => {
    follow('orders');
    elected('orders');
    ended('orders', 'lease_expired');
    const [lost] = spans('electord.step-down');
    expect(lost?.attributes).toMatchObject({
      'electord.cause': 'lease_expired',
      'electord.outcome': 'lost',
      'electord.fencing_token': '7',
      'electord.led_ms': 5,
    });
    expect(lost?.status).toEqual({ code: SpanStatusCode.ERROR, message: 'lease_expired' });
  });

  it('a lease that is lost ends a step-down whose key was never released', () => {
    follow('orders');
    elected('orders');
    ended('orders', 'etcd_unreachable');
    expect(spans('electord.step-down')).toEqual([]);
    fake.emit({ kind: 'lease', state: 'lost', leaseId: leaseId('1'), ttlMs: 5000 });
    expect(spans('electord.step-down')[0]).toMatchObject({
      status: {
        code: SpanStatusCode.ERROR,
        message: 'the lease ended before the key was released',
      },
      attributes: { 'electord.outcome': 'lost' },
    });
    released('orders');
    expect(spans('electord.step-down').length).toBe(1);
  });

  it('who takes over at once had no leader for as long as its notice says', () => {
    follow('orders');
    elected('orders');
    ended('orders', 'switchover');
    fake.know({ candidates: [candidate('other', 9n)] });
    fake.emitChange('elected');
    elected('orders', 250);
    const [, , taken] = spans('electord.election');
    expect(taken?.attributes).toMatchObject({
      'electord.outcome': 'elected',
      'electord.leaderless_ms': 250,
    });
    expect(elapsedMs(taken!)).toBeGreaterThanOrEqual(250);
    expect(elapsedMs(taken!)).toBeLessThan(5000);
  });

  it('a hook is under its step-down, where only one can be meant', () => {
    follow('orders', 'bills');
    elected('orders');
    elected('bills');
    ended('orders', 'switchover');
    traces.observeHook('step-down', 'ok', 0.2);
    released('orders');
    const [hook] = spans('electord.hook');
    expect(isUnder(hook, spans('electord.step-down')[0])).toBe(true);
    expect(hook?.attributes).toMatchObject({
      'electord.election': 'orders',
      'electord.hook': 'step-down',
      'electord.hook.result': 'ok',
    });
    expect(Math.abs(elapsedMs(hook!) - 200)).toBeLessThan(10);
    elected('orders');
    ended('orders', 'stopping');
    ended('bills', 'stopping');
    traces.observeHook('step-down', 'timeout', 1);
    const [, unclear] = spans('electord.hook');
    expect(unclear?.parentSpanContext).toBeUndefined();
    expect(unclear?.attributes['electord.election']).toBeUndefined();
    expect(unclear?.status).toEqual({ code: SpanStatusCode.ERROR, message: 'timeout' });
  });

  it('more than a hundred calls under one span are only counted', async () => {
    follow('orders');
    const failing = traces.traced(coordinator(() => [Promise.reject(new Unreachable('gone'))]));
    for (let sent = 0; sent < 130; sent += 1) {
      await expect(Promise.all(failing.observe([orders]))).rejects.toThrow('gone');
    }
    elected('orders');
    expect(spans('electord.etcd.observe').length).toBe(100);
    expect(spans('electord.election')[0]?.attributes['electord.calls_omitted']).toBe(30);
    // Nothing is sought any more: a call stands by itself.
    await expect(Promise.all(failing.observe([orders]))).rejects.toThrow('gone');
    expect(spans('electord.etcd.observe')[100]?.parentSpanContext).toBeUndefined();
  });

  it('passes on what a call brings, and a call of the store has its term', async () => {
    follow('orders');
    const store = traces.tracedStore({
      append: (writer: unknown, entry: unknown) => Promise.resolve({ writer, entry }),
    } as unknown as FencedStore);
    const writer = { election: orders, leaseId: leaseId('1'), token: token(7n) };
    const entry = { json: '{}', at: '', by: memberId('me'), idempotencyKey: null };
    expect(await store.append(writer, entry)).toEqual({ writer, entry });
    expect(spans('electord.etcd.journal')[0]?.attributes).toEqual({
      'electord.id': 'me',
      'electord.election': 'orders',
      'electord.fencing_token': '7',
    });
  });

  it('an SDK that throws costs spans: no listener throws, and every call is made', async () => {
    const broken = (): never => {
      throw new Error('a processor is broken');
    };
    const processor = {
      onStart: broken,
      onEnd: broken,
      forceFlush: broken,
      shutdown: () => Promise.resolve(),
    };
    trace.disable();
    provider = new NodeTracerProvider({ spanProcessors: [processor] });
    provider.register();
    follow('orders');
    elected('orders');
    ended('orders', 'lease_expired');
    traces.observeHook('elected', 'ok', 0.1);
    const answer = { value: 5000, sentAt: 1 };
    const traced = traces.traced({
      renew: () => Promise.resolve(answer),
    } as unknown as Coordinator);
    expect(await traced.renew(leaseId('1'))).toBe(answer);
    const gone = traces.traced(coordinator(() => [Promise.reject(new Unreachable('gone'))]));
    await expect(Promise.all(gone.observe([orders]))).rejects.toThrow('gone');
    await traces.finish();
  });
});
