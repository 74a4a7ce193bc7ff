// What a person on call sees: the shipped alert rules under promtool and under a real Prometheus that scrapes real
// sidecars through real faults, and every query of the shipped dashboard against what it has gathered. The rules run
// with their own expressions; only the time that they wait is shortened.
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { projectFolder } from '../harness/binaries.ts';
import { makeCertificates, type Certificates } from '../harness/certificates.ts';
import { reservePorts } from '../harness/ports.ts';
import {
  promtool,
  startPrometheus,
  type Alert,
  type Prometheus,
  type Sample,
} from '../harness/prometheus.ts';
import { startEtcdCluster, type EtcdCluster } from '../harness/etcd.ts';
import { startSidecar, type Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';

const rulesFolder = join(projectFolder, 'deploy/prometheus');

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: { readonly severity: string };
  readonly annotations: Readonly<Record<string, string>>;
}

interface Group {
  readonly name: string;
  readonly rules: readonly Rule[];
}

async function shippedGroups(): Promise<readonly Group[]> {
  const text = await readFile(join(rulesFolder, 'alerts.yml'), 'utf8');
  return (parse(text) as { groups: Group[] }).groups;
}

describe('deploy/prometheus/alerts.yml', () => {
  test('promtool finds no fault in it, nor in the configuration that loads it', async () => {
    const checked = await promtool(['check', 'config', 'prometheus.yml'], rulesFolder);
    expect(checked.code, checked.output).toBe(0);
    const { length } = (await shippedGroups()).flatMap(({ rules }) => rules);
    expect(checked.output).toContain(`${length} rules found`);
  });

  test('its unit tests pass, and there is a positive and a negative one of every alert', async () => {
    const tested = await promtool(['test', 'rules', 'alerts.test.yml'], rulesFolder);
    expect(tested.code, tested.output).toBe(0);
    const text = await readFile(join(rulesFolder, 'alerts.test.yml'), 'utf8');
    interface Case {
      readonly alertname: string;
      readonly exp_alerts: readonly object[];
    }
    const { tests } = parse(text) as { tests: { alert_rule_test: Case[] }[] };
    const cases = tests.flatMap(({ alert_rule_test: of }) => of);
    const among = (fired: boolean): string[] =>
      cases
        .filter(({ exp_alerts: expected }) => expected.length > 0 === fired)
        .map(({ alertname }) => alertname);
    for (const { alert } of (await shippedGroups()).flatMap(({ rules }) => rules)) {
      expect(among(true), 'a case in which it fires').toContain(alert);
      expect(among(false), 'a case in which it does not').toContain(alert);
    }
  });

  test('every alert says what it means, how urgent it is, and where to read on', async () => {
    const operations = await readFile(join(projectFolder, 'docs/operations.md'), 'utf8');
    const headings = [...operations.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => heading);
    const anchors = headings.map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    );
    const named = [...operations.matchAll(/<a id="([^"]+)">/g)].map(([, id = '']) => id);
    for (const { alert, labels, annotations } of (await shippedGroups())[0]!.rules) {
      expect(labels.severity, alert).toMatch(/^(critical|warning)$/);
      expect(annotations['summary'], alert).toMatch(/^.{15,100}$/);
      expect(annotations['description'], alert).toMatch(/^[^\n]{100,600}$/);
      const [file, anchor] = (annotations['runbook'] ?? '').split('#');
      expect(file, alert).toBe('docs/operations.md');
      expect([...anchors, ...named], alert).toContain(anchor);
    }
  });
});

/** The rules as shipped, but for how long they wait: longer than two scrapes, no more than a test can. */
async function quickGroups(): Promise<readonly Group[]> {
  return (await shippedGroups()).map((group) => ({
    ...group,
    rules: group.rules.map((rule) => (rule.for === undefined ? rule : { ...rule, for: '3s' })),
  }));
}

/** Three TTLs, some scrapes, and a busy machine. */
const seenWithinMs = 60_000;
const ttl = '--ttl=5s';
const ids = ['a', 'b', 'c'];

let etcd: EtcdCluster;
let certificates: Certificates;
let prometheus: Prometheus;
let app: Server;
let appIsWell = true;
const ports = new Map<string, readonly [listen: number, local: number]>();
const sidecars = new Map<string, Sidecar>();

