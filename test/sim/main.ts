import { buildSimulation } from './bundle.ts';
import { discard, simulate } from './runner.ts';
import { mutations } from './mutations.ts';
const only = process.argv[2];
for (const m of mutations) {
  if (only && !m.name.includes(only)) continue;
  try {
  const file = await buildSimulation('m', m.patches);
  const t = await simulate({ file, firstSeed: 1, count: 2000, stopAtFirst: true, focus: m.focus ?? {}, budgetMs: 30000 });
  console.log(m.name, '|', t.schedules, Math.round(t.tookMs), 'ms', t.broken[0]?.seed, t.broken[0]?.violation.promise, t.broken[0]?.violation.what);
  await discard(file);
  } catch (e) { console.log(m.name, String(e)); }
}
