// HAProxy's agent-check: a question in one line, an answer in one line, at once or when it changes; and bounds on all that
// a client can hold.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { listenToAgents, type AgentLimits } from '../../src/http/agent.ts';
import type { Inputs } from '../../src/http/inputs.ts';
import type { Listening } from '../../src/http/listen.ts';
import { eventually } from '../harness/wait.ts';
import { inputsOf } from './http-serving.ts';
import { candidate, FakeElections, states } from './http-fake-elections.ts';

const opened: Listening[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
});

interface Agent {
  readonly listening: Listening;
  /** What comes until the end of the connection; `text` null says nothing. */
  readonly ask: (text: string | null) => Promise<string>;
  readonly connect: () => Socket;
}

async function agentOf(
  fake: FakeElections,
  limits: Partial<AgentLimits> = {},
  more: Partial<Inputs> = {},
): Promise<Agent> {
  const listening = await listenToAgents(
    { host: '127.0.0.1', port: 0 },
    inputsOf(fake, more),
    limits,
  );
  opened.push(listening);
  const { port } = listening.address as { readonly port: number };
  const open = (): Socket => connect(port, '127.0.0.1').setEncoding('latin1');
  return {
    listening,
    connect: open,
    ask: async (text) => {
      const socket = open();
      let answer = '';
      socket.on('data', (part: string) => (answer += part));
      socket.on('error', () => undefined);
      if (text !== null) socket.write(text);
      await once(socket, 'close');
      return answer;
    },
  };
}

const fakeIn = (state: keyof typeof states, names = ['orders']): FakeElections => {
  const fake = new FakeElections(names);
  states[state](fake);
  return fake;
};

describe('the answer', () => {
  it.each([
    ['leader', 'up\n', 'down #it leads\n'],
    ['follower', 'down #orders-1 leads\n', 'up\n'],
    ['observer', 'down #orders-1 leads\n', 'up\n'],
    ['leaderless', 'down #nobody leads\n', 'down #nobody leads\n'],
    ['unknown', 'down #it does not know who leads\n', 'down #it does not know who leads\n'],
  ] as const)('of a %s', async (state, asLeader, asFollower) => {
    const { ask } = await agentOf(fakeIn(state));
    for (const question of ['orders leader\n', 'leader\r\n', 'orders\n', '\n']) {
      expect(await ask(question), question).toBe(asLeader);
    }
    expect(await ask('orders follower\n')).toBe(asFollower);
    expect(await ask('follower\n')).toBe(asFollower);
  });

  it('is that of a follower that is well only', async () => {
    const fake = fakeIn('follower');
    const app = () => ({ configured: true, healthy: false, detail: '' });
    const { ask } = await agentOf(fake, {}, { health: { ...inputsOf(fake).health, app } });
    expect(await ask('follower\n')).toBe('down #it is not healthy\n');
  });

  it('is about the election that is named, and down where it cannot be about one', async () => {
    const fake = fakeIn('leader', ['orders', 'bills']);
    fake.know({ candidates: [candidate('x\ny', 7n)] }, 'bills');
    const { ask } = await agentOf(fake);
    expect(await ask('orders\n')).toBe('up\n');
    // Whatever another program has written into its key, an answer is one line.
    expect(await ask('bills leader\n')).toBe('down #x y leads\n');
    expect(await ask('leader\n')).toBe('down #the question names no election\n');
    expect(await ask('other leader\n')).toBe('down #no election "other" here\n');
    expect(await ask('orders bills leader\n')).toBe('down #the question has too many words\n');
  });

  it('comes without a question, and without the end of one', async () => {
    const { ask } = await agentOf(fakeIn('follower'), { askWithinMs: 20 });
    expect(await ask(null)).toBe('down #orders-1 leads\n');
    expect(await ask('orders follower')).toBe('up\n');
  });

  it('is down where it cannot be told, and the failure is reported', async () => {
    const fake = fakeIn('leader');
    const reported: unknown[] = [];
    const { ask } = await agentOf(fake, {}, { reportError: (error) => reported.push(error) });
    fake.failing = new Error('a test');
    expect(await ask('orders leader\n')).toBe('down #it cannot tell\n');
    expect(reported).toEqual([fake.failing]);
  });
});

/** Counts what it is asked: a question has been read once it is. */
class Counting extends FakeElections {
  asked = 0;

  override report(...args: Parameters<FakeElections['report']>) {
    this.asked += 1;
    return super.report(...args);
  }
}

