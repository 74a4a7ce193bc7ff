// deploy/kubernetes as it stands: rendered by kubectl, checked against the schemas of Kubernetes and against itself;
// its settings are the program's, and its probes are right about a real sidecar, with etcd and without.
import { join } from 'node:path';
import type { StatefulSet, Deployment } from 'kubernetes-types/apps/v1.d.ts';
import type { Container, EnvVar, PodSpec, Service, ConfigMap } from 'kubernetes-types/core/v1.d.ts';
import type { NetworkPolicy } from 'kubernetes-types/networking/v1.d.ts';
import type { Role, RoleBinding } from 'kubernetes-types/rbac/v1.d.ts';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { settings } from '../../src/config/settings.ts';
import { projectFolder } from '../harness/binaries.ts';
import { startEtcdCluster } from '../harness/etcd.ts';
import type { EtcdCluster } from '../harness/etcd.ts';
import { kubectls, schemaFaults } from '../harness/kubectl.ts';
import type { KubernetesObject } from '../harness/kubectl.ts';
import { startSidecar } from '../harness/sidecar.ts';
import type { Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';

const folder = join(projectFolder, 'deploy/kubernetes');
const names = ['deployment', 'statefulset', 'leader-label', 'leader-proxy', 'example'] as const;
/** The one whose sidecars may do something by the API of Kubernetes. */
const withRights = 'leader-label';
/** Its kind is none of Kubernetes' own: there is no schema of it here. */
const monitoring = 'monitoring';
const answersWithinMs = 30_000;

type Workload = (StatefulSet | Deployment) & KubernetesObject;

const rendered = new Map<string, KubernetesObject[]>();
let etcd: EtcdCluster | undefined;
const sidecars: Sidecar[] = [];

beforeAll(async () => {
  etcd = await startEtcdCluster({ size: 1 });
  for (const kubectl of await kubectls()) {
    console.error(`rendering by kubectl ${kubectl.version}`);
    for (const name of [...names, monitoring]) {
      const objects = sorted(await kubectl.render(folder, name));
      // Whatever a second one makes of it is the same.
      expect(objects, kubectl.version).toEqual(rendered.get(name) ?? objects);
      rendered.set(name, objects);
    }
  }
}, 400_000);

afterAll(() => etcd?.stop());

afterEach(async () => {
  await Promise.all(sidecars.splice(0).map((sidecar) => sidecar.stop()));
});

/** By kind and name, whose hash depends on the version of kustomize. */
function sorted(objects: readonly KubernetesObject[]): KubernetesObject[] {
  const hashed = objects
    .filter(({ kind }) => kind === 'ConfigMap')
    .map(({ metadata }) => [metadata.name, metadata.name.replace(/-[a-z0-9]{10}$/, '')] as const);
  const text = hashed.reduce(
    (all, [name, plain]) => all.replaceAll(`"${name}"`, `"${plain}"`),
    JSON.stringify(objects),
  );
  const key = ({ kind, metadata }: KubernetesObject): string => `${kind} ${metadata.name}`;
  // An older kustomize writes down that there are no labels.
  const withoutNone = (name: string, value: unknown): unknown =>
    /^(labels|annotations)$/.test(name) && JSON.stringify(value) === '{}' ? undefined : value;
  const parsed = JSON.parse(text, withoutNone) as KubernetesObject[];
  return parsed.sort((a, b) => key(a).localeCompare(key(b)));
}

function objectsOf(name: string): KubernetesObject[] {
  const objects = rendered.get(name);
  if (objects === undefined) throw new Error(`${name} was not rendered`);
  return objects;
}

const ofKind = <Kind>(name: string, ...kinds: string[]): Kind[] =>
  objectsOf(name).filter(({ kind }) => kinds.includes(kind)) as unknown as Kind[];

const workloads = (name: string): Workload[] => ofKind(name, 'Deployment', 'StatefulSet');

function podOf({ spec, metadata }: Workload): PodSpec {
  const pod = spec?.template.spec;
  if (pod === undefined) throw new Error(`${metadata.name} has no pods`);
  return pod;
}

const containersOf = (pod: PodSpec): Container[] => [
  ...(pod.initContainers ?? []),
  ...pod.containers,
];

/** The sidecar's container, and its pod. */
function sidecarOf(name: string): { pod: PodSpec; electord: Container } {
  for (const pod of workloads(name).map(podOf)) {
    const electord = pod.initContainers?.find((container) => container.name === 'electord');
    if (electord !== undefined) return { pod, electord };
  }
  throw new Error(`${name} has no sidecar`);
}

test('every object is what the schemas of Kubernetes ask for', async () => {
  expect(await schemaFaults(names.flatMap(objectsOf))).toEqual([]);
}, 120_000);

describe.each(names)('%s', (name) => {
  test('refers to nothing that is not there', () => {
    const configMaps = ofKind<ConfigMap>(name, 'ConfigMap').map(({ metadata }) => metadata?.name);
    for (const pod of workloads(name).map(podOf)) {
      const containers = containersOf(pod);
      const volumes = (pod.volumes ?? []).map((volume) => volume.name);
      const mounted = containers.flatMap(({ volumeMounts = [] }) => volumeMounts);
      expect(volumes).toEqual(expect.arrayContaining(mounted.map((mount) => mount.name)));
      const wanted = [
        ...(pod.volumes ?? []).flatMap(({ configMap }) => configMap?.name ?? []),
        ...containers.flatMap(({ envFrom = [] }) => envFrom.map((from) => from.configMapRef?.name)),
      ];
      expect(configMaps).toEqual(expect.arrayContaining(wanted));
      for (const container of containers) {
        const ports = (container.ports ?? []).map((port) => port.name);
        const { startupProbe, livenessProbe, readinessProbe } = container;
        for (const probe of [startupProbe, livenessProbe, readinessProbe]) {
          if (probe !== undefined) expect(ports).toContain(probe.httpGet?.port);
        }
      }
    }
  });

  test('gives no pod more rights than it needs', () => {
    const kinds = objectsOf(name).map(({ kind }) => kind);
    const given = name === withRights ? ['Role', 'RoleBinding'] : [];
    expect(kinds.filter((kind) => /Role|Secret/.test(kind))).toEqual(given);
    expect(workloads(name)).not.toEqual([]);
    for (const pod of workloads(name).map(podOf)) {
      expect(pod.automountServiceAccountToken).toBe(false);
      expect(pod.securityContext).toMatchObject({
        runAsNonRoot: true,
        seccompProfile: { type: 'RuntimeDefault' },
      });
      for (const { securityContext, resources, image } of containersOf(pod)) {
        expect(securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        });
        // What is throttled stands still.
        expect(resources?.limits).toEqual({ memory: expect.stringMatching(/^\d+Mi$/) as string });
        expect(resources?.requests).toHaveProperty('cpu');
        expect(image).not.toBeUndefined();
      }
    }
  });
});

