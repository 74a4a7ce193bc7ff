// The examples of deploy/examples, each run as its first lines say, beside real sidecars: the one beside the leader works
// with its token, the one beside a follower does not, and a switchover makes them change places.
import { copyFile, chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { spawnGuarded, type ChildExit, type GuardedChild } from '../../src/dev/etcd-child.ts';
import { projectFolder } from '../harness/binaries.ts';
import { findPrograms } from '../harness/programs.ts';
import type { Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { appWithClient, type AppFolder } from './sdk-package.ts';
import { agreement, openStage, type Stage } from './stage.ts';

const examples = join(projectFolder, 'deploy', 'examples');
/** Fetching Go from Debian's packages takes a minute or more where the cache has none. */
const goWithinMs = 420_000;

let stage: Stage;
let app: AppFolder;
/** Has `electord` in it, as a PATH that it was installed to. */
let bin: string;
const children: GuardedChild[] = [];

beforeAll(async () => {
  stage = await openStage({ size: 1 });
  app = await appWithClient();
  await copyFile(join(examples, 'node.mjs'), join(app.path, 'node.mjs'));
  bin = await mkdtemp(join(tmpdir(), 'electord-bin-'));
  const program = join(projectFolder, 'dist', 'electord.js');
  await writeFile(
    join(bin, 'electord'),
    `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`,
  );
  await chmod(join(bin, 'electord'), 0o755);
});
afterEach(async () => {
  await Promise.all(children.splice(0).map(stopGroup));
  await stage.clear();
});
afterAll(async () => {
  await stage.end();
  await app.remove();
  await rm(bin, { recursive: true, force: true });
});

/** A script's own children go with it, as where a service manager or a terminal ends it. */
async function stopGroup(child: GuardedChild): Promise<void> {
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
  await child.exited;
}

interface Started {
  readonly child: GuardedChild;
  readonly lines: readonly string[];
}

async function start(
  [file = '', ...args]: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Started> {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('ELECTORD_'));
  const PATH = [bin, process.env['PATH'] ?? ''].join(delimiter);
  const lines: string[] = [];
  const child = await spawnGuarded({
    file,
    args,
    env: { ...Object.fromEntries(own), PATH, ...env },
    onLine: (line) => lines.push(line),
  });
  children.push(child);
  return { child, lines };
}

const beside = ({ localUrl }: Sidecar): Readonly<Record<string, string>> => ({
  ELECTORD_LOCAL_URL: localUrl,
});

async function toEnd(command: readonly string[], sidecar: Sidecar): Promise<ChildExit & Started> {
  const started = await start(command, beside(sidecar));
  return { ...(await started.child.exited), ...started };
}

const worked = (token: string): string => `work done, fencing token ${token}`;

/** The one beside the leader works, the other does not, and they change places. */
async function worksOnlyWhileLeading(election: string, command: readonly string[]): Promise<void> {
  const sidecars = await Promise.all(['a', 'b'].map((id) => stage.sidecar({ election, id })));
  const { leader, others, token } = await agreement(sidecars);
  const [other] = others as [Sidecar];
  const [first, second] = await Promise.all([
    start(command, beside(leader)),
    start(command, beside(other)),
  ]);
  const has = (started: Started, what: string) =>
    eventually(() => started.lines.filter((line) => line === what).length >= 3, {
      withinMs: 20_000,
      what: `"${what}" three times in ${JSON.stringify(started.lines.slice(-5))}`,
    });
  await has(first, worked(token));
  expect(second.lines).toEqual([]);

  const done = await other.get<{ fencingToken: string }>('/switchover', {
    method: 'POST',
    local: true,
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ to: other.id }),
    timeoutMs: 10_000,
  });
  expect(done.status, done.text).toBe(200);
  const next = done.body.fencingToken;
  expect(BigInt(next)).toBeGreaterThan(BigInt(token));
  await has(second, worked(next));
  const { length } = first.lines;
  await has(second, worked(next));
  await eventually(() => second.lines.length >= 10, {
    withinMs: 20_000,
    what: 'ten pieces of work',
  });
  expect(first.lines.length).toBe(length);
  expect(new Set(first.lines)).toEqual(new Set([worked(token)]));
  expect(new Set(second.lines)).toEqual(new Set([worked(next)]));
}

