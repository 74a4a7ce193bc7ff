// The checks that the table of settings is made of. Each takes the text a person wrote and gives the typed value, or a refusal
// with a phrase that can follow the value. None repeats the value: some are secrets.

import { formatDuration } from '../contract.ts';
import { hasControlOrSpace, isHostName } from './addresses.ts';
import { parseDuration } from './duration.ts';
import { Refusal } from './refusal.ts';
import { Secret } from './secret.ts';

export type Check<Value> = (text: string) => Value | Refusal;

/** A duration within bounds, as whole milliseconds. */
export function duration(leastMs: number, mostMs: number): Check<number> {
  return (text) => {
    const ms = parseDuration(text);
    if (ms instanceof Refusal) return ms;
    if (ms < leastMs) return new Refusal(`is shorter than ${formatDuration(leastMs)}`);
    return ms > mostMs ? new Refusal(`is longer than ${formatDuration(mostMs)}`) : ms;
  };
}

/** A duration of whole seconds within bounds, as milliseconds. */
export function wholeSeconds(leastMs: number, mostMs: number): Check<number> {
  const within = duration(leastMs, mostMs);
  return (text) => {
    const ms = within(text);
    return ms instanceof Refusal || ms % 1000 === 0 ? ms : new Refusal('is not whole seconds');
  };
}

/** A whole number within bounds. */
export function wholeNumber(least: number, most: number): Check<number> {
  return (text) => {
    if (!/^-?\d{1,9}$/.test(text)) return new Refusal('is not a whole number');
    const number = Number(text);
    if (number < least) return new Refusal(`is below ${least}`);
    return number > most ? new Refusal(`is above ${most}`) : number;
  };
}

/** One of a few words. */
export function oneOf<const Words extends readonly string[]>(words: Words): Check<Words[number]> {
  return (text) => words.find((word) => word === text) ?? new Refusal('is none of these words');
}

/** The path of a file. Whether it can be read is found out later, by readFiles. */
export const filePath: Check<string> = (path) =>
  path.includes('\0') ? new Refusal('has a NUL character in it') : path;

/** A member's id: it becomes the last part of the key `members/<id>` and a label of the metrics. */
export const memberId: Check<string> = (text) => {
  if (text.includes('/')) return new Refusal('has a / in it');
  if (hasControlOrSpace(text)) return new Refusal('has a space or a control character in it');
  return text.length > 253 ? new Refusal('is longer than 253 characters') : text;
};

/** A name that can stand in a certificate. */
export const hostName: Check<string> = (text) =>
  isHostName(text) && !/^[\d.]+$/.test(text) ? text : new Refusal('is no host name');

/** The root of every key in etcd. */
export const keyPrefix: Check<string> = (text) => {
  if (!text.startsWith('/')) return new Refusal('does not begin with /');
  if (text === '/') return new Refusal('is the root of all keys in etcd');
  if (text.endsWith('/')) return new Refusal('ends with /');
  // Sidecars that differ by an unseen slash would elect two leaders side by side.
  if (text.includes('//')) return new Refusal('has // in it');
  if (hasControlOrSpace(text)) return new Refusal('has a space or a control character in it');
  return text.length > 512 ? new Refusal('is longer than 512 characters') : text;
};

const labelPart = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;

/** A label of Kubernetes, KEY=VALUE; the key may have a domain and a slash before its name. */
export function parseLabel(
  text: string,
): { readonly key: string; readonly value: string } | Refusal {
  const at = text.indexOf('=');
  if (at < 0) return new Refusal('is not KEY=VALUE');
  const [key, value] = [text.slice(0, at), text.slice(at + 1)];
  const [name = '', domain, ...rest] = key.split('/').reverse();
  const isKey =
    rest.length === 0 &&
    labelPart.test(name) &&
    (domain === undefined || (/^[a-z0-9.-]+$/.test(domain) && isHostName(domain)));
  if (!isKey) return new Refusal('has a key that is none of a label');
  return labelPart.test(value)
    ? { key, value }
    : new Refusal('has a value that is none of a label');
}

/** A user's name in etcd. */
export const userName: Check<string> = (text) =>
  hasControlOrSpace(text) ? new Refusal('has a space or a control character in it') : text;

/** A password or token that stands in the environment or the configuration file itself. */
export function secretText(check: Check<string>): Check<Secret> {
  return (text) => {
    const result = check(withoutEndOfLine(text));
    return result instanceof Refusal ? result : new Secret(result);
  };
}

/** What an etcd password must be: not empty, no NUL. */
export function parsePassword(text: string): string | Refusal {
  if (text === '') return new Refusal('is empty');
  return text.includes('\0') ? new Refusal('has a NUL character in it') : text;
}

/** What a bearer token must be, to fit in one HTTP header. */
export function parseToken(text: string): string | Refusal {
  if (text === '') return new Refusal('is empty');
  if (!/^[\x21-\x7e]+$/.test(text)) {
    return new Refusal('has other characters than visible ASCII without spaces');
  }
  return text.length > 4096 ? new Refusal('is longer than 4096 characters') : text;
}

/** Editors and `echo` end a file with a newline which is no part of a password. */
export function withoutEndOfLine(text: string): string {
  return text.replace(/[\r\n]+$/, '');
}
