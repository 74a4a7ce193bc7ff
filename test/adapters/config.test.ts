// The configuration from outside: the contract's table of settings, who beats whom, what is refused and
// how that reads. The expected values are written out by hand; nothing here is derived from the code's
// own table. Secrets and files have their own test, config-secrets.test.ts.

import { describe as suite, expect, it } from 'vitest';
import {
  describe,
  loadConfiguration,
  withBoundPort,
  type Configuration,
  type ConfigurationInput,
} from '../../src/config/configuration.ts';
import { hookEnvironment } from '../../src/app-side/environment.ts';
import { electionName, fencingToken, memberId, revision } from '../../src/core/model.ts';
import { formatDuration, readDuration } from '../../src/contract.ts';
import { formatFaults, type Fault } from '../../src/config/faults.ts';
import { settings } from '../../src/config/settings.ts';

type Partly = Partial<ConfigurationInput> & { readonly file?: string };

function load({ file, ...input }: Partly) {
  return loadConfiguration({
    flags: {},
    hostName: 'orders-0',
    addresses: ['10.0.0.7'],
    hasIpv6: true,
    readFile: (path) => {
      if (file !== undefined && path === '/etc/electord.yaml') return file;
      throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
    },
    ...input,
    environment: {
      ...(file === undefined ? {} : { ELECTORD_CONFIG: '/etc/electord.yaml' }),
      ...input.environment,
    },
  });
}

function good(input: Partly): Configuration {
  const result = load(input);
  if (!result.ok) throw new Error(formatFaults(result.faults));
  return result.configuration;
}

function flags(values: ConfigurationInput['flags']): Configuration {
  return good({ flags: { election: 'orders', ...values } });
}

function faults(input: Partly): readonly Fault[] {
  const result = load(input);
  return result.ok ? [] : result.faults;
}

function flagFaults(values: ConfigurationInput['flags']): readonly Fault[] {
  return faults({ flags: { election: 'orders', ...values } });
}

