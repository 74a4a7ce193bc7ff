// The log: its format, its level at run time, what it hides, and how each notice reads; that trouble which repeats
// does not flood it.
import { beforeEach, describe, expect, it } from 'vitest';
import { electionName, leaseId, memberId, type Cause } from '../../src/core/model.ts';
import { Denied, Unreachable } from '../../src/errors.ts';
import type { Notice } from '../../src/ports.ts';
import { createLog, type Log } from '../../src/telemetry/log.ts';
import { logNotices } from '../../src/telemetry/notices.ts';
import { candidate, FakeElections, token } from './http-fake-elections.ts';

type Line = Readonly<Record<string, unknown>>;

let written: string[];
const destination = { write: (line: string) => void written.push(line) };
const lines = (): Line[] => written.map((line) => JSON.parse(line) as Line);
/** The lines since the last call, without what every line has. */
const news = (): Line[] => {
  const found = lines().map(({ time: _time, pid: _pid, ...rest }) => rest);
  written = [];
  return found;
};

beforeEach(() => {
  written = [];
});

describe('createLog', () => {
  it('writes JSON with an ISO time and the level by name', () => {
    createLog({ level: 'info', format: 'json', destination }).info({ election: 'orders' }, 'leads');
    const [line] = lines();
    expect(line).toMatchObject({
      level: 'info',
      election: 'orders',
      msg: 'leads',
      pid: process.pid,
    });
    expect(line?.['time']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  });

  it('changes its level while it runs', () => {
    const log = createLog({ level: 'warn', format: 'json', destination });
    log.info('one');
    log.level = 'debug';
    log.debug('two');
    log.level = 'silent';
    log.fatal('three');
    expect(lines().map(({ msg }) => msg)).toEqual(['two']);
  });

  it.each(['json', 'pretty'] as const)('hides secrets that got this far, in %s', (format) => {
    const log = createLog({ level: 'trace', format, destination });
    const secret = 'hunter2';
    const error = Object.assign(new Error('refused'), { password: secret });
    log.trace({ token: secret, password: secret, authorization: secret }, 'top');
    log.fatal({ settings: { token: secret }, etcd: { password: secret }, err: error }, 'nested');
    log.warn({ request: { headers: { authorization: secret, Authorization: secret } } }, 'deep');
    expect(written).toHaveLength(3);
    expect(written.join('')).not.toContain(secret);
    expect(written.join('')).toContain('[redacted]');
  });

  it('writes for eyes at once and on one line, with the fields', () => {
    createLog({ level: 'info', format: 'pretty', destination }).warn(
      { election: 'orders' },
      'lost',
    );
    expect(written).toHaveLength(1);
    expect(written[0]).toMatch(/^\[\d\d:\d\d:\d\d\.\d{3}\] WARN: lost \{"election":"orders"\}\n$/);
  });
});

describe('logNotices', () => {
  const election = electionName('orders');
  let fake: FakeElections;
  let log: Log;
  let end: () => void;

  beforeEach(() => {
    fake = new FakeElections(['orders', 'bills']);
    log = createLog({ level: 'trace', format: 'json', destination });
    end = logNotices(log, fake, fake.clock);
  });

  const one = (notice: Notice): Line => {
    fake.emit(notice);
    const [line, ...rest] = news();
    expect(rest).toEqual([]);
    expect(line).toHaveProperty('msg', expect.stringMatching(/\w+ \w+/));
    return line!;
  };
  const trouble = (operation: string, error: Error): void =>
    fake.emit({ kind: 'trouble', operation, election: null, error });
  const renewed = (): void => fake.emit({ kind: 'renewal', result: 'ok', durationMs: 2.4 });

  it('tells of a term from its begin to its end', () => {
    const term = '9007199254740993';
    const mine = { election, token: token(9007199254740993n) };
    const fields = { election: 'orders', id: 'orders-0', term };
    expect(
      one({
        kind: 'elected',
        ...mine,
        leaderlessMs: 12.6,
        leaderlessAtMostMs: 12.6,
        endBefore: null,
      }),
    ).toMatchObject({
      ...fields,
      level: 'info',
      cause: 'elected',
      leaderlessMs: 13,
    });
    expect(
      one({
        kind: 'elected',
        ...mine,
        leaderlessMs: null,
        leaderlessAtMostMs: null,
        endBefore: null,
      }),
    ).not.toHaveProperty('leaderlessMs');
    const ended = { kind: 'ended', ...mine, cause: 'switchover', reason: 'a new node' } as const;
    expect(one({ ...ended, ledMs: 5000.2 })).toMatchObject({
      ...fields,
      level: 'info',
      cause: 'switchover',
      reason: 'a new node',
      ledMs: 5000,
    });
    expect(one({ kind: 'released', ...mine })).toMatchObject({ ...fields, level: 'info' });
  });

  it.each<[Cause, string]>([
    ['resigned', 'info'],
    ['switchover', 'info'],
    ['paused', 'info'],
    ['stopping', 'info'],
    ['app_unhealthy', 'warn'],
    ['app_exited', 'warn'],
    ['lease_expired', 'warn'],
    ['key_deleted', 'warn'],
    ['etcd_unreachable', 'warn'],
    ['crashed', 'warn'],
    ['unknown', 'warn'],
  ])('logs an end with the cause %s at %s', (cause, level) => {
    const line = one({ kind: 'ended', election, token: token(1n), cause, reason: null, ledMs: 1 });
    expect(line).toMatchObject({ level, cause });
  });

  it('tells who leads now and who did before', () => {
    fake.know({ candidates: [candidate('orders-1', 12n)] });
    const report = fake.report(election);
    const previousLeader = { id: memberId('orders-2'), token: token(11n) };
    const line = one({ kind: 'changed', election, report, previousLeader, cause: 'crashed' });
    expect(line).toEqual({
      level: 'info',
      election: 'orders',
      id: 'orders-0',
      role: 'follower',
      leader: 'orders-1',
      term: '12',
      previousLeader: 'orders-2',
      previousTerm: '11',
      cause: 'crashed',
      msg: 'orders-1 is the leader of orders; this instance is follower',
    });
  });

  it('tells of the lease and, to who wants to know, of renewals', () => {
    const lease = { kind: 'lease', leaseId: leaseId('abc'), ttlMs: 5000 } as const;
    const levels = (['granted', 'lapsed', 'recovered', 'lost', 'revoking'] as const).map(
      (state) => {
        const line = one({ ...lease, state });
        expect(line).toMatchObject({ id: 'orders-0', leaseId: 'abc', ttlMs: 5000 });
        return line['level'];
      },
    );
    expect(levels).toEqual(['info', 'warn', 'info', 'warn', 'info']);
    const renewal = { kind: 'renewal', durationMs: 2.4 } as const;
    expect(one({ ...renewal, result: 'ok' })).toMatchObject({ level: 'trace', durationMs: 2 });
    expect(one({ ...renewal, result: 'failed' })).toMatchObject({ level: 'debug' });
  });

  it('says once that a term has had no witness for a TTL, and that it has one again', () => {
    log.level = 'info';
    const witnessed = (...ids: readonly string[]): void =>
      fake.know({ failover: { shortMs: 250, witnesses: ids.map(memberId), isWitness: false } });
    const round = (): Line[] => {
      fake.nowMs += 1000;
      fake.know({ claimUntil: fake.nowMs + 5000 });
      renewed();
      return news();
    };
    fake.know({ candidates: [candidate('orders-0', 7n)] });
    witnessed();
    for (let rounds = 0; rounds < 5; rounds += 1) expect(round()).toEqual([]);
    expect(round()).toMatchObject([{ level: 'warn', election: 'orders', term: '7' }]);
    expect(round()).toEqual([]);
    witnessed('orders-1');
    const ids = [memberId('orders-1')];
    const told = { kind: 'witnesses', election, token: token(7n), ids } as const;
    expect(one(told)).toMatchObject({ level: 'info' });
    fake.emit(told);
    expect(news()).toEqual([]);
  });

  it('says trouble at once, then only counts it, and says again after 30 s', () => {
    log.level = 'info';
    const cause = new Error('14 UNAVAILABLE');
    trouble('renew', new Unreachable('no endpoint answered', { cause }));
    expect(news()).toEqual([
      {
        level: 'warn',
        id: 'orders-0',
        operation: 'renew',
        code: 'etcd_unreachable',
        count: 1,
        because: '14 UNAVAILABLE',
        msg: 'renew failed: no endpoint answered',
      },
    ]);
    for (let seconds = 1; seconds < 30; seconds += 1) {
      fake.nowMs += 1000;
      trouble('renew', new Unreachable('no endpoint answered'));
    }
    expect(news()).toEqual([]);
    fake.nowMs += 1000;
    trouble('renew', new Unreachable('still nobody'));
    expect(news()).toMatchObject([{ level: 'warn', count: 30, msg: 'renew failed: still nobody' }]);
  });

  it('tells troubles apart by operation and code', () => {
    trouble('renew', new Unreachable('a'));
    trouble('observe', new Unreachable('b'));
    trouble('renew', new Denied('c'));
    trouble('renew', new Denied('d'));
    fake.emit({ kind: 'watchInterrupted', why: 'compacted' });
    fake.emit({ kind: 'watchInterrupted', why: 'compacted' });
    expect(news().map(({ operation, code }) => [operation, code])).toEqual([
      ['renew', 'etcd_unreachable'],
      ['observe', 'etcd_unreachable'],
      ['renew', 'etcd_denied'],
      ['watch', 'interrupted'],
    ]);
  });

  it('says once that trouble is over: after a TTL without it, while renewals succeed', () => {
    log.level = 'info';
    for (const what of ['a', 'b', 'c']) trouble('renew', new Unreachable(what));
    news();
    fake.nowMs += 4999;
    renewed();
    expect(news()).toEqual([]);
    fake.nowMs += 1;
    renewed();
    renewed();
    expect(news()).toMatchObject([
      { level: 'info', operation: 'renew', code: 'etcd_unreachable', count: 3 },
    ]);
  });

  it('is not flooded by trouble that comes and goes', () => {
    log.level = 'info';
    for (let round = 0; round < 60; round += 1) {
      trouble('observe', new Unreachable('a'));
      fake.nowMs += 6000;
      renewed();
    }
    // Six minutes: a warning every 30 s at most, and its end each time.
    const found = news();
    expect(found.filter(({ level }) => level === 'warn')).toHaveLength(12);
    expect(found.filter(({ level }) => level === 'info')).toHaveLength(12);
  });

  it('ends when told to', () => {
    end();
    renewed();
    expect(news()).toEqual([]);
  });
});
