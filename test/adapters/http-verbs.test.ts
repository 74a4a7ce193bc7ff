// What the verbs do to an election that they would leave without a leader, to a member that is not to lead for a while, and
// what they leave in the audit log. Elections and coordinator are stand-ins; with real ones: test/e2e/verbs.test.ts.
import { rm, mkdtemp } from 'node:fs/promises';
import { X509Certificate } from 'node:crypto';
import { request } from 'node:http';
import { request as requestHttps } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { AuditEntry } from '../../src/contract.ts';
import { revision, type Control, type Snapshot } from '../../src/core/model.ts';
import { Unreachable } from '../../src/errors.ts';
import { createFront } from '../../src/http/front.ts';
import type { LocalInputs } from '../../src/http/inputs.ts';
import { listen } from '../../src/http/listen.ts';
import { makeCertificates } from '../harness/certificates.ts';
import { candidate, FakeElections, member } from './http-fake-elections.ts';
import { inputsOf, localOf, posting, Servers } from './http-serving.ts';

const { serve, opened, close } = new Servers();
afterEach(close);

const own = candidate('orders-0', 4711n);
const other = candidate('orders-1', 4712n);
const paused: Control = { paused: true, reason: null, by: null, until: '2026-11-20T23:00:00.000Z' };

/** Leads, before these others. */
function leading(...others: (typeof own)[]): FakeElections {
  const fake = new FakeElections(['orders']);
  fake.know({ candidates: [own, ...others], claimUntil: 1_004_000 });
  return fake;
}

/** Stands behind the leader, or, where there is none, first and not leading. */
function following(leader: typeof own | null): FakeElections {
  const fake = new FakeElections(['orders']);
  fake.know({
    candidates: leader === null ? [own] : [{ ...leader, createRevision: revision(9n) }, own],
  });
  return fake;
}

describe('a step-down where nobody else can lead', () => {
  it('is refused, with why of every member', async () => {
    const fake = leading();
    const [ill, never, away] = [
      member('orders-1', 1n, { healthy: false }),
      member('orders-2', 2n, { priority: -1 }),
      member('orders-3', 3n),
    ];
    fake.know({ members: [member('orders-0', 4n), ill, never, away] });
    const ask = await serve(fake);
    const answer = await ask('/step-down', posting({}));
    expect(answer).toMatchObject({
      status: 409,
      body: {
        code: 'nobody_else',
        detail: expect.stringMatching(
          /orders-1 has an app that is not healthy.*orders-2 never leads.*force/,
        ) as string,
        members: [
          { id: 'orders-1', helps: 'mend its app' },
          { id: 'orders-2', helps: 'raise it to 0 or more' },
          { id: 'orders-3', why: 'is present and does not stand' },
        ],
      },
    });
    expect(fake.stepDowns).toEqual([]);
  });

  it('is refused while the election is paused, with that as the reason', async () => {
    // The pause is so new that the other one is still in the queue.
    const fake = leading(other);
    fake.know({ members: [member('orders-1', 1n)], control: paused });
    const ask = await serve(fake);
    const { body } = await ask('/step-down', posting({}));
    expect(body).toMatchObject({ code: 'nobody_else', members: [{ helps: 'resume it' }] });
  });

  it('is carried out where it is forced', async () => {
    const fake = leading();
    fake.onStepDown = () => fake.know({ candidates: [candidate('orders-0', 4800n)] });
    const ask = await serve(fake);
    expect(await ask('/step-down', posting({ force: true }))).toMatchObject({ status: 200 });
    expect(fake.stepDowns).toHaveLength(1);
  });

  it('waits for somebody who is only just coming', async () => {
    const fake = leading();
    fake.onStepDown = () => fake.know({ candidates: [other] });
    const ask = await serve(fake);
    const answer = ask('/step-down', posting({}));
    await ask('/leader');
    fake.know({ candidates: [own, other] });
    fake.emitChange('elected');
    expect(await answer).toMatchObject({ status: 200, body: { leader: { id: 'orders-1' } } });
  });
});