async function startOne(id: string, election: string, more: readonly string[]): Promise<Sidecar> {
  const [listen = 0, local = 0] = ports.get(id) ?? [];
  const hooks = ['--on-elected=exec:true', '--on-step-down=exec:true'];
  // The later of two flags counts: the ports stay the same when it is started again.
  const where = [`--listen=127.0.0.1:${listen}`, `--local-listen=127.0.0.1:${local}`];
  const args = [ttl, ...hooks, ...where, ...more];
  const sidecar = await startSidecar({ election, id, etcd: etcd.endpoints, args });
  sidecars.set(id, sidecar);
  return sidecar;
}

const startOrders = (id: string): Promise<Sidecar> => {
  const check = `--app-check=http://127.0.0.1:${(app.address() as AddressInfo).port}/`;
  return startOne(id, 'orders', [check, '--app-check-interval=300ms']);
};

const address = (id: string): string => `127.0.0.1:${ports.get(id)?.[0] ?? 0}`;

beforeAll(async () => {
  [etcd, certificates] = await Promise.all([startEtcdCluster({ size: 1 }), makeCertificates()]);
  app = createServer((_request, response) => response.writeHead(appIsWell ? 200 : 500).end());
  app.listen(0, '127.0.0.1');
  await once(app, 'listening');
  for (const id of [...ids, 'd']) {
    const [listen = 0, local = 0] = await reservePorts(2);
    ports.set(id, [listen, local]);
  }
  const notAfter = new Date(Date.now() + 60 * 60 * 1000);
  const soon = await certificates.issue('soon', { commonName: 'electord', notAfter });
  await Promise.all(ids.map((id) => startOrders(id)));
  await startOne('d', 'bills', [`--tls-cert=${soon.certFile}`, `--tls-key=${soon.keyFile}`]);
  prometheus = await startPrometheus({
    scrape: [
      { job_name: 'electord', static_configs: [{ targets: ids.map(address) }] },
      {
        job_name: 'electord-tls',
        scheme: 'https',
        tls_config: { ca_file: certificates.authority.certFile },
        static_configs: [{ targets: [address('d')] }],
      },
    ],
    groups: await quickGroups(),
  });
}, 300_000);

afterAll(async () => {
  await (prometheus as Prometheus | undefined)?.stop();
  for (const sidecar of sidecars.values()) sidecar.signal('SIGKILL');
  await Promise.all([...sidecars.values()].map(({ exited }) => exited));
  app.close().closeAllConnections();
  await etcd.stop();
  await certificates.remove();
});

/** An alert that fires, in short: its name, and the labels that say of what. */
function inShort({ labels }: Alert): string {
  const { alertname = '', election, id, file, instance, job } = labels;
  const what = file ?? election ?? id ?? instance ?? job;
  return `${alertname} ${what ?? ''}`;
}

async function firing(): Promise<readonly string[]> {
  return (await prometheus.alerts()).filter(({ state }) => state === 'firing').map(inShort);
}

/** Waits until all of these fire, or none of them does any more. */
async function untilAlerts(wanted: readonly string[], fire: boolean): Promise<void> {
  let now: readonly string[] = [];
  const met = async (): Promise<boolean> => {
    now = await firing();
    return wanted.every((one) => now.includes(one) === fire);
  };
  const what = `${wanted.join(', ')} ${fire ? 'fire' : 'are resolved'}`;
  try {
    await eventually(met, { withinMs: seenWithinMs, what });
  } catch (error) {
    throw new Error(`${String(error)}; firing: ${now.join(', ')}`, { cause: error });
  }
}

async function untilValue(expression: string, value: number): Promise<void> {
  const met = async () => (await prometheus.query(expression))[0]?.value === value;
  await eventually(met, { withinMs: seenWithinMs, what: `${expression} is ${value}` });
}

const leads = 'sum(electord_is_leader{election="orders"})';

/** The sidecar that leads orders, as Prometheus sees it. */
async function leaderOfOrders(): Promise<string> {
  await untilValue(leads, 1);
  const [sample] = await prometheus.query('electord_is_leader{election="orders"} == 1');
  return sample?.metric['id'] ?? '';
}

