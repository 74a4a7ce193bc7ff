// Spans by OpenTelemetry's API, for an SDK that somebody registers with `node --import`: elections, ends of terms, hooks
// and calls on etcd. It only listens, to notices and to the calls on a port. Where no SDK is registered there is nothing
// at all: no subscription, no wrapper, no span. It knows no exporter. Whatever an SDK throws costs spans and nothing else.
import {
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  diag,
  trace,
  type Attributes,
  type Context,
  type Span,
  type TimeInput,
  type Tracer,
  type TracerProvider,
} from '@opentelemetry/api';
import type { Cause, ElectionName, FencingToken, MemberId } from '../core/model.ts';
import type { Coordinator, Elections, Notice } from '../ports.ts';
import type { FencedStore } from '../store-port.ts';

/** The name of the tracer, which an SDK may filter by. */
const tracerName = 'electord';

/** Calls on etcd under one span: enough to see what was tried. An outage of an hour would make 14,000 of them. */
const mostCallsPerSpan = 100;

/** The longest that the end of the process waits for the SDK to send what it has gathered. */
const flushWithinMs = 1000;

/** Ends of a term after which there is no key left to release. */
const lossCauses: ReadonlySet<Cause> = new Set(['lease_expired', 'key_deleted']);

/** A span, what makes others its children, and how many calls are under it. */
interface Stretch {
  readonly span: Span;
  readonly context: Context;
  calls: number;
  omitted: number;
}

type Of<Kind extends Notice['kind']> = Extract<Notice, { readonly kind: Kind }>;

const election = (name: ElectionName | null): Attributes =>
  name === null ? {} : { 'electord.election': name };

/** As a string: a token can exceed what a number holds exactly. */
const term = (token: bigint): Attributes => ({ 'electord.fencing_token': token.toString() });

/** Spans of one sidecar; made by {@link createTraces}. */
export class Traces {
  readonly #tracer: Tracer;
  readonly #id: MemberId;
  #names: readonly ElectionName[] = [];
  /** Elections in which no leader is known now. */
  readonly #seeking = new Map<ElectionName, Stretch>();
  /** Own terms that have ended and whose key is not released yet. */
  readonly #leaving = new Map<ElectionName, Stretch>();
  /** The election that made us leader: what the new leader does first belongs to it. */
  readonly #won = new Map<ElectionName, Stretch>();

  constructor(tracer: Tracer, id: MemberId) {
    this.#tracer = tracer;
    this.#id = id;
  }

