// Probes are answered without Express, and as Express would answer them: byte for byte, whatever is asked in whatever state.
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { createApplication } from '../../src/http/application.ts';
import { createFront } from '../../src/http/front.ts';
import type { Inputs } from '../../src/http/inputs.ts';
import { listen, type Listening } from '../../src/http/listen.ts';
import {
  createProbes,
  followerPaths,
  leaderPaths,
  livenessPaths,
  readablePaths,
  readinessPaths,
} from '../../src/http/probes.ts';
import { inputsOf } from './http-serving.ts';
import { candidate, FakeElections, states } from './http-fake-elections.ts';

const opened: Listening[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
});

/** Every byte of the answer but the second in which it was given. */
async function bytesOf({ address }: Listening, method: string, path: string): Promise<string> {
  if (!('port' in address)) throw new Error('not a TCP address');
  const socket = connect(address.port, '127.0.0.1');
  socket.end(`${method} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  let text = '';
  socket.setEncoding('latin1').on('data', (part: string) => (text += part));
  await once(socket, 'close');
  return text.replace(/^Date: .*\r\n/m, '');
}

async function bothWays(inputs: Inputs): Promise<readonly [Listening, Listening]> {
  const front = createFront(inputs);
  const slow = { ...front, handle: createApplication(inputs) };
  const there = { host: '127.0.0.1', port: 0 };
  const both = [await listen(front, there), await listen(slow, there)] as const;
  opened.push(...both);
  return both;
}

const ofElection = [...leaderPaths, ...followerPaths, ...readablePaths, '/health'];
const ofInstance = ['/health', ...livenessPaths, ...readinessPaths];
const all: Readonly<Record<string, (fake: FakeElections) => void>> = {
  ...states,
  'leader for less than a millisecond': (fake) =>
    fake.know({ candidates: [candidate('orders-0', 4711n)], claimUntil: 1_000_000.5 }),
};

describe.each([[['orders']], [['orders', 'bills', 'wörter']]])('in the elections %j', (names) => {
  const paths = [
    ...(names.length === 1 ? ofElection : []),
    ...names.flatMap((name) => ofElection.map((path) => `/elections/${name}${path}`)),
    ...ofInstance,
  ];

  it.each(Object.keys(all))('%s: the same answer both ways', async (state) => {
    const fake = new FakeElections(names);
    all[state]?.(fake);
    const inputs = inputsOf(fake);
    const [fast, slow] = await bothWays(inputs);
    for (const path of paths.map(encodeURI)) {
      for (const method of ['GET', 'HEAD', 'OPTIONS']) {
        const expected = await bytesOf(slow, method, path);
        expect(expected).toMatch(/^HTTP\/1.1 (200|503) /);
        expect(await bytesOf(fast, method, path)).toBe(expected);
      }
    }
  });
});

it.each(['GET', 'HEAD', 'OPTIONS'])(
  'what Patroni’s load balancers ask for is a probe, asked by %s',
  async (method) => {
    const inputs = inputsOf(new FakeElections(['orders']));
    const left: string[] = [];
    const probes = createProbes(inputs);
    const front = createFront(inputs);
    const there = { host: '127.0.0.1', port: 0 };
    const only = await listen(
      {
        ...front,
        handle: (request, response) => {
          if (probes(request, response)) return;
          left.push(request.url ?? '');
          response.end();
        },
      },
      there,
    );
    opened.push(only);
    for (const path of ['/primary', '/read-write', '/replica', '/read-only', '/liveness']) {
      await bytesOf(only, method, path);
    }
    expect(left).toEqual([]);
  },
);

describe('what is no probe', () => {
  it.each([
    ['POST', '/leader'],
    ['GET', '/leader?hold=1s'],
    ['GET', '/leader/'],
    ['GET', '/elections/none/leader'],
    ['GET', '/status'],
  ])('is left to Express: %s %s', (method, url) => {
    const probes = createProbes(inputsOf(new FakeElections(['orders'])));
    const nobody = null as never;
    expect(probes({ method, url } as never, nobody)).toBe(false);
  });

  it('is that of one among several elections that is not named', () => {
    const probes = createProbes(inputsOf(new FakeElections(['orders', 'bills'])));
    expect(probes({ method: 'GET', url: '/leader' } as never, null as never)).toBe(false);
  });
});
