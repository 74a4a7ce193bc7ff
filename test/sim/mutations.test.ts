// Proof that the judges bite: every bug in the list is caught, and the sources as they are pass the very schedules that
// catch it.
import { describe, expect, it } from 'vitest';
import { buildSimulation, patched } from './bundle.ts';
import { failoverMutations } from './failover-mutations.ts';
import { mutations, unvalidated } from './mutations.ts';
import { discard, simulate } from './runner.ts';

/** A bug that more schedules than this do not show is not caught. */
const mostSchedules = 600;
/** The machine may be busy with the other tests. */
const testTimeoutMs = 180_000;

describe('mutations', () => {
  it.each([...mutations, ...failoverMutations])(
    'catches: $name',
    async ({ patches, focus = {} }) => {
      const [asIs, mutated] = await Promise.all([
        buildSimulation('as-is'),
        buildSimulation('mutated', [...patches, ...unvalidated]),
      ]);
      try {
        const wanted = { firstSeed: 1, focus, stopAtFirst: true };
        const bitten = await simulate({ ...wanted, file: mutated, count: mostSchedules });
        expect(bitten.broken, 'the bug is not caught').toHaveLength(1);
        const passing = await simulate({ ...wanted, file: asIs, count: bitten.schedules });
        expect(passing.broken, 'the sources as they are break a promise').toEqual([]);
        expect(passing.schedules).toBe(bitten.schedules);
      } finally {
        await Promise.all([discard(asIs), discard(mutated)]);
      }
    },
    testTimeoutMs,
  );

  it('fails loudly where a mutation does not fit its source', () => {
    const patch = { file: 'some.ts', find: 'what is not there', put: '' };
    expect(() => patched('what is there', patch)).toThrow(/does not fit/);
    expect(patched('what  is\n not there', patch)).toBe('');
  });

  it('names every bug once', () => {
    const names = new Set([...mutations, ...failoverMutations].map(({ name }) => name));
    expect(names.size).toBe(mutations.length + failoverMutations.length);
    expect(names.size).toBeGreaterThanOrEqual(20);
  });
});
