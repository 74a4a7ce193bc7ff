// Why a TLS handshake failed, in words for whoever has to put it right: OpenSSL's own name its source lines.

/** An error of Node's TLS, as far as it is looked at. */
interface Failure extends Error {
  readonly code?: unknown;
  /** Of the one that was asked, where its name does not fit. */
  readonly cert?: { readonly subjectaltname?: string };
}

const untrusted =
  'its certificate is signed by an authority that is not trusted here: name the file with that by --ca';
const wanted = 'it asks for a client certificate: give one by --cert and --key';
const refused =
  'it does not trust the authority that has signed our client certificate: give another by --cert and --key';

/** By the codes of what our side found out; as Node has them. */
const byCode: Readonly<Record<string, string>> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: untrusted,
  UNABLE_TO_GET_ISSUER_CERT: untrusted,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: untrusted,
  SELF_SIGNED_CERT_IN_CHAIN: untrusted,
  DEPTH_ZERO_SELF_SIGNED_CERT: untrusted,
  CERT_SIGNATURE_FAILURE: untrusted,
  CERT_UNTRUSTED: untrusted,
  INVALID_CA: 'what signed its certificate is no authority: --ca wants the certificate of one',
  INVALID_PURPOSE: 'its certificate is not one for servers',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet: compare the clocks',
  CERT_REVOKED: 'its certificate was revoked',
};

/** By OpenSSL's words: what its codes are called hangs on the version of Node, where there is any but EPROTO. */
const byMessage: readonly (readonly [RegExp, string])[] = [
  [/wrong version number|packet length too long/, 'it does not speak TLS: ask it by http://'],
  [/alert certificate required|alert handshake failure/, wanted],
  [/alert unknown ca|alert bad certificate|alert certificate unknown/, refused],
  [/alert certificate expired/, 'our client certificate (--cert) has expired'],
];

/** `DNS:orders-0, IP Address:127.0.0.1` as one would say it. */
const namesIn = (text: string): string => text.replace(/(DNS|IP Address|URI):/g, '');

/** What went wrong with the one asked as `host`; null where it was no matter of TLS. */
export function tlsFailureOf(failure: Failure, host: string): string | null {
  const code = String(failure.code);
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    const names = namesIn(failure.cert?.subjectaltname ?? '') || 'nobody';
    return `its certificate is for ${names}, and not for ${host}: say which by --server-name`;
  }
  const known = byCode[code] ?? byMessage.find(([words]) => words.test(failure.message))?.[1];
  if (known !== undefined) return known;
  const isOther = /^(ERR_SSL_|ERR_TLS_|CERT_|UNABLE_TO_|EPROTO$)/.test(code);
  return isOther ? `the TLS handshake failed (${code.replace(/^ERR_(SSL|TLS)_/, '')})` : null;
}

/** How a connection ends that the other side cuts off without a word. */
const hangUps = ['ECONNRESET', 'EPIPE'];

/** Of a question over HTTP that was never answered: TLS that is missing, or not wanted, ends without a word. */
export function hangUpOf(
  { code }: Failure,
  asked: { readonly secure: boolean; readonly certified: boolean },
): string | null {
  if (!hangUps.includes(String(code))) return null;
  if (!asked.secure) return 'it hung up without an answer: if it serves HTTPS, ask it by https://';
  return asked.certified
    ? 'it hung up without an answer, as it does where our client certificate (--cert) has expired or is signed by an authority that it does not trust'
    : 'it hung up without an answer';
}
