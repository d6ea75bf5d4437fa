// Who may import whom. Each room of src/ lists the rooms that it may see; what it does not list, it may not see.
// scripts/check.mjs runs this and fails when fewer modules than its floor were seen: a cruise that reads nothing reports no violations.

const nouns = ['sessions', 'offers', 'costs', 'consumers', 'pool', 'ssh'];
const ground = ['core', 'provider', 'config', 'db', 'observability'];

const rooms = {
  core: [],
  provider: ['core'],
  config: ['core', 'provider'],
  db: ['core', 'provider'],
  observability: ['core', 'provider'],
  'runner-protocol': ['core'],
  sessions: ground,
  offers: ground,
  costs: ground,
  consumers: ground,
  pool: [...ground, 'runner-protocol'],
  ssh: ground,
  controllers: [...ground, ...nouns],
  http: [...ground, ...nouns, 'controllers'],
  tunnel: [...ground, ...nouns, 'controllers', 'runner-protocol'],
  runner: ['core', 'runner-protocol'],
  client: ['core'],
  cli: ['core', 'client'],
  dashboard: ['core', 'client'],
  server: [...ground, ...nouns, 'controllers', 'http', 'tunnel', 'runner-protocol', 'runner'],
};

/** Homes of the packages that only one part of the house may know; the patterns are of paths inside node_modules. */
const homes = [
  [
    'drizzle-orm',
    '^src/db/|-repository\\.ts$',
    'SQL lives in src/db and in *-repository.ts, so that one file serves both dialects',
  ],
  [
    'better-sqlite3|better-sqlite3-napi|@types/better-sqlite3|pg|@types/pg',
    '^src/db/',
    'connections are opened with their settings read back, in src/db alone',
  ],
  ['fastify|@fastify/[^/]+|fastify-type-provider-zod', '^src/http/', 'the HTTP framework stops at the edge'],
  [
    'ssh2|@types/ssh2',
    '^src/(ssh|tunnel)/|^providers/simulated/',
    'SSH is spoken by the verifier, the tunnel and the simulated machines only',
  ],
  ['dockerode|@types/dockerode', '^src/runner/', 'only the runner, which stands on the machine, speaks to the engine'],
  ['prom-client|pino|pino-pretty', '^src/observability/', 'modules are handed a log and a registry'],
  ['dotenv', '^src/config/', 'src/config is the one reader of the environment'],
  ['commander', '^src/cli/', 'arguments are read by the command line only'],
];

const testCode = '\\.test\\.ts$|/emulator\\.ts$|/fixtures/|^test/|^bench/|^scripts/';
const ours = '^(src|providers|test|bench|scripts)/';
const inPackages = (names) => `(^|/)node_modules/(${names})/`;

const roomRules = Object.entries(rooms).map(([room, seen]) => ({
  name: `room-${room}`,
  severity: 'error',
  comment: `src/${room} may import ${seen.length > 0 ? seen.map((name) => `src/${name}`).join(', ') : 'nothing of ours'} and itself only.`,
  from: { path: `^src/${room}/`, pathNot: testCode },
  to: {
    path: ours,
    pathNot: [
      `^src/(${[room, ...seen].join('|')})/`,
      ...(room === 'server' ? ['^providers/'] : room === 'cli' ? ['^src/server/'] : []),
    ],
  },
}));

const homeRules = homes.map(([packages, home, reason]) => ({
  name: `home-of-${packages.split('|')[0]}`,
  severity: 'error',
  comment: `Only ${home} may import ${packages}: ${reason}.`,
  from: { path: '^(src|providers)/', pathNot: [testCode, home] },
  to: { path: inPackages(packages) },
}));

export default {
  forbidden: [
    ...roomRules,
    ...homeRules,
    {
      name: 'unknown-room',
      severity: 'error',
      comment: 'A new folder in src/ gets its line in the table of rooms here, with what it may see.',
      from: { path: '^src/', pathNot: `^src/(${Object.keys(rooms).join('|')})/` },
      to: {},
    },
    {
      name: 'cli-starts-server-dynamically',
      severity: 'error',
      comment:
        'The command line starts src/server by a dynamic import, so that client commands load neither database nor providers.',
      from: { path: '^src/cli/', pathNot: testCode },
      to: { path: '^src/server/', dynamic: false },
    },
    {
      name: 'provider-sees-contract-only',
      severity: 'error',
      comment: 'A provider sees its own folder, src/core and src/provider: never the broker, never another provider.',
      from: { path: '^providers/([^/]+)/', pathNot: testCode },
      to: { path: ours, pathNot: ['^providers/$1/', '^src/(core|provider)/'] },
    },
    {
      name: 'provider-list-lists-providers',
      severity: 'error',
      comment: 'providers/index.ts imports the index.ts of each provider and the contract, nothing else.',
      from: { path: '^providers/index\\.ts$' },
      to: { path: ours, pathNot: ['^providers/[^/]+/index\\.ts$', '^src/provider/'] },
    },
    {
      name: 'product-without-test-code',
      severity: 'error',
      comment: 'What ships never imports test/, *.test.ts, emulator.ts, fixtures/, bench/ or scripts/.',
      from: { path: '^(src|providers)/', pathNot: testCode },
      to: { path: testCode, pathNot: 'node_modules' },
    },
    {
      name: 'product-without-dev-packages',
      severity: 'error',
      comment: 'What ships runs after npm ci --omit=dev; a package that it imports is a dependency.',
      from: { path: '^(src|providers)/', pathNot: testCode },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only', 'npm-optional'], pathNot: 'node_modules/@types/' },
    },
    {
      name: 'package-is-declared',
      severity: 'error',
      comment: 'A package that is imported stands in package.json.',
      from: { path: ours },
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown'] },
    },
    {
      name: 'import-resolves',
      severity: 'error',
      comment: 'An import that cannot be resolved cannot be checked.',
      from: { path: ours },
      // The newer SQLite binding is an optional package that npm leaves out on Node 20.
      to: { couldNotResolve: true, pathNot: '^better-sqlite3-napi$' },
    },
    {
      name: 'no-circles',
      severity: 'error',
      comment: 'Two modules that need each other are one idea, or three.',
      from: {},
      to: { circular: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(dist|data|\\.tmp)/' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
  },
};
