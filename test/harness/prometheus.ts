// A real Prometheus for tests: scrapes what a test names, evaluates the rules it gives, answers
// queries, and is gone with all it has stored when stopped. promtool, from the same package, checks files.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { spawnGuarded } from '../../src/dev/etcd-child.ts';
import { runCommand } from '../../src/dev/etcd-command.ts';
import { reservePort } from './ports.ts';
import { findPrograms } from './programs.ts';
import { eventually } from './wait.ts';

/** One series that a query gives back, at one moment. */
export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

/** An alert as Prometheus sees it now. */
export interface Alert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly state: 'pending' | 'firing';
}

/** What to scrape and to evaluate. */
export interface PrometheusOptions {
  /** As under `scrape_configs` in Prometheus' own configuration. */
  readonly scrape: readonly object[];
  /** As under `groups` in a file of rules. */
  readonly groups: readonly object[];
}

/** A running Prometheus. */
export interface Prometheus {
  readonly url: string;
  /**
   * Asks for the values of now.
   *
   * @throws Error with Prometheus' own words where the query is wrong.
   */
  query(expression: string): Promise<readonly Sample[]>;
  /** All alerts that are pending or firing. */
  alerts(): Promise<readonly Alert[]>;
  /** SIGTERM, and SIGKILL soon after; removes what it has stored. */
  stop(): Promise<void>;
}

const secondsBetweenScrapes = 1;
const startsWithinMs = 30_000;
const stopGraceMs = 5_000;
const answerTimeoutMs = 10_000;
const checkTimeoutMs = 60_000;

const programs = () =>
  findPrograms({
    packages: ['prometheus'],
    proof: [
      ['promtool', '--version'],
      ['prometheus', '--version'],
    ],
  });

/** Runs promtool in that folder; resolves to all that it says and how it ended. */
export async function promtool(
  args: readonly string[],
  cwd: string,
): Promise<{ readonly code: number | null; readonly output: string }> {
  const { env } = await programs();
  const run = await runCommand('promtool', args, { timeoutMs: checkTimeoutMs, cwd, env });
  return { code: run.code, output: `${run.stdout}${run.stderr}` };
}

async function ask<Data>(url: string): Promise<Data> {
  const response = await fetch(url, { signal: AbortSignal.timeout(answerTimeoutMs) });
  const body = (await response.json()) as { status: string; error?: string; data: Data };
  if (body.status !== 'success') throw new Error(`${url}: ${body.error ?? response.status}`);
  return body.data;
}

/** Starts a Prometheus that scrapes and evaluates every second; resolves once it is ready. */
export async function startPrometheus(options: PrometheusOptions): Promise<Prometheus> {
  const { env } = await programs();
  const folder = await mkdtemp(join(tmpdir(), 'electord-prometheus-'));
  const interval = `${secondsBetweenScrapes}s`;
  const configuration = {
    global: { scrape_interval: interval, scrape_timeout: interval, evaluation_interval: interval },
    rule_files: ['rules.yml'],
    scrape_configs: options.scrape,
  };
  await writeFile(join(folder, 'prometheus.yml'), stringify(configuration));
  await writeFile(join(folder, 'rules.yml'), stringify({ groups: options.groups }));
  const url = `http://127.0.0.1:${await reservePort()}`;
  const child = await spawnGuarded({
    file: 'prometheus',
    args: [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=${new URL(url).host}`,
      '--log.level=warn',
    ],
    env,
  });
  const stop = async (): Promise<void> => {
    await child.stop(stopGraceMs);
    await rm(folder, { recursive: true, force: true });
  };
  const isReady = async (): Promise<boolean> => {
    if (child.exit() !== null) throw new Error(child.recentOutput());
    return (await fetch(`${url}/-/ready`)).ok;
  };
  try {
    await eventually(isReady, { withinMs: startsWithinMs, what: 'a Prometheus that is ready' });
  } catch (error) {
    await stop();
    throw new Error(`${String(error)}\n${child.recentOutput()}`, { cause: error });
  }
  return {
    url,
    query: async (expression) => {
      interface Vector {
        readonly result: readonly {
          readonly metric: Sample['metric'];
          readonly value: readonly [number, string];
        }[];
      }
      const { result } = await ask<Vector>(
        `${url}/api/v1/query?query=${encodeURIComponent(expression)}`,
      );
      return result.map(({ metric, value: [, text] }) => ({ metric, value: Number(text) }));
    },
    alerts: async () =>
      (await ask<{ readonly alerts: readonly Alert[] }>(`${url}/api/v1/alerts`)).alerts,
    stop,
  };
}
