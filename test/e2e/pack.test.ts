// The package as `npm pack` makes it on a fresh clone, installed into an empty folder without a network: it brings no other
// package, its client is typed and runs for ES modules and for CommonJS, and its command and `electord dev` are there.
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { spawnGuarded } from '../../src/dev/etcd-child.ts';
import { version } from '../../src/process/version.ts';
import { etcdBinaries, projectFolder } from '../harness/binaries.ts';

const run = promisify(execFile);
/** A build with declarations, some starts of npm and of TypeScript, on a machine that does other things as well. */
const withinMs = 120_000;
/** What a clone has and a build makes for itself, or what is nobody's business but the working copy's. */
const notCloned = ['.git', '.cache', 'dist', 'node_modules', 'coverage'];

let folder: string;
let app: string;
/** The paths in the package. */
let packed: readonly string[];

/** npm that asks nobody, whatever the settings of whoever runs the tests. */
function npm(args: readonly string[], cwd: string) {
  const environment = { PATH: process.env['PATH'], HOME: folder, npm_config_offline: 'true' };
  return run('npm', args, { cwd, env: environment, timeout: withinMs });
}

/** The sources without anything built from them, and with the packages that `npm ci` would install. */
async function freshClone(): Promise<string> {
  const clone = join(folder, 'clone');
  await mkdir(clone);
  for (const name of await readdir(projectFolder)) {
    if (notCloned.includes(name) || name.endsWith('.tgz')) continue;
    await cp(join(projectFolder, name), join(clone, name), { recursive: true });
  }
  await symlink(join(projectFolder, 'node_modules'), join(clone, 'node_modules'));
  return clone;
}

beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'electord-pack-')));
  await npm(['pack', '--pack-destination', folder], await freshClone());
  const tarball = join(folder, `electord-${version}.tgz`);
  const { stdout } = await run('tar', ['-tzf', tarball]);
  packed = stdout
    .trim()
    .split('\n')
    .map((path) => path.replace(/^package\//, ''));
  app = join(folder, 'app');
  await mkdir(app);
  await writeFile(join(app, 'package.json'), JSON.stringify({ private: true }));
  await npm(['install', tarball], app);
}, withinMs);
afterAll(() => rm(folder, { recursive: true, force: true }));

test('it holds what is built and what is read, and neither sources nor tests', () => {
  expect(packed).toEqual(
    expect.arrayContaining([
      ...['dist/electord.js', 'dist/electord-dev.js', 'dist/client.js', 'dist/client.cjs'],
      ...['LICENSE', 'README.md', 'CHANGELOG.md', 'docs/reference.md'],
      'deploy/systemd/electord@.service',
    ]),
  );
  expect(new Set(packed.map((path) => path.split('/')[0]))).toEqual(
    new Set([
      ...['package.json', 'LICENSE', 'README.md', 'CHANGELOG.md', 'SECURITY.md'],
      ...['dist', 'docs', 'deploy'],
    ]),
  );
});

test('it brings no other package', async () => {
  const installed = await readdir(join(app, 'node_modules'));
  expect(installed.filter((name) => !name.startsWith('.'))).toEqual(['electord']);
});

test(
  'its command is found by npx, and becomes the place to try it in',
  { timeout: withinMs },
  async () => {
    const { stdout } = await npm(['exec', '--no', '--', 'electord', '--version'], app);
    expect(stdout).toBe(`${version}\n`);
    const { '3.5': binaries } = await etcdBinaries();
    const path = `${dirname(binaries.etcd)}${delimiter}${process.env['PATH'] ?? ''}`;
    const lines: string[] = [];
    const place = await spawnGuarded({
      file: join(app, 'node_modules/.bin/electord'),
      args: ['dev', '--once'],
      env: { PATH: path, HOME: folder },
      onLine: (line) => {
        lines.push(line);
        // It has begun; how it goes on is what start.test.ts is about.
        if (line.startsWith('data in ')) place.signal('SIGTERM');
      },
    });
    expect(await place.exited, lines.join('\n')).toEqual({ code: 0, signal: null });
    expect(lines.at(-1)).toBe('everything is stopped, nothing is left behind');
  },
);

/** Compiles only where what is right is taken and what is wrong refused; prints `null true` when it runs. */
const source = `
import { connect, UnusableOption, type Client, type Term } from 'electord/client';
const client: Client = connect({ url: 'http://127.0.0.1:9' });
const token: bigint | null = client.fencingToken();
// @ts-expect-error: a leader is more than a text
const wrong: string = client.leader();
// @ts-expect-error: there is no such option
export const mistaken = () => connect({ uri: wrong });
export const work = (term: Term, signal: AbortSignal): bigint | null =>
  signal.aborted ? null : term.fencingToken;
let refusal: unknown;
try {
  connect({ url: 'nonsense' });
} catch (error) {
  refusal = error;
}
console.log(token, refusal instanceof UnusableOption);
void client.close();
`;

describe('a strict TypeScript project', () => {
  test.each([
    { kind: 'an ES module', type: 'module', options: { module: 'node16' } },
    {
      kind: 'CommonJS',
      type: 'commonjs',
      // Here the declarations are checked themselves, with Node's own: once will do, it takes seconds.
      options: { module: 'node16', skipLibCheck: false },
    },
    {
      kind: 'made for a bundler',
      type: 'module',
      options: { module: 'esnext', moduleResolution: 'bundler' },
    },
  ])('that is $kind takes the client', { timeout: withinMs }, async ({ type, options }) => {
    const project = await mkdtemp(join(app, 'project-'));
    const compilerOptions = {
      ...{ target: 'es2022', strict: true, exactOptionalPropertyTypes: true, skipLibCheck: true },
      ...{ types: ['node'], typeRoots: [join(projectFolder, 'node_modules/@types')] },
      ...options,
    };
    await writeFile(join(project, 'package.json'), JSON.stringify({ type }));
    await writeFile(
      join(project, 'tsconfig.json'),
      JSON.stringify({ compilerOptions, files: ['app.ts'] }),
    );
    await writeFile(join(project, 'app.ts'), source);
    const compiler = join(projectFolder, 'node_modules/typescript/bin/tsc');
    const compiled = await run(process.execPath, [compiler, '-p', project]).catch(
      (failure: unknown) => failure as { readonly stdout: string },
    );
    expect(compiled.stdout).toBe('');
    const { stdout, stderr } = await run(process.execPath, [join(project, 'app.js')]);
    expect({ stdout, stderr }).toEqual({ stdout: 'null true\n', stderr: '' });
  });
});
