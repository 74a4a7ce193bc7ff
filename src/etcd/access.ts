// How settings become a connection to etcd: the same for the sidecar and for the commands that need no sidecar.
import type { Clock } from '../ports.ts';
import { Archive } from './archive.ts';
import type { EtcdOptions } from './coordinator.ts';
import { publishedIn, type Publication } from './publication.ts';

export type { Archive, ArchivedKey } from './archive.ts';

/** Where etcd is, and how long our lease lasts there. */
export interface EtcdSettings {
  readonly etcd: readonly string[];
  readonly etcdUsername: string | null;
  readonly prefix: string;
  readonly ttlMs: number;
  readonly fastFailoverMs: number | null;
  readonly publish: readonly Publication[];
}

/** Something that is not to be printed by accident. */
interface Hidden {
  reveal(): string;
}

/** Who we are to etcd; PEM texts, null where there is none. */
export interface EtcdCredentials {
  readonly etcdCa: string | null;
  readonly etcdCert: string | null;
  readonly etcdKey: Hidden | null;
  readonly etcdPassword: Hidden | null;
}

/** Endpoints and credentials go together: others are another access. */
export function etcdAccess(
  { etcd: endpoints, etcdUsername: username, prefix, publish, ttlMs, fastFailoverMs }: EtcdSettings,
  { etcdCa, etcdCert, etcdKey, etcdPassword }: EtcdCredentials,
): Omit<EtcdOptions, 'clock' | 'observer'> {
  const pem = (text: string | null): Buffer | null => (text === null ? null : Buffer.from(text));
  return {
    endpoints,
    prefix,
    publish,
    ttlMs,
    fastFailoverMs,
    tls: () => ({
      ca: pem(etcdCa),
      certificate: pem(etcdCert),
      key: pem(etcdKey?.reveal() ?? null),
    }),
    login: () =>
      username === null || etcdPassword === null
        ? null
        : { username, password: etcdPassword.reveal() },
  };
}

/** The archive of the elections under the configured prefix; the caller closes it. */
export const openArchive = (
  settings: EtcdSettings,
  credentials: EtcdCredentials,
  clock: Clock,
): Archive =>
  new Archive({
    ...etcdAccess(settings, credentials),
    clock,
    observer: { requested: () => undefined },
  });

/** What a user of etcd must be allowed to do what a member of these elections does: trees whole, and single keys. */
export const leastRole = (
  prefix: string,
  elections: readonly string[],
  published: readonly Publication[],
): {
  readonly trees: readonly string[];
  readonly keys: readonly string[];
  readonly read: readonly string[];
} => ({
  trees: elections.map((name) => `${prefix}/${name}/`),
  keys: elections.flatMap((name) => publishedIn(published, name)),
  // By this key, which does not exist, it is seen that an answer is none of the past.
  read: [`${prefix}/`],
});
