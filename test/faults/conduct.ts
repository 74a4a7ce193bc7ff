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

/** How much one sidecar asked for, per second, at most in some stretch and over all. */
export interface Rates {
  readonly from: string;
  readonly at: number;
  readonly most: { readonly requests: number; readonly packets: number };
  readonly mean: { readonly requests: number; readonly packets: number };
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
  const loops = rates.flatMap(({ from, at, most }): readonly Misconduct[] => {
    const { requests, packets } = most;
    if (requests <= law.mostRequestsPerSecond && packets <= law.mostPacketsPerSecond) return [];
    const what = `${requests.toFixed(1)} requests and ${packets.toFixed(1)} packets a second`;
    return [{ rule: 'request loop', who: from, during: during(at), what }];
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

/** By how much a count rose; a process that was started anew counts from nothing. */
const rise = (before: number, after: number): number => (after < before ? after : after - before);

/** Of one sidecar. The greatest rates may be of two stretches; `at` is where the one of the requests began. */
function ratesOf(samples: readonly Sample[]): Rates {
  const counted = samples.filter(({ packets }) => !Number.isNaN(packets));
  const totals: { at: number; requests: number; packets: number }[] = [];
  counted.forEach((sample, index) => {
    const before = counted[index - 1] ?? sample;
    const total = totals.at(-1) ?? { at: 0, requests: 0, packets: 0 };
    totals.push({
      at: sample.at,
      requests: total.requests + (rise(before.requests, sample.requests) || 0),
      packets: total.packets + rise(before.packets, sample.packets),
    });
  });
  const [from, first, last] = [samples[0]?.from ?? '', totals[0], totals.at(-1)];
  const none = { at: 0, requests: 0, packets: 0 };
  const most = { ...none };
  let end = 0;
  for (const begin of totals) {
    while (end < totals.length && totals[end]!.at - begin.at < stretchMs) end += 1;
    if (end === totals.length) break;
    const { requests, packets } = perSecond(begin, totals[end]!);
    if (requests > most.requests) Object.assign(most, { at: begin.at, requests });
    most.packets = Math.max(most.packets, packets);
  }
  return { from, at: most.at, most, mean: perSecond(first ?? none, last ?? none) };
}

interface Total {
  readonly at: number;
  readonly requests: number;
  readonly packets: number;
}

function perSecond(
  from: Total,
  to: Total,
): { readonly requests: number; readonly packets: number } {
  const seconds = Math.max((to.at - from.at) / 1000, 0.001);
  return {
    requests: (to.requests - from.requests) / seconds,
    packets: (to.packets - from.packets) / seconds,
  };
}
