// Where the sidecar's local listener is: an http(s) URL, or a unix socket as `unix:/path`.
import { UnusableOption } from './errors.ts';

/** The local listener's address where nothing else is said; $ELECTORD_LOCAL_URL goes before it. */
export const standardUrl = 'http://127.0.0.1:4041';

/** An address taken apart, as node:http wants it. */
export type SidecarAddress =
  | {
      readonly kind: 'tcp';
      readonly secure: boolean;
      readonly host: string;
      readonly port: number;
      /** What stands before every path; empty or without a slash at its end. */
      readonly base: string;
    }
  | { readonly kind: 'unix'; readonly path: string };

/** @throws UnusableOption if the text is not an address. */
export function sidecarAddress(text: string): SidecarAddress {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length);
    if (path.startsWith('/')) return { kind: 'unix', path };
    throw new UnusableOption(`${text} is no address of a sidecar: unix: needs an absolute path`);
  }
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new UnusableOption(
      `${JSON.stringify(text)} is no address of a sidecar: write http://host:port or unix:/path`,
    );
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new UnusableOption('the address of a sidecar has no user, password, query or fragment');
  }
  const secure = url.protocol === 'https:';
  return {
    kind: 'tcp',
    secure,
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
    base: url.pathname.replace(/\/+$/, ''),
  };
}
