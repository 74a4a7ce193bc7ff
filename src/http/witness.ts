// `POST /witness`: other sidecars ask here that the terms which they lead are not deposed. Only messages that are signed with
// the key of this very process are looked at; everything else about a ping is the core's to judge.
import {
  decodePings,
  encodeAcknowledged,
  isSigned,
  messageBytes,
  signatureHeader,
  signatureOf,
} from '../process/ping-message.ts';
import { json, type Asked, type Reply } from './exchange.ts';
import { Refusal } from './problems.ts';

export async function witness({ inputs, body, header }: Asked): Promise<Reply> {
  const { pingKey, elections } = inputs;
  if (pingKey === null) {
    throw new Refusal(404, 'not_found', 'this instance is no witness: fast failover is off');
  }
  const message = (await body(messageBytes)).toString('utf8');
  const signature = header(signatureHeader);
  if (!isSigned(pingKey, message, signature)) {
    throw new Refusal(403, 'wrong_signature', 'the message is not for this process');
  }
  const pings = decodePings(message);
  if (pings === null) throw new Refusal(422, 'invalid_body', 'the body is not a list of pings');
  const places = pings.flatMap((ping, place) => (elections.ping(ping) ? [place] : []));
  const answer = encodeAcknowledged(places);
  const headers = { [signatureHeader]: signatureOf(pingKey, answer, signature) };
  return { ...json(200, null, headers), body: answer };
}
