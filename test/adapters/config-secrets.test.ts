// Secrets and the files that settings name: what is read, what is refused, that SIGHUP can read again,
// and that no secret is seen in any output whichever way it came in. The certificates are made here.

import fc from 'fast-check';
import { createPrivateKey } from 'node:crypto';
import { inspect } from 'node:util';
import { generate } from 'selfsigned';
import { beforeAll, describe as suite, expect, it } from 'vitest';
import {
  describe,
  loadConfiguration,
  type ConfigurationInput,
  type LoadResult,
} from '../../src/config/configuration.ts';
import { formatFaults } from '../../src/config/faults.ts';
import { certificateWarnings, readFiles } from '../../src/config/files.ts';
import { Secret } from '../../src/config/secret.ts';

type Files = Readonly<Record<string, string>>;
type Partly = Partial<Omit<ConfigurationInput, 'readFile'>> & { readonly files?: Files };

const dayMs = 86_400_000;
const from = new Date('2026-01-01T00:00:00.000Z');
const until = new Date('2026-01-31T00:00:00.000Z');

let pem: { cert: string; key: string; encrypted: string; otherCert: string };

beforeAll(async () => {
  const dates = { keyType: 'ec', notBeforeDate: from, notAfterDate: until } as const;
  const [one, other] = await Promise.all([
    generate([{ name: 'commonName', value: 'orders-0' }], dates),
    generate([{ name: 'commonName', value: 'orders-1' }], dates),
  ]);
  const encrypted = createPrivateKey(one.private).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'passphrase',
  });
  pem = { cert: one.cert, key: one.private, encrypted: String(encrypted), otherCert: other.cert };
});

function reader(files: Files): (path: string) => string {
  return (path) => {
    const content = files[path];
    if (content !== undefined) return content;
    throw Object.assign(new Error(`no such file ${path}`), { code: 'ENOENT' });
  };
}

function load({ files = {}, ...input }: Partly): LoadResult {
  return loadConfiguration({
    environment: {},
    hostName: 'orders-0',
    addresses: [],
    hasIpv6: true,
    ...input,
    flags: { election: 'orders', ...input.flags },
    readFile: reader(files),
  });
}

function good(input: Partly) {
  const result = load(input);
  if (!result.ok) throw new Error(formatFaults(result.faults));
  return result;
}

function problems(input: Partly): readonly (readonly [string, string])[] {
  const result = load(input);
  return result.ok ? [] : result.faults.map((one) => [one.setting, one.problem] as const);
}

suite('Secret', () => {
  it('prints as [secret] and reveals its text on demand', () => {
    const secret = new Secret('hunter2-hunter2');
    expect(secret.reveal()).toBe('hunter2-hunter2');
    // What a careless line of code would do is done here on purpose, past the types.
    const careless = secret as unknown as string;
    expect(`a ${careless}`).toBe('a [secret]');
    expect('a ' + careless).toBe('a [secret]');
    expect(String(secret)).toBe('[secret]');
    expect(JSON.stringify({ secret })).toBe('{"secret":"[secret]"}');
    expect(inspect({ secret }, { showHidden: true })).toBe('{ secret: [secret] }');
    expect(inspect(secret, { customInspect: false, showHidden: true })).not.toContain('hunter2');
    expect(JSON.stringify(Object.assign({}, secret))).toBe('{}');
  });
});

