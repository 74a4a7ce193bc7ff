// The house, from the roof down: a room imports itself and what is below it, nothing beside it and nothing above, and each
// vendor package has one home. Rooms that are still to come have their place already. docs/architecture.md and the
// README draw this list, and a test holds the drawings against the imports.
export const house = [
  ['main.ts', 'dev'],
  ['cli'],
  ['app.ts'],
  ['listeners.ts'],
  [
    'app-side',
    'config',
    'elector',
    'etcd',
    'grpc-health',
    'http',
    'peers',
    'proxy',
    'sdk',
    'telemetry',
  ],
  ['page', 'policies.ts'],
  ['process'],
  ['contract.ts', 'errors.ts', 'ports.ts', 'store-port.ts'],
  ['core'],
];

const pathOf = (room) => (room.endsWith('.ts') ? `${room.replace('.', '\\.')}$` : `${room}/`);
/** The files that everybody knows may know each other. */
const neighbours = (floor) => (floor.includes('ports.ts') ? floor : []);

const onlyBelow = house.flatMap((floor, height) =>
  floor.map((room) => ({
    name: `${room}-imports-only-below`,
    severity: 'error',
    from: { path: `^src/${pathOf(room)}` },
    to: {
      path: '^src/',
      pathNot: [room, ...neighbours(floor), ...house.slice(height + 1).flat()].map(
        (below) => `^src/${pathOf(below)}`,
      ),
    },
  })),
);

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
      name: 'core-imports-nothing-but-itself',
      severity: 'error',
      from: { path: '^src/core/' },
      to: { pathNot: '^src/core/' },
    },
    {
      // Machines of their own: they know the terms and the bounds, and neither each other nor the candidacy.
      name: 'witness-and-balance-know-only-the-model',
      severity: 'error',
      from: { path: '^src/core/(witness|short-lease|balance)\\.ts$' },
      to: { path: '^src/', pathNot: '^src/core/(assert|model|timing)\\.ts$' },
    },
    ...onlyBelow,
    {
      // It runs in a browser. What it says to its sidecar and back is in page/wire.ts.
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
      // `backup` and `restore` need no sidecar: they open etcd by its one door.
      name: 'only-the-composition-root-knows-everybody',
      severity: 'error',
      from: { path: '^src/cli/' },
      to: {
        path: '^src/(app-side|dev|elector|etcd|grpc-health|http|page|peers|proxy|telemetry)/',
        pathNot: '^src/etcd/access\\.ts$',
      },
    },
    {
      name: 'the-place-to-try-it-in-runs-the-product-and-imports-none-of-it',
      severity: 'error',
      from: { path: '^src/dev/' },
      to: { path: '^src/', pathNot: '^src/(dev/|process/version\\.ts$)' },
    },
    {
      name: 'grpc-health-is-loaded-when-it-is-asked-for',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/grpc-health/' },
      to: { path: '^src/grpc-health/', dynamic: false },
    },
    {
      // They are answered before Express is loaded, and must not bring it along.
      name: 'probes-need-no-express',
      severity: 'error',
      from: { path: '^src/http/probes' },
      to: { path: 'node_modules/(express|zod)/', reachable: true },
    },
    home('etcd3-lives-in-etcd', ['etcd3'], '^src/etcd/'),
    home('grpc-lives-in-etcd-and-grpc-health', ['@grpc/grpc-js'], '^src/(etcd|grpc-health)/'),
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