// name, variable, default in words or as written (null: none), kind
const expected: readonly (readonly [string, string, string | null, string])[] = [
  ['config', 'ELECTORD_CONFIG', null, 'flag'],
  ['election', 'ELECTORD_ELECTION', null, 'many'],
  ['id', 'ELECTORD_ID', 'host name', 'flag'],
  ['advertise', 'ELECTORD_ADVERTISE', null, 'flag'],
  [
    'url',
    'ELECTORD_URL',
    "from --listen; the host's first IPv4, else IPv6 address where that is [::] or 0.0.0.0",
    'flag',
  ],
  ['public-url', 'ELECTORD_PUBLIC_URL', null, 'flag'],
  ['etcd', 'ELECTORD_ETCD', 'http://127.0.0.1:2379', 'many'],
  ['etcd-ca', 'ELECTORD_ETCD_CA', null, 'reload'],
  ['etcd-cert', 'ELECTORD_ETCD_CERT', null, 'reload'],
  ['etcd-key', 'ELECTORD_ETCD_KEY', null, 'reload'],
  ['etcd-username', 'ELECTORD_ETCD_USERNAME', null, 'reload'],
  ['etcd-password-file', 'ELECTORD_ETCD_PASSWORD_FILE', null, 'reload'],
  ['etcd-password', 'ELECTORD_ETCD_PASSWORD', null, 'secret'],
  ['prefix', 'ELECTORD_PREFIX', '/electord', 'flag'],
  ['publish', 'ELECTORD_PUBLISH', null, 'many'],
  ['ttl', 'ELECTORD_TTL', '5s', 'flag'],
  ['margin', 'ELECTORD_MARGIN', 'max(250ms, 5% of --ttl)', 'flag'],
  ['takeover-delay', 'ELECTORD_TAKEOVER_DELAY', 'evidence', 'flag'],
  ['fast-failover', 'ELECTORD_FAST_FAILOVER', 'off', 'flag'],
  ['priority', 'ELECTORD_PRIORITY', '0', 'flag'],
  [
    'listen',
    'ELECTORD_LISTEN',
    '[::]:4040, which is IPv4 too; 0.0.0.0:4040 on a machine without IPv6',
    'flag',
  ],
  ['local-listen', 'ELECTORD_LOCAL_LISTEN', 'localhost:4041', 'flag'],
  ['agent-check', 'ELECTORD_AGENT_CHECK', null, 'flag'],
  ['grpc-health', 'ELECTORD_GRPC_HEALTH', null, 'flag'],
  ['token-file', 'ELECTORD_TOKEN_FILE', null, 'reload'],
  ['token', 'ELECTORD_TOKEN', null, 'secret'],
  ['tls-cert', 'ELECTORD_TLS_CERT', null, 'reload'],
  ['tls-key', 'ELECTORD_TLS_KEY', null, 'reload'],
  ['tls-client-ca', 'ELECTORD_TLS_CLIENT_CA', null, 'reload'],
  [
    'tls-client-auth',
    'ELECTORD_TLS_CLIENT_AUTH',
    'require with --tls-client-ca, else none',
    'flag',
  ],
  ['ca', 'ELECTORD_CA', null, 'reload'],
  ['cert', 'ELECTORD_CERT', null, 'reload'],
  ['key', 'ELECTORD_KEY', null, 'reload'],
  ['server-name', 'ELECTORD_SERVER_NAME', null, 'reload'],
  ['app-check', 'ELECTORD_APP_CHECK', null, 'flag'],
  ['app-check-interval', 'ELECTORD_APP_CHECK_INTERVAL', '1s', 'flag'],
  [
    'app-check-timeout',
    'ELECTORD_APP_CHECK_TIMEOUT',
    '1s, or --app-check-interval where that is shorter',
    'flag',
  ],
  ['app-check-fall', 'ELECTORD_APP_CHECK_FALL', '3', 'flag'],
  ['app-check-rise', 'ELECTORD_APP_CHECK_RISE', '2', 'flag'],
  ['when-all-unhealthy', 'ELECTORD_WHEN_ALL_UNHEALTHY', 'none', 'flag'],
  ['on-elected', 'ELECTORD_ON_ELECTED', null, 'flag'],
  ['on-step-down', 'ELECTORD_ON_STEP_DOWN', null, 'flag'],
  ['hook-timeout', 'ELECTORD_HOOK_TIMEOUT', '10s, or --grace where that is shorter', 'flag'],
  ['grace', 'ELECTORD_GRACE', '10s', 'flag'],
  [
    'max-hold',
    'ELECTORD_MAX_HOLD',
    '1s, or --grace or --fast-failover where that is shorter',
    'flag',
  ],
  ['proxy', 'ELECTORD_PROXY', null, 'many'],
  ['proxy-buffer-window', 'ELECTORD_PROXY_BUFFER_WINDOW', '10s', 'flag'],
  ['proxy-buffer-size', 'ELECTORD_PROXY_BUFFER_SIZE', '1000', 'flag'],
  ['proxy-drain', 'ELECTORD_PROXY_DRAIN', '5s', 'flag'],
  ['proxy-response-timeout', 'ELECTORD_PROXY_RESPONSE_TIMEOUT', '10s', 'flag'],
  ['kubernetes-leader-label', 'ELECTORD_KUBERNETES_LEADER_LABEL', null, 'flag'],
  [
    'kubernetes-account',
    'ELECTORD_KUBERNETES_ACCOUNT',
    '/var/run/secrets/kubernetes.io/serviceaccount',
    'flag',
  ],
  ['log-level', 'ELECTORD_LOG_LEVEL', 'info', 'reload'],
  ['log-format', 'ELECTORD_LOG_FORMAT', 'json', 'flag'],
];

