// Certificates for asking a sidecar by https, out of files that are named or that the environment names.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { UnusableOption } from './errors.ts';
import type { TlsOptions } from './transport.ts';

/** Paths of PEM files, and the name in the certificate of the sidecar. */
export interface TlsFiles {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly serverName?: string;
}

const variables = {
  ca: 'ELECTORD_CA',
  cert: 'ELECTORD_CERT',
  key: 'ELECTORD_KEY',
  serverName: 'ELECTORD_SERVER_NAME',
} as const;

/**
 * What is left out is taken from the environment: `$ELECTORD_CA`, `_CERT`, `_KEY` and `_SERVER_NAME`.
 *
 * @throws UnusableOption if a file cannot be read, or certificate and key are no pair.
 */
export function tlsFromFiles(files: TlsFiles = {}): TlsOptions {
  const given = (name: keyof TlsFiles): string | undefined => {
    const text = files[name] ?? process.env[variables[name]];
    return text === '' ? undefined : text;
  };
  const content = (name: 'ca' | 'cert' | 'key'): Partial<Record<typeof name, string>> => {
    const path = given(name);
    return path === undefined ? {} : { [name]: contentOf(name, path) };
  };
  if ((given('cert') === undefined) !== (given('key') === undefined)) {
    throw new UnusableOption('a client certificate needs its key, and a key its certificate');
  }
  const serverName = given('serverName');
  const named = serverName === undefined ? {} : { serverName };
  const [ca, { cert }, { key }] = [content('ca'), content('cert'), content('key')];
  if (cert !== undefined && key !== undefined && !fits(cert, key)) {
    throw new UnusableOption('the key does not belong to the client certificate');
  }
  return {
    ...ca,
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...named,
  };
}

/** Neither is quoted: the crypto library's own messages may be. */
function fits(cert: string, key: string): boolean {
  try {
    return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch {
    throw new UnusableOption('the client certificate and its key must be PEM, and not encrypted');
  }
}

function contentOf(name: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (failure) {
    const { code = 'unreadable' } = failure as NodeJS.ErrnoException;
    throw new UnusableOption(`the ${name} cannot be read from ${path}: ${code}`);
  }
}
