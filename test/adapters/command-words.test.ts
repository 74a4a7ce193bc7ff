// What the command line makes of other programs' words and times: a sentence with the raw text behind it, and one format
// of time, with its zone.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { momentOf } from '../../src/cli/operator-times.ts';
import { inWords } from '../../src/cli/plain-words.ts';
import { printable } from '../../src/cli/table.ts';
import { tlsFailureOf } from '../../src/process/tls-words.ts';

describe('what libraries say', () => {
  const ssl =
    '805C:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:../ssl3_record.c:350:\n';
  const asked = 'the sidecar at https://a:1 cannot be asked';
  test.each([
    [
      '14 UNAVAILABLE: No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:1. Resolution note: ',
      'etcd cannot be asked: nobody listens there (14 UNAVAILABLE: No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:1)',
    ],
    [
      `14 UNAVAILABLE: No connection established. Last error: Error: ${ssl}. Resolution note: `,
      `etcd cannot be asked: no TLS is spoken there, so it is http:// and not https:// (14 UNAVAILABLE: No connection established. Last error: Error: ${ssl.trim()})`,
    ],
    [
      'etcdserver: permission denied',
      'etcd cannot be asked: the user that we log in as has no right to this (etcdserver: permission denied)',
    ],
    [
      `${asked}: write EPROTO ${ssl}`,
      `${asked}: no TLS is spoken there, so it is http:// and not https:// (write EPROTO ${ssl.trim()})`,
    ],
    [
      `orders: ${asked}: connect ECONNREFUSED 127.0.0.1:1`,
      `orders: ${asked}: nobody listens there (connect ECONNREFUSED 127.0.0.1:1)`,
    ],
    [
      `${asked}: self-signed certificate`,
      `${asked}: its certificate is signed by nobody who is trusted here (self-signed certificate)`,
    ],
  ])('%j', (raw, said) => {
    expect(inWords(raw)).toBe(said);
  });

  test('what says enough, or is not theirs, stays as it is', () => {
    const own = ['orders-1 does not lead', 'cannot be read: ECONNREFUSED', '14 UNAVAILABLE: odd'];
    for (const text of own) expect(inWords(text)).toBe(text);
  });

  test.each([
    'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    'CERT_HAS_EXPIRED',
    'CERT_NOT_YET_VALID',
    'INVALID_PURPOSE',
    'ERR_TLS_CERT_ALTNAME_INVALID',
    'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED',
  ])('%s is put into words once, by the client for Node', (code) => {
    const message = code.toLowerCase().replaceAll('_', ' ');
    const said = tlsFailureOf(Object.assign(new Error(message), { code }), 'a');
    expect(said).not.toBeNull();
    expect(inWords(`${asked}: ${said}`)).toBe(`${asked}: ${said}`);
  });
});

describe('times', () => {
  const zone = process.env['TZ'];
  beforeAll(() => void (process.env['TZ'] = 'America/St_Johns'));
  afterAll(() => {
    if (zone === undefined) delete process.env['TZ'];
    else process.env['TZ'] = zone;
  });

  test('are those of the reader, with the zone', () => {
    expect(momentOf('2026-11-20T21:00:03.250Z')).toBe('2026-11-20 17:30:03-03:30');
    expect(momentOf('2026-07-20T21:00:03Z')).toBe('2026-07-20 18:30:03-02:30');
    expect(momentOf('soon')).toBe('soon');
  });

  test('in sentences of a sidecar too', () => {
    expect(printable('Nobody campaigns until 2026-11-20T21:00:03.000Z, and\u0007')).toBe(
      'Nobody campaigns until 2026-11-20 17:30:03-03:30, and�',
    );
  });
});
