// The OpenAPI document is a valid one, and speaks of every path that is served and of no other.
import { Validator } from '@seriousme/openapi-schema-validator';
import { describe, expect, it } from 'vitest';
import { localRoutes } from '../../src/http/local-routes.ts';
import { described, openApi } from '../../src/http/openapi.ts';
import { routes } from '../../src/http/routes.ts';

/** For the status page, or for other sidecars, which change with them. */
const notForClients = ['/peers', '/overview', '/witness'];

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

  it('of the public listener has neither verbs nor the API of the app', () => {
    const paths = Object.keys((openApi(false, '1') as { paths: object }).paths);
    expect(paths).toContain('/elections/{election}/leader');
    for (const { paths: local } of localRoutes) {
      const names = local.map((path) => path.replaceAll(/[:*]([a-z]+)/g, '{$1}'));
      for (const name of names) expect(paths).not.toContain(name);
    }
  });
});
