// A flood of connections on the public listener of a sidecar that may open few files: it goes on leading, and the app beside
// it is answered on the local listener.
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { spawnGuarded } from '../../src/dev/etcd-child.ts';
import { projectFolder } from '../harness/binaries.ts';
import { reservePorts } from '../harness/ports.ts';
import type { LeaderAnswer } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { openStage, ttlMs, type Stage } from './stage.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await openStage({ size: 1 });
});
afterAll(() => stage.end());

/** How many files it may open; far more connections than that are made. */
const openFiles = 120;
const floodOf = 200;

/** Over a connection of its own, as a client that comes anew. */
async function leaderOver(port: number): Promise<LeaderAnswer> {
  const asked = get({ host: '127.0.0.1', port, path: '/leader', agent: false, timeout: 2000 });
  asked.on('timeout', () => asked.destroy(new Error('no answer')));
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  return (await json(answer)) as LeaderAnswer;
}

test('idle connections to the public listener shut out neither the app nor etcd', async () => {
  const [port = 0, localPort = 0] = await reservePorts(2);
  const program = join(projectFolder, 'dist/electord.js');
  const sidecar = await spawnGuarded({
    file: '/bin/sh',
    args: [
      ...['-c', `ulimit -n ${openFiles}; exec "$0" "$@"`, process.execPath, program, 'serve'],
      ...['--election=flooded', '--id=a', `--etcd=${stage.cluster.endpoints.join(',')}`],
      ...[`--ttl=${ttlMs}ms`, `--listen=127.0.0.1:${port}`],
      `--local-listen=127.0.0.1:${localPort}`,
    ],
    env: process.env,
    onLine: () => undefined,
  });
  const flood: Socket[] = [];
  try {
    const before = await eventually(
      async () => {
        const answer = await leaderOver(localPort);
        return answer.isLeader && answer;
      },
      { withinMs: 20_000, what: 'a leader' },
    );
    for (let index = 0; index < floodOf; index += 1) {
      const socket = connect({ host: '127.0.0.1', port });
      socket.on('error', () => undefined);
      flood.push(socket);
      await once(socket, 'connect');
    }
    const open = (): number => flood.filter(({ destroyed }) => !destroyed).length;
    await eventually(() => open() < openFiles, { withinMs: 5000, what: 'some are dropped' });
    expect(open()).toBeGreaterThan(0);
    // Well past the end of the lease that it had when the flood came: it was renewed meanwhile.
    const seen = performance.now();
    const said = new Set<string | null>();
    await eventually(
      async () => {
        const now = await leaderOver(localPort).catch(String);
        said.add(typeof now === 'string' ? now : now.fencingToken);
        return performance.now() - seen > 2 * ttlMs;
      },
      { withinMs: 20_000, what: 'two leases' },
    );
    expect([...said]).toEqual([before.fencingToken]);
    expect(open()).toBeGreaterThan(0);
  } finally {
    for (const socket of flood) socket.destroy();
    await sidecar.stop(5000);
  }
});
