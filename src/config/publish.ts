// Reads what --publish holds: keys that the leader keeps in etcd for those who read etcd themselves, and their values, with
// placeholders. What is known before a term begins is filled in here; {election} and {token} are not.

import { readAdvertised } from '../process/advertised.ts';
import { hasControlOrSpace } from './addresses.ts';
import { Refusal } from './refusal.ts';

/** A key and its value; `{election}` may stand in both, `{token}` in the value. */
export interface Publication {
  readonly key: string;
  readonly value: string;
}

/** Each costs an operation of the transactions that begin and end a term, of which etcd takes 128. */
const mostPublications = 16;
const longestKey = 512;
const longestValue = 4096;

const inValues = ['id', 'address', 'host', 'port', 'token', 'election'] as const;
/** Nothing else in braces is a word alone: `{"host":…}` is none. */
const placeholder = /\{([A-Za-z]+)\}/g;

/** One `KEY=VALUE` a line. */
export function parsePublish(text: string): readonly Publication[] | Refusal {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  if (lines.length > mostPublications) return new Refusal(`names more than ${mostPublications}`);
  const publications: Publication[] = [];
  for (const line of lines) {
    const one = parseOne(line.trim());
    if (one instanceof Refusal) return one;
    if (publications.some(({ key }) => key === one.key)) return new Refusal('names a key twice');
    publications.push(one);
  }
  return publications;
}

function parseOne(line: string): Publication | Refusal {
  const at = line.indexOf('=');
  if (at <= 0) return new Refusal('is not KEY=VALUE');
  const [key, value] = [line.slice(0, at), line.slice(at + 1)];
  if (hasControlOrSpace(key)) return new Refusal('has a space or a control character in a key');
  if (/[{}]/.test(key.replaceAll('{election}', ''))) {
    return new Refusal('has other braces than {election} in a key');
  }
  if (key.length > longestKey) return new Refusal(`has a key longer than ${longestKey} characters`);
  if (value === '') return new Refusal('has a key without a value');
  if (value.length > longestValue) {
    return new Refusal(`has a value longer than ${longestValue} characters`);
  }
  const known = new Set<string>(inValues);
  const strange = [...value.matchAll(placeholder)].find(([, name = '']) => !known.has(name));
  if (strange === undefined) return { key, value };
  return new Refusal(`has ${strange[0]} in a value; there are ${inValues.join(', ')}`);
}

export interface AtHand {
  readonly elections: readonly string[];
  readonly prefix: string;
  readonly advertise: string | null;
}

/** Why these cannot be published by such a sidecar; null where they can. */
export function whatHinders(
  publications: readonly Publication[],
  { elections, prefix, advertise }: AtHand,
): string | null {
  const keys = new Set<string>();
  for (const { key, value } of publications) {
    for (const election of elections) {
      const named = key.replaceAll('{election}', election);
      if (keys.has(named)) {
        return `would have two elections, or two of its entries, write ${named}: put {election} into the key`;
      }
      keys.add(named);
      if (named === prefix || named.startsWith(`${prefix}/`)) {
        return `names ${named}, which is under --prefix ${prefix}: those keys are electord's own`;
      }
    }
    const facts = factsOf('', advertise);
    for (const [whole, name = ''] of value.matchAll(placeholder)) {
      if (facts.get(name) !== null) continue;
      const lack = advertise === null ? 'is not given' : 'has none';
      return `holds ${whole}, and --advertise ${lack}`;
    }
  }
  return null;
}

/** The same with what a sidecar knows of itself. */
export const withOwn = (
  publications: readonly Publication[],
  id: string,
  advertise: string | null,
): readonly Publication[] => {
  const facts = factsOf(id, advertise);
  return publications.map(({ key, value }) => ({
    key,
    value: value.replace(placeholder, (whole, name: string) => facts.get(name) ?? whole),
  }));
};

/** By placeholder; null where it is not known. */
function factsOf(id: string, advertise: string | null): ReadonlyMap<string, string | null> {
  const said = readAdvertised(advertise);
  const port = said?.port ?? null;
  return new Map([
    ['id', id],
    ['address', advertise],
    ['host', said?.host ?? null],
    ['port', port === null ? null : String(port)],
  ]);
}
