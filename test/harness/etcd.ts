// Real etcd clusters of one or three members for tests: with TLS, client certificates and users where
// asked for, members that can be frozen, killed and started again with the same data and ports, and
// the question who leads. etcd's own timings are left alone.
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { etcdEnvironment } from '../../src/dev/etcd-cache.ts';
import type { GuardedChild } from '../../src/dev/etcd-child.ts';
import { saysPortTaken, spawnEtcd, untilServing } from '../../src/dev/etcd-process.ts';
import type { ProbeTls } from '../../src/dev/etcd-process.ts';
import { etcdBinaries, newestEtcd } from './binaries.ts';
import type { EtcdSeries } from './binaries.ts';
import { makeCertificates } from './certificates.ts';
import type { Certificates } from './certificates.ts';
import { reservePorts } from './ports.ts';
import { eventually } from './wait.ts';

/** The cluster wanted. */
export interface EtcdClusterOptions {
  readonly size: 1 | 3;
  /** The newest by default. */
  readonly version?: EtcdSeries;
  /** TLS for clients; `mutual` demands a client certificate of our authority. */
  readonly tls?: boolean | 'mutual';
  /** Switches authentication on; the user may read and write every key. */
  readonly auth?: { readonly username: string; readonly password: string };
  /** More flags for every member, stronger than ours. */
  readonly extraArgs?: readonly string[];
}

/** One member. */
export interface EtcdNode {
  readonly name: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
  /** Of the process that runs now, or ran last. */
  readonly pid: number;
  /** SIGSTOP: sockets stay open and nothing answers. */
  freeze(): void;
  /** SIGCONT. */
  thaw(): void;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** SIGKILL, and its data is gone: the next start is of an empty etcd of the same cluster. */
  forget(): Promise<void>;
  /** Starts it again (after killing it, if it runs) on the same data and ports, until it serves. */
  restart(): Promise<void>;
  /** As {@link EtcdNode.restart}, without waiting until it serves (a quorum may be missing). */
  start(): Promise<void>;
  /** Whether this member, asked itself, leads; false when it does not answer within a second. */
  isLeader(): Promise<boolean>;
  /** The last lines of the process that runs now. */
  recentOutput(): string;
}

/** A running cluster. */
export interface EtcdCluster {
  readonly version: EtcdSeries;
  /** Client URLs of the members that it began with. */
  readonly endpoints: string[];
  readonly nodes: EtcdNode[];
  /** Made for this cluster; null without TLS. */
  readonly certificates: Certificates | null;
  /** The member that a quorum takes for the leader; waits until there is one. */
  readonly leader: () => Promise<EtcdNode>;
  /**
   * Runs etcdctl against all members that there are, with the flags that TLS and authentication ask for (as root),
   * and resolves to its standard output.
   *
   * @throws Error with what it wrote when it fails.
   */
  readonly etcdctl: (
    args: readonly string[],
    options?: { endpoints?: readonly string[] },
  ) => Promise<string>;
  /** Makes another member and starts it; resolves once it serves. */
  readonly add: () => Promise<EtcdNode>;
  /** Takes a member out of the cluster and ends it; resolves once the others have a leader. */
  readonly remove: (node: EtcdNode) => Promise<void>;
  /** Kills all members and removes data and certificates. */
  readonly stop: () => Promise<void>;
}

/** What a member says of itself. */
interface MemberStatus {
  readonly memberId: string;
  readonly leaderId: string;
  readonly term: number;
}

const statusTimeoutMs = 1_000;
const leaderWithinMs = 20_000;
const etcdctlTimeoutMs = 20_000;
const startAttempts = 4;

/** One request to a member's JSON gateway; null when it does not answer with JSON. */
function askMember<Answer>(
  url: string,
  question: object,
  tls: ProbeTls | undefined,
  token?: string,
): Promise<Answer | null> {
  return new Promise((resolve) => {
    const send = url.startsWith('https:') ? requestHttps : requestHttp;
    const headers = token === undefined ? {} : { Authorization: token };
    const settings = { method: 'POST', agent: false, timeout: statusTimeoutMs, headers, ...tls };
    const request = send(url, settings, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      answer.on('end', () => {
        try {
          resolve(answer.statusCode === 200 ? (JSON.parse(text) as Answer) : null);
        } catch {
          resolve(null);
        }
      });
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(null));
    request.on('close', () => resolve(null));
    request.end(JSON.stringify(question));
  });
}

