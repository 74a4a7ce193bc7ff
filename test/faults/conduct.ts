// Judges how the sidecars behave as processes, whatever they answer:
//
// request loop      more requests to etcd, or packets to it, in every second of some stretch than a sidecar may need
// does not end      asked to end, it had not ended within its grace, or not with code 0; or it ended unasked
import type { ChildExit } from '../../src/dev/etcd-child.ts';
import type { FaultRecord } from './scene.ts';
import type { Sample } from './traffic.ts';

/** What is allowed. */
export interface ConductLaw {
  readonly mostRequestsPerSecond: number;
  readonly mostPacketsPerSecond: number;
  /** From SIGTERM to the end. */
  readonly endsWithinMs: number;
}

/** A process that has ended. */
export interface End {
  /** The sidecar's id. */
  readonly of: string;
  /** When it was asked, or else when it ended; in ms of CLOCK_MONOTONIC. */
  readonly at: number;
  /** Null where nobody had asked. */
  readonly asked: 'SIGTERM' | 'SIGKILL' | null;
  readonly tookMs: number;
  readonly exit: ChildExit;
}

/** One breach. */
export interface Misconduct {
  readonly rule: 'request loop' | 'does not end';
  readonly who: string;
  /** The fault that was the last to begin before it; empty where there was none. */
  readonly during: string;
  /** What it did instead. */
  readonly what: string;
}

/** The busiest stretch of one sidecar. */
export interface Peak {
  readonly at: number;
  readonly perSecond: number;
}

/** How much one sidecar asked for. */
export interface Rates {
  readonly from: string;
  readonly requests: Rate;
  readonly packets: Rate;
}

/** Of requests, or packets. */
interface Rate {
  readonly meanPerSecond: number;
  readonly peak: Peak;
}

/** The judgement. */
export interface Conduct {
  readonly misconduct: readonly Misconduct[];
  readonly rates: readonly Rates[];
  /** Ends that were asked for by SIGTERM, and the slowest of them. */
  readonly ends: number;
  readonly slowestEndMs: number;
}

/** A burst is shorter: thirty candidates that join, a stream that is opened again. A loop goes on. */
export const stretchMs = 5000;

/** Judges samples and ends (each in the order of time) and faults (in the order of their beginning). */
export function judgeConduct(
  samples: readonly Sample[],
  ends: readonly End[],
  faults: readonly FaultRecord[],
  law: ConductLaw,
): Conduct {
  const during = (at: number): string =>
    faults.findLast(({ startedAt }) => startedAt <= at)?.kind ?? '';
  const names = [...new Set(samples.map(({ from }) => from))].sort();
  const rates = names.map((name) => ratesOf(samples.filter(({ from }) => from === name)));
  const loops = rates.flatMap(({ from, requests, packets }): readonly Misconduct[] => {
    const loop = (peak: Peak, most: number, unit: string): readonly Misconduct[] => {
      const what = `${peak.perSecond.toFixed(1)} ${unit} a second`;
      if (peak.perSecond <= most) return [];
      return [{ rule: 'request loop', who: from, during: during(peak.at), what }];
    };
    return [
      ...loop(requests.peak, law.mostRequestsPerSecond, 'requests'),
      ...loop(packets.peak, law.mostPacketsPerSecond, 'packets'),
    ];
  });
  const unended = ends.flatMap((end): readonly Misconduct[] => {
    const what = complaintAbout(end, law);
    return what === null
      ? []
      : [{ rule: 'does not end', who: end.of, during: during(end.at), what }];
  });
  const asked = ends.filter((end) => end.asked === 'SIGTERM');
  const slowestEndMs = Math.max(0, ...asked.map(({ tookMs }) => tookMs));
  return { misconduct: [...loops, ...unended], rates, ends: asked.length, slowestEndMs };
}

/** Null for an end as it should be. */
function complaintAbout({ asked, tookMs, exit }: End, { endsWithinMs }: ConductLaw): string | null {
  const how = exit.signal ?? `code ${String(exit.code)}`;
  if (asked === null) return `ended unasked by ${how}`;
  if (asked === 'SIGKILL') return null;
  if (exit.code === 0 && tookMs <= endsWithinMs) return null;
  return `ended by ${how} ${tookMs.toFixed(0)} ms after SIGTERM`;
}

function ratesOf(samples: readonly Sample[]): Rates {
  const times = samples.map(({ at }) => at);
  // NaN, where a make does not count, is nothing.
  const rate = (count: 'requests' | 'packets'): Rate =>
    rateOf(times, totalsOf(samples.map((sample) => sample[count] || 0)));
  return { from: samples[0]?.from ?? '', requests: rate('requests'), packets: rate('packets') };
}

/** What was counted from the first sample on, though a process that is started anew counts from nothing. */
function totalsOf(counts: readonly number[]): readonly number[] {
  let total = 0;
  return counts.map((count, index) => {
    const before = counts[index - 1] ?? count;
    total += count < before ? count : count - before;
    return total;
  });
}

function rateOf(times: readonly number[], totals: readonly number[]): Rate {
  const perSecond = (from: number, to: number): number =>
    (1000 * (totals[to]! - totals[from]!)) / Math.max(1, times[to]! - times[from]!);
  let peak: Peak = { at: times[0] ?? 0, perSecond: 0 };
  let to = 0;
  for (const [from, at] of times.entries()) {
    while (to < times.length && times[to]! - at < stretchMs) to += 1;
    if (to === times.length) break;
    if (perSecond(from, to) > peak.perSecond) peak = { at, perSecond: perSecond(from, to) };
  }
  return { meanPerSecond: times.length === 0 ? 0 : perSecond(0, times.length - 1), peak };
}
