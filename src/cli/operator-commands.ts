// The operator's commands and their flags, as commander is told of them. What each does is in the file of its name.
import { Option, type Command } from 'commander';
import { awaitable, shells, type Shell } from './choices.ts';
import type { HistoryFlags } from './history.ts';
import type { CommonFlags } from './operator.ts';
import type { VerbFlags } from './operator-verb.ts';
import type { PauseFlags } from './pause.ts';
import type { StatusFlags } from './status.ts';
import type { StepDownFlags } from './step-down.ts';
import type { SwitchoverFlags } from './switchover.ts';
import type { WaitFlags } from './wait.ts';

type Choose = (action: () => Promise<number>) => void;

/** Adds the commands to the program; `choose` is told which one was named. */
export function addOperatorCommands(program: Command, choose: Choose): void {
  const command = (name: string, description: string): Command =>
    program.command(name).description(description).allowExcessArguments(false);

  common(command('status', 'who leads, who else is there, and how this sidecar is'))
    .option('--watch', 'go on showing it; ends with Ctrl-C')
    .action((flags: StatusFlags) =>
      choose(async () => (await import('./status.ts')).status(flags)),
    );
  common(command('history', 'the terms remembered: who led, for how long, why it ended'))
    .option('--limit <COUNT>', 'only the newest so many')
    .action((flags: HistoryFlags) =>
      choose(async () => (await import('./history.ts')).history(flags)),
    );
  common(command('audit', 'the verbs asked for: who, why, from where, with what outcome')).action(
    (flags: CommonFlags) => choose(async () => (await import('./audit.ts')).audit(flags)),
  );
  common(
    command(
      'wait',
      'wait until this instance leads or follows, any leads, or another leads; 75 if not in time',
    ),
  )
    .addOption(
      new Option('--for <WHAT>', 'what to wait for').choices(awaitable).makeOptionMandatory(),
    )
    .option('--timeout <DURATION>', 'give up after this long, such as 30s; default: never')
    .action((flags: WaitFlags) => choose(async () => (await import('./wait.ts')).wait(flags)));
  verb(command('step-down', 'end the term of this sidecar, so that another one leads'))
    .option('--not-for <DURATION>', 'do not stand for this long, whether it leads now or not')
    .option('--force', 'even where nobody else can lead')
    .action((flags: StepDownFlags) =>
      choose(async () => (await import('./step-down.ts')).stepDown(flags)),
    );
  verb(command('switchover', 'hand leadership over to a named member; any sidecar may be asked'))
    .requiredOption('--to <ID>', 'the member that shall lead')
    .option('--force', 'end a pause for it, and the standing back of the sidecar asked, if named')
    .action((flags: SwitchoverFlags) =>
      choose(async () => (await import('./switchover.ts')).switchover(flags)),
    );
  verb(command('pause', 'nobody campaigns, whoever leads goes on; ends by itself'))
    .option('--for <DURATION>', 'for how long; default: 10m')
    .action((flags: PauseFlags) => choose(async () => (await import('./pause.ts')).pause(flags)));
  verb(command('resume', 'end a pause')).action((flags: VerbFlags) =>
    choose(async () => (await import('./resume.ts')).resume(flags)),
  );
  program
    .command('completion')
    .description('print the completion of this command line for a shell')
    .argument('<shell>', shells.join(', '))
    .allowExcessArguments(false)
    .action((shell: string, _flags: object, own: Command) => {
      if (!isShell(shell))
        own.error(`error: ${JSON.stringify(shell)} is none of ${shells.join(', ')}`);
      else choose(async () => (await import('./completion.ts')).completion(program, shell));
    });
}

const isShell = (text: string): text is Shell => (shells as readonly string[]).includes(text);

/** The flags of what changes something. */
function verb(command: Command): Command {
  return common(command)
    .option('--all', 'in every election that the sidecar stands in')
    .option('--reason <TEXT>', 'why, for the audit log, the history and the log')
    .option('--by <WHO>', 'who asks, likewise; default: the user of this machine');
}

/** The flags that say which sidecar is asked, and how to answer. */
function common(command: Command): Command {
  return command
    .option(
      '--url <URL>',
      "the sidecar's local listener, http://host:port or unix:/path [ELECTORD_LOCAL_URL; default: http://127.0.0.1:4041]",
    )
    .option('--election <NAME>', 'which election, where the sidecar stands in several')
    .option(
      '--token-file <FILE>',
      'file with the bearer token of the sidecar [ELECTORD_TOKEN_FILE]',
    )
    .option('--ca <FILE>', "certificates that an https sidecar's must be signed by [ELECTORD_CA]")
    .option('--cert <FILE>', 'client certificate to show to it [ELECTORD_CERT]')
    .option('--key <FILE>', 'private key of --cert [ELECTORD_KEY]')
    .option(
      '--server-name <NAME>',
      'the name in its certificate, where it is not that of --url [ELECTORD_SERVER_NAME]',
    )
    .option('--json', 'answer in JSON');
}
