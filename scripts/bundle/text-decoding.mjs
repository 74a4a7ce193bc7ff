// Stands in for iconv-lite in the bundle: the three functions that body-parser and raw-body call, on
// Node's own TextDecoder. Promises what they need: every encoding that the WHATWG standard names, a
// byte order mark dropped, and `encodingExists` false for the rest, which becomes a 415. Leaves out
// 478 kB of tables for encodings in which no JSON comes (RFC 8259 knows UTF-8 only).
import { TextDecoder } from 'node:util';

/** Whether text in this encoding can be read. */
export function encodingExists(encoding) {
  try {
    return new TextDecoder(encoding) instanceof TextDecoder;
  } catch {
    return false;
  }
}

/** The text of one whole body. */
export function decode(bytes, encoding) {
  return new TextDecoder(encoding).decode(bytes);
}

/** A decoder for a body that comes in pieces; throws, like iconv-lite, for an unknown encoding. */
export function getDecoder(encoding) {
  if (!encodingExists(encoding)) throw new Error(`Encoding not recognized: '${encoding}'`);
  const decoder = new TextDecoder(encoding);
  return {
    write: (bytes) => decoder.decode(bytes, { stream: true }),
    end: () => decoder.decode(),
  };
}