suite('password and token', () => {
  const username = { etcdUsername: 'root' };

  it('are read from their files, without the end of the line', () => {
    const { credentials } = good({
      flags: { ...username, 'etcd-password-file': '/p', 'token-file': '/t' },
      files: { '/p': ' pass word \r\n', '/t': 'token-1\n' },
    });
    expect(credentials.etcdPassword?.reveal()).toBe(' pass word ');
    expect(credentials.token?.reveal()).toBe('token-1');
  });

  it('may stand in the environment and in the configuration file', () => {
    const environment = { ELECTORD_ETCD_PASSWORD: 'one', ELECTORD_CONFIG: '/c' };
    const { credentials, configuration } = good({
      flags: { ...username, localListen: '0.0.0.0:1' },
      environment,
      files: { '/c': 'token: |\n  two\n' },
    });
    expect(credentials.etcdPassword?.reveal()).toBe('one');
    expect(credentials.token?.reveal()).toBe('two');
    expect(describe(configuration)).toMatchObject({
      etcdPassword: { value: '[secret]', source: 'environment' },
      token: { value: '[secret]', source: 'file' },
    });
  });

  it.each([
    [{ tokenFile: '/t' }, { ELECTORD_TOKEN: 'direct' }, 'from-file'],
    [{}, { ELECTORD_TOKEN: 'direct' }, 'direct'],
    [{}, { ELECTORD_TOKEN_FILE: '/t' }, 'from-file'],
  ])('the stronger source wins: flags %j, environment %j', (flags, environment, token) => {
    const all = { ...environment, ELECTORD_CONFIG: '/c' };
    const files = { '/t': 'from-file', '/c': 'token: weakest' };
    expect(good({ flags, environment: all, files }).credentials.token?.reveal()).toBe(token);
  });

  it.each<[string, Partly, string, string]>([
    [
      'both from one source',
      { environment: { ELECTORD_TOKEN: 'a', ELECTORD_TOKEN_FILE: '/t' }, files: { '/t': 'b' } },
      'token',
      'together with --token-file',
    ],
    ['a secret as a flag', { flags: { token: 'abc' } }, 'token', 'use --token-file'],
    ['a missing file', { flags: { tokenFile: '/t' } }, 'token-file', 'does not exist'],
    [
      'an empty file',
      { flags: { tokenFile: '/t' }, files: { '/t': '\n' } },
      'token-file',
      'empty file',
    ],
    [
      'a token with a space',
      { flags: { tokenFile: '/t' }, files: { '/t': 'a b' } },
      'token-file',
      'whose content has other characters',
    ],
    [
      'a bad token in the environment',
      { environment: { ELECTORD_TOKEN: 'a b' } },
      'token',
      'other characters',
    ],
    [
      'a password without a user',
      { flags: { etcdPasswordFile: '/p' }, files: { '/p': 'x' } },
      'etcd-password-file',
      'without --etcd-username',
    ],
    [
      'a direct password without a user',
      { environment: { ELECTORD_ETCD_PASSWORD: 'x' } },
      'etcd-password',
      'without --etcd-username',
    ],
    [
      'a user without a password',
      { flags: { etcdUsername: 'root' } },
      'etcd-username',
      'without --etcd-password-file',
    ],
  ])('refuses %s', (_, input, setting, problem) => {
    const found = problems(input);
    expect(found).toHaveLength(1);
    expect(found[0]?.[0]).toBe(setting);
    expect(found[0]?.[1]).toContain(problem);
  });
});