describe('a follower', () => {
  it('is kept from leading for as long as it is told, and says until when', async () => {
    const fake = following(other);
    fake.onStepDown = () => {
      const standsBackUntil = fake.nowMs + 600_000;
      const [leader] = fake.report(fake.names[0]!).candidates;
      fake.know({ candidates: [leader!], obstacle: 'standing_back', standsBackUntil });
    };
    const ask = await serve(fake);
    const answer = await ask('/step-down', posting({ notFor: '10m', reason: 'new disk' }));
    const until = '2026-11-20T22:10:00.000Z';
    expect(answer).toMatchObject({
      status: 200,
      body: { done: true, leader: { id: 'orders-1' } },
    });
    expect(answer.body['detail']).toBe(`orders-0 stands back until ${until}; orders-1 leads.`);
    expect(fake.stepDowns).toMatchObject([['orders', { notForMs: 600_000, reason: 'new disk' }]]);
    const status = await ask('/status');
    expect(status.body).toMatchObject({ obstacle: 'standing_back', standsBackUntil: until });
  });

  it('that is the only one is not, unless that is forced', async () => {
    const fake = following(null);
    const ask = await serve(fake);
    const refused = await ask('/step-down', posting({ notFor: '10m' }));
    expect(refused).toMatchObject({ status: 409, body: { code: 'nobody_else' } });
    expect(fake.stepDowns).toEqual([]);
    fake.onStepDown = () => fake.know({ candidates: [] });
    expect(await ask('/step-down', posting({ notFor: '10m', force: true }))).toMatchObject({
      status: 200,
    });
  });

  it('answers 202 while its key is still in the queue', async () => {
    const fake = following(other);
    const ask = await serve(fake);
    const answer = await ask('/step-down', posting({ notFor: '10m' }));
    expect(answer).toMatchObject({ status: 202, body: { done: false } });
  });
});

describe('a switchover', () => {
  const snapshot = (more: Partial<Snapshot>): Snapshot => ({
    ...{ revision: revision(99n), candidates: [], members: [], handover: null },
    ...{ control: null, switchover: null, ...more },
  });
  /** What is read is what the fake knows. */
  const local = (fake: FakeElections, more: Partial<LocalInputs['coordinator']> = {}) => ({
    graceMs: -2000,
    maxHoldMs: 50,
    coordinator: {
      ...localOf().coordinator,
      observe: () => {
        const { candidates, members, control } = fake.report(fake.names[0]!);
        return [Promise.resolve({ value: snapshot({ candidates, members, control }), sentAt: 0 })];
      },
      ...more,
    },
  });

  it('to whoever leads already is a success', async () => {
    const fake = leading(other);
    const ask = await serve(fake, local(fake));
    const answer = await ask('/switchover', posting({ to: 'orders-0' }));
    expect(answer).toMatchObject({
      status: 200,
      body: { done: true, fencingToken: '4711', leader: { id: 'orders-0' } },
    });
    fake.know({ control: paused });
    expect((await ask('/switchover', posting({ to: 'orders-0' }))).status).toBe(200);
  });

  it('to whoever is first and does not lead is none', async () => {
    const fake = following(null);
    const ask = await serve(fake, local(fake));
    const answer = await ask('/switchover', posting({ to: 'orders-0' }));
    expect(answer).toMatchObject({ status: 504, body: { code: 'not_switched_over' } });
  });

  it('where nobody leads says why of each member, and what would help', async () => {
    const fake = new FakeElections(['orders']);
    const standsBackUntil = fake.nowMs + 60_000;
    fake.know({
      members: [member('orders-0', 1n), member('orders-1', 2n, { healthy: false })],
      obstacle: 'standing_back',
      standsBackUntil,
    });
    const ask = await serve(fake, local(fake));
    const answer = await ask('/switchover', posting({ to: 'orders-1', force: true }));
    expect(answer).toMatchObject({
      status: 409,
      body: {
        code: 'no_leader',
        members: [
          { id: 'orders-0', why: 'stands back until 2026-11-20T22:01:00.000Z' },
          { id: 'orders-1', helps: 'mend its app' },
        ],
      },
    });
    // What cannot help is not done.
    expect(fake.standsAgain).toBe(0);
  });

  it('that is forced lets the member that is asked stand again, and ends a pause', async () => {
    const fake = new FakeElections(['orders']);
    fake.know({ members: [member('orders-0', 1n)], obstacle: 'standing_back', control: paused });
    let resumed = 0;
    fake.onStandAgain = () => {
      fake.know({ candidates: [own], claimUntil: 1_004_000, obstacle: null, control: null });
      fake.emitChange('elected');
    };
    const resume = (): Promise<void> => {
      resumed += 1;
      return Promise.resolve();
    };
    const ask = await serve(fake, local(fake, { resume }));
    const refused = await ask('/switchover', posting({ to: 'orders-0' }));
    expect(refused).toMatchObject({ status: 409, body: { code: 'no_leader' } });
    expect([resumed, fake.standsAgain]).toEqual([0, 0]);
    const answer = await ask('/switchover', posting({ to: 'orders-0', force: true }));
    expect(answer).toMatchObject({ status: 200, body: { leader: { id: 'orders-0' } } });
    expect([resumed, fake.standsAgain]).toEqual([1, 1]);
  });
});

/** Keeps what is recorded, and has it to read. */
function noting(): { audit: LocalInputs['audit']; entries: AuditEntry[] } {
  const entries: AuditEntry[] = [];
  const audit: LocalInputs['audit'] = {
    record: (_election, entry) => {
      entries.unshift(entry);
      return Promise.resolve();
    },
    entries: () => Promise.resolve(entries),
  };
  return { audit, entries };
}

