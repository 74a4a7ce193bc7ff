// From flags, environment and file to one checked, frozen Configuration, or to every fault at once. Pure:
// whatever it needs of the outside comes in as an argument. The content of the files that settings name
// is checked here too, and comes back beside the configuration because SIGHUP replaces it.

import type { AppCheck, Hook, TcpAddress, UnixAddress } from './addresses.ts';
import { faultOf, shown, type Effective, type Fault, type Source } from './faults.ts';
import { readFiles, readText, type Credentials, type CredentialSources } from './files.ts';
import { withOwn, type Publication } from './publish.ts';
import { Refusal } from './refusal.ts';
import type { ProxySetting } from './proxies.ts';
import { contradictions, type Readable } from './relations.ts';
import { definitions, settings, type Known, type SettingKey, type Values } from './settings.ts';
import {
  collectEnvironment,
  collectFile,
  collectFlags,
  type Collected,
  type Environment,
  type Flags,
  type Given,
} from './sources.ts';

/** Everything that was set, checked. Deeply frozen; null means not set. */
export interface Configuration extends CredentialSources {
  /** Names of the elections, at least one, each once. */
  readonly elections: readonly string[];
  readonly id: string;
  /** Where others reach the app: `host:port` or a URL. */
  readonly advertise: string | null;
  /** Where others reach this sidecar, without a slash at the end; see withBoundPort. */
  readonly url: string;
  readonly publicUrl: string | null;
  /** The endpoints of etcd, `scheme://host:port`, all of one scheme. */
  readonly etcd: readonly string[];
  readonly etcdUsername: string | null;
  /** Root of every key; begins and does not end with a slash. */
  readonly prefix: string;
  /** What the leader keeps in etcd for others; `{election}` and `{token}` are still to be filled in. */
  readonly publish: readonly Publication[];
  /** What to ask of etcd; whole seconds. What it grants counts. */
  readonly ttlMs: number;
  readonly marginMs: number;
  /**
   * `auto`: as long as the predecessor's lease may have lasted, as etcd granted it; `evidence`: the same, but not at all
   * where it is seen to have run out.
   */
  readonly takeoverDelayMs: number | 'auto' | 'evidence';
  /** The short lease; null where a crash costs a TTL. */
  readonly fastFailoverMs: number | null;
  /** -1000 to 1000; negative never leads. */
  readonly priority: number;
  readonly listen: TcpAddress;
  readonly localListen: TcpAddress | UnixAddress;
  /** Where HAProxy's agent-checks are answered; null: nowhere. */
  readonly agentCheck: TcpAddress | null;
  /** Null where nobody is told by gRPC. */
  readonly grpcHealth: TcpAddress | null;
  readonly tlsClientAuth: Values['tlsClientAuth'];
  readonly serverName: string | null;
  readonly appCheck: AppCheck | null;
  readonly appCheckIntervalMs: number;
  readonly appCheckTimeoutMs: number;
  readonly appCheckFall: number;
  readonly appCheckRise: number;
  readonly whenAllUnhealthy: Values['whenAllUnhealthy'];
  readonly onElected: Hook | null;
  readonly onStepDown: Hook | null;
  readonly hookTimeoutMs: number;
  readonly graceMs: number;
  readonly maxHoldMs: number;
  /** Empty where traffic is none of ours. */
  readonly proxies: readonly ProxySetting[];
  readonly proxyBufferWindowMs: number;
  readonly proxyBufferSize: number;
  readonly proxyDrainMs: number;
  /** 0: no bound. */
  readonly proxyResponseTimeoutMs: number;
  /** Null where the pod gets none. */
  readonly kubernetesLeaderLabel: { readonly key: string; readonly value: string } | null;
  readonly kubernetesAccount: string;
  readonly logLevel: Values['logLevel'];
  readonly logFormat: Values['logFormat'];
}

/** All that loadConfiguration looks at. */
export interface ConfigurationInput {
  /** By name (`takeover-delay`) or key (`takeoverDelay`). */
  readonly flags: Flags;
  readonly environment: Environment;
  /** Gives a file's content as UTF-8 text or throws, as node's readFileSync. */
  readonly readFile: (path: string) => string;
  readonly hostName: string;
  /** The host's addresses at which others reach it, in its own order. */
  readonly addresses: readonly string[];
  /** Whether the host can listen on IPv6 at all. */
  readonly hasIpv6: boolean;
}

/** What loadConfiguration gives back; `unknown` are names that are ignored, for a warning. */
export type LoadResult =
  | {
      readonly ok: true;
      readonly configuration: Configuration;
      readonly credentials: Credentials;
      readonly unknown: readonly Fault[];
    }
  | { readonly ok: false; readonly faults: readonly Fault[] };

