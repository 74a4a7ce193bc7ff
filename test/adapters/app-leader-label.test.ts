// The label of the leader's pod, against a stand-in for the API of Kubernetes by real TLS: what is asked, what a failure is
// told as, and that in the end the pod has it exactly while it is wanted.
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { LabelledApp } from '../../src/app-side/labelled-app.ts';
import { LeaderLabel } from '../../src/app-side/leader-label.ts';
import { OwnPod } from '../../src/app-side/own-pod.ts';
import { electionName } from '../../src/core/model.ts';
import type { App } from '../../src/ports.ts';
import { SystemClock } from '../../src/process/clock.ts';
import { makeCertificates, type Certificates } from '../harness/certificates.ts';
import { startKubernetesApi, type KubernetesApi } from '../harness/kubernetes-api.ts';
import { eventually } from '../harness/wait.ts';
import { token } from './http-fake-elections.ts';

const clock = new SystemClock();
const label = { key: 'electord.io/role', value: 'leader' };
const [election, term] = [electionName('orders'), token(12n)];

let certificates: Certificates;
let api: KubernetesApi;
let said: string[] = [];
let running: LeaderLabel[] = [];

beforeAll(async () => {
  certificates = await makeCertificates();
});
beforeEach(async () => {
  api = await startKubernetesApi(certificates);
  api.pods.set('orders-0', { app: 'orders' });
  said = [];
});
afterEach(async () => {
  for (const one of running) one.stop();
  running = [];
  await api.close();
});
afterAll(() => certificates.remove());

const say =
  (level: string) =>
  (_: object, message: string): void =>
    void said.push(`${level}: ${message}`);
const log = { debug: say('debug'), info: say('info'), warn: say('warn') };
const settled = { withinMs: 20_000 };

function labelOf({
  environment = api.environment,
  hostName = 'orders-0',
  timeoutMs = 2000,
}: {
  environment?: Readonly<Record<string, string | undefined>>;
  hostName?: string;
  timeoutMs?: number;
} = {}): LeaderLabel {
  const pod = new OwnPod({ label, account: api.account, environment, hostName, timeoutMs });
  const one = new LeaderLabel({
    pod,
    label: 'electord.io/role=leader',
    clock,
    log,
    random: () => 0,
  });
  running.push(one);
  one.start();
  return one;
}

const roleOf = (pod = 'orders-0'): string | undefined => api.pods.get(pod)?.['electord.io/role'];

const isAsked = (times: number): Promise<boolean> =>
  eventually(() => api.asked.length >= times, { ...settled, what: `${times} requests` });

async function warned(words: RegExp): Promise<void> {
  const warning = await eventually(
    () => said.find((line) => line.startsWith('warn') && words.test(line)),
    { ...settled, what: String(words) },
  );
  expect(warning).toMatch(words);
}

test('what a former life has left is removed, the label is set and removed; other labels stay', async () => {
  api.pods.set('orders-0', { app: 'orders', 'electord.io/role': 'leader' });
  const one = labelOf();
  await eventually(() => roleOf() === undefined, { ...settled, what: 'no label' });
  one.set();
  const told = 'info: this pod has the label electord.io/role=leader';
  await eventually(() => said.includes(told), { ...settled, what: told });
  expect(roleOf()).toBe('leader');
  await one.remove(5000);
  expect(api.pods.get('orders-0')).toEqual({ app: 'orders' });
  expect(api.changes).toEqual([
    ...['orders-0 electord.io/role=', 'orders-0 electord.io/role=leader'],
    'orders-0 electord.io/role=',
  ]);
  expect(api.asked).toEqual([200, 200, 200]);
  expect(said.filter((line) => line.startsWith('warn'))).toEqual([]);
});

test('the token is read anew for each request', async () => {
  const one = labelOf();
  await isAsked(1);
  await api.renewToken('second-token');
  one.set();
  await eventually(() => roleOf() === 'leader', { ...settled, what: 'the label' });
  expect(api.asked).toEqual([200, 200]);
});

test('POD_NAME beats the name of the host; a pod that is not there is named', async () => {
  api.pods.set('orders-1', { 'electord.io/role': 'leader' });
  labelOf({ environment: { ...api.environment, POD_NAME: 'orders-1' } });
  await eventually(() => roleOf('orders-1') === undefined, { ...settled, what: 'no label' });
  labelOf({ hostName: 'node-7' });
  await warned(/there is no pod node-7 in the namespace shop: set POD_NAME .*"node-7" not found/);
});

