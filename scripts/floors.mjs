// The floors: imports point down only, folders on one floor never import each other, and each vendor
// package has one home.
const floor2 = [
  'elector',
  'etcd',
  'http',
  'telemetry',
  'app-side',
  'proxy',
  'config',
  'sdk',
  'peers',
];
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
        pathNot: `^src/(${folder}/|core/|page/wire\\.ts$|(ports|contract|errors|policies|clock)\\.ts$)`,
      },
    })),
    {
      // It runs in a browser. What it says to its sidecar and back is in page/wire.ts, types only.
      name: 'page-imports-only-wire-types',
      severity: 'error',
      from: { path: '^src/page/' },
      to: { path: '^src/', pathNot: '^src/(page/|core/(model|report)\\.ts$|contract\\.ts$)' },
    },
    {
      name: 'nobody-imports-the-page-but-its-wire-types',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/page/' },
      to: { path: '^src/page/', pathNot: '^src/page/wire\\.ts$' },
    },
    {
      name: 'only-the-composition-root-knows-everybody',
      severity: 'error',
      from: { path: '^src/cli/' },
      to: { path: '^src/(elector|etcd|http|telemetry|app-side|proxy|peers|page)/' },
    },
    home('etcd3-lives-in-etcd', ['etcd3', '@grpc/grpc-js'], '^src/etcd/'),
    home('express-lives-in-http', ['express'], '^src/http/'),
    home(
      'logs-metrics-and-traces-live-in-telemetry',
      ['pino', 'pino-pretty', 'prom-client', '@opentelemetry/api'],
      '^src/telemetry/',
    ),
    home('cockatiel-lives-in-policies', ['cockatiel'], '^src/policies\\.ts$'),
    home('yaml-lives-in-config', ['yaml'], '^src/config/'),
    home('zod-checks-what-comes-from-outside', ['zod'], '^src/(config|cli|http)/'),
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
