// What is wrong with a configuration, as data and as text. Every fault carries the value only in a form
// that can be shown, so that printing a fault can never print a secret.

import { shortened } from './redact.ts';
import { hidden } from './secret.ts';
import { definitions, settingOf, settings, type SettingKey } from './settings.ts';

/** Where a value came from; `default` for faults about values that nobody gave. */
export type Source = 'flag' | 'environment' | 'file' | 'default';

/** One thing that is wrong. */
export interface Fault {
  /** The setting's name, `takeover-delay`; for one that does not exist, the name as it was given. */
  readonly setting: string;
  /** The value, redacted; null where there is none or where it must not be shown. */
  readonly value: string | null;
  /** What is wrong, as a phrase that follows the name and the value: `has no unit`. */
  readonly problem: string;
  /** What is allowed, as a phrase without a full stop. */
  readonly allowed: string;
  readonly source: Source;
}

/** How a setting came by its value; `text` is what was written, in a form that can be shown. */
export interface Effective {
  readonly text: string | null;
  readonly source: Source;
}

/** The value of a setting as it may be shown. */
export function shown(key: SettingKey, text: string): string {
  const definition = definitions[key];
  if (definition.secret) return hidden;
  return definition.show ? definition.show(text) : text;
}

/** A fault of a setting that exists; its value and source come from `effective`. */
export function faultOf(key: SettingKey, effective: Effective, problem: string): Fault {
  const { name, allowed } = settingOf(key);
  return { setting: name, value: effective.text, problem, allowed, source: effective.source };
}

/**
 * Writes faults for a person, one line each, in the order given.
 * @returns lines such as
 * `--ttl "5" (from ELECTORD_TTL) has no unit; write for example 5s or 5ms. Allowed: whole seconds, 2s to 10m.`
 */
export function formatFaults(faults: readonly Fault[]): string {
  return faults.map(formatFault).join('\n');
}

function formatFault(fault: Fault): string {
  const setting = settings.find((one) => one.name === fault.setting);
  const name = setting?.flag === false || !setting ? printable(fault.setting) : `--${setting.name}`;
  // JSON's quoting shows line ends and keeps a value from steering the terminal.
  const value = fault.value === null ? '' : ` ${JSON.stringify(printable(fault.value))}`;
  const origin = {
    flag: '',
    environment: setting ? ` (from ${setting.variable})` : ' (in the environment)',
    file: ` (from ${setting ? `${setting.key} in ` : ''}the configuration file)`,
    default: fault.value === null ? '' : ' (the default)',
  }[fault.source];
  const stop = fault.problem.endsWith('?') ? '' : '.';
  return `${name}${value}${origin} ${fault.problem}${stop} Allowed: ${fault.allowed}.`;
}

function printable(text: string): string {
  return shortened(text).replace(/[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, '?');
}
