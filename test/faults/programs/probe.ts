// Runs on a sidecar's host: asks it all the time whether it leads, as the app beside it would, and writes every answer
// with the times of question and answer on the machine's one monotonic clock; and once a second how much it asks of etcd.
// It judges nothing.
//
// node probe.mjs ORIGIN
import { readFileSync } from 'node:fs';
import { Agent, request, type IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { formatAnswer } from '../answer-line.ts';
import { formatSample } from '../traffic.ts';

/** Often enough to see every state that lasts; seldom enough to leave the processor to what is tested. */
const askEveryMs = 10;
/** While a question is unanswered, more are sent this often: so that some were sent long before a process wakes. */
const askTheSilentEveryMs = 100;
/** Longer than any process is stopped. */
const patienceMs = 60_000;
/** More than wait in `patienceMs` of silence. */
const mostOpen = 700;
/** A host of a run tells its news this often; the times were taken before. */
const flushEveryMs = 50;
/** A loop of requests shows within seconds. */
const sampleEveryMs = 1000;

const [origin = ''] = process.argv.slice(2);
const agent = new Agent({ keepAlive: true });
const now = (): number => Number(process.hrtime.bigint()) / 1e6;
let lines: string[] = [];
let open = 0;

/** Hands over an answer with its text; what is no answer is dropped, for it claims nothing. */
function get(path: string, take: (answer: IncomingMessage, text: string) => void): Promise<void> {
  return new Promise((resolve) => {
    const asked = request(`${origin}${path}`, { agent, timeout: patienceMs }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      answer.on('error', () => resolve());
      answer.on('end', () => {
        take(answer, text);
        resolve();
      });
    });
    asked.on('timeout', () => asked.destroy());
    asked.on('error', () => resolve());
    asked.on('close', () => resolve());
    asked.end();
  });
}

function ask(): Promise<void> {
  const sentAt = now();
  return get('/leader', (answer, text) => write(sentAt, now(), answer, text));
}

async function sampleForEver(): Promise<void> {
  for (;;) {
    await delay(sampleEveryMs);
    await get('/metrics', (_, text) => {
      lines.push(formatSample(now(), text, readFileSync('/proc/net/dev', 'utf8')));
    });
  }
}

function write(sentAt: number, receivedAt: number, answer: IncomingMessage, text: string): void {
  try {
    const body = JSON.parse(text) as Parameters<typeof formatAnswer>[0]['body'];
    const wallMs = Date.parse(answer.headers.date ?? '');
    const status = answer.statusCode ?? 0;
    lines.push(formatAnswer({ sentAt, receivedAt, status, wallMs, body }));
  } catch {
    // Half an answer of a process that was killed.
  }
}

setInterval(() => {
  if (lines.length === 0) return;
  process.stdout.write(`${lines.join('\n')}\n`);
  lines = [];
}, flushEveryMs);

void sampleForEver();
for (;;) {
  if (open < mostOpen) {
    open += 1;
    void ask().finally(() => {
      open -= 1;
    });
  }
  await delay(askEveryMs);
  for (let waitedMs = askEveryMs; open > 0 && waitedMs < askTheSilentEveryMs;) {
    await delay(askEveryMs);
    waitedMs += askEveryMs;
  }
}
