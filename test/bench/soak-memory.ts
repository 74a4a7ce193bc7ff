// Whether memory grows: what a soak says of the samples that it took.
import { aligned } from './figures.ts';

/** Resident memory of each sidecar at one moment. */
export interface Sample {
  /** Since the load began. */
  readonly atMs: number;
  readonly mib: readonly number[];
}

const mean = (values: readonly number[]): number =>
  values.reduce((one, other) => one + other, 0) / values.length;

/** Of one sidecar at the end, as a part of what it was at the first quarter: each the mean of a tenth of the time. */
export function growthOf(samples: readonly Sample[], sidecar: number): number {
  const wholeMs = samples.at(-1)?.atMs ?? 0;
  const between = (from: number, to: number): number =>
    mean(
      samples
        .filter(({ atMs }) => atMs >= from * wholeMs && atMs <= to * wholeMs)
        .map(({ mib }) => mib[sidecar] ?? NaN),
    );
  return between(0.9, 1) / between(0.2, 0.3);
}

/** Of the line through the second half of the samples, by least squares, in MB an hour. */
export function slopeOf(samples: readonly Sample[], sidecar: number): number {
  const wholeMs = samples.at(-1)?.atMs ?? 0;
  const half = samples.filter(({ atMs }) => atMs >= wholeMs / 2);
  const hours = half.map(({ atMs }) => atMs / 3_600_000);
  const megabytes = half.map(({ mib }) => ((mib[sidecar] ?? NaN) * 2 ** 20) / 1e6);
  const [middle, level] = [mean(hours), mean(megabytes)];
  const rise = hours.map((hour, index) => (hour - middle) * ((megabytes[index] ?? NaN) - level));
  return mean(rise) / mean(hours.map((hour) => (hour - middle) ** 2));
}

/** The sample that is nearest to that moment. */
const nearest = (samples: readonly Sample[], toMs: number): Sample | undefined =>
  samples.toSorted((one, other) => Math.abs(one.atMs - toMs) - Math.abs(other.atMs - toMs))[0];

export function memoryTable(ids: readonly string[], samples: readonly Sample[]): string {
  const wholeMs = samples.at(-1)?.atMs ?? 0;
  const moments = [120_000, wholeMs / 2, wholeMs];
  const lines = ids.map((id, index) => [
    id,
    ...moments.map((atMs) => (nearest(samples, atMs)?.mib[index] ?? NaN).toFixed(1)),
    slopeOf(samples, index).toFixed(1),
    growthOf(samples, index).toFixed(3),
  ]);
  const heading = ['MiB', 'minute 2', 'middle', 'end', 'MB/h, 2nd half', 'end : 1st quarter'];
  return aligned([heading, ...lines], 1).join('\n');
}
