// The one table of settings. Flag, environment variable, key in the configuration file, default, help
// text, reference page and check of every setting are derived from here and stand nowhere else. How two
// settings may contradict each other is in relations.ts.

import { formatDuration } from '../contract.ts';
import {
  hostInUrl,
  isWildcard,
  parseAdvertise,
  parseAppCheck,
  parseEndpoints,
  parseHook,
  parseLocalAddress,
  parseOwnUrl,
  parseTcpAddress,
  reachableAddress,
  type TcpAddress,
} from './addresses.ts';
import {
  duration,
  filePath,
  hostName,
  keyPrefix,
  memberId,
  oneOf,
  parseLabel,
  parsePassword,
  parseToken,
  secretText,
  userName,
  wholeNumber,
  wholeSeconds,
  type Check,
} from './checks.ts';
import { parseDuration } from './duration.ts';
import { parseElections } from './elections.ts';
import { parseProxies } from './proxies.ts';
import { parsePublish } from './publish.ts';
import { originOnly, withoutCredentials } from './redact.ts';
import type { Refusal } from './refusal.ts';

/** What a computed default may look at: the settings above it in the table, where readable, and the host. */
export interface Known {
  readonly hostName: string;
  readonly addresses: readonly string[];
  readonly hasIpv6: boolean;
  readonly ttl?: number;
  readonly fastFailover?: number | null;
  readonly listen?: TcpAddress;
  readonly tlsCert?: string | null;
  readonly tlsClientCa?: string | null;
  readonly appCheckInterval?: number;
  readonly grace?: number;
}

interface Definition {
  /** What stands for the value in `--help`. */
  readonly placeholder: string;
  /** The default, written as a person would; null where there is none. */
  readonly standard: string | null;
  /** Computes the default, which `standard` then only describes; undefined while it cannot be told. */
  readonly compute?: (known: Known) => string | undefined;
  /** One sentence for `--help` and the reference. */
  readonly doc: string;
  /** What is allowed, for messages. */
  readonly allowed: string;
  readonly check: Check<unknown>;
  readonly required?: true;
  /** The value itself is a secret: never a flag, never shown. */
  readonly secret?: true;
  /** A comma list, which may also be a repeated flag or a list in the file. */
  readonly many?: true;
  /** With `many`: one a line, since a comma may be part of each. */
  readonly lines?: true;
  /** SIGHUP takes up the new value, or the new content of the file it names. */
  readonly reloadable?: true;
  /** Cannot stand in the configuration file. */
  readonly notInFile?: true;
  /** How to show the value without what may be a credential in it. */
  readonly show?: (text: string) => string;
}

function setting<const One extends Definition>(definition: One): One {
  return definition;
}

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const file = { placeholder: 'FILE', standard: null, check: filePath, reloadable: true } as const;

/** A default that must not exceed another setting: the shorter one of the two. */
function atMost(standard: string, limitMs: number | undefined): string | undefined {
  const standardMs = parseDuration(standard);
  if (limitMs === undefined || typeof standardMs !== 'number') return undefined;
  return formatDuration(Math.min(standardMs, limitMs));
}

function computeUrl({ listen, tlsCert, addresses }: Known): string | undefined {
  if (!listen || tlsCert === undefined) return undefined;
  // A host without any address of its own can be reached from itself only.
  const host = isWildcard(listen.host)
    ? (reachableAddress(listen.host, addresses) ?? '127.0.0.1')
    : listen.host;
  return `${tlsCert === null ? 'http' : 'https'}://${hostInUrl(host)}:${listen.port}`;
}

