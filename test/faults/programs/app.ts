// Runs on a sidecar's host: the app beside it, which tells what reaches it; and a client that writes through the sidecar's
// proxies at a constant rate, whatever becomes of it. It judges nothing.
//
// node app.mjs NAME PORT HTTP_PROXY_PORT TCP_PROXY_PORT
import { Agent, createServer, request } from 'node:http';
import { formatArrival, formatWrite, pathOf } from '../writes.ts';

const writeEveryMs = 40;
/** One in so many goes through the proxy for TCP. */
const tcpEvery = 3;
/** One in so many may be repeated. */
const putEvery = 4;
/** On one in so many the app thinks for a while: whatever breaks, some are under way. */
const slowEvery = 5;
const slowMs = 300;
/** Longer than any process is stopped. */
const patienceMs = 60_000;
/** A host of a run tells its news this often; the times were taken before. */
const flushEveryMs = 50;

const [name = '', port = '0', httpPort = '0', tcpPort = '0'] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true });
const now = (): number => Number(process.hrtime.bigint()) / 1e6;
let lines: string[] = [];
let count = 0;
let arrived = 0;

function send(): void {
  count += 1;
  const isTcp = count % tcpEvery === 0;
  const [write, sentAt] = [`${isTcp ? 'tcp' : 'http'}-${name}-${count}`, now()];
  let ended = (result: string): void => {
    ended = () => undefined;
    lines.push(formatWrite({ write, sentAt, endedAt: now(), result }));
  };
  const method = count % putEvery === 0 ? 'PUT' : 'POST';
  const options = { agent, method, timeout: patienceMs };
  const origin = `http://127.0.0.1:${isTcp ? tcpPort : httpPort}`;
  const asked = request(origin + pathOf({ write, sentAt }), options, (answer) => {
    answer.on('error', () => ended('broken-off'));
    answer.resume().on('end', () => ended(String(answer.statusCode)));
  });
  asked.on('timeout', () => asked.destroy());
  asked.on('error', (error: NodeJS.ErrnoException) => ended(error.code ?? 'failed'));
  asked.end('x');
}

const server = createServer({ keepAliveTimeout: patienceMs }, (asked, answer) => {
  const { method = '', url = '', headers } = asked;
  const token = String(headers['x-electord-fencing-token'] ?? '-');
  lines.push(formatArrival(url, { method, at: now(), token }));
  arrived += 1;
  if (arrived % slowEvery === 0) setTimeout(() => answer.end(), slowMs);
  else answer.end();
});
server.listen(Number(port), '0.0.0.0', () => setInterval(send, writeEveryMs));

setInterval(() => {
  if (lines.length === 0) return;
  process.stdout.write(`${lines.join('\n')}\n`);
  lines = [];
}, flushEveryMs);