suite('the table of settings', () => {
  it.each(expected)('has --%s, %s, default %s', (name, variable, defaultText, kind) => {
    const setting = settings.find((one) => one.name === name);
    expect(setting).toMatchObject({
      variable,
      defaultText,
      flag: kind !== 'secret',
      secret: kind === 'secret',
      many: kind === 'many',
      required: name === 'election',
    });
    const reloadable = ['reload', 'secret'].includes(kind) || name === 'etcd' || name === 'config';
    expect(setting?.reloadable).toBe(reloadable);
  });

  it('has nothing else', () => {
    expect(settings.map((one) => one.name).sort()).toEqual(expected.map(([name]) => name).sort());
  });

  it('gives every setting one sentence of help', () => {
    for (const { doc, allowed } of settings) {
      expect(doc).toMatch(/^[A-Z].*[^.]\.$/);
      expect(allowed).not.toMatch(/\.$/);
    }
  });

  it("has the contract's defaults", () => {
    const { effective, ...rest } = flags({});
    expect(rest).toEqual({
      elections: ['orders'],
      id: 'orders-0',
      advertise: null,
      url: 'http://10.0.0.7:4040',
      proxies: [],
      proxyBufferSize: 1000,
      proxyBufferWindowMs: 10_000,
      proxyDrainMs: 5000,
      proxyResponseTimeoutMs: 10_000,
      publicUrl: null,
      etcd: ['http://127.0.0.1:2379'],
      etcdCaFile: null,
      etcdCertFile: null,
      etcdKeyFile: null,
      etcdUsername: null,
      etcdPasswordFile: null,
      etcdPassword: null,
      prefix: '/electord',
      publish: [],
      ttlMs: 5000,
      marginMs: 250,
      takeoverDelayMs: 'evidence',
      fastFailoverMs: null,
      priority: 0,
      listen: { kind: 'tcp', host: '::', port: 4040 },
      localListen: { kind: 'tcp', host: 'localhost', port: 4041 },
      agentCheck: null,
      grpcHealth: null,
      tokenFile: null,
      token: null,
      tlsCertFile: null,
      tlsKeyFile: null,
      tlsClientCaFile: null,
      caFile: null,
      certFile: null,
      keyFile: null,
      tlsClientAuth: 'none',
      serverName: null,
      appCheck: null,
      appCheckIntervalMs: 1000,
      appCheckTimeoutMs: 1000,
      appCheckFall: 3,
      appCheckRise: 2,
      whenAllUnhealthy: 'none',
      kubernetesLeaderLabel: null,
      kubernetesAccount: '/var/run/secrets/kubernetes.io/serviceaccount',
      onElected: null,
      onStepDown: null,
      hookTimeoutMs: 10_000,
      graceMs: 10_000,
      maxHoldMs: 1000,
      logLevel: 'info',
      logFormat: 'json',
    });
    expect(effective.ttl).toEqual({ text: '5s', source: 'default' });
  });
});

suite('sources', () => {
  const file = 'election: orders\nttl: 4s\nprefix: /file\nid: 007';

  it('lets a flag beat the environment beat the file beat the default', () => {
    const all = good({
      file,
      environment: { ELECTORD_TTL: '3s', ELECTORD_PREFIX: '/environment' },
      flags: { ttl: '2s' },
    });
    expect(all).toMatchObject({ ttlMs: 2000, prefix: '/environment', id: '007', graceMs: 10_000 });
    expect(describe(all)).toMatchObject({
      ttl: { value: '2s', source: 'flag' },
      prefix: { value: '/environment', source: 'environment' },
      id: { value: '007', source: 'file' },
      grace: { value: '10s', source: 'default' },
      margin: { value: '250ms', source: 'default' },
      etcdCa: { value: null, source: 'default' },
    });
  });

  it('takes flags by name and by key', () => {
    expect(flags({ 'takeover-delay': '7s' }).takeoverDelayMs).toBe(7000);
    expect(flags({ 'fast-failover': '250ms' })).toMatchObject({
      fastFailoverMs: 250,
      maxHoldMs: 250,
    });
    expect(flags({ takeoverDelay: '7s' }).takeoverDelayMs).toBe(7000);
  });

  it('does not judge a value that a stronger source replaces', () => {
    const environment = { ELECTORD_TTL: 'nonsense' };
    expect(good({ flags: { election: 'a', ttl: '9s' }, environment }).ttlMs).toBe(9000);
  });

  it('reads JSON, indented by tabs too, and lists', () => {
    const json =
      '{\n\t"election": ["a", "b"],\n\t"etcd": "http://e:1,http://f:1",\n\t"priority": 3\n}';
    const configuration = good({ file: json });
    expect(configuration.elections).toEqual(['a', 'b']);
    expect(configuration.etcd).toEqual(['http://e:1', 'http://f:1']);
    expect(configuration.priority).toBe(3);
  });

  it('reads an empty file, aliases and repeated flags', () => {
    expect(good({ file: '# nothing yet\n', flags: { election: ['a', 'b,c'] } }).elections).toEqual([
      'a',
      'b',
      'c',
    ]);
    expect(good({ file: 'election: &name orders\nid: *name\n' }).id).toBe('orders');
  });

  it('takes an empty variable as not set', () => {
    const environment = { ELECTORD_ELECTION: 'a', ELECTORD_ADVERTISE: '' };
    expect(good({ environment }).advertise).toBeNull();
  });

  it("ignores what run sets for its child and Kubernetes' service links", () => {
    const environment = {
      ELECTORD_ELECTION: 'a',
      ELECTORD_FENCING_TOKEN: '4711',
      ELECTORD_LOCAL_URL: 'http://127.0.0.1:4041',
      ELECTORD_SERVICE_HOST: '10.96.0.1',
      ELECTORD_SERVICE_PORT: '4040',
      ELECTORD_SERVICE_PORT_HTTP: '4040',
      ELECTORD_PORT: 'tcp://10.96.0.1:4040',
      ELECTORD_PORT_4040_TCP: 'tcp://10.96.0.1:4040',
      ELECTORD_PORT_4040_TCP_ADDR: '10.96.0.1',
      ELECTORD_PUBLIC_SERVICE_HOST: '10.96.0.2',
    };
    expect(faults({ environment })).toEqual([]);
  });

  it('is deeply frozen', () => {
    const configuration = flags({});
    const parts = [configuration, configuration.elections, configuration.listen];
    for (const part of [...parts, configuration.effective, configuration.effective.ttl]) {
      expect(Object.isFrozen(part)).toBe(true);
    }
  });
});

