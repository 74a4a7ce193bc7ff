// Cuts on a host's network by iptables, inside the host's namespace only. A set of rules replaces the one before in
// one step, and every rule counts the packets that it met, so that a cut can be shown to have cut something.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { complaint } from '../../src/dev/etcd-command.ts';
import { extensionsOfIptables, findPrograms } from '../harness/programs.ts';
import type { Host } from './hosts.ts';
import { runOn } from './hosts.ts';
import { etcdClientPort } from './ports.ts';

/** Rules in the language of iptables, without the `-A`: `OUTPUT -d 10.0.0.1 -j DROP`. */
export interface Rules {
  readonly filter: readonly string[];
  readonly nat?: readonly string[];
}

const program = 'xtables-nft-multi';
const timeoutMs = 20_000;
let found: Promise<NodeJS.ProcessEnv> | undefined;

/** The environment in which iptables runs. */
async function find(): Promise<NodeJS.ProcessEnv> {
  const proof = [[program, 'iptables', '--version']] as const;
  const { root, env } = await findPrograms({ packages: ['iptables'], proof });
  return root === '/' ? env : { ...env, XTABLES_LIBDIR: extensionsOfIptables(env) };
}

/** Looks for iptables; fetches it where it is not on this machine. */
export async function prepareFirewalls(): Promise<void> {
  found ??= find();
  await found;
}

/** The packet filter of one host. */
export class Firewall {
  readonly #host: Host;
  readonly #rulesFile: string;

  /** `folder` gets a file with the rules. */
  constructor(host: Host, folder: string) {
    this.#host = host;
    this.#rulesFile = join(folder, `${host.name}.rules`);
  }

  /** From now on these rules and no others hold. */
  async apply(rules: Rules): Promise<void> {
    const table = (name: string, chains: string, lines: readonly string[]): string =>
      [`*${name}`, chains, ...lines.map((line) => `-A ${line}`), 'COMMIT', ''].join('\n');
    const filter = table('filter', ':INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]', rules.filter);
    const nat = rules.nat === undefined ? '' : table('nat', ':OUTPUT ACCEPT [0:0]', rules.nat);
    await writeFile(this.#rulesFile, filter + nat);
    await this.#run(['iptables-restore', this.#rulesFile]);
  }

  /** Lets everything pass again. */
  clear(): Promise<void> {
    return this.apply({ filter: [], nat: [] });
  }

  /** How many packets were dropped or rejected since the rules were applied. */
  async stopped(): Promise<number> {
    const hits = (await this.#counters()).matchAll(/^\[(\d+):\d+\] .*-j (?:DROP|REJECT)/gm);
    return [...hits].reduce((sum, [, packets]) => sum + Number(packets), 0);
  }

  /** How many connections were redirected since the rules were applied. */
  async redirected(): Promise<number> {
    const hits = (await this.#counters('nat')).matchAll(/^\[(\d+):\d+\] .*-j DNAT/gm);
    return [...hits].reduce((sum, [, packets]) => sum + Number(packets), 0);
  }

  /** To which of these addresses most packets are sent while `watch` lasts; lets everything pass. */
  async busiest(addresses: readonly string[], watch: Promise<void>): Promise<string> {
    await this.apply({ filter: addresses.map((address) => `OUTPUT -d ${address}`) });
    await watch;
    const found = (await this.#counters()).matchAll(/^\[(\d+):\d+\] -A OUTPUT -d ([\d.]+)/gm);
    const counted = [...found].map(([, packets, address]) => ({
      packets: Number(packets),
      address,
    }));
    await this.clear();
    return counted.sort((one, other) => other.packets - one.packets)[0]?.address ?? addresses[0]!;
  }

  #counters(table: 'filter' | 'nat' = 'filter'): Promise<string> {
    return this.#run(['iptables-save', '-c', '-t', table]);
  }

  async #run([tool = '', ...args]: readonly string[]): Promise<string> {
    await prepareFirewalls();
    const env = await found!;
    const result = await runOn(this.#host, program, [tool, ...args], { timeoutMs, env });
    if (result.code !== 0) {
      throw new Error(`${tool} on ${this.#host.name}: ${complaint(result)}`);
    }
    return result.stdout;
  }
}

/** Which way packets are stopped, seen from the host that has the firewall. */
export type Way = 'in' | 'out';

/** Rules that silently drop what goes to, or comes from, these addresses. */
export function dropRules(addresses: readonly string[], ways: readonly Way[]): Rules {
  const incoming = addresses.map((address) => `INPUT -s ${address} -j DROP`);
  const outgoing = addresses.map((address) => `OUTPUT -d ${address} -j DROP`);
  return {
    filter: [...(ways.includes('in') ? incoming : []), ...(ways.includes('out') ? outgoing : [])],
  };
}

/** Rules that answer every TCP packet to these addresses with a reset, which must be let in. */
export function rejectRules(addresses: readonly string[]): Rules {
  const target = '-p tcp -j REJECT --reject-with tcp-reset';
  return { filter: addresses.map((address) => `OUTPUT -d ${address} ${target}`) };
}

/**
 * Rules that lead each connection from `source` to etcd at one of these addresses to another place, `address:port`.
 * Connections from before are reset; those that were led elsewhere stay, so that the other place must end at last.
 */
export function redirectRules(source: string, places: ReadonlyMap<string, string>): Rules {
  const toEtcd = (to: string): string =>
    `OUTPUT -s ${source} -d ${to} -p tcp --dport ${etcdClientPort}`;
  return {
    // Only connections from before still have etcd's own address here.
    filter: [...places.keys()].map((to) => `${toEtcd(to)} -j REJECT --reject-with tcp-reset`),
    nat: [...places].map(([to, place]) => `${toEtcd(to)} -j DNAT --to-destination ${place}`),
  };
}

/** Rules that lose this share of the packets to and from the addresses, at random. */
export function lossRules(addresses: readonly string[], share: number): readonly string[] {
  const chance = `-m statistic --mode random --probability ${share} -j DROP`;
  return addresses.flatMap((address) => [
    `INPUT -s ${address} ${chance}`,
    `OUTPUT -d ${address} ${chance}`,
  ]);
}
