// One simulated world from its beginning to its end: etcd, the network, the sidecars, whatever befalls them, clients
// that ask all the time, and the judges. The same schedule gives the same world, to the last bit.
import {
  electionName,
  fencingToken,
  leaseId,
  memberId,
  type Cause,
  type ElectionName,
} from '../../src/core/model.ts';
import type { Notice } from '../../src/ports.ts';
import { Checkers, type Violation } from './checkers.ts';
import { ModelEtcd } from './model-etcd.ts';
import { Network } from './network.ts';
import { Random } from './random.ts';
import type { Happening, Schedule, Target } from './schedule.ts';
import { Scheduler } from './scheduler.ts';
import { SimSidecar, type Surroundings } from './sim-sidecar.ts';

/** How a schedule went. */
export interface Outcome {
  readonly violation: Violation | null;
  /** Lines for people, where they were asked for. */
  readonly transcript: readonly string[];
  /** How many questions clients asked, how often a claim was the answer, and how many terms were led. */
  readonly answers: number;
  readonly claims: number;
  readonly terms: number;
}

/** Clients ask every running sidecar this often, besides whenever something has just happened. Milliseconds. */
const askEveryMs = 50;

/** Runs a schedule up to its end or the first broken promise. */
export async function runSchedule(
  schedule: Schedule,
  { transcript = false }: { readonly transcript?: boolean } = {},
): Promise<Outcome> {
  const world = new World(schedule, transcript);
  return world.run();
}

class World {
  readonly #schedule: Schedule;
  readonly #scheduler = new Scheduler();
  readonly #etcd: ModelEtcd;
  readonly #network: Network;
  readonly #elections: readonly ElectionName[];
  readonly #sidecars: readonly SimSidecar[];
  readonly #checkers: Checkers;
  readonly #random: Random;
  readonly #lines: string[] | null;
  readonly #touched = new Set<SimSidecar>();
  #violation: Violation | null = null;
  #terms = 0;
  #askEverybody = false;
  #settled = false;