suite('values', () => {
  it.each([
    ['500ms', 500],
    ['0s', 0],
    ['5s', 5000],
    ['2m', 120_000],
    ['1h', 3_600_000],
  ])('reads the duration %s and writes it back', (text, durationMs) => {
    expect(readDuration(text)).toEqual({ ms: durationMs });
    expect(formatDuration(durationMs)).toBe(text);
  });

  it.each([
    ['orders', ['orders']],
    ['a, b,c', ['a', 'b', 'c']],
    ['o-{9..11}', ['o-9', 'o-10', 'o-11']],
    ['o-{09..11}', ['o-09', 'o-10', 'o-11']],
    ['{0..1}.{0..1},x', ['0.0', '0.1', '1.0', '1.1', 'x']],
    ['a'.repeat(128), ['a'.repeat(128)]],
  ])('expands the elections %s', (election, elections) => {
    expect(flags({ election }).elections).toEqual(elections);
  });

  it('takes 4096 elections', () => {
    expect(flags({ election: 'o{1..4096}' }).elections).toHaveLength(4096);
  });

  it.each([
    ['http://h', ['http://h:2379']],
    ['srv://Example.com/', ['srv://example.com']],
    ['srv+https://e.com, https://h', ['srv+https://e.com', 'https://h:2379']],
    ['http://H:80/', ['http://h:80']],
    ['https://h:443, https://[::1]', ['https://h:443', 'https://[::1]:2379']],
  ])('reads the endpoints %s', (etcd, endpoints) => {
    expect(flags({ etcd }).etcd).toEqual(endpoints);
  });

  it.each([
    [{ listen: '[::]:4040' }, 'http://10.0.0.7:4040'],
    [{ url: 'http://[10.0.0.5]:4040' }, 'http://10.0.0.5:4040'],
    [{ url: 'http://[fd00::5]:4040' }, 'http://[fd00::5]:4040'],
    [{ listen: '192.0.2.1:80' }, 'http://192.0.2.1:80'],
    [{ listen: '[2001:DB8::1]:80' }, 'http://[2001:db8::1]:80'],
    [{ url: 'https://me.example/electord/' }, 'https://me.example/electord'],
  ])('makes of %j the url %s', (values, url) => {
    expect(flags(values).url).toBe(url);
  });

  it('takes an IPv4 address in brackets, as a template writes it that may get an IPv6 one', () => {
    expect(flags({ advertise: 'http://[10.0.0.5]:8080' }).advertise).toBe('http://10.0.0.5:8080');
    expect(flags({ advertise: '[10.0.0.5]:8080' }).advertise).toBe('10.0.0.5:8080');
    expect(flags({ advertise: 'http://[fd00::5]:8080' }).advertise).toBe('http://[fd00::5]:8080');
    expect(flags({ etcd: 'http://[10.0.0.5]' }).etcd).toEqual(['http://10.0.0.5:2379']);
  });

  it('tells others an address that it serves', () => {
    const both = ['fd00::5', '10.0.0.5'];
    const urlOf = (listen: string, addresses: readonly string[]): string =>
      good({ flags: { election: 'a', listen }, addresses }).url;
    expect(urlOf('[::]:80', both)).toBe('http://10.0.0.5:80');
    expect(urlOf('[::]:80', ['fd00::5'])).toBe('http://[fd00::5]:80');
    expect(urlOf('0.0.0.0:80', both)).toBe('http://10.0.0.5:80');
    expect(urlOf('0.0.0.0:80', ['fd00::5'])).toBe('http://127.0.0.1:80');
  });

  it('falls back to loopback on a host without an address, and puts the bound port in', () => {
    const input = { flags: { election: 'a', listen: '0.0.0.0:0' }, addresses: [] };
    const bound = withBoundPort(good(input), 5050);
    expect(bound.url).toBe('http://127.0.0.1:5050');
    expect(describe(bound)['url']).toEqual({ value: 'http://127.0.0.1:5050', source: 'default' });
    const given = flags({ url: 'http://me:1', listen: '0.0.0.0:0' });
    expect(withBoundPort(given, 5050).url).toBe('http://me:1');
  });

  it('derives what hangs on other settings', () => {
    expect(flags({ ttl: '60s' }).marginMs).toBe(3000);
    expect(flags({ ttl: '2s' }).marginMs).toBe(250);
    expect(flags({ ttl: '3s', takeoverDelay: 'auto' })).toMatchObject({
      takeoverDelayMs: 'auto',
    });
    expect(flags({ grace: '500ms' })).toMatchObject({ hookTimeoutMs: 500, maxHoldMs: 500 });
    expect(flags({ appCheckInterval: '200ms' }).appCheckTimeoutMs).toBe(200);
  });

  it.each([
    [
      { localListen: 'unix:/run/electord.sock' },
      'localListen',
      { kind: 'unix', path: '/run/electord.sock' },
    ],
    [
      { listen: 'localhost:0', localListen: 'localhost:0' },
      'listen',
      { kind: 'tcp', host: 'localhost', port: 0 },
    ],
    [
      { appCheck: 'http://127.0.0.1:8080/healthz' },
      'appCheck',
      { kind: 'http', url: 'http://127.0.0.1:8080/healthz' },
    ],
    [
      { appCheck: 'tcp://127.0.0.1:5432' },
      'appCheck',
      { kind: 'tcp', host: '127.0.0.1', port: 5432 },
    ],
    [{ grpcHealth: '[::1]:0' }, 'grpcHealth', { kind: 'tcp', host: '::1', port: 0 }],
    [
      { kubernetesLeaderLabel: 'electord.io/role=leader' },
      'kubernetesLeaderLabel',
      { key: 'electord.io/role', value: 'leader' },
    ],
    [{ appCheck: 'exec:pg_isready -q' }, 'appCheck', { kind: 'exec', command: 'pg_isready -q' }],
    [{ onElected: 'exec:/bin/true' }, 'onElected', { kind: 'exec', command: '/bin/true' }],
    [{ onStepDown: 'https://h/x?y=z' }, 'onStepDown', { kind: 'http', url: 'https://h/x?y=z' }],
    [{ advertise: '10.0.0.7:8080' }, 'advertise', '10.0.0.7:8080'],
    [{ advertise: 'postgres://10.0.0.7:5432/db' }, 'advertise', 'postgres://10.0.0.7:5432/db'],
    [{ priority: '-1' }, 'priority', -1],
    [
      { proxy: 'tcp://[::1]:5432=leader+proxy-v2,http://127.0.0.1:5000=followers@orders' },
      'proxies',
      [
        {
          ...{ protocol: 'tcp', to: 'leader', election: null, proxyProtocol: true },
          listen: { kind: 'tcp', host: '::1', port: 5432 },
        },
        {
          ...{ protocol: 'http', to: 'followers', election: 'orders', proxyProtocol: false },
          listen: { kind: 'tcp', host: '127.0.0.1', port: 5000 },
        },
      ],
    ],
  ] as const)('reads %j', (values, key, value) => {
    expect(flags(values)[key]).toEqual(value);
  });
});

