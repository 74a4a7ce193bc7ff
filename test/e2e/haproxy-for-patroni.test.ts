// A HAProxy that is set up for Patroni works before sidecars as it is, through a switchover; and so does who reads /cluster.
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { spawnGuarded, type GuardedChild } from '../../src/dev/etcd-child.ts';
import { reservePorts } from '../harness/ports.ts';
import { findPrograms, haproxyWanted } from '../harness/programs.ts';
import { eventually } from '../harness/wait.ts';
import { ask, Balanced, type Pair } from './balanced.ts';

/** Two or three checks of a second each, and a busy machine. */
const withinMs = 30_000;

let stage: Balanced;
let haproxy: GuardedChild;
let urls: { readonly primary: string; readonly replicas: string; readonly readOnly: string };

beforeAll(async () => {
  const [started, { env }, ports] = await Promise.all([
    Balanced.start(),
    findPrograms(haproxyWanted),
    reservePorts(3),
  ]);
  stage = started;
  const [primary, replicas, readOnly] = ports.map((port) => `127.0.0.1:${port}`);
  urls = {
    ...{ primary: `http://${primary}/`, replicas: `http://${replicas}/` },
    readOnly: `http://${readOnly}/`,
  };
  const variables: NodeJS.ProcessEnv = {
    ...{ PRIMARY: primary, REPLICAS: replicas, READ_ONLY: readOnly },
  };
  for (const [index, { appPort, sidecar }] of stage.pairs.entries()) {
    variables[`APP_${index + 1}`] = `127.0.0.1:${appPort}`;
    variables[`SIDECAR_${index + 1}_PORT`] = new URL(sidecar.url).port;
  }
  const args = ['-db', '-f', join(import.meta.dirname, 'haproxy-for-patroni.cfg')];
  haproxy = await spawnGuarded({ file: 'haproxy', args, env: { ...env, ...variables } });
}, 300_000);

afterAll(async () => {
  await haproxy.stop(2000);
  await stage.end();
});

/** Who answers six requests in a row, by name; the status where nobody does. */
async function answerers(url: string, method: string): Promise<readonly string[]> {
  const seen = new Set<string>();
  for (let sent = 0; sent < 6; sent += 1) {
    const { status, text } = await ask(url, { method });
    seen.add(/^app-/.test(text) && status < 300 ? text : `${status}`);
  }
  return [...seen].toSorted();
}

function routed(url: string, method: string, to: readonly Pair[]): Promise<unknown> {
  const expected = to.map(({ name }) => name).toSorted();
  const all = async (): Promise<boolean> =>
    JSON.stringify(await answerers(url, method)) === JSON.stringify(expected);
  return eventually(all, { withinMs, what: `${url} reaches ${expected.join(' and ')}` });
}

async function expectRouting(leader: Pair): Promise<void> {
  const others = stage.pairs.filter((pair) => pair !== leader);
  await Promise.all([
    routed(urls.primary, 'POST', [leader]),
    routed(urls.replicas, 'GET', others),
    routed(urls.readOnly, 'GET', stage.pairs),
  ]);
  expect(await answerers(urls.primary, 'POST')).toEqual([leader.name]);
  expect(await answerers(urls.replicas, 'GET')).toEqual(others.map(({ name }) => name));
}

test('the primary, the replicas and both are reached, before and after a switchover', async () => {
  await expectRouting(await stage.leader());
  await expectRouting(await stage.switchOver());
}, 120_000);

test('/cluster of any sidecar names the leader and where each is reached', async () => {
  const leader = await stage.leader();
  const expected = stage.pairs.map((pair) => ({
    ...{ name: pair.name, role: pair === leader ? 'leader' : 'replica', state: 'running' },
    api_url: expect.stringMatching(/^http:\/\/.*:\d+\/patroni$/) as string,
    ...{ host: '127.0.0.1', port: pair.appPort },
    ...(pair === leader ? {} : { lag: 'unknown' }),
  }));
  for (const { sidecar } of stage.pairs) {
    const { body } = await sidecar.get('/cluster');
    expect(body).toEqual({ scope: 'orders', members: expected });
  }
});