  constructor(schedule: Schedule, transcript: boolean) {
    const { seed, setup } = schedule;
    this.#schedule = schedule;
    this.#lines = transcript ? [] : null;
    this.#random = new Random(seed, 'world');
    this.#etcd = new ModelEtcd(this.#scheduler, new Random(seed, 'etcd'), setup.leastTtlMs);
    this.#network = new Network(this.#scheduler, this.#etcd, setup.weather, setup.etcdMembers);
    const names = ['orders', 'mail'].slice(0, setup.elections);
    this.#elections = names.map((name) => electionName(name));
    const surroundings: Surroundings = {
      seed,
      setup,
      scheduler: this.#scheduler,
      etcd: this.#etcd,
      network: this.#network,
      elections: this.#elections,
      notice: (sidecar, notice) => this.#notice(sidecar, notice),
      fatal: (sidecar, failure) => this.#checkers.fatal(sidecar, failure),
      leaseLost: (lease) => this.#checkers.lostLease(lease),
      at: (url) => this.#sidecars.find(({ id }) => id === url) ?? null,
      turned: (sidecar) => this.#touched.add(sidecar),
      trace: transcript ? (who, what) => this.#say(who, what) : null,
    };
    this.#sidecars = setup.sidecars.map((_, index) => new SimSidecar(index, surroundings));
    this.#checkers = new Checkers({
      setup,
      etcd: this.#etcd,
      now: () => this.#scheduler.now,
      sidecars: () => this.#sidecars,
      violated: (violation) => this.#violated(violation),
    });
    if (transcript) this.#narrateEtcd();
  }

  async run(): Promise<Outcome> {
    const { setup, happenings, calmAtMs, leaderByMs, endMs } = this.#schedule;
    const scheduler = this.#scheduler;
    scheduler.afterEach = () => this.#afterEach();
    setup.sidecars.forEach(({ startsAtMs }, index) => {
      scheduler.at(startsAtMs, () => this.#start(this.#sidecars[index]!));
    });
    for (const happening of happenings) {
      scheduler.at(happening.atMs, () => this.#happen(happening));
    }
    scheduler.at(calmAtMs, () => this.#calmDown());
    scheduler.at(leaderByMs, () => {
      this.#mustBeLed();
      this.#mustHaveStopped();
    });
    this.#askAgain();
    await scheduler.run(endMs);
    return {
      violation: this.#violation,
      transcript: this.#lines ?? [],
      answers: this.#checkers.answers,
      claims: this.#checkers.claims,
      terms: this.#terms,
    };
  }

  // Clients.

  #askAgain(): void {
    this.#askEverybody = true;
    this.#scheduler.after(askEveryMs, () => this.#askAgain());
  }

  /** Whoever has just done something is asked what it says now; everybody, where a term began or a key went. */
  #afterEach(): void {
    if (this.#askEverybody) {
      this.#askEverybody = false;
      this.#touched.clear();
      for (const sidecar of this.#sidecars) this.#ask(sidecar);
    } else if (this.#touched.size > 0) {
      for (const sidecar of this.#touched) this.#ask(sidecar);
      this.#touched.clear();
    }
  }

  #ask(sidecar: SimSidecar): void {
    for (const election of this.#elections) this.#checkers.probe(sidecar, election);
  }

  // The end: no more faults, and then a leader.

  #calmDown(): void {
    this.#network.calm();
    for (const sidecar of this.#sidecars) this.#start(sidecar);
    this.#say('world', 'nothing more goes wrong');
  }

  #mustBeLed(): void {
    this.#settled = true;
    for (const election of this.#elections) {
      const reports = this.#sidecars.flatMap(({ life }) => life?.elector.report(election) ?? []);
      const led = reports.some(({ token }) => token !== null);
      // Leadership may just be going back to a candidate of higher priority.
      const moving = this.#isRanked() && reports.some(({ steppingDown }) => steppingDown);
      if (led || moving) continue;
      this.#checkers.leaderless(election, this.#sinceCalmMs());
    }
  }

  /** Whoever was asked to stop was asked before the calm: its grace, and the lease that bounds all else, are over. */
  #mustHaveStopped(): void {
    for (const sidecar of this.#sidecars) {
      if (sidecar.stopping) this.#checkers.lingers(sidecar, this.#sinceCalmMs());
    }
  }

  #sinceCalmMs(): number {
    return this.#schedule.leaderByMs - this.#schedule.calmAtMs;
  }

  /** Where priorities differ leadership may move of itself, long after the last fault. */
  #isRanked(): boolean {
    return this.#schedule.setup.sidecars.some(({ priority }) => priority > 0);
  }

  // What happens to whom.

  #whom(target: Target, of = 0): SimSidecar | null {
    if (target !== 'leader') return this.#sidecars[target] ?? null;
    const [first] = this.#etcd.snapshot(this.#elections[of]!).candidates;
    return this.#sidecars.find(({ id }) => id === first?.id) ?? null;
  }

  #start(sidecar: SimSidecar): void {
    if (sidecar.life !== null) return;
    this.#say(sidecar.id, 'starts');
    sidecar.start();
  }

  #happen(happening: Happening): void {
    if ('whom' in happening) {
      const sidecar = this.#whom(happening.whom, 'of' in happening ? happening.of : 0);
      if (sidecar === null) return;
      this.#say(sidecar.id, describe(happening));
      return this.#befall(sidecar, happening);
    }
    this.#say('etcd', describe(happening));
    const scheduler = this.#scheduler;
    switch (happening.kind) {
      case 'freeze member':
        this.#network.nodes[happening.member]!.frozenUntil = scheduler.now + happening.forMs;
        return;
      case 'freeze leader of etcd': {
        const { member, forMs, pastMs, revokes } = happening;
        return this.#network.freezeLeader(member, forMs, pastMs, revokes);
      }
      case 'delete any key': {
        const election = this.#elections[happening.of]!;
        const { candidates } = this.#etcd.snapshot(election);
        const one = candidates[Math.min(happening.place, candidates.length - 1)];
        if (one !== undefined) this.#etcd.deleteByHand(election, one.key);
        return;
      }
      case 'revoke some wrongly': {
        const election = this.#elections[happening.of]!;
        const { candidates } = this.#etcd.snapshot(election);
        candidates.forEach(({ leaseId: lease }, place) => {
          if (happening.places.includes(place)) this.#etcd.revokeWrongly(lease);
        });
        return;
      }
      case 'etcd without leader':
        return this.#network.changeLeader(happening.forMs);
      case 'compact':
        this.#etcd.compact();
        return;
      case 'pause election':
        return this.#pauseElection(this.#elections[happening.of]!, happening.forMs);
      case 'ask for switchover':
        return this.#askForSwitchover(this.#elections[happening.of]!, happening);
      case 'foreign candidate':
        return this.#foreignCandidate(this.#elections[happening.of]!, happening.forMs);
    }
  }

  #befall(sidecar: SimSidecar, happening: Extract<Happening, { whom: Target }>): void {
    const scheduler = this.#scheduler;
    const { now } = scheduler;
    const { life, side } = sidecar;
    switch (happening.kind) {
      case 'pause':
        return this.#pause(sidecar, happening.forMs);
      case 'crash':
        sidecar.end();
        scheduler.after(happening.forMs, () => this.#start(sidecar));
        return;
      case 'terminate':
        sidecar.terminate(() => {
          this.#say(sidecar.id, 'has stopped');
          scheduler.after(happening.forMs, () => this.#start(sidecar));
        });
        return;
      case 'fail':
        return this.#fail(sidecar, 'crashed', happening.forMs);
      case 'terminate twice': {
        sidecar.terminate(() => scheduler.after(happening.forMs, () => this.#start(sidecar)));
        return this.#fail(sidecar, 'stopping', happening.forMs);
      }
      case 'no descriptors':
        side.paths.forEach((path) => {
          path.refusedUntil = now + happening.forMs;
        });
        return this.#unhealthy(sidecar, happening.forMs);
      case 'cut': {
        const { member, how } = happening;
        const until = now + happening.forMs;
        side.paths.forEach((path, index) => {
          if (member !== 'all' && member !== index) return;
          if (how === 'refused') path.refusedUntil = until;
          if (how === 'silent' || how === 'to etcd') path.toEtcdUntil = until;
          if (how === 'silent' || how === 'from etcd') path.fromEtcdUntil = until;
        });
        if (how === 'refused') life?.coordinator.watches.forEach((watch) => watch.break());
        return;
      }
      case 'cut members': {
        const other = this.#sidecars[(sidecar.index + happening.other) % this.#sidecars.length]!;
        const until = now + happening.forMs;
        if (happening.how !== 'from') side.cutFrom.set(other.side, until);
        if (happening.how !== 'to') other.side.cutFrom.set(side, until);
        return;
      }
      case 'slow':
        side.slowedByMs = happening.byMs;
        side.slowedUntil = now + happening.forMs;
        return;
      case 'hang':
        for (const operation of happening.operations) {
          side.hangUntil.set(operation, now + happening.forMs);
        }
        return;
      case 'break watch':
        return life?.coordinator.watches.forEach((watch) => watch.break());
      case 'mute watch':
        return life?.coordinator.watches.forEach((watch) => watch.mute(happening.forMs));
      case 'lag watch': {
        const { byMs, forMs } = happening;
        return life?.coordinator.watches.forEach((watch) => watch.lag(byMs, forMs));
      }
      case 'revoke wrongly':
      case 'deny lease': {
        const held = life?.elector.lease();
        if (!held) return;
        if (happening.kind === 'revoke wrongly') this.#etcd.revokeWrongly(held.leaseId);
        else this.#etcd.deny(held.leaseId, happening.forMs);
        return;
      }
      case 'delete key': {
        const held = life?.elector.lease();
        if (held) this.#etcd.deleteByHand(this.#elections[happening.of]!, held.leaseId);
        return;
      }
      case 'step down': {
        const { to, notForMs } = happening;
        const election = this.#elections[happening.of]!;
        if (to !== null) return this.#askForSwitchover(election, { to, forMs: notForMs });
        return sidecar.ask((elector) => {
          elector.stepDown(election, { cause: 'resigned', reason: null, actor: null, notForMs });
        });
      }
      case 'hold':
        return this.#hold(sidecar, this.#elections[happening.of]!, happening.holdMs);
      case 'app unhealthy':
        return this.#unhealthy(sidecar, happening.forMs);
    }
  }

  #fail(sidecar: SimSidecar, cause: Cause, forMs: number): void {
    sidecar.fail(cause, () => {
      this.#say(sidecar.id, 'has ended');
      this.#scheduler.after(forMs, () => this.#start(sidecar));
    });
  }

  #unhealthy(sidecar: SimSidecar, forMs: number): void {
    sidecar.appHealthy = false;
    sidecar.ask((elector) => elector.appHealth(false));
    this.#scheduler.after(forMs, () => {
      sidecar.appHealthy = true;
      sidecar.ask((elector) => elector.appHealth(true));
    });
  }

  #pause(sidecar: SimSidecar, forMs: number): void {
    const { life } = sidecar;
    life?.process.pause();
    this.#scheduler.after(forMs, () => {
      if (sidecar.life !== life || life === null) return;
      this.#say(sidecar.id, 'continues');
      life.process.resume();
    });
  }

  #hold(sidecar: SimSidecar, election: ElectionName, holdMs: number): void {
    sidecar.ask((elector) => {
      const process = sidecar.life!.process;
      const { token } = elector.report(election);
      const heldMs = elector.hold(election, holdMs);
      if (token === null || heldMs === 0) return;
      this.#say(sidecar.id, `promises to hold term ${token} for ${heldMs} ms`);
      this.#checkers.held(token, process.trueTimeOf(process.latest() + heldMs));
    });
  }

  /** A leased pause, as the operator's verb makes it. */
  #pauseElection(election: ElectionName, forMs: number): void {
    this.#etcd.putControl(election, { paused: true, reason: null, by: null, until: null });
    this.#scheduler.after(forMs, () => this.#etcd.putControl(election, null));
  }

  /** The operator's verb, asked of any sidecar: a record that the leader of that term acts upon. */
  #askForSwitchover(
    election: ElectionName,
    { to, forMs }: { readonly to: number; readonly forMs: number },
  ): void {
    const [leader] = this.#etcd.snapshot(election).candidates;
    if (leader === undefined) return;
    const token = fencingToken(leader.createRevision);
    const successor = this.#sidecars[to]?.id;
    if (successor === undefined) return;
    const about = { to: successor, reason: null, actor: null };
    this.#etcd.putSwitchover(election, { token, ...about });
    this.#scheduler.after(forMs, () => this.#etcd.putSwitchover(election, null));
  }

  /** Another program stands in the election for a while, and goes without a record. */
  #foreignCandidate(election: ElectionName, forMs: number): void {
    const lease = leaseId(`f${this.#random.below(0xffffff).toString(16)}`);
    const endsAt = this.#scheduler.now + forMs;
    const keepAlive = (): void => {
      if (this.#scheduler.now >= endsAt) return this.#etcd.revoke(lease);
      try {
        this.#etcd.renew(lease);
      } catch {
        return;
      }
      this.#scheduler.after(Math.min(700, endsAt - this.#scheduler.now), keepAlive);
    };
    this.#etcd.grant(lease, 2000);
    this.#etcd.putForeign(election, lease, memberId('somebody-else'));
    keepAlive();
  }

  // What is heard, and told to people.

  #notice(sidecar: SimSidecar, notice: Notice): void {
    if (sidecar.life !== null) this.#checkers.notice(sidecar, sidecar.life, notice);
    if (notice.kind === 'elected') {
      this.#terms += 1;
      this.#askEverybody = true;
    }
    if (this.#settled && (notice.kind === 'elected' || notice.kind === 'ended')) {
      if (this.#isRanked()) return;
      const what = `${sidecar.id} ${notice.kind}, term ${notice.token}, long after the last fault`;
      this.#checkers.restless(notice.election, what);
    }
    if (this.#lines !== null) this.#narrate(sidecar, notice);
  }

  #narrate(sidecar: SimSidecar, notice: Notice): void {
    switch (notice.kind) {
      case 'elected':
        return this.#say(sidecar.id, `LEADS ${notice.election}, term ${notice.token}`);
      case 'ended':
        return this.#say(
          sidecar.id,
          `no longer leads ${notice.election}, term ${notice.token}: ${notice.cause}`,
        );
      case 'changed': {
        const { role, leader } = notice.report;
        const whom = leader === null ? 'nobody' : `${leader.id} (${leader.token})`;
        return this.#say(sidecar.id, `is ${role} in ${notice.election}, sees ${whom} lead`);
      }
      case 'lease':
        return this.#say(sidecar.id, `lease ${notice.state}`);
      case 'watchInterrupted':
        return this.#say(sidecar.id, `watch interrupted: ${notice.why}`);
      case 'deposed':
        return this.#say(sidecar.id, `deposed term ${notice.token} of ${notice.election}`);
      case 'witnesses': {
        const { token, ids } = notice;
        return this.#say(sidecar.id, `witnesses of ${token}: ${ids.join(', ') || 'nobody'}`);
      }
      case 'released':
      case 'renewal':
      case 'trouble':
      case 'ping':
        return;
    }
  }

  #narrateEtcd(): void {
    this.#etcd.listeners.push({
      keyBorn: ({ id, token, election }) =>
        this.#say('etcd', `${id} joins ${election} at ${token}`),
      keyGone: ({ id, token, election, end }) =>
        this.#say('etcd', `the key of ${id} in ${election} at ${token} is ${end ?? 'gone'}`),
    });
  }

  #say(who: string, what: string): void {
    if (this.#lines === null) return;
    const seconds = (this.#scheduler.now / 1000).toFixed(3).padStart(7);
    this.#lines.push(`${seconds}  ${who.padEnd(5)}  ${what}`);
  }

  #violated(violation: Violation): void {
    if (this.#violation !== null) return;
    this.#violation = violation;
    this.#say('JUDGE', `broken: ${violation.promise}: ${violation.what}`);
    this.#scheduler.stop();
  }
}

/** A happening in a few words. */
export function describe(happening: Happening): string {
  const { kind } = happening;
  const details = Object.entries(happening)
    .filter(([name]) => !['atMs', 'kind', 'whom', 'of', 'forMs'].includes(name))
    .map(([name, value]) => `${name} ${wordsOf(value)}`);
  const forMs = 'forMs' in happening ? [`for ${Math.round(happening.forMs)} ms`] : [];
  return `[${[kind, ...details, ...forMs].join(', ')}]`;
}

const wordsOf = (value: unknown): string =>
  typeof value === 'number'
    ? String(Math.round(value * 10) / 10)
    : Array.isArray(value)
      ? value.join('+')
      : String(value);
