// deploy/keepalived/keepalived.conf on a stock keepalived, three times, each on a host of its own beside a real sidecar: the
// virtual address is with the leader, through a switchover and a kill, and never with two.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { spawnGuarded, type GuardedChild } from '../../src/dev/etcd-child.ts';
import { complaint, runCommand } from '../../src/dev/etcd-command.ts';
import { Laboratory, type Host } from '../faults/hosts.ts';
import { projectFolder } from '../harness/binaries.ts';
import { needsRoot } from '../harness/left-out.ts';
import { findPrograms, keepalivedWanted, programFile } from '../harness/programs.ts';
import { monotonicMs, type Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { agreement, openStage, type Stage } from './stage.ts';

const file = join(projectFolder, 'deploy/keepalived/keepalived.conf');
const withinMs = 20_000;
const network = 9;
const address = `10.77.${network}.100`;

interface Machine {
  readonly host: Host;
  readonly sidecar: Sidecar;
  /** Of its local listener. */
  readonly socket: string;
}

const inside = ({ namespace }: Host): readonly string[] => ['netns', 'exec', namespace];

/** Nobody else may open a socket in a temporary folder; and 2.2.7 checks no file with another user. */
const asRoot = (text: string): string => text.replace('script_user nobody', 'script_user root');

const root = needsRoot('hosts of their own, which are network namespaces');

describe('keepalived', root, () => {
  let env: NodeJS.ProcessEnv = {};
  let laboratory: Laboratory;
  let stage: Stage;
  let folder = '';
  const machines: Machine[] = [];
  const daemons: GuardedChild[] = [];

  /** The file for one machine; a unix socket is reached from any network namespace. */
  async function configuration(socket: string): Promise<string> {
    const text = await readFile(file, 'utf8');
    const changes = [
      ['http://127.0.0.1:4041/leader"', `--unix-socket ${socket} http://localhost/leader"`],
      ['/usr/bin/curl', programFile('curl', env)],
      ['10.0.0.100/24', `${address}/16`],
    ] as const;
    return changes.reduce((changed, [from, to]) => {
      expect(changed).toContain(from);
      return changed.replace(from, to);
    }, asRoot(text));
  }

  async function addMachine(id: string, number: number): Promise<void> {
    const socket = join(folder, `${id}.sock`);
    const host = await laboratory.addHost(id, network, number);
    const sidecar = await stage.sidecar({
      ...{ election: 'orders', id },
      args: [`--local-listen=unix:${socket}`],
    });
    const own = join(folder, `${id}.conf`);
    await writeFile(own, await configuration(socket));
    const pids = ['--pid', '--vrrp_pid'].flatMap((flag) => [flag, join(folder, `${id}${flag}`)]);
    const run = ['keepalived', '--dont-fork', '--log-console', '--vrrp', ...pids, '-f', own];
    daemons.push(await spawnGuarded({ file: 'ip', args: [...inside(host), ...run], env }));
    machines.push({ host, sidecar, socket });
  }

  beforeAll(async () => {
    ({ env } = await findPrograms(keepalivedWanted));
    folder = await mkdtemp(join(tmpdir(), 'electord-keepalived-'));
    [laboratory, stage] = await Promise.all([Laboratory.open(), openStage({ size: 1 })]);
    for (const [index, id] of ['a', 'b', 'c'].entries()) await addMachine(id, index + 1);
  }, 300_000);

  afterAll(async () => {
    await Promise.all(daemons.map((daemon) => daemon.stop(5000)));
    await stage.end();
    laboratory.remove();
    await rm(folder, { recursive: true, force: true });
  });

  /** Who has the address: never two. */
  async function holders(): Promise<readonly string[]> {
    const held = machines.map(async ({ host, sidecar }) => {
      const args = ['-n', host.namespace, '-o', 'address', 'show', 'dev', 'eth0'];
      const shown = await runCommand('ip', args, { timeoutMs: withinMs });
      if (shown.code !== 0) throw new Error(complaint(shown));
      return shown.stdout.includes(`inet ${address}/`) ? [sidecar.id] : [];
    });
    return (await Promise.all(held)).flat();
  }

  /** Waits until the address is there; resolves to how long that took. */
  async function moves({ id }: Sidecar): Promise<number> {
    const since = monotonicMs();
    let most = 0;
    const there = async (): Promise<boolean> => {
      const found = await holders();
      most = Math.max(most, found.length);
      return found.length === 1 && found[0] === id;
    };
    await eventually(there, { withinMs, what: `the address is with ${id}` });
    expect(most, 'of them had it at once').toBe(1);
    return Math.round(monotonicMs() - since);
  }

  const sidecars = (): readonly Sidecar[] => machines.map(({ sidecar }) => sidecar);

  test('finds no fault in the file', async () => {
    const { host } = machines[0]!;
    const own = join(folder, 'checked.conf');
    await writeFile(own, asRoot(await readFile(file, 'utf8')));
    const args = [...inside(host), 'keepalived', '--config-test', '-f', own];
    const checked = await runCommand('ip', args, { timeoutMs: withinMs, env });
    expect(checked.code, complaint(checked)).toBe(0);
  });

  test('the address is with the leader, and goes with it', { timeout: 120_000 }, async () => {
    const { leader, others } = await agreement(sidecars());
    await moves(leader);
    const [successor, third] = others as readonly [Sidecar, Sidecar];
    const { socket } = machines.find(({ sidecar }) => sidecar === successor)!;
    const program = join(projectFolder, 'dist', 'electord.js');
    const verb = ['switchover', '--to', successor.id, '--url', `unix:${socket}`];
    const done = await runCommand(process.execPath, [program, ...verb], { timeoutMs: withinMs });
    expect(done.code, complaint(done)).toBe(0);
    const switchedMs = await moves(successor);

    successor.signal('SIGKILL');
    const next = await agreement([leader, third]);
    const failedMs = await moves(next.leader);
    console.error(
      `the address moved ${switchedMs} ms after a switchover, ${failedMs} ms after the election that followed a kill`,
    );
  });
});
