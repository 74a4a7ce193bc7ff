// The states of a connection to an endpoint: made with its first use, thrown away when it only fails or is told to be,
// gone for good once closed; and what is open on it, or only being opened, goes with it. Nothing is sent to any etcd.
import { promises as dns } from 'node:dns';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Endpoint } from '../../src/etcd/endpoint.ts';
import { Unreachable } from '../../src/errors.ts';
import { reservePort } from '../harness/ports.ts';
import { connectTo, observed } from './etcd-connection.ts';
import { FakeClock } from './sdk-stand-in.ts';

const discardAfterMs = 1000;
let clock: FakeClock;
let endpoint: Endpoint;
beforeEach(() => {
  clock = new FakeClock();
  endpoint = new Endpoint({
    url: 'http://127.0.0.1:1',
    tls: () => ({ ca: null, certificate: null, key: null }),
    token: () => null,
    clock,
    discardAfterMs,
  });
});
afterEach(() => endpoint.close());

class Stream {
  cancelled = 0;

  cancel(): void {
    this.cancelled += 1;
  }
}

describe('a connection', () => {
  test('is thrown away when it has only failed for long enough, and not by one failure', () => {
    const first = endpoint.client();
    endpoint.failed();
    clock.sleep(discardAfterMs - 1);
    endpoint.failed();
    expect(endpoint.client()).toBe(first);
    clock.sleep(1);
    endpoint.failed();
    const second = endpoint.client();
    expect(second).not.toBe(first);
    clock.sleep(discardAfterMs);
    endpoint.failed();
    expect(endpoint.client()).toBe(second);
  });

  test('is kept when the peer has answered in between', () => {
    const first = endpoint.client();
    endpoint.failed();
    endpoint.answered();
    clock.sleep(discardAfterMs);
    endpoint.failed();
    expect(endpoint.client()).toBe(first);
  });

  test('is never made again once closed', async () => {
    endpoint.client();
    endpoint.close();
    endpoint.discard();
    expect(() => endpoint.client()).toThrow(Unreachable);
    await expect(endpoint.open(() => Promise.resolve(new Stream()))).rejects.toThrow(Unreachable);
  });
});

test('a name is looked up by its addresses alone: no TXT record tells how to call', async () => {
  const addresses = vi.spyOn(dns, 'lookup');
  const texts = vi.spyOn(dns, 'resolveTxt');
  const { coordinator } = connectTo([`http://localhost:${await reservePort()}`], { ttlMs: 2000 });
  try {
    await expect(observed(coordinator)).rejects.toThrow(Unreachable);
    expect(addresses).toHaveBeenCalled();
    expect(texts).not.toHaveBeenCalled();
  } finally {
    coordinator.close();
    vi.restoreAllMocks();
  }
});

describe('a stream', () => {
  test('is cancelled with its connection, unless it has ended', async () => {
    const [open, ended] = [new Stream(), new Stream()];
    await endpoint.open(() => Promise.resolve(open));
    const { forget } = await endpoint.open(() => Promise.resolve(ended));
    forget();
    endpoint.discard();
    expect([open.cancelled, ended.cancelled]).toEqual([1, 0]);
  });

  test.each(['discard', 'close'] as const)(
    'is cancelled that was being opened at %s',
    async (how) => {
      const stream = new Stream();
      let opened = (_stream: Stream): void => undefined;
      const opening = endpoint.open(() => new Promise<Stream>((resolve) => (opened = resolve)));
      endpoint[how]();
      // A connection that was made since then is no home of it.
      if (how === 'discard') endpoint.client();
      opened(stream);
      await opening;
      expect(stream.cancelled).toBe(1);
      endpoint[how]();
      expect(stream.cancelled).toBe(1);
    },
  );
});
