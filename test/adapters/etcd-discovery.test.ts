// Where etcd is, while it moves: a real name server of our own on loopback, and real etcds of which those that were
// configured go away.
import { promises as dns } from 'node:dns';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { startEtcdCluster, type EtcdCluster } from '../harness/etcd.ts';
import { reservePort } from '../harness/ports.ts';
import { eventually } from '../harness/wait.ts';
import {
  clock,
  connectTo,
  observed,
  optionsFor,
  orders,
  type Connection,
} from './etcd-connection.ts';

let cluster: EtcdCluster;
const endings: (() => void)[] = [];

beforeAll(async () => {
  cluster = await startEtcdCluster({ size: 3 });
}, 120_000);
afterAll(() => cluster.stop());
afterEach(async () => {
  for (const end of endings.splice(0)) end();
  await Promise.all(cluster.nodes.map((node) => node.start()));
});

const bytes = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
const labels = (name: string): Buffer =>
  Buffer.concat([
    ...name.split('.').flatMap((one) => [Buffer.from([one.length]), Buffer.from(one)]),
    Buffer.from([0]),
  ]);

/** Answers every question with one SRV record for each of `ports`, on 127.0.0.1; notes the names asked for. */
class NameServer {
  readonly asked: string[] = [];
  ports: readonly number[] = [];
  readonly #socket: Socket = createSocket('udp4');

  async open(): Promise<string> {
    this.#socket.on('message', (question, from) => {
      this.#socket.send(this.#answer(question), from.port, from.address);
    });
    this.#socket.bind(0, '127.0.0.1');
    await once(this.#socket, 'listening');
    endings.push(() => void this.#socket.close());
    return `127.0.0.1:${this.#socket.address().port}`;
  }

  #answer(question: Buffer): Buffer {
    let end = 12;
    const name: string[] = [];
    while (question[end] !== 0) {
      const length = question[end] ?? 0;
      name.push(question.toString('latin1', end + 1, end + 1 + length));
      end += length + 1;
    }
    this.asked.push(name.join('.'));
    const records = this.ports.map((port) => {
      const data = Buffer.concat([bytes(0), bytes(0), bytes(port), labels('localhost')]);
      // The name of the question, SRV, IN, no time to live.
      const head = [bytes(0xc00c), bytes(33), bytes(1), bytes(0), bytes(0), bytes(data.length)];
      return Buffer.concat([...head, data]);
    });
    const header = [bytes(0x8180), bytes(1), bytes(records.length), bytes(0), bytes(0)];
    const asked = question.subarray(12, end + 5);
    return Buffer.concat([question.subarray(0, 2), ...header, asked, ...records]);
  }
}

async function connected(
  endpoints: readonly string[],
  more: Parameters<typeof connectTo>[1] = {},
): Promise<Connection> {
  const connection = connectTo(endpoints, more);
  endings.push(() => connection.coordinator.close());
  await answers(connection);
  return connection;
}

const answers = ({ coordinator }: Connection): Promise<unknown> =>
  eventually(() => coordinator.history(orders).then(() => true), {
    withinMs: 30_000,
    what: 'an answer of etcd',
  });

const portOf = (index: number): number => Number(new URL(cluster.endpoints[index]!).port);

test('SRV records name the endpoints, and are looked up again when connections fail', async () => {
  const server = new NameServer();
  const resolver = new dns.Resolver();
  resolver.setServers([await server.open()]);
  server.ports = [portOf(0)];
  const connection = await connected(['srv://example.com'], {
    resolveSrv: (name) => resolver.resolveSrv(name),
  });
  expect(new Set(server.asked)).toEqual(new Set(['_etcd-client._tcp.example.com']));
  server.ports = [portOf(1)];
  await cluster.nodes[0]!.kill();
  await answers(connection);
  // A name server that knows nothing is no reason to leave etcd.
  server.ports = [];
  const before = server.asked.length;
  await cluster.nodes[1]!.kill();
  const answered = answers(connection);
  await eventually(() => server.asked.length > before, { withinMs: 20_000, what: 'a question' });
  await cluster.nodes[0]!.start();
  await cluster.nodes[1]!.start();
  await answered;
});

test('members that are not configured are used when those that are have gone', async () => {
  const connection = await connected([cluster.endpoints[0]!], { lookEveryMs: 50 });
  await eventually(() => connection.coordinator.endpoints().length === 3, {
    withinMs: 20_000,
    what: 'all members are known',
  });
  expect(new Set(connection.coordinator.endpoints())).toEqual(new Set(cluster.endpoints));
  await cluster.nodes[0]!.kill();
  await answers(connection);
});

test('others may be configured while it runs', async () => {
  const connection = await connected([cluster.endpoints[0]!]);
  await connection.coordinator.configure(optionsFor([cluster.endpoints[1]!]), orders);
  expect(connection.coordinator.endpoints()).toEqual([cluster.endpoints[1]]);
  await cluster.nodes[0]!.kill();
  await answers(connection);
});

describe('a name', () => {
  afterEach(() => vi.restoreAllMocks());

  /** What the machine's own resolver says of every name: an address, or that there is none. */
  function says(address: string | null) {
    const answer = (): Promise<never> =>
      address === null
        ? Promise.reject(new Error('ENOTFOUND'))
        : Promise.resolve([{ address }] as never);
    return vi.spyOn(dns, 'lookup').mockImplementation(answer);
  }

  test.each([
    ['nobody answers at its address', '127.0.0.1'],
    ['it has no address', null],
  ])('is looked up once a second for all connections while %s', async (_, address) => {
    const lookup = says(address);
    const url = `http://${address === null ? 'none' : 'dead'}.example:${await reservePort()}`;
    const startedAt = clock.now();
    const connections = [connectTo([url]), connectTo([url])];
    endings.push(() => connections.forEach(({ coordinator }) => coordinator.close()));
    const asking = async (): Promise<boolean> => {
      await Promise.allSettled(connections.map(({ coordinator }) => observed(coordinator)));
      return lookup.mock.calls.length >= 3;
    };
    await eventually(asking, { withinMs: 20_000, what: 'a third lookup' });
    const seconds = Math.ceil((clock.now() - startedAt) / 1000);
    expect(lookup.mock.calls.length).toBeLessThanOrEqual(1 + seconds);
  });

  test('is looked up anew when it has no address, or one where nobody answers', async () => {
    says(null);
    const connection = connectTo([`http://moving.example:${portOf(0)}`]);
    const { coordinator } = connection;
    endings.push(() => coordinator.close());
    await expect(observed(coordinator)).rejects.toThrow('moving.example has no address');
    const elsewhere = says('127.0.0.2');
    const asking = async (): Promise<boolean> => {
      await expect(observed(coordinator)).rejects.toThrow();
      return elsewhere.mock.calls.length > 0;
    };
    await eventually(asking, { withinMs: 20_000, what: 'a lookup' });
    says('127.0.0.1');
    await answers(connection);
  });
});
