// Certificates, keys, passwords and tokens that are renewed on disk are taken up by themselves, whoever renews them and
// however: in place, by another file under the same name, or by a link that points elsewhere. It looks at what is in the
// files, reads without holding anything up, and what does not fit together is never taken: the old ones stay in use.
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { Loop } from '../process/loop.ts';
import type { Fault } from './faults.ts';
import { readFiles, type Credentials, type CredentialSources } from './files.ts';

export interface CredentialsWatchOptions {
  readonly clock: ConstructorParameters<typeof Loop>[0];
  /** Which files are configured now. */
  readonly sources: () => CredentialSources;
  /** What is in use now. */
  readonly current: () => Credentials;
  /** What may be used of what was read. */
  readonly usable: (read: Credentials) => Credentials;
  /**
   * Told at every look of what was found there twice: while that differs from what is in use, and once after. Never rejects.
   */
  readonly onRead: (credentials: Credentials) => unknown;
  /** Once for each content that cannot be used. */
  readonly onUnusable: (faults: readonly Fault[]) => void;
  /** Milliseconds from one look to the next. */
  readonly lookEveryMs?: number;
}

/**
 * Something is taken up when two looks in a row have found the same, since a token that is half written looks like one
 * that is whole. So a renewal is in use after twice this at most: whoever renews does so hours before the end.
 */
const standardLookEveryMs = 5000;

export class CredentialsWatch {
  readonly #options: CredentialsWatchOptions;
  readonly #loop: Loop;
  #seen = '';
  #reported = '';
  #wasOther = false;

  constructor(options: CredentialsWatchOptions) {
    this.#options = options;
    this.#loop = new Loop(options.clock);
  }

  /** Never two looks at once: a file system that hangs costs one thread. */
  start(): void {
    void this.#loop.run(async () => {
      await this.#look();
      return this.#options.lookEveryMs ?? standardLookEveryMs;
    });
  }

  stop(): void {
    this.#loop.stop();
  }

  async #look(): Promise<void> {
    const { sources, current, usable, onRead, onUnusable } = this.#options;
    const configured = sources();
    const contents = await contentsOf(pathsOf(configured));
    // Meanwhile SIGHUP may have named other files.
    if (contents === null || sources() !== configured || !this.#loop.isRunning()) return;
    const seen = digestOf(contents);
    const settled = seen === this.#seen;
    this.#seen = seen;
    if (!settled) return;
    const result = readFiles(configured, (path) => {
      const content = contents.get(path);
      if (typeof content === 'string') return content;
      throw content ?? new Error(`${path} was not looked at`);
    });
    if (result.ok) {
      this.#reported = '';
      const read = usable(result.credentials);
      const isOther = textOf(read) !== textOf(current());
      if (isOther || this.#wasOther) await onRead(read);
      this.#wasOther = isOther;
    } else if (seen !== this.#reported) {
      this.#reported = seen;
      onUnusable(result.faults);
    }
  }
}

const pathsOf = (sources: CredentialSources): readonly string[] =>
  [
    sources.etcdCaFile,
    sources.etcdCertFile,
    sources.etcdKeyFile,
    sources.etcdPasswordFile,
    sources.tokenFile,
    sources.tlsCertFile,
    sources.tlsKeyFile,
    sources.tlsClientCaFile,
    sources.caFile,
    sources.certFile,
    sources.keyFile,
  ].filter((path) => path !== null);

/** What is in the files, or why they cannot be read; null where one is a pipe, which can be read only once. */
async function contentsOf(
  paths: readonly string[],
): Promise<ReadonlyMap<string, string | Error> | null> {
  const contents = new Map<string, string | Error>();
  for (const path of paths) {
    try {
      if (!(await stat(path)).isFile()) return null;
      contents.set(path, await readFile(path, 'utf8'));
    } catch (error) {
      contents.set(path, error as Error);
    }
  }
  return contents;
}

const digestOf = (contents: ReadonlyMap<string, string | Error>): string =>
  createHash('sha256')
    .update(JSON.stringify([...contents].map(([path, content]) => [path, String(content)])))
    .digest('hex');

/** All that makes two credentials different. */
const textOf = (credentials: Credentials): string =>
  JSON.stringify([
    credentials.etcdCa,
    credentials.etcdCert,
    credentials.etcdKey?.reveal(),
    credentials.etcdPassword?.reveal(),
    credentials.token?.reveal(),
    credentials.tlsCert,
    credentials.tlsKey?.reveal(),
    credentials.tlsClientCa,
    credentials.ca,
    credentials.cert,
    credentials.key?.reveal(),
  ]);