test('the check of the schemas bites', async () => {
  const [workload] = workloads('deployment');
  const wrong = JSON.parse(
    JSON.stringify(workload).replace('failureThreshold', 'failures'),
  ) as Workload;
  expect((await schemaFaults([wrong])).join()).toContain(
    "'\"failures\"' does not exist in type 'Probe'",
  );
});

test('every Service finds its pods and the ports in them', () => {
  const all = workloads('example');
  const services = ofKind<Service>('example', 'Service');
  expect(services.map(({ metadata }) => metadata?.name)).toEqual(
    expect.arrayContaining(['orders', 'orders-pods', 'orders-leader']),
  );
  for (const { spec } of services) {
    const selected = all.filter((workload) => {
      const labels = workload.spec?.template.metadata?.labels ?? {};
      return Object.entries(spec?.selector ?? {}).every(([key, value]) => labels[key] === value);
    });
    expect(selected).toHaveLength(1);
    const ports = selected.flatMap((workload) =>
      containersOf(podOf(workload)).flatMap((container) => container.ports ?? []),
    );
    const targets = (spec?.ports ?? []).map(({ targetPort }) => targetPort);
    expect(ports.map((port) => port.name)).toEqual(expect.arrayContaining(targets));
  }
});

test('the label: a Service selects by it, and nothing but the sidecar of a pod may set it', () => {
  const env = environmentOf(withRights, fields);
  const [key = '', value] = (env['ELECTORD_KUBERNETES_LEADER_LABEL'] ?? '').split('=');
  const [statefulSet] = ofKind<StatefulSet>(withRights, 'StatefulSet');
  const labels = statefulSet?.spec?.template.metadata?.labels ?? {};
  const services = ofKind<Service>(withRights, 'Service');
  const leader = services.find(({ metadata }) => metadata?.name === 'orders-leader');
  expect(leader?.spec?.selector).toEqual({ ...labels, [key]: value });
  // Every pod has the label in its life: no other selector may hang on it.
  expect(labels).not.toHaveProperty([key]);
  const { replicas = 0 } = statefulSet?.spec ?? {};
  const [role] = ofKind<Role>(withRights, 'Role');
  expect(role?.rules).toEqual([
    {
      ...{ apiGroups: [''], resources: ['pods'], verbs: ['patch'] },
      resourceNames: Array.from({ length: replicas }, (_, index) => `orders-${index}`),
    },
  ]);
  const [binding] = ofKind<RoleBinding>(withRights, 'RoleBinding');
  const { pod, electord } = sidecarOf(withRights);
  expect(binding?.roleRef.name).toBe(role?.metadata?.name);
  expect(binding?.subjects).toEqual([{ kind: 'ServiceAccount', name: pod.serviceAccountName }]);
  expect(env['POD_NAME']).toBe('orders-0');
  const standard = settings.find((one) => one.key === 'kubernetesAccount')?.defaultText;
  const mount = electord.volumeMounts?.find(({ mountPath }) => mountPath === standard);
  const volume = pod.volumes?.find((one) => one.name === mount?.name)?.projected;
  const paths = volume?.sources?.flatMap(({ serviceAccountToken, configMap, downwardAPI }) =>
    [
      serviceAccountToken?.path,
      ...(configMap?.items ?? []).map((item) => item.path),
      ...(downwardAPI?.items ?? []).map((item) => item.path),
    ].filter((path) => path !== undefined),
  );
  expect(paths).toEqual(['token', 'ca.crt', 'namespace']);
  for (const container of pod.containers) expect(container.volumeMounts ?? []).toEqual([]);
});

