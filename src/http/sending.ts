// What all answers have in common: the header, the role in it, and how a reply goes out. No Express here: probes are
// answered without it.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Role } from '../core/report.ts';
import { overallRole, type Reply } from './exchange.ts';
import type { Inputs } from './inputs.ts';
import { problem, type Refusal } from './problems.ts';

/** What `listen` serves. */
export interface Application {
  handle(request: IncomingMessage, response: ServerResponse): void;
  /** For answers that are made before a request could be read. */
  role(): Role;
  reportError(error: unknown): void;
  /** Nothing more is accepted: answers that have no end of their own end now. */
  drain(): void;
}

/** Headers of every answer, whatever it says. */
export const commonHeaders = (role: Role): Record<string, string> => ({
  'Cache-Control': 'no-store',
  'X-Content-Type-Options': 'nosniff',
  'X-Electord-Role': role,
});

export function problemReply(refusal: Refusal): Reply {
  return {
    status: refusal.problem.status,
    contentType: 'application/problem+json',
    body: JSON.stringify(refusal.problem),
    headers: refusal.headers,
  };
}

/** These two have no body by definition, and say nothing about one. */
const isBodiless = (status: number): boolean => status === 204 || status === 304;

export function send(
  request: IncomingMessage,
  response: ServerResponse,
  reply: Reply,
  role: Role,
): void {
  const { method } = request;
  const common = { ...commonHeaders(role), ...reply.headers };
  if (isBodiless(reply.status)) {
    response.writeHead(reply.status, common).end();
    return;
  }
  const asks = method === 'HEAD' || method === 'OPTIONS';
  const head = { 'Content-Type': reply.contentType, ...common };
  if (reply.stream !== undefined) {
    response.writeHead(reply.status, head);
    if (asks) response.end();
    else reply.stream(response);
    return;
  }
  // What GET would have sent is told to HEAD; OPTIONS has a body of its own, which is empty.
  const length = method === 'OPTIONS' ? 0 : Buffer.byteLength(reply.body);
  response.writeHead(reply.status, { ...head, 'Content-Length': length });
  if (asks) response.end();
  else response.end(reply.body);
}

/**
 * The same for a short text that is not a stream, without making anything on the way that a header does not need: what is
 * asked many times a second costs little more than the two system calls.
 */
export function sendShort(
  response: ServerResponse,
  { status, contentType, body }: Reply,
  role: Role,
  method: 'GET' | 'HEAD' | 'OPTIONS',
): void {
  const length = method === 'OPTIONS' ? 0 : Buffer.byteLength(body);
  response.writeHead(status, [...headerOf(contentType, role), 'Content-Length', String(length)]);
  response.end(method === 'GET' ? body : undefined);
}

const headers = new Map<string, readonly string[]>();

/** Names and values in turn, which is the form that Node copies least. */
function headerOf(contentType: string, role: Role): readonly string[] {
  const key = `${role} ${contentType}`;
  let header = headers.get(key);
  if (header === undefined) {
    header = Object.entries({ 'Content-Type': contentType, ...commonHeaders(role) }).flat();
    headers.set(key, header);
  }
  return header;
}

/** The role for an answer that no election gave; an answer is never refused for want of it. */
export function roleOrUnknown({ elections }: Inputs): Role {
  try {
    return overallRole(elections);
  } catch {
    return 'unknown';
  }
}

/** A whole HTTP answer for a client whose request could not be read, after which the connection ends. */
export function unreadableAnswer(
  status: 400 | 408 | 431,
  statusText: string,
  application: Application,
): string {
  const code = (
    { 400: 'malformed_request', 408: 'request_timeout', 431: 'header_too_large' } as const
  )[status];
  const body = JSON.stringify(problem(status, code, 'the request could not be read'));
  const headers = {
    'Content-Type': 'application/problem+json',
    'Content-Length': String(Buffer.byteLength(body)),
    ...commonHeaders(application.role()),
    Connection: 'close',
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${statusText}\r\n${lines.join('')}\r\n${body}`;
}
