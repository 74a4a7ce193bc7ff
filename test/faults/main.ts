// Runs real faults against three sidecars on three members of etcd, each on a host of its own, and judges every answer.
// Needs Linux and root. Exit code 0: no violation (or, with --expect-violations, at least one claim was stale).
//
// npm run faults -- --seconds 600 --seed 7
import { Command, InvalidArgumentError } from 'commander';
import { etcdSeries, newestEtcd, type EtcdSeries } from '../harness/binaries.ts';
import { NoNamespacesError } from './hosts.ts';
import { summaryOf, writeReport } from './report.ts';
import { faultKinds, runFaults } from './run.ts';
import type { RunOptions, RunResult } from './run.ts';

interface Arguments {
  readonly seconds: number;
  readonly seed: number;
  readonly ttl: number;
  readonly takeoverDelay: string;
  readonly fastFailover: string;
  readonly only: readonly string[];
  readonly peer?: 'etcd3';
  readonly program?: string;
  readonly etcd: EtcdSeries;
  readonly watchLatencyMs: number;
  readonly boundMs: number;
  readonly expectViolations: boolean;
}

function number(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new InvalidArgumentError('a number, please.');
  return value;
}

function oneOf<const Value extends string>(...values: readonly Value[]): (text: string) => Value {
  return (text) => {
    const found = values.find((value) => value === text);
    if (found === undefined) throw new InvalidArgumentError(`one of ${values.join(', ')}.`);
    return found;
  };
}

function takeoverDelay(text: string): string {
  if (!/^(auto|evidence|\d+s)$/.test(text)) {
    throw new InvalidArgumentError('evidence, auto or whole seconds: 3s.');
  }
  return text;
}

const split = (text: string, before: readonly string[]): readonly string[] => [
  ...before,
  ...text.split(','),
];

function parse(argv: readonly string[]): Arguments {
  const kinds = faultKinds.map(({ name, doc }) => `  ${name.padEnd(22)}${doc}`).join('\n');
  const program = new Command('faults')
    .option('--seconds <n>', 'no fault begins later; 0: each kind once', number, 120)
    .option('--seed <n>', 'order, targets and lengths follow from it', number, 1)
    .option('--ttl <seconds>', 'TTL of the leases', number, 3)
    .option(
      '--takeover-delay <duration>',
      'as the flag of electord: evidence, 0s, 3s, auto',
      takeoverDelay,
      'evidence',
    )
    .option('--fast-failover <duration>', 'as the flag of electord: 300ms, off', 'off')
    .option('--only <kinds>', 'a comma list of kinds', split, [])
    .option('--peer <make>', 'drive another program: etcd3', oneOf('etcd3'))
    .option('--program <file>', 'another build of electord than dist/electord.js')
    .option('--etcd <series>', etcdSeries.join(' or '), oneOf(...etcdSeries), newestEtcd)
    .option(
      '--watch-latency-ms <n>',
      'allowed after a term was taken away, where nobody waits',
      number,
      50,
    )
    .option('--bound-ms <n>', 'how much later than the TTL a leader may come', number, 4000)
    .option('--expect-violations', 'succeed only where a stale claim was seen', false)
    .addHelpText('after', `\nKinds of faults:\n${kinds}`);
  return program.parse(argv).opts<Arguments>();
}

function optionsOf(args: Arguments): RunOptions {
  return {
    ...{ seed: args.seed, seconds: args.seconds, ttlMs: args.ttl * 1000, only: args.only },
    ...{ takeoverDelay: args.takeoverDelay, fastFailover: args.fastFailover },
    make: args.peer ?? 'electord',
    ...{ program: args.program ?? null, etcd: args.etcd },
    ...{ watchLatencyMs: args.watchLatencyMs, availabilityBoundMs: args.boundMs },
    log: (line) => console.error(line),
  };
}

/** Whether the run came out as wanted. */
function isAsWanted(
  { verdict, conduct, deliveries, faults, failure }: RunResult,
  expectViolations: boolean,
): boolean {
  if (failure !== null || faults.length === 0 || verdict.claims === 0) return false;
  if (expectViolations) return verdict.violations.some(({ rule }) => rule === 'stale claim');
  const misdeliveries = deliveries?.misdeliveries ?? [];
  return [...verdict.violations, ...conduct.misconduct, ...misdeliveries].length === 0;
}

// Their end takes everything with it: processes, namespaces, mounts and files.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => process.exit(1));
}

const args = parse(process.argv);
try {
  const result = await runFaults(optionsOf(args));
  console.log(summaryOf(result));
  console.log(`picture and raw data: ${await writeReport(result)}.svg, .json`);
  console.log(`what the sidecars wrote: ${result.logFolder}`);
  // Nothing that a failed fault has left may keep us.
  process.exit(isAsWanted(result, args.expectViolations) ? 0 : 1);
} catch (error) {
  if (!(error instanceof NoNamespacesError)) throw error;
  console.error(`FAILED, nothing was tested: ${error.message}`);
  process.exit(1);
}
