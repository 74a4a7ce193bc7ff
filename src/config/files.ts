// Reads and checks the files that settings name: certificates, keys, password and token. Used at start
// and again on SIGHUP, when a fault must leave the old content in use. An expired certificate is no
// fault, because the clock may be what is wrong: certificateWarnings tells of it.

import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { parsePassword, parseToken, withoutEndOfLine } from './checks.ts';
import { faultOf, type Effective, type Fault } from './faults.ts';
import { Refusal } from './refusal.ts';
import { Secret } from './secret.ts';
import { settingOf, type SettingKey } from './settings.ts';

/** The settings that lead to credentials; a Configuration is one. File names are null where not set. */
export interface CredentialSources {
  readonly etcdCaFile: string | null;
  readonly etcdCertFile: string | null;
  readonly etcdKeyFile: string | null;
  readonly etcdPasswordFile: string | null;
  readonly etcdPassword: Secret | null;
  readonly tokenFile: string | null;
  readonly token: Secret | null;
  readonly tlsCertFile: string | null;
  readonly tlsKeyFile: string | null;
  readonly tlsClientCaFile: string | null;
  readonly caFile: string | null;
  readonly certFile: string | null;
  readonly keyFile: string | null;
  readonly effective: Readonly<Record<SettingKey, Effective>>;
}

/** How long one certificate is valid, in milliseconds of the wall clock. */
export interface CertificatePeriod {
  /** The setting whose file holds it: `tls-cert`. */
  readonly setting: string;
  readonly subject: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** The content of the files, PEM where not said otherwise; null where the setting is not set. */
export interface Credentials {
  readonly etcdCa: string | null;
  readonly etcdCert: string | null;
  readonly etcdKey: Secret | null;
  /** From its file, or as given directly. */
  readonly etcdPassword: Secret | null;
  /** From its file, or as given directly. */
  readonly token: Secret | null;
  readonly tlsCert: string | null;
  readonly tlsKey: Secret | null;
  readonly tlsClientCa: string | null;
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: Secret | null;
  readonly certificates: readonly CertificatePeriod[];
}

/** What readFiles gives back. */
export type ReadFilesResult =
  | { readonly ok: true; readonly credentials: Credentials }
  | { readonly ok: false; readonly faults: readonly Fault[] };

/**
 * Reads every file named and checks it: readable, not empty, PEM, key and certificate of one pair.
 * @param readFile gives the content as UTF-8 text or throws, as node's readFileSync
 * @returns the content, or every fault found
 */
export function readFiles(
  sources: CredentialSources,
  readFile: (path: string) => string,
): ReadFilesResult {
  const reader = new Reader(sources.effective, readFile);
  const etcd = reader.identity('etcdCert', sources.etcdCertFile, 'etcdKey', sources.etcdKeyFile);
  const own = reader.identity('tlsCert', sources.tlsCertFile, 'tlsKey', sources.tlsKeyFile);
  const asking = reader.identity('cert', sources.certFile, 'key', sources.keyFile);
  const credentials: Credentials = {
    etcdCa: reader.certificate('etcdCa', sources.etcdCaFile)?.pem ?? null,
    etcdCert: etcd.cert,
    etcdKey: etcd.key,
    etcdPassword:
      reader.secret('etcdPasswordFile', sources.etcdPasswordFile, parsePassword) ??
      sources.etcdPassword,
    token: reader.secret('tokenFile', sources.tokenFile, parseToken) ?? sources.token,
    tlsCert: own.cert,
    tlsKey: own.key,
    tlsClientCa: reader.certificate('tlsClientCa', sources.tlsClientCaFile)?.pem ?? null,
    ca: reader.certificate('ca', sources.caFile)?.pem ?? null,
    cert: asking.cert,
    key: asking.key,
    certificates: reader.certificates,
  };
  if (reader.faults.length > 0) return { ok: false, faults: reader.faults };
  return { ok: true, credentials };
}

/**
 * Which certificates are not valid at that time.
 * @param nowMs wall clock, milliseconds since 1970
 * @returns a sentence for each
 */
export function certificateWarnings(credentials: Credentials, nowMs: number): readonly string[] {
  return credentials.certificates.flatMap(({ setting, subject, notBeforeMs, notAfterMs }) => {
    const name = `The certificate ${JSON.stringify(subject)} of --${setting}`;
    if (nowMs > notAfterMs) return [`${name} expired on ${new Date(notAfterMs).toISOString()}.`];
    if (nowMs >= notBeforeMs) return [];
    return [`${name} is not valid before ${new Date(notBeforeMs).toISOString()}.`];
  });
}

/** Reads a file and says in a phrase why it cannot be read; never quotes what is in it. */
export function readText(readFile: (path: string) => string, path: string): string | Refusal {
  try {
    return readFile(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const reasons: Readonly<Record<string, string>> = {
      ENOENT: 'does not exist',
      EACCES: 'cannot be read: permission denied',
      EISDIR: 'is a directory',
    };
    return new Refusal(reasons[code] ?? `cannot be read${code === '' ? '' : ` (${code})`}`);
  }
}

class Reader {
  readonly faults: Fault[] = [];
  readonly certificates: CertificatePeriod[] = [];
  readonly #effective: CredentialSources['effective'];
  readonly #readFile: (path: string) => string;

  constructor(effective: CredentialSources['effective'], readFile: (path: string) => string) {
    this.#effective = effective;
    this.#readFile = readFile;
  }

  /** A file with one certificate or more, the first of which comes back parsed. */
  certificate(key: SettingKey, path: string | null) {
    return this.#checked(key, path, (pem) => {
      const begun = pem.match(/-----BEGIN CERTIFICATE-----/g) ?? [];
      const blocks = pem.match(/-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----/gs) ?? [];
      const certificates = blocks.map(parseCertificate).filter((one) => one !== null);
      if (certificates.length < begun.length) return new Refusal('holds a broken PEM certificate');
      const [first] = certificates;
      if (!first) return new Refusal('holds no PEM certificate');
      this.certificates.push(...certificates.map((one) => periodOf(settingOf(key).name, one)));
      return { pem, first };
    });
  }

