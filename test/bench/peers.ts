// Builds the peers that electord is measured against: those in TypeScript with esbuild, the one in Go with Debian's Go and
// Debian's etcd client, where the machine has them.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { complaint, runCommand } from '../../src/dev/etcd-command.ts';

/** The checkout: benchmarks are started there. */
export const root = process.cwd();

/** What a benchmark leaves behind. */
export const benchFolder = join(root, '.cache', 'bench');

/** One file for a program of this folder; packages stay outside. It is gone when this process is. */
export async function bundled(name: string, format: 'cjs' | 'esm' = 'esm'): Promise<string> {
  const folder = join(root, '.cache', 'run');
  const extension = format === 'cjs' ? 'cjs' : 'mjs';
  const program = join(folder, `${name}-${process.pid}.${extension}`);
  mkdirSync(folder, { recursive: true });
  await build({
    absWorkingDir: root,
    entryPoints: [join(root, 'test', 'bench', `${name}.ts`)],
    outfile: program,
    bundle: true,
    platform: 'node',
    format,
    target: 'node20.19',
    packages: 'external',
    logLevel: 'warning',
  });
  process.on('exit', () => rmSync(program, { force: true }));
  return program;
}

/** A program, or why there is none. */
export type Built = { readonly program: string } | { readonly absent: string };

/** Where Debian's golang-etcd-server-dev puts the sources of the client. */
const goSources = '/usr/share/gocode';
const longestGoBuildMs = 600_000;

/** Half a minute at first, then kept until its source or Go changes. */
export async function goPeer(): Promise<Built> {
  const { code, stdout: version } = await runCommand('go', ['version'], { timeoutMs: 20_000 });
  if (code !== 0) return { absent: "Go is not here (Debian's golang-go)" };
  if (!existsSync(join(goSources, 'src/go.etcd.io/etcd/clientv3/concurrency')))
    return { absent: "Go's client of etcd is not here (Debian's golang-etcd-server-dev)" };
  const source = join(root, 'test', 'bench', 'peer-go.go');
  const hash = createHash('sha256').update(version).update(readFileSync(source)).digest('hex');
  const program = join(benchFolder, `peer-go-${hash.slice(0, 12)}`);
  if (existsSync(program)) return { program };
  console.error('building the peer in Go, once');
  mkdirSync(benchFolder, { recursive: true });
  const unproven = `${program}.${process.pid}.tmp`;
  const built = await runCommand('go', ['build', '-o', unproven, source], {
    timeoutMs: longestGoBuildMs,
    env: {
      ...process.env,
      GO111MODULE: 'off',
      GOPATH: goSources,
      GOCACHE: join(benchFolder, 'go-cache'),
      CGO_ENABLED: '0',
    },
  });
  if (built.code !== 0) return { absent: `Go could not build it: ${complaint(built)}` };
  renameSync(unproven, program);
  return { program };
}
