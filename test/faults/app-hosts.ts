// The apps beside the sidecars, one on each of their hosts, and all that they have written and been reached by. Faults spare
// them: what is judged is where the proxies send.
import type { GuardedChild } from '../../src/dev/etcd-child.ts';
import { startOn, type Host } from './hosts.ts';
import { appPort, proxyPorts } from './ports.ts';
import type { Programs } from './programs.ts';
import { takeLine, type Arrival, type Traffic, type Write } from './writes.ts';

export class AppHosts {
  readonly #traffic: { readonly writes: Write[]; readonly arrivals: Arrival[] } = {
    ...{ writes: [], arrivals: [] },
  };
  readonly #children: GuardedChild[] = [];
  /** Why they cannot be believed any more, null while they can. */
  #fault: unknown = null;
  #closing = false;

  /** Starts one on each host. */
  static async open(hosts: readonly Host[], { app }: Programs): Promise<AppHosts> {
    const all = new AppHosts();
    for (const host of hosts) await all.#start(host, app);
    return all;
  }

  /** All that was written and has arrived until now. @throws Error when one has failed: where it was, nothing was seen. */
  traffic(): Traffic {
    if (this.#fault !== null) throw this.#fault as Error;
    return { writes: [...this.#traffic.writes], arrivals: [...this.#traffic.arrivals] };
  }

  async close(): Promise<void> {
    this.#closing = true;
    for (const child of this.#children) {
      child.signal('SIGKILL');
      await child.exited;
    }
  }

  async #start(host: Host, program: string): Promise<void> {
    const { name } = host;
    const args = [program, name, ...[appPort, proxyPorts.http, proxyPorts.tcp].map(String)];
    const child = await startOn(host, process.execPath, args, {
      env: { PATH: process.env['PATH'] },
      onLine: (line, stream) => {
        if (stream === 'stderr') this.#fault ??= new Error(`the app of ${name}: ${line}`);
        else takeLine(name, line, this.#traffic);
      },
    });
    this.#children.push(child);
    void child.exited.then(() => {
      if (!this.#closing) this.#fault ??= new Error(`the app of ${name} has ended`);
    });
  }
}
