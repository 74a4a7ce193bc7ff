// How a configuration becomes a connection to etcd: the same for the sidecar and for the commands that need no sidecar.
import type { Configuration } from './config/configuration.ts';
import type { Credentials } from './config/files.ts';
import { SystemClock } from './clock.ts';
import { Archive } from './etcd/archive.ts';
import type { EtcdOptions } from './etcd/coordinator.ts';

export type { Archive, ArchivedKey } from './etcd/archive.ts';

/** Where etcd is, and who we are to it; the credentials are asked for anew with every connection and login. */
export function etcdAccess(
  configuration: Configuration,
  credentials: () => Credentials,
): Omit<EtcdOptions, 'clock' | 'observer'> {
  const pem = (text: string | null): Buffer | null => (text === null ? null : Buffer.from(text));
  const { etcd: endpoints, etcdUsername: username, prefix, ttlMs } = configuration;
  return {
    endpoints,
    prefix,
    ttlMs,
    tls: () => {
      const { etcdCa, etcdCert, etcdKey } = credentials();
      return { ca: pem(etcdCa), certificate: pem(etcdCert), key: pem(etcdKey?.reveal() ?? null) };
    },
    login: () => {
      const { etcdPassword } = credentials();
      if (username === null || etcdPassword === null) return null;
      return { username, password: etcdPassword.reveal() };
    },
  };
}

/** The archive of the elections under the configured prefix; the caller closes it. */
export const openArchive = (configuration: Configuration, credentials: Credentials): Archive =>
  new Archive({
    ...etcdAccess(configuration, () => credentials),
    clock: new SystemClock(),
    observer: { requested: () => undefined },
  });