suite('faults', () => {
  it.each([
    ['tcp://127.0.0.1:4040=leader', 'listens on 127.0.0.1:4040 twice'],
    ['tcp://127.0.0.1:5=leader,http://127.0.0.1:5=leader', 'listens on 127.0.0.1:5 twice'],
    ['tcp://127.0.0.1:5=leader@other', 'names other, which is not in --election'],
    ['tcp://127.0.0.1:8080=leader', 'on itself'],
  ])('refuses --proxy %s', (proxy, problem) => {
    const given = { proxy, advertise: '127.0.0.1:8080' };
    expect(flagFaults(given).map((fault) => fault.problem)).toEqual([
      expect.stringContaining(problem),
    ]);
    const several = { election: 'a,b', proxy: 'tcp://127.0.0.1:5=leader' };
    expect(faults({ flags: several })).toHaveLength(1);
  });

  it.each([
    ['election', '', 'is empty'],
    ['proxy', '127.0.0.1:5000=leader', 'is not like'],
    ['proxy', 'tcp://127.0.0.1:5000', 'is not like'],
    ['proxy', 'http://127.0.0.1:5000=leader+proxy-v2', 'X-Forwarded-For'],
    ['proxy', 'tcp://127.0.0.1:99999=leader', 'port outside'],
    ['election', 'a,,b', 'empty name'],
    ['election', 'a/b', 'other characters'],
    ['election', 'ä', 'other characters'],
    ['election', '..', 'only . or ..'],
    ['election', 'a'.repeat(129), 'longer than 128'],
    ['election', 'a,b,a', 'names a twice'],
    ['election', 'o{0..2},o1', 'names o1 twice'],
    ['election', 'o{3..1}', 'backwards'],
    ['election', 'o{a..b}', 'braces'],
    ['election', 'o{0..4096}', 'more than 4096'],
    ['election', 'o{0..99},{0..999999999}', 'more than 4096'],
    ['election', '{0..99}{0..99}', 'more than 4096'],
    ['id', 'a/b', 'has a /'],
    ['id', 'a b', 'has a space'],
    ['id', 'a\u0007', 'control character'],
    ['id', 'a'.repeat(254), 'longer than 253'],
    ['advertise', 'host', 'not host:port'],
    ['advertise', 'http://', 'not a URL'],
    ['advertise', 'h:0', 'port outside'],
    ['url', 'ftp://h', 'begin'],
    ['url', 'http://h/?a', 'query'],
    ['etcd', 'h:2379', 'begin with http'],
    ['etcd', 'http://h:2379/path', 'path'],
    ['etcd', 'http://h:1,http://H:1/', 'twice'],
    ['etcd', 'http://h:1,https://i:1', 'mixes'],
    ['etcd', 'http://h:1,srv+https://i', 'mixes'],
    ['etcd', 'srv://10.0.0.1', 'no domain'],
    ['etcd', 'http://h:1,', 'empty place'],
    ['etcd', 'http://300.1.1.1:1', 'usable host'],
    ['etcd', 'http://h:65536', 'port outside'],
    ['prefix', 'x', 'begin with /'],
    ['prefix', '/x/', 'ends with /'],
    ['prefix', '/', 'root'],
    ['prefix', '/a//b', '//'],
    ['prefix', '/a\n', 'control'],
    ['ttl', '5', 'has no unit; write for example 5s or 5ms'],
    ['ttl', '5 s', 'not a duration'],
    ['ttl', '-5s', 'negative'],
    ['ttl', '2.5s', 'not a whole number'],
    ['ttl', '2500ms', 'not whole seconds'],
    ['ttl', '1s', 'shorter than 2s'],
    ['ttl', '601s', 'longer than 10m'],
    ['margin', '2500ms', 'half of --ttl 5s'],
    ['margin', '4ms', 'less than 1/1000 of --ttl 5s'],
    ['takeover-delay', 'Auto', 'not a duration'],
    ['takeover-delay', '61m', 'longer than 1h'],
    ['fast-failover', 'on', 'not a duration'],
    ['fast-failover', '99ms', 'shorter than 100ms'],
    ['fast-failover', '2501ms', 'more than half of --ttl 5s'],
    ['priority', '1.5', 'not a whole number'],
    ['priority', '1001', 'above 1000'],
    ['priority', '-1001', 'below -1000'],
    ['listen', '4040', 'not host:port'],
    ['listen', ':4040', 'usable host'],
    ['listen', '::1:4040', 'brackets'],
    ['listen', '0.0.0.0:70000', 'port outside'],
    ['listen', 'unix:/x', 'not host:port'],
    ['kubernetes-leader-label', 'role', 'not KEY=VALUE'],
    ['kubernetes-leader-label', 'a/b/role=leader', 'key that is none of a label'],
    ['kubernetes-leader-label', 'Electord.IO/role=leader', 'key that is none of a label'],
    ['kubernetes-leader-label', '-role=leader', 'key that is none of a label'],
    ['kubernetes-leader-label', 'role=the leader', 'value that is none of a label'],
    ['kubernetes-leader-label', `role=${'x'.repeat(64)}`, 'value that is none of a label'],
    ['grpc-health', '4042', 'not host:port'],
    ['grpc-health', '[::]:4040', 'same socket as --listen'],
    ['grpc-health', '127.0.0.1:4041', 'same socket as --local-listen'],
    ['local-listen', 'unix:x', 'absolute path'],
    ['local-listen', `unix:/${'x'.repeat(103)}`, 'longer than 103'],
    ['local-listen', '127.0.0.1:4040', 'same socket as --listen'],
    ['local-listen', '[::1]:65536', 'port outside'],
    ['agent-check', '4042', 'not host:port'],
    ['agent-check', '127.0.0.1:4040', 'same socket as --listen'],
    ['agent-check', '[::1]:4041', 'same socket as --local-listen'],
    ['app-check', 'exec:', 'no command'],
    ['app-check', 'tcp://h', 'not host:port'],
    ['app-check', '/healthz', 'begin'],
    ['app-check-interval', '10ms', 'shorter than 100ms'],
    ['app-check-timeout', '2s', 'longer than --app-check-interval 1s'],
    ['app-check-fall', '0', 'below 1'],
    ['app-check-rise', 'two', 'not a whole number'],
    ['when-all-unhealthy', 'any', 'none of these words'],
    ['on-elected', 'tcp://h:1', 'begin'],
    ['on-step-down', 'rm -rf', 'begin'],
    ['hook-timeout', '11s', 'longer than --grace 10s'],
    ['grace', '1h', 'longer than 10m'],
    ['max-hold', '4750ms', 'not less than --ttl 5s minus --margin 250ms'],
    ['log-level', 'verbose', 'none of these words'],
    ['log-format', 'xml', 'none of these words'],
    ['config', '/nowhere', 'does not exist'],
  ])('refuses --%s %j: %s', (setting, value, problem) => {
    const found = flagFaults({ [setting]: value });
    expect(found.map((one) => one.setting)).toEqual([setting]);
    expect(found[0]).toMatchObject({
      problem: expect.stringContaining(problem) as string,
      source: 'flag',
    });
    expect(found[0]?.allowed).not.toBe('');
  });

  it.each([
    [{ listen: '[::]:80', localListen: '127.0.0.1:80' }, ['local-listen']],
    [{ listen: '127.0.0.1:80', localListen: 'localhost:80' }, ['local-listen']],
    [{ listen: '[::1]:80', localListen: 'localhost:80' }, ['local-listen']],
    [{ listen: '10.0.0.1:80', localListen: 'localhost:80' }, []],
    [{ listen: '0.0.0.0:80', localListen: '[::1]:80' }, []],
    [{ localListen: '0.0.0.0:4041' }, ['token-file']],
    [{ publicUrl: 'https://ops.example/orders-0' }, ['public-url']],
    [{ localListen: 'sidecar:4041' }, ['token-file']],
    [{ localListen: '127.0.0.5:4041' }, []],
    [{ localListen: '[::1]:4041' }, []],
    [{ grace: '1s', maxHold: '2s' }, ['max-hold']],
    [{ grace: '1s', maxHold: '5s' }, ['max-hold']],
    [{ fastFailover: '300ms' }, []],
    [{ fastFailover: '300ms', maxHold: '300ms' }, []],
    [{ fastFailover: '300ms', maxHold: '301ms' }, ['max-hold']],
    [{ fastFailover: '300ms', margin: '1001ms' }, ['fast-failover']],
    [{ fastFailover: '200ms', onStepDown: 'exec:true' }, []],
    [{ fastFailover: '199ms', onStepDown: 'exec:true' }, ['fast-failover']],
    [{ fastFailover: 'off', maxHold: '2s' }, []],
    [{ ttl: '10m', margin: '600ms' }, []],
    [{ ttl: '10m', margin: '599ms' }, ['margin']],
    [{ ttl: 'x', margin: '5m', maxHold: '9s' }, ['ttl']],
    [{ ttl: 'x', takeoverDelay: 'auto' }, ['ttl']],
    [{ listen: 'x' }, ['listen']],
    [{ ttl: ['2s', '3s'] }, ['ttl']],
    [{ ttl: true }, ['ttl']],
    [{ etcdUsername: 'root' }, ['etcd-username']],
  ])('of %j are %j', (values, names) => {
    expect(flagFaults(values).map((one) => one.setting)).toEqual(names);
  });

  it('names the election as required', () => {
    expect(formatFaults(faults({}))).toMatch(
      /^--election is required\. Allowed: names of 1 to 128/,
    );
  });

  it('refuses a host name that cannot be an id', () => {
    const found = faults({ flags: { election: 'a' }, hostName: 'a/b' });
    expect(found).toMatchObject([{ setting: 'id', value: 'a/b', source: 'default' }]);
  });

  it.each([
    ['ttl:', 'ttl', 'has no value'],
    ['ttl: null', 'ttl', 'has no value'],
    ['ttl: [5s, 6s]', 'ttl', 'given 2 times'],
    ['ttl: {seconds: 5}', 'ttl', 'mapping'],
    ['etcd: [{a: b}]', 'etcd', 'something else'],
    ['config: /other', 'config', 'cannot stand in the configuration file itself'],
    ['- ttl', 'config', 'not a mapping'],
    ['just words', 'config', 'not a mapping'],
    ['ttl: 5s\nttl: 6s', 'config', 'duplicate key at line 2, column 1'],
    ['a: [1,\n b: s3cret', 'config', 'cannot be read as YAML or JSON'],
  ])('refuses the file %j', (file, setting, problem) => {
    const found = faults({ file, flags: { election: 'a' } });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject({ setting, problem: expect.stringMatching(problem) as string });
  });

  it.each([
    ['takoverDelay: 1s', 'takoverDelay', 'did you mean takeoverDelay?'],
    ['takeover-delay: 1s', 'takeover-delay', 'did you mean takeoverDelay?'],
    ['TTL: 1s', 'TTL', 'did you mean ttl?'],
    ['zebra: 1s', 'zebra', /is not a setting$/],
    ['__proto__: 1s', '__proto__', 'is not a setting'],
  ])('of another version in the file, %j, are ignored with a warning', (file, setting, problem) => {
    const result = load({ file, flags: { election: 'a' } });
    const told = { setting, problem: expect.stringMatching(problem) as string, source: 'file' };
    expect(result).toMatchObject({ ok: true, unknown: [told] });
    expect(good({ file, flags: { election: 'a' } }).ttlMs).toBe(5000);
  });

  it('of another version in the environment are ignored with a warning, but no wrong value is', () => {
    const environment = { ELECTORD_ELECTION: 'a', ELECTORD_TLL: '7s' };
    const told = { setting: 'ELECTORD_TLL', value: null, source: 'environment' };
    expect(load({ environment })).toMatchObject({ ok: true, unknown: [told] });
    const found = faults({ environment: { ...environment, ELECTORD_TTL: 'seven' } });
    expect(found.map(({ setting }) => setting)).toEqual(['ttl', 'ELECTORD_TLL']);
  });

  it('that a hook or a child is told are none to be warned of', () => {
    const surroundings = {
      id: memberId('a'),
      ownEnvironment: {},
      secretVariables: [],
      localUrl: () => 'http://127.0.0.1:4041',
    };
    const mustStop = { by: '2026-01-01T00:00:00.000Z', inMs: 1000 };
    const environment = hookEnvironment(surroundings, {
      ...{ event: 'step-down', election: electionName('orders'), cause: 'resigned', mustStop },
      token: fencingToken(revision(7n)),
    });
    expect(Object.keys(environment).length).toBeGreaterThan(7);
    expect(load({ environment })).toMatchObject({ ok: true, unknown: [] });
  });

  it('suggests a variable and a flag', () => {
    const found = faults({
      environment: { ELECTORD_TAKEOVERDELAY: '1s', ELECTORD_: 'x' },
      flags: { election: 'a', grase: '1s' },
    });
    expect(formatFaults(found).split('\n')).toEqual([
      '--grase is not a setting; did you mean --grace? Allowed: the flags that electord --help lists.',
      'ELECTORD_ (in the environment) is not a setting. Allowed: ELECTORD_ and the name of a setting, as TAKEOVER_DELAY.',
      'ELECTORD_TAKEOVERDELAY (in the environment) is not a setting; did you mean ELECTORD_TAKEOVER_DELAY? Allowed: ELECTORD_ and the name of a setting, as TAKEOVER_DELAY.',
    ]);
  });

  it('lists ten wrong settings as ten readable faults', () => {
    const found = faults({
      flags: { election: 'a/b', ttl: '5', listen: '4040', priority: 'high' },
      environment: { ELECTORD_GRACE: 'soon', ELECTORD_ETCD: 'localhost', ELECTORD_TTLS: '5s' },
      file: 'prefix: electord\nlogLevel: loud\nhookTimeout: 10',
    });
    const lines = formatFaults(found).split('\n');
    expect(found).toHaveLength(10);
    expect(lines).toHaveLength(10);
    expect(lines).toContain(
      '--ttl "5" has no unit; write for example 5s or 5ms. Allowed: whole seconds, 2s to 10m.',
    );
    expect(lines).toContain(
      '--grace "soon" (from ELECTORD_GRACE) is not a duration; write for example 500ms, 5s, 2m or 1h. Allowed: a duration of 100ms to 10m.',
    );
    expect(lines).toContain(
      '--log-level "loud" (from logLevel in the configuration file) is none of these words. Allowed: fatal, error, warn, info, debug, trace or silent.',
    );
  });

  it('shows a value so that it cannot steer a terminal or fill it', () => {
    const text = formatFaults(flagFaults({ prefix: `\u001b[2J\n${'x'.repeat(5000)}` }));
    expect(text).toContain('\\u001b[2J\\n');
    expect(text.length).toBeLessThan(500);
    expect(text.split('\n')).toHaveLength(1);
  });
});
