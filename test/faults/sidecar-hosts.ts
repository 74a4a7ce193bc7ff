// The three sidecars (or peers of another make), each on a host of its own with a probe beside it, and all that the
// probes have seen. The last of the sidecars runs on a wall clock that can be stepped.
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ChildExit, GuardedChild } from '../../src/dev/etcd-child.ts';
import { monotonicMs } from '../harness/sidecar.ts';
import { eventually, within } from '../harness/wait.ts';
import { parseAnswer } from './answer-line.ts';
import type { Answer } from './answer-line.ts';
import type { End } from './conduct.ts';
import { Firewall } from './firewall.ts';
import { startOn } from './hosts.ts';
import type { Host, Laboratory } from './hosts.ts';
import { appPort, proxyPorts, sidecarLocalPort, sidecarPort } from './ports.ts';
import { isStopped } from './process-state.ts';
import type { Programs } from './programs.ts';
import { SteppedClock } from './stepped-clock.ts';
import { parseSample, type Sample } from './traffic.ts';

/** The election that all of them stand in. */
export const electionName = 'faults';

/** What stands in the election. */
export interface Contestants {
  readonly make: 'electord' | 'etcd3';
  readonly ttlMs: number;
  /** As the flag has it; `0s` is the program's own default. */
  readonly takeoverDelay: string;
  /** Likewise: a duration, or `off`. */
  readonly fastFailover: string;
  readonly endpoints: readonly string[];
  readonly programs: Programs;
  /** Gets a file with the output of each. */
  readonly logFolder: string;
}

/** Where the candidates have their keys. */
export const candidatesPrefix = (make: Contestants['make']): string =>
  make === 'electord' ? `/electord/${electionName}/candidates/` : `election/${electionName}/`;

/** An answer is news for this long: longer than a busy machine takes to get to the next one. */
const newsMs = 400;

/** Longer than any grace: whoever has not ended by then never does, and the run goes on without it. */
const endsAtAllWithinMs = 30_000;

/** Nothing of this process's own settings for Node and electord. */
function plainEnvironment(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !/^(ELECTORD_|NODE_)/.test(name));
  return Object.fromEntries(own);
}

/** One sidecar with its host and its probe. */
export class SidecarHost {
  readonly host: Host;
  readonly firewall: Firewall;
  /** Null where the wall clock is the machine's own. */
  readonly clock: SteppedClock | null;
  /** Everything that its probe has seen, in the order of arrival. */
  readonly answers: Answer[] = [];
  /** How much it has asked of etcd, once a second. */
  readonly samples: Sample[] = [];
  /** Of each of its processes that has ended. */
  readonly ends: End[] = [];
  /** Terms that it gave up because its key was gone, by its own log, and when that was read. */
  readonly keysLost: { readonly token: bigint; readonly at: number }[] = [];
  readonly #contestants: Contestants;
  readonly #logFile: string;
  #child: GuardedChild | undefined;
  #probe: GuardedChild | undefined;
  /** Whether its process is to end, by a signal or by itself. */
  #mayEnd = false;
  /** Why the probe cannot be believed any more, null while it can. */
  #fault: unknown = null;

  constructor(
    host: Host,
    contestants: Contestants,
    options: { readonly firewall: Firewall; readonly clock: SteppedClock | null },
  ) {
    this.host = host;
    this.firewall = options.firewall;
    this.clock = options.clock;
    this.#contestants = contestants;
    this.#logFile = join(contestants.logFolder, `${host.name}.log`);
  }

  get name(): string {
    return this.host.name;
  }

