// Only home of express: reaches the routes of routes.ts and gives every answer what all answers have in common.
// Nothing is cached: each request asks for a report of its own, as late as possible.
import type { IncomingMessage, ServerResponse } from 'node:http';
import express, { type NextFunction, type Request, type Response } from 'express';
import type { ElectionName } from '../core/model.ts';
import type { Role } from '../core/report.ts';
import type { Inputs } from './inputs.ts';
import { problem, quoted, Refusal } from './problems.ts';
import {
  overallRole,
  routes,
  soleElection,
  type Asked,
  type Handler,
  type Handlers,
  type Method,
  type Reply,
  type Route,
} from './routes.ts';

/** What `listen` serves. */
export interface Application {
  handle(request: IncomingMessage, response: ServerResponse): void;
  /** For answers that are made before a request could be read. */
  role(): Role;
  reportError(error: unknown): void;
}

/** Headers of every answer, whatever it says. */
export const commonHeaders = (role: Role): Record<string, string> => ({
  'Cache-Control': 'no-store',
  'X-Content-Type-Options': 'nosniff',
  'X-Electord-Role': role,
});

function problemReply(refusal: Refusal): Reply {
  return {
    status: refusal.problem.status,
    contentType: 'application/problem+json',
    body: JSON.stringify(refusal.problem),
    headers: refusal.headers,
  };
}

function send(request: IncomingMessage, response: ServerResponse, reply: Reply, role: Role): void {
  const { method } = request;
  // What GET would have sent is told to HEAD; OPTIONS has a body of its own, which is empty.
  const length = method === 'OPTIONS' ? 0 : Buffer.byteLength(reply.body);
  response.writeHead(reply.status, {
    'Content-Type': reply.contentType,
    'Content-Length': length,
    ...commonHeaders(role),
    ...reply.headers,
  });
  if (method === 'HEAD' || method === 'OPTIONS') response.end();
  else response.end(reply.body);
}

function allowed({ handlers }: Route): string {
  const methods: string[] = Object.keys(handlers);
  return [...methods, ...(methods.includes('GET') ? ['HEAD', 'OPTIONS'] : [])].join(', ');
}

function handlerFor<Question>(
  route: Route,
  handlers: Handlers<Question>,
  { method }: Request,
): Handler<Question> {
  const serves = method === 'HEAD' || method === 'OPTIONS' ? 'GET' : method;
  const handler = Object.hasOwn(handlers, serves) ? handlers[serves as Method] : undefined;
  if (handler !== undefined) return handler;
  const allow = allowed(route);
  const detail = `${quoted(method)} is not one of ${allow}`;
  throw new Refusal(405, 'method_not_allowed', detail, { headers: { Allow: allow } });
}

function readable(path: string): boolean {
  try {
    decodeURIComponent(path);
    return true;
  } catch {
    return false;
  }
}

const asked = (request: Request, inputs: Inputs): Asked => ({
  inputs,
  // The first one wins where a client does not care, as curl and most programs do not.
  prefersHtml: () => request.accepts(['json', 'html']) === 'html',
});

interface Answered {
  readonly reply: Reply | Promise<Reply>;
  /** The role that the reply speaks of, so that header and body agree; null: no election in particular. */
  readonly role: Role | null;
}

/** `name` is the election that the path names, null where it names none. */
function answer(
  request: Request,
  route: Route,
  name: ElectionName | null,
  inputs: Inputs,
): Answered {
  const { elections } = inputs;
  if (route.scope === 'election') {
    const handler = handlerFor(route, route.handlers, request);
    const report = elections.report(name ?? soleElection(elections));
    return { reply: handler({ ...asked(request, inputs), report }), role: report.role };
  }
  const reply = handlerFor(route, route.handlers, request)(asked(request, inputs));
  return { reply, role: name === null ? null : elections.report(name).role };
}

/** The role for an answer that no election gave; an answer is never refused for want of it. */
function roleOrUnknown({ elections }: Inputs): Role {
  try {
    return overallRole(elections);
  } catch {
    return 'unknown';
  }
}

function namedElection(request: Request, known: ReadonlySet<string>): ElectionName {
  const { election } = request.params;
  if (typeof election === 'string' && known.has(election)) return election as ElectionName;
  const detail = `there is no election ${quoted(String(election))} here; /elections lists all`;
  throw new Refusal(404, 'unknown_election', detail);
}

function asRefusal(error: unknown, inputs: Inputs): Refusal {
  if (error instanceof Refusal) return error;
  inputs.reportError(error);
  return new Refusal(500, 'internal_error', 'the cause stands in the log of this instance');
}

/** What express does with a request that it, or a handler, could not answer. */
function failing(inputs: Inputs) {
  return (error: unknown, request: Request, response: Response, _next: NextFunction): void => {
    const reply = problemReply(asRefusal(error, inputs));
    if (response.headersSent) response.destroy();
    else send(request, response, reply, roleOrUnknown(inputs));
  };
}

type Serve = (request: Request, response: Response) => void | Promise<void>;

/** `which` tells the election that a path names. */
function serving(
  route: Route,
  inputs: Inputs,
  which: (request: Request) => ElectionName | null,
): Serve {
  return (request, response) => {
    const { reply, role } = answer(request, route, which(request), inputs);
    const sendIt = (ready: Reply): void =>
      send(request, response, ready, role ?? roleOrUnknown(inputs));
    return reply instanceof Promise ? reply.then(sendIt) : sendIt(reply);
  };
}

/** Express without what it would do of its own: no ETag, no signature, no nested queries, paths as they are. */
function bareExpress() {
  const application = express();
  application.disable('x-powered-by');
  application.disable('etag');
  application.set('query parser', 'simple');
  application.enable('case sensitive routing');
  return application;
}

/** The application of a listener. Several may share `inputs`. */
export function createApplication(inputs: Inputs): Application {
  const application = bareExpress();
  const known: ReadonlySet<string> = new Set(inputs.elections.names);

  application.use((request, _response, next) => {
    if (request.url.includes('%') && !readable(request.path)) {
      throw new Refusal(400, 'malformed_request', 'the path is not valid percent-encoding');
    }
    next();
  });
  for (const route of routes) {
    const short = serving(route, inputs, () => null);
    const long = serving(route, inputs, (request) => namedElection(request, known));
    for (const path of route.paths) {
      application.route(path).all(short);
      if (route.scope === 'election' || route.perElection) {
        application.route(`/elections/:election${path}`).all(long);
      }
    }
  }
  application.use((request) => {
    throw new Refusal(404, 'not_found', `there is nothing under ${quoted(request.path)}`);
  });
  application.use(failing(inputs));
  return {
    handle: (request, response) => void application(request, response),
    role: () => roleOrUnknown(inputs),
    reportError: inputs.reportError,
  };
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