test.each([
  [
    { status: 403, message: 'pods "orders-0" is forbidden: cannot patch resource "pods"' },
    /removed: the pod's service account lacks a right: give it a Role in the namespace shop with the verb patch on pods.*\(403\): pods "orders-0" is forbidden/,
  ],
  [{ status: 409, message: 'the object has been modified' }, /answered 409: the object has been/],
  [{ status: 401, message: 'Unauthorized' }, /does not take the token .* \(401\): Unauthorized/],
  [{ status: 500, message: '' }, /the API server answered 500$/],
])(
  'a refusal, %o, is told in words, once, and tried again until it goes',
  async (trouble, words) => {
    api.pods.set('orders-0', { 'electord.io/role': 'leader' });
    api.trouble = trouble;
    labelOf();
    await isAsked(3);
    await warned(words);
    expect(said.filter((line) => line.startsWith('warn'))).toHaveLength(1);
    api.trouble = null;
    await eventually(() => roleOf() === undefined, { ...settled, what: 'no label' });
  },
);

test('an API server that is silent is given up after a time, and its certificate is verified', async () => {
  api.trouble = 'silence';
  labelOf({ timeoutMs: 100 });
  await warned(/the API server at 127\.0\.0\.1:\d+ did not answer within 0\.1 s/);
  const { foreignAuthority, authority } = certificates;
  api.trouble = null;
  await writeFile(join(api.account, 'ca.crt'), foreignAuthority.cert);
  labelOf();
  await warned(/cannot be asked: .*certificate/);
  expect(api.asked.filter((status) => status !== null && status !== 200)).toEqual([]);
  await writeFile(join(api.account, 'ca.crt'), authority.cert);
});

test('where there is no pod, or no token, that is said', async () => {
  labelOf({ environment: {} });
  await warned(/this is no pod: KUBERNETES_SERVICE_HOST is not set/);
  await rm(join(api.account, 'token'));
  labelOf();
  await warned(/cannot read .*\/token \(ENOENT\): mount a token of the pod's service account/);
});

test('an attempt to set it that nobody answered is given up at the end of the term, and removed twice', async () => {
  const one = labelOf();
  await isAsked(1);
  api.trouble = 'silence';
  one.set();
  await isAsked(2);
  api.trouble = null;
  await one.remove(5000);
  expect(api.asked).toEqual([200, null, 200]);
  // As a request does that was on its way for long.
  api.pods.set('orders-0', { 'electord.io/role': 'leader' });
  await eventually(() => roleOf() === undefined, { ...settled, what: 'no label' });
});

interface Stopped {
  readonly app: App;
  readonly stopped: () => boolean;
  /** Ends a term that must stop in so many milliseconds; resolves with how many it took. */
  readonly end: (mustStopInMs: number) => Promise<number>;
}

/** What an elector has beside its terms, with an app that stops when it is told to. */
function beside(one: LeaderLabel, appStops: Promise<void>): Stopped {
  let stopped = false;
  const inner: App = {
    elected: () => undefined,
    stop: (_election, _token, _cause, _by, quiesced) =>
      void appStops.then(() => {
        stopped = true;
        quiesced();
      }),
    lasts: () => undefined,
    cutOff: () => undefined,
    kill: () => appStops,
  };
  const app = new LabelledApp(one, clock, inner);
  return {
    app,
    stopped: () => stopped,
    end: (mustStopInMs) =>
      new Promise((resolve) => {
        const from = clock.now();
        const quiesced = (): void => resolve(clock.now() - from);
        app.stop(election, term, 'resigned', from + mustStopInMs, quiesced);
      }),
  };
}

async function labelled(one: LeaderLabel, app: App): Promise<void> {
  await isAsked(1);
  app.elected(election, term);
  await eventually(() => roleOf() === 'leader', { ...settled, what: 'the label' });
}

test('a release waits for the label to be gone, and for the app', async () => {
  const one = labelOf();
  let appStops: () => void = () => undefined;
  const { app, stopped, end } = beside(one, new Promise((resolve) => (appStops = resolve)));
  await labelled(one, app);
  const ended = end(10_000);
  await eventually(() => roleOf() === undefined, { ...settled, what: 'no label' });
  expect(stopped()).toBe(false);
  appStops();
  await ended;
  expect(stopped()).toBe(true);
});

test.each([
  ['silent', 'silence', 10_000, 900, 5000],
  ['silent, and there is no time', 'silence', 0, 0, 500],
  ['refusing', { status: 403, message: '' }, 10_000, 0, 900],
] as const)(
  'a release waits no longer where the API is %s',
  async (_, trouble, mustStopInMs, atLeastMs, atMostMs) => {
    const one = labelOf();
    const { app, end } = beside(one, Promise.resolve());
    await labelled(one, app);
    api.trouble = trouble;
    const tookMs = await end(mustStopInMs);
    expect(tookMs).toBeGreaterThanOrEqual(atLeastMs);
    expect(tookMs).toBeLessThan(atMostMs);
    api.trouble = null;
    await eventually(() => roleOf() === undefined, { ...settled, what: 'no label' });
  },
);

test('an end in haste removes it too', async () => {
  const one = labelOf();
  const { app } = beside(one, Promise.resolve());
  await labelled(one, app);
  await app.kill();
  expect(roleOf()).toBeUndefined();
});