async function post(id: string, path: string, body: object): Promise<number> {
  const url = `http://127.0.0.1:${ports.get(id)?.[1] ?? 0}${path}`;
  const headers = { 'Content-Type': 'application/json' };
  const signal = AbortSignal.timeout(20_000);
  return (await fetch(url, { method: 'POST', headers, body: JSON.stringify(body), signal })).status;
}

describe('a Prometheus that scrapes real sidecars', { timeout: 3 * seenWithinMs }, () => {
  test('sees all of them, and where all is well only the certificate is told of', async () => {
    await untilValue('sum(up)', 4);
    await untilValue(leads, 1);
    const onlyThat = async () => {
      const now = await firing();
      return now.length === 1 && now[0] === 'ElectordCertificateExpires tls-cert';
    };
    await eventually(onlyThat, { withinMs: seenWithinMs, what: 'just the alert of tls-cert' });
    const [alert] = await prometheus.alerts();
    expect(alert?.annotations['summary']).toBe(
      'The certificate of --tls-cert of d expires within a day',
    );
  });

  test('the app fails its check everywhere', async () => {
    const both = ['ElectordAppCheckFailsEverywhere orders', 'ElectordNobodyLeads orders'];
    appIsWell = false;
    await untilAlerts(both, true);
    expect(await firing()).not.toContain('ElectordNobodyLeads bills');
    appIsWell = true;
    await untilAlerts(both, false);
    await untilValue(leads, 1);
  });

  test('a sidecar is killed', async () => {
    const killed = await leaderOfOrders();
    sidecars.get(killed)?.signal('SIGKILL');
    const down = [`ElectordSidecarDown ${address(killed)}`];
    await untilAlerts(down, true);
    await untilValue(leads, 1);
    expect(await firing()).not.toContain('ElectordNobodyLeads orders');
    await startOrders(killed);
    await untilAlerts(down, false);
  });

  test('etcd is gone', async () => {
    const unreachable = [
      'ElectordEtcdUnreachable electord',
      'ElectordEtcdUnreachable electord-tls',
    ];
    const leaderless = ['ElectordNobodyLeads orders', 'ElectordNobodyLeads bills'];
    await etcd.nodes[0]!.kill();
    await untilAlerts([...unreachable, ...leaderless], true);
    expect(await firing()).not.toContain('ElectordAppCheckFailsEverywhere orders');
    await etcd.nodes[0]!.restart();
    await untilAlerts([...unreachable, ...leaderless], false);
    await untilValue('sum(electord_is_leader)', 2);
  });

  test('an election is paused too long', async () => {
    const paused = ['ElectordPausedTooLong orders'];
    expect(await post('a', '/pause', { reason: 'a test' })).toBe(200);
    await untilAlerts(paused, true);
    expect(await post('b', '/resume', {})).toBe(200);
    await untilAlerts(paused, false);
  });

  test('the leader changes again and again', async () => {
    const flaps = ['ElectordFlaps orders'];
    const enough = 6;
    for (let count = 0; count < enough; count += 1) {
      const leader = await leaderOfOrders();
      const tokens = 'max(electord_fencing_token{election="orders"})';
      const [before] = await prometheus.query(tokens);
      // 409: it has lost the term meanwhile, which is a change as well.
      expect([200, 202, 409]).toContain(await post(leader, '/step-down', { reason: 'a test' }));
      const next = async () => (await prometheus.query(tokens))[0]!.value > before!.value;
      await eventually(next, { withinMs: seenWithinMs, what: 'a term after that' });
    }
    await untilAlerts(flaps, true);
    expect(await firing()).not.toContain('ElectordFlaps bills');
  });
});

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: {
    readonly x: number;
    readonly y: number;
    readonly w: number;
    readonly h: number;
  };
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } };
  readonly targets?: readonly {
    readonly refId: string;
    readonly expr: string;
    readonly legendFormat: string;
    readonly datasource: unknown;
  }[];
}

interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly panels: readonly Panel[];
  readonly templating: {
    readonly list: readonly {
      readonly name: string;
      readonly type: string;
      readonly query: string | { readonly query: string };
    }[];
  };
  readonly annotations: { readonly list: readonly { readonly expr: string }[] };
}

