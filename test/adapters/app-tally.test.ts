// How single checks add up to a healthy or an unhealthy app, as a table: `+` is a pass, `-` a failure, and the answer
// after each is `H` or `u`.
import { expect, test } from 'vitest';
import { count, untested } from '../../src/app-side/tally.ts';

const rows: readonly {
  readonly what: string;
  readonly first: boolean;
  readonly fall: number;
  readonly rise: number;
  readonly checks: string;
  readonly health: string;
}[] = [
  {
    what: 'the first pass counts at once',
    first: false,
    fall: 3,
    rise: 2,
    checks: '+',
    health: 'H',
  },
  {
    what: 'unhealthy until it passes',
    first: false,
    fall: 3,
    rise: 2,
    checks: '---+',
    health: 'uuuH',
  },
  {
    what: 'fall failures in a row',
    first: false,
    fall: 3,
    rise: 2,
    checks: '+---',
    health: 'HHHu',
  },
  {
    what: 'a pass starts the count of failures anew',
    ...{ first: false, fall: 3, rise: 2, checks: '+--+--+', health: 'HHHHHHH' },
  },
  { what: 'rise passes in a row', first: false, fall: 1, rise: 2, checks: '+-++', health: 'HuuH' },
  {
    what: 'a failure starts the count of passes anew',
    ...{ first: false, fall: 1, rise: 3, checks: '+-++-+++', health: 'HuuuuuuH' },
  },
  { what: 'one is one', first: false, fall: 1, rise: 1, checks: '-+-+', health: 'uHuH' },
  { what: 'taken for healthy at first', first: true, fall: 2, rise: 2, checks: '-', health: 'H' },
  { what: 'but not for long', first: true, fall: 2, rise: 2, checks: '--+', health: 'HuH' },
];

test.each(rows)('$what: $checks', ({ first, fall, rise, checks, health }) => {
  let tally = untested(first);
  const seen = Array.from(checks, (check) => {
    tally = count(tally, check === '+', { fall, rise });
    return tally.healthy ? 'H' : 'u';
  });
  expect(seen.join('')).toBe(health);
});
