// What `--help` says beyond names: of every flag what is allowed, what holds without it and whether it must be given; of
// every command an example. It also says where to look after an argument that cannot be used.
import { Option, type Command, type Help } from 'commander';
import type { Setting } from '../config/settings.ts';

/** One a command: a line that works once its addresses and names are one's own. */
const examples: Readonly<Record<string, string>> = {
  serve:
    'electord --election orders --etcd http://10.0.0.1:2379 --advertise http://10.0.0.7:8080 --app-check http://127.0.0.1:8080/health',
  run: 'electord run --restart --election outbox --etcd http://10.0.0.1:2379 -- ./send-outbox',
  status: 'electord status --watch',
  history: 'electord history --limit 5',
  audit: 'electord audit --election orders',
  wait: 'electord wait --for leader --timeout 30s',
  'hand-over': 'electord hand-over --reason "the node is drained"',
  'step-down': 'electord step-down --reason "new disk" --not-for 10m',
  switchover: 'electord switchover --to orders-1 --reason "new disk in orders-0"',
  pause: 'electord pause --for 30m --reason "etcd is upgraded"',
  resume: 'electord resume',
  completion: 'source <(electord completion bash)',
  backup: 'electord backup --all --etcd http://10.0.0.1:2379 --output electord.backup',
  restore:
    'electord restore --election orders --etcd http://10.0.0.1:2379 --input electord.backup --replace',
  'etcd-role': 'electord etcd-role --election orders --user orders',
  dev: 'electord dev --once',
};

/** What stands for a value, where the flag itself does not say more. */
const allowed: Readonly<Record<string, string>> = {
  COUNT: 'a whole number above 0',
  DURATION: 'a number with a unit, such as 500ms, 30s, 10m or 1h',
  FILE: 'the path of a file',
  ID: 'the id of a member, as status shows it',
  NAME: 'a name out of A-Z a-z 0-9 . _ -',
  TEXT: 'a text of at most 500 characters',
  WHO: 'a text of at most 128 characters',
  URL: 'http://host:port, https://host:port or unix:/path',
};

/** Where to look. */
export const helpHint =
  'Run "electord --help" for the commands, "electord serve --help" for every setting.';

/** A setting as a flag. What is allowed is checked with all other settings, so that all faults are told at once. */
export function flagOf(setting: Setting): Option {
  const { name, placeholder, doc, variable, defaultText, required } = setting;
  const facts = [
    required ? 'required' : null,
    `allowed: ${setting.allowed}`,
    defaultText === null ? null : `default: ${defaultText}`,
    `or ${variable}`,
  ].filter((fact) => fact !== null);
  const option = new Option(`--${name} <${placeholder}>`, `${doc} [${facts.join('; ')}]`);
  if (!setting.many) return option;
  return option.argParser((value: string, previous: string[] | undefined) => [
    ...(previous ?? []),
    value,
  ]);
}

/** The description of a flag with, in brackets at its end, all that is to be known of its value. */
function described({ description, flags, mandatory, argChoices, defaultValue }: Option): string {
  const placeholder = /<(.*)>/.exec(flags)?.[1];
  if (placeholder === undefined) return description;
  const choices = argChoices ?? (placeholder.includes('|') ? placeholder.split('|') : null);
  const values = choices === null ? allowed[placeholder] : choices.join(', ');
  const facts = [
    mandatory ? 'required' : null,
    values === undefined || /allowed: /.test(description) ? null : `allowed: ${values}`,
    typeof defaultValue === 'string' ? `default: ${defaultValue}` : null,
  ].filter((fact) => fact !== null);
  if (facts.length === 0) return description;
  const [, text = description, given] = /^(.*) \[(.*)\]$/.exec(description) ?? [];
  return `${text} [${[...facts, ...(given === undefined ? [] : [given])].join('; ')}]`;
}

/** For `configureHelp`, before any command is added: they inherit it. */
export const helpStyle: Partial<Help> = { optionDescription: described };

/** For when all commands are there. */
export function addExamples(program: Command): void {
  for (const command of program.commands) {
    const example = examples[command.name()];
    if (example !== undefined) command.addHelpText('after', `\nExample:\n  ${example}`);
    command.showHelpAfterError(`Run "electord ${command.name()} --help" to see what it takes.`);
  }
  const [first = '', second = ''] = [examples['serve'], examples['status']];
  program.addHelpText(
    'after',
    `\nWithout a command it is serve. "electord COMMAND --help" shows all that a command takes.\n\nExamples:\n  ${first}\n  ${second}`,
  );
}
