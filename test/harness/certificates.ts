// Certificates for tests, made anew for each run: an authority of our own with a server and a client
// certificate, and a foreign authority that nobody should trust. They are in PEM, and in files under
// a temporary folder for programs that read files.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generate } from 'selfsigned';

/** A key and its certificate, in PEM. */
export interface KeyPair {
  readonly key: string;
  readonly cert: string;
}

/** A key pair that is in files too. */
export interface KeyPairFiles extends KeyPair {
  readonly keyFile: string;
  readonly certFile: string;
}

/** What a certificate should say. */
export interface CertificateWish {
  readonly commonName: string;
  /** Validity; by default from an hour ago for a day. */
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

/** The certificates of one test. */
export interface Certificates {
  readonly folder: string;
  readonly authority: KeyPairFiles;
  /** For 127.0.0.1 and localhost, also good as a client's (etcd's own gateway needs that). */
  readonly server: KeyPairFiles;
  /** Common name `electord`. */
  readonly client: KeyPairFiles;
  /** Another authority, and a client certificate of its. */
  readonly foreignAuthority: KeyPairFiles;
  readonly foreignClient: KeyPairFiles;
  /** Issues one more, of our authority unless another is given, into files of that name. */
  issue(name: string, wish: CertificateWish, authority?: KeyPair): Promise<KeyPairFiles>;
  /** Removes the files. */
  remove(): Promise<void>;
}

const hourMs = 60 * 60 * 1000;

async function createAuthority(commonName: string): Promise<KeyPair> {
  const made = await generate([{ name: 'commonName', value: commonName }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: new Date(Date.now() - hourMs),
    notAfterDate: new Date(Date.now() + 24 * hourMs),
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  return { key: made.private, cert: made.cert };
}

async function issueCertificate(wish: CertificateWish, authority: KeyPair): Promise<KeyPair> {
  const made = await generate([{ name: 'commonName', value: wish.commonName }], {
    keyType: 'ec',
    algorithm: 'sha256',
    ca: authority,
    notBeforeDate: wish.notBefore ?? new Date(Date.now() - hourMs),
    notAfterDate: wish.notAfter ?? new Date(Date.now() + 24 * hourMs),
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
      {
        name: 'subjectAltName',
        altNames: [
          { type: 2, value: 'localhost' },
          { type: 7, ip: '127.0.0.1' },
        ],
      },
    ],
  });
  return { key: made.private, cert: made.cert };
}

/** Makes the certificates of one test; the caller removes them when done. */
export async function makeCertificates(): Promise<Certificates> {
  const folder = await mkdtemp(join(tmpdir(), 'electord-certificates-'));
  const keep = async (name: string, pair: KeyPair): Promise<KeyPairFiles> => {
    const keyFile = join(folder, `${name}.key`);
    const certFile = join(folder, `${name}.crt`);
    await writeFile(keyFile, pair.key, { mode: 0o600 });
    await writeFile(certFile, pair.cert);
    return { ...pair, keyFile, certFile };
  };
  const authority = await keep('authority', await createAuthority('electord test authority'));
  const foreignAuthority = await keep('foreign', await createAuthority('foreign authority'));
  const issue: Certificates['issue'] = async (name, wish, from = authority) =>
    keep(name, await issueCertificate(wish, from));
  return {
    folder,
    authority,
    server: await issue('server', { commonName: 'etcd' }),
    client: await issue('client', { commonName: 'electord' }),
    foreignAuthority,
    foreignClient: await issue('foreign-client', { commonName: 'electord' }, foreignAuthority),
    issue,
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
