// The code cache beside the built program: V8 takes it where it was made of just this program, and where it is missing, was
// damaged or belongs to another program, all is as if there were none. What fails is told without the program's own text.
import { execFile, spawnSync } from 'node:child_process';
import { copyFile, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { version } from '../../src/process/version.ts';
import { projectFolder } from '../harness/binaries.ts';

const run = promisify(execFile);
const dist = join(projectFolder, 'dist');
const launcher = join(projectFolder, 'scripts/bundle/launch.mjs');

let folder: string;
let program: string;
let cache: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'electord-cache-'));
  program = join(folder, 'electord.js');
  cache = `${program}.cache`;
  await copyFile(join(dist, 'electord.js'), program);
  await copyFile(join(dist, 'electord.js.cache'), cache);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Runs it as the file itself does; what it answers, and whether V8 refused a cache: undefined where it was given none. */
async function launched(...args: string[]) {
  const script = `
    import { launch, mark } from ${JSON.stringify(launcher)};
    process.argv = [process.execPath, ${JSON.stringify(program)}, ...${JSON.stringify(args)}];
    launch(process.getBuiltinModule, process.argv[1], mark, ({ cachedDataRejected }) =>
      console.error(String(cachedDataRejected)));`;
  const { stdout, stderr } = await run(process.execPath, ['--input-type=module', '-e', script]);
  return { answer: stdout.trim(), rejected: stderr.trim() };
}

const refused = { answer: version, rejected: 'undefined' };

test('V8 takes what the build has left beside the program', async () => {
  expect(await launched('--version')).toEqual({ answer: version, rejected: 'false' });
});

test('a program with one goes on as the place to try it in', async () => {
  const place = join(folder, 'electord-dev.js');
  await writeFile(
    place,
    `process.stdout.write(process.argv.slice(1).join(' '), () => process.exit(3));`,
  );
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, 'dev', '--once'], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  expect({ status, stdout, stderr }).toEqual({ status: 3, stdout: `${place} --once`, stderr: '' });
});

test('a program without one, or that cannot read it, runs as well', async () => {
  await rm(cache);
  expect(await launched('--version')).toEqual(refused);
  await mkdir(cache);
  expect(await launched('--version')).toEqual(refused);
  await cp(program, join(folder, 'alone.js'));
  expect((await run(process.execPath, [join(folder, 'alone.js'), '--version'])).stdout.trim()).toBe(
    version,
  );
});

const damages: Record<string, (bytes: Buffer) => Buffer> = {
  empty: () => Buffer.alloc(0),
  'shorter than a digest': (bytes) => bytes.subarray(0, 20),
  cut: (bytes) => bytes.subarray(0, bytes.length >> 1),
  'one byte short': (bytes) => bytes.subarray(0, -1),
  'something else': () => Buffer.from('not a cache\n'.repeat(1000)),
  'changed in one bit': (bytes) => {
    const changed = Buffer.from(bytes);
    changed[changed.length >> 1]! ^= 1;
    return changed;
  },
};

test.each(Object.keys(damages))('one that is %s is not given to V8', async (damage) => {
  await writeFile(cache, damages[damage]!(await readFile(cache)));
  expect(await launched('--version')).toEqual(refused);
});

test('that of another program of the same length is not used', async () => {
  const text = await readFile(program, 'latin1');
  const other = version.replace(/\d/g, '9');
  const changed = text.replaceAll(`"${version}"`, `"${other}"`);
  expect(changed).not.toBe(text);
  expect(changed.length).toBe(text.length);
  await writeFile(program, changed, 'latin1');
  expect(await launched('--version')).toEqual({ answer: other, rejected: 'undefined' });
});

test('that of a V8 with other flags is refused by V8 itself', async () => {
  const { stdout } = await run(process.execPath, ['--no-lazy', program, '--version']);
  expect(stdout.trim()).toBe(version);
});

test('a start writes nothing beside the program', async () => {
  await rm(cache);
  await run(process.execPath, [program, '--version']);
  expect(await readdir(folder)).toEqual(['electord.js']);
});

test.each(['commonjs', 'module'])(
  'as a %s it finds itself, by whatever path it is started',
  async (type) => {
    await writeFile(join(folder, 'package.json'), JSON.stringify({ type }));
    for (const args of [[program], ['./electord.js'], ['--stack-trace-limit=0', program]]) {
      const { stdout } = await run(process.execPath, [...args, '--version'], { cwd: folder });
      expect(stdout.trim(), args.join(' ')).toBe(version);
    }
  },
);

test('a failure that nobody expected is told by its stack, without the program', async () => {
  const preload = join(folder, 'fails.cjs');
  await writeFile(preload, `process.nextTick(() => { throw new Error('by the test'); });`);
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--require', preload, program, 'wait', '--for=any', '--url=http://127.0.0.1:1'],
    { encoding: 'utf8', timeout: 20_000 },
  );
  expect({ status, stdout }).toEqual({ status: 70, stdout: '' });
  expect(stderr).toMatch(/^electord: Error: by the test\n/);
  expect(stderr.length).toBeLessThan(5000);
});