  get address(): string {
    return this.host.address;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Whether its process runs, stopped or not. */
  isRunning(): boolean {
    return this.#child !== undefined && this.#child.exit() === null;
  }

  /** Starts it; resolves before it answers. What it writes goes to the file `logTo`, if given, and is not read. */
  async start(logTo: string | null = null): Promise<void> {
    this.#note(`--- started at ${monotonicMs().toFixed(3)}`);
    const command = [process.execPath, ...this.#arguments()];
    // Only a shell gives a program a file to write.
    const shell = logTo === null ? [] : ['sh', '-c', 'exec "$@" > "$0" 2>&1', logTo];
    const [file = '', ...args] = [...shell, ...command];
    this.#mayEnd = false;
    this.#child = await startOn(this.host, file, args, {
      env: { ...plainEnvironment(), ...this.clock?.environment },
      onLine: (line) => this.#read(line),
    });
    const { pid, exited } = this.#child;
    void exited.then((exit) => {
      if (this.clock !== null) SteppedClock.sweep(pid);
      if (this.#mayEnd) return;
      this.ends.push({ of: this.name, at: monotonicMs(), asked: null, tookMs: 0, exit });
    });
  }

  /** Starts the probe, which goes on whether the sidecar runs or not. */
  async startProbe(): Promise<void> {
    const url = `http://127.0.0.1:${sidecarPort}`;
    this.#probe = await startOn(
      this.host,
      process.execPath,
      [this.#contestants.programs.probe, url],
      {
        env: plainEnvironment(),
        onLine: (line, stream) => {
          if (stream === 'stderr') this.#fault ??= new Error(`the probe of ${this.name}: ${line}`);
          else this.#take(line);
        },
      },
    );
    void this.#probe.exited.then(() => {
      if (!this.#closing) this.#fault ??= new Error(`the probe of ${this.name} has ended`);
    });
  }

  /** @throws Error when the probe has failed: a run without eyes proves nothing. */
  assertProbed(): void {
    if (this.#fault !== null) throw this.#fault as Error;
  }

  /** SIGKILL or SIGTERM; resolves when it is gone. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<ChildExit> {
    const at = monotonicMs();
    this.#note(`--- ${signal} at ${at.toFixed(3)}`);
    this.#mayEnd = true;
    const child = this.#child!;
    if (signal === 'SIGKILL') child.signal(signal);
    const exit = await (signal === 'SIGKILL' ? child.exited : child.stop(endsAtAllWithinMs));
    this.ends.push({ of: this.name, at, asked: signal, tookMs: monotonicMs() - at, exit });
    return exit;
  }

  /** Waits for an end that nobody asks for, and that is right. */
  async endOfItself(): Promise<ChildExit> {
    this.#mayEnd = true;
    return within(this.#child!.exited, {
      withinMs: endsAtAllWithinMs,
      what: `the end of ${this.name}`,
    });
  }

  /** The reasons for which it does not use etcd, or some endpoint, as it said at or after `since`. */
  trouble(since: number): readonly string[] {
    return this.samples.filter(({ at }) => at >= since).flatMap(({ trouble }) => trouble);
  }

  /** SIGSTOP; resolves once every thread has stopped. */
  async freeze(): Promise<void> {
    this.#note(`--- SIGSTOP at ${monotonicMs().toFixed(3)}`);
    this.#child?.signal('SIGSTOP');
    await eventually(() => isStopped(this.pid), { withinMs: 5000, what: `${this.name} stopped` });
  }

  thaw(): void {
    this.#note(`--- SIGCONT at ${monotonicMs().toFixed(3)}`);
    this.#child?.signal('SIGCONT');
  }

  /** Its newest answer; null when that is too old to be news, or was asked for before `since`. */
  news(since = 0): Answer | null {
    const newest = this.answers.at(-1);
    const oldest = Math.max(since, monotonicMs() - newsMs);
    return newest !== undefined && newest.sentAt >= oldest ? newest : null;
  }

  /** Ends both; SIGKILL, because nothing is to be learned any more. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#mayEnd = true;
    for (const child of [this.#probe, this.#child]) {
      child?.signal('SIGKILL');
      await child?.exited;
    }
  }

  #closing = false;

  #arguments(): readonly string[] {
    const { make, ttlMs, takeoverDelay, fastFailover, endpoints, programs } = this.#contestants;
    if (make === 'etcd3') {
      const settings = [this.name, electionName, String(ttlMs / 1000), String(sidecarPort)];
      return [programs.peer, ...settings, ...endpoints];
    }
    return [
      programs.electord,
      'serve',
      `--election=${electionName}`,
      `--id=${this.name}`,
      `--etcd=${endpoints.join(',')}`,
      `--ttl=${ttlMs}ms`,
      `--takeover-delay=${takeoverDelay}`,
      `--fast-failover=${fastFailover}`,
      `--listen=0.0.0.0:${sidecarPort}`,
      `--local-listen=127.0.0.1:${sidecarLocalPort}`,
      `--advertise=${this.address}:${appPort}`,
      ...Object.entries(proxyPorts).map(([by, port]) => `--proxy=${by}://127.0.0.1:${port}=leader`),
      '--log-level=debug',
    ];
  }

  #read(line: string): void {
    const at = monotonicMs();
    this.#note(`${at.toFixed(3)} ${line}`);
    const lost = /"term":"(\d+)".*"msg":"no longer leads [^"]*: key_deleted"/.exec(line)?.[1];
    if (lost !== undefined) this.keysLost.push({ token: BigInt(lost), at });
  }

  #take(line: string): void {
    const sample = parseSample(this.name, line);
    if (sample === null) this.answers.push(parseAnswer(this.name, line));
    else this.samples.push(sample);
  }

  #note(line: string): void {
    appendFileSync(this.#logFile, `${line}\n`);
  }
}

/** All of them. */
export class SidecarHosts {
  readonly members: readonly SidecarHost[];
  readonly #contestants: Contestants;

