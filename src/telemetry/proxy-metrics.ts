// What the proxies tell at each scrape; nothing where there are none.
import { Counter, Gauge, type Registry } from 'prom-client';
import type { MemberId } from '../core/model.ts';
import type { ProxyFigures } from '../ports.ts';

const labelNames = ['id', 'proxy'] as const;

export function collectProxyMetrics(
  registry: Registry,
  id: MemberId,
  figures: () => readonly ProxyFigures[],
): void {
  const gauge = (name: string, help: string, value: (of: ProxyFigures) => number): Gauge =>
    new Gauge({
      ...{ name, help, labelNames, registers: [registry] },
      collect() {
        for (const one of figures()) this.set({ id, proxy: one.name }, value(one));
      },
    });
  gauge('electord_proxy_connections', 'Connections of clients, now.', ({ open }) => open);
  gauge('electord_proxy_waiting', 'Connections and requests that wait, now.', (of) => of.waiting);
  new Counter({
    name: 'electord_proxy_waited_total',
    help: 'Connections and requests that had to wait for somebody to reach, by how that ended: passed, full, timed_out or closing.',
    labelNames: [...labelNames, 'outcome'],
    registers: [registry],
    collect() {
      // What is told is the total already.
      this.reset();
      for (const { name: proxy, ended } of figures()) {
        for (const [outcome, times] of Object.entries(ended)) {
          this.inc({ id, proxy, outcome }, times);
        }
      }
    },
  });
}
