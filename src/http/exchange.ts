// What a route, a question and an answer are. How a path is reached is in application.ts, what there is in routes.ts
// and local-routes.ts.
import type { ServerResponse } from 'node:http';
import type { ElectionName } from '../core/model.ts';
import type { Report, Role } from '../core/report.ts';
import type { Elections } from '../ports.ts';
import type { Inputs, LocalInputs } from './inputs.ts';
import { Refusal } from './problems.ts';

export interface Reply {
  readonly status: number;
  readonly contentType: string;
  readonly body: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  /** The role for the header, where the report that the question came with is not what the body speaks of. */
  readonly role?: Role | null;
  /** Goes on with the answer where it does not end with its body; only for GET itself. */
  readonly stream?: (response: ServerResponse) => void;
}

/** Who asks, as far as the connection tells. */
export interface Client {
  /** An address, or `unix socket`. */
  readonly from: string;
  /** Whom its certificate is for; null without one that its listener trusts, and where it names nobody. */
  readonly certificate: string | null;
  /** Whether it has shown a certificate that its listener trusts. */
  readonly certified: boolean;
}

/** What a handler may know of the request. */
export interface Asked {
  readonly inputs: Inputs;
  /** Null on the public listener. */
  readonly local: LocalInputs | null;
  /** As the client wrote it; HEAD and OPTIONS reach the handler of GET. */
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** A header by its lower-case name. */
  readonly header: (name: string) => string | undefined;
  /** A named part of the path, decoded; the parts of a wildcard are joined by slashes. */
  readonly parameter: (name: string) => string;
  /** The whole body; refuses one of more than `limitBytes`. May be called once. */
  readonly body: (limitBytes: number) => Promise<Buffer>;
  /** Calls `listener` once the client's connection is gone, unless the function returned was called before. */
  readonly onGone: (listener: () => void) => () => void;
  readonly client: () => Client;
  /** True for a client that would rather have HTML than JSON, which only browsers say. */
  readonly prefersHtml: () => boolean;
}

/** A question about one election, and a report of it made for this very question. */
export interface AskedOfElection extends Asked {
  readonly report: Report;
}

/** A question that only the local listener is asked. */
export interface AskedLocally extends AskedOfElection {
  readonly local: LocalInputs;
}

/** A handler throws a Refusal to answer with a problem. */
export type Handler<Question> = (asked: Question) => Reply | Promise<Reply>;
/** GET serves HEAD and OPTIONS as well. */
export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';
export type Handlers<Question> = Readonly<Partial<Record<Method, Handler<Question>>>>;

interface Place {
  /** The path, and others that mean the same. */
  readonly paths: readonly `/${string}`[];
}

/** Reached as `/elections/NAME/path`, and as `/path` where there is just one election. */
export interface ElectionRoute extends Place {
  readonly scope: 'election';
  readonly handlers: Handlers<AskedOfElection>;
}

/** The same, on the local listener only. */
export interface LocalRoute extends Place {
  readonly scope: 'local';
  readonly handlers: Handlers<AskedLocally>;
}

/** Speaks of this instance as a whole. `perElection`: it answers just the same under `/elections/NAME`. */
export interface InstanceRoute extends Place {
  readonly scope: 'instance';
  readonly perElection: boolean;
  readonly handlers: Handlers<Asked & { readonly election: ElectionName | null }>;
}

export type Route = ElectionRoute | LocalRoute | InstanceRoute;

export const jsonType = 'application/json; charset=utf-8';

export function json(
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): Reply {
  return { status, contentType: jsonType, body: JSON.stringify(body), headers };
}

/** So many names stand in the detail of a problem; its member `elections` has them all. */
const namedAtMost = 10;

/** The one election there is; else the path must say which. */
export function soleElection({ names }: Elections): ElectionName {
  const [first] = names;
  if (first !== undefined && names.length === 1) return first;
  const some = names.slice(0, namedAtMost).join(', ');
  const rest = names.length > namedAtMost ? ` and ${names.length - namedAtMost} more` : '';
  const detail = `there are ${names.length} elections, ask under /elections/NAME: ${some}${rest}`;
  throw new Refusal(404, 'election_required', detail, { extra: { elections: names } });
}

/**
 * The role that `X-Electord-Role` gives where an answer is about no election in particular: the role if there is
 * one election; with several `leader` if this instance leads any, else `follower`, `observer` or `unknown`, the
 * first of these that it is in any of them.
 */
export function overallRole(elections: Elections): Role {
  const found = new Set<Role>();
  for (const name of elections.names) {
    const { role } = elections.report(name);
    if (role === 'leader') return role;
    found.add(role);
  }
  return found.has('follower') ? 'follower' : found.has('observer') ? 'observer' : 'unknown';
}
