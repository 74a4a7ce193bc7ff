// Pings over HTTP, the sender against the listener of another sidecar: what is signed reaches the elections, what is not
// does not, and no answer is believed but that of the process that was pinged.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { endedAfterEach } from '../harness/cleanups.ts';
import { electionName, fencingToken, revision, type ElectionPing } from '../../src/core/model.ts';
import { pingingOf } from '../../src/peers/pings.ts';
import {
  encodePings,
  newPingKey,
  pingsAtOnce,
  signatureHeader,
  signatureOf,
} from '../../src/process/ping-message.ts';
import type { Pings } from '../../src/ports.ts';
import { FakeElections } from './http-fake-elections.ts';
import { inputsOf, serveOn, type Served } from './http-serving.ts';

const key = newPingKey();
const ping = (election: string, sequence = 1): ElectionPing => ({
  election: electionName(election),
  ping: {
    term: fencingToken(revision(9_007_199_254_740_993n)),
    witness: revision(12n),
    sequence,
    forMs: 5000,
    enlisted: { at: revision(13n), number: 1, ahead: 0 },
  },
});

const cleanups = endedAfterEach();

class Witness extends FakeElections {
  readonly heard: ElectionPing[] = [];

  override ping(heard: ElectionPing): boolean {
    this.heard.push(heard);
    return heard.election !== 'bills';
  }
}

async function witness(
  pingKey: string | null = key,
): Promise<{ readonly elections: Witness; readonly served: Served; readonly url: string }> {
  const elections = new Witness(['orders', 'bills']);
  const served = await serveOn(inputsOf(elections, { pingKey }));
  cleanups.push(() => served.listening.close());
  return { elections, served, url: `http://127.0.0.1:${served.port}` };
}

function sender(): Pings {
  const { pings } = pingingOf({ fastFailoverMs: 5000 }, () => ({ cert: null, key: null }));
  cleanups.push(() => pings!.close());
  return pings!;
}

/** A server that is none of ours. */
async function stranger(answer: Parameters<typeof createServer>[1]): Promise<string> {
  const server: Server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe('pings', () => {
  it('reach the elections as they were sent, and those acknowledged come back', async () => {
    const { elections, url } = await witness();
    const sent = [ping('orders'), ping('bills'), ping('orders', 2)];
    expect(await sender().send({ url, key }, sent)).toEqual([sent[0], sent[2]]);
    expect(elections.heard).toEqual(sent);
  });

  it('of a thousand elections go in few messages', async () => {
    const { elections, url } = await witness();
    const sent = Array.from({ length: 2 * pingsAtOnce + 1 }, (_, at) => ping('orders', at + 1));
    expect(await sender().send({ url, key }, sent)).toEqual(sent);
    expect(elections.heard).toHaveLength(sent.length);
  });

  it('under the key of another process are refused', async () => {
    const { elections, url } = await witness();
    const wrong = { url, key: newPingKey() };
    await expect(sender().send(wrong, [ping('orders')])).rejects.toThrow(/not of the process/);
    expect(elections.heard).toEqual([]);
  });

  it.each([
    ['an answer that is not signed', {}],
    [
      'an answer signed for another message',
      { [signatureHeader]: signatureOf(key, '{"acknowledged":[0]}', 'x') },
    ],
  ])('are not acknowledged by %s', async (_, headers) => {
    const url = await stranger((_request, response) => {
      response.writeHead(200, headers).end('{"acknowledged":[0]}');
    });
    await expect(sender().send({ url, key }, [ping('orders')])).rejects.toThrow(
      /not of the process/,
    );
  });

  it('do not wait for those before them, and no more of them are sent while all hang', async () => {
    let asked = 0;
    const url = await stranger(() => void (asked += 1));
    const pings = sender();
    const hanging = Array.from({ length: 4 }, (_, at) =>
      pings.send({ url, key }, [ping('orders', at + 1)]),
    );
    const ends = Promise.allSettled(hanging);
    await expect(pings.send({ url, key }, [ping('orders', 5)])).rejects.toThrow(/hang/);
    await expect.poll(() => asked).toBe(4);
    pings.close();
    expect((await ends).map(({ status }) => status)).toEqual(Array(4).fill('rejected'));
  });

  it.each([['ftp://h'], ['http://user:word@127.0.0.1'], ['unix:/run/electord.sock']])(
    'are not sent to %s',
    async (url) => {
      await expect(sender().send({ url, key }, [ping('orders')])).rejects.toThrow(/url/);
    },
  );
});

describe('POST /witness', () => {
  const post = (served: Served, body: string, signature = signatureOf(key, body)) =>
    served.ask('/witness', { method: 'POST', headers: { [signatureHeader]: signature }, body });

  it('refuses what is not signed, not a list of pings, too long, or not a POST', async () => {
    const { served, elections } = await witness();
    const body = encodePings([ping('orders')]);
    expect(await post(served, body, '')).toMatchObject({
      status: 403,
      body: { code: 'wrong_signature' },
    });
    expect(await post(served, `${body} `, signatureOf(key, body))).toMatchObject({ status: 403 });
    for (const wrong of ['', '[]', '{"pings":[{}]}', body.replace('"12"', '"0"')]) {
      expect(await post(served, wrong)).toMatchObject({
        status: 422,
        body: { code: 'invalid_body' },
      });
    }
    expect(await post(served, ' '.repeat(65 * 1024))).toMatchObject({ status: 413 });
    expect(await served.ask('/witness')).toMatchObject({ status: 405 });
    expect(elections.heard).toEqual([]);
  });

  it('is not there where fast failover is off', async () => {
    const { served } = await witness(null);
    expect(await post(served, encodePings([ping('orders')]))).toMatchObject({ status: 404 });
  });
});
