// Programs for tests: what of the machine's packages is relied on when others are unpacked, and that what a test gets is
// one whole thing, the machine's or Debian's.
import { describe, expect, test } from 'vitest';
import { essentialStatus, findPrograms, programFile } from './programs.ts';

describe('the status of an apt that unpacks', () => {
  const stanza = (name: string, ...fields: readonly string[]): string =>
    [`Package: ${name}`, 'Status: install ok installed', ...fields].join('\n');
  const status = [
    stanza('dash', 'Essential: yes', 'Pre-Depends: libc6 (>= 2.34)', 'Depends: awk'),
    stanza('libc6', 'Depends: libgcc-s1, missing-alternative | libcrypt1:any (>= 1)'),
    stanza('libcrypt1'),
    stanza('libgcc-s1', 'Depends: libc6'),
    stanza('mawk', 'Provides: awk, nawk (= 1)'),
    stanza('golang-1.19-go', 'Depends: libc6'),
    stanza('iptables', 'Depends: libxtables12'),
    '',
  ].join('\n\n');

  test('has the essential packages and what they depend on, and nothing else that is installed', () => {
    const kept = [...essentialStatus(status).matchAll(/^Package: (.*)$/gm)].map(([, name]) => name);
    expect(kept.sort()).toEqual(['dash', 'libc6', 'libcrypt1', 'libgcc-s1', 'mawk']);
  });
});

test("the machine's own programs are taken when all of them work, and none of them otherwise", async () => {
  const packages = ['no-such-package-of-debian'];
  const own = await findPrograms({ packages, proof: [['sh', '-c', 'true']] });
  expect(own.root).toBe('/');
  expect(programFile('sh', own.env)).toMatch(/\/sh$/);
  const half = findPrograms({
    packages,
    proof: [
      ['sh', '-c', 'true'],
      ['sh', '-c', 'exit 1'],
    ],
  });
  await expect(half).rejects.toThrow(/no-such-package-of-debian: not to be had/);
});
