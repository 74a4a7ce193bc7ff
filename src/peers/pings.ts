// Pings to other sidecars over HTTP. No ping waits for the answer to the one before it: a segment that is lost holds up one
// connection, and the next ping takes another. What answers proves itself by the signature; so certificates are shown where
// they are asked for, and not judged.
import { Agent as HttpAgent, request as requestHttp, type ClientRequest } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { Unreachable } from '../errors.ts';
import {
  decodeAcknowledged,
  encodePings,
  isSigned,
  newPingKey,
  pingPath,
  pingsAtOnce,
  signatureHeader,
  signatureOf,
} from '../process/ping-message.ts';
import type { AskTls } from '../process/ask-tls.ts';
import { judgeAfter } from '../process/time-out.ts';
import type { ElectionPing } from '../core/model.ts';
import type { Pings } from '../ports.ts';
import { addressUnder } from './address.ts';
import { Names } from './names.ts';

/** Rounds of pings under way to one process; while all of them hang no more are sent. */
const underWayAtMost = 4;
/** A round for a thousand elections is five messages. */
const socketsEach = 16;
const answerBytes = 8192;

/** What is shown to listeners that ask for a certificate. */
type OwnCertificate = () => Pick<AskTls, 'cert' | 'key'>;

/** What fast failover needs of a process; both null where it is off. */
export interface Pinging {
  readonly pingKey: string | null;
  readonly pings: Pings | null;
}

export const pingingOf = (
  { fastFailoverMs }: { readonly fastFailoverMs: number | null },
  certificate: OwnCertificate,
): Pinging =>
  fastFailoverMs === null
    ? { pingKey: null, pings: null }
    : { pingKey: newPingKey(), pings: new HttpPings(new Names(), certificate) };

type Target = Parameters<Pings['send']>[0];

class HttpPings implements Pings {
  readonly #http: HttpAgent;
  readonly #https: HttpsAgent;
  readonly #certificate: OwnCertificate;
  readonly #underWay = new Map<string, number>();

  constructor(names: Names, certificate: OwnCertificate) {
    const options = { keepAlive: true, maxSockets: socketsEach, lookup: names.lookup };
    this.#http = new HttpAgent(options);
    this.#https = new HttpsAgent(options);
    this.#certificate = certificate;
  }

  async send(to: Target, pings: readonly ElectionPing[]): Promise<readonly ElectionPing[]> {
    const { url } = to;
    const underWay = this.#underWay.get(url) ?? 0;
    if (underWay >= underWayAtMost) throw new Unreachable('the pings before it hang');
    this.#underWay.set(url, underWay + 1);
    const messages: Promise<readonly ElectionPing[]>[] = [];
    for (let start = 0; start < pings.length; start += pingsAtOnce) {
      messages.push(this.#sendSome(to, pings.slice(start, start + pingsAtOnce)));
    }
    const outcomes = await Promise.allSettled(messages);
    const left = (this.#underWay.get(url) ?? 1) - 1;
    if (left > 0) this.#underWay.set(url, left);
    else this.#underWay.delete(url);
    // A message that is lost costs no more than itself.
    if (outcomes.every(({ status }) => status === 'rejected')) await messages[0];
    return outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? outcome.value : []));
  }

  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }

  async #sendSome(
    { url, key }: Target,
    pings: readonly ElectionPing[],
  ): Promise<readonly ElectionPing[]> {
    const message = encodePings(pings);
    const signature = signatureOf(key, message);
    const withinMs = Math.min(...pings.map(({ ping }) => ping.forMs));
    const answer = await this.#post(url, message, signature, withinMs);
    if (!isSigned(key, answer.text, answer.signature, signature)) {
      throw new Unreachable('the answer is not of the process that was pinged');
    }
    const places = decodeAcknowledged(answer.text);
    return pings.filter((_, place) => places.has(place));
  }

  #post(
    url: string,
    message: string,
    signature: string,
    withinMs: number,
  ): Promise<{ readonly text: string; readonly signature: string | undefined }> {
    return new Promise((resolve, reject) => {
      const sent = this.#request(url, Buffer.byteLength(message), signature);
      const fail = (why: string): void => {
        cancel();
        reject(new Unreachable(why));
        sent.destroy();
      };
      const cancel = judgeAfter(withinMs, () => fail('no answer in time'));
      sent.on('error', ({ message: why }) => fail(why));
      sent.on('response', (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('error', ({ message: why }) => fail(why));
        response.on('data', (part: string) => {
          text += part;
          if (text.length > answerBytes) fail('the answer is too long');
        });
        response.on('end', () => {
          cancel();
          const proof = response.headers[signatureHeader];
          resolve({ text, signature: typeof proof === 'string' ? proof : undefined });
        });
      });
      sent.end(message);
    });
  }

  #request(url: string, bytes: number, signature: string): ClientRequest {
    const address = addressUnder(url, pingPath);
    if (address.kind === 'unaskable') throw new Unreachable(address.why);
    const options = {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        'Content-Length': bytes,
        [signatureHeader]: signature,
      },
      maxHeaderSize: answerBytes,
    };
    if (address.url.protocol === 'http:') {
      return requestHttp(address.url, { ...options, agent: this.#http });
    }
    const { cert, key } = this.#certificate();
    const shown = cert === null || key === null ? {} : { cert, key };
    const secure = { ...options, ...shown, agent: this.#https, rejectUnauthorized: false };
    return requestHttps(address.url, secure);
  }
}
