// Makes the code cache of a built program, `FILE.cache`: what V8 made of it while it led, answered and stepped down. In a
// process of its own, since the program runs in it.
//
// node code-cache.mjs FILE
import { createHash } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { launch, mark } from './launch.mjs';
import { startSmallEtcd } from './small-etcd.mjs';

const [, , file = ''] = process.argv;
const withinMs = 20_000;
const unfinished = `${file}.${process.pid}.tmp`;
const socketPath = `${unfinished}.sock`;

/** The status of `/leader`; 0 where nobody answers. */
const leader = () =>
  new Promise((resolve) => {
    get({ socketPath, path: '/leader' }, (answer) => {
      answer.resume().on('end', () => resolve(answer.statusCode));
    }).on('error', () => resolve(0));
  });

const etcd = await startSmallEtcd();
process.argv = [
  ...[process.execPath, file, 'serve', '--election=warm', '--id=warm', `--etcd=${etcd.url}`],
  ...['--listen=127.0.0.1:0', `--local-listen=unix:${socketPath}`, '--log-level=fatal'],
];
let script;
let program;
launch(process.getBuiltinModule, file, mark, (compiled, text) => {
  [script, program] = [compiled, text];
});
const from = performance.now();
while ((await leader()) !== 200) {
  if (performance.now() - from > withinMs) throw new Error('the built program does not lead');
  await delay(5);
}
// It steps down, and ends this process.
process.on('exit', () => {
  const data = script.createCachedData();
  const digest = createHash('sha256').update(program).update(data).digest();
  writeFileSync(unfinished, Buffer.concat([digest, data]));
  renameSync(unfinished, `${file}.cache`);
});
process.kill(process.pid, 'SIGTERM');
