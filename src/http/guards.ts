// Who may use what only the local listener serves: not a page of another origin in a browser on this machine, be it by a
// plain request or by a name that it made resolve to this address; and for what writes or binds, only who has
// a trusted certificate and knows the token, where these are asked for.
import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import type { Asked } from './exchange.ts';
import type { LocalInputs } from './inputs.ts';
import { quoted, Refusal } from './problems.ts';

type Headers = Pick<Asked, 'header'>;

/** `host` of a `Host` header: without port and brackets, in lower case. */
function hostNameOf(host: string): string {
  const bare = host.startsWith('[') ? host.slice(1, host.indexOf(']')) : host.split(':')[0];
  return (bare ?? '').toLowerCase();
}

const isLocalName = (name: string): boolean =>
  isIP(name) !== 0 || name === 'localhost' || name.endsWith('.localhost');

/** A proxy hands on the name that it is known by, or puts ours in its place; `Origin` is its own in any case. */
interface Outside {
  readonly name: string;
  readonly origin: string;
}

function outsideOf(publicUrl: string | null): Outside | null {
  if (publicUrl === null) return null;
  const { host, origin } = new URL(publicUrl);
  return { name: hostNameOf(host), origin };
}

/** Programs send neither of these headers; browsers send them with everything that could do harm. */
export function refuseForeignPages(
  { header }: Headers,
  { checksHost, publicUrl }: LocalInputs,
): void {
  const host = header('host');
  const outside = outsideOf(publicUrl);
  // An address cannot be made to point elsewhere; a name of somebody else's domain can.
  const isKnown = (name: string): boolean => isLocalName(name) || name === outside?.name;
  if (checksHost && host !== undefined && host !== '' && !isKnown(hostNameOf(host))) {
    const detail = `${quoted(host)} is neither an address nor localhost, nor the name in --public-url`;
    throw new Refusal(403, 'forbidden_host', detail);
  }
  const origin = header('origin');
  const own = [`http://${host ?? ''}`, `https://${host ?? ''}`, outside?.origin];
  const site = header('sec-fetch-site');
  const sameSite = site === undefined || site === 'same-origin' || site === 'none';
  if ((origin === undefined || own.includes(origin)) && sameSite) return;
  const from = origin === undefined ? 'another site' : quoted(origin);
  throw new Refusal(403, 'forbidden_origin', `the request comes from a page of ${from}`);
}

const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest();

/** For what writes or binds: a certificate where clients are asked for one, and the token where there is one. */
export function requireRight(question: Headers & Pick<Asked, 'client'>, local: LocalInputs): void {
  if (local.needsCertificate === true && !question.client().certified) {
    const detail = 'show a certificate that --tls-client-ca has signed';
    throw new Refusal(403, 'certificate_required', detail);
  }
  requireToken(question, local);
}

/** Compares in constant time; refuses with 401. Nothing is required where no token is configured. */
function requireToken({ header }: Headers, { token }: LocalInputs): void {
  const wanted = token();
  if (wanted === null) return;
  const [, given] = /^Bearer +(\S+) *$/i.exec(header('authorization') ?? '') ?? [];
  if (given !== undefined && timingSafeEqual(digestOf(given), digestOf(wanted))) return;
  const wrong = given !== undefined;
  const challenge = `Bearer realm="electord"${wrong ? ', error="invalid_token"' : ''}`;
  const detail = wrong ? 'the bearer token is wrong' : 'send Authorization: Bearer TOKEN';
  throw new Refusal(401, 'unauthorized', detail, { headers: { 'WWW-Authenticate': challenge } });
}
