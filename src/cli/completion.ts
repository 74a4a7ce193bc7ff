// `electord completion`: what the command line knows, as a script that a shell completes by. It is made from the program
// itself, so that it cannot be out of date. Files are completed by the shell; ids of members are not looked up.
import type { Command, Option } from 'commander';
import { shells, type Shell } from './choices.ts';
import { say } from './output.ts';
import { exitCodes } from './exit-codes.ts';

interface Flag {
  readonly name: string;
  readonly description: string;
  /** `none`: it takes no value. */
  readonly takes: 'none' | 'file' | 'words' | 'text';
  readonly words: readonly string[];
}

interface Known {
  readonly name: string;
  readonly description: string;
  readonly flags: readonly Flag[];
  readonly words: readonly string[];
}

/** Prints the script; resolves with the exit code. */
export function completion(program: Command, shell: Shell): Promise<number> {
  say(scripts[shell](commandsOf(program)));
  return Promise.resolve(exitCodes.clean);
}

/** A placeholder says what belongs there: `FILE`, or `lead|none`. */
function flagOf({ long, flags, description, argChoices }: Option): Flag {
  const placeholder = /<(.*)>/.exec(flags)?.[1];
  const words = argChoices ?? (placeholder?.includes('|') === true ? placeholder.split('|') : []);
  const takes = placeholder === undefined ? 'none' : placeholder === 'FILE' ? 'file' : 'text';
  // The first sentence is enough for one line, and no shell needs to quote what is left.
  const short = description.replace(/ \[.*$/, '').replace(/[^\w ,.:;/()=-]/g, '');
  return { name: long ?? '', description: short, takes: words.length > 0 ? 'words' : takes, words };
}

function commandsOf(program: Command): readonly Known[] {
  const help = { name: '--help', description: 'show help', takes: 'none', words: [] } as const;
  // What help shows: hidden commands stay hidden.
  return program
    .createHelp()
    .visibleCommands(program)
    .filter((command) => command.name() !== 'help')
    .map((command) => ({
      name: command.name(),
      description: command.description().replace(/[^\w ,.:;/()=-]/g, ''),
      flags: [...command.options.map(flagOf), help],
      words: command.name() === 'completion' ? shells : [],
    }));
}

const names = (things: readonly { readonly name: string }[]): string =>
  things.map(({ name }) => name).join(' ');

function bash(commands: readonly Known[]): string {
  const cases = commands.flatMap(({ name, flags, words }) => [
    `    ${name}) flags='${names(flags)}'; words='${words.join(' ')}' ;;`,
  ]);
  const replies = {
    file: () => 'COMPREPLY=($(compgen -f -- "$current"))',
    words: ({ words }: Flag) => `COMPREPLY=($(compgen -W '${words.join(' ')}' -- "$current"))`,
    text: () => 'COMPREPLY=()',
  };
  const values = commands.flatMap(({ name, flags }) =>
    flags.flatMap((flag) =>
      flag.takes === 'none'
        ? []
        : [`    '${name} ${flag.name}') ${replies[flag.takes](flag)}; return ;;`],
    ),
  );
  return `# bash completion for electord; load it with: source <(electord completion bash)
_electord() {
  local current=\${COMP_WORDS[COMP_CWORD]} before='' command='' flags='' words='' word
  [ "$COMP_CWORD" -gt 0 ] && before=\${COMP_WORDS[COMP_CWORD-1]}
  # bash takes --flag=value for three words.
  if [ "$current" = '=' ]; then current=''
  elif [ "$before" = '=' ]; then before=\${COMP_WORDS[COMP_CWORD-2]}; fi
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in
      -*|=) ;;
      ${commands.map(({ name }) => name).join('|')}) command=$word; break ;;
    esac
  done
  case "$command $before" in
${values.join('\n')}
  esac
  case $command in
${cases.join('\n')}
    *) flags='--help --version'; words='${names(commands)}' ;;
  esac
  case $current in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
  esac
}
complete -F _electord electord`;
}

function zsh(commands: readonly Known[]): string {
  const described = commands.map(({ name, description }) => `    '${name}:${plain(description)}'`);
  const argument = ({ name, description, takes, words }: Flag): string => {
    const title = `[${plain(description)}]`;
    if (takes === 'none') return `'${name}${title}'`;
    const value = takes === 'file' ? '_files' : takes === 'words' ? `(${words.join(' ')})` : ' ';
    return `'${name}=${title}:value:${value}'`;
  };
  const cases = commands.map(({ name, flags, words }) => {
    const list = [
      ...flags.map(argument),
      ...(words.length === 0 ? [] : [`'1:shell:(${words.join(' ')})'`]),
    ];
    return `        ${name}) _arguments ${list.join(' ')} ;;`;
  });
  return `#compdef electord
# zsh completion for electord; put it as _electord into a folder of $fpath, or: source <(electord completion zsh)
_electord() {
  local line state
  local -a commands=(
${described.join('\n')}
  )
  _arguments -C '--help[show help]' '--version[show the version]' '1:command:->command' '*::argument:->argument'
  case $state in
    command) _describe command commands ;;
    argument)
      case $line[1] in
${cases.join('\n')}
      esac ;;
  esac
}
if [ "$funcstack[1]" = _electord ]; then _electord "$@"; else compdef _electord electord; fi`;
}

/** Brackets and colons mean something to zsh. */
const plain = (text: string): string => text.replace(/[[\]:']/g, ' ');

function fish(commands: readonly Known[]): string {
  const lines = commands.flatMap(({ name, description, flags, words }) => [
    `complete -c electord -n __fish_use_subcommand -a ${name} -d '${description}'`,
    ...flags.map((flag) => {
      const where = `complete -c electord -n '__fish_seen_subcommand_from ${name}'`;
      const long = `-l ${flag.name.replace(/^--/, '')} -d '${flag.description}'`;
      if (flag.takes === 'none') return `${where} ${long}`;
      if (flag.takes === 'file') return `${where} -r -F ${long}`;
      return `${where} -x ${flag.takes === 'words' ? `-a '${flag.words.join(' ')}' ` : ''}${long}`;
    }),
    ...(words.length === 0
      ? []
      : [`complete -c electord -n '__fish_seen_subcommand_from ${name}' -a '${words.join(' ')}'`]),
  ]);
  return `# fish completion for electord; load it with: electord completion fish | source
complete -c electord -f
complete -c electord -n __fish_use_subcommand -l version -d 'show the version'
${lines.join('\n')}`;
}

const scripts: Readonly<Record<Shell, (commands: readonly Known[]) => string>> = {
  bash,
  zsh,
  fish,
};
