// The small programs that run on the hosts (probe, app, slow link, crowd, what is no etcd, peer), bundled from this folder for a run, and a
// copy of the built sidecar, so that a build which happens meanwhile does not change what is being judged.
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { projectFolder } from '../harness/binaries.ts';
import { isAlive } from './hosts.ts';

/** Where the programs of a run are. */
export interface Programs {
  readonly electord: string;
  /** The beginning of the sidecar's SHA-256, for the report. */
  readonly electordDigest: string;
  readonly probe: string;
  readonly app: string;
  readonly slowLink: string;
  readonly crowd: string;
  readonly noEtcd: string;
  readonly peer: string;
  /** Removes them. */
  readonly remove: () => void;
}

/**
 * Bundles the programs; packages stay outside. `program` is another build of the sidecar than the project's.
 *
 * @throws Error when the sidecar has not been built.
 */
export async function buildPrograms(program: string | null): Promise<Programs> {
  const built = program ?? join(projectFolder, 'dist', 'electord.js');
  if (!existsSync(built)) throw new Error(`${built} is missing: run npm run build first`);
  // Inside the project, so that packages are found.
  const base = join(projectFolder, '.cache', 'faults');
  mkdirSync(base, { recursive: true });
  sweep(base);
  const folder = join(base, `programs-${process.pid}`);
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.on('exit', remove);
  mkdirSync(folder, { recursive: true });
  const names = ['probe', 'app', 'slow-link', 'crowd', 'no-etcd', 'peer-etcd3'] as const;
  await build({
    absWorkingDir: projectFolder,
    entryPoints: names.map((name) => join('test', 'faults', 'programs', `${name}.ts`)),
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    packages: 'external',
    logLevel: 'warning',
  });
  const electord = join(folder, 'electord.js');
  copyFileSync(built, electord);
  const digest = createHash('sha256').update(readFileSync(electord)).digest('hex');
  return {
    electord,
    electordDigest: digest.slice(0, 12),
    probe: join(folder, 'probe.mjs'),
    app: join(folder, 'app.mjs'),
    slowLink: join(folder, 'slow-link.mjs'),
    crowd: join(folder, 'crowd.mjs'),
    noEtcd: join(folder, 'no-etcd.mjs'),
    peer: join(folder, 'peer-etcd3.mjs'),
    remove: () => {
      process.off('exit', remove);
      remove();
    },
  };
}

/** Removes what runs that were killed have left. */
function sweep(base: string): void {
  for (const name of readdirSync(base)) {
    const pid = Number(/^programs-(\d+)$/.exec(name)?.[1] ?? process.pid);
    if (pid === process.pid || isAlive(pid)) continue;
    rmSync(join(base, name), { recursive: true, force: true });
  }
}
