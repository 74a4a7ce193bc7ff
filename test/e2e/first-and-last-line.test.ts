// The first and the last line of the log: what somebody has set, and no default; and that it is over.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { agreement, openStage, type Stage } from './stage.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await openStage({ size: 1 });
});
afterEach(() => stage.clear());
afterAll(() => stage.end());

const starts = ({ msg }: { readonly msg?: unknown }): boolean => msg === 'electord starts';

test('what is set and by what it is known, each its text; the last one says that it has stopped', async () => {
  const sidecar = await stage.sidecar({ election: 'told', id: 'a' });
  await agreement([sidecar]);
  const line = await sidecar.waitForLog(starts, 20_000);
  // --ttl is from the harness.
  expect(line['settings']).toEqual({
    election: 'told',
    id: 'a',
    etcd: stage.cluster.endpoints.join(','),
    ttl: '10000ms',
    listen: sidecar.url.replace('http://', ''),
    localListen: sidecar.localUrl.replace('http://', ''),
  });
  expect((await sidecar.stop()).code).toBe(0);
  expect(sidecar.logs.at(-1)).toMatchObject({ level: 'info', msg: 'electord stopped' });
});

test('a token is hidden where there is one', async () => {
  const env = { ELECTORD_TOKEN: 'sesame-open' };
  const sidecar = await stage.sidecar({ election: 'told', id: 'a', env });
  const line = await sidecar.waitForLog(starts, 20_000);
  expect(line['settings']).toMatchObject({ token: '[redacted]' });
  expect(sidecar.output()).not.toContain('sesame-open');
});
