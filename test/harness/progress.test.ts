// A test that is left out is named at the end of a run, with its reason: a real run of vitest over files of our own.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runCommand } from '../../src/dev/etcd-command.ts';
import { projectFolder } from './binaries.ts';

const file = `
import { describe, expect, test } from 'vitest';
import { leftOut } from '${join(projectFolder, 'test/harness/left-out.ts')}';
test('runs', leftOut(null), () => expect(1).toBe(1));
test('is left out', leftOut('no moon'), () => expect(1).toBe(2));
describe('a group', leftOut('no sun'), () => {
  test('with a test', () => expect(1).toBe(2));
});
`;

test('what is left out is told at the end, with its reason; what ran is not', async () => {
  const folder = await mkdtemp(join(projectFolder, '.cache/progress-'));
  try {
    await writeFile(join(folder, 'some.test.ts'), file);
    await writeFile(join(folder, 'vitest.config.mjs'), 'export default {};\n');
    const reporter = join(projectFolder, 'test/harness/progress.ts');
    const vitest = join(projectFolder, 'node_modules/vitest/vitest.mjs');
    const flags = ['run', `--root=${folder}`, `--reporter=${reporter}`];
    const { code, stdout, stderr } = await runCommand(process.execPath, [vitest, ...flags], {
      timeoutMs: 50_000,
    });
    expect(code, stderr).toBe(0);
    expect(stdout).toContain(
      [
        '2 tests did not run:',
        '  some.test.ts: is left out: no moon',
        '  some.test.ts: a group > with a test: no sun',
      ].join('\n'),
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
