// Collects what flags, environment and configuration file give for each setting, as text, and finds
// every name that does not exist. A flag is typed for this very program; environment and file may be
// those of another version, and what only that one knows must not keep this one from starting. Values are checked elsewhere. The value under an unknown name is never
// shown: `etcdPasword` would spill the password.

import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, type Document } from 'yaml';
import { faultOf, shown, type Effective, type Fault, type Source } from './faults.ts';
import { settings, type Setting, type SettingKey } from './settings.ts';

/** What one source gives for one setting; text is null where it was unusable and a fault was noted. */
export interface Given {
  readonly text: string | null;
  readonly source: Source;
}

/** All that one source gives. */
export interface Collected {
  readonly given: ReadonlyMap<SettingKey, Given>;
  readonly faults: readonly Fault[];
  /** Names in the environment or the file that are no settings here. */
  readonly unknown: readonly Fault[];
}

/** Flags as the command line's parser hands them over. */
export type Flags = Readonly<Record<string, string | readonly string[] | boolean>>;

/** The environment of the process. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What hooks and the child of `run` are told beside settings: one of them may be electord, too. */
const told: readonly string[] = [
  'ELECTORD_FENCING_TOKEN',
  'ELECTORD_LOCAL_URL',
  'ELECTORD_EVENT',
  'ELECTORD_CAUSE',
  'ELECTORD_MUST_STOP_BY',
  'ELECTORD_MUST_STOP_IN_MS',
];

/** Kubernetes tells every pod of a namespace about a service named electord… in variables of this form. */
const serviceLink =
  /^ELECTORD(_.*)?_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/;

/**
 * Collects flags.
 * @param flags by the setting's name (`takeover-delay`) or key (`takeoverDelay`)
 */
export function collectFlags(flags: Flags): Collected {
  const collector = new Collector('flag');
  for (const [name, value] of Object.entries(flags)) {
    const setting = settings.find((one) => one.name === name || one.key === name);
    if (!setting) {
      const like = closest(name, (one) => (one.flag ? `--${one.name}` : undefined));
      collector.unknownFlag(`--${name}`, like, 'the flags that electord --help lists');
    } else if (!setting.flag) {
      collector.refuse(setting, `cannot be a flag; use --${setting.name}-file`);
    } else if (typeof value === 'string') {
      collector.take(setting, value);
    } else if (typeof value === 'boolean' || value.length === 0) {
      collector.refuse(setting, 'has no value');
    } else {
      collector.takeMany(setting, value);
    }
  }
  return collector;
}

/** Collects the environment; an empty variable counts as one that is not set. */
export function collectEnvironment(environment: Environment): Collected {
  const collector = new Collector('environment');
  for (const variable of Object.keys(environment).sort()) {
    const value = environment[variable];
    if (value === undefined || !variable.startsWith('ELECTORD_')) continue;
    const setting = settings.find((one) => one.variable === variable);
    if (setting) {
      if (value !== '') collector.take(setting, value);
    } else if (!told.includes(variable) && !serviceLink.test(variable)) {
      const like = closest(variable.slice('ELECTORD_'.length), (one) => one.variable);
      collector.ignore(variable, like, 'ELECTORD_ and the name of a setting, as TAKEOVER_DELAY');
    }
  }
  return collector;
}

/**
 * Collects a configuration file. Every plain value is taken as the text that stands there (YAML's
 * failsafe schema), so that an id of 007 or 1.10 stays what it is.
 * @param text YAML or JSON
 * @param path how the file was named, for a fault of the file as a whole
 */
export function collectFile(text: string, path: Effective): Collected {
  const collector = new Collector('file');
  const lines = new LineCounter();
  const document = parseDocument(text, {
    schema: 'failsafe',
    prettyErrors: false,
    lineCounter: lines,
    logLevel: 'silent',
  });
  const [broken] = document.errors;
  if (broken) {
    // The parser's own message may quote the file, secrets included: only the place is told.
    const { line, col } = lines.linePos(broken.pos[0]);
    const what = broken.code.toLowerCase().replaceAll('_', ' ');
    collector.broken(
      path,
      `cannot be read as YAML or JSON: ${what} at line ${line}, column ${col}`,
    );
  } else if (isMap(document.contents)) {
    for (const { key, value } of document.contents.items) {
      collectEntry(collector, document, isScalar(key) ? String(key.value) : '', value);
    }
  } else if (document.contents !== null && !isNullWord(document.contents)) {
    collector.broken(path, 'is not a mapping of settings to values');
  }
  return collector;
}

