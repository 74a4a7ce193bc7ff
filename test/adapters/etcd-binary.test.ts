// Finding an etcd: what is read out of apt's sources, what is taken from the PATH, the cache and a
// release archive, what is refused; and that one which was started serves, and goes when it should.
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { access, chmod, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { arch, platform } from 'node:process';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { EtcdNotFoundError, findEtcd } from '../../src/dev/etcd-binary.ts';
import { cachedFolder, etcdVersion, installIntoCache, seriesOf } from '../../src/dev/etcd-cache.ts';
import type { EtcdSeries } from '../../src/dev/etcd-cache.ts';
import {
  candidateSources,
  parseDeb822Sources,
  parseDistribution,
  parseOneLineSources,
  readAptSources,
  renderSource,
  versionOnOffer,
} from '../../src/dev/etcd-debian.ts';
import { isServing, startEtcd } from '../../src/dev/etcd-process.ts';
import { pinnedReleases, unpackRelease } from '../../src/dev/etcd-release.ts';
import type { Pins } from '../../src/dev/etcd-release.ts';
import { etcdBinaries } from '../harness/binaries.ts';
import { leftOut } from '../harness/left-out.ts';
import { eventually } from '../harness/wait.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'electord-etcd-test-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** A program that says it is an etcd (and an etcdctl) of this version. */
async function standIn(bin: string, version: string, redirect = ''): Promise<string> {
  await mkdir(bin, { recursive: true });
  for (const name of ['etcd', 'etcdctl']) {
    await writeFile(join(bin, name), `#!/bin/sh\necho "etcd Version: ${version}" ${redirect}\n`);
    await chmod(join(bin, name), 0o755);
  }
  return bin;
}

describe("apt's sources", () => {
  const bookworm = { id: 'debian', codename: 'bookworm' };

  test('the one-line format, with options, comments and disabled lines', () => {
    const text = `
# deb http://mirror.example/off bookworm main
deb-src http://mirror.example/debian bookworm main
deb [arch=amd64 signed-by=/a.gpg,/b.gpg] http://mirror.example/debian bookworm main contrib # own
deb http://mirror.example/debian-security bookworm-security main
deb	[ trusted=yes ]	file:/srv/mirror	sid	main
`;
    expect(parseOneLineSources(text)).toEqual([
      {
        uris: ['http://mirror.example/debian'],
        suites: ['bookworm'],
        components: ['main', 'contrib'],
        signedBy: '/a.gpg /b.gpg',
        trusted: false,
      },
      {
        uris: ['http://mirror.example/debian-security'],
        suites: ['bookworm-security'],
        components: ['main'],
        signedBy: null,
        trusted: false,
      },
      {
        uris: ['file:/srv/mirror'],
        suites: ['sid'],
        components: ['main'],
        signedBy: null,
        trusted: true,
      },
    ]);
  });

  test('the deb822 format, with a key block, several values and a disabled stanza', () => {
    const text = `# head
Types: deb deb-src
URIs: http://one.example/debian
  http://two.example/debian
Suites: bookworm bookworm-updates
# a comment in between
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQ==
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main
`;
    const sources = parseDeb822Sources(text);
    expect(sources).toHaveLength(1);
    expect(sources[0]).toMatchObject({
      uris: ['http://one.example/debian', 'http://two.example/debian'],
      suites: ['bookworm', 'bookworm-updates'],
      components: ['main'],
    });
    // What we write is read back the same: a key block survives.
    expect(parseDeb822Sources(renderSource(sources[0]!))).toEqual(sources);
    expect(renderSource(sources[0]!)).toContain('\n .\n mQ==\n');
  });

  test('both formats are read from a folder, other files are not', async () => {
    await mkdir(join(folder, 'sources.list.d'));
    await writeFile(join(folder, 'sources.list'), 'deb http://a.example/ bookworm main\n');
    const part = (name: string): string => join(folder, 'sources.list.d', name);
    await writeFile(part('b.list'), 'deb http://b.example/ bookworm main\n');
    await writeFile(
      part('c.sources'),
      'Types: deb\nURIs: http://c.example/\nSuites: sid\nComponents: main\n',
    );
    await writeFile(part('d.list.disabled'), 'deb http://d.example/ bookworm main\n');
    const uris = (await readAptSources(folder)).flatMap((source) => source.uris);
    expect(uris).toEqual(['http://a.example/', 'http://b.example/', 'http://c.example/']);
  });

  test('a Debian mirror is asked for the suite that carries the series', () => {
    const sources = parseOneLineSources(`
deb http://vendor.example/apt cloud-sdk-bookworm main
deb [signed-by=/k.gpg] http://mirror.example/debian bookworm main non-free
deb http://mirror.example/debian bookworm-backports main
deb http://mirror.example/debian-security bookworm-security main`);
    const asked = (series: EtcdSeries): string[] =>
      candidateSources(sources, bookworm, series).map(
        ({ uris, suites, components, signedBy }) =>
          `${uris.join()} ${suites.join()} ${components.join()} ${signedBy ?? ''}`,
      );
    expect(asked('3.4')).toEqual(['http://mirror.example/debian bookworm main /k.gpg']);
    expect(asked('3.5')).toEqual([
      'http://mirror.example/debian trixie main /k.gpg',
      'http://mirror.example/debian bookworm main,non-free /k.gpg',
    ]);
    expect(asked('3.5.30').slice(0, 2)).toEqual([
      'http://mirror.example/debian forky main /k.gpg',
      'http://mirror.example/debian sid main /k.gpg',
    ]);
  });

  test('another distribution is asked only for its own release', () => {
    const noble = parseDistribution('NAME="Ubuntu"\nID=ubuntu\nVERSION_CODENAME=noble\n');
    expect(noble).toEqual({ id: 'ubuntu', codename: 'noble' });
    const sources = parseOneLineSources('deb http://u.example/ noble main universe');
    expect(candidateSources(sources, noble, '3.5')).toEqual(sources);
  });

  test('the version on offer is of the series or none', () => {
    const madison = `etcd-server | 3.5.30-2 | http://m.example forky/main amd64 Packages
etcd-server | 3.5.16-4+b5 | http://m.example trixie/main amd64 Packages
etcd-server | 3.4.23-4+b4 | http://m.example bookworm/main amd64 Packages`;
    expect(versionOnOffer(madison, '3.5')).toBe('3.5.16-4+b5');
    expect(versionOnOffer(madison, '3.5.30')).toBe('3.5.30-2');
    expect(versionOnOffer(madison, '3.4')).toBe('3.4.23-4+b4');
    expect(versionOnOffer('etcd-server | 3.3.25 | x', '3.4')).toBeNull();
    expect(versionOnOffer('', '3.4')).toBeNull();
    expect(['3.4.37', '3.5.21', '3.5.22', '3.6.1'].map(seriesOf)).toEqual([
      ...['3.4', '3.5', '3.5.30', '3.6'],
    ]);
  });
});

describe('the PATH and the cache', () => {
  const nothingElse = { without: ['debian', 'homebrew', 'release'] as const };

  test('an etcd on the PATH is taken when it runs and is new enough', async () => {
    const old = await standIn(join(folder, 'old'), '3.3.25');
    const broken = join(folder, 'broken');
    await mkdir(broken);
    await writeFile(join(broken, 'etcd'), 'not a program');
    const good = await standIn(join(folder, 'good'), '3.6.1', '>&2');
    const path = [join(folder, 'none'), broken, old, good].join(delimiter);
    const cacheDir = join(folder, 'cache');
    expect(await findEtcd({ cacheDir, path, ...nothingElse })).toEqual({
      etcd: join(good, 'etcd'),
      etcdctl: join(good, 'etcdctl'),
      version: '3.6.1',
    });
    const wanted = findEtcd({ want: '3.5', cacheDir, path, ...nothingElse });
    await expect(wanted).rejects.toThrow(EtcdNotFoundError);
  });

  test('a copy in the cache is taken when the PATH has none, for a series before the PATH', async () => {
    const cacheDir = join(folder, 'cache');
    const cached = await standIn(join(cachedFolder(cacheDir, '3.5'), 'bin'), '3.5.16');
    const found = await findEtcd({ cacheDir, path: '', ...nothingElse });
    expect(found.etcd).toBe(join(cached, 'etcd'));
    const path = await standIn(join(folder, 'path'), '3.5.9');
    const ofSeries = await findEtcd({ want: '3.5', cacheDir, path, ...nothingElse });
    expect(ofSeries.version).toBe('3.5.16');
    expect((await findEtcd({ cacheDir, path, ...nothingElse })).version).toBe('3.5.9');
    await standIn(join(cachedFolder(cacheDir, '3.5.30'), 'bin'), '3.5.30');
    expect((await findEtcd({ cacheDir, path: '', ...nothingElse })).version).toBe('3.5.30');
  });

  test('a user without any etcd is told what to do', async () => {
    const search = findEtcd({ want: '3.4', cacheDir: folder, path: '', ...nothingElse });
    await expect(search).rejects.toMatchObject({
      code: 'etcd_not_found',
      message: expect.stringMatching(/No etcd 3\.4 .*Install etcd/s) as string,
    });
  });

  test('many at once install one copy, and a copy that does not run is replaced', async () => {
    const cacheDir = join(folder, 'cache');
    const final = cachedFolder(cacheDir, '3.5');
    await mkdir(join(final, 'bin'), { recursive: true });
    await writeFile(join(final, 'bin', 'etcd'), 'half a download');
    const installs = Array.from({ length: 5 }, () =>
      installIntoCache(cacheDir, async (into) => {
        await standIn(join(into, 'bin'), '3.5.9');
      }),
    );
    for (const found of await Promise.all(installs)) {
      expect(found).toMatchObject({ etcd: join(final, 'bin', 'etcd'), version: '3.5.9' });
    }
    expect(await readdir(cacheDir)).toHaveLength(1);
  });

  test('what does not run here is not installed', async () => {
    const install = installIntoCache(folder, (into) =>
      writeFile(join(into, 'bin', 'etcd'), 'for another processor'),
    );
    await expect(install).rejects.toThrow('does not run');
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('the release archive', () => {
  const here = `${platform}-${arch}`;
  let server: Server;
  let baseUrl: string;
  let archive: Buffer;
  let asked: string[] = [];

  beforeEach(async () => {
    asked = [];
    const inside = join(folder, 'etcd-v3.5.99-linux-amd64');
    await standIn(inside, '3.5.99');
    const file = join(folder, 'archive.tar.gz');
    await promisify(execFile)('tar', ['-czf', file, '-C', folder, 'etcd-v3.5.99-linux-amd64']);
    archive = await readFile(file);
    server = createServer((request, answer) => {
      asked.push(request.url ?? '');
      if (request.url?.endsWith('/etcd-v3.5.99-linux-amd64.tar.gz')) answer.end(archive);
      else answer.writeHead(404).end();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/download`;
  });

  afterEach(() => {
    server.close();
  });

  function pins(sha256: string, version = '3.5.99'): Pins {
    return { '3.4': {}, '3.5': { 'linux-x64': { version, sha256 } }, '3.5.30': {} };
  }

  function unpack(into: string, trusted: Pins, series: EtcdSeries = '3.5'): Promise<void> {
    const log = (): void => undefined;
    return unpackRelease({ platform: 'linux-x64', series, into, log, baseUrl, pins: trusted });
  }

  const sha256Of = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

  test('is unpacked when its SHA-256 is the pinned one', async () => {
    const into = join(folder, 'into');
    await unpack(into, pins(sha256Of(archive)));
    expect(await etcdVersion(join(into, 'bin', 'etcd'))).toBe('3.5.99');
    expect(asked).toEqual(['/download/v3.5.99/etcd-v3.5.99-linux-amd64.tar.gz']);
  });

  test('is refused when one byte is different, and nothing of it is kept', async () => {
    const trusted = pins(sha256Of(archive));
    archive[archive.length - 1]! ^= 1;
    const into = join(folder, 'into');
    await expect(unpack(into, trusted)).rejects.toThrow(
      /has SHA-256 .* not the pinned .* not used/,
    );
    await expect(access(into)).rejects.toThrow();
  });

  test('a missing archive, and a platform without a pin, are said to be so', async () => {
    await expect(unpack(folder, pins('0', '3.5.98'))).rejects.toThrow('answered 404');
    await expect(unpack(folder, pins('0'), '3.4')).rejects.toThrow('no archive of etcd 3.4');
    server.close();
    await expect(
      unpackRelease({
        platform: 'linux-x64',
        series: '3.5',
        into: folder,
        log: () => undefined,
        baseUrl: 'http://127.0.0.1:1',
        pins: pins('0'),
      }),
    ).rejects.toThrow(/download of http:.* failed: /);
  });

  test(
    'ends in the cache, with the reason of each failure',
    leftOut(here === 'linux-x64' ? null : 'its archive is one for linux-x64'),
    async () => {
      const cacheDir = join(folder, 'cache');
      const without = ['debian', 'homebrew'] as const;
      const search = (sha256: string): Promise<{ version: string }> =>
        findEtcd({ cacheDir, path: '', without, release: { baseUrl, pins: pins(sha256) } });
      await expect(search('0'.repeat(64))).rejects.toThrow(
        /release archive of 3\.5: .*not the pinned/,
      );
      expect(await readdir(cacheDir)).toEqual([]);
      expect((await search(sha256Of(archive))).version).toBe('3.5.99');
      server.close();
      expect((await search('gone')).version).toBe('3.5.99');
    },
  );

  test('every pin is a SHA-256 of a version of its series', () => {
    expect(Object.keys(pinnedReleases['3.5'])).not.toEqual([]);
    for (const [series, platforms] of Object.entries(pinnedReleases)) {
      for (const { version, sha256 } of Object.values(platforms)) {
        expect(seriesOf(version)).toBe(series);
        expect(sha256).toMatch(/^[0-9a-f]{64}$/);
      }
    }
  });
});

describe('an etcd that was started', { timeout: 60_000 }, () => {
  test('serves, and leaves neither process nor data behind', async () => {
    const { etcd } = (await etcdBinaries())['3.5'];
    const started = await startEtcd({ binary: etcd });
    expect(await isServing(started.clientUrl)).toBe(true);
    const command = await promisify(execFile)('ps', ['-o', 'args=', '-p', String(started.pid)]);
    const dataDir = /--data-dir=(\S+)/.exec(command.stdout)?.[1] ?? '';
    await access(dataDir);
    await started.stop();
    await started.exited;
    expect(await isServing(started.clientUrl)).toBe(false);
    await expect(access(dataDir)).rejects.toThrow();
    await started.stop();
  });

  test('is started again on other ports when one was taken', async () => {
    const { etcd } = (await etcdBinaries())['3.4'];
    const unlucky = join(folder, 'etcd');
    const mark = join(folder, 'tried');
    const script = `#!/bin/sh
if mkdir '${mark}' 2>/dev/null; then echo 'listen tcp: bind: address already in use' >&2; exit 1; fi
exec '${etcd}' "$@"
`;
    await writeFile(unlucky, script);
    await chmod(unlucky, 0o755);
    const started = await startEtcd({ binary: unlucky });
    await access(mark);
    expect(await isServing(started.clientUrl)).toBe(true);
    await started.stop();
  });

  test('that cannot start is reported with its own words', async () => {
    const { etcd } = (await etcdBinaries())['3.5'];
    const start = startEtcd({ binary: etcd, extraArgs: ['--no-such-flag'] });
    await expect(start).rejects.toThrow(/etcd ended \(.*no-such-flag/s);
  });

  test.each(['SIGKILL', 'process.exit'] as const)('goes when we end by %s', async (how) => {
    const { etcd } = (await etcdBinaries())['3.5'];
    const program = join(folder, 'parent.mjs');
    await build({
      stdin: {
        contents: `import { startEtcd } from './etcd-process.ts';
          const started = await startEtcd({ binary: ${JSON.stringify(etcd)} });
          console.log(started.clientUrl);
          ${how === 'process.exit' ? 'process.exit(0);' : ''}`,
        resolveDir: join(import.meta.dirname, '../../src/dev'),
        loader: 'ts',
      },
      bundle: true,
      platform: 'node',
      format: 'esm',
      outfile: program,
    });
    // A temporary folder of its own: data of a killed parent stays, and is ours to remove.
    // On an empty PATH there is no setpriv, so that process.exit shows what Node alone can do.
    const path = how === 'process.exit' ? folder : process.env['PATH'];
    const env = { PATH: path, TMPDIR: folder };
    const parent = spawn(process.execPath, [program], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(parent.stdout, 'data')) as [Buffer];
    const url = line.toString().trim();
    if (how === 'SIGKILL') parent.kill('SIGKILL');
    await eventually(async () => !(await isServing(url)), { withinMs: 10_000, what: 'its end' });
    expect(await isServing(url)).toBe(false);
    expect(await isServing(url)).toBe(false);
  });
});