/** A user of etcd, in the words of its gateway. */
interface Login {
  readonly name: string;
  readonly password: string;
}

/** Asks a member for its status; null when it does not answer. With authentication on, 3.5.30 tells only users. */
async function memberStatus(
  clientUrl: string,
  tls: ProbeTls | undefined,
  login: Login | null,
): Promise<MemberStatus | null> {
  const granted =
    login === null
      ? null
      : await askMember<{ token: string }>(`${clientUrl}/v3/auth/authenticate`, login, tls);
  const status = await askMember<{
    header: { member_id: string };
    leader?: string;
    raftTerm?: string;
  }>(`${clientUrl}/v3/maintenance/status`, {}, tls, granted?.token);
  if (status === null) return null;
  const { header, leader = '0', raftTerm = '0' } = status;
  return { memberId: header.member_id, leaderId: leader, term: Number(raftTerm) };
}

/** What all members of a cluster have in common. */
interface Shared {
  readonly binary: string;
  readonly folder: string;
  readonly args: readonly string[];
  readonly tls: ProbeTls | undefined;
  /** Null while no authentication is on. */
  readonly login: () => Login | null;
}

class Member implements EtcdNode {
  readonly name: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
  readonly #shared: Shared;
  #child: GuardedChild | undefined;

  constructor(name: string, clientUrl: string, peerUrl: string, shared: Shared) {
    this.name = name;
    this.clientUrl = clientUrl;
    this.peerUrl = peerUrl;
    this.#shared = shared;
  }

  get pid(): number {
    return this.#running().pid;
  }

  freeze(): void {
    this.#running().signal('SIGSTOP');
  }

  thaw(): void {
    this.#running().signal('SIGCONT');
  }

  async kill(): Promise<void> {
    this.#child?.signal('SIGKILL');
    await this.#child?.exited;
  }

