// The floors: imports point down only, folders on one floor never import each other, and each vendor
// package has one home.
const floor2 = ['elector', 'etcd', 'http', 'telemetry', 'app-side', 'proxy', 'config', 'sdk'];
const home = (name, vendors, folder) => ({
  name,
  severity: 'error',
  from: { path: '^src', pathNot: folder },
  to: { path: vendors.map((vendor) => `node_modules/${vendor}/`) },
});

export const floors = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'core-imports-only-core',
      severity: 'error',
      from: { path: '^src/core/' },
      to: { pathNot: '^src/core/' },
    },
    {
      name: 'floor-1-imports-only-core-and-floor-1',
      severity: 'error',
      from: { path: '^src/(ports|contract|errors)\\.ts$' },
      to: { path: '^src/', pathNot: '^src/(core/|(ports|contract|errors)\\.ts$)' },
    },
    ...floor2.map((folder) => ({
      name: `${folder}-imports-only-below`,
      severity: 'error',
      from: { path: `^src/${folder}/` },
      to: {
        path: '^src/',
        pathNot: `^src/(${folder}/|core/|(ports|contract|errors|policies|clock)\\.ts$)`,
      },
    })),
    {
      name: 'only-the-composition-root-knows-everybody',
      severity: 'error',
      from: { path: '^src/cli/' },
      to: { path: '^src/(elector|etcd|http|telemetry|app-side|proxy)/' },
    },
    home('etcd3-lives-in-etcd', ['etcd3', '@grpc/grpc-js'], '^src/etcd/'),
    home('express-lives-in-http', ['express'], '^src/http/'),
    home(
      'logs-and-metrics-live-in-telemetry',
      ['pino', 'pino-pretty', 'prom-client'],
      '^src/telemetry/',
    ),
    home('cockatiel-lives-in-policies', ['cockatiel'], '^src/policies\\.ts$'),
    home('zod-and-yaml-live-in-config', ['zod', 'yaml'], '^src/config/'),
    home('commander-lives-in-cli', ['commander'], '^src/(cli/|main\\.ts$)'),
    {
      name: 'no-tests-in-the-product',
      severity: 'error',
      from: { path: '^src' },
      to: { path: '^(test|scripts)/' },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  },
};
