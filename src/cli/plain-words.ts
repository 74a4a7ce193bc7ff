// What libraries say of a connection (gRPC, OpenSSL, Node), as a sentence; their own text stays behind it, in brackets.
// Pure.

/** The first that fits is said; what the client for Node has put into words stays as it is. */
const reasons: readonly (readonly [RegExp, string])[] = [
  [/ECONNREFUSED/, 'nobody listens there'],
  [/ENOTFOUND|EAI_AGAIN|Name resolution failed/, 'the name has no address'],
  [/connect ENOENT/, 'there is no such socket'],
  [/EACCES|EPERM/, 'this user may not connect there'],
  [/EHOSTUNREACH|ENETUNREACH/, 'there is no way to that address'],
  [
    /wrong version number|packet length too long/,
    'no TLS is spoken there, so it is http:// and not https://',
  ],
  [
    /self-signed|self signed|unable to (verify|get)/,
    'its certificate is signed by nobody who is trusted here',
  ],
  [/(?<!its )certificate has expired/, 'its certificate has run out'],
  [/not yet valid/, 'its certificate is not valid yet'],
  [/altnames|ALTNAME/, 'its certificate is for another name'],
  [
    /certificate required|bad certificate|handshake failure|alert unknown ca/,
    'it refuses us without a client certificate that it trusts',
  ],
  [/permission denied/, 'the user that we log in as has no right to this'],
  [/authentication failed/, 'user name or password is wrong'],
  [/user name is empty/, 'it wants a user name and a password'],
  [/auth(entication)? is not enabled/, 'it knows no users: leave user name and password out'],
  [/database space exceeded/, 'its database is full'],
  [
    /ECONNRESET|EPIPE|socket hang up/,
    'it cut the connection, as a port does that expects https://',
  ],
  [/Protocol error|Parse Error/, 'it speaks another protocol'],
  [/ETIMEDOUT|DEADLINE_EXCEEDED|no answer within|did not answer/, 'no answer came in time'],
];

/** `14 UNAVAILABLE: …`, and what etcd itself says. */
const ofEtcd = /^(?=\d+ [A-Z_]+: |etcdserver: )([^]*)$/;
/** With --all the election stands before it. */
const ofSidecar = /^((?:\S+: )?the sidecar at .*? cannot be asked): ([^]*)$/;

/** The same, or `WHO cannot be asked: SENTENCE (RAW TEXT)`. */
export function inWords(text: string): string {
  const [, raw] = ofEtcd.exec(text) ?? [];
  const [, who = 'etcd cannot be asked', of = raw] = ofSidecar.exec(text) ?? [];
  const [, sentence] = reasons.find(([pattern]) => of !== undefined && pattern.test(of)) ?? [];
  if (of === undefined || sentence === undefined) return text;
  const trimmed = of.replace(/[.\s\p{C}\uFFFD]*( Resolution note: )?$/u, '');
  return `${who}: ${sentence} (${trimmed})`;
}