  /** A certificate and the private key that must belong to it. */
  identity(
    certKey: SettingKey,
    certPath: string | null,
    keyKey: SettingKey,
    keyPath: string | null,
  ) {
    const cert = this.certificate(certKey, certPath);
    const key = this.#checked(keyKey, keyPath, (pem) => {
      const parsed = parsePrivateKey(pem);
      return parsed instanceof Refusal ? parsed : { pem: new Secret(pem), parsed };
    });
    if (cert && key && !cert.first.checkPrivateKey(key.parsed)) {
      this.#fault(keyKey, `does not belong to the certificate in --${settingOf(certKey).name}`);
    }
    return { cert: cert?.pem ?? null, key: key?.pem ?? null };
  }

  secret(
    key: SettingKey,
    path: string | null,
    parse: (text: string) => string | Refusal,
  ): Secret | null {
    return this.#checked(key, path, (content) => {
      const text = parse(withoutEndOfLine(content));
      if (!(text instanceof Refusal)) return new Secret(text);
      return new Refusal(`names a file whose content ${text.problem}`);
    });
  }

  #checked<Content>(
    key: SettingKey,
    path: string | null,
    check: (text: string) => Content | Refusal,
  ): Content | null {
    if (path === null) return null;
    const text = readText(this.#readFile, path);
    const empty = typeof text === 'string' && text.trim() === '';
    const content = text instanceof Refusal ? text : empty ? isEmpty : check(text);
    if (!(content instanceof Refusal)) return content;
    this.#fault(key, content.problem);
    return null;
  }

  #fault(key: SettingKey, problem: string): void {
    this.faults.push(faultOf(key, this.#effective[key], problem));
  }
}

const isEmpty = new Refusal('is an empty file');

function parseCertificate(pem: string): X509Certificate | null {
  try {
    return new X509Certificate(pem);
  } catch {
    return null;
  }
}

// The crypto library's own messages are not passed on: they are no help, and may quote what was read.
function parsePrivateKey(pem: string): KeyObject | Refusal {
  if (!/-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----/.test(pem)) {
    return new Refusal('holds no PEM private key');
  }
  if (/ENCRYPTED/.test(pem))
    return new Refusal('holds an encrypted key; electord asks no passphrase');
  try {
    return createPrivateKey(pem);
  } catch {
    return new Refusal('holds a broken PEM private key');
  }
}

function periodOf(setting: string, certificate: X509Certificate): CertificatePeriod {
  return {
    setting,
    subject: certificate.subject ? certificate.subject.replaceAll('\n', ', ') : '',
    notBeforeMs: Date.parse(certificate.validFrom),
    notAfterMs: Date.parse(certificate.validTo),
  };
}