suite('certificates', () => {
  const tls = { tlsCert: '/cert', tlsKey: '/key' };
  const pair = (): Files => ({ '/cert': pem.cert, '/key': pem.key });

  it('are read for both sides', () => {
    const etcdFlags = { etcd: 'https://e', etcdCa: '/cert', etcdCert: '/cert', etcdKey: '/key' };
    const flags = { ...tls, tlsClientCa: '/ca', ...etcdFlags };
    const files = { ...pair(), '/ca': pem.cert + pem.otherCert };
    const { credentials, configuration } = good({ flags, files });
    expect(configuration.url).toBe('https://127.0.0.1:4040');
    expect(credentials).toMatchObject({ tlsCert: pem.cert, etcdCa: pem.cert, etcdCert: pem.cert });
    expect(credentials.tlsKey?.reveal()).toBe(pem.key);
    expect(credentials.tlsClientCa).toBe(pem.cert + pem.otherCert);
    const names = credentials.certificates.map((one) => `${one.setting} ${one.subject}`).sort();
    expect(names).toEqual([
      'etcd-ca CN=orders-0',
      'etcd-cert CN=orders-0',
      'tls-cert CN=orders-0',
      'tls-client-ca CN=orders-0',
      'tls-client-ca CN=orders-1',
    ]);
  });

  it('warn, and no more, when they are not valid now', () => {
    const { credentials } = good({ flags: tls, files: pair() });
    const warnings = (nowMs: number) => certificateWarnings(credentials, nowMs);
    expect(warnings(from.getTime() + dayMs)).toEqual([]);
    expect(warnings(until.getTime() + dayMs)).toEqual([
      'The certificate "CN=orders-0" of --tls-cert expired on 2026-01-31T00:00:00.000Z.',
    ]);
    expect(warnings(from.getTime() - dayMs)).toEqual([
      'The certificate "CN=orders-0" of --tls-cert is not valid before 2026-01-01T00:00:00.000Z.',
    ]);
  });

  it('can be read again, when only the files have changed', () => {
    const { configuration } = good({ flags: tls, files: pair() });
    const again = readFiles(configuration, reader({ '/cert': pem.otherCert, '/key': pem.key }));
    expect(again).toMatchObject({
      ok: false,
      faults: [{ setting: 'tls-key', value: '/key', source: 'flag' }],
    });
    const gone = readFiles(configuration, reader({ '/cert': pem.cert }));
    expect(gone).toMatchObject({ ok: false, faults: [{ problem: 'does not exist' }] });
    expect(readFiles(configuration, reader(pair())).ok).toBe(true);
  });

  it.each<[string, () => Partly, readonly (readonly [string, string])[]]>([
    [
      'a key of another certificate',
      () => ({ flags: tls, files: { ...pair(), '/cert': pem.otherCert } }),
      [['tls-key', 'does not belong to the certificate in --tls-cert']],
    ],
    [
      'an encrypted key',
      () => ({ flags: tls, files: { ...pair(), '/key': pem.encrypted } }),
      [['tls-key', 'holds an encrypted key']],
    ],
    [
      'a certificate as key and the reverse',
      () => ({ flags: tls, files: { '/cert': pem.key, '/key': pem.cert } }),
      [
        ['tls-cert', 'holds no PEM certificate'],
        ['tls-key', 'holds no PEM private key'],
      ],
    ],
    [
      'broken PEM',
      () => ({
        flags: tls,
        files: { '/cert': pem.cert.replace(/M/g, '_'), '/key': pem.key.replace(/M/g, '_') },
      }),
      [
        ['tls-cert', 'broken PEM certificate'],
        ['tls-key', 'broken PEM private key'],
      ],
    ],
    [
      'empty files',
      () => ({ flags: tls, files: { '/cert': '', '/key': '\n' } }),
      [
        ['tls-cert', 'is an empty file'],
        ['tls-key', 'is an empty file'],
      ],
    ],
    [
      'a certificate without key',
      () => ({ flags: { tlsCert: '/cert' }, files: pair() }),
      [['tls-cert', 'without --tls-key']],
    ],
    [
      'a key without certificate',
      () => ({ flags: { tlsKey: '/key' }, files: pair() }),
      [['tls-key', 'without --tls-cert']],
    ],
    [
      'client certificates without HTTPS',
      () => ({ flags: { tlsClientCa: '/cert' }, files: pair() }),
      [['tls-client-ca', 'without --tls-cert']],
    ],
    [
      'an etcd certificate without key',
      () => ({ flags: { etcd: 'https://e', etcdCert: '/cert' }, files: pair() }),
      [['etcd-cert', 'without --etcd-key']],
    ],
    [
      'an etcd key without certificate',
      () => ({ flags: { etcd: 'https://e', etcdKey: '/key' }, files: pair() }),
      [['etcd-key', 'without --etcd-cert']],
    ],
    [
      'TLS files with plain endpoints',
      () => ({ flags: { etcdCa: '/cert', etcdCert: '/cert', etcdKey: '/key' }, files: pair() }),
      [
        ['etcd-ca', 'http:// endpoints'],
        ['etcd-cert', 'http:// endpoints'],
        ['etcd-key', 'http:// endpoints'],
      ],
    ],
  ])('refuse %s', (_, input, expected) => {
    const found = problems(input());
    expect(found.map(([setting]) => setting)).toEqual(expected.map(([setting]) => setting));
    for (const [index, [, problem]] of expected.entries()) {
      expect(found[index]?.[1]).toContain(problem);
    }
  });

  it('are judged together with all other faults', () => {
    const flags = { ...tls, ttl: '5', etcdUsername: 'root', etcdPasswordFile: '/p' };
    expect(
      problems({ flags, files: { '/cert': pem.cert } })
        .map(([name]) => name)
        .sort(),
    ).toEqual(['etcd-password-file', 'tls-key', 'ttl']);
  });
});