/** The table. The key is the name in the configuration file; the order is the order of `--help`. */
export const table = {
  config: setting({
    ...file,
    doc: 'Configuration file, YAML or JSON, with the names of the settings in camelCase.',
    allowed: 'the path of a readable YAML or JSON file',
    notInFile: true,
  }),
  election: setting({
    placeholder: 'NAME',
    standard: null,
    doc: 'The election to stand in: a name, a comma list, or a range such as orders-{0..15}.',
    allowed: 'names of 1 to 128 characters out of A-Z a-z 0-9 . _ -, at most 4096, each once',
    check: parseElections,
    required: true,
    many: true,
  }),
  id: setting({
    placeholder: 'ID',
    standard: 'host name',
    compute: ({ hostName }) => hostName,
    doc: 'The name of this instance, unique within the election.',
    allowed: '1 to 253 characters without /, spaces and control characters',
    check: memberId,
  }),
  advertise: setting({
    placeholder: 'ADDRESS',
    standard: null,
    doc: 'Where others reach the app beside this sidecar.',
    allowed: 'host:port or a URL, without user and password',
    check: parseAdvertise,
    show: withoutCredentials,
  }),
  etcd: setting({
    placeholder: 'URL',
    standard: 'http://127.0.0.1:2379',
    doc: 'The endpoints of etcd, a comma list; the port is 2379 where none is given. srv://DOMAIN and srv+https://DOMAIN are looked up as _etcd-client._tcp and _etcd-client-ssl._tcp.',
    allowed:
      'http://host:port or https://host:port, srv:// or srv+https:// and a domain, a comma list all of one scheme, each once',
    check: parseEndpoints,
    many: true,
    reloadable: true,
    show: withoutCredentials,
  }),
  etcdCa: setting({
    ...file,
    doc: "Certificates that etcd's own must be signed by; without it the ones Node.js trusts.",
    allowed: 'the path of a PEM file with certificates; only with https:// endpoints',
  }),
  etcdCert: setting({
    ...file,
    doc: 'Client certificate to show to etcd.',
    allowed: 'the path of a PEM certificate; only with --etcd-key and https:// endpoints',
  }),
  etcdKey: setting({
    ...file,
    doc: 'Private key of --etcd-cert.',
    allowed: 'the path of the PEM key, not encrypted, that belongs to --etcd-cert',
  }),
  etcdUsername: setting({
    placeholder: 'NAME',
    standard: null,
    doc: 'User to log in to etcd as.',
    allowed: 'a name without spaces and control characters, together with a password',
    check: userName,
    reloadable: true,
  }),
  etcdPasswordFile: setting({
    ...file,
    doc: 'File with the password of --etcd-username; an end of line is not part of it.',
    allowed: 'the path of a file that holds the password; only with --etcd-username',
  }),
  etcdPassword: setting({
    placeholder: 'PASSWORD',
    standard: null,
    doc: 'The password itself: better a file, since children and backups see this one.',
    allowed: 'a text that is not empty; only with --etcd-username',
    check: secretText(parsePassword),
    secret: true,
    reloadable: true,
  }),
  prefix: setting({
    placeholder: 'PREFIX',
    standard: '/electord',
    doc: 'Root of every key in etcd; the same for all members of an election.',
    allowed: 'begins with /, does not end with /, no //, no spaces or control characters',
    check: keyPrefix,
  }),
  publish: setting({
    placeholder: 'KEY=VALUE',
    standard: null,
    doc: 'A key that the leader keeps in etcd while it leads, for those who read etcd themselves; {election} may stand in both, {id}, {address}, {host}, {port} and {token} in the value.',
    allowed:
      'a key outside of --prefix and a value of at most 4096 characters; up to 16, the flag repeated, or one a line',
    check: parsePublish,
    many: true,
    lines: true,
  }),
  ttl: setting({
    placeholder: 'DURATION',
    standard: '5s',
    doc: 'Time to live to ask of etcd for the lease; what etcd grants counts.',
    allowed: 'whole seconds, 2s to 10m',
    check: wholeSeconds(2000, 10 * minuteMs),
  }),
  margin: setting({
    placeholder: 'DURATION',
    standard: 'max(250ms, 5% of --ttl)',
    compute: ({ ttl }) => (ttl === undefined ? undefined : formatDuration(Math.max(250, ttl / 20))),
    doc: 'Cut off every lease on our side, for clocks that run at different rates.',
    allowed: 'a duration of at least a thousandth of --ttl and less than half of it',
    check: duration(1, 5 * minuteMs),
  }),
  takeoverDelay: setting({
    placeholder: 'DURATION',
    standard: 'evidence',
    doc: 'How long to wait before leading after a predecessor vanished without resigning.',
    allowed:
      'evidence: as long as the lease of the predecessor may have lasted, unless it is seen to have run out; auto: always as long; or a duration of 0s to 1h',
    check: (text) => (text === 'auto' || text === 'evidence' ? text : duration(0, hourMs)(text)),
  }),
  fastFailover: setting({
    placeholder: 'DURATION',
    standard: 'off',
    doc: 'A leader that its next candidates have not heard for so long is replaced at once.',
    allowed: 'off, or a duration of at least 100ms and at most half of --ttl',
    check: (text) => (text === 'off' ? null : duration(100, 5 * minuteMs)(text)),
  }),
  priority: setting({
    placeholder: 'NUMBER',
    standard: '0',
    doc: 'A higher one leads when healthy; a negative one never leads.',
    allowed: 'a whole number from -1000 to 1000',
    check: wholeNumber(-1000, 1000),
  }),
  listen: setting({
    placeholder: 'HOST:PORT',
    standard: '[::]:4040, which is IPv4 too; 0.0.0.0:4040 on a machine without IPv6',
    compute: ({ hasIpv6 }) => (hasIpv6 ? '[::]:4040' : '0.0.0.0:4040'),
    doc: 'Public listener, read-only.',
    allowed: 'host:port, an IPv6 host in brackets; port 0 takes a free one',
    check: (text) => parseTcpAddress(text, 0),
  }),
  localListen: setting({
    placeholder: 'ADDRESS',
    standard: 'localhost:4041',
    doc: "Local listener: the public endpoints, the app's API and the operator's verbs. localhost is 127.0.0.1 and [::1].",
    allowed: 'host:port other than --listen, or unix:/path; port 0 takes a free one',
    check: parseLocalAddress,
  }),
  agentCheck: setting({
    placeholder: 'HOST:PORT',
    standard: null,
    doc: "Answers HAProxy's agent-check there.",
    allowed:
      'host:port other than --listen and --local-listen, an IPv6 host in brackets; port 0 takes a free one',
    check: (text) => parseTcpAddress(text, 0),
  }),
  grpcHealth: setting({
    placeholder: 'HOST:PORT',
    standard: null,
    doc: 'Listener for health checks by gRPC (grpc.health.v1): ready, leader, follower, or the name of an election.',
    allowed:
      'host:port other than --listen and --local-listen, an IPv6 host in brackets; port 0 takes a free one',
    check: (text) => parseTcpAddress(text, 0),
  }),
  tokenFile: setting({
    ...file,
    doc: "File with the bearer token for the local listener's writing verbs.",
    allowed: 'the path of a file with the token; required unless --local-listen is local only',
  }),
  token: setting({
    placeholder: 'TOKEN',
    standard: null,
    doc: 'The token itself: better a file, since children and backups see this one.',
    allowed: '1 to 4096 visible ASCII characters without spaces',
    check: secretText(parseToken),
    secret: true,
    reloadable: true,
  }),
  tlsCert: setting({
    ...file,
    doc: 'Certificate for HTTPS on all TCP listeners.',
    allowed: 'the path of a PEM certificate; only with --tls-key',
  }),
  tlsKey: setting({
    ...file,
    doc: 'Private key of --tls-cert.',
    allowed: 'the path of the PEM key, not encrypted, that belongs to --tls-cert',
  }),
  tlsClientCa: setting({
    ...file,
    doc: 'Certificates that those of clients of the TCP listeners must be signed by.',
    allowed: 'the path of a PEM file with certificates; only with --tls-cert',
  }),
  tlsClientAuth: setting({
    placeholder: 'none|request|require',
    standard: 'require with --tls-client-ca, else none',
    compute: ({ tlsClientCa }) =>
      tlsClientCa === undefined ? undefined : tlsClientCa === null ? 'none' : 'require',
    doc: 'Whether clients of the TCP listeners need a certificate: for everything, or for holds and writing verbs only.',
    allowed:
      'none, request (holds and writing verbs need one) or require; the last two only with --tls-client-ca',
    check: oneOf(['none', 'request', 'require']),
  }),
  ca: setting({
    ...file,
    doc: 'Certificates that whoever is asked by https:// must be signed by: the app, hooks, other sidecars; without it the ones Node.js trusts.',
    allowed: 'the path of a PEM file with certificates',
  }),
  cert: setting({
    ...file,
    doc: 'Client certificate to show to them; without it --tls-cert is shown.',
    allowed: 'the path of a PEM certificate; only with --key',
  }),
  key: setting({
    ...file,
    doc: 'Private key of --cert.',
    allowed: 'the path of the PEM key, not encrypted, that belongs to --cert',
  }),
  serverName: setting({
    placeholder: 'NAME',
    standard: null,
    doc: 'Name that must be in the certificate of whoever is asked at an address, or at localhost.',
    allowed: 'a host name',
    check: hostName,
    reloadable: true,
  }),
  url: setting({
    placeholder: 'URL',
    standard:
      "from --listen; the host's first IPv4, else IPv6 address where that is [::] or 0.0.0.0",
    compute: computeUrl,
    doc: 'Where other sidecars and people reach this sidecar.',
    allowed: 'an http:// or https:// URL without user, password, query and fragment',
    check: parseOwnUrl,
    show: withoutCredentials,
  }),
  publicUrl: setting({
    placeholder: 'URL',
    standard: null,
    doc: 'Where browsers reach the local listener behind a proxy of another name: a page from there may use the verbs.',
    allowed:
      'an http:// or https:// URL without user, password, query and fragment; only with a token',
    check: parseOwnUrl,
    show: withoutCredentials,
  }),
  appCheck: setting({
    placeholder: 'CHECK',
    standard: null,
    doc: 'How to see whether the app is well; one that is not does not lead.',
    allowed: 'http://… or https://… without user and password, tcp://host:port, or exec:CMD',
    check: parseAppCheck,
    show: withoutCredentials,
  }),
  appCheckInterval: setting({
    placeholder: 'DURATION',
    standard: '1s',
    doc: 'Time from the start of one app check to the next.',
    allowed: 'a duration of 100ms to 1h',
    check: duration(100, hourMs),
  }),
  appCheckTimeout: setting({
    placeholder: 'DURATION',
    standard: '1s, or --app-check-interval where that is shorter',
    compute: ({ appCheckInterval }) => atMost('1s', appCheckInterval),
    doc: 'An app check that takes longer has failed.',
    allowed: 'a duration of at least 10ms and at most --app-check-interval',
    check: duration(10, hourMs),
  }),
  appCheckFall: setting({
    placeholder: 'COUNT',
    standard: '3',
    doc: 'So many failed checks in a row make the app unhealthy.',
    allowed: 'a whole number from 1 to 100',
    check: wholeNumber(1, 100),
  }),
  appCheckRise: setting({
    placeholder: 'COUNT',
    standard: '2',
    doc: 'So many passed checks in a row make the app healthy again.',
    allowed: 'a whole number from 1 to 100',
    check: wholeNumber(1, 100),
  }),
  whenAllUnhealthy: setting({
    placeholder: 'lead|none',
    standard: 'none',
    doc: 'Whether somebody leads while the app of every candidate is unhealthy.',
    allowed: 'lead or none',
    check: oneOf(['lead', 'none']),
  }),
  grace: setting({
    placeholder: 'DURATION',
    standard: '10s',
    doc: 'The most that a planned step-down may take.',
    allowed: 'a duration of 100ms to 10m',
    check: duration(100, 10 * minuteMs),
  }),
  onElected: setting({
    placeholder: 'HOOK',
    standard: null,
    doc: 'What to run, or to POST to, when this instance was elected.',
    allowed: 'exec:CMD, or an http:// or https:// address without user and password',
    check: parseHook,
    show: originOnly,
  }),
  onStepDown: setting({
    placeholder: 'HOOK',
    standard: null,
    doc: 'What to run, or to POST to, before leadership is given up.',
    allowed: 'exec:CMD, or an http:// or https:// address without user and password',
    check: parseHook,
    show: originOnly,
  }),
  hookTimeout: setting({
    placeholder: 'DURATION',
    standard: '10s, or --grace where that is shorter',
    compute: ({ grace }) => atMost('10s', grace),
    doc: 'A hook that takes longer is killed.',
    allowed: 'a duration of at least 100ms and at most --grace',
    check: duration(100, 10 * minuteMs),
  }),
  maxHold: setting({
    placeholder: 'DURATION',
    standard: '1s, or --grace or --fast-failover where that is shorter',
    compute: ({ grace, fastFailover }) => {
      const mostMs = Math.min(grace ?? NaN, fastFailover ?? Number.POSITIVE_INFINITY);
      return Number.isNaN(mostMs) ? undefined : atMost('1s', mostMs);
    },
    doc: 'The longest hold that a client may ask for; 0s refuses holds.',
    allowed:
      'a duration of at most --grace and --fast-failover, and less than --ttl without --margin',
    check: duration(0, 10 * minuteMs),
  }),
  proxy: setting({
    placeholder: 'PROXY',
    standard: null,
    doc: 'Listen here, and pass connections on to the --advertise address of whoever leads, or of a follower: tcp://HOST:PORT=leader, http://HOST:PORT=followers.',
    allowed:
      'tcp:// or http:// and host:port, then =leader or =followers, then @ELECTION where there are several, then +proxy-v2 where the app reads the PROXY protocol (tcp only); a comma list',
    check: parseProxies,
    many: true,
  }),
  proxyBufferWindow: setting({
    placeholder: 'DURATION',
    standard: '10s',
    doc: 'How long a connection or a request to --proxy waits for a leader that can be reached, at most.',
    allowed: 'a duration of 0s to 10m',
    check: duration(0, 10 * minuteMs),
  }),
  proxyBufferSize: setting({
    placeholder: 'COUNT',
    standard: '1000',
    doc: 'So many may wait at each --proxy; who comes then is refused at once.',
    allowed: 'a whole number from 0 to 100000',
    check: wholeNumber(0, 100_000),
  }),
  proxyDrain: setting({
    placeholder: 'DURATION',
    standard: '5s',
    doc: 'How long an answer that is under way may take after its leader has ceased to lead.',
    allowed: 'a duration of 0s to 10m',
    check: duration(0, 10 * minuteMs),
  }),
  proxyResponseTimeout: setting({
    placeholder: 'DURATION',
    standard: '10s',
    doc: 'How long the app may take to begin an answer to a request through an http --proxy; 0s: as long as it likes.',
    allowed: 'a duration of 0s to 1h',
    check: duration(0, hourMs),
  }),
  kubernetesLeaderLabel: setting({
    placeholder: 'KEY=VALUE',
    standard: null,
    doc: 'Label that the pod of the leader is given, and no other, so that a Service of Kubernetes finds it.',
    allowed:
      'a label such as electord.io/role=leader; only with one election, and with the right to patch the pod',
    check: parseLabel,
  }),
  kubernetesAccount: setting({
    placeholder: 'DIRECTORY',
    standard: '/var/run/secrets/kubernetes.io/serviceaccount',
    doc: "Where the token, ca.crt and namespace of the pod's service account are mounted, for --kubernetes-leader-label.",
    allowed: 'the path of a directory',
    check: filePath,
  }),
  logLevel: setting({
    placeholder: 'LEVEL',
    standard: 'info',
    doc: 'The least severe messages that are logged.',
    allowed: 'fatal, error, warn, info, debug, trace or silent',
    check: oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
    reloadable: true,
  }),
  logFormat: setting({
    placeholder: 'json|pretty',
    standard: 'json',
    doc: 'One JSON object a line, or lines for the eyes.',
    allowed: 'json or pretty',
    check: oneOf(['json', 'pretty']),
  }),
};

