// Reads the names of elections: one, a comma list, and ranges such as `orders-{0..15}`. Bounded before
// anything is expanded, so that a slip such as {0..999999999} costs a message and no memory.

import { Refusal } from './refusal.ts';

/** The most elections that one process stands in; all of them share one lease. */
export const mostElections = 4096;

const nameShape = /^[A-Za-z0-9._-]{1,128}$/;
const rangeShape = /\{(\d{1,9})\.\.(\d{1,9})\}/;

/**
 * Reads what --election holds.
 * @returns the names in the order given, each once; or a Refusal
 */
export function parseElections(text: string): readonly string[] | Refusal {
  const names: string[] = [];
  for (const part of text.split(',')) {
    const expanded = expand(part.trim(), mostElections - names.length);
    if (expanded instanceof Refusal) return expanded;
    names.push(...expanded);
  }
  const bad = names.find((name) => !nameShape.test(name));
  if (bad !== undefined) return new Refusal(whatIsWrongWith(bad));
  // A URL's path cannot hold these two: every client resolves them away.
  if (names.some((name) => name === '.' || name === '..')) {
    return new Refusal('has a name that is only . or ..');
  }
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) return new Refusal(`names ${twice} twice`);
  return names;
}

function expand(pattern: string, room: number): readonly string[] | Refusal {
  const match = rangeShape.exec(pattern);
  if (!match) {
    return room >= 1 ? [pattern] : new Refusal(`makes more than ${mostElections} elections`);
  }
  const [whole, from = '', to = ''] = match;
  const [first, last] = [Number(from), Number(to)];
  if (first > last) return new Refusal(`has a range that runs backwards: ${whole}`);
  if (last - first + 1 > room) return new Refusal(`makes more than ${mostElections} elections`);
  // As in a shell, a leading zero on either side pads all: {08..10} is 08, 09, 10.
  const padded = [from, to].some((side) => side.length > 1 && side.startsWith('0'));
  const width = padded ? Math.max(from.length, to.length) : 0;
  const names: string[] = [];
  for (let number = first; number <= last; number += 1) {
    const digits = String(number).padStart(width, '0');
    const rest = expand(pattern.replace(whole, digits), room - names.length);
    if (rest instanceof Refusal) return rest;
    names.push(...rest);
  }
  return names;
}

function whatIsWrongWith(name: string): string {
  if (name === '') return 'has an empty name';
  if (name.length > 128) return 'has a name longer than 128 characters';
  if (/[{}]/.test(name)) return 'has braces that are not a range such as {0..15}';
  return 'has a name with other characters than A-Z a-z 0-9 . _ -';
}
