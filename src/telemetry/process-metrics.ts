// What Prometheus wants to know of any Node process, without what it would cost to find out: prom-client measures the event
// loop by a timer every 10 ms, which is most of what an idle sidecar does.
import { collectDefaultMetrics, Gauge, type Registry } from 'prom-client';

/** Made from that timer, which is never due; the one that is left is measured at each scrape. */
const fromTheTimer = ['min', 'max', 'mean', 'stddev', 'p50', 'p90', 'p99'].map(
  (name) => `nodejs_eventloop_lag_${name}_seconds`,
);
const never = 2 ** 31 - 1;

/** `loopDelayMs` is the worst of the recent past, as `/health` judges it. */
export function collectProcessMetrics(registry: Registry, loopDelayMs: () => number): void {
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: never });
  for (const name of fromTheTimer) registry.removeSingleMetric(name);
  const max: Gauge = new Gauge({
    name: 'nodejs_eventloop_lag_max_seconds',
    help: 'The worst delay of the event loop within the last 15 seconds.',
    registers: [registry],
    collect: () => max.set(loopDelayMs() / 1000),
  });
}