  async forget(): Promise<void> {
    await this.kill();
    await rm(join(this.#shared.folder, this.name), { recursive: true, force: true });
  }

  async start(): Promise<void> {
    await this.kill();
    const own = [
      `--name=${this.name}`,
      `--data-dir=${join(this.#shared.folder, this.name)}`,
      `--listen-client-urls=${this.clientUrl}`,
      `--advertise-client-urls=${this.clientUrl}`,
      `--listen-peer-urls=${this.peerUrl}`,
      `--initial-advertise-peer-urls=${this.peerUrl}`,
    ];
    this.#child = await spawnEtcd(this.#shared.binary, [...own, ...this.#shared.args]);
  }

  async restart(): Promise<void> {
    await this.start();
    await this.untilServing();
  }

  untilServing(): Promise<void> {
    return untilServing(this.#running(), this.clientUrl, this.#shared.tls);
  }

  status(): Promise<MemberStatus | null> {
    return memberStatus(this.clientUrl, this.#shared.tls, this.#shared.login());
  }

  async isLeader(): Promise<boolean> {
    const status = await this.status();
    return status !== null && status.leaderId === status.memberId;
  }

  recentOutput(): string {
    return this.#child?.recentOutput() ?? '';
  }

  #running(): GuardedChild {
    if (this.#child === undefined) throw new Error(`etcd member ${this.name} was never started`);
    return this.#child;
  }
}

function tlsArguments(certificates: Certificates | null, mutual: boolean): string[] {
  if (certificates === null) return [];
  const { server, authority } = certificates;
  const args = [`--cert-file=${server.certFile}`, `--key-file=${server.keyFile}`];
  if (mutual) args.push('--client-cert-auth', `--trusted-ca-file=${authority.certFile}`);
  return args;
}

/** Data is thrown away, so it need not reach the disk; 3.4 has no flag for that. */
function versionArguments(version: EtcdSeries): string[] {
  return version === '3.4' ? [] : ['--unsafe-no-fsync'];
}

async function startMembers(options: EtcdClusterOptions, shared: Shared): Promise<Member[]> {
  const ports = await reservePorts(options.size * 2);
  const scheme = options.tls === undefined || options.tls === false ? 'http' : 'https';
  const places = Array.from({ length: options.size }, (_, index) => ({
    name: `etcd-${index}`,
    clientUrl: `${scheme}://127.0.0.1:${ports[2 * index]!}`,
    peerUrl: `http://127.0.0.1:${ports[2 * index + 1]!}`,
  }));
  const together = places.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(',');
  const args = [`--initial-cluster=${together}`, ...shared.args];
  const members = places.map(
    ({ name, clientUrl, peerUrl }) => new Member(name, clientUrl, peerUrl, { ...shared, args }),
  );
  try {
    await Promise.all(members.map((member) => member.start()));
    await Promise.all(members.map((member) => member.untilServing()));
    return members;
  } catch (error) {
    await Promise.all(members.map((member) => member.kill()));
    throw error;
  }
}

const agreement = (members: readonly Member[]): Promise<Member> =>
  eventually(() => agreedLeader(members), {
    withinMs: leaderWithinMs,
    what: 'a leader of etcd that a quorum agrees on',
  });

/** Of each member as etcd knows it: its id, its name and its peer URL. */
async function known(etcdctl: Etcdctl): Promise<readonly (readonly [string, string, string])[]> {
  const list = await etcdctl(['member', 'list']);
  return list
    .trim()
    .split('\n')
    .map((line) => line.split(', '))
    .map(([id = '', _state, name = '', peerUrl = '']) => [id, name, peerUrl] as const);
}

/** How a cluster is changed; `members` is kept up to date. */
function changes(
  members: Member[],
  shared: Shared,
  etcdctl: Etcdctl,
): Pick<EtcdCluster, 'add' | 'remove'> {
  let made = members.length;
  return {
    add: async () => {
      const [clientPort = 0, peerPort = 0] = await reservePorts(2);
      const [name, peerUrl] = [`etcd-${made++}`, `http://127.0.0.1:${peerPort}`];
      const clientUrl = (members[0]?.clientUrl ?? '').replace(/\d+$/, String(clientPort));
      await etcdctl(['member', 'add', name, `--peer-urls=${peerUrl}`]);
      const others = (await known(etcdctl)).filter(([, , url]) => url !== peerUrl);
      const together = [...others.map(([, one, url]) => `${one}=${url}`), `${name}=${peerUrl}`];
      const args = [`--initial-cluster=${together.join(',')}`, '--initial-cluster-state=existing'];
      const own = { ...shared, args: [...args, ...shared.args] };
      const member = new Member(name, clientUrl, peerUrl, own);
      members.push(member);
      await member.restart();
      return member;
    },
    remove: async (node) => {
      const [id] = (await known(etcdctl)).find(([, name]) => name === node.name) ?? [''];
      // The member itself may stop before it has answered.
      const endpoints = members.filter((one) => one.name !== node.name).map((one) => one.clientUrl);
      await etcdctl(['member', 'remove', id], { endpoints });
      await node.kill();
      const place = members.findIndex(({ name }) => name === node.name);
      members.splice(place, 1);
      await agreement(members);
    },
  };
}

type Etcdctl = EtcdCluster['etcdctl'];

/** Starts the members, with other ports when one of them turns out to be taken. */
async function startMembersRetrying(
  options: EtcdClusterOptions,
  shared: Shared,
): Promise<Member[]> {
  for (let attempt = 1; ; attempt += 1) {
    const folder = join(shared.folder, String(attempt));
    try {
      return await startMembers(options, { ...shared, folder });
    } catch (error) {
      const taken = saysPortTaken(error instanceof Error ? error.message : '');
      if (!taken || attempt >= startAttempts) throw error;
    }
  }
}

function runEtcdctl(file: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = etcdEnvironment({ ETCDCTL_API: '3' });
    execFile(file, [...args], { env, timeout: etcdctlTimeoutMs }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`etcdctl ${args.join(' ')}: ${stderr || error.message}`));
    });
  });
}

