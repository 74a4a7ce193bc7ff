// Waiting ends when the condition holds, and otherwise says what was awaited and what was last seen.
import { expect, test } from 'vitest';
import { eventually, within } from './wait.ts';

test('resolves to the first answer that is something', async () => {
  const answers = [false, null, undefined, 0];
  expect(await eventually(() => answers.shift(), { withinMs: 1_000, what: 'a number' })).toBe(0);
});

test('a check that throws is asked again', async () => {
  let asked = 0;
  const check = (): string => {
    asked += 1;
    if (asked < 3) throw new Error('not yet');
    return 'there';
  };
  expect(await eventually(check, { withinMs: 1_000, what: 'it' })).toBe('there');
});

test('the error names what was awaited and the last reason', async () => {
  const check = (): never => {
    throw new Error('still dark');
  };
  await expect(eventually(check, { withinMs: 30, what: 'daylight' })).rejects.toThrow(
    'daylight: not within 30 ms; last: still dark',
  );
});

test('a check that hangs is bounded', async () => {
  const hang = (): Promise<boolean> => new Promise(() => undefined);
  await expect(eventually(hang, { withinMs: 30, what: 'an answer' })).rejects.toThrow('an answer');
  await expect(within(hang(), { withinMs: 30, what: 'an end' })).rejects.toThrow('an end');
});
