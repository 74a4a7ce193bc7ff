// The files for Envoy and Traefik, which Debian does not have: not run, but held against what the documentation of the two
// says of each field, and against the paths that a sidecar serves.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import * as z from 'zod';
import { leaderPaths, readablePaths } from '../../src/http/probes.ts';

const file = (path: string): Promise<string> =>
  readFile(join(import.meta.dirname, '../../deploy', path), 'utf8');

const checked = z.enum([...leaderPaths, ...readablePaths]);
/** A URL, or a host, and a port. */
const sidecarPort = z.literal(4040);

describe('deploy/envoy/envoy.yaml', () => {
  // config.core.v3, config.cluster.v3 and config.endpoint.v3 of Envoy's API; strict: a misspelt field is refused there too.
  const address = z.strictObject({
    socket_address: z.strictObject({
      address: z.string(),
      port_value: z.number().int(),
      ipv4_compat: z.boolean().optional(),
    }),
  });
  const seconds = z.string().regex(/^\d+(\.\d+)?s$/);
  const healthCheck = z.strictObject({
    http_health_check: z.strictObject({ path: checked }),
    interval: seconds,
    // Without these Envoy asks once a minute where nothing is sent.
    no_traffic_interval: seconds,
    no_traffic_healthy_interval: seconds,
    unhealthy_interval: seconds,
    timeout: seconds,
    unhealthy_threshold: z.literal(1),
    healthy_threshold: z.literal(1),
  });
  const lbEndpoint = z.strictObject({
    endpoint: z.strictObject({
      address,
      health_check_config: z.strictObject({ port_value: sidecarPort }),
    }),
  });
  const cluster = z.strictObject({
    name: z.string(),
    connect_timeout: seconds,
    type: z.literal('STATIC'),
    // Else it sends to all where fewer than half are healthy.
    common_lb_config: z.strictObject({
      healthy_panic_threshold: z.strictObject({ value: z.literal(0) }),
    }),
    close_connections_on_host_health_failure: z.boolean().optional(),
    health_checks: z.tuple([healthCheck]),
    load_assignment: z.strictObject({
      cluster_name: z.string(),
      endpoints: z.tuple([z.strictObject({ lb_endpoints: z.array(lbEndpoint).length(3) })]),
    }),
  });
  const typed = (type: string, more = {}) =>
    z.strictObject({
      '@type': z.literal(`type.googleapis.com/envoy.extensions.filters.${type}`),
      ...more,
    });
  const router = z.strictObject({
    name: z.literal('envoy.filters.http.router'),
    typed_config: typed('http.router.v3.Router'),
  });
  const route = z.strictObject({
    match: z.strictObject({ prefix: z.literal('/') }),
    route: z.strictObject({ cluster: z.string() }),
  });
  const virtualHost = z.strictObject({
    name: z.string(),
    domains: z.tuple([z.literal('*')]),
    routes: z.tuple([route]),
  });
  const manager = z.strictObject({
    name: z.literal('envoy.filters.network.http_connection_manager'),
    typed_config: typed('network.http_connection_manager.v3.HttpConnectionManager', {
      stat_prefix: z.string(),
      http_filters: z.tuple([router]),
      route_config: z.strictObject({ virtual_hosts: z.tuple([virtualHost]) }),
    }),
  });
  const listener = z.strictObject({
    name: z.string(),
    address,
    filter_chains: z.tuple([z.strictObject({ filters: z.tuple([manager]) })]),
  });
  const bootstrap = z.strictObject({
    static_resources: z.strictObject({ listeners: z.array(listener), clusters: z.array(cluster) }),
  });

  it('has the fields that Envoy knows, asks the sidecars, and never panics', async () => {
    const found = bootstrap.parse(parse(await file('envoy/envoy.yaml')));
    const { listeners, clusters } = found.static_resources;
    expect(
      clusters.map(({ name, health_checks: [check] }) => [name, check.http_health_check.path]),
    ).toEqual([
      ['leader', '/leader'],
      ['readable', '/read-only'],
    ]);
    for (const one of clusters) expect(one.load_assignment.cluster_name).toBe(one.name);
    const routed = JSON.stringify(listeners).match(/(?<="cluster":")\w+/g);
    expect(routed).toEqual(clusters.map(({ name }) => name));
  });
});

describe('deploy/traefik/dynamic.yaml', () => {
  const milliseconds = z.string().regex(/^\d+(ms|s)$/);
  const service = z.strictObject({
    loadBalancer: z.strictObject({
      healthCheck: z.strictObject({
        path: checked,
        port: sidecarPort,
        interval: milliseconds,
        unhealthyInterval: milliseconds,
        timeout: milliseconds,
      }),
      servers: z.array(z.strictObject({ url: z.url() })).length(3),
    }),
  });
  const routed = z.strictObject({
    entryPoints: z.array(z.string()),
    rule: z.literal('PathPrefix(`/`)'),
    service: z.string(),
  });
  const dynamic = z.strictObject({
    http: z.strictObject({
      routers: z.record(z.string(), routed),
      services: z.record(z.string(), service),
    }),
  });

  it('has the fields that Traefik knows, and asks the sidecars', async () => {
    const { http } = dynamic.parse(parse(await file('traefik/dynamic.yaml')));
    const paths = Object.entries(http.routers).map(([name, one]) => [
      name,
      http.services[one.service]?.loadBalancer.healthCheck.path,
    ]);
    expect(paths).toEqual([
      ['writes', '/leader'],
      ['reads', '/read-only'],
    ]);
  });
});