/**
 * Reads the whole configuration: a flag beats an environment variable beats the file beats the default.
 * Never throws for what a person wrote.
 * @returns the configuration, or every fault found in it and in the files it names
 */
export function loadConfiguration(input: ConfigurationInput): LoadResult {
  const { given, faults, unknown } = gather(input);
  const { values, effective, faults: bad } = evaluate(given, input);
  faults.push(...bad, ...contradictions(values, effective));
  const files = readFiles(credentialSources(values, effective), input.readFile);
  if (!files.ok) faults.push(...files.faults);
  // A setting without a value was noted as a fault, so without faults all values are there.
  // Beside faults the unknown names are told too: one of them may be what a fault is the lack of.
  if (faults.length > 0 || !files.ok) return { ok: false, faults: [...faults, ...unknown] };
  const configuration = assemble(values as Values, effective);
  return { ok: true, configuration, credentials: deepFreeze(files.credentials), unknown };
}

/** By these one sidecar is told from another, set or not. */
const alwaysTold: readonly SettingKey[] = ['election', 'id', 'etcd', 'listen', 'localListen'];

/** What tells this sidecar from others, and whatever else is set, without secrets: for the log at start. */
export function summary({ effective }: Configuration): Record<string, string> {
  const told: Record<string, string> = {};
  for (const { key } of settings) {
    const { text, source } = effective[key];
    if (text !== null && (source !== 'default' || alwaysTold.includes(key))) told[key] = text;
  }
  return told;
}

/** Whoever looks at the address of the leader takes it for an app that works. */
const noCheck =
  '--advertise without --app-check: this instance leads even where its app is dead; name a check, such as --app-check http://127.0.0.1:8080/healthz';

/** What somebody who wrote these settings may not have thought of. */
export const adviceOn = ({ advertise, appCheck }: Configuration): readonly string[] =>
  advertise !== null && appCheck === null ? [noCheck] : [];

/** The effective settings with their sources, without secrets: for `/status`. */
export function describe(configuration: Configuration): Record<string, unknown> {
  return Object.fromEntries(
    settings.map(({ key }) => {
      const { text, source } = configuration.effective[key];
      return [key, { value: text, source }];
    }),
  );
}

/**
 * The same configuration once the public listener is bound: puts the real port into a url that was
 * derived from a `--listen` with port 0.
 */
export function withBoundPort(configuration: Configuration, port: number): Configuration {
  if (configuration.effective.url.source !== 'default') return configuration;
  const url = configuration.url.replace(/:\d+$/, `:${port}`);
  const effective = { ...configuration.effective, url: { text: url, source: 'default' as const } };
  return deepFreeze({ ...configuration, url, effective });
}

interface Gathered {
  readonly given: ReadonlyMap<SettingKey, Given>;
  readonly faults: Fault[];
  readonly unknown: readonly Fault[];
}

function gather({ flags, environment, readFile }: ConfigurationInput): Gathered {
  const strongest = [collectFlags(flags), collectEnvironment(environment)];
  const path = strongest.map(({ given }) => given.get('config')).find((one) => one !== undefined);
  const all = path ? [...strongest, collectPath(path, readFile)] : strongest;
  const given = new Map<SettingKey, Given>();
  for (const one of all) {
    for (const [key, value] of one.given) if (!given.has(key)) given.set(key, value);
  }
  const faults = all.flatMap((one) => one.faults);
  for (const secret of ['etcdPassword', 'token'] as const) faults.push(...onlyOne(given, secret));
  return { given, faults, unknown: all.flatMap((one) => one.unknown) };
}

function collectPath(path: Given, readFile: (path: string) => string): Collected {
  if (path.text === null) return { given: new Map(), faults: [], unknown: [] };
  const text = readText(readFile, path.text);
  if (text instanceof Refusal) {
    return { given: new Map(), faults: [faultOf('config', path, text.problem)], unknown: [] };
  }
  return collectFile(text, path);
}

const strength: Readonly<Record<Source, number>> = { flag: 3, environment: 2, file: 1, default: 0 };

/** A secret and its file are one setting given in two ways: the stronger source wins, a tie is a fault. */
function onlyOne(given: Map<SettingKey, Given>, secret: 'etcdPassword' | 'token'): Fault[] {
  const file = `${secret}File` as const;
  const [direct, named] = [given.get(secret), given.get(file)];
  if (!direct || !named) return [];
  if (direct.source !== named.source) {
    given.delete(strength[direct.source] < strength[named.source] ? secret : file);
    return [];
  }
  const text = direct.text === null ? null : shown(secret, direct.text);
  const problem = `is given together with --${secret === 'token' ? 'token' : 'etcd-password'}-file`;
  return [faultOf(secret, { text, source: direct.source }, problem)];
}

