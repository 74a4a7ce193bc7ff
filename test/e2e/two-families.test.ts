// The program as it starts with no address set, in network namespaces of its own: what it listens on, and the address of
// its own that it tells others, where the machine has both families, IPv6 only beside loopback, or no IPv6. Linux, as root.
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { complaint, runCommand } from '../../src/dev/etcd-command.ts';
import { spawnGuarded, type GuardedChild } from '../../src/dev/etcd-child.ts';
import { projectFolder } from '../harness/binaries.ts';
import { eventually } from '../harness/wait.ts';

const program = join(projectFolder, 'dist/electord.js');
const startsWithinMs = 30_000;
const stopGraceMs = 15_000;

let sidecar: GuardedChild | undefined;
afterEach(async () => {
  await sidecar?.stop(stopGraceMs);
  sidecar = undefined;
});

/** Starts it in a namespace that `setUp`, a line for the shell, has made ready; nothing of ours is in its environment. */
async function startIn(setUp: string, args: readonly string[] = []): Promise<GuardedChild> {
  const etcd = '--etcd=http://127.0.0.1:1';
  const serve = [process.execPath, program, 'serve', '--election=orders', etcd, ...args];
  const script = `set -e; ${setUp}; exec "$@"`;
  sidecar = await spawnGuarded({
    file: 'unshare',
    args: ['--net', 'sh', '-c', script, 'sh', ...serve],
    env: { PATH: process.env['PATH'] },
  });
  return sidecar;
}

/** The status of a GET from within the namespace of `child`, and the `url` in the answer; null where nobody answers. */
async function ask(child: GuardedChild, url: string): Promise<unknown> {
  const script = `fetch(process.argv[1])
    .then(async (answer) => ({ status: answer.status, url: (await answer.json()).settings?.url.value }))
    .catch(() => null).then((found) => console.log(JSON.stringify(found)))`;
  const inside = [`--net=/proc/${child.pid}/ns/net`, process.execPath, '-e', script, url];
  const result = await runCommand('nsenter', inside, { timeoutMs: startsWithinMs });
  if (result.code !== 0) throw new Error(complaint(result));
  return JSON.parse(result.stdout);
}

const statusAt = (child: GuardedChild, url: string): Promise<unknown> =>
  eventually(() => ask(child, `${url}/status`), {
    withinMs: startsWithinMs,
    what: `an answer of ${url}`,
  });

const loopback = 'ip link set lo up';
/** The interface that comes first has nothing but a link-local address. */
const onlyIpv6 = [
  loopback,
  'ip link add a0 type veth peer name a1',
  'ip -6 addr add fe80::5/64 dev a0 nodad',
  'ip -6 addr add fd00::5/64 dev a1 nodad',
  'ip link set a0 up',
  'ip link set a1 up',
].join('; ');
const noIpv6 = `echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; ${loopback}`;

describe('with no address set', () => {
  test('it is reached in both families, and tells an IPv6 address that it serves and that is not link-local', async () => {
    const child = await startIn(onlyIpv6);
    const told = { status: 200, url: 'http://[fd00::5]:4040' };
    for (const url of ['http://[fd00::5]:4040', 'http://[::1]:4040', 'http://127.0.0.1:4040']) {
      expect(await statusAt(child, url), url).toEqual(told);
    }
    for (const url of ['http://[::1]:4041', 'http://127.0.0.1:4041']) {
      expect(await statusAt(child, url), url).toEqual(told);
    }
  });

  test('it tells an IPv4 address where there is one', async () => {
    const child = await startIn(`${onlyIpv6}; ip addr add 10.9.9.9/24 dev a1`);
    const told = { status: 200, url: 'http://10.9.9.9:4040' };
    expect(await statusAt(child, 'http://10.9.9.9:4040')).toEqual(told);
    expect(await statusAt(child, 'http://[fd00::5]:4040')).toEqual(told);
  });

  test('it starts on a machine without IPv6', async () => {
    const child = await startIn(noIpv6, ['--url=http://[10.0.0.5]:4040']);
    const told = { status: 200, url: 'http://[10.0.0.5]:4040' };
    expect(await statusAt(child, 'http://127.0.0.1:4040')).toEqual(told);
    expect(await statusAt(child, 'http://127.0.0.1:4041')).toEqual(told);
  });
});
