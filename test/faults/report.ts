// The report of a run for people (text) and for programs (JSON), and where both are written.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Answer } from './answer-line.ts';
import { stretchMs } from './conduct.ts';
import type { Violation } from './judge.ts';
import { pictureOf } from './picture.ts';
import { describeMisdelivery, type Deliveries } from './writes.ts';
import { reportFolder } from './run.ts';
import type { RunResult } from './run.ts';

const rounded = (value: number): string => String(Math.round(value));

function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
}

/** A table with the first column to the left and the others to the right. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  const lines = rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
      )
      .join('  '),
  );
  return lines.join('\n');
}

function kindsTable({ faults, verdict }: RunResult): string {
  const rows = [['fault', 'count', 'leaderless ms, median', 'max', 'violations']];
  for (const kind of [...new Set(faults.map((fault) => fault.kind))].sort()) {
    const leaderless = verdict.leaderlessMs.filter((_, index) => faults[index]!.kind === kind);
    const violations = verdict.violations.filter(({ during }) => during === kind);
    const numbers = [leaderless.length, median(leaderless), Math.max(...leaderless)];
    rows.push([kind, ...numbers.map(rounded), String(violations.length)]);
  }
  return table(rows);
}

/** One answer in words; times are from the start of the run. */
function told(answer: Answer, startedAt: number): string {
  const at = (time: number): string => `${(time - startedAt).toFixed(1)} ms`;
  const says = answer.claims === null ? `names ${String(answer.names)}` : `claims ${answer.claims}`;
  return `${answer.from} ${says} (asked at ${at(answer.sentAt)}, answered at ${at(answer.receivedAt)})`;
}

/** One violation in words. */
export function describeViolation(violation: Violation, startedAt: number): string {
  const { rule, during, count, worstMs, answer, against } = violation;
  const times = count === 1 ? '' : `, ${count} answers`;
  const head = `${rule}, during ${during || 'no fault'}: by ${worstMs.toFixed(1)} ms${times}`;
  const promised = rule === 'promise broken' ? `, valid for ${answer?.validForMs} ms` : '';
  const when = rule === 'promise broken' ? 'within that' : 'before that';
  const evidence = [
    answer === null ? '' : `; ${told(answer, startedAt)}${promised}`,
    against === null ? '' : `, but ${when} ${told(against, startedAt)}`,
  ];
  return head + evidence.join('');
}

/** How the sidecars behaved as processes. */
function conductOf({ conduct, conductLaw }: RunResult): readonly string[] {
  const { misconduct, rates, ends, slowestEndMs } = conduct;
  const { mostRequestsPerSecond, mostPacketsPerSecond, endsWithinMs } = conductLaw;
  const number = (value: number): string => value.toFixed(1);
  const columns = ['requests to etcd per second, mean', 'most', 'packets, mean', 'most'];
  const rows = rates.map(({ from, requests, packets }) => [
    from,
    ...[requests.meanPerSecond, requests.peak.perSecond].map(number),
    ...[packets.meanPerSecond, packets.peak.perSecond].map(number),
  ]);
  return [
    table([['sidecar', ...columns], ...rows]),
    `most: in some ${stretchMs / 1000} s; at most ${number(mostRequestsPerSecond)} requests and ${number(mostPacketsPerSecond)} packets are no loop`,
    `asked to end by SIGTERM: ${ends} processes; the slowest took ${rounded(slowestEndMs)} ms of ${endsWithinMs} ms`,
    `misconduct: ${misconduct.length}`,
    ...misconduct.map(
      ({ rule, who, during, what }) => `  ${rule}: ${who}, during ${during || 'no fault'}: ${what}`,
    ),
  ];
}