async function dashboard(): Promise<Dashboard> {
  const text = await readFile(join(projectFolder, 'deploy/grafana/electord.json'), 'utf8');
  return JSON.parse(text) as Dashboard;
}

/** What Grafana puts in before it asks: all of a variable, or one. */
const choices = [
  { job: '.+', election: '.+' },
  { job: 'electord', election: 'orders' },
] as const;

const filled = (text: string, { job, election }: (typeof choices)[number]): string =>
  text
    .replaceAll('$job', job)
    .replaceAll('$election', election)
    .replaceAll('$__rate_interval', '5m')
    .replaceAll('$__range', '15m');

/** Asks until there is a number among the values: quantiles are none before the second scrape of a bucket. */
async function answered(expression: string): Promise<readonly Sample[]> {
  const withData = async () => {
    const samples = await prometheus.query(expression);
    return samples.some(({ value }) => Number.isFinite(value)) && samples;
  };
  return eventually(withData, { withinMs: 20_000, what: `data for ${expression}` });
}

describe('deploy/grafana/electord.json', { timeout: 3 * seenWithinMs }, () => {
  test('is a dashboard whose panels have their own ids, places, units and words', async () => {
    const { uid, title, panels } = await dashboard();
    expect({ uid, title }).toEqual({ uid: 'electord', title: 'electord' });
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const taken = new Map<string, string>();
    for (const { title: of, gridPos } of panels) {
      const { x, y, w, h } = gridPos;
      expect({ of, fits: x >= 0 && w > 0 && h > 0 && x + w <= 24 }).toEqual({ of, fits: true });
      for (let column = x; column < x + w; column += 1) {
        for (let line = y; line < y + h; line += 1) {
          const cell = `${column} ${line}`;
          expect(taken.get(cell), `${of} covers ${cell}`).toBeUndefined();
          taken.set(cell, of);
        }
      }
    }
    const drawn = panels.filter(({ type }) => type !== 'row');
    expect(new Set(drawn.map((panel) => panel.title)).size).toBe(drawn.length);
    for (const { title: of, description, fieldConfig, targets = [] } of drawn) {
      expect(description, of).toMatch(/\.$/);
      expect(fieldConfig?.defaults.unit, of).toMatch(/^[a-z_]+$/);
      expect(targets.length, of).toBeGreaterThan(0);
      expect(new Set(targets.map(({ refId }) => refId)).size, of).toBe(targets.length);
      for (const { datasource } of targets) {
        expect(datasource).toEqual({ type: 'prometheus', uid: '${datasource}' });
      }
    }
  });

  test('its variables are filled', async () => {
    const { list } = (await dashboard()).templating;
    expect(list.map(({ name }) => name)).toEqual(['datasource', 'job', 'election']);
    const values = async (name: string): Promise<readonly (string | undefined)[]> => {
      const { query = '' } = list.find((one) => one.name === name) ?? {};
      const text = typeof query === 'string' ? query : query.query;
      const [, series = '', label = ''] = /^label_values\((.+), (\w+)\)$/.exec(text) ?? [];
      const samples = await answered(`count by (${label}) (${filled(series, choices[0])})`);
      return samples.map(({ metric }) => metric[label]).toSorted();
    };
    expect(await values('job')).toEqual(['electord', 'electord-tls']);
    expect(await values('election')).toEqual(['bills', 'orders']);
  });

  test('every query of it finds data, under every name that its legend uses', async () => {
    const { panels, annotations } = await dashboard();
    await untilValue('sum(electord_is_leader)', 2);
    let asked = 0;
    for (const choice of choices) {
      for (const { title, targets = [] } of panels) {
        for (const { expr, legendFormat } of targets) {
          // Only a file of certificates has an expiry, and only one of them has such a file.
          const choose = title.startsWith('Certificates') ? choices[0] : choice;
          const samples = await answered(filled(expr, choose));
          const labels = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(
            ([, label = '']) => label,
          );
          for (const { metric } of samples) {
            expect(Object.keys(metric), `${title}: ${expr}`).toEqual(
              expect.arrayContaining(labels),
            );
          }
          asked += 1;
        }
      }
      for (const { expr } of annotations.list) await prometheus.query(filled(expr, choice));
    }
    expect(asked).toBeGreaterThan(60);
  });
});
