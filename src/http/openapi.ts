// `/openapi.json`: what the listener that serves it answers, as OpenAPI 3.1, made of the table in operations.ts. The local
// listener's document has the app's API and the operator's verbs too.
import * as z from 'zod';
import {
  described,
  type Answers,
  type Described,
  type Operation,
  type Parameters,
  type What,
} from './operations.ts';
import { schemas, type SchemaName } from './schemas.ts';

const reference = (name: SchemaName) => ({ $ref: `#/components/schemas/${name}` });

/** What a status means where an operation says nothing of its own. */
const meanings: Readonly<Record<number, string>> = {
  200: 'What was asked for',
  400: 'The path, a parameter, a header or the body cannot be read',
  401: 'The bearer token is missing or wrong',
  403: 'A page of another origin, a host that is not ours, or not the local listener',
  404: 'The path names no election of this instance, and there is none or more than one',
  409: 'As things stand it cannot be done; code says why',
  412: 'The value is not the one that was expected',
  413: 'The body is larger than 1 MiB',
  415: 'The body is not said to be JSON',
  422: 'The body is not as it should be; faults says where',
  503: 'etcd cannot say now. Of a write it is then not known whether it was made',
};

function contentOf(what: What): object {
  if (what === 'nothing') return {};
  if (what === 'text') return { content: { 'text/plain': { schema: { type: 'string' } } } };
  if (what === 'json') return { content: { 'application/json': { schema: { type: 'object' } } } };
  if (what === 'bytes') return { content: { '*/*': {} } };
  if (what === 'events')
    return { content: { 'text/event-stream': { schema: { type: 'string' } } } };
  const type = what === 'problem' ? 'application/problem+json' : 'application/json';
  return { content: { [type]: { schema: reference(what) } } };
}

function responseOf(status: string, answer: Answers[number]): object {
  const [what, means] = typeof answer === 'string' ? [answer, meanings[Number(status)]] : answer;
  return { description: means ?? 'Any other problem', ...contentOf(what) };
}

function requestBody(body: NonNullable<Operation['body']>): object {
  if (body === 'bytes') return { required: true, content: { '*/*': {} } };
  if (body === 'json') return { required: true, content: { 'application/json': {} } };
  // A verb without a body means no reason and the standard times; a switchover has to say to whom.
  const required = body === 'switchoverRequest';
  return { required, content: { 'application/json': { schema: reference(body) } } };
}

const parameter =
  (place: 'query' | 'header') =>
  ([name, given]: readonly [string, Parameters[string]]) => {
    const [description, schema] = typeof given === 'string' ? [given, { type: 'string' }] : given;
    return { name, in: place, description, required: false, schema };
  };

/** `getLeader`, `postStepDown`; `getElectionLeader` where the path names the election. */
function operationId(method: string, path: string, perElection: boolean): string {
  const words = path
    .replaceAll(/[:*][a-z]+/g, '')
    .split(/[^a-z]+/)
    .filter((word) => word !== '');
  const all = [...(perElection ? ['election'] : []), ...(words.length === 0 ? ['root'] : words)];
  return method + all.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
}

function operationOf(operation: Operation, id: string, speaksOfOne: boolean): object {
  const { says, answers, body, query = {}, headers = {} } = operation;
  const all: Answers = { ...(speaksOfOne ? { 404: 'problem' as const } : {}), ...answers };
  const responses = [...Object.entries(all), ['default', 'problem'] as const];
  return {
    operationId: id,
    summary: says,
    parameters: [
      ...Object.entries(query).map(parameter('query')),
      ...Object.entries(headers).map(parameter('header')),
    ],
    ...(body === undefined ? {} : { requestBody: requestBody(body) }),
    responses: Object.fromEntries(
      responses.map(([status, answer]) => [status, responseOf(status, answer)]),
    ),
  };
}

const pathParameters: Readonly<Record<string, object>> = {
  token: { type: 'string', pattern: '^(0|[1-9]\\d{0,18})$' },
  key: { type: 'string', maxLength: 512 },
};

/** `:token` and `*key` become `{token}` and `{key}`. */
export const template = (path: string): string => path.replaceAll(/[:*]([a-z]+)/g, '{$1}');

function pathItem(described: Described, perElection: boolean): [string, object] {
  const { path, methods, perElection: mayNameElection } = described;
  const names = [...path.matchAll(/[:*]([a-z]+)/g)].map(([, name = '']) => name);
  const parameters = [...(perElection ? ['election'] : []), ...names].map((name) => ({
    ...{ name, in: 'path', required: true, schema: pathParameters[name] ?? { type: 'string' } },
  }));
  const operations = Object.entries(methods).map(([method, operation]) => [
    method,
    operationOf(operation, operationId(method, path, perElection), mayNameElection),
  ]);
  const full = perElection ? `/elections/{election}${template(path)}` : template(path);
  return [full, { parameters, ...(Object.fromEntries(operations) as object) }];
}

const made = new Map<string, object>();

/** The document of the public or of the local listener; made once, since that takes milliseconds. */
export function openApi(local: boolean, version: string): object {
  const key = `${String(local)} ${version}`;
  const document = made.get(key) ?? makeDocument(local, version);
  made.set(key, document);
  return document;
}

function makeDocument(local: boolean, version: string): object {
  const served = described.filter((each) => local || each.local !== true);
  const paths = served.flatMap((each) => [
    pathItem(each, false),
    ...(each.perElection ? [pathItem(each, true)] : []),
  ]);
  const registry = Object.entries(schemas).map(([name, schema]) => {
    // What a client may send, before it is read.
    const inJson: Record<string, unknown> = z.toJSONSchema(schema, { io: 'input' });
    // OpenAPI 3.1 says once for all of them which dialect they are in.
    delete inJson['$schema'];
    return [name, inJson];
  });
  return {
    openapi: '3.1.0',
    info: {
      title: 'electord',
      version,
      summary: 'Who leads, and what the leader may do',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    paths: Object.fromEntries(paths) as object,
    components: {
      schemas: Object.fromEntries(registry) as object,
      ...(local ? { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } } : {}),
    },
    ...(local ? { security: [{}, { token: [] }] } : {}),
  };
}