function collectEntry(
  collector: Collector,
  document: Document,
  key: string,
  written: unknown,
): void {
  const setting = settings.find((one) => one.key === key);
  if (!setting) {
    const like = closest(key, (one) => (one.inFile ? one.key : undefined));
    collector.ignore(key, like, 'the settings that electord --help lists, in camelCase');
    return;
  }
  if (!setting.inFile) {
    collector.refuse(setting, 'cannot stand in the configuration file itself');
    return;
  }
  const value = isAlias(written) ? written.resolve(document) : written;
  if (isScalar(value) && typeof value.value === 'string' && !isNullWord(value)) {
    collector.take(setting, value.value);
  } else if (isSeq(value)) {
    const texts = value.items.map((item) => (isScalar(item) ? item.value : undefined));
    if (texts.every((one) => typeof one === 'string')) collector.takeMany(setting, texts);
    else collector.refuse(setting, 'has a list of something else than plain values');
  } else if (isScalar(value) || value === null || value === undefined) {
    collector.refuse(setting, 'has no value; leave the key out to have the default');
  } else {
    collector.refuse(setting, 'has a mapping where a plain value is wanted');
  }
}

function isNullWord(node: unknown): boolean {
  if (!isScalar(node) || node.type !== 'PLAIN') return false;
  return ['', '~', 'null', 'Null', 'NULL'].includes(String(node.value));
}

class Collector implements Collected {
  readonly given = new Map<SettingKey, Given>();
  readonly faults: Fault[] = [];
  readonly unknown: Fault[] = [];
  readonly #source: Source;

  constructor(source: Source) {
    this.#source = source;
  }

  take(setting: Setting, text: string): void {
    if (text === '' && !setting.secret) this.refuse(setting, 'is empty');
    else this.given.set(setting.key, { text, source: this.#source });
  }

  takeMany(setting: Setting, texts: readonly string[]): void {
    const [only] = texts;
    if (setting.many && texts.length > 0) this.take(setting, texts.join(setting.separator));
    else if (texts.length === 1 && only !== undefined) this.take(setting, only);
    else this.refuse(setting, `is given ${texts.length} times`, texts.join(' '));
  }

  refuse(setting: Setting, problem: string, text?: string): void {
    const value = text === undefined ? null : shown(setting.key, text);
    this.faults.push(faultOf(setting.key, { text: value, source: this.#source }, problem));
    this.given.set(setting.key, { text: null, source: this.#source });
  }

  unknownFlag(name: string, like: string | undefined, allowed: string): void {
    this.faults.push(this.#unknown(name, like, allowed));
  }

  ignore(name: string, like: string | undefined, allowed: string): void {
    this.unknown.push(this.#unknown(name, like, allowed));
  }

  #unknown(name: string, like: string | undefined, allowed: string): Fault {
    const hint = like === undefined ? '' : `; did you mean ${like}?`;
    const problem = `is not a setting${hint}`;
    return { setting: name, value: null, problem, allowed, source: this.#source };
  }

  broken(path: Effective, problem: string): void {
    this.faults.push(faultOf('config', path, problem));
  }
}

/** The name most like the one given, if any is like it at all. */
function closest(
  name: string,
  nameOf: (setting: Setting) => string | undefined,
): string | undefined {
  const wanted = bare(name).slice(0, 64);
  let best: string | undefined;
  let bestDistance = Math.floor(wanted.length / 3) + 1;
  for (const setting of settings) {
    const candidate = nameOf(setting);
    const distance = editDistance(wanted, bare(setting.name));
    if (candidate === undefined || distance >= bestDistance) continue;
    best = candidate;
    bestDistance = distance;
  }
  return best;
}

function bare(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '');
}

/** How many letters to insert, delete or replace to make one word of the other (Levenshtein). */
function editDistance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 1; i <= one.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const replaced = (row[j - 1] ?? 0) + (one[i - 1] === other[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[other.length] ?? 0;
}
