// The judge of the real faults, on answers made up for it: what is a violation, what is not, and what is excused.
import { expect, test } from 'vitest';
import { formatAnswer, parseAnswer } from './answer-line.ts';
import type { Answer } from './answer-line.ts';
import { judge } from './judge.ts';
import type { Law, Verdict } from './judge.ts';
import type { FaultRecord } from './scene.ts';

const law: Law = {
  ttlMs: 3000,
  mostValidForMs: 2750,
  takeoverDelayMs: 0,
  availabilityBoundMs: 1000,
  watchLatencyMs: 50,
};

/** An answer that took 10 ms. */
const answer = (from: string, sentAt: number, more: Partial<Answer>): Answer => ({
  ...{ from, sentAt, receivedAt: sentAt + 10, status: 200, claims: null, names: null },
  ...{ validForMs: 0, wallMs: Number.NaN },
  ...more,
});

const fault = (more: Partial<FaultRecord> = {}): FaultRecord => ({
  ...{ kind: 'made-up', target: '', startedAt: 0, healedAt: 50, settledAt: 100, effect: '' },
  ...{ leaderDue: 'throughout', plannedEnds: [], administered: [], revokedByEtcd: [] },
  ...{ withoutEtcd: [], revived: null },
  ...more,
});

const rulesOf = ({ violations }: Verdict): readonly string[] => violations.map(({ rule }) => rule);

test('a claim asked for after a newer one was received is stale, and only that', () => {
  const newer = answer('b', 100, { claims: 10n });
  // '10' < '6' as text: terms are numbers.
  const stale = judge([newer, answer('a', 111, { claims: 6n })], [], law);
  expect(rulesOf(stale)).toEqual(['stale claim']);
  expect(stale.violations[0]).toMatchObject({ count: 1, worstMs: 1 });
  // Asked for while the newer one was under way: both may have been true in turn.
  expect(rulesOf(judge([newer, answer('a', 105, { claims: 6n })], [], law))).toEqual([]);
  expect(rulesOf(judge([answer('a', 85, { claims: 6n }), newer], [], law))).toEqual([]);
});

test('many stale answers of one term are one violation, told by the worst', () => {
  const claims = [120, 130, 140].map((sentAt) => answer('a', sentAt, { claims: 6n }));
  const { violations } = judge([answer('b', 100, { claims: 7n }), ...claims], [], law);
  expect(violations).toMatchObject([{ rule: 'stale claim', count: 3, worstMs: 30 }]);
});

test('a claim after somebody has named a newer leader is stale to others', () => {
  const verdict = judge([answer('b', 0, { names: 7n }), answer('a', 20, { claims: 6n })], [], law);
  expect(rulesOf(verdict)).toEqual(['stale to others']);
});

test('validForMs counts from the question: a newer claim before its end breaks a promise', () => {
  const promise = answer('a', 0, { claims: 6n, validForMs: 500 });
  const early = answer('b', 485, { claims: 7n });
  expect(rulesOf(judge([promise, early], [], law))).toEqual(['promise broken']);
  expect(rulesOf(judge([promise, answer('b', 490, { claims: 7n })], [], law))).toEqual([]);
  // A leader that was asked to end may give up what it had left.
  expect(rulesOf(judge([promise, early], [fault({ plannedEnds: [6n] })], law))).toEqual([]);
  // Nor can it keep what etcd has taken away; but that is reported.
  const revoked = judge([promise, early], [fault({ revokedByEtcd: [6n] })], law);
  expect(rulesOf(revoked)).toEqual([]);
  expect(revoked.excused).toMatchObject([{ rule: 'promise broken', count: 1 }]);
});

test('no lease is relied upon longer than the TTL less the margin', () => {
  const claims = answer('a', 0, { claims: 6n, validForMs: 2751 });
  expect(rulesOf(judge([claims], [], law))).toEqual(['valid too long']);
});

test('a sidecar never goes back to an older term, its own or a named one', () => {
  const back = [answer('a', 0, { names: 7n }), answer('a', 20, { names: 6n })];
  expect(rulesOf(judge(back, [], law))).toEqual(['backwards']);
  const others = [answer('a', 0, { names: 7n }), answer('b', 20, { names: 6n })];
  expect(rulesOf(judge(others, [], law))).toEqual([]);
});

