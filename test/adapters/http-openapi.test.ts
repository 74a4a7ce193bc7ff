// The OpenAPI document is a valid one, and speaks of every path that is served and of no other.
import { Validator } from '@seriousme/openapi-schema-validator';
import { describe, expect, it } from 'vitest';
import { localRoutes } from '../../src/http/local-routes.ts';
import { openApi } from '../../src/http/openapi.ts';
import { described } from '../../src/http/operations.ts';
import { routes } from '../../src/http/routes.ts';

/** For the status page, or for other sidecars, which change with them. */
const notForClients = ['/peers', '/overview', '/worker.js', '/witness'];

interface Served {
  readonly path: string;
  readonly perElection: boolean;
  readonly methods: readonly string[];
}

const served: readonly Served[] = [...routes, ...localRoutes].flatMap((route) =>
  route.paths.map((path) => ({
    path,
    perElection: route.scope !== 'instance' || route.perElection,
    methods: Object.keys(route.handlers).map((method) => method.toLowerCase()),
  })),
);

describe('the OpenAPI document', () => {
  it.each([true, false])('is valid (local listener: %s)', async (local) => {
    const result = await new Validator().validate(openApi(local, '1.2.3') as never);
    expect(result.errors ?? []).toEqual([]);
    expect(result.valid).toBe(true);
  });

  it('has every path with its methods, and no other', () => {
    const byPath = (a: Served, b: Served): number => (a.path < b.path ? -1 : 1);
    const told = described.map(({ path, perElection, methods }) => ({
      ...{ path, perElection, methods: Object.keys(methods) },
    }));
    const wanted = served.filter(({ path }) => !notForClients.includes(path));
    expect(told.toSorted(byPath)).toEqual(wanted.toSorted(byPath));
  });

  interface Response {
    readonly description: string;
  }
  interface Operation {
    readonly operationId: string;
    readonly summary: string;
    readonly parameters: readonly { readonly name: string; readonly schema: object }[];
    readonly responses: Readonly<Record<string, Response>>;
  }
  const document = openApi(true, '1') as {
    readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
    readonly components: { readonly schemas: Readonly<Record<string, object>> };
  };
  const operations = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).flatMap(([method, operation]) =>
      method === 'parameters' ? [] : [{ name: `${method} ${path}`, operation }],
    ),
  );

  it('has a name for each operation, and words for each answer', () => {
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).toEqual(
      expect.arrayContaining(['getLeader', 'getElectionLeader', 'postStepDown', 'putState']),
    );
    for (const { name, operation } of operations) {
      for (const [status, { description }] of Object.entries(operation.responses)) {
        expect(description, `${name} ${status}`).not.toBe(operation.summary);
        if (status !== 'default') expect(description, name).not.toBe('Any other problem');
      }
    }
    const guarded = operations.filter(({ name }) => /^(put|post|delete) /.test(name));
    for (const { name, operation } of guarded) {
      expect(Object.keys(operation.responses), name).toEqual(
        expect.arrayContaining(['401', '403', '404', '503']),
      );
    }
  });

  it('has numbers as numbers', () => {
    const journal = document.paths['/journal']!['get']!;
    expect(journal.parameters.map(({ name, schema }) => [name, schema])).toEqual([
      ['after', { type: 'integer', minimum: 0, default: 0 }],
      ['limit', { type: 'integer', minimum: 1, maximum: 1000, default: 100 }],
    ]);
  });

  it('lets a newer version add to an answer, and refuses what is misspelt in a question', () => {
    for (const [name, schema] of Object.entries(document.components.schemas)) {
      const closed = JSON.stringify(schema).includes('"additionalProperties":false');
      expect(closed, name).toBe(/Request$/.test(name));
    }
  });

  it('of the public listener has neither verbs nor the API of the app', () => {
    const paths = Object.keys((openApi(false, '1') as { paths: object }).paths);
    expect(paths).toContain('/elections/{election}/leader');
    for (const { paths: local } of localRoutes) {
      const names = local.map((path) => path.replaceAll(/[:*]([a-z]+)/g, '{$1}'));
      for (const name of names) expect(paths).not.toContain(name);
    }
  });
});