/** The commands that make a user who may read and write everything, and demand passwords. */
async function switchOnAuthentication(
  etcdctl: Etcdctl,
  rootPassword: string,
  { username, password }: { readonly username: string; readonly password: string },
): Promise<void> {
  await etcdctl(['user', 'add', `root:${rootPassword}`]);
  await etcdctl(['role', 'add', 'root']);
  await etcdctl(['user', 'grant-role', 'root', 'root']);
  if (username !== 'root') {
    await etcdctl(['role', 'add', 'everything']);
    await etcdctl(['role', 'grant-permission', 'everything', 'readwrite', '', '--from-key']);
    await etcdctl(['user', 'add', `${username}:${password}`]);
    await etcdctl(['user', 'grant-role', username, 'everything']);
  }
  await etcdctl(['auth', 'enable']);
}

/** The leader that a quorum agrees on in the newest term, or null. */
async function agreedLeader(members: readonly Member[]): Promise<Member | null> {
  const answers = await Promise.all(members.map((member) => member.status()));
  const heard = answers.filter((answer) => answer !== null);
  const term = Math.max(0, ...heard.map((answer) => answer.term));
  const newest = heard.filter((answer) => answer.term === term && answer.leaderId !== '0');
  const leaderId = newest[0]?.leaderId;
  const agreeing = newest.filter((answer) => answer.leaderId === leaderId);
  if (agreeing.length * 2 <= members.length) return null;
  return members.find((_, index) => answers[index]?.memberId === leaderId) ?? null;
}

/**
 * Starts a cluster and resolves once every member serves and, if wanted, authentication is on.
 *
 * @throws Error with etcd's last output when it does not start.
 */
export async function startEtcdCluster(options: EtcdClusterOptions): Promise<EtcdCluster> {
  const version = options.version ?? newestEtcd;
  const binaries = (await etcdBinaries())[version];
  const certificates = options.tls ? await makeCertificates() : null;
  const mutual = options.tls === 'mutual';
  const folder = await mkdtemp(join(tmpdir(), 'electord-cluster-'));
  const tls: ProbeTls | undefined =
    certificates === null
      ? undefined
      : {
          ca: certificates.authority.cert,
          ...(mutual ? { cert: certificates.client.cert, key: certificates.client.key } : {}),
        };
  const args = [
    ...versionArguments(version),
    ...tlsArguments(certificates, mutual),
    // The cheapest hash: a password of a test protects nothing.
    ...(options.auth ? ['--bcrypt-cost=4'] : []),
    ...(options.extraArgs ?? []),
  ];
  const removeFiles = async (): Promise<void> => {
    await rm(folder, { recursive: true, force: true });
    await certificates?.remove();
  };
  const rootPassword = options.auth?.username === 'root' ? options.auth.password : 'root-of-a-test';
  let authenticated = false;
  const login = () => (authenticated ? { name: 'root', password: rootPassword } : null);
  const shared = { binary: binaries.etcd, folder, args, tls, login };
  const members = await startMembersRetrying(options, shared).catch(async (error: unknown) => {
    await removeFiles();
    throw error;
  });
  const present = (): string[] => members.map(({ clientUrl }) => clientUrl);
  const etcdctl: Etcdctl = (command, { endpoints: only = present() } = {}) => {
    const flags = [`--endpoints=${only.join(',')}`];
    if (certificates !== null) flags.push(`--cacert=${certificates.authority.certFile}`);
    if (certificates !== null && mutual) {
      const { certFile, keyFile } = certificates.client;
      flags.push(`--cert=${certFile}`, `--key=${keyFile}`);
    }
    if (authenticated) flags.push(`--user=root:${rootPassword}`);
    return runEtcdctl(binaries.etcdctl!, [...flags, ...command]);
  };
  const stop = async (): Promise<void> => {
    await Promise.all(members.map((member) => member.kill()));
    await removeFiles();
  };
  if (options.auth !== undefined) {
    try {
      await switchOnAuthentication(etcdctl, rootPassword, options.auth);
      authenticated = true;
    } catch (error) {
      await stop();
      throw error;
    }
  }
  return {
    version,
    endpoints: present(),
    nodes: members,
    certificates,
    leader: () => agreement(members),
    etcdctl,
    ...changes(members, shared, etcdctl),
    stop,
  };
}
