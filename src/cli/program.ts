// The command line: which command with which flags. The flags of settings come from the one table of settings; only
// commander is asked to take arguments apart. What a command does is loaded only for that command: a script that asks for the
// status should not wait for etcd's client, nor a sidecar for what asks it.
import { Command, CommanderError, Option } from 'commander';
import { settings } from '../config/settings.ts';
import { version } from '../process/version.ts';
import type { BackupFlags } from './backup.ts';
import { stopSignals } from './choices.ts';
import type { EtcdRoleFlags } from './etcd-role.ts';
import { exitCodes } from './exit-codes.ts';
import type { HandOverFlags } from './hand-over.ts';
import { addExamples, flagOf, helpHint, helpStyle } from './help.ts';
import type { Flags } from './load.ts';
import { addOperatorCommands } from './operator-commands.ts';
import { printed } from './output.ts';
import type { RestoreFlags } from './restore.ts';
import type { RunFlags } from './run.ts';

type Action = () => Promise<number>;

/** Runs the command that `argv` (without node and file) names. Resolves with the exit code. */
export async function runProgram(argv: readonly string[]): Promise<number> {
  // A list, because commander calls actions for their effect: at most one is in it.
  const actions: Action[] = [];
  const program = build((action) => actions.push(action), settingsFor(argv[0] ?? 'serve'));
  try {
    await program.parseAsync(withCommand(argv, program), { from: 'user' });
  } catch (failure) {
    if (!(failure instanceof CommanderError)) throw failure;
    const { exitCode } = failure;
    return printed(() => (exitCode === 0 ? exitCodes.clean : exitCodes.usage));
  }
  const [action] = actions;
  return action === undefined ? exitCodes.usage : action();
}

/** Flags that are not those of `serve`. */
const ownFlags = ['-h', '--help', '-V', '--version'];

/**
 * Without a command it is `serve`, whose flags may come at once. A first word that is no command is left alone, so that
 * commander speaks of it, and not of the flags behind it.
 */
function withCommand(argv: readonly string[], { commands }: Command): readonly string[] {
  const [first] = argv;
  if (first === undefined) return ['serve'];
  if (first.startsWith('-')) return ownFlags.includes(first) ? argv : ['serve', ...argv];
  const isKnown = first === 'help' || commands.some((command) => command.name() === first);
  return isKnown ? argv : [first];
}

function build(choose: (action: Action) => void, addSettings: AddSettings): Command {
  const program = new Command('electord')
    .description(
      'A leader-election sidecar: campaigns for a lease-based key in etcd and answers over HTTP who leads.',
    )
    .version(version)
    .exitOverride()
    .configureHelp(helpStyle)
    .showHelpAfterError(helpHint)
    .enablePositionalOptions();
  const serving = program
    .command('serve')
    .description('run one sidecar in the foreground (the default)')
    .allowExcessArguments(true)
    .action((flags: Flags, own: Command) => {
      const [word] = own.args;
      if (word === undefined) choose(async () => (await import('./serve.ts')).serve(flags));
      else own.error(`error: '${word}' is no argument of serve; a command comes before its flags`);
    });
  addSettings(serving);
  const running = program
    .command('run')
    .description('run a command while this instance leads, and end with it')
    .argument('<command...>', 'the command and its arguments, best after --')
    .passThroughOptions()
    .addOption(
      new Option('--stop-signal <SIGNAL>', 'what asks the command to end')
        .choices(stopSignals)
        .default('SIGTERM'),
    )
    .addOption(
      new Option('--signal-scope <SCOPE>', 'whether its whole group is asked, or it alone')
        .choices(['process', 'group'])
        .default('group'),
    )
    .option('--restart', 'stay in the queue when leadership is lost, instead of ending with 75')
    .action((command: string[], flags: Flags & RunFlags) =>
      choose(async () => (await import('./run.ts')).run(flags, command)),
    );
  addSettings(running);
  const handing = program
    .command('hand-over')
    .description(
      'before this instance ends: give what it leads to the candidate that stays longest',
    )
    .allowExcessArguments(false)
    .option('--reason <TEXT>', 'why, for the audit log, the history and the log')
    .action((flags: Flags & HandOverFlags) =>
      choose(() => printed(async () => (await import('./hand-over.ts')).handOver(flags))),
    );
  addSettings(handing);
  addOperatorCommands(program, (action) => choose(() => printed(action)));
  addArchiveCommands(program, choose, addSettings);
  program
    .command('dev')
    .description('an etcd, three sidecars and three sample apps on this machine, to try it out')
    .option('--once', 'elect, fail over, hand over, end; needs no terminal', false)
    .action(({ once }: { once: boolean }) =>
      choose(async () => (await import('./dev.ts')).becomeDev(once ? ['--once'] : [])),
    );
  addExamples(program);
  return program;
}

/** They ask etcd itself, with the settings of `serve` that are about etcd. */
function addArchiveCommands(
  program: Command,
  choose: (action: Action) => void,
  addSettings: AddSettings,
): void {
  const saving = program
    .command('backup')
    .description('save state, journal and history of elections, as of one moment')
    .allowExcessArguments(false)
    .option('--output <FILE>', 'where to; default: the standard output')
    .option('--all', 'every election under --prefix that has any of these, instead of --election')
    .action((flags: Flags & BackupFlags) =>
      choose(async () => (await import('./backup.ts')).backup(flags)),
    );
  addSettings(saving, isAboutEtcd);
  const restoring = program
    .command('restore')
    .description('write a backup back while nobody campaigns; fencing tokens go on rising')
    .allowExcessArguments(false)
    .requiredOption('--input <FILE>', 'the backup')
    .option('--replace', 'remove first what the election has')
    .option('--all', 'every election of the backup, instead of --election')
    .option('--as <NAME>', 'under this name, where --election names just one')
    .action((flags: Flags & RestoreFlags) =>
      choose(async () => (await import('./restore.ts')).restore(flags)),
    );
  addSettings(restoring, isAboutEtcd);
  const granting = program
    .command('etcd-role')
    .description('print the etcdctl commands that make a user who may do what a sidecar does')
    .allowExcessArguments(false)
    .option('--user <NAME>', 'the name of the user, and of its role', 'electord')
    .action((flags: Flags & EtcdRoleFlags) =>
      choose(async () => {
        const { etcdRole } = await import('./etcd-role.ts');
        return printed(() => etcdRole(flags));
      }),
    );
  const named = ['config', 'election', 'prefix', 'advertise', 'publish'];
  addSettings(granting, (name) => named.includes(name));
}

const isAboutEtcd = (name: string): boolean =>
  ['config', 'election', 'prefix'].includes(name) || name.startsWith('etcd');

type AddSettings = (command: Command, wanted?: (name: string) => boolean) => void;

/**
 * Gives a command the flags of settings, all or those `wanted`; only where they can matter for a command line that begins with
 * `first`, since they are most of what commander is told.
 */
function settingsFor(first: string): AddSettings {
  const asked = first.startsWith('-') ? 'serve' : first;
  return (command, wanted = () => true) => {
    if (![command.name(), 'help', 'completion'].includes(asked)) return;
    for (const setting of settings) {
      if (setting.flag && wanted(setting.name)) command.addOption(flagOf(setting));
    }
  };
}
