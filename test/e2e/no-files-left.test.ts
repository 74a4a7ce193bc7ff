// A leader that has used up its file descriptors: a check that cannot be started has failed, a hook likewise, and nothing falls.
// Once there are files again all goes on in the same term.
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { spawnGuarded } from '../../src/dev/etcd-child.ts';
import { projectFolder } from '../harness/binaries.ts';
import { eventually } from '../harness/wait.ts';
import { usesUpFilesAtSignal } from './misfortune.ts';
import { openStage, ttlMs, type Stage } from './stage.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await openStage({ size: 1 });
});
afterAll(() => stage.end());

/** Enough for a sidecar, and soon used up. */
const openFiles = 120;

test('a check that cannot be started is a failed one, and the hook of the end too', async () => {
  const program = join(projectFolder, 'dist/electord.js');
  const lines: string[] = [];
  const sidecar = await spawnGuarded({
    file: '/bin/sh',
    args: [
      ...['-c', `ulimit -n ${openFiles}; exec "$0" "$@"`, process.execPath, program, 'serve'],
      ...['--election=files', '--id=a', `--etcd=${stage.cluster.endpoints.join(',')}`],
      ...[`--ttl=${ttlMs}ms`, '--listen=127.0.0.1:0', '--local-listen=127.0.0.1:0'],
      ...['--app-check=exec:exit 0', '--app-check-interval=400ms'],
      ...[
        '--app-check-timeout=400ms',
        '--app-check-fall=3',
        '--on-step-down=exec:exit 0',
        '--grace=10s',
      ],
    ],
    env: { ...process.env, ...usesUpFilesAtSignal },
    onLine: (line) => lines.push(line),
  });
  const says = (text: RegExp) =>
    eventually(() => lines.filter((line) => text.test(line)).length > 0, {
      withinMs: 20_000,
      what: `${String(text)} in\n${lines.slice(-10).join('\n')}`,
    });
  try {
    await says(/leads files/);
    sidecar.signal('SIGUSR2');
    await says(/an app check failed: the command could not be started \(EMFILE\)/);
    await says(/the step-down hook of files failed: it could not be started \(EMFILE\)/);
    lines.length = 0;
    sidecar.signal('SIGUSR2');
    await says(/the app is healthy/);
    sidecar.signal('SIGTERM');
    expect(await sidecar.exited, lines.join('\n')).toEqual({ code: 0, signal: null });
  } finally {
    await sidecar.stop(5000);
  }
});