interface PodMonitor {
  readonly spec: {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly podMetricsEndpoints: readonly { readonly port: string; readonly path: string }[];
  };
}

test.each(['deployment', 'statefulset'])('the PodMonitor finds the pods of the %s', (name) => {
  const [monitor] = ofKind<PodMonitor>(monitoring, 'PodMonitor');
  const [workload] = workloads(name);
  const labels = workload?.spec?.template.metadata?.labels;
  expect(labels).toMatchObject(monitor?.spec.selector.matchLabels ?? { missing: 'monitor' });
  const { ports = [] } = sidecarOf(name).electord;
  for (const { port, path } of monitor?.spec.podMetricsEndpoints ?? []) {
    expect(ports.map((each) => each.name)).toContain(port);
    expect(path).toBe('/metrics');
  }
});

test('every Service is in both families, where the cluster has both', () => {
  for (const { spec } of ofKind<Service>('example', 'Service')) {
    expect(spec?.ipFamilyPolicy).toBe('PreferDualStack');
  }
});

test('names are looked up wherever DNS is', () => {
  const [policy] = ofKind<NetworkPolicy>('statefulset', 'NetworkPolicy');
  const anywhere = (policy?.spec?.egress ?? []).filter(({ to }) => to === undefined);
  const ports = anywhere.flatMap(({ ports: open = [] }) => open);
  expect(ports.map(({ port, protocol }) => `${String(protocol)} ${String(port)}`).sort()).toEqual([
    'TCP 53',
    'TCP 5353',
    'UDP 53',
    'UDP 5353',
  ]);
});

/** As the kubelet makes it: fields of the pod, and $(VARIABLES) in values. */
function environmentOf(name: string, fields: Record<string, string>): Record<string, string> {
  const { electord } = sidecarOf(name);
  const from = (electord.envFrom ?? []).map(({ configMapRef }) => configMapRef?.name);
  const maps = ofKind<ConfigMap>(name, 'ConfigMap');
  const env: Record<string, string> = Object.assign(
    {},
    ...maps.filter(({ metadata }) => from.includes(metadata?.name)).map(({ data }) => data),
  ) as Record<string, string>;
  const valueOf = ({ value = '', valueFrom }: EnvVar): string =>
    valueFrom === undefined ? value : (fields[valueFrom.fieldRef?.fieldPath ?? ''] ?? 'missing');
  for (const variable of electord.env ?? []) {
    env[variable.name] = valueOf(variable).replaceAll(
      /\$\((\w+)\)/g,
      (reference, other: string) => env[other] ?? reference,
    );
  }
  return env;
}

const fields = {
  'metadata.name': 'orders-0',
  'metadata.namespace': 'shop',
  'status.podIP': '10.1.2.3',
};

test('sets what the program has, and nothing else', () => {
  const variables = settings.map(({ variable }) => variable);
  for (const name of ['deployment', 'statefulset', withRights, 'example']) {
    const set = Object.keys(environmentOf(name, fields)).filter((key) => /^ELECTORD/.test(key));
    expect(variables).toEqual(expect.arrayContaining(set));
    expect(set).toContain('ELECTORD_ID');
  }
});