suite('no secret is seen', () => {
  /** Every way by which a secret may come in, well or badly. */
  const ways: readonly (readonly [string, (secret: string) => Partly])[] = [
    [
      'password file',
      (s) => ({ flags: { etcdUsername: 'u', etcdPasswordFile: '/s' }, files: { '/s': s } }),
    ],
    [
      'password file without user',
      (s) => ({ flags: { etcdPasswordFile: '/s' }, files: { '/s': s } }),
    ],
    ['token file', (s) => ({ flags: { tokenFile: '/s' }, files: { '/s': s } })],
    [
      'variables',
      (s) => ({
        flags: { etcdUsername: 'u' },
        environment: { ELECTORD_TOKEN: s, ELECTORD_ETCD_PASSWORD: s },
      }),
    ],
    [
      'variables with a fault',
      (s) => ({ environment: { ELECTORD_TOKEN: `${s} `, ELECTORD_ETCD_PASSWORD: `${s}\0` } }),
    ],
    [
      'variable and file',
      (s) => ({
        environment: { ELECTORD_TOKEN: s, ELECTORD_TOKEN_FILE: '/s' },
        files: { '/s': s },
      }),
    ],
    ['misspelt variable', (s) => ({ environment: { ELECTORD_TOKN: s, ELECTORD_PASSWORD: s } })],
    ['flag', (s) => ({ flags: { token: s, 'etcd-password': s, tokn: s, etcdPasword: [s, s] } })],
    [
      'configuration file',
      (s) => config(JSON.stringify({ etcdUsername: 'u', token: s, etcdPassword: s })),
    ],
    ['misspelt key', (s) => config(JSON.stringify({ tokn: s, password: s }))],
    [
      'list and mapping',
      (s) => config(JSON.stringify({ token: [s, s], etcdPassword: { value: s } })),
    ],
    ['broken file', (s) => config(`token: "${s}`)],
    ['broken plain file', (s) => config(`token: ${s}\n  etcdPassword: ${s}: *${s}`)],
    ['file that is only the secret', (s) => config(s)],
    [
      'key file',
      (s) => ({
        flags: { tlsCert: '/c', tlsKey: '/s' },
        files: {
          '/c': pem.cert,
          '/s': `-----BEGIN PRIVATE KEY-----\n${s}\n-----END PRIVATE KEY-----\n`,
        },
      }),
    ],
    ['certificate file', (s) => ({ flags: { tlsCert: '/s', tlsKey: '/s' }, files: { '/s': s } })],
    ['user information in addresses', (s) => ({ flags: addresses(`user:${s}@`, '') })],
    [
      'encoded user information',
      (s) => ({ flags: addresses(`user:${encodeURIComponent(s)}@`, '') }),
    ],
    ['query of addresses', (s) => ({ flags: addresses('', `?key=${s}`) })],
    [
      'hooks',
      (s) => ({
        flags: {
          onElected: `https://h/${s}`,
          onStepDown: `exec:curl -u "${s}" h`,
        },
      }),
    ],
  ];

  it('shows of a command its program only, and of a hook its host only', () => {
    const { configuration } = good({
      flags: {
        appCheck: 'exec:/bin/check -p x',
        onElected: 'exec:A=b c',
        onStepDown: 'http://h/x',
      },
    });
    expect(describe(configuration)).toMatchObject({
      appCheck: { value: 'exec:/bin/check …' },
      onElected: { value: 'exec:…' },
      onStepDown: { value: 'http://h/…' },
    });
  });

  function config(text: string): Partly {
    return { flags: { config: '/config' }, files: { '/config': text } };
  }

  function addresses(user: string, query: string): ConfigurationInput['flags'] {
    return {
      etcd: `http://${user}a:1${query},http://${user}b:1${query}`,
      advertise: `http://${user}a:1${query}`,
      url: `http://${user}a:1${query}`,
      appCheck: `http://${user}a:1${query}`,
      onElected: `http://${user}a:1${query}`,
    };
  }

  /** Everything that can be printed of a result. The app's own use of a hook or address is not output. */
  function output(input: Partly): string {
    const result = load(input);
    if (!result.ok) {
      return [formatFaults(result.faults), JSON.stringify(result), inspect(result)].join('\n');
    }
    const { configuration, credentials } = result;
    const overview = describe(configuration);
    const { onElected, onStepDown, appCheck, ...rest } = configuration;
    const hooks = [onElected, onStepDown, appCheck].filter((one) => one !== null).length;
    const warnings = certificateWarnings(credentials, 0);
    const parts = [overview, rest, credentials, hooks, warnings];
    const depth = { depth: 9, showHidden: true };
    return parts.flatMap((one) => [JSON.stringify(one), inspect(one, depth)]).join('\n');
  }

  it.each(ways)('by way of: %s', (_, way) => {
    const harmless = output(way('Zq9#fixed-sample@Zq9'));
    const secrets = fc
      .oneof(
        fc.string({ minLength: 8, maxLength: 60 }),
        fc.string({ minLength: 8, maxLength: 60, unit: 'grapheme' }),
        fc.stringMatching(/^[A-Za-z0-9:/@?#]{8,40}$/),
      )
      // A text that stands in the output for another secret too, such as eight spaces, proves nothing.
      .filter((secret) => secret.trim().length >= 8 && !harmless.includes(secret));
    fc.assert(
      fc.property(secrets, (secret) => {
        const seen = output(way(secret));
        for (const form of [
          secret,
          JSON.stringify(secret).slice(1, -1),
          encodeURIComponent(secret),
        ]) {
          if (harmless.includes(form)) continue;
          expect(seen.includes(form), `${form} in ${seen}`).toBe(false);
        }
      }),
      // An @ in a query once passed for the end of user and password.
      { numRuns: 150, examples: [['@aaaaaAaA'], ['T0KEN/x@y?z#']] },
    );
  });
});
