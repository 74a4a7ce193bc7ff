// The start of a sidecar: who asks it is answered while etcd has not been heard yet, and endpoints of two clusters end it.
import { afterEach, expect, test, vi } from 'vitest';
import { startSidecar, type Sidecar } from '../../src/app.ts';
import { load } from '../../src/cli/load.ts';
import { formatFaults } from '../../src/config/faults.ts';
import { OtherCluster } from '../../src/errors.ts';
import { EtcdCoordinator } from '../../src/etcd/coordinator.ts';
import { reservePorts } from '../harness/ports.ts';
import { eventually } from '../harness/wait.ts';

afterEach(() => vi.restoreAllMocks());

/** A sidecar that is being started, and whose endpoints of etcd have yet to say who they are. */
async function starting() {
  let answer: () => void = () => undefined;
  let refuse: (failure: Error) => void = () => undefined;
  const met = new Promise<void>((resolve, reject) => {
    [answer, refuse] = [resolve, reject];
  });
  vi.spyOn(EtcdCoordinator.prototype, 'meet').mockReturnValue(met);
  const watch = vi.spyOn(EtcdCoordinator.prototype, 'watch');
  const [port = 0, localPort = 0, nobody = 0] = await reservePorts(3);
  const loaded = load({
    ...{ election: 'orders', id: 'a', etcd: `http://127.0.0.1:${nobody}`, logLevel: 'silent' },
    ...{ listen: `127.0.0.1:${port}`, localListen: `127.0.0.1:${localPort}` },
  });
  if (!loaded.ok) throw new Error(formatFaults(loaded.faults));
  const { configuration, credentials } = loaded;
  const onFatal = (failure: unknown): never => {
    throw failure;
  };
  const started: Promise<Sidecar> = startSidecar({
    configuration,
    credentials,
    warnings: [],
    onFatal,
  });
  const ask = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${port}${path}`);
  await eventually(() => ask('/livez'), { withinMs: 20_000, what: 'an answer' });
  return { started, ask, answer, refuse, watch };
}

test('it answers that nobody leads before the endpoints have said who they are, and campaigns after', async () => {
  const { started, ask, answer, watch } = await starting();
  const leader = await ask('/leader');
  expect(leader.status).toBe(503);
  expect(await leader.json()).toMatchObject({ role: 'unknown', isLeader: false, leader: null });
  expect((await ask('/readyz')).status).toBe(503);
  expect((await ask('/livez')).status).toBe(200);
  expect(watch).not.toHaveBeenCalled();
  answer();
  const sidecar = await started;
  expect(watch).toHaveBeenCalled();
  await sidecar.stop();
});

test('endpoints of two clusters end the start, and it no longer listens', async () => {
  const { started, ask, refuse, watch } = await starting();
  refuse(new OtherCluster('two'));
  await expect(started).rejects.toThrow(OtherCluster);
  expect(watch).not.toHaveBeenCalled();
  await expect(ask('/livez')).rejects.toThrow();
});