async function start(env: Record<string, string>, endpoints: string[]): Promise<Sidecar> {
  const { ELECTORD_ELECTION: election = '', ELECTORD_ID: id = '' } = env;
  const sidecar = await startSidecar({ election, id, etcd: endpoints, env });
  sidecars.push(sidecar);
  return sidecar;
}

test.each([
  ['deployment', '10.1.2.3', 'http://10.1.2.3:8080'],
  ['deployment', 'fd00::5', 'http://[fd00::5]:8080'],
  ['statefulset', 'fd00::5', 'http://orders-0.orders-pods.shop.svc:8080'],
])('a pod of the %s at %s is told where its app is: %s', async (name, podIp, address) => {
  const env = environmentOf(name, { ...fields, 'status.podIP': podIp });
  const sidecar = await start(env, etcd?.endpoints ?? []);
  const { body } = await sidecar.waitFor(({ isLeader }) => isLeader, answersWithinMs);
  expect(body).toMatchObject({ election: 'orders', id: 'orders-0', leader: { address } });
});

/** What the probes of the manifests would hear now. */
async function probed(name: string, sidecar: Sidecar): Promise<Record<string, number>> {
  const { startupProbe, livenessProbe, readinessProbe } = sidecarOf(name).electord;
  const ask = async (path = 'missing'): Promise<number> => (await sidecar.get(path)).status;
  return {
    startup: await ask(startupProbe?.httpGet?.path),
    liveness: await ask(livenessProbe?.httpGet?.path),
    readiness: await ask(readinessProbe?.httpGet?.path),
  };
}

const well = { startup: 200, liveness: 200, readiness: 200 };
const withoutEtcd = { startup: 200, liveness: 200, readiness: 503 };

test('an app starts without etcd, and its pod is ready once etcd has told who leads', async () => {
  const node = etcd?.nodes[0];
  await node?.kill();
  const sidecar = await start(environmentOf('deployment', fields), etcd?.endpoints ?? []);
  await sidecar.waitFor(() => true, answersWithinMs);
  expect(await probed('deployment', sidecar)).toEqual(withoutEtcd);
  await node?.restart();
  await sidecar.waitFor(({ isLeader }) => isLeader, answersWithinMs);
  expect(await probed('deployment', sidecar)).toEqual(well);
});

test('leader and follower are ready; no probe restarts them while etcd is away, and reads go on', async () => {
  const env = environmentOf('statefulset', fields);
  const leader = await start(env, etcd?.endpoints ?? []);
  await leader.waitFor(({ isLeader }) => isLeader, answersWithinMs);
  const follower = await start({ ...env, ELECTORD_ID: 'orders-1' }, etcd?.endpoints ?? []);
  await follower.waitFor(({ role }) => role === 'follower', answersWithinMs);
  for (const each of [leader, follower]) expect(await probed('statefulset', each)).toEqual(well);
  etcd?.nodes[0]?.freeze();
  try {
    for (const each of [leader, follower]) {
      await each.waitFor(({ role }) => role === 'unknown', answersWithinMs);
      expect(await probed('statefulset', each)).toEqual(withoutEtcd);
    }
  } finally {
    etcd?.nodes[0]?.thaw();
  }
  const { failureThreshold = 0, periodSeconds = 0 } =
    sidecarOf('statefulset').electord.readinessProbe ?? {};
  // A pod that was ready is left in the Service for an hour.
  expect(failureThreshold * periodSeconds).toBeGreaterThanOrEqual(3600);
  for (const each of [leader, follower]) {
    const ready = async (): Promise<boolean> => (await each.get('/readyz')).status === 200;
    await eventually(ready, { withinMs: answersWithinMs, what: `${each.id} is ready again` });
  }
});

test('a pod has time for its app to end, and then for the step-down', () => {
  const graceSeconds = Number.parseInt(
    settings.find(({ name }) => name === 'grace')?.defaultText ?? '',
    10,
  );
  expect(graceSeconds).toBeGreaterThan(0);
  for (const name of ['deployment', 'statefulset']) {
    const { pod, electord } = sidecarOf(name);
    // The hand-over, an app's usual 30 s, --grace, and a little.
    const neededSeconds = graceSeconds + 30 + graceSeconds + 5;
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(neededSeconds);
    expect(electord.restartPolicy).toBe('Always');
    expect(electord.lifecycle?.preStop?.exec?.command).toEqual(['electord', 'hand-over']);
  }
});
