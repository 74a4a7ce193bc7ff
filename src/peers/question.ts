// One question to another sidecar: its `/leader`, within a time, up to a size, without redirects or credentials. What
// comes back is judged field by field; nothing else of it is passed on.
import { Agent as HttpAgent, request as requestHttp, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import type { Millis } from '../core/model.ts';
import type { Role } from '../core/report.ts';
import { plainTls, tlsTowards, type AskTls } from '../process/ask-tls.ts';
import { judgeAfter } from '../process/time-out.ts';
import type { Names } from './names.ts';

/** What a sidecar said of itself. */
export interface PeerAnswer {
  readonly role: Role;
  /** Its own claim; null where it does not lead. */
  readonly fencingToken: string | null;
  /** For how long the claim may be believed, counted from `sentAt`. */
  readonly validForMs: number;
  readonly observedAgeMs: number | null;
  /** For how long it promises that nobody else leads, counted from `sentAt`; 0 where it was not asked to, or does not. */
  readonly heldForMs: number;
  readonly sentAt: Millis;
  readonly receivedAt: Millis;
}

export type Outcome =
  | { readonly kind: 'answered'; readonly answer: PeerAnswer }
  | { readonly kind: 'silent'; readonly why: string }
  | { readonly kind: 'unaskable'; readonly why: string };

/** An answer of `/leader` has some 400 bytes; header and body may each have this many. */
const answerBytes = 8192;
/** Connections kept to one sidecar: the one in use and, where it hangs, the next. */
const socketsEach = 2;

/** The connections of all questions; kept between them, since they are many and to few. */
export class Connections {
  readonly names: Names;
  readonly #http: HttpAgent;
  readonly #https: HttpsAgent;

  constructor(names: Names) {
    this.names = names;
    const options = { keepAlive: true, maxSockets: socketsEach, lookup: names.lookup };
    this.#http = new HttpAgent(options);
    this.#https = new HttpsAgent(options);
  }

  of(url: URL): HttpAgent {
    return url.protocol === 'https:' ? this.#https : this.#http;
  }

  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }
}

const roles: readonly string[] = ['leader', 'follower', 'observer', 'unknown'] satisfies Role[];

type Said = Omit<PeerAnswer, 'sentAt' | 'receivedAt'>;

/** The fields of an answer; a text that says why it is not one of the sidecar that was asked. */
export function read(text: string, election: string, id: string): Said | string {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = null;
  }
  const fields = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  const { role, fencingToken, validForMs, observedAgeMs, heldForMs } = fields;
  if (fields['election'] !== election || typeof role !== 'string' || !roles.includes(role)) {
    return 'something answers there that is not a sidecar of this election';
  }
  if (fields['id'] !== id) return 'another instance answers at its url';
  const claims = role === 'leader' && typeof fencingToken === 'string';
  return {
    role: role as Role,
    fencingToken: claims && /^\d{1,20}$/.test(fencingToken) ? fencingToken : null,
    validForMs: typeof validForMs === 'number' && validForMs >= 0 ? validForMs : 0,
    observedAgeMs: typeof observedAgeMs === 'number' ? observedAgeMs : null,
    heldForMs: typeof heldForMs === 'number' && heldForMs >= 0 ? heldForMs : 0,
  };
}

const silentCodes: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens at its url',
  ECONNRESET: 'it broke the connection off',
  EPIPE: 'it broke the connection off',
  EHOSTUNREACH: 'there is no way to its host',
  ENETUNREACH: 'there is no way to its network',
  EHOSTDOWN: 'its host is down',
  ETIMEDOUT: 'no answer in time',
};

const unresolved: Outcome = {
  kind: 'unaskable',
  why: 'the name in its url cannot be resolved here',
};

/** What a failure says of the member: that it is silent, or only that it cannot be asked from here. */
export function judged(error: NodeJS.ErrnoException): Outcome {
  const code = error.code ?? '';
  const silent = silentCodes[code];
  if (silent !== undefined) return { kind: 'silent', why: silent };
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return unresolved;
  if (/ALERT|CERTIFICATE_REQUIRED/.test(code)) {
    return { kind: 'unaskable', why: 'it wants a client certificate' };
  }
  if (/CERT|SIGNATURE|ISSUER|SELF_SIGNED|CRL/.test(code)) {
    return { kind: 'unaskable', why: 'its certificate cannot be verified here' };
  }
  if (/^ERR_SSL|^EPROTO/.test(code)) return { kind: 'unaskable', why: 'TLS with it fails' };
  if (code.startsWith('HPE_')) return { kind: 'unaskable', why: 'it does not speak HTTP' };
  return { kind: 'unaskable', why: code === '' ? 'it cannot be reached' : `it fails with ${code}` };
}

export interface Question {
  readonly url: URL;
  readonly election: string;
  readonly id: string;
  readonly timeoutMs: number;
  readonly now: () => Millis;
  readonly connections: Connections;
  /** For a url with https. */
  readonly tls?: AskTls;
}

/** Never rejects. */
export function ask({
  url,
  election,
  id,
  timeoutMs,
  now,
  connections,
  tls = plainTls,
}: Question): Promise<Outcome> {
  return new Promise((resolve) => {
    const sentAt = now();
    const send = url.protocol === 'https:' ? requestHttps : requestHttp;
    const sent = send(url, {
      agent: connections.of(url),
      headers: { Accept: 'application/json' },
      maxHeaderSize: answerBytes,
      // Part of what the agent knows connections by: those of a former certificate are not used on.
      ...(url.protocol === 'https:' ? tlsTowards(url.hostname.replace(/^\[|\]$/g, ''), tls) : {}),
    });
    const finish = (outcome: Outcome): void => {
      cancel();
      resolve(outcome);
    };
    const cancel = judgeAfter(timeoutMs, () => {
      const waits = connections.names.isWaiting(url.hostname);
      finish(waits ? unresolved : { kind: 'silent', why: `no answer within ${timeoutMs} ms` });
      sent.destroy();
    });
    sent.on('error', (error) => finish(judged(error)));
    sent.on('response', (response) => {
      const strange = (why: string): void => {
        finish({ kind: 'unaskable', why });
        sent.destroy();
      };
      const { statusCode = 0 } = response;
      if (statusCode !== 200 && statusCode !== 503) {
        strange(`it answers with ${statusCode}`);
        return;
      }
      collect(response, strange, (text) => {
        const said = read(text, election, id);
        if (typeof said === 'string') strange(said);
        else finish({ kind: 'answered', answer: { ...said, sentAt, receivedAt: now() } });
      });
    });
    sent.end();
  });
}

function collect(
  response: IncomingMessage,
  strange: (why: string) => void,
  whole: (text: string) => void,
): void {
  let text = '';
  response.setEncoding('utf8');
  response.on('data', (part: string) => {
    text += part;
    if (text.length > answerBytes) strange('its answer is too long');
  });
  response.on('end', () => whole(text));
}