/** The name of a setting in the configuration file, such as `takeoverDelay`. */
export type SettingKey = keyof typeof table;

type Checked<Key extends SettingKey> = Exclude<ReturnType<(typeof table)[Key]['check']>, Refusal>;

/** The value of every setting as its check gives it; null where it is not set and has no default. */
export type Values = {
  readonly [Key in SettingKey]: (typeof table)[Key] extends { standard: null; required?: never }
    ? Checked<Key> | null
    : Checked<Key>;
};

/** All there is to say about one setting, for the command line's parser, its help and the reference. */
export interface Setting {
  /** As in the flag, without the dashes: `takeover-delay`. */
  readonly name: string;
  /** In the configuration file: `takeoverDelay`. */
  readonly key: SettingKey;
  /** In the environment: `ELECTORD_TAKEOVER_DELAY`. */
  readonly variable: string;
  /** Whether there is a flag; a secret has none, because everybody can read the process list. */
  readonly flag: boolean;
  /** Whether it can stand in the configuration file. */
  readonly inFile: boolean;
  /** What stands for the value in help: `DURATION`. */
  readonly placeholder: string;
  /** The default in words; null where there is none. */
  readonly defaultText: string | null;
  /** One sentence. */
  readonly doc: string;
  /** What is allowed. */
  readonly allowed: string;
  readonly required: boolean;
  /** The value itself is a secret. */
  readonly secret: boolean;
  /** A list; the flag may be repeated. */
  readonly many: boolean;
  /** What stands between its items in a single text. */
  readonly separator: ',' | '\n';
  /** Whether SIGHUP takes up a change. */
  readonly reloadable: boolean;
}

/** Every setting's definition by its key, without the particular type of its value. */
export const definitions: Readonly<Record<SettingKey, Definition>> = table;

/** Every setting, in the order of the help. */
export const settings: readonly Setting[] = (Object.keys(table) as SettingKey[]).map((key) => {
  const definition = definitions[key];
  const name = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return {
    name,
    key,
    variable: `ELECTORD_${name.replaceAll('-', '_').toUpperCase()}`,
    flag: definition.secret !== true,
    inFile: definition.notInFile !== true,
    placeholder: definition.placeholder,
    defaultText: definition.standard,
    doc: definition.doc,
    allowed: definition.allowed,
    required: definition.required === true,
    secret: definition.secret === true,
    many: definition.many === true,
    separator: definition.lines === true ? '\n' : ',',
    reloadable: definition.reloadable === true,
  };
});

/** The setting of that key. */
export function settingOf(key: SettingKey): Setting {
  const found = settings.find((one) => one.key === key);
  if (!found) throw new Error(`no setting ${key}`);
  return found;
}