/** What became of the writes through the proxies. */
function deliveriesOf(deliveries: Deliveries): readonly string[] {
  const { writes, results, arrivals, terms, longestMs, misdeliveries, excused } = deliveries;
  const failed = [...results].filter(([result]) => result !== '200').sort();
  const sum = failed.reduce((all, [, count]) => all + count, 0);
  const how = failed.map(([result, count]) => `${result} ${count}`).join(', ');
  return [
    `writes through the proxies: ${writes}, of which ${sum} failed${sum === 0 ? '' : ` (${how})`}; ${arrivals} reached an app, in ${terms} terms; the longest took ${rounded(longestMs)} ms`,
    `misdeliveries: ${misdeliveries.length}, excused: ${excused.length}`,
    ...[...misdeliveries, ...excused].map((one) => `  ${describeMisdelivery(one)}`),
    '',
  ];
}

/** The summary. */
export function summaryOf(result: RunResult): string {
  const { options, law, faults, verdict, deliveries, startedAt, endedAt, failure } = result;
  const seconds = rounded((endedAt - startedAt) / 1000);
  const boundMs = law.ttlMs + law.takeoverDelayMs + law.availabilityBoundMs;
  const overlapMs = Math.max(0, ...verdict.overlaps.map(({ atMostMs }) => atMostMs));
  const revoked = faults.flatMap(({ revokedByEtcd }) => revokedByEtcd).length;
  const what = options.make === 'electord' ? `electord ${result.electordDigest}` : options.make;
  return [
    `${what} on etcd ${options.etcd}, seed ${options.seed}, TTL ${options.ttlMs} ms, takeover delay ${options.takeoverDelay}, fast failover ${options.fastFailover}`,
    `${seconds} s, ${faults.length} faults, ${verdict.answers} answers, ${verdict.claims} claims, ${verdict.terms} terms`,
    '',
    kindsTable(result),
    '',
    `violations: ${verdict.violations.length}`,
    ...verdict.violations.map((violation) => `  ${describeViolation(violation, startedAt)}`),
    `a leader is due within ${boundMs} ms`,
    `terms that may have been claimed at one instant (question to answer; not proven): ${verdict.overlaps.length}, at most ${overlapMs.toFixed(1)} ms`,
    `terms that etcd itself ended early, its stopped leader having come back: ${revoked}`,
    law.watchLatencyMs === null
      ? 'of terms that an administrator or etcd has taken away nothing is excused: successors wait for them'
      : `terms that an administrator or etcd had ended are excused claims for ${law.watchLatencyMs} ms`,
    `excused: ${verdict.excused.length}`,
    ...verdict.excused.map((violation) => `  ${describeViolation(violation, startedAt)}`),
    '',
    ...(deliveries === null ? [] : deliveriesOf(deliveries)),
    ...conductOf(result),
    ...(failure === null ? [] : ['', `the run ended early: ${failure.message}`]),
    '',
  ].join('\n');
}

/** Tokens are larger than JSON's numbers may be. */
const plain = (_: string, value: unknown): unknown =>
  typeof value === 'bigint' ? value.toString() : value;

function rawOf(result: RunResult): string {
  const { answers, failure, ...rest } = result;
  const columns = ['from', 'sentAt', 'receivedAt', 'claims', 'names', 'validForMs'];
  const rows = answers.map(({ from, sentAt, receivedAt, claims, names, validForMs }) => [
    ...[from, sentAt, receivedAt],
    ...[claims?.toString() ?? null, names?.toString() ?? null, validForMs],
  ]);
  const body = { ...rest, failure: failure?.message ?? null, columns, answers: rows };
  return JSON.stringify(body, plain);
}

/** Writes picture, summary and raw data; resolves to their common path without the endings. */
export async function writeReport(result: RunResult): Promise<string> {
  const { make, seed } = result.options;
  const base = join(reportFolder, make === 'electord' ? String(seed) : `${make}-${seed}`);
  await mkdir(reportFolder, { recursive: true });
  await writeFile(`${base}.svg`, pictureOf(result));
  await writeFile(`${base}.json`, rawOf(result));
  await writeFile(`${base}.txt`, summaryOf(result));
  return base;
}
