// What SIGHUP, and what is renewed on disk, make of the settings in force. What needs a restart stays as it is, and is named.
// Some settings belong together: a password to the user's name, a certificate to the addresses it is shown to, a token to
// the listener it guards. Of those either all are taken up or none: a credential is never used beside other values than
// those it came with. Pure.
import type { Configuration } from './configuration.ts';
import type { Credentials } from './files.ts';
import { Secret } from './secret.ts';
import { settings, settingOf, type SettingKey } from './settings.ts';

/** Settings, and what is in the files that they name. */
export interface Whole {
  readonly configuration: Configuration;
  readonly credentials: Credentials;
}

export interface Reloaded {
  /** What is in force once it is taken up. */
  readonly next: Whole;
  /** Settings whose value, or the content of whose file, is another, and is taken up. */
  readonly taken: readonly SettingKey[];
  /** Those that have changed and need a restart. */
  readonly restart: readonly SettingKey[];
  /** What must not be read anew until all that belongs to it is taken up. */
  readonly frozen: readonly Bundle[];
}

/** Settings that are taken up together or not at all. */
export interface Bundle {
  readonly keys: readonly SettingKey[];
  readonly fields: readonly (keyof Configuration)[];
  readonly credentials: readonly Exclude<keyof Credentials, 'certificates'>[];
  /** Whether what the rest belongs to has changed, which only a restart can take up. */
  readonly needsRestart: (before: Configuration, next: Configuration) => boolean;
}

const isSet = (path: string | null): boolean => path !== null;
const never = (): boolean => false;

/** Where etcd is, and who we are to it. */
export const etcdBundle: Bundle = {
  keys: [
    ...(['etcd', 'etcdCa', 'etcdCert', 'etcdKey'] as const),
    ...(['etcdUsername', 'etcdPasswordFile', 'etcdPassword'] as const),
  ],
  fields: [
    ...(['etcd', 'etcdCaFile', 'etcdCertFile', 'etcdKeyFile'] as const),
    ...(['etcdUsername', 'etcdPasswordFile', 'etcdPassword'] as const),
  ],
  credentials: ['etcdCa', 'etcdCert', 'etcdKey', 'etcdPassword'],
  needsRestart: never,
};

/** Whether a listener speaks TLS and asks for certificates is decided when it is opened. */
export const listenersBundle: Bundle = {
  keys: ['tlsCert', 'tlsKey', 'tlsClientCa'],
  fields: ['tlsCertFile', 'tlsKeyFile', 'tlsClientCaFile'],
  credentials: ['tlsCert', 'tlsKey', 'tlsClientCa'],
  needsRestart: (before, next) =>
    isSet(before.tlsCertFile) !== isSet(next.tlsCertFile) ||
    isSet(before.tlsClientCaFile) !== isSet(next.tlsClientCaFile) ||
    before.tlsClientAuth !== next.tlsClientAuth,
};

const bundles: readonly Bundle[] = [
  etcdBundle,
  listenersBundle,
  {
    // A listener that only this machine reaches may do without; one that is open, or behind a proxy, may not.
    keys: ['tokenFile', 'token'],
    fields: ['tokenFile', 'token'],
    credentials: ['token'],
    needsRestart: (before, next) =>
      hasOtherValue('localListen', before, next) || hasOtherValue('publicUrl', before, next),
  },
  {
    keys: ['ca', 'cert', 'key', 'serverName'],
    fields: ['caFile', 'certFile', 'keyFile', 'serverName'],
    credentials: ['ca', 'cert', 'key'],
    needsRestart: never,
  },
  { keys: ['logLevel'], fields: ['logLevel'], credentials: [], needsRestart: never },
];

/** All settings that can be taken up. */
export const reloadableKeys = bundles.flatMap(({ keys }) => keys);

const revealed = (value: unknown): string =>
  value instanceof Secret ? value.reveal() : JSON.stringify(value);

/**
 * The value as it was given. What is shown in part only, or not at all, is a field of the configuration under its own name;
 * of the others the text that is shown says all.
 */
function valueOf(key: SettingKey, configuration: Configuration): string {
  const value = (configuration as Partial<Record<SettingKey, unknown>>)[key];
  return revealed(value ?? configuration.effective[key].text);
}

/** A default that came out otherwise is nobody's change. */
function hasOtherValue(key: SettingKey, before: Configuration, next: Configuration): boolean {
  const isStandard = ({ effective }: Configuration): boolean => effective[key].source === 'default';
  if (isStandard(before) && isStandard(next)) return false;
  return valueOf(key, before) !== valueOf(key, next);
}

/** What is in the file that a setting names; `null` where it names none. */
function contentOf(key: SettingKey, { configuration, credentials }: Whole): string {
  const { etcdPasswordFile, tokenFile } = configuration;
  const held: Partial<Record<SettingKey, unknown>> = {
    ...credentials,
    // These two may have come without a file.
    etcdPassword: null,
    token: null,
    etcdPasswordFile: etcdPasswordFile === null ? null : credentials.etcdPassword,
    tokenFile: tokenFile === null ? null : credentials.token,
  };
  return revealed(held[key] ?? null);
}

const isChanged = (key: SettingKey, before: Whole, next: Whole): boolean =>
  hasOtherValue(key, before.configuration, next.configuration) ||
  contentOf(key, before) !== contentOf(key, next);

/** What is to be in force after `read` was read while `before` is. */
export function reloaded(before: Whole, read: Whole): Reloaded {
  const [old, wanted] = [before.configuration, read.configuration];
  const frozen = bundles.filter(({ needsRestart }) => needsRestart(old, wanted));
  const usable = bundles.filter((bundle) => !frozen.includes(bundle));
  const takenKeys = usable.flatMap(({ keys }) => keys);
  const pick = <Value extends object>(from: Value, keys: readonly (keyof Value)[]) =>
    Object.fromEntries(keys.map((key) => [key, from[key]]));
  const fields = usable.flatMap((bundle) => bundle.fields);
  const changed = settings.map(({ key }) => key).filter((key) => isChanged(key, before, read));
  return {
    next: {
      configuration: {
        ...old,
        ...pick(wanted, fields),
        effective: { ...old.effective, ...pick(wanted.effective, takenKeys) },
      },
      credentials: withFrozen(before.credentials, read.credentials, frozen),
    },
    taken: changed.filter((key) => takenKeys.includes(key)),
    restart: changed.filter((key) => !takenKeys.includes(key)),
    frozen,
  };
}

/** What was read, but for what must stay as it was. */
export function withFrozen(
  before: Credentials,
  read: Credentials,
  frozen: readonly Bundle[],
): Credentials {
  const stays = frozen.flatMap(({ credentials }) => credentials);
  const staysOf = frozen.flatMap(({ keys }) => keys).map((key) => settingOf(key).name);
  const isOf = ({ setting }: { readonly setting: string }): boolean => staysOf.includes(setting);
  return {
    ...read,
    ...Object.fromEntries(stays.map((key) => [key, before[key]])),
    certificates: [
      ...before.certificates.filter(isOf),
      ...read.certificates.filter((one) => !isOf(one)),
    ],
  };
}
