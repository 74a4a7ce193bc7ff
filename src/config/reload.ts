// What SIGHUP makes of settings that were read anew. What needs a restart stays as it is, and is named. Some settings belong
// together: a password to the user's name, a certificate to the addresses it is shown to, a token to the listener it guards.
// Of those either all are taken up or none: a credential is never used beside other values than those it came with.
import type { Configuration } from './configuration.ts';
import type { Credentials } from './files.ts';
import { settings, settingOf, type SettingKey } from './settings.ts';

/** What a sidecar runs by. */
export interface InForce {
  readonly configuration: Configuration;
  readonly credentials: Credentials;
}

export interface Reloaded extends InForce {
  /** The names of the settings that have changed and were taken up: `log-level`. */
  readonly taken: readonly string[];
  /** Of those that have changed and need a restart. */
  readonly restart: readonly string[];
  /** What must not be read anew until all that belongs to it is taken up. */
  readonly frozen: readonly Bundle[];
}

/** Settings that are taken up together or not at all. */
interface Bundle {
  readonly keys: readonly SettingKey[];
  readonly fields: readonly (keyof Configuration)[];
  readonly credentials: readonly Exclude<keyof Credentials, 'certificates'>[];
  /** Whether what the rest belongs to has changed, which only a restart can take up. */
  readonly needsRestart: (before: Configuration, next: Configuration) => boolean;
}

const schemeOf = ({ etcd }: Configuration): string | undefined => etcd[0]?.split('://')[0];
const isSet = (path: string | null): boolean => path !== null;

const bundles: readonly Bundle[] = [
  {
    keys: ['etcd', 'etcdCa', 'etcdCert', 'etcdKey', 'etcdPasswordFile', 'etcdPassword'],
    fields: [
      ...(['etcd', 'etcdCaFile', 'etcdCertFile', 'etcdKeyFile'] as const),
      ...(['etcdPasswordFile', 'etcdPassword'] as const),
    ],
    credentials: ['etcdCa', 'etcdCert', 'etcdKey', 'etcdPassword'],
    needsRestart: (before, next) =>
      schemeOf(before) !== schemeOf(next) || before.etcdUsername !== next.etcdUsername,
  },
  {
    // Whether a listener speaks TLS and asks for certificates is decided when it is opened.
    keys: ['tlsCert', 'tlsKey', 'tlsClientCa'],
    fields: ['tlsCertFile', 'tlsKeyFile', 'tlsClientCaFile'],
    credentials: ['tlsCert', 'tlsKey', 'tlsClientCa'],
    needsRestart: (before, next) =>
      isSet(before.tlsCertFile) !== isSet(next.tlsCertFile) ||
      isSet(before.tlsClientCaFile) !== isSet(next.tlsClientCaFile),
  },
  {
    // A listener that only this machine reaches may do without; the one that is open may not.
    keys: ['tokenFile', 'token'],
    fields: ['tokenFile', 'token'],
    credentials: ['token'],
    needsRestart: (before, next) => isChanged('localListen', before, next),
  },
  {
    keys: ['logLevel'],
    fields: ['logLevel'],
    credentials: [],
    needsRestart: () => false,
  },
];

/** All settings that can be taken up. */
export const reloadableKeys = bundles.flatMap(({ keys }) => keys);

/** Compared as they are shown, but for the two that never are. A default that came out otherwise is nobody's change. */
function isChanged(key: SettingKey, before: Configuration, next: Configuration): boolean {
  const isStandard = ({ effective }: Configuration): boolean => effective[key].source === 'default';
  if (isStandard(before) && isStandard(next)) return false;
  if (key === 'token' || key === 'etcdPassword') {
    return before[key]?.reveal() !== next[key]?.reveal();
  }
  return before.effective[key].text !== next.effective[key].text;
}

/** Pure: what is to be in force after `next` was read while `before` is. */
export function reloaded(before: InForce, next: InForce): Reloaded {
  const [old, read] = [before.configuration, next.configuration];
  const frozen = bundles.filter(({ needsRestart }) => needsRestart(old, read));
  const usable = bundles.filter((bundle) => !frozen.includes(bundle));
  const takenKeys = usable.flatMap(({ keys }) => keys);
  const pick = <Value extends object>(from: Value, keys: readonly (keyof Value)[]) =>
    Object.fromEntries(keys.map((key) => [key, from[key]]));
  const changed = settings.filter(({ key }) => isChanged(key, old, read)).map(({ key }) => key);
  const nameOf = (key: SettingKey): string => settingOf(key).name;
  return {
    configuration: {
      ...old,
      ...pick(
        read,
        usable.flatMap(({ fields }) => fields),
      ),
      effective: { ...old.effective, ...pick(read.effective, takenKeys) },
    },
    credentials: withFrozen(before.credentials, next.credentials, frozen),
    taken: changed.filter((key) => takenKeys.includes(key)).map(nameOf),
    restart: changed.filter((key) => !takenKeys.includes(key)).map(nameOf),
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