describe('an answer that is held back', () => {
  const following = { candidates: [candidate('orders-1', 5000n), candidate('orders-0', 5001n)] };
  const leading = { candidates: [candidate('orders-0', 5001n)], claimUntil: 9_000_000 };

  /** One that leads, and has been as it is for `sinceMs`. */
  async function settled(sinceMs: number, limits: Partial<AgentLimits> = {}) {
    const fake = new Counting(['orders']);
    fake.ttl = 60_000;
    fake.know(leading);
    const agent = await agentOf(fake, limits);
    fake.nowMs += sinceMs;
    return { fake, agent };
  }

  /** Asks, and resolves once the question was looked at. */
  async function held(agent: Agent, fake: Counting, question: string) {
    const { asked } = fake;
    const end: { answer?: string } = {};
    const done = agent.ask(question).then((answer) => (end.answer = answer));
    await eventually(() => fake.asked >= asked + 2, { withinMs: 5000, what: 'a question' });
    return { end, done };
  }

  it('comes when it changes, down and up', async () => {
    const { fake, agent } = await settled(9000);
    const leader = await held(agent, fake, 'orders leader 9s\n');
    const follower = await held(agent, fake, 'orders follower 9s\n');
    // What has changed is not what is asked about.
    fake.emitChange('unknown');
    expect([leader.end, follower.end]).toEqual([{}, {}]);
    fake.know(following);
    fake.emitChange('switchover');
    expect(await leader.done).toBe('down #orders-1 leads\n');
    expect(await follower.done).toBe('up\n');
  });

  it('is not held back before it has been so for as long', async () => {
    const { fake, agent } = await settled(8999);
    expect(await agent.ask('orders leader 9s\n')).toBe('up\n');
    fake.nowMs += 1000;
    fake.know(following);
    fake.emitChange('switchover');
    fake.nowMs += 8999;
    fake.know(following);
    expect(await agent.ask('orders leader 9s\n')).toBe('down #orders-1 leads\n');
  });

  it.each([
    ['as was asked for', '20ms', {}, leading.claimUntil],
    ['as any is', '9h', { holdAtMostMs: 20 }, leading.claimUntil],
    ['as the claim lasts', '9s', {}, 1_009_020],
  ])('comes after as long %s', async (_, hold, limits, claimUntil) => {
    const { fake, agent } = await settled(9000, limits);
    fake.know({ claimUntil });
    const { done } = await held(agent, fake, `orders leader ${hold}\n`);
    expect(await done).toBe('up\n');
  });

  it('comes when the sidecar ends', async () => {
    const { fake, agent } = await settled(9000);
    const { done } = await held(agent, fake, 'orders leader 9s\n');
    fake.know(following);
    await agent.listening.close();
    expect(await done).toBe('down #orders-1 leads\n');
  });
});

it('says that an address is taken, and that it may be free later', async () => {
  const { listening } = await agentOf(fakeIn('leader'));
  const again = listenToAgents(
    listening.address as { readonly host: string; readonly port: number },
    inputsOf(fakeIn('leader')),
  );
  await expect(again).rejects.toMatchObject({ code: 'cannot_listen', passes: true });
});

describe('a client', () => {
  it('that says too much gets no answer', async () => {
    const { ask } = await agentOf(fakeIn('leader'));
    expect(await ask('x'.repeat(257))).toBe('');
  });

  it('that does not end is ended', async () => {
    const agent = await agentOf(fakeIn('leader'), { takeWithinMs: 20 });
    const socket = connect({
      ...{ port: (agent.listening.address as { port: number }).port, host: '127.0.0.1' },
      allowHalfOpen: true,
    });
    socket.resume().write('leader\n');
    await once(socket, 'end');
    // The other side is gone as well: what is written now meets nobody.
    const failed = once(socket, 'error');
    const writing = setInterval(() => socket.write('x'), 5);
    await failed.finally(() => clearInterval(writing));
    expect(socket.destroyed).toBe(true);
  });

  it('is one of as many as there may be at once', async () => {
    const small = await agentOf(fakeIn('leader'), { maxConnections: 1, askWithinMs: 60_000 });
    const first = small.connect();
    await once(first, 'connect');
    expect(await small.ask('leader\n')).toBe('');
    let answer = '';
    first.on('data', (part: string) => (answer += part));
    first.write('leader\n');
    await once(first, 'close');
    expect(answer).toBe('up\n');
  });
});