test('nobody may lead for a TTL and the bound, and no longer', () => {
  const gap = (ms: number): readonly Answer[] => [
    answer('a', 0, { claims: 6n }),
    answer('b', ms, { claims: 7n }),
  ];
  const throughout = fault({ settledAt: 9000 });
  expect(rulesOf(judge(gap(4000), [throughout], law))).toEqual([]);
  expect(rulesOf(judge(gap(4001), [throughout], law))).toEqual(['late']);
  expect(judge(gap(4001), [throughout], law).leaderlessMs).toEqual([4001]);
  // Where none is due before the healing, the time counts from there.
  const after = fault({ settledAt: 9000, healedAt: 2000, leaderDue: 'after' });
  expect(rulesOf(judge(gap(5990), [after], law))).toEqual([]);
  expect(rulesOf(judge(gap(5991), [after], law))).toEqual(['late']);
});

test('what was taken away is excused for one watch latency where nobody waits, and never where somebody does', () => {
  const newer = answer('b', 100, { claims: 7n });
  const waiting = { ...law, watchLatencyMs: null };
  const taken = [{ administered: [6n] }, { revokedByEtcd: [6n] }].map((how) => [fault(how)]);
  const judged = (lateMs: number, by: Law = law): Verdict =>
    judge([newer, answer('a', 110 + lateMs, { claims: 6n })], taken[0]!, by);
  expect(rulesOf(judged(50))).toEqual([]);
  expect(judged(50).excused).toMatchObject([{ rule: 'stale claim', worstMs: 50 }]);
  expect(rulesOf(judged(51))).toEqual(['stale claim']);
  expect(rulesOf(judged(1, waiting))).toEqual(['stale claim']);
  const promise = answer('a', 0, { claims: 6n, validForMs: 500 });
  for (const faults of taken) {
    const verdict = judge([promise, newer], faults, waiting);
    expect([rulesOf(verdict), verdict.excused]).toEqual([['promise broken'], []]);
    const others = judge(
      [answer('b', 0, { names: 7n }), answer('a', 20, { claims: 6n })],
      faults,
      waiting,
    );
    expect([rulesOf(others), others.excused]).toEqual([['stale to others'], []]);
  }
});

test('past a TTL without etcd nobody is claimed or named, until it is back', () => {
  const lost = fault({ withoutEtcd: [{ from: 1000, to: 9000 }], settledAt: 9000 });
  const judged = (sentAt: number, more: Partial<Answer>): readonly string[] =>
    rulesOf(judge([answer('a', sentAt, more)], [lost], law));
  expect(judged(4000, { names: 6n })).toEqual([]);
  expect(judged(4001, { names: 6n })).toEqual(['named too long']);
  expect(judged(4001, { claims: 6n })).toEqual(['named too long']);
  expect(judged(4001, {})).toEqual([]);
  // Received when it was back: it may have been made then.
  expect(judged(8990, { names: 6n })).toEqual([]);
  expect(judged(8989, { names: 6n })).toEqual(['named too long']);
});

test('a leader whom a snapshot brought back may be named until its lease has run out, and never claimed', () => {
  const restored = fault({ revived: { from: 500, to: 4000 } });
  const newer = answer('a', 0, { names: 7n });
  const judged = (sentAt: number, more: Partial<Answer>): Verdict =>
    judge([newer, answer('a', sentAt, more)], [restored], law);
  expect(rulesOf(judged(500, { names: 6n }))).toEqual([]);
  expect(judged(500, { names: 6n }).excused).toMatchObject([{ rule: 'backwards', count: 1 }]);
  expect(rulesOf(judged(499, { names: 6n }))).toEqual(['backwards']);
  expect(rulesOf(judged(3991, { names: 6n }))).toEqual(['backwards']);
  expect(rulesOf(judged(500, { claims: 6n }))).toEqual(['stale to others', 'backwards']);
});

test('an overlap that cannot be excluded is told apart from a violation', () => {
  const verdict = judge([answer('a', 0, { claims: 6n }), answer('b', 4, { claims: 7n })], [], law);
  expect(verdict.violations).toEqual([]);
  expect(verdict.overlaps).toEqual([{ older: 6n, newer: 7n, atMostMs: 6 }]);
});

test('an answer survives its way from the probe', () => {
  const body = {
    ...{ election: 'faults', id: 'a', role: 'leader', isLeader: true, validForMs: 2000 },
    leader: { id: 'a', address: null, fencingToken: '12', since: '' },
    ...{ fencingToken: '12', observedAgeMs: 3 },
  };
  const line = formatAnswer({ sentAt: 1.5, receivedAt: 2.25, status: 200, wallMs: 7000, body });
  expect(parseAnswer('a', line)).toEqual({
    ...{ from: 'a', sentAt: 1.5, receivedAt: 2.25, status: 200, claims: 12n, names: 12n },
    ...{ validForMs: 2000, wallMs: 7000 },
  });
  expect(() => parseAnswer('a', 'half a line')).toThrow('a probe of a wrote: half a line');
});
