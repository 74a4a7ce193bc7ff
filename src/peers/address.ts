// Where a member says that its sidecar can be asked, judged before anything is sent there: these urls come out of etcd,
// and whoever can write there must not be able to make a sidecar do more than ask one harmless question.

/** A member that can be asked, or why not; `why` is for people. */
export type PeerAddress =
  | { readonly kind: 'askable'; readonly url: URL }
  | { readonly kind: 'unaskable'; readonly why: string };

/** Longer ones are nobody's address. */
const longestUrl = 2048;

const unaskable = (why: string): PeerAddress => ({ kind: 'unaskable', why });

/** The address of `/leader` for an election. */
export const leaderAddress = (url: string | null, election: string): PeerAddress =>
  addressUnder(url, `/elections/${encodeURIComponent(election)}/leader`);

/** A path of another sidecar, under whatever its url has; only http(s), without user, password, query or fragment. */
export function addressUnder(url: string | null, under: string): PeerAddress {
  if (url === null || url === '') return unaskable('it gives no url');
  if (url.length > longestUrl || !URL.canParse(url)) return unaskable('its url cannot be read');
  const base = new URL(url);
  if (base.protocol !== 'http:' && base.protocol !== 'https:') {
    return unaskable('its url is neither http nor https');
  }
  if (base.username !== '' || base.password !== '') {
    return unaskable('its url holds a password, which is not sent');
  }
  const path = base.pathname.replace(/\/+$/, '');
  const address = new URL(base.origin);
  address.pathname = path + under;
  return { kind: 'askable', url: address };
}
