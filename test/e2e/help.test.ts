// What the command line says to somebody who does not know it: each command's `--help` has every flag, with what is allowed
// and whether it must be given, and an example that works; a slip of the fingers is named.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { settings } from '../../src/config/settings.ts';
import { projectFolder } from '../harness/binaries.ts';
import { run } from './program.ts';

/** `--flag` to all that is said of it, line ends folded. */
function flagsIn(help: string): ReadonlyMap<string, string> {
  const flags = new Map<string, string>();
  const [, list = ''] = /\nOptions:\n([^]*?)(?:\n\n|$)/.exec(help) ?? [];
  for (const text of list.split(/\n(?= {2}-)/)) {
    const [, flag = ''] = /^ *(?:-\w, )?(--[\w-]+)/.exec(text) ?? [];
    flags.set(flag, text.replace(/\s+/g, ' '));
  }
  return flags;
}

const helps = new Map<string, Promise<string>>();

function helpOf(command?: string): Promise<string> {
  const words = command === undefined ? ['--help'] : [command, '--help'];
  const help = helps.get(words.join()) ?? printedBy(words);
  helps.set(words.join(), help);
  return help;
}

async function printedBy(words: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(words);
  expect({ code, stderr }, words.join(' ')).toEqual({ code: 0, stderr: [] });
  return stdout.join('\n');
}

async function commands(): Promise<readonly string[]> {
  const [, list = ''] = /\nCommands:\n([^]*?)\n\n/.exec(await helpOf()) ?? [];
  const names = [...list.matchAll(/^ {2}([a-z-]+)/gm)].map(([, name = '']) => name);
  return names.filter((name) => name !== 'help');
}

test('every command shows every flag, what is allowed, what is required, and an example', async () => {
  const names = await commands();
  expect(names).toEqual(expect.arrayContaining(['serve', 'run', 'status', 'restore', 'dev']));
  for (const name of names) {
    const help = await helpOf(name);
    const flags = flagsIn(help);
    for (const [flag, text] of flags) {
      if (text.includes('<')) expect(text, `${name} ${flag}`).toMatch(/allowed: \S/);
    }
    const [, example = ''] = /\nExample:\n {2}(.*)$/.exec(help.trimEnd()) ?? [];
    expect(example, name).toContain(name === 'serve' ? 'electord --election' : `electord ${name}`);
    const [own = ''] = example.split(' -- ');
    for (const [flag] of own.matchAll(/--[\w-]+/g)) expect([...flags.keys()], name).toContain(flag);
  }
});

test('no command takes a flag that its help does not show', async () => {
  // The completion is made of all that is taken, shown or not.
  const taken = (await run(['completion', 'bash'])).stdout.join('\n');
  for (const name of await commands()) {
    const [, flags = ''] = new RegExp(`^ +${name}\\) flags='(.*?)'`, 'm').exec(taken) ?? [];
    const shown = [...flagsIn(await helpOf(name)).keys()];
    expect(shown.toSorted(), name).toEqual(flags.split(' ').toSorted());
  }
});

test('what the reference says of the commands, each has in its help', async () => {
  const reference = readFileSync(join(projectFolder, 'docs/reference.md'), 'utf8');
  const [, section = ''] = /\n## Commands\n([^]*?)\n## /.exec(reference) ?? [];
  const [table = '', asking = ''] = section.trim().split('\n\n');
  const told = [...table.matchAll(/^\| (`electord .*?) +\| (.*) \|$/gm)].map((row) => ({
    of: [...(row[1] ?? '').matchAll(/`electord \[?([a-z-]+)/g)].map(([, name = '']) => name),
    flags: [...row[0].matchAll(/--[a-z][\w-]*/g)].map(([flag]) => flag),
  }));
  const names = await commands();
  expect(told.flatMap(({ of }) => of).toSorted()).toEqual(names.toSorted());
  const of = new Map<string, readonly string[]>();
  for (const name of names) of.set(name, [...flagsIn(await helpOf(name)).keys()]);
  for (const { of: some, flags } of told) {
    const shown = some.flatMap((name) => of.get(name) ?? []);
    expect(shown, some.join()).toEqual(expect.arrayContaining(flags));
  }
  const common = ['--url', '--election', '--token-file', '--json'];
  const ofVerbs = ['--reason', '--by', '--all'];
  for (const flag of [...common, ...ofVerbs]) expect(asking).toContain(`\`${flag}`);
  const verbs = ['step-down', 'switchover', 'pause', 'resume'];
  for (const name of ['status', 'history', 'audit', 'wait', ...verbs]) {
    const wanted = verbs.includes(name) ? [...common, ...ofVerbs] : common;
    expect(of.get(name), name).toEqual(expect.arrayContaining(wanted));
  }
});

test('serve shows every setting that is a flag with its default and its variable', async () => {
  const flags = flagsIn(await helpOf('serve'));
  for (const { name, flag, allowed, defaultText, variable, required } of settings) {
    if (!flag) continue;
    const text = flags.get(`--${name}`) ?? '';
    expect(text).toContain(`allowed: ${allowed}`.replace(/\s+/g, ' '));
    expect(text).toContain(variable);
    if (defaultText !== null) expect(text).toContain(`default: ${defaultText}`);
    expect(text.includes('[required')).toBe(required);
  }
});

test('what must be given says so', async () => {
  expect(flagsIn(await helpOf('wait')).get('--for')).toMatch(/\[required; allowed: leader, /);
  expect(flagsIn(await helpOf('switchover')).get('--to')).toMatch(/\[required; allowed: the id/);
  expect(flagsIn(await helpOf('run')).get('--stop-signal')).toMatch(
    /allowed: .*; default: SIGTERM/,
  );
});

describe('a slip of the fingers', () => {
  test.each([[['stauts']], [['stauts', '--watch']], [['stauts', 'orders']]])(
    '%j: the command that was meant',
    async (args) => {
      const { code, stderr } = await run(args);
      expect(code).toBe(64);
      expect(stderr.join('\n')).toMatch(/unknown command 'stauts'\n\(Did you mean status\?\)/);
      expect(stderr.join('\n')).toContain('electord --help');
    },
  );

  test('a command behind flags is told from an argument', async () => {
    const { code, stderr } = await run(['--election=orders', 'status']);
    expect(code).toBe(64);
    expect(stderr.join('\n')).toMatch(/'status' is no argument of serve; a command comes before/);
  });

  test('nothing at all: what is missing, and where to look, each a line', async () => {
    const { code, stdout, stderr } = await run([]);
    expect({ code, stdout }).toEqual({ code: 78, stdout: [] });
    expect(stderr[0]).toMatch(/^--election is required\. Allowed: /);
    expect(stderr.at(-1)).toContain('electord --help');
  });
});
