// The stream of events of a sidecar with as many elections as it can stand in, as the client reads it: the state that it
// begins with is far longer than what a client may leave unread, and no reason to drop it.
import type { ServerResponse } from 'node:http';
import { Writable } from 'node:stream';
import { afterEach, expect, test } from 'vitest';
import { mostElections } from '../../src/config/elections.ts';
import { createEvents } from '../../src/http/events.ts';
import { SystemClock } from '../../src/process/clock.ts';
import { sidecarAddress } from '../../src/sdk/address.ts';
import { EventReader, type ServerSentEvent } from '../../src/sdk/event-reader.ts';
import { HttpTransport } from '../../src/sdk/transport.ts';
import { eventually } from '../harness/wait.ts';
import { candidate, FakeElections } from './http-fake-elections.ts';
import { inputsOf, serveOn } from './http-serving.ts';
import { settled } from './sdk-stand-in.ts';

/** Of a name of an election, and of the id of an instance. */
const longestName = 128;
const longestId = 253;

const names = Array.from({ length: mostElections }, (_, index) =>
  String(index).padStart(longestName, 'n'),
);

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

function elections(): FakeElections {
  const fake = new FakeElections(names);
  const leader = candidate('i'.repeat(longestId), 12n);
  for (const name of names) fake.know({ candidates: [leader] }, name);
  return fake;
}

/** The state of every election, and behind it one change of the first. */
function expectAll(heard: readonly ServerSentEvent[]): void {
  const told = heard.map(({ data }) => JSON.parse(data) as { election: string; reason: string });
  expect(told.slice(0, -1).map(({ election }) => election)).toEqual(names);
  expect(told.at(-1)).toMatchObject({ election: names[0], reason: 'switchover' });
}

test('4096 elections with the longest names: the client reads every state, and then a change', async () => {
  const fake = elections();
  const served = await serveOn(inputsOf(fake));
  ends.push(() => served.listening.close());
  const url = `http://127.0.0.1:${served.port}`;
  const clock = new SystemClock();
  const parts = { address: sidecarAddress(url), shownAs: url, token: null, tls: {}, clock };
  const heard: ServerSentEvent[] = [];
  let failure: Error | null = null;
  const follower = {
    event: (event: ServerSentEvent) => {
      heard.push(event);
      if (heard.length === mostElections) fake.emitChange('switchover');
    },
    ended: (why: Error) => (failure = why),
  };
  ends.push(new HttpTransport(parts).follow('/events', follower));
  await eventually(() => failure !== null || heard.length > mostElections, {
    withinMs: 30_000,
    what: `${mostElections} states and a change`,
  });
  expect(failure).toBeNull();
  expectAll(heard);
});

/** A connection that takes nothing but what it is told to take. */
class SlowConnection extends Writable {
  readonly reader = new EventReader();
  readonly heard: ServerSentEvent[] = [];
  #take: () => void = () => undefined;

  override _write(piece: Buffer, _: BufferEncoding, done: () => void): void {
    this.#take = () => {
      this.heard.push(...this.reader.take(piece.toString()));
      done();
    };
  }

  /** Takes the next piece, and lets whoever writes have its turn. */
  async take(): Promise<void> {
    this.#take();
    await settled();
  }
}

test('a client is not dropped for what it began with, however slowly it takes it', async () => {
  const fake = elections();
  const events = createEvents({ elections: fake, clock: fake.clock, wallNow: () => 0 });
  ends.push(() => events.close());
  const connection = new SlowConnection();
  events.open('local', connection as unknown as ServerResponse, null);
  fake.emitChange('switchover');
  await settled();
  while (connection.heard.length <= mostElections) {
    expect(connection.destroyed).toBe(false);
    const before = connection.writableLength;
    // Less than what is taken for stuck; all of it together is far more.
    fake.nowMs += 5000;
    await connection.take();
    expect(connection.writableLength, 'something was taken').not.toBe(before);
  }
  expectAll(connection.heard);
});
