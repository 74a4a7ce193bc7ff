// Runs dependency-cruiser over src and test, and asserts that it really looked: a cruise that resolves nothing is green
// too, and would hide every violation.
import { cruise } from 'dependency-cruiser';
import extractTSConfig from 'dependency-cruiser/config-utl/extract-ts-config';
import { floors } from './floors.mjs';

const { output } = await cruise(
  ['src'],
  { ...floors.options, ruleSet: { forbidden: floors.forbidden }, validate: true },
  undefined,
  { tsConfig: extractTSConfig('tsconfig.json') },
);

const { summary, modules } = output;
const ours = modules.filter((module) => module.source.startsWith('src/'));
const edges = ours.flatMap((module) => module.dependencies);
for (const { rule, from, to } of summary.violations) {
  console.error(`${rule.severity} ${rule.name}: ${from} -> ${to}`);
}
const unresolved = edges.filter((edge) => edge.couldNotResolve);
for (const edge of unresolved) console.error(`could not resolve ${edge.module}`);
const sawVendors = ['etcd3', 'express', 'prom-client', 'pino', 'cockatiel'].filter((vendor) =>
  edges.some((edge) => edge.resolved.includes(`node_modules/${vendor}/`)),
);
if (ours.length < 20 || edges.length < 50 || sawVendors.length !== 5) {
  console.error(
    `the cruise saw only ${ours.length} modules, ${edges.length} imports, ${sawVendors}`,
  );
  process.exitCode = 1;
}
if (summary.violations.length > 0 || unresolved.length > 0) process.exitCode = 1;
else console.log(`floors: ${ours.length} modules, ${edges.length} imports, no violation`);
