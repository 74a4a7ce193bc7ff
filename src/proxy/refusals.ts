// The answers of an http proxy itself, where there is none of an app: problem details (RFC 9457), as everywhere in electord.
import type { ServerResponse } from 'node:http';
import type { Refused } from './buffering.ts';

export type Problem = Refused | 'app_broke_off' | 'app_silent' | 'loop' | 'not_passed_on';

const problems: Readonly<
  Record<Problem, readonly [status: number, title: string, detail: string]>
> = {
  full: [503, 'Service Unavailable', 'as many requests wait for a leader as may wait'],
  timed_out: [503, 'Service Unavailable', 'no leader could be reached in time'],
  closing: [503, 'Service Unavailable', 'this proxy ends'],
  app_broke_off: [502, 'Bad Gateway', 'the app broke off; the request may have been carried out'],
  app_silent: [
    504,
    'Gateway Timeout',
    'the app did not answer in time; the request may have been carried out',
  ],
  not_passed_on: [400, 'Bad Request', 'a proxy cannot pass such a request on'],
  loop: [508, 'Loop Detected', 'the request came back: --advertise names a proxy'],
};

export function answerProblem(response: ServerResponse, code: Problem): void {
  if (response.destroyed || response.writableEnded) return;
  if (response.headersSent) {
    // Half an answer must not look like a whole one.
    response.destroy();
    return;
  }
  const [status, title, detail] = problems[code];
  const body = JSON.stringify({ title, status, detail, code });
  response.writeHead(status, {
    'Content-Type': 'application/problem+json',
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    // What is left of the request is not read.
    Connection: 'close',
    ...(status === 503 ? { 'Retry-After': '1' } : {}),
  });
  response.end(body);
}
