// Stand-ins for the images that docker-compose.yml and the Dockerfile name, for machines that cannot
// pull any: each holds the same program, as this machine or Debian's packages have it, with the shared
// libraries it loads, the same user and the same way to start, under the very same tag. They say
// nothing about the real images beyond that.
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { existsSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { parse } from 'yaml';
import { complaint, runCommand } from '../../../src/dev/etcd-command.ts';
import { etcdBinaries, newestEtcd, projectFolder } from '../../harness/binaries.ts';
import type { Engine } from './engine.ts';

const commandTimeoutMs = 60_000;

/** One stand-in: fills a folder with its file system and says how it starts. */
interface StandIn {
  /** Dockerfile instructions for `docker import`. */
  readonly changes: readonly string[];
  fill(root: string, engine: Engine): Promise<readonly string[] | undefined>;
}

async function output(file: string, args: readonly string[], env?: NodeJS.ProcessEnv) {
  const result = await runCommand(file, args, { timeoutMs: commandTimeoutMs, ...(env && { env }) });
  if (result.code !== 0) throw new Error(`${file} ${args.join(' ')}: ${complaint(result)}`);
  return result.stdout;
}

/** Copies a program to `to` below the root, and to /lib what it loads. */
async function addProgram(root: string, from: string, to: string, env: NodeJS.ProcessEnv) {
  const copy = async (file: string, target: string): Promise<void> => {
    await mkdir(dirname(join(root, target)), { recursive: true });
    await cp(file, join(root, target), { dereference: true });
  };
  await copy(from, to);
  const listed = await runCommand('ldd', [from], { timeoutMs: commandTimeoutMs, env });
  // A static program has no libraries, of which ldd complains.
  if (listed.code !== 0) return;
  for (const line of listed.stdout.split('\n')) {
    if (line.includes('not found')) throw new Error(`${from} lacks a library: ${line.trim()}`);
    const [, library] = /=>\s+(\/\S+)\s/.exec(line) ?? [];
    const [, loader] = /^\s*(\/\S+)\s+\(/.exec(line) ?? [];
    if (library !== undefined) await copy(library, `/lib/${basename(library)}`);
    else if (loader !== undefined) await copy(loader, loader);
  }
}

/** The npm that this machine's shell would run: the folder of its package, which has all it needs. */
async function npmFolder(): Promise<string> {
  const given = process.env['npm_execpath'];
  const found = given?.endsWith('npm-cli.js')
    ? given
    : (await output('sh', ['-c', 'command -v npm'])).trim();
  const folder = dirname(dirname(realpathSync(found)));
  if (!existsSync(join(folder, 'bin/npm-cli.js'))) {
    throw new Error(`npm at ${found} is not a package folder that could be copied`);
  }
  return folder;
}

/** What npm and Node need to know of the network that this machine is in. */
async function networkSettings(root: string): Promise<string[]> {
  // Not in the project's folder, whose own settings the build has anyway.
  const configured = async (name: string): Promise<string> =>
    (await output('npm', ['config', 'get', name, '--global'])).trim();
  const registry = await configured('registry');
  await mkdir(join(root, 'usr/local/etc'), { recursive: true });
  await writeFile(join(root, 'usr/local/etc/npmrc'), `registry=${registry}\n`);
  const changes: string[] = [];
  // What Node is told to trust by the environment, or only npm by its own settings.
  const authorities = process.env['NODE_EXTRA_CA_CERTS'] ?? (await configured('cafile'));
  if (existsSync(authorities)) {
    await cp(authorities, join(root, 'etc/extra-authorities.pem'), { dereference: true });
    changes.push('ENV NODE_EXTRA_CA_CERTS=/etc/extra-authorities.pem');
  }
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY']) {
    const value = process.env[name] ?? process.env[name.toLowerCase()];
    if (value !== undefined && value !== '') changes.push(`ENV ${name}=${value}`);
  }
  return changes;
}

const standIns: Readonly<Record<string, StandIn>> = {
  node: {
    changes: ['ENV PATH=/usr/local/bin:/bin', 'ENV HOME=/root', 'CMD ["node"]'],
    fill: async (root, { programs }) => {
      await addProgram(root, process.execPath, '/usr/local/bin/node', process.env);
      const npm = 'usr/local/lib/node_modules/npm';
      await cp(await npmFolder(), join(root, npm), { recursive: true });
      await symlink('../lib/node_modules/npm/bin/npm-cli.js', join(root, 'usr/local/bin/npm'));
      await mkdir(join(root, 'usr/bin'), { recursive: true });
      await addProgram(root, join(programs.root, 'bin/busybox'), '/bin/busybox', process.env);
      for (const name of ['sh', 'env']) await symlink('busybox', join(root, 'bin', name));
      await symlink('/bin/busybox', join(root, 'usr/bin/env'));
      return networkSettings(root);
    },
  },
  haproxy: {
    changes: [
      'USER 99:99',
      'CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]',
      'ENV PATH=/usr/local/sbin',
    ],
    fill: async (root, { programs }) => {
      const program = join(programs.root, 'usr/sbin/haproxy');
      await addProgram(root, program, '/usr/local/sbin/haproxy', programs.env);
      return undefined;
    },
  },
  'quay.io/coreos/etcd': {
    changes: ['ENV PATH=/usr/local/bin', 'CMD ["/usr/local/bin/etcd"]'],
    fill: async (root) => {
      const { etcd, etcdctl } = (await etcdBinaries())[newestEtcd];
      const programs = { etcd, etcdctl: etcdctl ?? '' };
      for (const [name, file] of Object.entries(programs)) {
        const absolute = file.includes('/')
          ? file
          : (await output('sh', ['-c', `command -v ${file}`])).trim();
        await addProgram(root, absolute, `/usr/local/bin/${name}`, process.env);
      }
      await mkdir(join(root, 'var/lib/etcd'), { recursive: true });
      return undefined;
    },
  },
  'prom/prometheus': {
    changes: [
      'USER 65534:65534',
      'ENTRYPOINT ["/bin/prometheus"]',
      'CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]',
      'WORKDIR /prometheus',
    ],
    fill: async (root, { programs }) => {
      const program = join(programs.root, 'usr/bin/prometheus');
      await addProgram(root, program, '/bin/prometheus', programs.env);
      return undefined;
    },
  },
};

/** Packages of Debian's that the stand-ins are made from. */
export const standInPackages = ['busybox-static', 'haproxy', 'prometheus'];

/** Every image that the two files take from elsewhere, as `repository:tag`. */
export async function imagesFromElsewhere(): Promise<string[]> {
  const text = await readFile(join(projectFolder, 'docker-compose.yml'), 'utf8');
  const composition = parse(text, { merge: true }) as {
    services: Record<string, { image?: string; build?: unknown }>;
  };
  const services = Object.values(composition.services);
  const pulled = services.flatMap(({ image, build }) => (image && !build ? [image] : []));
  const dockerfile = await readFile(join(projectFolder, 'deploy/docker/Dockerfile'), 'utf8');
  const bases = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map((match) => match[1] ?? '');
  return [...new Set([...pulled, ...bases.filter((base) => base !== 'scratch')])];
}

/**
 * Makes a stand-in for each of the images.
 *
 * @throws Error when there is none for one of them.
 */
export async function makeStandIns(images: readonly string[], engine: Engine): Promise<void> {
  for (const image of images) {
    const repository = image.replace(/:[^:/]*$/, '');
    const standIn = standIns[repository];
    if (standIn === undefined) throw new Error(`there is no stand-in for the image ${image}`);
    const root = join(engine.folder, 'roots', repository.replaceAll('/', '-'));
    for (const name of ['etc', 'root', 'tmp']) await mkdir(join(root, name), { recursive: true });
    const more = (await standIn.fill(root, engine)) ?? [];
    const archive = `${root}.tar`;
    await output('tar', ['-c', '--owner=0', '--group=0', '-f', archive, '-C', root, '.']);
    const changes = [...standIn.changes, ...more].flatMap((change) => ['--change', change]);
    await engine.docker(['import', ...changes, archive, image]);
  }
}
