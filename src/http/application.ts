// Only home of express: reaches the routes of routes.ts and gives every answer what all answers have in common.
// Nothing is cached: each request asks for a report of its own, as late as possible.
import { TLSSocket, type PeerCertificate } from 'node:tls';
import express, { type NextFunction, type Request, type Response } from 'express';
import { assertNever } from '../core/assert.ts';
import type { ElectionName } from '../core/model.ts';
import type { Role } from '../core/report.ts';
import type { Inputs, LocalInputs } from './inputs.ts';
import { readBody } from './bodies.ts';
import {
  soleElection,
  type Asked,
  type Client,
  type Handler,
  type Handlers,
  type Method,
  type Reply,
  type Route,
} from './exchange.ts';
import { refuseForeignPages, requireRight } from './guards.ts';
import { localRoutes } from './local-routes.ts';
import { quoted, Refusal, refusalOf } from './problems.ts';
import { routes } from './routes.ts';
import { problemReply, roleOrUnknown, send, type Application } from './sending.ts';

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

/** The parts of the path that have names; those of a wildcard come one by one. */
function parameterOf({ params }: Request, name: string): string {
  const value: unknown = params[name];
  return Array.isArray(value) ? value.join('/') : String(value);
}

function onGone({ socket }: Request, listener: () => void): () => void {
  socket.once('close', listener);
  // Told later all the same: who asks is not ready for it yet.
  if (socket.closed) queueMicrotask(listener);
  return () => socket.off('close', listener);
}

/** A certificate counts where the listener asked for one and found it good. */
function clientOf({ socket }: Request): Client {
  const from = socket.remoteAddress?.replace(/^::ffff:(?=\d+\.)/, '') ?? 'unix socket';
  const proven = socket instanceof TLSSocket && socket.authorized;
  const subject = proven ? socket.getPeerCertificate().subject : undefined;
  return { from, certificate: nameIn(subject), certified: proven };
}

/** The common name, else all that the subject says. */
function nameIn(subject: PeerCertificate['subject'] | undefined): string | null {
  if (subject === undefined) return null;
  const { CN } = subject as Partial<Record<string, string | string[]>>;
  const names = CN ?? Object.values(subject).flat();
  return [names].flat().join(', ') || null;
}

function asked(request: Request, inputs: Inputs, local: LocalInputs | null): Asked {
  const { url } = request;
  const end = url.indexOf('?');
  const path = end < 0 ? url : url.slice(0, end);
  return {
    inputs,
    local,
    method: request.method,
    path,
    query: new URLSearchParams(end < 0 ? '' : url.slice(end + 1)),
    header: (name) => request.get(name),
    parameter: (name) => parameterOf(request, name),
    body: (limitBytes) => readBody(request, limitBytes),
    onGone: (listener) => onGone(request, listener),
    client: () => clientOf(request),
    // The first one wins where a client does not care, as curl and most programs do not.
    prefersHtml: () => request.accepts(['json', 'html']) === 'html',
  };
}

interface Answered {
  readonly reply: Reply | Promise<Reply>;
  /** The role that the reply speaks of, so that header and body agree; null: no election in particular. */
  readonly role: () => Role | null;
}

/** Refuses whoever may not ask this, before anything of the request is looked at. */
function guard(question: Asked): LocalInputs {
  const { local, method } = question;
  if (local === null) {
    throw new Refusal(404, 'local_only', 'ask the local listener of this instance');
  }
  refuseForeignPages(question, local);
  if (method === 'POST' || method === 'PUT' || method === 'DELETE') requireRight(question, local);
  return local;
}

/** `name` is the election that the path names, null where it names none. */
function answer(
  request: Request,
  route: Route,
  name: ElectionName | null,
  inputs: Inputs,
  offered: LocalInputs | null,
): Answered {
  const { elections } = inputs;
  const question = asked(request, inputs, offered);
  switch (route.scope) {
    case 'instance': {
      const handler = handlerFor(route, route.handlers, request);
      const role = (): Role | null => (name === null ? null : elections.report(name).role);
      return { reply: handler({ ...question, election: name }), role };
    }
    case 'election': {
      const handler = handlerFor(route, route.handlers, request);
      const report = elections.report(name ?? soleElection(elections));
      return { reply: handler({ ...question, report }), role: () => report.role };
    }
    case 'local': {
      const local = guard(question);
      const handler = handlerFor(route, route.handlers, request);
      const election = name ?? soleElection(elections);
      const reply = handler({ ...question, local, report: elections.report(election) });
      // Anew: a verb takes its time.
      return { reply, role: () => elections.report(election).role };
    }
    default:
      return assertNever(route);
  }
}

function namedElection(request: Request, known: ReadonlySet<string>): ElectionName {
  const { election } = request.params;
  if (typeof election === 'string' && known.has(election)) return election as ElectionName;
  const detail = `there is no election ${quoted(String(election))} here; /elections lists all`;
  throw new Refusal(404, 'unknown_election', detail);
}

function asRefusal(error: unknown, inputs: Inputs): Refusal {
  const refusal = refusalOf(error);
  if (refusal !== null) return refusal;
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
  local: LocalInputs | null,
  which: (request: Request) => ElectionName | null,
): Serve {
  return (request, response) => {
    const { reply, role } = answer(request, route, which(request), inputs, local);
    const sendIt = (ready: Reply): void =>
      send(request, response, ready, ready.role ?? role() ?? roleOrUnknown(inputs));
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

/** The application of a listener, a public one where `local` is null. Several may share `inputs`. */
export function createApplication(
  inputs: Inputs,
  local: LocalInputs | null = null,
): Application['handle'] {
  const application = bareExpress();
  const known: ReadonlySet<string> = new Set(inputs.elections.names);

  application.use((request, _response, next) => {
    if (request.url.includes('%') && !readable(request.path)) {
      throw new Refusal(400, 'malformed_request', 'the path is not valid percent-encoding');
    }
    next();
  });
  for (const route of [...routes, ...localRoutes]) {
    const short = serving(route, inputs, local, () => null);
    const long = serving(route, inputs, local, (request) => namedElection(request, known));
    for (const path of route.paths) {
      application.route(path).all(short);
      if (route.scope !== 'instance' || route.perElection) {
        application.route(`/elections/:election${path}`).all(long);
      }
    }
  }
  application.use((request) => {
    throw new Refusal(404, 'not_found', `there is nothing under ${quoted(request.path)}`);
  });
  application.use(failing(inputs));
  return (request, response) => void application(request, response);
}