  private constructor(members: readonly SidecarHost[], contestants: Contestants) {
    this.members = members;
    this.#contestants = contestants;
  }

  /** Starts three, and a probe for each. */
  static async open(laboratory: Laboratory, contestants: Contestants): Promise<SidecarHosts> {
    mkdirSync(contestants.logFolder, { recursive: true });
    const members: SidecarHost[] = [];
    for (const [index, name] of ['a', 'b', 'c'].entries()) {
      const host = await laboratory.addHost(name, 2, index + 1);
      const clock =
        name === 'c' && contestants.make === 'electord'
          ? await SteppedClock.open(join(laboratory.folder, 'clock-of-c'))
          : null;
      const firewall = new Firewall(host, laboratory.folder);
      members.push(new SidecarHost(host, contestants, { firewall, clock }));
    }
    const all = new SidecarHosts(members, contestants);
    for (const member of members) {
      await member.start();
      await member.startProbe();
    }
    return all;
  }

  /** Everything that all probes have seen, in the order of arrival. */
  answers(): readonly Answer[] {
    return this.members
      .flatMap(({ answers }) => answers)
      .sort((one, other) => one.receivedAt - other.receivedAt);
  }

  /** All their samples. */
  samples(): readonly Sample[] {
    return this.members.flatMap(({ samples }) => samples);
  }

  /** How all their processes have ended so far. */
  ends(): readonly End[] {
    return this.members.flatMap(({ ends }) => ends).sort((one, other) => one.at - other.at);
  }

  /** Starts all. */
  async start(): Promise<void> {
    for (const member of this.members) await member.start();
  }

  /** SIGTERM to all at once; resolves when they are gone. */
  async end(): Promise<void> {
    await Promise.all(this.members.map((member) => member.end('SIGTERM')));
  }

  /** Who claims to lead now, with its newest term; null where nobody does, or two do. */
  leader(since = 0): { readonly sidecar: SidecarHost; readonly token: bigint } | null {
    const claiming = this.members.flatMap((sidecar) => {
      const token = sidecar.news(since)?.claims ?? null;
      return token === null ? [] : [{ sidecar, token }];
    });
    return claiming.length === 1 ? claiming[0]! : null;
  }

  /**
   * Waits until one leads and, as far as this make can tell, all name it and its term, in answers that
   * were asked for after `since`.
   *
   * @throws Error with what each of them says.
   */
  async agreement(
    withinMs: number,
    since = 0,
  ): Promise<{ readonly sidecar: SidecarHost; readonly token: bigint }> {
    return eventually(
      () => {
        for (const member of this.members) member.assertProbed();
        const leader = this.leader(since);
        if (leader === null) throw new Error(this.describe());
        if (this.#contestants.make !== 'electord') return leader;
        const agreed = this.members.every((one) => one.news(since)?.names === leader.token);
        if (!agreed) throw new Error(this.describe());
        return leader;
      },
      { withinMs, what: 'one leader that all sidecars name' },
    );
  }

  /** What each says now, for messages. */
  describe(): string {
    const says = this.members.map((member) => {
      const news = member.news();
      if (news === null) return `${member.name} is silent`;
      return `${member.name} claims ${String(news.claims)}, names ${String(news.names)}`;
    });
    return says.join('; ');
  }

  /** Everything runs and nothing is cut. */
  async restore(): Promise<void> {
    for (const member of this.members) {
      member.thaw();
      member.clock?.step(0);
      await member.firewall.clear();
      if (!member.isRunning()) await member.start();
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.members.map((member) => member.close()));
  }
}