  /** Follows an elector that has not been started yet; the returned function ends that. */
  observe(elections: Elections): () => void {
    this.#names = elections.names;
    for (const name of elections.names) safely(() => this.#seek(name, {}));
    return elections.subscribe((notice) => safely(() => this.#take(notice)));
  }

  /** Adds the run of a hook that has just ended: `elected` or `step-down`, and how it ended. */
  observeHook(hook: string, result: string, seconds: number): void {
    safely(() => this.#hookEnded(hook, result, seconds));
  }

  #hookEnded(hook: string, result: string, seconds: number): void {
    const name = this.#electionOfHook(hook);
    const stretches = hook === 'elected' ? this.#won : this.#leaving;
    const attributes = { 'electord.hook': hook, 'electord.hook.result': result };
    const startTime = Date.now() - seconds * 1000;
    const under = name === null ? undefined : stretches.get(name);
    const { span } = this.#begin(`electord.hook`, name, attributes, under, startTime);
    if (result !== 'ok') span.setStatus({ code: SpanStatusCode.ERROR, message: result });
    span.end(Date.now());
  }

  /** The same coordinator, with a span for every call. */
  traced(coordinator: Coordinator): Coordinator {
    const all = null;
    return {
      grant: (...its) => this.#call('grant', all, {}, () => coordinator.grant(...its)),
      renew: (...its) => this.#call('renew', all, {}, () => coordinator.renew(...its)),
      timeToLive: (...its) =>
        this.#call('timeToLive', all, {}, () => coordinator.timeToLive(...its)),
      revoke: (...its) => this.#call('revoke', all, {}, () => coordinator.revoke(...its)),
      join: (...its) => this.#call('join', its[0], {}, () => coordinator.join(...its)),
      observe: (names) => {
        const [only = null] = names.length === 1 ? names : [];
        let answers: ReturnType<Coordinator['observe']> = [];
        const ask = (): Promise<unknown> => Promise.all((answers = coordinator.observe(names)));
        // The span is one for all of them; whoever asked hears of each failure by itself.
        this.#call('observe', only, {}, ask).catch(() => undefined);
        return answers;
      },
      release: (its) => {
        const cause = its.handover === null ? {} : { 'electord.cause': its.handover.cause };
        const attributes = { ...term(its.createRevision), ...cause };
        return this.#call('release', its.election, attributes, () => coordinator.release(its));
      },
      recordWitnesses: (...its) => {
        const attributes = term(its[1].createRevision);
        return this.#call('recordWitnesses', its[0], attributes, () =>
          coordinator.recordWitnesses(...its),
        );
      },
      depose: (its) =>
        this.#call('depose', its.election, term(its.createRevision), () => coordinator.depose(its)),
      enroll: (...its) => this.#call('enroll', its[0], {}, () => coordinator.enroll(...its)),
      proclaim: (...its) => {
        const attributes = term(its[1].createRevision);
        return this.#call('proclaim', its[0], attributes, () => coordinator.proclaim(...its));
      },
      concede: (...its) => {
        const attributes = term(its[1].createRevision);
        return this.#call('concede', its[0], attributes, () => coordinator.concede(...its));
      },
      pause: (...its) => this.#call('pause', its[0], {}, () => coordinator.pause(...its)),
      resume: (...its) => this.#call('resume', its[0], {}, () => coordinator.resume(...its)),
      correct: (...its) => this.#call('correct', its[0], {}, () => coordinator.correct(...its)),
      requestSwitchover: (...its) =>
        this.#call('switchover', its[0], {}, () => coordinator.requestSwitchover(...its)),
      history: (...its) => this.#call('history', its[0], {}, () => coordinator.history(...its)),
      isCurrent: (...its) =>
        this.#call('fence', its[0], term(its[1]), () => coordinator.isCurrent(...its)),
      watch: (...its) => coordinator.watch(...its),
      close: () => coordinator.close(),
    };
  }

  /** The same store, with a span for every call. */
  tracedStore(store: FencedStore): FencedStore {
    const call = <Value>(
      operation: string,
      name: ElectionName,
      run: () => Promise<Value>,
      token: FencingToken | null = null,
    ): Promise<Value> => this.#call(operation, name, token === null ? {} : term(token), run);
    return {
      read: (name, key) => call('state', name, () => store.read(name, key)),
      write: (writer, ...its) =>
        call('state', writer.election, () => store.write(writer, ...its), writer.token),
      remove: (writer, ...its) =>
        call('state', writer.election, () => store.remove(writer, ...its), writer.token),
      append: (writer, entry) =>
        call('journal', writer.election, () => store.append(writer, entry), writer.token),
      journal: (name, ...its) => call('journal', name, () => store.journal(name, ...its)),
    };
  }

  /**
   * Ends every span that is open and asks the SDK to send what it has gathered; resolves when that is done or a second
   * has passed. Never rejects.
   */
  async finish(): Promise<void> {
    const stopped = { 'electord.outcome': 'stopped' };
    for (const name of this.#names) {
      safely(() => this.#end(this.#seeking, name, stopped));
      safely(() => this.#end(this.#leaving, name, stopped));
    }
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, flushWithinMs);
    });
    await Promise.race([flush().catch(() => undefined), late]);
    clearTimeout(timer);
  }

  #take(notice: Notice): void {
    switch (notice.kind) {
      case 'elected':
        return this.#elected(notice);
      case 'ended':
        return this.#ended(notice);
      case 'released':
        this.#end(this.#leaving, notice.election, { 'electord.outcome': 'released' });
        return;
      case 'changed':
        return this.#changed(notice);
      case 'lease':
        if (notice.state === 'lost') this.#lostBeforeRelease();
        return;
      case 'renewal':
      case 'trouble':
      case 'watchInterrupted':
      case 'deposed':
      case 'ping':
        // Each is seen as the call that it was.
        return;
      case 'witnesses':
        return;
    }
  }

  /** No leader is known from now on. */
  #seek(name: ElectionName, attributes: Attributes): void {
    if (this.#seeking.has(name)) return;
    this.#seeking.set(name, this.#begin('electord.election', name, attributes));
  }

  #elected({ election: name, token, leaderlessMs }: Of<'elected'>): void {
    // Who is next in the queue leads in the moment it learns that the leader has left: there was no time to seek.
    const startTime = Date.now() - (leaderlessMs ?? 0);
    const won =
      this.#seeking.get(name) ?? this.#begin('electord.election', name, {}, undefined, startTime);
    this.#seeking.set(name, won);
    const lasted = leaderlessMs === null ? {} : { 'electord.leaderless_ms': leaderlessMs };
    const who = { 'electord.leader': this.#id, 'electord.cause': 'elected', ...term(token) };
    this.#end(this.#seeking, name, { ...who, ...lasted, 'electord.outcome': 'elected' });
    this.#won.set(name, won);
  }

