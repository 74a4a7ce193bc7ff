// deploy/examples/tracing.mjs as its first lines say, with the built program and a collector of our own: the API inside
// the bundle sees the SDK that was registered outside of it, and the spans of the end are sent before the process ends.
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { projectFolder } from '../harness/binaries.ts';
import { startEtcdCluster, type EtcdCluster } from '../harness/etcd.ts';
import { startSidecar, type Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';

/** As OTLP has it in JSON. */
interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue?: string };
}

interface Export {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly {
      readonly scope: { readonly name: string; readonly version: string };
      readonly spans: readonly {
        readonly name: string;
        readonly spanId: string;
        readonly parentSpanId?: string;
        readonly attributes: readonly Attribute[];
      }[];
    }[];
  }[];
}

interface Span {
  readonly name: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly service: string | undefined;
  readonly tracer: string;
  readonly attributes: Readonly<Record<string, string | undefined>>;
}

const withinMs = 30_000;
const received: Span[] = [];
const paths = new Set<string | undefined>();
const sidecars: Sidecar[] = [];
let collector: Server;
let etcd: EtcdCluster;

const flat = (attributes: readonly Attribute[]): Record<string, string | undefined> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue]));

function take(body: string): void {
  for (const { resource, scopeSpans } of (JSON.parse(body) as Export).resourceSpans) {
    const service = flat(resource.attributes)['service.name'];
    for (const { scope, spans } of scopeSpans) {
      for (const { name, spanId, parentSpanId, attributes } of spans) {
        const its = { name, spanId, parentSpanId, attributes: flat(attributes) };
        received.push({ ...its, service, tracer: scope.name });
      }
    }
  }
}

beforeAll(async () => {
  etcd = await startEtcdCluster({ size: 1 });
  collector = createServer((request, response) => {
    paths.add(request.url);
    let body = '';
    request.setEncoding('utf8').on('data', (part: string) => (body += part));
    request.on('end', () => {
      take(body);
      response.writeHead(200, { 'Content-Type': 'application/json' }).end('{}');
    });
  });
  collector.listen(0, '127.0.0.1');
  await once(collector, 'listening');
});

afterAll(async () => {
  for (const sidecar of sidecars) sidecar.signal('SIGKILL');
  await Promise.all(sidecars.map(({ exited }) => exited));
  collector.close().closeAllConnections();
  await etcd.stop();
});

async function start(id: string, env: Readonly<Record<string, string>>): Promise<Sidecar> {
  const args = ['--ttl=5s', '--on-step-down=exec:true'];
  const sidecar = await startSidecar({ election: 'orders', id, etcd: etcd.endpoints, args, env });
  sidecars.push(sidecar);
  return sidecar;
}

const of = (id: string, name: string): Span | undefined =>
  received.find((span) => span.name === name && span.attributes['electord.id'] === id);

test(
  'sends elections, hand-overs, hooks and calls, to the last one',
  { timeout: 90_000 },
  async () => {
    const port = (collector.address() as AddressInfo).port;
    const traced = {
      NODE_OPTIONS: `--import=${join(projectFolder, 'deploy/examples/tracing.mjs')}`,
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
    };
    const first = await start('first', { ...traced, OTEL_BSP_SCHEDULE_DELAY: '600000' });
    const { body } = await first.waitFor(({ isLeader }) => isLeader, withinMs);
    const second = await start('second', { ...traced, OTEL_BSP_SCHEDULE_DELAY: '200' });
    const untraced = await start('untraced', {});
    await second.waitFor(({ leader }) => leader?.id === 'first', withinMs);
    await untraced.waitFor(({ leader }) => leader?.id === 'first', withinMs);

    // What comes now was kept for ten minutes, but for the end of the process.
    expect(received.filter(({ attributes }) => attributes['electord.id'] === 'first')).toEqual([]);
    expect(await first.stop()).toEqual({ code: 0, signal: null });
    const stepDown = of('first', 'electord.step-down');
    expect(stepDown).toMatchObject({ service: 'electord', tracer: 'electord' });
    expect(stepDown?.attributes).toMatchObject({
      'electord.election': 'orders',
      'electord.cause': 'stopping',
      'electord.outcome': 'released',
      'electord.fencing_token': body.fencingToken,
    });
    expect(of('first', 'electord.etcd.release')?.parentSpanId).toBe(stepDown?.spanId);
    expect(of('first', 'electord.hook')?.parentSpanId).toBe(stepDown?.spanId);
    expect(of('first', 'electord.etcd.revoke')).toBeDefined();
    const election = of('first', 'electord.election');
    expect(election?.attributes).toMatchObject({ 'electord.outcome': 'elected' });
    expect(of('first', 'electord.etcd.join')?.parentSpanId).toBe(election?.spanId);

    await eventually(() => of('second', 'electord.etcd.renew'), {
      withinMs,
      what: 'spans of the second while it runs',
    });
    expect([...paths]).toEqual(['/v1/traces']);
    expect(received.filter(({ attributes }) => attributes['electord.id'] === 'untraced')).toEqual(
      [],
    );
    expect(await untraced.stop()).toEqual({ code: 0, signal: null });
  },
);

test(
  'a collector that hangs holds the end up by a second at most',
  { timeout: 90_000 },
  async () => {
    const silent = createServer(() => undefined);
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const asked = once(silent, 'request');
    const sidecar = await start('patient', {
      NODE_OPTIONS: `--import=${join(projectFolder, 'deploy/examples/tracing.mjs')}`,
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(silent.address() as AddressInfo).port}`,
      OTEL_BSP_SCHEDULE_DELAY: '100',
    });
    await sidecar.waitForLog(
      ({ msg }) => /the leader of orders|leads orders/.test(String(msg)),
      withinMs,
    );
    await asked;
    const stoppedAt = performance.now();
    expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
    // The exporter itself is patient for ten seconds.
    expect(performance.now() - stoppedAt).toBeLessThan(7000);
    silent.close().closeAllConnections();
  },
);
