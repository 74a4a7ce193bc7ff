// The built program is one file: copied alone into an empty folder it elects, on this Node and on each later line of
// Node that it promises to run under. The place to try it in is the other file that is built: what lacks it, says so.
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { spawnGuarded } from '../../src/dev/etcd-child.ts';
import { projectFolder } from '../harness/binaries.ts';
import { nodeInstallWithinMs, nodeOfLine } from '../harness/node-line.ts';
import { reservePorts } from '../harness/ports.ts';
import { eventually } from '../harness/wait.ts';
import { openStage, type Stage } from './stage.ts';

const run = promisify(execFile);

let stage: Stage;
let folder: string;
let program: string;

beforeAll(async () => {
  stage = await openStage({ size: 1 });
  folder = await mkdtemp(join(tmpdir(), 'electord-alone-'));
  program = join(folder, 'electord.js');
  await copyFile(join(projectFolder, 'dist', 'electord.js'), program);
});
afterAll(async () => {
  await stage.end();
  await rm(folder, { recursive: true, force: true });
});

async function electsUnder(node: string, election: string): Promise<void> {
  const { version } = JSON.parse(await readFile(join(projectFolder, 'package.json'), 'utf8')) as {
    version: string;
  };
  const { stdout, stderr } = await run(node, [program, '--version'], { cwd: folder });
  expect(stdout.trim()).toBe(version);
  expect(stderr).toBe('');

  const [port = 0, localPort = 0] = await reservePorts(2);
  const lines: string[] = [];
  const child = await spawnGuarded({
    file: node,
    args: [
      ...[program, `--election=${election}`, '--id=a', '--ttl=10s'],
      ...[`--etcd=${stage.cluster.endpoints.join(',')}`],
      ...[`--listen=127.0.0.1:${port}`, `--local-listen=127.0.0.1:${localPort}`],
    ],
    env: { PATH: process.env['PATH'] },
    onLine: (line) => lines.push(line),
  });
  try {
    const status = async (path: string): Promise<number> =>
      (await fetch(`http://127.0.0.1:${port}${path}`)).status;
    await eventually(async () => (await status('/leader')) === 200, {
      withinMs: 20_000,
      what: `a leader under ${node}: ${lines.join('\n')}`,
    });
    for (const path of ['/status', '/metrics', '/members', '/', '/health', '/readyz']) {
      expect(await status(path), path).toBe(200);
    }
  } finally {
    child.signal('SIGTERM');
  }
  expect(await child.exited, lines.join('\n')).toEqual({ code: 0, signal: null });
  // Deprecations and experiments of a newer Node would be printed here.
  expect(lines.filter((line) => !line.startsWith('{'))).toEqual([]);
}

test(`alone in a folder, under this Node`, { timeout: 60_000 }, async () => {
  await electsUnder(process.execPath, 'alone');
  expect((await run(process.execPath, [program, '--help'], { cwd: folder })).stdout).toContain(
    'electord',
  );
});

/** How a program ends that was asked for what it does not do. */
async function refusal(file: string, ...args: string[]) {
  const ended = await run(process.execPath, [file, ...args], { cwd: folder }).catch(
    (failure: unknown) => failure as { code: number; stdout: string; stderr: string },
  );
  return { code: 0, ...ended };
}

test('alone in a folder, it says where `electord dev` is to be had', async () => {
  const { code, stdout, stderr } = await refusal(program, 'dev', '--once');
  expect({ code, stdout }).toEqual({ code: 64, stdout: '' });
  expect(stderr).toMatch(/^electord dev: electord-dev\.js is not beside .+ "npm start" .+\n$/);
});

test('the place to try it in refuses what it does not know, and does not run without the program', async () => {
  await mkdir(join(folder, 'lonely'));
  const place = join(folder, 'lonely', 'electord-dev.js');
  await copyFile(join(projectFolder, 'dist', 'electord-dev.js'), place);
  const unknown = await refusal(place, '--onec');
  expect(unknown.code).toBe(64);
  expect(unknown.stderr).toContain("'--onec'");
  expect((await refusal(place, 'part', 'nobody')).code).toBe(64);
  const lonely = await refusal(place, '--once');
  expect(lonely.code).toBe(1);
  expect(lonely.stderr).toContain('electord.js is not beside');
});

test.each([22, 24, 26])(
  'alone in a folder, under Node %i',
  { timeout: nodeInstallWithinMs + 60_000 },
  async (line) => {
    const node = await nodeOfLine(line);
    const { stdout } = await run(node, ['--version']);
    expect(stdout).toMatch(new RegExp(`^v${line}\\.`));
    await electsUnder(node, `alone-${line}`);
  },
);