  #ended({ election: name, token, cause, reason, ledMs }: Of<'ended'>): void {
    this.#won.delete(name);
    const why = reason === null ? {} : { 'electord.reason': reason };
    const attributes = {
      ...term(token),
      'electord.cause': cause,
      ...why,
      'electord.led_ms': ledMs,
    };
    const leaving = this.#begin('electord.step-down', name, attributes);
    this.#leaving.set(name, leaving);
    if (!lossCauses.has(cause)) return;
    leaving.span.setStatus({ code: SpanStatusCode.ERROR, message: cause });
    this.#end(this.#leaving, name, { 'electord.outcome': 'lost' });
  }

  #changed({ election: name, report: { leader, token }, cause }: Of<'changed'>): void {
    if (leader === null) return this.#seek(name, { 'electord.cause': cause });
    if (token !== null) return;
    const who = { 'electord.leader': leader.id, ...term(leader.token) };
    this.#end(this.#seeking, name, { ...who, 'electord.outcome': 'following' });
  }

  #lostBeforeRelease(): void {
    const message = 'the lease ended before the key was released';
    for (const [name, { span }] of this.#leaving) {
      span.setStatus({ code: SpanStatusCode.ERROR, message });
      this.#end(this.#leaving, name, { 'electord.outcome': 'lost' });
    }
  }

  async #call<Value>(
    operation: string,
    name: ElectionName | null,
    attributes: Attributes,
    run: () => Promise<Value>,
  ): Promise<Value> {
    const under = this.#stretchAround(operation, name);
    if (under !== undefined && under.calls >= mostCallsPerSpan) {
      under.omitted += 1;
      return run();
    }
    if (under !== undefined) under.calls += 1;
    let span: Span | null = null;
    safely(() => ({ span } = this.#begin(`electord.etcd.${operation}`, name, attributes, under)));
    try {
      return await run();
    } catch (failure) {
      safely(() => span !== null && failed(span, failure));
      throw failure;
    } finally {
      safely(() => span?.end());
    }
  }

  /** What a call belongs to. A call for the lease belongs to the election where there is just one. */
  #stretchAround(operation: string, name: ElectionName | null): Stretch | undefined {
    const [only] = this.#names.length === 1 ? this.#names : [];
    const its = name ?? only;
    if (its === undefined) return undefined;
    if (operation === 'release' || operation === 'concede') return this.#leaving.get(its);
    if (operation === 'proclaim') return this.#won.get(its);
    return this.#seeking.get(its);
  }

  /** Hooks are counted without their election: it is told where only one can be meant. */
  #electionOfHook(hook: string): ElectionName | null {
    const possible =
      this.#names.length === 1 || hook === 'elected' ? this.#names : [...this.#leaving.keys()];
    const [only = null] = possible.length === 1 ? possible : [];
    return only;
  }

  #begin(
    spanName: string,
    name: ElectionName | null,
    attributes: Attributes,
    under?: Stretch,
    startTime?: TimeInput,
  ): Stretch {
    const isCall = spanName.startsWith('electord.etcd.');
    const around = under?.context ?? ROOT_CONTEXT;
    const span = this.#tracer.startSpan(
      spanName,
      {
        kind: isCall ? SpanKind.CLIENT : SpanKind.INTERNAL,
        attributes: { 'electord.id': this.#id, ...election(name), ...attributes },
        ...(startTime === undefined ? {} : { startTime }),
      },
      around,
    );
    return { span, context: trace.setSpan(around, span), calls: 0, omitted: 0 };
  }

  #end(among: Map<ElectionName, Stretch>, name: ElectionName, attributes: Attributes): void {
    const stretch = among.get(name);
    if (stretch === undefined) return;
    among.delete(name);
    const { span, omitted } = stretch;
    span.setAttributes(attributes);
    if (omitted > 0) span.setAttribute('electord.calls_omitted', omitted);
    span.end();
  }
}

/** A listener that throws would halt the elector, and a span that does would cost a renewal: the SDK is told instead. */
function safely(run: () => void): void {
  try {
    run();
  } catch (failure) {
    diag.error('electord: a span was lost', failure);
  }
}

/** The API has no word for it, all SDKs have the same. */
async function flush(): Promise<void> {
  const provider = trace.getTracerProvider() as { getDelegate?: () => unknown };
  const sdk = (provider.getDelegate?.() ?? provider) as { forceFlush?: () => Promise<void> };
  await sdk.forceFlush?.();
}

function failed(span: Span, failure: unknown): void {
  const error = failure instanceof Error ? failure : new Error(String(failure));
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name;
  span.recordException(error);
  span.setAttribute('error.type', code);
  span.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
}

/** The tracer of the SDK that is registered; null where there is none, or one of an API older than ours. */
function registeredTracer(version: string): Tracer | null {
  // What stands in for the SDK until there is one says so here; it would give us a tracer that does nothing.
  const provider = trace.getTracerProvider() as TracerProvider & {
    getDelegateTracer?: (name: string) => Tracer | undefined;
  };
  const isStandIn = provider.getDelegateTracer !== undefined;
  if (isStandIn && provider.getDelegateTracer?.(tracerName) === undefined) return null;
  return provider.getTracer(tracerName, version);
}

/** Traces for the SDK that is registered by now, null where there is none: then nothing is to be done. */
export function createTraces(options: {
  readonly id: MemberId;
  readonly version: string;
}): Traces | null {
  const tracer = registeredTracer(options.version);
  return tracer === null ? null : new Traces(tracer, options.id);
}
