// The kubectl of this machine and the one of Debian's packages, whichever there are, for rendering kustomizations
// offline, and a check of what comes out against the schemas of Kubernetes 1.30. It never talks to a cluster.
import { cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import ts from 'typescript';
import { parse, parseAllDocuments, stringify } from 'yaml';
import { complaint, runCommand } from '../../src/dev/etcd-command.ts';
import { projectFolder } from './binaries.ts';
import { unpackedPrograms } from './programs.ts';

/** Anything that Kubernetes stores. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
}

/** One kubectl. */
export interface Kubectl {
  readonly version: string;
  /**
   * Renders a folder below `folder` by its kustomization.
   *
   * @throws Error with what kubectl said.
   */
  render(folder: string, name: string): Promise<KubernetesObject[]>;
}

const kubectlTimeoutMs = 60_000;

interface Kustomization {
  readonly resources?: readonly string[];
  readonly patches?: readonly { readonly path: string }[];
}

/**
 * The kustomize of kubectl before 1.21 has other words for two things that ours say. Translated in a copy: all else is
 * read as it stands.
 */
async function inOldWords(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await inOldWords(path);
    if (entry.name !== 'kustomization.yaml') continue;
    const {
      resources = [],
      patches = [],
      ...rest
    } = parse(await readFile(path, 'utf8')) as Kustomization;
    const old = {
      ...rest,
      bases: resources.filter((name) => !name.endsWith('.yaml')),
      resources: resources.filter((name) => name.endsWith('.yaml')),
      patchesStrategicMerge: patches.map(({ path: patch }) => patch),
    };
    await writeFile(path, stringify(old));
  }
}

async function kubectl(file: string, env: NodeJS.ProcessEnv): Promise<Kubectl> {
  const run = async (...args: string[]): Promise<string> => {
    const result = await runCommand(file, args, { timeoutMs: kubectlTimeoutMs, env });
    if (result.code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${complaint(result)}`);
    return result.stdout;
  };
  const told = JSON.parse(await run('version', '--client', '-o', 'json')) as {
    readonly clientVersion: { readonly gitVersion: string };
    readonly kustomizeVersion?: string;
  };
  const isOld = told.kustomizeVersion === undefined;
  return {
    version: `${told.clientVersion.gitVersion}, kustomize ${told.kustomizeVersion ?? '2'}`,
    render: async (folder, name) => {
      const copy = await mkdtemp(join(tmpdir(), 'electord-kustomize-'));
      try {
        const root = join(copy, basename(folder));
        await cp(folder, root, { recursive: true });
        if (isOld) await inOldWords(root);
        const documents = parseAllDocuments(await run('kustomize', join(root, name)));
        return documents.map((document) => document.toJS() as KubernetesObject);
      } finally {
        await rm(copy, { recursive: true, force: true });
      }
    },
  };
}

/**
 * All that can be had, at least one.
 *
 * @throws Error that says why there is none.
 */
export async function kubectls(): Promise<Kubectl[]> {
  const debian = async (): Promise<Kubectl> => {
    const proof = [['kubectl', 'version', '--client']] as const;
    const { env } = await unpackedPrograms({ packages: ['kubernetes-client'], proof });
    return kubectl('kubectl', env);
  };
  const tried = await Promise.allSettled([kubectl('kubectl', process.env), debian()]);
  const found = tried.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  if (found.length > 0) return found;
  throw new AggregateError(
    tried.map((each) => (each.status === 'rejected' ? each.reason : null) as unknown),
    `no kubectl: ${tried.map((each) => (each.status === 'rejected' ? String(each.reason) : '')).join('; ')}`,
  );
}

/**
 * Everything in the objects that the schemas of their kinds do not have, lack or have otherwise: complaints of the
 * compiler about them as literals of the types that kubernetes-types has generated from those schemas.
 */
export async function schemaFaults(objects: readonly KubernetesObject[]): Promise<string[]> {
  const lines = objects.map(({ apiVersion, kind, ...rest }, index) => {
    const [group = '', version = 'v1'] = apiVersion.includes('/')
      ? apiVersion.split('/')
      : ['core', apiVersion];
    const from = `kubernetes-types/${group.split('.')[0] ?? ''}/${version}.d.ts`;
    const literal = JSON.stringify({ apiVersion, kind, ...rest });
    return `export const object${index}: import('${from}').${kind} = ${literal};`;
  });
  const folder = join(projectFolder, '.cache', 'kubernetes');
  await mkdir(folder, { recursive: true });
  const work = await mkdtemp(join(folder, 'rendered-'));
  try {
    const file = join(work, 'objects.ts');
    await writeFile(file, lines.join('\n'));
    const program = ts.createProgram([file], {
      strict: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
      skipLibCheck: true,
      lib: ['lib.es2022.d.ts'],
      types: [],
      module: ts.ModuleKind.NodeNext,
    });
    return ts.getPreEmitDiagnostics(program).map(({ messageText, start, file: source }) => {
      const message = ts.flattenDiagnosticMessageText(messageText, ' ');
      const at =
        source === undefined || start === undefined ? '' : source.text.slice(start, start + 40);
      return `${message} (at ${at})`;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
