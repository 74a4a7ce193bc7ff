// `electord hand-over` as a supervisor runs it: with the settings of the sidecar and nothing else, whatever listens and whoever
// may ask. It says so where it does nothing.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { runCommand } from '../../src/dev/etcd-command.ts';
import { projectFolder } from '../harness/binaries.ts';
import { makeCertificates, type Certificates } from '../harness/certificates.ts';
import { startEtcdCluster, type EtcdCluster } from '../harness/etcd.ts';
import { startSidecar, type Sidecar } from '../harness/sidecar.ts';

const program = join(projectFolder, 'dist/electord.js');
const withinMs = 30_000;

let etcd: EtcdCluster;
let certificates: Certificates;
let elections = 0;
const sidecars: Sidecar[] = [];

beforeAll(async () => {
  [etcd, certificates] = await Promise.all([startEtcdCluster({ size: 1 }), makeCertificates()]);
  await writeFile(join(certificates.folder, 'token'), 'a-token-of-sixteen-and-more');
}, 120_000);

afterAll(() => Promise.all([etcd.stop(), certificates.remove()]));

afterEach(() => Promise.all(sidecars.splice(0).map((sidecar) => sidecar.stop())));

async function started(id: string, election: string, args: readonly string[]): Promise<Sidecar> {
  const sidecar = await startSidecar({ election, id, etcd: etcd.endpoints, args });
  sidecars.push(sidecar);
  return sidecar;
}

const leads = (sidecar: Sidecar, election: string) =>
  sidecar.waitForLog(({ msg }) => msg === `leads ${election}`, withinMs);

/** Runs the command with the settings of a sidecar. */
function handOver(sidecar: Sidecar, election: string, args: readonly string[]) {
  const listens = args.some((arg) => arg.startsWith('--local-listen'));
  const local = listens ? [] : [`--local-listen=${new URL(sidecar.localUrl).host}`];
  return runCommand(
    process.execPath,
    [program, 'hand-over', `--election=${election}`, ...local, ...args],
    { timeoutMs: withinMs, env: { PATH: process.env['PATH'] } },
  );
}

const tls = (): string[] => {
  const { certFile, keyFile } = certificates.server;
  return [`--tls-cert=${certFile}`, `--tls-key=${keyFile}`];
};

const ways = {
  'a port of this machine': (): string[] => [],
  'a unix socket': () => [`--local-listen=unix:${join(certificates.folder, 'electord.sock')}`],
  'a token': () => [`--token-file=${join(certificates.folder, 'token')}`],
  TLS: tls,
  'TLS and certificates of clients': () => [
    ...tls(),
    `--tls-client-ca=${certificates.authority.certFile}`,
  ],
};

describe.each(Object.entries(ways))('a leader behind %s', (_, argsOf) => {
  test('hands over, and a follower has nothing to', async () => {
    const election = `hand-over-${(elections += 1)}`;
    const args = argsOf();
    const leader = await started('orders-0', election, args);
    await leads(leader, election);
    const alone = await handOver(leader, election, args);
    expect(alone.code, alone.stderr).toBe(1);
    expect(alone.stderr).toContain(`nobody can take over ${election}`);

    const others = args.filter((arg) => !arg.startsWith('--local-listen'));
    const follower = await started('orders-1', election, others);
    await follower.waitForLog(
      ({ msg }) => String(msg).startsWith('orders-0 is the leader'),
      withinMs,
    );
    const ran = await handOver(leader, election, args);
    expect(ran.code, ran.stderr).toBe(0);
    expect(ran.stdout).toContain('orders-1');
    await leads(follower, election);

    const idle = await handOver(leader, election, args);
    expect(idle.code, idle.stderr).toBe(0);
    expect(idle.stdout).toContain('leads no election');
  });
});

test('another certificate in the place of its own is not trusted, and without a sidecar nothing is handed over', async () => {
  const election = `hand-over-${(elections += 1)}`;
  const leader = await started('orders-0', election, tls());
  await leads(leader, election);
  const { certFile, keyFile } = certificates.foreignClient;
  const foreign = [`--tls-cert=${certFile}`, `--tls-key=${keyFile}`];
  const refused = await handOver(leader, election, foreign);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toMatch(/certificate/);
  await leader.stop();
  const gone = await handOver(leader, election, tls());
  expect(gone.code).toBe(1);
  expect(gone.stderr).toContain('electord: ');
});
