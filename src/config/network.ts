// What the configuration wants to know of the machine's network, out of its interfaces: where others reach it, and
// whether it has IPv6. Pure.
import type { networkInterfaces } from 'node:os';

/** The network as loadConfiguration looks at it. */
export interface Network {
  /** Where others reach the machine, in its own order: neither loopback nor link-local. */
  readonly addresses: readonly string[];
  /** Whether it has IPv6 at all, be it on loopback only. */
  readonly hasIpv6: boolean;
}

/** An address that means something on one link only; nobody elsewhere can use it, and a URL cannot name the link. */
const isLinkLocal = (address: string): boolean => /^(fe[89ab][\da-f]:|169\.254\.)/i.test(address);

/** Reads what `os.networkInterfaces()` gives. */
export function networkOf(interfaces: ReturnType<typeof networkInterfaces>): Network {
  const all = Object.values(interfaces).flatMap((addresses) => addresses ?? []);
  return {
    addresses: all
      .filter(({ internal, address }) => !internal && !isLinkLocal(address))
      .map(({ address }) => address),
    hasIpv6: all.some(({ family }) => family === 'IPv6'),
  };
}
