// SIGHUP: what is taken up, what is named for the next start, and that no credential is used beside other values than its own.
import { expect, it } from 'vitest';
import { loadConfiguration } from '../../src/config/configuration.ts';
import type { Credentials } from '../../src/config/files.ts';
import { reloadableKeys, reloaded, withFrozen, type InForce } from '../../src/config/reload.ts';
import { Secret } from '../../src/config/secret.ts';
import { settings } from '../../src/config/settings.ts';

const none: Credentials = {
  ...{ etcdCa: null, etcdCert: null, etcdKey: null, etcdPassword: null, token: null },
  ...{ tlsCert: null, tlsKey: null, tlsClientCa: null, certificates: [] },
};

/** As the settings are read, with the content of the files they name in place of what is there. */
function read(environment: Readonly<Record<string, string>>, content: Partial<Credentials> = {}) {
  const result = loadConfiguration({
    flags: {},
    environment: { ELECTORD_ELECTION: 'a', ...environment },
    readFile: () => 'content',
    ...{ hostName: 'h', addresses: ['10.0.0.1'], hasIpv6: true },
  });
  if (!result.ok) throw new Error(JSON.stringify(result.faults));
  return { configuration: result.configuration, credentials: { ...none, ...content } };
}

/** Files are not looked into here: the paths are put into what was read. */
const naming = (one: InForce, paths: Partial<InForce['configuration']>): InForce => ({
  ...one,
  configuration: { ...one.configuration, ...paths },
});

it('names what has changed: what is taken up, and what needs a restart and stays', () => {
  const before = read({ ELECTORD_LOG_LEVEL: 'info' });
  const after = reloaded(before, read({ ELECTORD_LOG_LEVEL: 'debug', ELECTORD_TTL: '9s' }));
  expect(after.taken).toEqual(['log-level']);
  expect(after.restart).toEqual(['ttl']);
  expect(after.configuration.logLevel).toBe('debug');
  expect(after.configuration.effective.logLevel.text).toBe('debug');
  expect(after.configuration.ttlMs).toBe(before.configuration.ttlMs);
  expect(after.configuration.effective.ttl).toEqual(before.configuration.effective.ttl);
});

it('takes a default that comes out otherwise for no change', () => {
  const before = read({});
  const moved = loadConfiguration({
    ...{ flags: {}, environment: { ELECTORD_ELECTION: 'a' }, readFile: () => '' },
    ...{ hostName: 'other', addresses: ['10.0.0.2'], hasIpv6: true },
  });
  if (!moved.ok) throw new Error('not read');
  const after = reloaded(before, { configuration: moved.configuration, credentials: none });
  expect([after.taken, after.restart]).toEqual([[], []]);
});

it('takes up a password for the same user, and none that came with another', () => {
  const one = { etcdPassword: new Secret('one') };
  const two = { etcdPassword: new Secret('two') };
  const user = (name: string, content: Partial<Credentials>): InForce =>
    read(
      {
        ELECTORD_ETCD_USERNAME: name,
        ELECTORD_ETCD_PASSWORD: content.etcdPassword?.reveal() ?? '',
      },
      content,
    );
  const rotated = reloaded(user('u', one), user('u', two));
  expect(rotated.credentials.etcdPassword?.reveal()).toBe('two');
  expect(rotated.taken).toEqual(['etcd-password']);

  const other = reloaded(user('u', one), user('v', two));
  expect(other.credentials.etcdPassword?.reveal()).toBe('one');
  expect(other.configuration.etcdUsername).toBe('u');
  expect(other.restart).toEqual(['etcd-username', 'etcd-password']);
  // Nor is it taken up by itself later on.
  const later = withFrozen(other.credentials, { ...none, ...two }, other.frozen);
  expect(later.etcdPassword?.reveal()).toBe('one');
  // Put right, everything is as before.
  expect(reloaded(other, user('u', two)).credentials.etcdPassword?.reveal()).toBe('two');
});

it('keeps addresses of etcd and their certificates together', () => {
  const before = read({ ELECTORD_ETCD: 'http://a:1' });
  const after = reloaded(before, read({ ELECTORD_ETCD: 'https://a:1' }, { etcdCa: 'ca' }));
  expect(after.configuration.etcd).toEqual(['http://a:1']);
  expect(after.credentials.etcdCa).toBeNull();
  expect(after.restart).toEqual(['etcd']);
  const moved = reloaded(before, read({ ELECTORD_ETCD: 'http://b:1' }));
  expect(moved.configuration.etcd).toEqual(['http://b:1']);
  expect([moved.taken, moved.restart]).toEqual([['etcd'], []]);
});

it.each([
  ['comes', null, 'ca.pem'],
  ['goes', 'ca.pem', null],
])('leaves a listener as it is when its --tls-client-ca %s, certificate and all', (_, had, has) => {
  const files = { tlsCertFile: 'cert.pem', tlsKeyFile: 'key.pem' };
  const content = (ca: string | null, cert: string): Partial<Credentials> => ({
    ...{ tlsCert: cert, tlsKey: new Secret('key'), tlsClientCa: ca },
    certificates: [{ setting: 'tls-cert', subject: cert, notBeforeMs: 0, notAfterMs: 1 }],
  });
  const before = naming(read({}, content(had, 'old')), { ...files, tlsClientCaFile: had });
  const next = naming(read({}, content(has, 'new')), { ...files, tlsClientCaFile: has });
  const after = reloaded(before, next);
  expect(after.credentials).toMatchObject({ tlsCert: 'old', tlsClientCa: had });
  expect(after.credentials.certificates.map(({ subject }) => subject)).toEqual(['old']);
  expect(after.configuration.tlsClientCaFile).toBe(had);
});

it('keeps the token with the listener that it guards', () => {
  const token = new Secret('secret');
  const open = { ELECTORD_LOCAL_LISTEN: '0.0.0.0:4041', ELECTORD_TOKEN: 'secret' };
  const after = reloaded(read(open, { token }), read({}));
  expect(after.credentials.token?.reveal()).toBe('secret');
  expect(after.restart).toEqual(['local-listen', 'token']);
  const renewed = { token: new Secret('renewed') };
  const rotated = reloaded(
    read(open, { token }),
    read({ ...open, ELECTORD_TOKEN: 'renewed' }, renewed),
  );
  expect(rotated.credentials.token?.reveal()).toBe('renewed');
});

it('promises of no setting that it is taken up which is not, and takes up none that says nothing', () => {
  // The place of the file comes from flags or environment, which do not change.
  const promised = settings.filter(({ reloadable }) => reloadable).map(({ key }) => key);
  expect(reloadableKeys.toSorted()).toEqual(promised.filter((key) => key !== 'config').toSorted());
});