test('Node, with the client', { timeout: 90_000 }, () =>
  worksOnlyWhileLeading('example-node', [process.execPath, join(app.path, 'node.mjs')]),
);

test('Python', { timeout: 90_000 }, () =>
  worksOnlyWhileLeading('example-python', ['python3', join(examples, 'python.py')]),
);

test('a shell script that waits', { timeout: 90_000 }, () =>
  worksOnlyWhileLeading('example-shell', ['sh', join(examples, 'shell.sh')]),
);

test('Go', { timeout: goWithinMs + 90_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'electord-go-'));
  try {
    const { env } = await findPrograms({
      packages: ['golang-go'],
      // It names the tools that come in another package; gofmt has no command that does nothing.
      proof: [
        ['go', 'version'],
        ['go', 'tool', 'compile', '-V'],
        ['gofmt', '-l', join(examples, 'main.go')],
      ],
    });
    const program = join(folder, 'example');
    const go = await start(['go', 'build', '-o', program, join(examples, 'main.go')], {
      ...(env as Record<string, string>),
      ...goEnvironment(folder),
    });
    expect((await go.child.exited).code, go.lines.join('\n')).toBe(0);
    const unformatted = await start(
      ['gofmt', '-l', join(examples, 'main.go')],
      env as Record<string, string>,
    );
    await unformatted.child.exited;
    expect(unformatted.lines).toEqual([]);
    await worksOnlyWhileLeading('example-go', [program]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

/** Nothing is downloaded, nothing of the user's is read, and no C compiler is needed. */
const goEnvironment = (folder: string): Record<string, string> => ({
  GOCACHE: join(folder, 'cache'),
  GOPATH: join(folder, 'path'),
  GOENV: 'off',
  GOFLAGS: '-mod=mod',
  GOPROXY: 'off',
  CGO_ENABLED: '0',
  GO111MODULE: 'off',
});

test(
  'curl: once where this instance leads, 75 where not, killed when the validity ends',
  { timeout: 60_000 },
  async () => {
    const sidecars = await Promise.all(
      ['a', 'b'].map((id) => stage.sidecar({ election: 'example-curl', id })),
    );
    const { leader, others, token } = await agreement(sidecars);
    const example = ['sh', join(examples, 'curl.sh')];
    const work = [
      ...example,
      'sh',
      '-c',
      'echo "work done, fencing token $ELECTORD_FENCING_TOKEN"',
    ];
    expect(await toEnd(work, leader)).toMatchObject({ code: 0, lines: [worked(token)] });
    const refused = await toEnd(work, others[0]!);
    expect(refused.code).toBe(75);
    expect(refused.lines.join('\n')).not.toContain('work done');
    const began = performance.now();
    const cut = await toEnd([...example, 'sleep', '30'], leader);
    expect(cut.code ?? cut.signal).not.toBe(0);
    expect(performance.now() - began).toBeLessThan(15_000);
  },
);

test('electord run', { timeout: 60_000 }, async () => {
  const command = ['electord', 'run', '--election=example-run', '--id=a', '--ttl=2s'];
  const listeners = ['--listen=127.0.0.1:0', '--local-listen=127.0.0.1:0'];
  const etcd = `--etcd=${stage.cluster.endpoints.join(',')}`;
  const { child, lines } = await start(
    [
      join(bin, command[0]!),
      ...command.slice(1),
      ...listeners,
      etcd,
      '--',
      'sh',
      join(examples, 'worker.sh'),
    ],
    {},
  );
  const isWork = (line: string): boolean => /^work done, fencing token \d+$/.test(line);
  await eventually(() => lines.some(isWork), {
    withinMs: 20_000,
    what: `work: ${lines.join('\n')}`,
  });
  const token = /\d+$/.exec(lines.find(isWork)!)![0];
  child.signal('SIGTERM');
  await child.exited;
  expect(lines).toContain(`stopping, fencing token ${token}`);
});
