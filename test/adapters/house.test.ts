// The drawings of the house in the documents are true: they show the floors that `npm run check` holds, every room of src
// stands in them, and every import points down. And the floors bite: an import that they forbid is refused in each room.
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { cruise, type ICruiseResult } from 'dependency-cruiser';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { floors, house } from '../../scripts/floors.mjs';

const root = resolve(import.meta.dirname, '../..');
const source = join(root, 'src');

/** The floors of the first drawing in a document, from the roof down: what stands between the bars. */
function drawn(file: string): string[][] {
  const text = readFileSync(join(root, file), 'utf8');
  const box = /┌─+┐\n(.*?)└─+┘/s.exec(text)?.[1] ?? '';
  return box
    .split(/^├─+┤.*$/m)
    .map((floor) =>
      [...floor.matchAll(/^│ (.*?)│/gm)].flatMap(([, row = '']) => row.trim().split(/\s+/)),
    );
}

/** Every `from '…'` and `import('…')` between two files of src. */
function importsWithin(folder: string): { from: string; to: string }[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .flatMap((name) => {
      const file = join(folder, name);
      const found = readFileSync(file, 'utf8').matchAll(/(?:from |import\()'(\.[^']+)'/g);
      return [...found].map(([, to = '']) => ({
        from: name,
        to: relative(folder, resolve(dirname(file), to)),
      }));
    });
}

const roomOf = (path: string): string => path.split('/')[0] ?? '';

describe.each(['docs/architecture.md', 'README.md'])('the drawing in %s', (file) => {
  it('shows the floors that the gate holds', () => {
    expect(drawn(file).map((floor) => floor.toSorted())).toEqual(
      house.map((floor) => floor.toSorted()),
    );
  });

  it('has a place for everything in src', () => {
    expect(drawn(file).flat()).toEqual(expect.arrayContaining(readdirSync(source)));
  });

  it('has every import point down', () => {
    const floorOf = new Map(
      drawn(file).flatMap((floor, height) => floor.map((room) => [room, height])),
    );
    const imports = importsWithin(source).filter(({ to }) => !to.startsWith('..'));
    expect(imports.length).toBeGreaterThan(300);
    const known = ['contract.ts', 'errors.ts', 'ports.ts', 'store-port.ts'];
    const wrong = imports.filter(({ from, to }) => {
      const [above, below] = [roomOf(from), roomOf(to)];
      if (above === below || (known.includes(above) && known.includes(below))) return false;
      return (floorOf.get(below) ?? -1) <= (floorOf.get(above) ?? -1);
    });
    expect(wrong).toEqual([]);
  });
});

describe('the floors', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'electord-house-'));
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  /** The rules that a house of these files breaks; each file imports what is named. */
  async function brokenBy(files: Record<string, string | null>): Promise<string[]> {
    for (const [name, imported] of Object.entries(files)) {
      const file = join(folder, 'src', name);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, imported === null ? 'export {};\n' : `import '${imported}';\n`);
    }
    const { output } = await cruise(['src'], {
      ...floors.options,
      baseDir: folder,
      ruleSet: { forbidden: floors.forbidden },
      validate: true,
    });
    return (output as ICruiseResult).summary.violations.map(({ rule }) => rule.name);
  }

  it.each([
    ['proxy/tcp.ts', 'http/listen.ts', 'proxy-imports-only-below'],
    ['proxy/tcp.ts', 'app.ts', 'proxy-imports-only-below'],
    ['grpc-health/service.ts', 'elector/elector.ts', 'grpc-health-imports-only-below'],
    ['http/health.ts', 'proxy/tcp.ts', 'http-imports-only-below'],
    ['process/clock.ts', 'config/duration.ts', 'process-imports-only-below'],
    ['core/witness.ts', 'core/decide.ts', 'witness-and-balance-know-only-the-model'],
    ['core/balance.ts', 'core/witness.ts', 'witness-and-balance-know-only-the-model'],
    ['core/witness.ts', 'ports.ts', 'core-imports-only-below'],
    ['app.ts', 'dev/stage.ts', 'app.ts-imports-only-below'],
    [
      'dev/stage.ts',
      'cli/serve.ts',
      'the-place-to-try-it-in-runs-the-product-and-imports-none-of-it',
    ],
    ['cli/backup.ts', 'etcd/coordinator.ts', 'only-the-composition-root-knows-everybody'],
    ['etcd/access.ts', 'config/configuration.ts', 'etcd-imports-only-below'],
    ['ports.ts', 'process/clock.ts', 'ports.ts-imports-only-below'],
  ])('do not let %s import %s', async (from, to, rule) => {
    const path = relative(dirname(join('src', from)), join('src', to));
    const broken = await brokenBy({
      [from]: path.startsWith('.') ? path : `./${path}`,
      [to]: null,
    });
    expect(broken).toContain(rule);
  });

  it.each([
    ['http/probes.ts', 'express', 'probes-need-no-express'],
    ['http/health.ts', '@grpc/grpc-js', 'grpc-lives-in-etcd-and-grpc-health'],
    ['proxy/http.ts', 'etcd3', 'etcd3-lives-in-etcd'],
    ['core/witness.ts', 'node:net', 'core-imports-nothing-but-itself'],
  ])('do not let %s import the package %s', async (from, vendor, rule) => {
    expect(await brokenBy({ [from]: vendor })).toContain(rule);
  });

  it('do not let the probes reach Express through another file', async () => {
    const broken = await brokenBy({
      'http/probes.ts': './answers.ts',
      'http/answers.ts': 'express',
    });
    expect(broken).toEqual(['probes-need-no-express']);
  });

  it.each([
    ['proxy/tcp.ts', '../core/model.ts', 'core/model.ts'],
    ['core/witness.ts', './timing.ts', 'core/timing.ts'],
    ['grpc-health/service.ts', '../ports.ts', 'ports.ts'],
    ['cli/backup.ts', '../etcd/access.ts', 'etcd/access.ts'],
  ])('let %s import %s', async (from, path, to) => {
    expect(await brokenBy({ [from]: path, [to]: null })).toEqual([]);
  });
});