interface Evaluated {
  readonly values: Readable;
  readonly effective: Readonly<Record<SettingKey, Effective>>;
  readonly faults: readonly Fault[];
}

function evaluate(given: ReadonlyMap<SettingKey, Given>, host: ConfigurationInput): Evaluated {
  const values: Partial<Record<SettingKey, unknown>> = {};
  const effective: Partial<Record<SettingKey, Effective>> = {};
  const faults: Fault[] = [];
  for (const { key, required } of settings) {
    const { hostName, addresses, hasIpv6 } = host;
    // The checks gave these values, so they are of the types that Known says.
    const known = { ...values, hostName, addresses, hasIpv6 } as Known;
    const { text, source } = given.get(key) ?? { text: standardOf(key, known), source: 'default' };
    const seen = { text: typeof text === 'string' ? shown(key, text) : null, source };
    effective[key] = seen;
    if (typeof text === 'string') {
      const result = definitions[key].check(text);
      if (result instanceof Refusal) faults.push(faultOf(key, seen, result.problem));
      else values[key] = result;
    } else if (source === 'default' && required) {
      faults.push(faultOf(key, seen, 'is required'));
    } else if (source === 'default' && text === null) {
      values[key] = null;
    }
  }
  return { values: values as Readable, effective: effective as Evaluated['effective'], faults };
}

/** The default as text; null where there is none, undefined where it hangs on an unreadable value. */
function standardOf(key: SettingKey, known: Known): string | null | undefined {
  const { standard, compute } = definitions[key];
  return compute ? compute(known) : standard;
}

function credentialSources(
  values: Readable,
  effective: CredentialSources['effective'],
): CredentialSources {
  return {
    etcdCaFile: values.etcdCa ?? null,
    etcdCertFile: values.etcdCert ?? null,
    etcdKeyFile: values.etcdKey ?? null,
    etcdPasswordFile: values.etcdPasswordFile ?? null,
    etcdPassword: values.etcdPassword ?? null,
    tokenFile: values.tokenFile ?? null,
    token: values.token ?? null,
    tlsCertFile: values.tlsCert ?? null,
    tlsKeyFile: values.tlsKey ?? null,
    tlsClientCaFile: values.tlsClientCa ?? null,
    caFile: values.ca ?? null,
    certFile: values.cert ?? null,
    keyFile: values.key ?? null,
    effective,
  };
}

function assemble(values: Values, effective: CredentialSources['effective']): Configuration {
  return deepFreeze({
    ...credentialSources(values, effective),
    elections: values.election,
    id: values.id,
    advertise: values.advertise,
    url: values.url,
    publicUrl: values.publicUrl,
    etcd: values.etcd,
    etcdUsername: values.etcdUsername,
    prefix: values.prefix,
    publish: withOwn(values.publish ?? [], values.id, values.advertise),
    ttlMs: values.ttl,
    marginMs: values.margin,
    takeoverDelayMs: values.takeoverDelay,
    fastFailoverMs: values.fastFailover,
    priority: values.priority,
    listen: values.listen,
    localListen: values.localListen,
    agentCheck: values.agentCheck,
    grpcHealth: values.grpcHealth,
    tlsClientAuth: values.tlsClientAuth,
    serverName: values.serverName,
    appCheck: values.appCheck,
    appCheckIntervalMs: values.appCheckInterval,
    appCheckTimeoutMs: values.appCheckTimeout,
    appCheckFall: values.appCheckFall,
    appCheckRise: values.appCheckRise,
    whenAllUnhealthy: values.whenAllUnhealthy,
    onElected: values.onElected,
    onStepDown: values.onStepDown,
    hookTimeoutMs: values.hookTimeout,
    graceMs: values.grace,
    maxHoldMs: values.maxHold,
    proxies: values.proxy ?? [],
    proxyBufferWindowMs: values.proxyBufferWindow,
    proxyBufferSize: values.proxyBufferSize,
    proxyDrainMs: values.proxyDrain,
    proxyResponseTimeoutMs: values.proxyResponseTimeout,
    kubernetesLeaderLabel: values.kubernetesLeaderLabel,
    kubernetesAccount: values.kubernetesAccount,
    logLevel: values.logLevel,
    logFormat: values.logFormat,
  });
}

function deepFreeze<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}
