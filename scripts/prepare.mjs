// What the scripts need first: a Node that is new enough, the packages that the lock file names, and a
// dist/ built from the sources as they are. Each step is done only when needed and says so in one line.
// Plain Node: it runs before anything is installed.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** The checkout. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** Where what is built goes. */
export const dist = join(root, 'dist');
const manifest = readJson(join(root, 'package.json'));
/** The version in package.json, such as `0.1.0`. */
export const { version } = manifest;

/** What has to be built; the declarations are needed by the package alone, which is built for itself. */
const built = ['electord.js', 'electord-dev.js', 'client.js', 'client.cjs'].map((name) =>
  join(dist, name),
);
const buildStamp = join(root, '.cache/build-stamp.json');

/** Does whatever is missing; ends the process with a sentence and code 1 when something cannot be done. */
export function prepare() {
  prepareToBuild();
  buildAll();
}

/** The same, all but the build: what the build itself needs. */
export function prepareToBuild() {
  requireNode();
  install();
}

/**
 * Goes on as that script, in this very process: its signals, exit code and terminal are then its own,
 * and there is no process between it and the shell that could get lost.
 */
export async function become(script, args) {
  process.argv = [process.execPath, script, ...args];
  await import(pathToFileURL(script).href);
}

function requireNode() {
  const [, major, minor] = /(\d+)\.(\d+)/.exec(manifest.engines.node).map(Number);
  const [haveMajor, haveMinor] = process.versions.node.split('.').map(Number);
  if (haveMajor > major || (haveMajor === major && haveMinor >= minor)) return;
  fail(`electord needs Node ${major}.${minor} or newer; this is Node ${process.versions.node}.`);
}

function install() {
  if (isInstalled()) return;
  say('installing the packages that package-lock.json names (npm ci)');
  // npm tells its scripts where it is itself; run by hand, the one on the PATH is taken.
  const { npm_execpath: npm } = process.env;
  const [command, ...first] = npm?.endsWith('npm-cli.js') ? [process.execPath, npm] : ['npm'];
  // It takes over the settings of an npm that runs this: `npm pack --dry-run` is to pack nothing, not to install nothing.
  const settings = ['--include=dev', '--dry-run=false', '--no-audit', '--no-fund'];
  run(command, [...first, 'ci', ...settings], 'npm ci');
}

/** Whether node_modules holds just what the lock file names, by npm's own record of what it installed. */
function isInstalled() {
  const record = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(record)) return false;
  // The build needs esbuild's binary for this machine; a node_modules copied from another lacks it.
  const binary = `@esbuild/${process.platform}-${process.arch}`;
  if (!existsSync(join(root, 'node_modules', binary))) return false;
  const wanted = readJson(join(root, 'package-lock.json')).packages;
  const present = readJson(record).packages;
  const isSame = (path) =>
    wanted[path]?.version === present[path]?.version &&
    wanted[path]?.integrity === present[path]?.integrity;
  return (
    Object.keys(present).every(isSame) &&
    Object.keys(wanted).every((path) => {
      if (path === '') return true;
      const { optional, devOptional } = wanted[path];
      return isSame(path)
        ? existsSync(join(root, path))
        : (optional === true || devOptional === true) && !(path in present);
    })
  );
}

function buildAll() {
  const sources = hashOf(sourceFiles());
  if ([...built, buildStamp].every((path) => existsSync(path))) {
    const stamp = readJson(buildStamp);
    if (stamp.sources === sources && stamp.built === hashOf(built)) return;
  }
  say('building dist/electord.js and what stands beside it');
  run(process.execPath, [join(root, 'scripts/build.mjs'), '--no-types'], 'the build');
  mkdirSync(dirname(buildStamp), { recursive: true });
  writeFileSync(buildStamp, JSON.stringify({ sources, built: hashOf(built) }));
}

function sourceFiles() {
  const below = (folder) =>
    readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
      const path = `${folder}/${entry.name}`;
      return entry.isDirectory() ? below(path) : [path];
    });
  const listed = [...below('src'), ...below('scripts'), 'package.json', 'package-lock.json'];
  return listed.sort().map((path) => join(root, path));
}

function hashOf(paths) {
  const hash = createHash('sha256');
  for (const path of paths) hash.update(`${path}\0`).update(readFileSync(path)).update('\0');
  return hash.digest('hex');
}

function run(command, args, what) {
  // Their own output goes to stderr: stdout belongs to the program that is started in the end.
  const { status, signal, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', process.stderr, process.stderr],
  });
  if (error) fail(`${what} could not be started: ${error.message}`);
  if (status !== 0) fail(`${what} failed (${signal ?? `exit code ${status}`}); see above.`);
}

function readJson(path) {
  return JSON.parse(readFileSync(path, 'utf8'));
}

function say(line) {
  process.stderr.write(`electord: ${line}\n`);
}

function fail(sentence) {
  say(sentence);
  process.exit(1);
}
