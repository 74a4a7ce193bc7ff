// Takes etcd from its own release archive, streamed to a file and compared with a SHA-256 that is
// pinned here before anything in it is looked at. A platform without a pin is refused, not trusted.
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { EtcdSeries } from './etcd-cache.ts';
import { complaint, runCommand } from './etcd-command.ts';

/** One archive that is trusted: its version and the SHA-256 of its bytes, in hex. */
export interface PinnedRelease {
  readonly version: string;
  readonly sha256: string;
}

/** What to fetch, from where, to where; tests put their own pins and server here. */
export interface ReleaseOptions {
  /** `linux-x64`, …: Node's platform and architecture. */
  readonly platform: string;
  readonly series: EtcdSeries;
  /** The folder whose `bin` gets the programs. */
  readonly into: string;
  readonly log: (line: string) => void;
  readonly baseUrl?: string;
  readonly pins?: Pins;
}

/** Pinned archives by series, then by platform. */
export type Pins = Readonly<Record<EtcdSeries, Readonly<Record<string, PinnedRelease>>>>;

const releaseBaseUrl = 'https://github.com/etcd-io/etcd/releases/download';

/** An archive is about 25 MB; below 50 kB a second a person should look at the network instead. */
const downloadTimeoutMs = 10 * 60 * 1000;
const localTimeoutMs = 60_000;

/** etcd's names for Node's platforms; archives are gzipped tar on Linux and zip on a Mac. */
const archiveNames: Readonly<Record<string, { readonly name: string; readonly ending: string }>> = {
  'linux-x64': { name: 'linux-amd64', ending: 'tar.gz' },
  'linux-arm64': { name: 'linux-arm64', ending: 'tar.gz' },
  'darwin-x64': { name: 'darwin-amd64', ending: 'zip' },
  'darwin-arm64': { name: 'darwin-arm64', ending: 'zip' },
};

/**
 * The archives that we trust. Each hash for Linux was found alike in at least two unrelated public
 * records; those for a Mac in one, whose hash of the same release for Linux agrees with the others.
 */
export const pinnedReleases: Pins = {
  // No public record of these hashes was found.
  '3.5.30': {},
  '3.5': {
    'linux-x64': {
      version: '3.5.21',
      sha256: 'adddda4b06718e68671ffabff2f8cee48488ba61ad82900e639d108f2148501c',
    },
    'linux-arm64': {
      version: '3.5.21',
      sha256: '95bf6918623a097c0385b96f139d90248614485e781ec9bee4768dbb6c79c53f',
    },
    'darwin-x64': {
      version: '3.5.6',
      sha256: 'eb0bca1ef939c4abd1d73dc61ef7e019cdc5e97a38e2e99ad2aac34aeb8266ee',
    },
    'darwin-arm64': {
      version: '3.5.6',
      sha256: '5a70e3b323caa05e4c87f2669686d34c10c557ea59233e611acd6ee330877e79',
    },
  },
  '3.4': {
    'linux-x64': {
      version: '3.4.13',
      sha256: '2ac029e47bab752dacdb7b30032f230f49e2f457cbc32e8f555c2210bb5ff107',
    },
    'linux-arm64': {
      version: '3.4.13',
      sha256: '1934ebb9f9f6501f706111b78e5e321a7ff8d7792d3d96a76e2d01874e42a300',
    },
  },
};

async function download(url: string, file: string): Promise<string> {
  const response = await fetch(url, { signal: AbortSignal.timeout(downloadTimeoutMs) });
  if (!response.ok || response.body === null) {
    throw new Error(`${url} answered ${response.status}`);
  }
  const hash = createHash('sha256');
  await pipeline(
    Readable.fromWeb(response.body),
    async function* (chunks: AsyncIterable<Uint8Array>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        yield chunk;
      }
    },
    createWriteStream(file),
  );
  return hash.digest('hex');
}

async function unpack(archive: string, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const zip = archive.endsWith('.zip');
  // A Mac's tar reads zip as well, and so serves where unzip is missing.
  const tar = ['tar', zip ? '-xf' : '-xzf', archive, '-C', folder] as const;
  const ways = zip ? [['unzip', '-q', '-o', archive, '-d', folder] as const, tar] : [tar];
  let fault = '';
  for (const [tool, ...args] of ways) {
    const result = await runCommand(tool, args, { timeoutMs: localTimeoutMs });
    if (result.code === 0) return;
    fault = `${tool}: ${complaint(result)}`;
  }
  throw new Error(`the archive does not unpack: ${fault}`);
}

/**
 * Downloads the pinned archive of a series and puts its `etcd` and `etcdctl` into `into/bin`.
 *
 * @throws Error when the platform has no pin, the download fails or its SHA-256 is another one; the
 *   archive is then deleted without having been unpacked.
 */
export async function unpackRelease(options: ReleaseOptions): Promise<void> {
  const archive = archiveNames[options.platform];
  const pin = (options.pins ?? pinnedReleases)[options.series][options.platform];
  if (archive === undefined || pin === undefined) {
    throw new Error(`no archive of etcd ${options.series} is pinned for ${options.platform}`);
  }
  const inside = `etcd-v${pin.version}-${archive.name}`;
  const url = `${options.baseUrl ?? releaseBaseUrl}/v${pin.version}/${inside}.${archive.ending}`;
  const folder = await mkdtemp(join(tmpdir(), 'electord-release-'));
  try {
    options.log(`downloading ${url}`);
    const file = join(folder, `archive.${archive.ending}`);
    const sha256 = await download(url, file).catch((error: unknown) => {
      throw new Error(`the download of ${url} failed: ${reason(error)}`, { cause: error });
    });
    if (sha256 !== pin.sha256) {
      throw new Error(`${url} has SHA-256 ${sha256}, not the pinned ${pin.sha256}; not used`);
    }
    await unpack(file, join(folder, 'unpacked'));
    for (const name of ['etcd', 'etcdctl']) {
      const program = join(options.into, 'bin', name);
      await cp(join(folder, 'unpacked', inside, name), program);
      await chmod(program, 0o755);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** fetch hides the real reason (no such host, refused) in the cause of its error. */
function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message;
}
