// Readers of Patroni's REST API find what they look for: the codes, and the keys of /cluster and /patroni, and nothing that
// we do not know.
import { afterEach, describe, expect, it } from 'vitest';
import type { Control } from '../../src/core/model.ts';
import { inputsOf, Servers } from './http-serving.ts';
import { candidate, FakeElections, member, states } from './http-fake-elections.ts';

const servers = new Servers();
afterEach(servers.close);

const paused: Control = { reason: null, by: null, until: null } as Control;

/** `orders-1` leads, `orders-0` (this one) and `orders-2` follow; the app of the last is not well. */
function three(more: Parameters<FakeElections['know']>[0] = {}): FakeElections {
  const fake = new FakeElections(['orders']);
  fake.know({
    candidates: [
      candidate('orders-1', 12n, { address: 'postgres://orders-1:5432/db' }),
      candidate('orders-2', 13n, { address: '[fd00::7]:5432' }),
      candidate('orders-0', 14n, { address: 'http://orders-0' }),
    ],
    members: [
      member('orders-1', 12n, { address: 'postgres://orders-1:5432/db' }),
      member('orders-2', 13n, { address: '[fd00::7]:5432', healthy: false }),
      member('orders-0', 14n, { address: 'http://orders-0' }),
    ],
    ...more,
  });
  return fake;
}

describe('/cluster', () => {
  it('names the members by name, with role, state, address and a lag that is not known', async () => {
    const { status, body } = await (await servers.serve(three()))('/cluster');
    expect(status).toBe(200);
    expect(body).toEqual({
      scope: 'orders',
      members: [
        {
          ...{ name: 'orders-0', role: 'replica', state: 'running', lag: 'unknown' },
          ...{ api_url: 'http://orders-0:4040/patroni', host: 'orders-0', port: 80 },
        },
        {
          ...{ name: 'orders-1', role: 'leader', state: 'running' },
          ...{ api_url: 'http://orders-1:4040/patroni', host: 'orders-1', port: 5432 },
        },
        {
          ...{ name: 'orders-2', role: 'replica', state: 'stopped', lag: 'unknown' },
          ...{ api_url: 'http://orders-2:4040/patroni', host: 'fd00::7', port: 5432 },
        },
      ],
    });
  });

  it('says of a candidate of another program what is known, and that it is paused', async () => {
    const stranger = { address: 'some words', url: null, native: false };
    const fake = three({ candidates: [candidate('x', 9n, stranger)], members: [] });
    fake.know({ control: paused });
    const { body } = await (await servers.serve(fake))('/elections/orders/cluster');
    const members = [{ name: 'x', role: 'leader', state: 'running', api_url: null }];
    expect(body).toEqual({ scope: 'orders', pause: true, members });
  });

  it('leaves the port out where the address has none and its scheme says none', async () => {
    const fake = three({
      candidates: [candidate('orders-1', 9n, { address: 'postgres://db/x' })],
      members: [],
    });
    const { body } = await (await servers.serve(fake))('/cluster');
    expect(body).toMatchObject({ members: [{ host: 'db' }] });
    expect(JSON.stringify(body)).not.toContain('port');
  });
});

describe('/patroni', () => {
  const patroni = { version: '9.9.9', scope: 'orders', name: 'orders-0' };
  /** The wall clock of these tests, in seconds. */
  const dcs_last_seen = Date.parse('2026-11-20T22:00:00.000Z') / 1000;

  it('is about this instance: the primary while it leads', async () => {
    const fake = new FakeElections(['orders']);
    states.leader(fake);
    const ask = await servers.serve(fake);
    const leads = { state: 'running', role: 'primary', dcs_last_seen, patroni };
    expect((await ask('/patroni')).body).toEqual(leads);
  });

  it('is 200 with the role replica, a stopped state, a pause and no leader where that is so', async () => {
    const fake = new FakeElections(['orders']);
    fake.know({ control: paused, obstacle: 'paused' });
    fake.contactAt = null;
    const app = () => ({ configured: true, healthy: false, detail: '' });
    const health = { ...inputsOf(fake).health, app };
    const answer = await (await servers.serve(fake, {}, { health }))('/patroni');
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      ...{ state: 'stopped', role: 'replica', cluster_unlocked: true, pause: true, patroni },
    });
  });
});

describe('the health checks', () => {
  it('/read-only takes the leader too, and /replica a follower that is well only', async () => {
    const fake = three();
    const app = () => ({ configured: true, healthy: false, detail: '' });
    const health = { ...inputsOf(fake).health, app };
    const well = await servers.serve(fake);
    const unwell = await servers.serve(fake, {}, { health });
    const codes = async (ask: typeof well) =>
      Promise.all(['/replica', '/read-only'].map(async (path) => (await ask(path)).status));
    expect(await codes(well)).toEqual([200, 200]);
    expect(await codes(unwell)).toEqual([503, 503]);
    states.leader(fake);
    expect(await codes(well)).toEqual([503, 200]);
  });

  it('asks nothing of the log of a database: lag and tags are not looked at', async () => {
    const ask = await servers.serve(three());
    expect((await ask('/replica?lag=10MB')).status).toBe(200);
    expect((await ask('/primary?tag_x=1', { method: 'OPTIONS' })).status).toBe(503);
  });
});
