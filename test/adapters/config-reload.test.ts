// SIGHUP: what is taken up, what is named for the next start, and that no credential is used beside other values than its own.
import { expect, it } from 'vitest';
import { loadConfiguration } from '../../src/config/configuration.ts';
import type { Credentials } from '../../src/config/files.ts';
import { reloadableKeys, reloaded, withFrozen, type Whole } from '../../src/config/reload.ts';
import { Secret } from '../../src/config/secret.ts';
import { definitions, settings } from '../../src/config/settings.ts';

const none: Credentials = {
  ...{ etcdCa: null, etcdCert: null, etcdKey: null, etcdPassword: null, token: null },
  ...{ ca: null, cert: null, key: null },
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
const naming = (one: Whole, paths: Partial<Whole['configuration']>): Whole => ({
  ...one,
  configuration: { ...one.configuration, ...paths },
});

it('names what has changed: what is taken up, and what needs a restart and stays', () => {
  const before = read({ ELECTORD_LOG_LEVEL: 'info' });
  const after = reloaded(before, read({ ELECTORD_LOG_LEVEL: 'debug', ELECTORD_TTL: '9s' }));
  expect(after.taken).toEqual(['logLevel']);
  expect(after.restart).toEqual(['ttl']);
  expect(after.next.configuration.logLevel).toBe('debug');
  expect(after.next.configuration.effective.logLevel.text).toBe('debug');
  expect(after.next.configuration.ttlMs).toBe(before.configuration.ttlMs);
  expect(after.next.configuration.effective.ttl).toEqual(before.configuration.effective.ttl);
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
  const user = (name: string, content: Partial<Credentials>): Whole =>
    read(
      {
        ELECTORD_ETCD_USERNAME: name,
        ELECTORD_ETCD_PASSWORD: content.etcdPassword?.reveal() ?? '',
      },
      content,
    );
  const rotated = reloaded(user('u', one), user('u', two));
  expect(rotated.next.credentials.etcdPassword?.reveal()).toBe('two');
  expect(rotated.taken).toEqual(['etcdPassword']);

  // Of another user likewise, with the name: Cluster tries both before either is used.
  const other = reloaded(user('u', one), user('v', two));
  expect(other.next.credentials.etcdPassword?.reveal()).toBe('two');
  expect(other.next.configuration.etcdUsername).toBe('v');
  expect(other.taken).toEqual(['etcdUsername', 'etcdPassword']);
});

it('takes up addresses of etcd and their certificates together', () => {
  const before = read({ ELECTORD_ETCD: 'http://a:1' });
  const after = reloaded(before, read({ ELECTORD_ETCD: 'https://a:1' }, { etcdCa: 'ca' }));
  expect(after.next.configuration.etcd).toEqual(['https://a:1']);
  expect(after.next.credentials.etcdCa).toBe('ca');
  expect(after.taken).toEqual(['etcd', 'etcdCa']);
});

it.each([
  ['ELECTORD_ON_ELECTED', 'exec:notify --to one', 'exec:notify --to two', 'onElected'],
  ['ELECTORD_ON_STEP_DOWN', 'https://h/one', 'https://h/two', 'onStepDown'],
  ['ELECTORD_APP_CHECK', 'exec:check one', 'exec:check two', 'appCheck'],
  ['ELECTORD_APP_CHECK', 'http://a/?key=one', 'http://a/?key=two', 'appCheck'],
])('sees a change of %s where it is hidden', (variable, one, other, key) => {
  const after = reloaded(read({ [variable]: one }), read({ [variable]: other }));
  expect(after.restart).toEqual([key]);
  expect(reloaded(read({ [variable]: one }), read({ [variable]: one })).restart).toEqual([]);
});

it('knows the value of every setting that is shown in part', () => {
  const { configuration } = read({});
  const shownInPart = settings.filter(({ key }) => definitions[key].show !== undefined);
  expect(shownInPart.length).toBeGreaterThan(0);
  for (const { key } of shownInPart) expect(configuration).toHaveProperty(key);
});

it('names a certificate, a password and a token that were renewed under the same path', () => {
  const paths = {
    ...{ tlsCertFile: 'cert.pem', tlsKeyFile: 'key.pem' },
    ...{ etcdPasswordFile: 'password', tokenFile: 'token' },
  };
  const content = (version: string): Whole =>
    naming(
      read(
        {},
        {
          ...{ tlsCert: `cert ${version}`, tlsKey: new Secret(`key ${version}`) },
          ...{ etcdPassword: new Secret(version), token: new Secret(version) },
        },
      ),
      paths,
    );
  const names = ['etcdPasswordFile', 'tokenFile', 'tlsCert', 'tlsKey'];
  expect(reloaded(content('1'), content('2')).taken).toEqual(names);
  expect(reloaded(content('1'), content('1')).taken).toEqual([]);
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
  expect(after.next.credentials).toMatchObject({ tlsCert: 'old', tlsClientCa: had });
  expect(after.next.credentials.certificates.map(({ subject }) => subject)).toEqual(['old']);
  expect(after.next.configuration.tlsClientCaFile).toBe(had);
  expect(after.restart).toContain('tlsCert');
  // Nor is it taken up by itself later on.
  const later = withFrozen(after.next.credentials, next.credentials, after.frozen);
  expect(later.tlsCert).toBe('old');
});

it.each([
  ['localListen', { ELECTORD_LOCAL_LISTEN: '0.0.0.0:4041' }],
  ['publicUrl', { ELECTORD_PUBLIC_URL: 'https://ops.example' }],
])('keeps the token with the listener that it guards: %s', (name, opens) => {
  const token = new Secret('secret');
  const open = { ...opens, ELECTORD_TOKEN: 'secret' };
  const after = reloaded(read(open, { token }), read({}));
  expect(after.next.credentials.token?.reveal()).toBe('secret');
  expect(after.restart.toSorted()).toEqual([name, 'token']);
  const renewed = { token: new Secret('renewed') };
  const rotated = reloaded(
    read(open, { token }),
    read({ ...open, ELECTORD_TOKEN: 'renewed' }, renewed),
  );
  expect(rotated.next.credentials.token?.reveal()).toBe('renewed');
});

it('promises of no setting that it is taken up which is not, and takes up none that says nothing', () => {
  // The place of the file comes from flags or environment, which do not change.
  const promised = settings.filter(({ reloadable }) => reloadable).map(({ key }) => key);
  expect(reloadableKeys.toSorted()).toEqual(promised.filter((key) => key !== 'config').toSorted());
});