describe('the audit log', () => {
  it('has who asked for what, why, from where, and what became of it', async () => {
    const { audit, entries } = noting();
    const fake = following(other);
    const controls: Control[] = [];
    const coordinator: LocalInputs['coordinator'] = {
      ...localOf().coordinator,
      pause: (_election, control) => {
        controls.push(control);
        fake.know({ control });
        return Promise.resolve();
      },
      resume: () => Promise.reject(new Unreachable('nobody answers')),
    };
    const ask = await serve(fake, { audit, coordinator }, { verbs: (name) => audit.entries(name) });
    await ask('/pause', posting({ reason: 'night work', by: 'ann' }));
    await ask('/resume', posting({ by: 'bob' }));
    await ask('/step-down', posting({ reason: 'why not' }));
    await ask('/step-down', posting({ notFor: '1m' }));
    await ask('/switchover', posting({}));
    const asked = { at: '2026-11-20T22:00:00.000Z', from: '127.0.0.1', via: 'orders-0' };
    expect(entries.toReversed()).toMatchObject([
      { ...asked, verb: 'pause', by: 'ann', reason: 'night work', outcome: 'done' },
      { ...asked, verb: 'resume', by: 'bob', outcome: 'etcd_unreachable' },
      { ...asked, verb: 'step-down', by: null, reason: 'why not', outcome: 'not_leader' },
      { ...asked, verb: 'bench', outcome: 'accepted' },
      { ...asked, verb: 'switchover', certificate: null, outcome: 'invalid_body' },
    ]);
    expect(controls).toMatchObject([{ by: 'ann via orders-0', reason: 'night work' }]);
    expect((await ask('/audit')).body).toEqual({ election: 'orders', entries });
    // Everybody may know of what was carried out, and not from where.
    const { verbs } = (await ask('/history')).body as { verbs: object[] };
    expect(verbs).toMatchObject([{ verb: 'bench' }, { verb: 'pause', by: 'ann' }]);
    expect(verbs[0]).not.toHaveProperty('from');
  });

  it('says who asked in the record of a term', async () => {
    const fake = leading(other);
    fake.onStepDown = () => fake.know({ candidates: [other] });
    const ask = await serve(fake);
    await ask('/step-down', posting({ by: 'ann' }));
    expect(fake.stepDowns).toMatchObject([['orders', { actor: 'ann via orders-0' }]]);
  });

  it('has no entry for whom no guard let in, and keeps no answer waiting for long', async () => {
    let recorded = 0;
    const audit: LocalInputs['audit'] = {
      record: () => {
        recorded += 1;
        return new Promise(() => undefined);
      },
      entries: () => Promise.resolve([]),
    };
    const ask = await serve(following(other), { audit, token: () => 'sesame' });
    expect((await ask('/step-down', posting({}))).status).toBe(401);
    expect(recorded).toBe(0);
    const allowed = posting({}, { authorization: 'Bearer sesame' });
    expect((await ask('/step-down', allowed)).status).toBe(409);
    expect(recorded).toBe(1);
  });

  it('knows whom a certificate of the client is for', async () => {
    const certificates = await makeCertificates();
    const { audit, entries } = noting();
    try {
      const application = createFront(inputsOf(following(other)), localOf({ audit }));
      const { server, authority, client } = certificates;
      const tls = { certificate: server.cert, key: server.key, clientCa: authority.cert };
      const listening = await listen(application, { host: '127.0.0.1', port: 0 }, {}, tls);
      opened.push(listening);
      if (!('port' in listening.address)) throw new Error('not a TCP address');
      const { port } = listening.address;
      const how = { ca: authority.cert, cert: client.cert, key: client.key, agent: false } as const;
      const asked = { host: '127.0.0.1', port, path: '/step-down', method: 'POST', ...how };
      await new Promise<void>((resolve, reject) => {
        const sent = requestHttps(asked, (answer) => answer.resume().on('end', resolve));
        sent.on('error', reject);
        sent.end('{"by":"ann"}');
      });
      const { subject } = new X509Certificate(client.cert);
      expect(subject).toContain(`CN=${entries[0]!.certificate}`);
      expect(entries).toMatchObject([{ by: 'ann', from: '127.0.0.1' }]);
    } finally {
      await certificates.remove();
    }
  });

  it('knows a unix socket', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'electord-audit-'));
    const { audit, entries } = noting();
    try {
      const inputs = inputsOf(following(other));
      const path = join(folder, 'socket');
      opened.push(await listen(createFront(inputs, localOf({ audit })), { path }));
      await new Promise<void>((resolve, reject) => {
        const sent = request({ socketPath: path, path: '/step-down', method: 'POST' }, (answer) => {
          answer.resume();
          answer.on('end', resolve);
        });
        sent.on('error', reject);
        sent.end();
      });
      expect(entries).toMatchObject([{ from: 'unix socket', outcome: 'not_leader' }]);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
